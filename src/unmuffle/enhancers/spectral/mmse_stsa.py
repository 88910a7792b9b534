r"""Short-time spectral amplitude estimator (Ephraim & Malah 1984).

The mean of the amplitude given the noisy bin, for complex Gaussian speech and noise:

.. math:: G(\xi, \gamma) = \frac{\sqrt{\pi}}{2} \frac{\sqrt v}{\gamma} e^{-v/2}
          \left[(1 + v) I_0(v/2) + v I_1(v/2)\right],
          \qquad v = \frac{\xi}{1 + \xi} \gamma,

:math:`I_n` being modified Bessel functions. As :math:`\sqrt v / \gamma = \xi / (1 + \xi) / \sqrt v`, it is
the Wiener gain times a function of ``v``. It attenuates least of the three estimators of the family
(amplitude, log amplitude, complex bin), so more noise and more speech are left.

Y. Ephraim, D. Malah, "Speech enhancement using a minimum mean-square error short-time spectral
amplitude estimator", IEEE Trans. Acoust. Speech Signal Process. 32(6), 1984.
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
    """The gain over the Wiener gain, exact."""
    from scipy.special import i0e, i1e

    bessel = (1.0 + v) * i0e(v / 2.0) + v * i1e(v / 2.0)  # the e of i0e holds exp(-v / 2)
    return np.asarray(0.5 * np.sqrt(np.pi / v) * bessel)


@lru_cache(maxsize=1)
def _table() -> LogTable:
    # For large v the correction is 1 + 1 / (4 v): at 2**12, 0.0005 dB away from 1.
    return LogTable(correction, -44, 12)


def mmse_stsa_gain(xi: Array, gamma: Array) -> Array:
    """The gain, by table (within 0.02 dB of the formula), at most 1."""
    gain = xi + ONE
    np.divide(xi, gain, out=gain)
    v = gain * gamma
    gain *= _table()(v)
    return np.asarray(np.minimum(gain, ONE, out=gain))


@dataclass(frozen=True)
class MmseStsa(SpectralSuppressor):
    """Short-time spectral amplitude estimator."""

    name: ClassVar[str] = "mmse-stsa"

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The formula."""
        return mmse_stsa_gain(xi, gamma)
