"""A whole signal in memory through an enhancer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..enhancers.base import Enhancer, run_offline
from ..noise.profile import NoiseProfile, profile_from
from ..signal.blocks import Samples, as_block
from .options import Options


def enhance(
    x: Any,
    sample_rate: int,
    method: str | Enhancer = "auto",
    *,
    strength_db: float = math.inf,
    repair: Iterable[str] = (),
    stereo: str = "linked",
    profile: NoiseProfile | tuple[float, float] | None = None,
    loudness_lufs: float | None = None,
    **params: Any,
) -> Samples:
    """Enhance a signal; the result has its length, channels, rate and alignment.

    Args:
        x: ``(samples,)`` or ``(channels, samples)``, floating point in [-1, 1]; it is not changed.
        sample_rate: in Hz, 8000 to 192000.
        method: a name (see ``unmuffle methods``), ``"auto"``, or an enhancer from :func:`unmuffle.load`.
        strength_db: most attenuation allowed, in dB: 0 gives ``x`` back, ``inf`` the full effect.
        repair: any of ``"declip"``, ``"declick"``, ``"dehum"``, ``"detone"``, ``"dewind"``, ``"low-cut"``, before the
            method.
        stereo: ``"linked"`` (one gain for all channels), ``"independent"`` or ``"mid-side"``.
        profile: where the noise is alone, as ``(start_s, stop_s)``, or a measured noise profile.
        loudness_lufs: bring the result to this loudness (EBU R128), with a true-peak limiter at -1 dBTP.
        **params: parameters of the method.

    Returns:
        float32 of the shape of ``x``.

    Raises:
        InputError: ``x`` or the rate cannot be used.
        ParameterError: an unknown method, parameter or value.
        MissingExtraError: the method needs an optional package.

    >>> import numpy as np
    >>> noisy = np.random.default_rng(0).standard_normal((2, 48000)).astype(np.float32) * 0.01
    >>> enhance(noisy, 48000, "log-mmse").shape
    (2, 48000)
    """
    signal = as_block(x)
    if isinstance(profile, tuple):
        profile = profile_from(signal, sample_rate, start_s=profile[0], stop_s=profile[1])
    options = Options(method, params, strength_db, tuple(repair), stereo, profile, loudness_lufs)
    out = run_offline(options.enhancer(signal.shape[0]), signal, sample_rate, strength_db=strength_db)
    if loudness_lufs is not None:
        from ..enhancers.registry import load

        out = run_offline(load("loudness", target_lufs=float(loudness_lufs)), out, sample_rate)
    return np.ascontiguousarray(out[0] if np.ndim(x) == 1 else out)
