"""Where the reference pauses: the places in which only noise is left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signal.levels import active_mask
from ._inputs import Signal
from ._spectra import shortest, starts

SHORTEST_S = 0.2
_BELOW_DB = 30.0


def pauses(reference: Signal, sample_rate: int) -> NDArray[np.bool_]:
    """Which 32 ms frames of `_spectra` hold no speech.

    No sample of the frame is active by ITU-T P.56 (0.2 s hang-over included), and its level is 30 dB below
    the mean level of the active part. All ``False`` when less than 0.2 s of pause is found in total.
    """
    size = shortest(sample_rate)
    first = starts(reference.size, sample_rate)
    mask = active_mask(reference, sample_rate)
    if first.size == 0 or not mask.any():
        return np.zeros(first.size, dtype=np.bool_)
    counts = np.concatenate(([0], np.cumsum(mask)))
    energy = np.concatenate(([0.0], np.cumsum(reference * reference)))
    speech = float(np.mean(reference[mask] ** 2))
    level = (energy[first + size] - energy[first]) / size
    found = (counts[first + size] == counts[first]) & (level < speech * 10 ** (-_BELOW_DB / 10))
    hop = first[1] - first[0] if first.size > 1 else size
    if np.count_nonzero(found) * hop < SHORTEST_S * sample_rate:
        return np.zeros(first.size, dtype=np.bool_)
    return np.asarray(found)
