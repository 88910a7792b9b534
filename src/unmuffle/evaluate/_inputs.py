"""What every metric does first: look at its input, and bring it to the rate that the metric is defined at.

All metrics work on one channel, in float64. The checks are the same for all, so that a wrong input gives
the same named error from each:

======================================  =====================
not ``(samples,)`` or ``(1, samples)``  `ShapeError`
lengths differ, or too short            `ShapeError`
integer samples                         `DtypeError`
NaN or infinity                         `NonFiniteError`
rate outside 8..192 kHz                 `SampleRateError`
silent where speech is needed           `InputError`
peak above 60 dB over full scale        `InputError`
======================================  =====================
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DtypeError, InputError, NonFiniteError, SampleRateError, ShapeError

Signal = NDArray[np.float64]

SILENCE = 1e-9  # peak, -180 dB below full scale: under the last bit of a 24-bit file by 40 dB
LOUDEST = 1e3  # peak: float samples that large are integers in disguise (PCM scaled by 32768)
MAX_DB = 150.0  # ratios beyond are cut here: float32 samples do not hold more


def rate(sample_rate: int) -> int:
    """The sample rate, if it lies in 8..192 kHz."""
    if not 8000 <= sample_rate <= 192_000:
        raise SampleRateError(f"sample rate is {sample_rate} Hz; metrics take 8000 to 192000 Hz")
    return int(sample_rate)


def signal(x: ArrayLike, name: str, *, at_least: int = 1, allow_silence: bool = True) -> Signal:
    """One checked channel as float64; ``at_least`` in samples."""
    a = np.asarray(x)
    if a.dtype.kind != "f":
        raise DtypeError(f"{name} has dtype {a.dtype}; give floating-point samples in [-1, 1]")
    if a.ndim == 2 and a.shape[0] == 1:
        a = a[0]
    if a.ndim != 1:
        raise ShapeError(f"{name} has shape {a.shape}; metrics score one channel: give (samples,)")
    if a.size < max(at_least, 1):
        raise ShapeError(f"{name} has {a.size} samples; this metric needs at least {max(at_least, 1)}")
    if not np.all(np.isfinite(a)):
        raise NonFiniteError(f"{name} holds NaN or infinity at sample {int(np.argmin(np.isfinite(a)))}")
    peak = float(np.max(np.abs(a)))
    if peak > LOUDEST:
        raise InputError(f"{name} peaks at {peak:.4g}; full scale is 1: divide integer samples by 32768")
    if peak < SILENCE:
        if not allow_silence:
            raise InputError(f"{name} is silent (peak {peak:.3g}); there is nothing to score")
        return np.zeros(a.size)
    return a.astype(np.float64)


def pair(
    reference: ArrayLike, degraded: ArrayLike, *, at_least: int = 1, silent_degraded: bool = True
) -> tuple[Signal, Signal]:
    """A checked reference, never silent, and a degraded signal of the same length."""
    x = signal(reference, "reference", at_least=at_least, allow_silence=False)
    y = signal(degraded, "degraded", at_least=at_least, allow_silence=silent_degraded)
    if x.size != y.size:
        raise ShapeError(
            f"reference has {x.size} samples and degraded {y.size}; align them first (unmuffle.signal.align)"
        )
    return x, y


def to_rate(x: Signal, old: int, new: int) -> Signal:
    """Resampled by soxr at its HQ setting; the same array when the rates agree."""
    if old == new:
        return x
    import soxr

    return np.asarray(soxr.resample(x, old, new, quality="HQ"), dtype=np.float64)


def decibel(signal_energy: float, noise_energy: float) -> float:
    """``10 log10(signal / noise)``, cut at +-150 dB so that a perfect copy stays a finite number."""
    if noise_energy <= signal_energy * 10 ** (-MAX_DB / 10):
        return MAX_DB
    if signal_energy <= noise_energy * 10 ** (-MAX_DB / 10):
        return -MAX_DB
    return float(10.0 * np.log10(signal_energy / noise_energy))
