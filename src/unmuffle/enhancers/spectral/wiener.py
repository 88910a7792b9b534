r"""Wiener filter: the linear estimator with the least mean squared error.

.. math:: G = \frac{\xi}{1 + \xi}

and, as :math:`\xi = \gamma - 1` for the power at hand (``snr = "ml"``), without an a-priori SNR

.. math:: G = \max\left(\frac{\gamma - 1}{\gamma}, 0\right).

The parametric form

.. math:: G = \left(\frac{\xi}{\mu + \xi}\right)^{\beta}

trades noise for distortion: :math:`\mu > 1` removes more, :math:`\beta = 1/2` with :math:`\mu = 1` is
the square-root Wiener filter (power spectral subtraction in expectation).

J. S. Lim, A. V. Oppenheim, "Enhancement and bandwidth compression of noisy speech", Proc. IEEE 67(12),
1979.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...noise.snr import wiener
from ..params import param
from .gain import Array, scalar
from .suppressor import SpectralSuppressor

ONE, ZERO = scalar(1.0), scalar(0.0)


def wiener_gain_from_gamma(gamma: Array) -> Array:
    """Wiener gain of an a-posteriori SNR: ``(gamma - 1) / gamma``, clipped at 0."""
    gain = (gamma - ONE) / np.maximum(gamma, np.float32(1e-12))
    return np.asarray(np.maximum(gain, ZERO, out=gain))


@dataclass(frozen=True)
class Wiener(SpectralSuppressor):
    """Wiener filter, ``xi / (1 + xi)``. Robust; sounds a little dull with ``snr = "dd"``."""

    name: ClassVar[str] = "wiener"

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The formula."""
        return wiener(xi)


@dataclass(frozen=True)
class ParametricWiener(SpectralSuppressor):
    """Parametric Wiener filter, ``(xi / (mu + xi)) ** beta``."""

    name: ClassVar[str] = "parametric-wiener"
    mu: float = param(1.0, "over-estimation of the noise; more removes more", low=0.05, high=20.0)
    beta: float = param(0.5, "exponent; more removes more", low=0.05, high=5.0)

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The formula."""
        gain = xi / (xi + np.float32(self.mu))
        if self.beta == 0.5:
            return np.asarray(np.sqrt(gain, out=gain))
        return gain if self.beta == 1.0 else np.asarray(gain ** np.float32(self.beta))


@dataclass(frozen=True)
class WienerGamma(SpectralSuppressor):
    """Wiener filter from the a-posteriori SNR, ``(gamma - 1) / gamma``: quick, with musical noise."""

    name: ClassVar[str] = "wiener-gamma"
    smoothing: str = param("gain", "how the gains are smoothed", choices=("none", "gain", "cepstral"))
    uses_xi: ClassVar[bool] = False

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The formula."""
        return wiener_gain_from_gamma(gamma)
