"""Dynamic range: how far loud and quiet moments are apart.

::

    DR = L_95 - L_10     [dB],   L: RMS level of 50 ms frames, 25 ms hop, not below -100 dB re full scale

``L_p`` is the level that ``p`` percent of the frames stay under: for speech, syllables against pauses. A
compressor or a high noise floor lowers it, a gate or a noise reducer raises it; neither end is good as
such. Gain leaves it alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import rate, signal

_FLOOR = 1e-10  # -100 dB


def dynamic_range(degraded: ArrayLike, sample_rate: int) -> float:
    """Level difference in dB between the 95th and the 10th percentile of 50 ms frames."""
    sample_rate = rate(sample_rate)
    size = sample_rate // 20
    y = signal(degraded, "degraded", at_least=size)
    energy = np.concatenate(([0.0], np.cumsum(y * y)))
    first = np.arange(0, y.size - size + 1, size // 2)
    power = np.maximum((energy[first + size] - energy[first]) / size, _FLOOR)
    high, low = np.percentile(10.0 * np.log10(power), [95, 10])
    return float(high - low)
