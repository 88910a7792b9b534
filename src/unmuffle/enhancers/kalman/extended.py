r"""``kalman-ekf``: samples and AR coefficients in one state, linearised (extended Kalman filter).

The coefficients wander, :math:`a_{i,t} = a_{i,t-1} + n_{i,t}`, and the speech is
:math:`s_t = \sum_i a_{i,t} s_{t-i} + w_t`: a product of two parts of the state. The extended filter
carries the covariance through its gradient at the mean,

.. math:: \nabla = (\hat s_{t-1} \dots \hat s_{t-p}, \; \hat a_1 \dots \hat a_p),

so that each innovation corrects samples and coefficients alike. The coefficients of the frame (as in
``kalman``) are taken as one more measurement, with the standard deviation ``doubt``, once a hop.
Without them the filter is left with what it made itself: it starts from nothing, and after a pause
takes long to find the next vowel.

Trade-offs: ``drift`` lets the model move within a hop, as diphthongs do, and lets noise move it as well.
On noisy speech the frame knows the coefficients better than the filter does: the larger ``doubt``, the
less is gained, and ``kalman`` (which is the limit of a small one) gains most. This filter is for
following coefficients at a known excitation, and for material without a usable frame estimate.

The linearised mean ignores that errors of coefficients and samples go together; see ``kalman-ukf``.

M. Niedzwiecki, K. Cisowski, "Adaptive scheme for elimination of broadband noise and impulsive
disturbances from AR and ARMA signals", IEEE Trans. Signal Process. 44(3), 1996.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .joint import JointEnhancer


@dataclass(frozen=True)
class KalmanEkf(JointEnhancer):
    """Samples and AR coefficients estimated jointly by an extended Kalman filter."""

    name: ClassVar[str] = "kalman-ekf"
    unscented: ClassVar[bool] = False
