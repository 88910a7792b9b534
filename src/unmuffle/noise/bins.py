"""Smoothing over neighbouring bins, and what smoothing does to the variance of a periodogram."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signal.stft import Frames
from .base import Power

THREE = (0.25, 0.5, 0.25)
"""The window over three bins that :func:`smooth3` applies (Hann without its zeros)."""

_HALF, _QUARTER = np.array(0.5, np.float32), np.array(0.25, np.float32)


def smooth3(x: Power, out: Power) -> Power:
    """Average over three bins with weights 1/4, 1/2, 1/4; half and half at either edge.

    Args:
        x: ``(..., bins)``, at least four bins.
        out: of the same shape, not ``x``.
    """
    last = x.shape[-1] - 1
    np.multiply(x, _HALF, out)
    sides = x[..., :-2] + x[..., 2:]
    np.multiply(sides, _QUARTER, sides)
    inner = out[..., 1:-1]
    np.add(inner, sides, inner)
    edges = out[..., ::last]
    np.add(edges, _HALF * x[..., 1 :: last - 2], edges)
    return out


def relative_variance(frames: Frames, smoothing: float, weights: tuple[float, ...] = (1.0,)) -> float:
    r"""Variance over squared mean of a white noise periodogram that was smoothed over bins and time.

    Bins and overlapping frames are correlated. For Gaussian noise the correlation of power is the
    squared correlation of the spectra,

    .. math:: \rho(m, d) = \Bigl|\frac{\sum_n w[n] w[n + mH] e^{-2 \pi i d n / N}}{\sum_n w^2[n]}\Bigr|^2,

    for frames ``m`` apart and bins ``d`` apart, and recursive smoothing with factor ``a`` leaves

    .. math:: \frac{1 - a}{1 + a} \Bigl(c(0) + 2 \sum_{m \ge 1} a^m c(m)\Bigr), \quad
              c(m) = \sum_{i,j} b_i b_j \, \rho(m, i - j).
    """
    w = frames.analysis.astype(np.float64)
    energy = float(np.sum(w * w))
    b: NDArray[np.float64] = np.asarray(weights, np.float64)
    pairs = np.convolve(b, b[::-1])  # sum of b_i b_j at each distance d
    distance = np.arange(1 - b.size, b.size)
    total = 0.0
    for m in range(-(-frames.size // frames.hop)):
        lag = m * frames.hop
        product = w[: frames.size - lag] * w[lag:]
        phase = np.exp(-2j * np.pi * np.outer(distance, np.arange(product.size)) / frames.size)
        rho = np.abs(phase @ product / energy) ** 2
        total += (1.0 if m == 0 else 2.0) * smoothing**m * float(pairs @ rho)
    return (1.0 - smoothing) / (1.0 + smoothing) * total
