"""Signal-to-noise ratio over active speech, the one definition used everywhere here.

    SNR = 10 log10( sum_S speech^2 / sum_S noise^2 )

where S is the set of samples that ITU-T P.56 (method B) counts as active in the *speech*
(`unmuffle.signal.levels.active_mask`, hangover included), and the sums run over all channels.

Both sums are over the same samples: pauses in the speech lower neither side, and noise that comes
and goes counts by what it does while somebody talks. For stationary noise this equals "active
speech level minus noise level"; a file-wide RMS ratio would differ by the activity factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..signal.levels import active_mask, gain, rms_dbfs

_Floats = NDArray[np.floating[Any]]

# A noise this far under its own loudest part counts as absent from the active speech.
_ABSENT_DB = 80.0


def active_snr_db(speech: _Floats, noise: _Floats, sample_rate: int) -> float:
    """SNR over active speech in decibels; see the module docstring."""
    mask = active_mask(speech, sample_rate)
    if not mask.any():
        raise InputError("the speech is silent, so it has no SNR; choose another clean file")
    return _ratio_db(speech, noise, mask)


def at_snr(speech: _Floats, noise: _Floats, sample_rate: int, snr_db: float) -> NDArray[np.float64]:
    """Return ``noise`` scaled so that `active_snr_db` is ``snr_db``."""
    x: NDArray[np.float64] = np.asarray(noise, dtype=np.float64)
    mask = active_mask(speech, sample_rate)
    if not mask.any():
        raise InputError("the speech is silent, so no SNR can be set; choose another clean file")
    now = _ratio_db(speech, x, mask)
    if not np.isfinite(now) or absent(x, mask):
        raise InputError("the noise is silent while the speech is active; choose another noise or offset")
    return x * gain(now - snr_db)


def at_level(
    speech: _Floats,
    noise: _Floats,
    sample_rate: int,
    snr_db: float | None,
    level_dbfs: float | None,
) -> tuple[NDArray[np.float64], dict[str, float | None]]:
    """Scale ``noise`` to an SNR or to a file-wide RMS level, and say what was reached."""
    if snr_db is not None:
        scaled = at_snr(speech, noise, sample_rate, snr_db)
    else:
        now = rms_dbfs(noise)
        if not np.isfinite(now) or level_dbfs is None:
            raise InputError("the noise is silent, so it has no level to set; choose another")
        scaled = np.asarray(noise, dtype=np.float64) * gain(level_dbfs - now)
    silent = not active_mask(speech, sample_rate).any()
    reached = None if silent else active_snr_db(speech, scaled, sample_rate)
    return scaled, {"snr_db": reached, "level_dbfs": rms_dbfs(scaled)}


def absent(noise: _Floats, mask: NDArray[np.bool_]) -> bool:
    """Whether next to nothing of the noise falls on the samples of ``mask``."""
    x = np.atleast_2d(np.asarray(noise, dtype=np.float64))
    peak = float(np.max(np.abs(x), initial=0.0))
    power = float(np.mean(np.square(x[:, mask]))) if mask.any() else 0.0
    return power <= peak**2 * 10.0 ** (-_ABSENT_DB / 10.0)


def _ratio_db(speech: _Floats, noise: _Floats, mask: NDArray[np.bool_]) -> float:
    s = np.atleast_2d(np.asarray(speech, dtype=np.float64))[:, mask]
    n = np.atleast_2d(np.asarray(noise, dtype=np.float64))[:, mask]
    below = float(np.mean(np.square(n)))
    return 10.0 * float(np.log10(np.mean(np.square(s)) / below)) if below > 0.0 else np.inf
