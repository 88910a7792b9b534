"""Short frames as the objective measures of Hu & Loizou cut them, and linear prediction on them.

Frame: 30 ms, hop: a quarter of it, window ``0.5 (1 - cos(2 pi n / (N + 1)))`` for ``n = 1..N`` (no zero at
the ends), number of frames ``int(samples / hop - N / hop)`` (the last whole frame is left out, as in the
published scripts: the figures in the literature depend on it).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..signal.lpc import levinson
from ._inputs import Signal, pair, rate, to_rate

FRAME_S = 0.030
HIGHEST_RATE = 16000  # the measures were fitted on telephone and wide-band speech
EPS = float(np.finfo(np.float64).eps)


class Layout(NamedTuple):
    """Frame length and hop in samples."""

    frame: int
    hop: int

    @property
    def shortest(self) -> int:
        """Samples that give at least one frame."""
        return self.frame + self.hop


def prediction_order(sample_rate: int) -> int:
    """10 below 10 kHz, else 16."""
    return 10 if sample_rate < 10000 else 16


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


def predictor(frames: Signal, order: int) -> tuple[Signal, Signal]:
    """Prediction polynomials ``A = [1, a1 .. aP]`` and the autocorrelations they come from, per frame.

    No noise floor and no lag window: the published scores have none. A silent frame gets ``A = [1, 0 ..]``.
    """
    r = autocorrelation(frames, order)
    return levinson(r).coefficients, r


def quadratic(a: Signal, r: Signal) -> Signal:
    """``a R a'`` per frame, with ``R`` the Toeplitz matrix of the autocorrelations."""
    order = r.shape[1] - 1
    index = np.abs(np.arange(order + 1)[:, None] - np.arange(order + 1)[None, :])
    return np.asarray(np.einsum("fi,fij,fj->f", a, r[:, index], a))


def lowest_mean(values: Signal, keep: float = 0.95) -> float:
    """Mean of the lowest ``keep`` of the frames: the worst 5 % are outliers, as in Hu & Loizou."""
    ordered = np.sort(values)
    return float(np.mean(ordered[: max(1, round(values.size * keep))]))


def speech_pair(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> tuple[Signal, Signal, int]:
    """A checked pair of at least one frame at 16 kHz, or at its own rate when that is lower."""
    sample_rate = rate(sample_rate)
    x, y = pair(reference, degraded, at_least=layout(sample_rate).shortest + sample_rate // 1000)
    new = min(sample_rate, HIGHEST_RATE)
    return to_rate(x, sample_rate, new), to_rate(y, sample_rate, new), new
