"""Clipping: a converter or amplifier driven beyond what it can hold.

    hard   y = max(-t, min(t, x))
    soft   y = t tanh(x / t)          a valve or tape: bends before it flattens

Either the threshold t is given, in dB re full scale, or the **input SDR** that shall come out,
``10 log10(sum x^2 / sum (x - y)^2)`` (the usual way in the declipping literature: 1 dB is ruined, 20 dB
is mild). The SDR falls strictly as t does, so t is found by bisection, to 1e-6 dB.

The signal is not made louder afterwards; the target is the signal before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ParameterError
from ..signal.blocks import as_block
from ..signal.levels import gain
from .base import Damage, Record, Scene, check_choice, check_finite

SHAPES = ("hard", "soft")


@dataclass(frozen=True)
class Clip(Damage):
    """Hard or soft clipping at an input SDR or at a threshold."""

    kind: ClassVar[str] = "clip"
    sdr_db: float | None = 10.0
    threshold_dbfs: float | None = None
    shape: str = "hard"

    def __post_init__(self) -> None:
        check_choice("clip shape", self.shape, SHAPES)
        if (self.sdr_db is None) == (self.threshold_dbfs is None):
            raise ParameterError("give exactly one of sdr_db and threshold_dbfs")
        if self.sdr_db is not None and not 0.1 <= self.sdr_db <= 80.0:
            raise ParameterError(f"sdr_db must lie in 0.1..80 dB, got {self.sdr_db}")
        if self.threshold_dbfs is not None:
            check_finite("threshold_dbfs", self.threshold_dbfs)

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        x = scene.signal.astype(np.float64)
        if self.threshold_dbfs is not None:
            threshold = gain(self.threshold_dbfs)
        else:
            threshold = _threshold_for(x, float(self.sdr_db or 0.0), self.shape)
        y = clip(x, threshold, self.shape)
        drawn: Record = {
            "threshold": threshold,
            "sdr_db": sdr_db(x, y),
            "clipped_share": float(np.mean(np.abs(x) > threshold)),
        }
        return replace(scene, signal=as_block(y)), drawn


def clip(x: NDArray[np.float64], threshold: float, shape: str = "hard") -> NDArray[np.float64]:
    """Clip at ``threshold`` (linear)."""
    if shape == "hard":
        return np.clip(x, -threshold, threshold)
    return threshold * np.tanh(x / threshold)


def sdr_db(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Signal to distortion in decibels, without any scaling; infinite when nothing changed."""
    distortion = float(np.sum(np.square(x - y)))
    return 10.0 * float(np.log10(np.sum(np.square(x)) / distortion)) if distortion > 0.0 else np.inf


def _threshold_for(x: NDArray[np.float64], wanted_db: float, shape: str) -> float:
    peak = float(np.max(np.abs(x)))
    if peak == 0.0:
        raise InputError("the signal is silent and cannot be clipped to an SDR; choose another")
    # A soft curve needs room above the peak to reach high SDRs: 80 dB is met at 50 x the peak.
    low, high = 1e-6 * peak, (1.0 if shape == "hard" else 1e3) * peak
    for _ in range(200):
        middle = float(np.sqrt(low * high))
        reached = sdr_db(x, clip(x, middle, shape))
        if abs(reached - wanted_db) < 1e-6:
            break
        low, high = (middle, high) if reached < wanted_db else (low, middle)
    return middle
