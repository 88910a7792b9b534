r"""Log-spectral amplitude estimator (Ephraim & Malah 1985).

Minimises the mean squared error of the logarithm of the amplitude, closer to how loudness is heard
than the amplitude itself:

.. math:: G(\xi, \gamma) = \frac{\xi}{1 + \xi} \exp\left(\tfrac12 E_1(v)\right),
          \qquad v = \frac{\xi}{1 + \xi} \gamma, \qquad E_1(v) = \int_v^\infty \frac{e^{-t}}{t} dt.

For large ``v`` it is the Wiener gain; for small ``v`` it attenuates more than
:mod:`.mmse_stsa`. With the decision-directed SNR its residual noise has no tones in it.

Y. Ephraim, D. Malah, "Speech enhancement using a minimum mean-square error log-spectral amplitude
estimator", IEEE Trans. Acoust. Speech Signal Process. 33(2), 1985.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from .gain import Array, Float64, LogTable, scalar
from .suppressor import SpectralSuppressor

ONE = scalar(1.0)


def correction(v: Float64) -> Float64:
    """``exp(E1(v) / 2)``, exact: what the Wiener gain is multiplied with."""
    from scipy.special import exp1

    return np.asarray(np.exp(0.5 * exp1(v)))


@lru_cache(maxsize=1)
def _table() -> LogTable:
    # Below 2**-44 no product of our SNRs falls; above 2**7 the correction is 1 within 1e-58.
    return LogTable(correction, -44, 7)


def log_mmse_gain(xi: Array, gamma: Array) -> Array:
    """The gain, by table (within 0.02 dB of the formula), at most 1."""
    gain = xi + ONE
    np.divide(xi, gain, out=gain)
    v = gain * gamma
    gain *= _table()(v)
    return np.asarray(np.minimum(gain, ONE, out=gain))


@dataclass(frozen=True)
class LogMmse(SpectralSuppressor):
    """Log-spectral amplitude estimator: the classic that sounds natural."""

    name: ClassVar[str] = "log-mmse"

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The formula."""
        return log_mmse_gain(xi, gamma)
