"""Power spectra of 32 ms Hann frames with 8 ms hop at the signal's own rate, in blocks that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._inputs import Signal

FRAME_S, HOP_S = 0.032, 0.008


def shortest(sample_rate: int) -> int:
    """Samples that one frame takes."""
    return round(FRAME_S * sample_rate)


def starts(samples: int, sample_rate: int) -> NDArray[np.int64]:
    """First sample of every frame."""
    return np.arange(0, samples - shortest(sample_rate) + 1, round(HOP_S * sample_rate), dtype=np.int64)


def hann_power(x: Signal, sample_rate: int, *, block: int = 1024) -> Iterator[Signal]:
    """``|STFT|^2`` as ``(frames, bins)`` blocks; scaled so that white noise of power 1 has 1 in each bin."""
    size, hop = shortest(sample_rate), round(HOP_S * sample_rate)
    window = np.hanning(size + 1)[:size]  # periodic
    window /= np.sqrt(np.sum(window * window))
    views = np.lib.stride_tricks.sliding_window_view(x, size)[::hop]
    for start in range(0, views.shape[0], block):
        spectrum = np.fft.rfft(views[start : start + block] * window, axis=1)
        yield spectrum.real**2 + spectrum.imag**2


def floor_under_peak(x: Signal, sample_rate: int, depth: float) -> float:
    """``depth`` times the loudest cell of a checked reference."""
    loudest = max(float(p.max()) for p in hann_power(x, sample_rate))
    if loudest == 0.0:  # its only samples lie where the first window is zero, or after the last frame
        raise InputError("reference is silent in every frame; there is nothing to score")
    return depth * loudest
