"""Speech attenuation: how much of the speech the processing took away.

Over the time-frequency cells in which the reference has speech (within 40 dB of its loudest cell, 32 ms
frames)::

    loss = 10 log10( sum |S|^2 / sum min(|Y|^2, |S|^2) )      [dB], 0 is best, at most 60

Only what is missing counts; added noise does not make up for it, since a cell cannot return more than it
had. A gain of -g dB loses g dB, a band that is muted loses its share of the energy. Noise that interferes
destructively costs a few tenths of a dB. Levels must therefore agree: an output that is quieter as a whole
counts as lost speech.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import pair, rate
from ._spectra import floor_under_peak, hann_power, shortest

_DEPTH = 1e-4  # 40 dB
_LIMIT_DB = 60.0


def speech_loss(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Speech energy lost in dB, 0 to 60."""
    sample_rate = rate(sample_rate)
    s, y = pair(reference, degraded, at_least=shortest(sample_rate))
    floor = floor_under_peak(s, sample_rate, _DEPTH)
    had = kept = 0.0
    for p, q in zip(hann_power(s, sample_rate), hann_power(y, sample_rate), strict=True):
        speech = p >= floor
        had += float(np.sum(p[speech]))
        kept += float(np.sum(np.minimum(p, q)[speech]))
    return _LIMIT_DB if kept <= had * 10 ** (-_LIMIT_DB / 10) else 10.0 * math.log10(had / kept)
