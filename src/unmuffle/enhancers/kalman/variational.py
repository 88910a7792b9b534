r"""``kalman-vb``: the noise variance is part of what is estimated (variational Bayes).

A tracker looks at frames and takes a while to believe a change of the noise. Here the variance of the
noise has a distribution of its own, inverse-gamma with shape :math:`\alpha` and scale :math:`\beta`,
that is updated with each sample:

.. math::
    \alpha_t = \rho \alpha_{t-1} + \tfrac12, \qquad
    \beta_t = \rho \beta_{t-1} + \tfrac12 \left[(y_t - H m_t)^2 + H P_t H^T\right],

where :math:`m_t, P_t` are the filter's result with the variance :math:`\beta_t / \alpha_t`: a fixed point,
found by a few rounds. With white noise this is Särkkä & Nummenmaa's filter. With coloured noise it is
applied to the variance of its excitation, which enters the innovation in the same way: only the rest
of the innovation's variance and one scalar take part, so the filter runs once per sample all the same.

On real speech the excitation comes in pulses, which a noise variance free to follow would take up.
So each step also draws :math:`(\alpha, \beta)` towards what the tracker says, with the weight ``trust``:
1 gives the tracker as much say as the samples, 0 is the paper's filter.

Trade-offs: a short ``memory_ms`` follows bursts and takes more of the speech with it.

S. Särkkä, A. Nummenmaa, "Recursive noise adaptive Kalman filtering by variational Bayesian
approximations", IEEE Trans. Automatic Control 54(3), 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..base import Kernel
from ..params import param
from .framing import ArEnhancer
from .linear import LinearKernel


@dataclass(frozen=True)
class KalmanVb(ArEnhancer):
    """AR(p) speech in AR(q) noise whose variance is adapted sample by sample."""

    name: ClassVar[str] = "kalman-vb"
    memory_ms: float = param(50.0, "time over which the noise variance is remembered", low=1.0, high=10_000.0)
    trust: float = param(4.0, "weight of the tracked noise against the samples", low=0.0, high=1000.0)

    def native(self, sample_rate: int, channels: int) -> Kernel:
        """The running part."""
        keep = math.exp(-1000.0 / (self.memory_ms * sample_rate))
        return LinearKernel(self, sample_rate, channels, keep=keep, pull=0.5 * self.trust)
