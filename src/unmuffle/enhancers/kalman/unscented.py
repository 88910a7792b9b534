r"""``kalman-ukf``: samples and AR coefficients in one state, with sigma points (unscented filter).

The model is that of ``kalman-ekf``. Instead of a gradient, the ``2 n`` points

.. math:: \chi_j^{\pm} = m \pm \sqrt{n} \, S e_j, \qquad P = S S^T,

of equal weight are sent through the step in time, and mean and covariance are taken of where they land
(Julier & Uhlmann with kappa = 0, also called the cubature filter: no negative weights, so nothing can
become indefinite). The columns of ``S`` are there anyway, and only one element of the step is not
linear; so only that one is evaluated, and the whole costs O(n^2) per sample, hardly more than the EKF.

What is gained over the EKF: the mean of the product :math:`a_i s_{t-i}` includes their covariance,
and the variance that comes from not knowing the coefficients is counted as excitation.

S. J. Julier, J. K. Uhlmann, "Unscented filtering and nonlinear estimation", Proc. IEEE 92(3), 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .joint import JointEnhancer


@dataclass(frozen=True)
class KalmanUkf(JointEnhancer):
    """Samples and AR coefficients estimated jointly by an unscented Kalman filter."""

    name: ClassVar[str] = "kalman-ukf"
    unscented: ClassVar[bool] = True
