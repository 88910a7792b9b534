r"""Gain functions: the shared arithmetic of all spectral suppressors.

Symbols, per bin: ``gamma`` :math:`\gamma = |Y|^2 / \lambda_D`, the a-posteriori SNR; ``xi``
:math:`\xi = \lambda_S / \lambda_D`, the a-priori SNR; both are ratios of powers.

The estimators that follow from a complex Gaussian model of speech and noise have one form,

.. math:: G(\xi, \gamma) = \frac{\xi}{\mu + \xi} \, H(v), \qquad v = \frac{\xi}{\mu + \xi} \, \gamma,

a Wiener gain times a correction that depends on a single number ``v``; :math:`\mu = 1` for the
Gaussian. So a table over ``v`` is all that is needed: :class:`LogTable`. Its index is read off the
bits of the float32 (exponent and leading bits of the mantissa), which makes it evenly spaced within
an octave, the same number of entries in each octave: a logarithmic axis without a logarithm. The
error is bounded by half a step times the slope, see :class:`LogTable`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]

MANTISSA_BITS = 23
EXPONENT_BIAS = 127


class LogTable:
    r"""A function of one positive number, tabulated over octaves.

    With :math:`2^b` entries in an octave, the entry is at most :math:`2^{-(b+1)}` (relative) away from
    the argument, so a function whose slope is at most ``s`` on log-log axes is wrong by at most
    :math:`20 \log_{10}(e) \cdot s \cdot 2^{-(b+1)}` dB: 0.009 dB for ``b = 8`` and ``s = 1/2``.

    Arguments outside ``2**first .. 2**last`` get the value at the nearer end.

    Args:
        function: elementwise, float64.
        first, last: octaves covered.
        bits: ``b``.
    """

    def __init__(self, function: Callable[[Float64], Float64], first: int, last: int, bits: int = 8) -> None:
        octaves = np.arange(first, last)
        inside = (np.arange(2**bits) + 0.5) / 2**bits
        centres = (2.0 ** octaves[:, np.newaxis] * (1.0 + inside)).ravel()
        values = function(centres).astype(np.float32)
        values.setflags(write=False)
        self.values: Array = values
        self._shift = np.array(MANTISSA_BITS - bits, np.int32)
        self._offset = np.array((first + EXPONENT_BIAS) << bits, np.int32)

    def __call__(self, v: Array) -> Array:
        """Look up every element of a contiguous float32 array."""
        index = v.view(np.int32) >> self._shift
        index -= self._offset
        found: Array = self.values.take(index, mode="clip")
        return found


def scalar(value: float) -> Array:
    """A number as a float32 array without dimensions: the form that ufuncs take up fastest."""
    return np.array(value, np.float32)


def amplitude(db: float) -> float:
    """Decibels to a ratio of amplitudes."""
    return float(10.0 ** (db / 20.0))


def power(db: float) -> float:
    """Decibels to a ratio of powers."""
    return float(10.0 ** (db / 10.0))
