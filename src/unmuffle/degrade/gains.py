"""Level changes, DC offset, and the headroom that keeps a mixture inside [-1, 1].

`LevelChange` and `DcOffset` leave the target alone: undoing them is the enhancer's task (or not its
business, for a fixed gain). `Headroom` moves signal and target together and is no damage at all: it
stands at the end of a pipeline whose result goes to a fixed-point file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from ..errors import ParameterError
from ..signal.blocks import as_block
from ..signal.levels import gain
from .base import Damage, Record, Scene, check_choice, check_finite, check_positive

SHAPES = ("steps", "drift", "fixed")
_RAMP_S = 0.01


@dataclass(frozen=True)
class LevelChange(Damage):
    """A talker who moves, a hand on the fader.

    ``steps``: a new gain about every ``every_s``, reached within 10 ms. ``drift``: gains drawn every
    ``every_s`` with a smooth, monotone curve between. Gains are uniform within ``+- range_db / 2``.
    ``fixed``: one gain of ``range_db`` (which may be negative) throughout.
    """

    kind: ClassVar[str] = "gain"
    shape: str = "steps"
    range_db: float = 12.0
    every_s: float = 2.0

    def __post_init__(self) -> None:
        check_choice("gain shape", self.shape, SHAPES)
        check_finite("range_db", self.range_db)
        check_positive("every_s", self.every_s)
        if abs(self.range_db) > 100.0:
            raise ParameterError(f"range_db must lie in -100..100 dB, got {self.range_db}")
        if self.every_s < 2.0 * _RAMP_S:
            raise ParameterError(f"every_s must be at least {2.0 * _RAMP_S} s, got {self.every_s}")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        curve_db, drawn = self._curve(scene.signal.shape[1], scene.sample_rate, rng)
        factor = 10.0 ** (curve_db / 20.0)
        after = replace(scene, signal=as_block(scene.signal * factor), speech=as_block(scene.speech * factor))
        return after, drawn

    def _curve(
        self, n: int, sample_rate: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], Record]:
        if self.shape == "fixed":
            return np.full(n, self.range_db), {"gains_db": [self.range_db]}
        duration = n / sample_rate
        knots = int(np.ceil(duration / self.every_s)) + 1
        gains = rng.uniform(-0.5, 0.5, knots) * self.range_db
        # Steps come early or late by up to a quarter, so that nothing can learn their period.
        times = self.every_s * (np.arange(knots) + rng.uniform(-0.25, 0.25, knots) * (np.arange(knots) > 0))
        now = np.arange(n) / sample_rate
        if self.shape == "drift":
            curve = PchipInterpolator(np.append(times, times[-1] + 1e3), np.append(gains, gains[-1]))(now)
        else:
            x = np.ravel(np.column_stack([times, times + _RAMP_S]))[1:]
            y = np.repeat(gains, 2)[:-1]
            curve = np.interp(now, x[1:], y[1:]) if knots > 1 else np.full(n, gains[0])
        return np.asarray(curve), {"gains_db": list(gains), "times_s": list(times)}


@dataclass(frozen=True)
class DcOffset(Damage):
    """A constant added to every sample, as cheap converters do."""

    kind: ClassVar[str] = "dc"
    offset: float = 0.02
    """In units of full scale, -1..1."""

    def __post_init__(self) -> None:
        if not -1.0 <= self.offset <= 1.0:
            raise ParameterError(f"offset must lie in -1..1 of full scale, got {self.offset}")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        return scene.add(np.float32(self.offset) * np.ones(1, np.float32)), {}


@dataclass(frozen=True)
class Headroom(Damage):
    """Scale signal, speech and target by one factor so that none exceeds ``peak``; else leave them."""

    kind: ClassVar[str] = "headroom"
    peak: float = 0.99

    def __post_init__(self) -> None:
        check_positive("peak", self.peak)

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        highest = max(float(np.max(np.abs(x))) for x in (scene.signal, scene.target))
        if highest <= self.peak:
            return scene, {"gain_db": 0.0}
        decibels = 20.0 * float(np.log10(self.peak / highest))
        factor = np.float32(gain(decibels))
        after = Scene(scene.signal * factor, scene.speech * factor, scene.target * factor, scene.sample_rate)
        return after, {"gain_db": decibels}
