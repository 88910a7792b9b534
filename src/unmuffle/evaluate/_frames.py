"""Short frames as the objective measures of Hu & Loizou cut them, and linear prediction on them.

Frame: 30 ms, hop: a quarter of it, window ``0.5 (1 - cos(2 pi n / (N + 1)))`` for ``n = 1..N`` (no zero at
the ends), number of frames ``int(samples / hop - N / hop)`` (the last whole frame is left out, as in the
published scripts: the figures in the literature depend on it).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ._inputs import Signal

FRAME_S = 0.030
EPS = float(np.finfo(np.float64).eps)


class Layout(NamedTuple):
    """Frame length and hop in samples."""

    frame: int
    hop: int

    @property
    def shortest(self) -> int:
        """Samples that give at least one frame."""
        return self.frame + self.hop


def layout(sample_rate: int) -> Layout:
    """30 ms frames with a quarter as hop."""
    frame = round(FRAME_S * sample_rate)
    return Layout(frame, frame // 4)


def blocks(x: Signal, lay: Layout, *, block: int = 2048) -> Iterator[Signal]:
    """Windowed frames ``(frames, samples)``, at most ``block`` at a time so that long files fit in memory."""
    count = int(x.size / lay.hop - lay.frame / lay.hop)
    window = 0.5 * (1.0 - np.cos(2.0 * np.pi * np.arange(1, lay.frame + 1) / (lay.frame + 1)))
    views = np.lib.stride_tricks.sliding_window_view(x, lay.frame)[:: lay.hop]
    for start in range(0, count, block):
        yield views[start : min(start + block, count)] * window


def autocorrelation(frames: Signal, order: int) -> Signal:
    """``R[k] = sum_n x[n] x[n+k]`` for ``k = 0..order``, per frame."""
    size = frames.shape[1]
    return np.stack([np.sum(frames[:, : size - k] * frames[:, k:], axis=1) for k in range(order + 1)], axis=1)


def levinson(r: Signal) -> tuple[Signal, Signal]:
    """Prediction polynomials ``A = [1, a1 .. aP]`` and residual energies of many frames at once.

    Levinson-Durbin recursion on autocorrelations ``(frames, P + 1)``. A frame without energy gets ``A =
    [1, 0..]``.
    """
    count, order = r.shape[0], r.shape[1] - 1
    a = np.zeros((count, order))
    error = r[:, 0].copy()
    for i in range(order):
        past = a[:, :i].copy()
        sums = np.sum(past * r[:, i:0:-1], axis=1)
        safe = np.where(error > 0.0, error, 1.0)
        k = np.where(error > 0.0, (r[:, i + 1] - sums) / safe, 0.0)
        a[:, i] = k
        a[:, :i] = past - k[:, None] * past[:, ::-1]
        error = (1.0 - k * k) * error
    return np.concatenate((np.ones((count, 1)), -a), axis=1), error


def quadratic(a: Signal, r: Signal) -> Signal:
    """``a R a'`` per frame, with ``R`` the Toeplitz matrix of the autocorrelations."""
    order = r.shape[1] - 1
    index = np.abs(np.arange(order + 1)[:, None] - np.arange(order + 1)[None, :])
    return np.asarray(np.einsum("fi,fij,fj->f", a, r[:, index], a))


def lowest_mean(values: Signal, keep: float = 0.95) -> float:
    """Mean of the lowest ``keep`` of the frames: the worst 5 % are outliers, as in Hu & Loizou."""
    ordered = np.sort(values)
    return float(np.mean(ordered[: max(1, round(values.size * keep))]))
