r"""The bias of a minimum: how far the smallest of ``D`` smoothed values lies below their mean.

The minimum of a fluctuating quantity is below its mean, the more so the longer one looks and the
stronger it fluctuates. With :math:`Q = 2 E\{P\}^2 / \mathrm{var}\{P\}` equivalent degrees of
freedom of the smoothed periodogram ``P`` (2 for a raw one, large for a smooth one), the mean of the
minimum of ``D`` successive values is :math:`E\{P\} / B`,

.. math:: B(D, Q) \approx 1 + (D - 1) \frac{2 (1 - M(D))}{Q - 2 M(D)},

with ``M(D)`` tabulated. R. Martin, "Noise power spectral density estimation based on optimal
smoothing and minimum statistics", IEEE Trans. Speech Audio Process. 9(5), 2001, eq. 17; table from
R. Martin, "Bias compensation methods for minimum statistics noise power spectral density
estimation", Signal Processing 86, 2006, table 5.
"""

from __future__ import annotations

import numpy as np

_D = (1, 2, 5, 8, 10, 15, 20, 30, 40, 60, 80, 120, 140, 160, 180, 220, 260, 300)
_M = (
    0.0, 0.26, 0.48, 0.58, 0.61, 0.668, 0.705, 0.762, 0.8, 0.841, 0.865, 0.89, 0.9, 0.91, 0.92, 0.93,
    0.935, 0.94,
)  # fmt: skip


def mean_factor(count: int) -> float:
    """``M(D)``, interpolated over the square root of ``D``; constant above 300."""
    return float(np.interp(np.sqrt(count), np.sqrt(_D), _M))


def minimum_bias(variance: float, count: int) -> float:
    """``B``: mean over expected minimum of ``count`` values.

    Args:
        variance: of one value, relative to its squared mean, 0..1.
        count: ``D``, 1 or more.
    """
    m = mean_factor(count)
    return 1.0 + 2.0 * (count - 1) * (1.0 - m) / (2.0 / variance - 2.0 * m)
