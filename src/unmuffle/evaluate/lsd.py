"""Log-spectral distance between short-time spectra.

::

    LSD = mean_t sqrt( mean_f ( 10 log10( |S(t,f)|^2 / |Y(t,f)|^2 ) )^2 )     [dB]

Gray & Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24(5), 1976. Variant: 32 ms Hann
frames, 8 ms hop, all bins of the signal's own rate, natural for judging restored bandwidth; both powers
are floored 80 dB under the loudest cell of the reference, so that digital silence is not an infinite
distance. A gain of g dB scores g dB. A band that one of the two lacks dominates the score. 0 is best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import pair, rate
from ._spectra import floor_under_peak, hann_power, shortest

_DEPTH = 1e-8  # 80 dB


def lsd(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Log-spectral distance in dB, 0 is a perfect copy."""
    sample_rate = rate(sample_rate)
    s, y = pair(reference, degraded, at_least=shortest(sample_rate))
    floor = floor_under_peak(s, sample_rate, _DEPTH)
    total, count = 0.0, 0
    for p, q in zip(hann_power(s, sample_rate), hann_power(y, sample_rate), strict=True):
        d = 10.0 * np.log10(np.maximum(p, floor) / np.maximum(q, floor))
        total += float(np.sum(np.sqrt(np.mean(d * d, axis=1))))
        count += p.shape[0]
    return total / count
