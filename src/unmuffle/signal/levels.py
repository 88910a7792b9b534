"""How loud a signal is: RMS, peak, true peak, active speech level, loudness.

Every level is in decibels relative to full scale, where **0 dBFS is a mean square of 1**, so that
a full-scale square wave reads 0 dBFS and a full-scale sine -3.01 dBFS (ITU-T calls this dBov).
A signal of several channels gets one figure: powers are averaged over the channels, peaks are the
largest of any channel. Digital silence is ``-inf``, never an error.

Active speech level (ITU-T P.56, method B)
    The level of speech *while somebody talks*. The signal is rectified and smoothed twice,

        p[n] = g p[n-1] + (1 - g) |x[n]|,     q[n] = g q[n-1] + (1 - g) p[n],
        g = exp(-1 / (f T)),  T = 0.03 s,

    and for a ladder of thresholds c_j, a factor of 2 apart, the samples are counted for which the
    envelope q has been at c_j or above within the last H = 0.2 s (the hangover). With the energy
    sum E = sum x^2 and the counts a_j, the level under threshold j is A_j = 10 log10(E / a_j). The
    true threshold is the one that lies a margin M = 15.9 dB below the level it yields,
    A - C = M; it is found by linear interpolation in decibels between the two thresholds around
    it. The activity factor is (mean power) / (active power).

    The interpolation here is exact; the reference code of ITU-T G.191 stops its bisection within
    0.5 dB, so the two agree within a few tenths of a decibel. Thresholds run down to 2^-24 rather
    than 2^-15 so that quiet floating-point recordings are measured as well; where 2^-15 suffices
    the result is the same. With several channels |x[n]| is the root of the mean square over them.

    It fails when noise lies less than about 16 dB below the speech: then all is "active".

References
    ITU-T P.56 (2011); ITU-R BS.1770-4 (true peak, annex 2, and loudness); ITU-T G.191, sv-p56.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, lfilter, resample_poly

from ..errors import InputError, MissingExtraError, ShapeError
from .blocks import as_block, check_rate

P56_MARGIN_DB = 15.9
P56_HANGOVER_S = 0.2
P56_TIME_CONSTANT_S = 0.03
_P56_LOWEST_EXPONENT = -24

_TRUE_PEAK_OVERSAMPLING = 4


@dataclass(frozen=True)
class ActiveLevel:
    """What P.56 says about a signal: level while active, share of active time, threshold."""

    level_dbfs: float
    """Level over the active part; ``-inf`` for silence."""
    activity: float
    """Active part of the time, 0..1."""
    threshold_dbfs: float
    """Envelope threshold that separates speech from pause (``level - 15.9 dB``)."""


def rms_dbfs(samples: NDArray[np.floating[Any]]) -> float:
    """Root mean square over all samples and channels, in dBFS."""
    x = _checked(samples)
    return _db(_mean_square(x))


def peak_dbfs(samples: NDArray[np.floating[Any]]) -> float:
    """Largest absolute sample of any channel, in dBFS."""
    x = _checked(samples)
    return _db(float(np.max(np.abs(x), initial=0.0)) ** 2)


def true_peak_dbfs(samples: NDArray[np.floating[Any]]) -> float:
    """Largest value of the waveform between the samples as well, in dBTP.

    The signal is interpolated to four times its rate (BS.1770-4, annex 2). What the grid can still
    miss is at most ``-20 log10 cos(pi f / (4 f_s))``: 0.17 dB at a quarter of the sample rate,
    0.69 dB at its half. The sample peak is a lower bound and is never undercut.
    """
    x = _checked(samples)
    if x.shape[-1] == 0:
        return -np.inf
    # A 64-tap-per-phase Kaiser filter is flat to 0.1 dB up to 0.45 f_s, twice as sharp as annex 2.
    taps: Any = _interpolator()  # scipy takes an array here, its stubs do not say so
    oversampled = resample_poly(x, _TRUE_PEAK_OVERSAMPLING, 1, axis=-1, window=taps)
    highest = max(float(np.max(np.abs(oversampled))), float(np.max(np.abs(x))))
    return _db(highest**2)


def active_speech_level(samples: NDArray[np.floating[Any]], sample_rate: int) -> ActiveLevel:
    """Active speech level by ITU-T P.56 method B; see the module docstring.

    ``samples`` is ``(n,)`` or ``(channels, n)``. Silence and empty input give ``-inf`` and 0.
    """
    sample_rate = check_rate(sample_rate)
    x = _checked(samples)
    energy = float(np.sum(np.square(x))) / x.shape[0]
    if energy == 0.0:
        return ActiveLevel(-np.inf, 0.0, -np.inf)
    n = x.shape[-1]
    envelope = _p56_envelope(x, sample_rate)
    hangover = _hangover_samples(sample_rate)

    previous: tuple[float, float] | None = None  # (A, C) of the threshold below
    for exponent in range(_P56_LOWEST_EXPONENT, 1):
        count = _active_count(envelope, 2.0**exponent, hangover)
        if count == 0:
            break
        level, threshold = _db(energy / count), _db(4.0**exponent)
        excess = level - threshold - P56_MARGIN_DB
        if excess <= 0.0:
            if previous is not None:
                level, threshold = _interpolate(previous, (level, threshold))
            return _active_level(level, energy / n)
        previous = (level, threshold)
    # No threshold lies within 15.9 dB of its level: the signal is nothing but rare spikes (or
    # shorter than the envelope's rise), and the highest threshold reached is the best answer.
    return _active_level(previous[0] if previous else _db(energy / n), energy / n)


def active_mask(samples: NDArray[np.floating[Any]], sample_rate: int) -> NDArray[np.bool_]:
    """Which samples P.56 counts as active: a boolean ``(n,)``, one for all channels.

    A sample is active when the envelope has reached the threshold of `active_speech_level` within
    the last 0.2 s. All ``False`` for silence.
    """
    x = _checked(samples)
    n = x.shape[-1]
    threshold_dbfs = active_speech_level(x, sample_rate).threshold_dbfs
    if not np.isfinite(threshold_dbfs):
        return np.zeros(n, dtype=np.bool_)
    above = _p56_envelope(x, sample_rate) >= 10.0 ** (threshold_dbfs / 20.0)
    index = np.arange(n)
    hangover = _hangover_samples(sample_rate)
    last = np.maximum.accumulate(np.where(above, index, -hangover - 1))
    mask: NDArray[np.bool_] = index - last <= hangover
    return mask


def loudness_lufs(samples: NDArray[np.floating[Any]], sample_rate: int) -> float:
    """Integrated loudness by ITU-R BS.1770-4 in LUFS, through the library pyloudnorm.

    Needs the extra ``loudness``, at least 0.4 s of signal (one gating block) and at most five
    channels. Silence is ``-inf``.
    """
    try:
        import pyloudnorm
    except ImportError as error:  # pragma: no cover - the extra is there in the tests
        raise MissingExtraError("loudness in LUFS", "loudness") from error
    x = _checked(samples)
    if x.shape[-1] < 0.4 * sample_rate:
        raise InputError(
            f"loudness needs at least 0.4 s of signal, got {x.shape[-1] / sample_rate:.3f} s; use rms_dbfs"
        )
    if x.shape[0] > 5:
        raise ShapeError(f"BS.1770 weights at most 5 channels, got {x.shape[0]}; measure them in groups")
    if not np.any(x):
        return -np.inf
    with np.errstate(divide="ignore"):  # blocks of silence have a log of zero, gated away later
        return float(pyloudnorm.Meter(sample_rate).integrated_loudness(x.T))


def gain(decibels: float) -> float:
    """Amplitude factor of a level change in decibels: ``10^(dB/20)``."""
    return float(10.0 ** (decibels / 20.0))


def _checked(samples: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Give ``(channels, n)`` in double precision, or say what is wrong with the array."""
    return as_block(samples).astype(np.float64)


