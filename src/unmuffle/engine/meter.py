"""How loud the last moments of a running signal were: RMS, peak, and a peak that stays in sight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..signal.blocks import Samples

FLOOR_DBFS = -90.0
"""What a meter shows for silence, and the lowest that it shows."""

HOLD_S = 1.5
"""How long the highest peak stays before it falls."""

FALL_DB_S = 20.0
"""How fast the held peak falls after that."""


@dataclass(frozen=True)
class Level:
    """A reading, in dBFS (0 dBFS is a mean square of 1; a full-scale sine reads -3.01)."""

    rms_dbfs: float = FLOOR_DBFS
    peak_dbfs: float = FLOOR_DBFS
    held_dbfs: float = FLOOR_DBFS
    """The highest peak of the last seconds."""
    clipped: bool = False
    """A sample reached full scale within this reading."""


class Meter:
    """Turns spans of a signal into readings; only the held peak has a memory.

    >>> meter = Meter()
    >>> meter.read(np.full((1, 480), 0.1, np.float32), 0.01).rms_dbfs
    -20.0
    """

    def __init__(self) -> None:
        self._held = FLOOR_DBFS
        self._age = 0.0

    def read(self, x: Samples, elapsed_s: float) -> Level:
        """The level of ``(channels, n)`` samples, ``elapsed_s`` after the reading before."""
        if not x.size:
            return Level(held_dbfs=self._held)
        peak = float(np.max(np.abs(x)))
        peak_db = _db(peak * peak)
        self._age += elapsed_s
        if peak_db >= self._held:
            self._held, self._age = peak_db, 0.0
        elif self._age > HOLD_S:
            self._held = max(peak_db, FLOOR_DBFS, self._held - FALL_DB_S * elapsed_s)
        return Level(mean_level(x), peak_db, self._held, peak >= 1.0)


def mean_level(x: Samples) -> float:
    """RMS over all channels in dBFS, not below :data:`FLOOR_DBFS`."""
    return round(_db(float(np.mean(np.square(x, dtype=np.float64)))), 2) if x.size else FLOOR_DBFS


def _db(power: float) -> float:
    return max(FLOOR_DBFS, 10.0 * math.log10(power)) if power > 0.0 else FLOOR_DBFS
