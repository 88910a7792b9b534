r"""``kalman``: AR speech in white or coloured AR noise (Paliwal & Basu 1987; Gibson, Koo & Gray 1991).

.. math::
    s_t = \sum_{i=1}^{p} a_i s_{t-i} + w_t, \qquad
    v_t = \sum_{i=1}^{q} b_i v_{t-i} + u_t, \qquad y_t = s_t + v_t,

with the coefficients and the variances of ``w`` and ``u`` constant within a hop (12 ms). The state
holds the last ``p`` samples of speech and ``q`` of noise; its transition is block-companion, its
covariance is kept as a square root (:mod:`.recursion`). Given the models, no linear estimate of a
sample from the past and the next ``lag`` samples has a smaller error.

Trade-offs
    ``order``: 10 follows the formants of telephone speech, 16 those of wide-band speech. Harmonics are
    not modelled at any order offered here: noise between them stays.
    ``noise_order``: 0 (white) is right for hiss and wrong for all else. 4 fits the tilt of most noises,
    10 to 16 their shape; the cost grows with ``(order + noise_order)^2``.
    ``lag``: the next samples help as long as the speech remembers: most of the gain comes within ``order``
    samples, which cost nothing; each one beyond costs O(order).
    ``iterations``: 2 to 4 rounds of expectation maximisation: the speech model is estimated anew from
    the filtered window and the covariance of its errors. Each costs three filter passes. In steady noise
    they add a tenth or two of a decibel, in changing noise they take away as much or more.
    ``noise``: the tracker that drives the noise model; ``vad`` updates it in speech pauses alone.

Fails where the spectral methods fail, when the tracker takes the noise for speech, and at voiced
speech of high pitch, whose spectrum is lines.

K. K. Paliwal, A. Basu, "A speech enhancement method based on Kalman filtering", ICASSP 1987.
J. D. Gibson, B. Koo, S. D. Gray, "Filtering of colored noise for speech enhancement and coding",
IEEE Trans. Signal Process. 39(8), 1991.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..base import Kernel
from ..params import param
from .framing import ArEnhancer
from .linear import LinearKernel


@dataclass(frozen=True)
class Kalman(ArEnhancer):
    """AR(p) speech in white or AR(q) noise, with fixed-lag smoothing and iterative re-estimation."""

    name: ClassVar[str] = "kalman"
    iterations: int = param(1, "how often the speech model of a hop is estimated", low=1, high=8)

    def native(self, sample_rate: int, channels: int) -> Kernel:
        """The running part."""
        return LinearKernel(self, sample_rate, channels, iterations=self.iterations)
