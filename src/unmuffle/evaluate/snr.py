"""Signal-to-noise ratio, and how much of it was gained.

::

    SNR       = 10 log10( sum s^2 / sum (y - s)^2 )        [dB]
    delta SNR = SNR(s, enhanced) - SNR(s, noisy)           [dB]

``s`` reference, ``y`` degraded. Everything that differs from the reference counts as noise: a gain of 0.5
alone caps the SNR at 6.02 dB, a delay of one sample ruins it. Align first; for an output of another level use
`unmuffle.evaluate.si_sdr`. A silent output scores 0 dB (what is missing equals the signal). No mean
removal, no activity detection, whole file. Ratios are cut at +-150 dB, so a perfect copy is 150.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._inputs import decibel, pair, rate


def snr(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Signal-to-noise ratio in dB over the whole file.

    >>> import numpy as np
    >>> s = np.sin(np.arange(8000) / 7.0)
    >>> round(snr(s, 0.9 * s, 8000), 3)
    20.0
    """
    rate(sample_rate)
    s, y = pair(reference, degraded)
    return decibel(float(np.sum(s * s)), float(np.sum((y - s) ** 2)))


def delta_snr(reference: ArrayLike, noisy: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """SNR of ``degraded`` minus SNR of ``noisy``, in dB: what the enhancement gained."""
    return snr(reference, degraded, sample_rate) - snr(reference, noisy, sample_rate)