def _db(power: float) -> float:
    return 10.0 * float(np.log10(power)) if power > 0.0 else -np.inf


def _mean_square(x: NDArray[np.float64]) -> float:
    return float(np.mean(np.square(x))) if x.size else 0.0


def _hangover_samples(sample_rate: int) -> int:
    return int(np.ceil(P56_HANGOVER_S * sample_rate))


def _p56_envelope(x: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Twice-smoothed magnitude q[n]; the two one-pole filters are run as one of order two."""
    g = np.exp(-1.0 / (sample_rate * P56_TIME_CONSTANT_S))
    rectified = np.sqrt(np.mean(np.square(x), axis=0))
    q: NDArray[np.float64] = lfilter([(1.0 - g) ** 2], [1.0, -2.0 * g, g * g], rectified)
    return q


def _active_count(envelope: NDArray[np.float64], threshold: float, hangover: int) -> int:
    """Samples at most ``hangover`` after one at or above the threshold."""
    hits = np.flatnonzero(envelope >= threshold)
    if hits.size == 0:
        return 0
    # Each hit is itself active and keeps the next `hangover` samples active, until the next hit.
    gaps = np.diff(hits, append=envelope.size)
    return int(np.sum(np.minimum(gaps, hangover + 1)))


def _interpolate(below: tuple[float, float], above: tuple[float, float]) -> tuple[float, float]:
    """Point on the line between two (level, threshold) pairs where they differ by the margin."""
    excess_below = below[0] - below[1] - P56_MARGIN_DB
    excess_above = above[0] - above[1] - P56_MARGIN_DB
    t = excess_below / (excess_below - excess_above)
    return below[0] + t * (above[0] - below[0]), below[1] + t * (above[1] - below[1])


def _active_level(level_dbfs: float, mean_power: float) -> ActiveLevel:
    activity = min(1.0, 10.0 ** ((_db(mean_power) - level_dbfs) / 10.0))
    return ActiveLevel(level_dbfs, activity, level_dbfs - P56_MARGIN_DB)


def _interpolator() -> NDArray[np.float64]:
    half = 32 * _TRUE_PEAK_OVERSAMPLING
    # resample_poly scales the filter by the factor itself; cut at the old Nyquist frequency.
    taps: NDArray[np.float64] = firwin(2 * half + 1, 1.0 / _TRUE_PEAK_OVERSAMPLING, window=("kaiser", 6.0))
    return taps
