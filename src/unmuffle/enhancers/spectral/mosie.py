r"""Parametric amplitude estimator for super-Gaussian speech (Breithaupt, Krawczyk & Martin 2008).

Spectral amplitudes of speech are peakier than a Gaussian model says: mostly small, at times large. With
a chi distribution of shape :math:`\mu` (1: Gaussian, less: peakier) and a mean squared error of the
amplitude to the power :math:`\beta`,

.. math:: G(\xi, \gamma) = \sqrt{\frac{\xi}{\gamma (\mu + \xi)}}
          \left[\frac{\Gamma(\mu + \beta/2)}{\Gamma(\mu)}
          \frac{\Phi(\mu + \beta/2, 1; v)}{\Phi(\mu, 1; v)}\right]^{1/\beta},
          \qquad v = \frac{\xi}{\mu + \xi} \gamma,

:math:`\Phi` being Kummer's confluent hypergeometric function. Well-known estimators are corners of it:
:mod:`.mmse_stsa` is :math:`\mu = \beta = 1`, :mod:`.log_mmse` is :math:`\mu = 1, \beta \to 0`, and the
generalised-gamma estimators of Erkelens et al. (2007, their :math:`\gamma = 2`) are :math:`\beta = 1`.
A smaller :math:`\mu` keeps strong speech better and attenuates what lies in between more.

C. Breithaupt, M. Krawczyk, R. Martin, "Parameterized MMSE spectral magnitude estimation for the
enhancement of noisy speech", ICASSP 2008; J. S. Erkelens, R. C. Hendriks, R. Heusdens, J. Jensen,
"Minimum mean-square error estimation of discrete Fourier coefficients with generalized Gamma priors",
IEEE Trans. Audio Speech Lang. Process. 15(6), 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ..params import param
from .gain import Array, Float64, LogTable, scalar
from .suppressor import SpectralSuppressor

ONE = scalar(1.0)
LARGE = 400.0
"""Argument from which the asymptotic series of Kummer's function is used (its exponential overflows at 709)."""


def correction(v: Float64, mu: float, beta: float) -> Float64:
    """The gain over ``xi / (mu + xi)``, exact."""
    from scipy.special import gammaln, hyp1f1

    v = np.asarray(v, np.float64)
    small = np.minimum(v, LARGE)
    ratio = np.log(hyp1f1(mu + beta / 2, 1.0, small) / hyp1f1(mu, 1.0, small))
    level = gammaln(mu + beta / 2) - gammaln(mu)
    # Phi(a, 1; v) ~ e^v v^(a-1) / Gamma(a) * (1 + (1-a)^2 / v): the gammas cancel.
    a, b = mu + beta / 2, mu
    far = beta / 2 * np.log(v) + np.log1p((1 - a) ** 2 / v) - np.log1p((1 - b) ** 2 / v)
    logs = np.where(v < LARGE, level + ratio, far) / beta
    return np.asarray(np.exp(logs) / np.sqrt(v))


@lru_cache(maxsize=16)
def _table(mu: float, beta: float) -> LogTable:
    return LogTable(lambda v: correction(v, mu, beta), -44, 14, bits=9)


def mosie_gain(xi: Array, gamma: Array, mu: float, beta: float) -> Array:
    """The gain, by table (within 0.02 dB of the formula), at most 1."""
    gain = xi + np.float32(mu)
    np.divide(xi, gain, out=gain)
    v = gain * gamma
    gain *= _table(mu, beta)(v)
    return np.asarray(np.minimum(gain, ONE, out=gain))


@dataclass(frozen=True)
class Mosie(SpectralSuppressor):
    """Amplitude estimator with a super-Gaussian prior and a choice of error measure."""

    name: ClassVar[str] = "mosie"
    mu: float = param(0.5, "shape of the prior; 1 is Gaussian, less is peakier", low=0.1, high=2.0)
    beta: float = param(0.1, "power of the amplitude whose error is minimised", low=0.01, high=2.0)

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The formula."""
        return mosie_gain(xi, gamma, self.mu, self.beta)
