"""Clipping ratio: the share of samples that sit on a flat ceiling.

A sample is clipped when it belongs to a run of at least three that are equal within 1e-5 of the peak, at
no less than 90 % of the peak of its own sign, or when it reaches full scale (|y| >= 1 - 2^-15). The
ceiling may lie anywhere, so a clipped file that was turned down afterwards is found too. A sine does not
count (near its crest neighbours differ by more, down to 50 Hz at 48 kHz); a square wave does: it is
indistinguishable. Clipping followed by a filter or a lossy codec is no longer flat and is missed. 0 to 1,
lower is better. Positive and negative ceilings are separate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._inputs import Signal, rate, signal

_FULL_SCALE = 1.0 - 2.0**-15
_FLAT = 1e-5
_NEAR_PEAK = 0.9
_RUN = 3


def _flat_tops(y: Signal) -> NDArray[np.bool_]:
    """Which samples lie in flat runs near the positive peak."""
    peak = float(np.max(y, initial=0.0))
    if peak <= 0.0:
        return np.zeros(y.size, dtype=np.bool_)
    views = np.lib.stride_tricks.sliding_window_view(y, _RUN)
    flat = (views.max(axis=1) - views.min(axis=1) <= _FLAT * peak) & (views.min(axis=1) >= _NEAR_PEAK * peak)
    marked = np.zeros(y.size, dtype=np.bool_)
    for offset in range(_RUN):
        marked[offset : offset + flat.size] |= flat
    return marked


def clipping(degraded: ArrayLike, sample_rate: int) -> float:
    """Share of clipped samples, 0 to 1."""
    rate(sample_rate)
    y = signal(degraded, "degraded")
    clipped = np.abs(y) >= _FULL_SCALE
    if y.size >= _RUN:
        clipped |= _flat_tops(y) | _flat_tops(-y)
    return float(np.mean(clipped))
