"""Level of what is heard while the reference pauses.

::

    floor = 10 log10( mean of y^2 over the pauses )     [dB re full scale: a square wave of peak 1 is 0]

A pause is a frame of the reference without speech by ITU-T P.56 and 30 dB under its active level. What
little the reference itself holds there counts too, so the floor of a real recording cannot fall under its
own. Limited to -120 dB at the low end. NaN when the reference has less than 0.2 s of pauses. Lower is
quieter; compare with the same figure of the noisy file.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import pair, rate
from ._pauses import pauses
from ._spectra import shortest, starts

_LOWEST_DB = -120.0


def noise_floor(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Level in the pauses of the reference in dB re full scale; NaN without pauses."""
    sample_rate = rate(sample_rate)
    s, y = pair(reference, degraded, at_least=shortest(sample_rate))
    quiet = pauses(s, sample_rate)
    if not quiet.any():
        return math.nan
    size = shortest(sample_rate)
    edge = np.zeros(y.size + 1, dtype=np.int64)  # +1 where a quiet frame begins, -1 where it ends
    first = starts(y.size, sample_rate)[quiet]
    np.add.at(edge, first, 1)
    np.add.at(edge, first + size, -1)
    inside = np.cumsum(edge[:-1]) > 0
    power = float(np.mean(y[inside] ** 2))
    return max(_LOWEST_DB, 10.0 * math.log10(power)) if power > 0.0 else _LOWEST_DB
