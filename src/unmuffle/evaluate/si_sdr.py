"""Scale-invariant signal-to-distortion ratio, also called SI-SNR.

::

    s0 = s - mean(s),  y0 = y - mean(y)
    a  = <y0, s0> / <s0, s0>
    SI-SDR = 10 log10( |a s0|^2 / |y0 - a s0|^2 )          [dB]

Le Roux, Wisdom, Erdogan & Hershey, "SDR - half-baked or well done?", ICASSP 2019. The means are removed,
as in the SI-SNR of Luo & Mesgarani (TasNet, ICASSP 2018) and in most published tables; ``zero_mean=False``
gives the paper's own form. Blind to gain and to polarity, not to delay: one sample late at 16 kHz costs
speech most of its score. Cut at +-150 dB. A silent or constant signal has no defined score and is an
`InputError`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ._inputs import SILENCE, decibel, pair, rate


def si_sdr(reference: ArrayLike, degraded: ArrayLike, sample_rate: int, *, zero_mean: bool = True) -> float:
    """SI-SDR in dB; with ``zero_mean`` (default) also known as SI-SNR.

    >>> import numpy as np
    >>> s, n = np.sin(np.arange(1000) * 0.02 * np.pi), np.cos(np.arange(1000) * 0.02 * np.pi)
    >>> round(si_sdr(s, 3 * s + 0.3 * n, 8000), 3)
    20.0
    """
    rate(sample_rate)
    s, y = pair(reference, degraded, silent_degraded=False)
    if zero_mean:
        s, y = s - s.mean(), y - y.mean()
        for x, name in ((s, "reference"), (y, "degraded")):
            if np.max(np.abs(x)) < SILENCE:
                raise InputError(f"{name} is constant; without its mean there is nothing to score")
    scale = float(np.sum(y * s)) / float(np.sum(s * s))
    target = scale * s
    return decibel(float(np.sum(target * target)), float(np.sum((y - target) ** 2)))


def delta_si_sdr(reference: ArrayLike, noisy: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """SI-SDR of ``degraded`` minus SI-SDR of ``noisy``, in dB (SI-SDRi)."""
    return si_sdr(reference, degraded, sample_rate) - si_sdr(reference, noisy, sample_rate)
