"""What a spectrum looks like, in a few numbers.

The shape measures take a **power** spectrum ``(..., bins)`` on the rfft grid and look at it as a
distribution over frequency with weights P_k at f_k = k f_s / N:

    centroid   sum f P / sum P                          Hz: the "brightness"
    bandwidth  sqrt(sum (f - centroid)^2 P / sum P)     Hz: standard deviation about it
    flatness   exp(mean ln P) / mean P                  0 (lines) .. 1 (white); about 0.56 for the
                                                        raw periodogram of white noise, whose bins
                                                        scatter as chi^2 with 2 degrees of freedom
    roll-off   smallest f below which 95 % of the power lies, Hz

Silence has no shape: centroid, bandwidth, roll-off and flatness of it are 0.

`long_term_spectrum` is a density: decibels relative to full scale squared **per hertz**, one-sided,
so that the sum over the bins times their width is the mean square of the signal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from ..errors import ParameterError, ShapeError
from .blocks import as_block, check_rate

_Array = NDArray[np.float64]
_AnyFloat = NDArray[np.floating[Any]]


class Density(NamedTuple):
    """A long-term spectrum."""

    frequencies_hz: _Array
    """``(bins,)``."""
    level_db_per_hz: _Array
    """``(channels, bins)``, or ``(bins,)`` for a 1-D signal; ``-inf`` where there is nothing."""


def bin_frequencies(n_bins: int, sample_rate: int) -> _Array:
    """Centre frequencies in Hz of ``n_bins`` rfft bins, from 0 to half the sample rate."""
    if n_bins < 2:
        raise ShapeError(f"a spectrum needs at least 2 bins, got {n_bins}")
    return np.linspace(0.0, check_rate(sample_rate) / 2.0, n_bins)


def centroid_hz(power: _AnyFloat, sample_rate: int) -> _Array:
    """Centre of gravity of the power spectrum, in Hz."""
    p, f, total = _distribution(power, sample_rate)
    centre: _Array = np.sum(p * f, axis=-1) / total
    return centre


def bandwidth_hz(power: _AnyFloat, sample_rate: int) -> _Array:
    """Standard deviation of the power spectrum about its centroid, in Hz."""
    p, f, total = _distribution(power, sample_rate)
    centre = np.sum(p * f, axis=-1, keepdims=True) / total[..., np.newaxis]
    width: _Array = np.sqrt(np.sum(p * np.square(f - centre), axis=-1) / total)
    return width


def flatness(power: _AnyFloat) -> _Array:
    """Geometric over arithmetic mean of the bins: 0 for lines and silence, 1 for a flat spectrum."""
    p = np.asarray(power, dtype=np.float64)
    mean = np.mean(p, axis=-1)
    with np.errstate(divide="ignore"):  # one empty bin makes the geometric mean zero, rightly
        geometric = np.exp(np.mean(np.log(p), axis=-1))
    flat: _Array = np.divide(geometric, mean, out=np.zeros_like(mean), where=mean > 0.0)
    return flat


def rolloff_hz(power: _AnyFloat, sample_rate: int, share: float = 0.95) -> _Array:
    """Lowest bin frequency at or below which ``share`` of the power lies, in Hz."""
    if not 0.0 < share <= 1.0:
        raise ParameterError(f"share must lie in (0, 1], got {share}")
    p, f, _ = _distribution(power, sample_rate)
    cumulative = np.cumsum(p, axis=-1)
    # A hair below the share, so that a total summed in another order is still reached.
    reached = cumulative >= share * cumulative[..., -1:] * (1.0 - 1e-12)
    edge: _Array = f[np.argmax(reached, axis=-1)]
    return edge


def zero_crossing_rate_hz(samples: _AnyFloat, sample_rate: int) -> _Array:
    """Changes of sign per second, along the last axis: twice the frequency of a sine.

    Zeros count with the sign before them, so digital silence crosses nothing.
    """
    rate = check_rate(sample_rate)
    x = np.asarray(samples)
    if x.ndim == 0 or x.shape[-1] < 2:
        raise ShapeError(f"zero crossings need at least 2 samples, got shape {x.shape}")
    sign = np.sign(x).astype(np.int8)
    index = np.where(sign != 0, np.arange(x.shape[-1]), 0)
    held = np.take_along_axis(sign, np.maximum.accumulate(index, axis=-1), axis=-1)
    crossings = np.sum(held[..., 1:] * held[..., :-1] < 0, axis=-1)
    per_second: _Array = crossings * (rate / (x.shape[-1] - 1))
    return per_second


def magnitude_phase(spectrum: NDArray[np.complexfloating[Any, Any]]) -> tuple[_AnyFloat, _AnyFloat]:
    """Split a complex spectrum into magnitude and phase in radians, (-pi, pi]; silence has phase 0."""
    return np.abs(spectrum), np.angle(spectrum)


def from_magnitude_phase(magnitude: _AnyFloat, phase: _AnyFloat) -> NDArray[np.complexfloating[Any, Any]]:
    """Inverse of `magnitude_phase`."""
    spectrum: NDArray[np.complexfloating[Any, Any]] = magnitude * np.exp(1j * phase)
    return spectrum


def long_term_spectrum(samples: _AnyFloat, sample_rate: int, window_ms: float = 64.0) -> Density:
    """Long-term average spectrum (Welch, Hann, half overlap) in dB re full scale squared per Hz.

    ``window_ms`` trades resolution (about 1.5 / window) for variance. A signal shorter than the
    window is one frame of its own length.
    """
    rate = check_rate(sample_rate)
    x = as_block(samples).astype(np.float64)
    if x.shape[-1] < 2:
        raise ShapeError(f"a spectrum needs at least 2 samples, got {x.shape[-1]}")
    length = min(max(2, round(window_ms * 1e-3 * rate)), x.shape[-1])
    # Bins that are exact fractions of a second read better than powers of two, and cost the same.
    f, density = scipy.signal.welch(
        x, rate, window="hann", nperseg=length, noverlap=length // 2, detrend=False, axis=-1
    )
    with np.errstate(divide="ignore"):
        level: _Array = 10.0 * np.log10(density)
    return Density(f, level[0] if np.ndim(samples) == 1 else level)


def _distribution(power: _AnyFloat, sample_rate: int) -> tuple[_Array, _Array, _Array]:
    """Power, frequencies, and the total with 1 in place of 0."""
    p = np.asarray(power, dtype=np.float64)
    if p.ndim == 0:
        raise ShapeError("a power spectrum needs (..., bins), got a scalar")
    if np.any(p < 0.0):
        raise ParameterError("a power spectrum cannot be negative; pass |X|^2, not decibels")
    f = bin_frequencies(p.shape[-1], sample_rate)
    total = np.sum(p, axis=-1)
    return p, f, np.where(total > 0.0, total, 1.0)
