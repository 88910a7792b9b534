r"""Recursive filters as cascades of second-order sections.

A section is a row ``b0 b1 b2 1 a1 a2``, as in ``scipy.signal``, of

.. math:: H(z) = \frac{b_0 + b_1 z^{-1} + b_2 z^{-2}}{1 + a_1 z^{-1} + a_2 z^{-2}}.

:func:`high_pass` is Butterworth's, by the bilinear transform of the pole pairs: with
:math:`k = \tan(\pi f_c / f_s)` and :math:`1/Q_i = 2 \sin((2i + 1)\pi / 2n)`,

.. math:: b = \frac{(1, -2, 1)}{1 + k/Q + k^2}, \quad
    a_1 = \frac{2(k^2 - 1)}{1 + k/Q + k^2}, \quad a_2 = \frac{1 - k/Q + k^2}{1 + k/Q + k^2},

and of an odd order one section of first order: :math:`b = (1, -1)/(1 + k)`, :math:`a_1 = (k - 1)/(k + 1)`.

:func:`filtered` is ``scipy.signal.sosfilt``, without the 50 MB that ``import scipy.signal`` takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from . import compiled

Array = NDArray[np.float64]
Filter = Callable[[Array, Array, Array], None]
"""``run(sections, x, state)``: filters the rows of ``x`` in place; ``state`` is ``(rows, sections, 2)``."""


def high_pass(order: int, cutoff_hz: float, sample_rate: float) -> Array:
    """Butterworth high-pass, 3 dB down at ``cutoff_hz``: ``(sections, 6)``, the flattest section first.

    Raises:
        ParameterError: the order is below 1, or the cut-off not between 0 and half the sample rate.
    """
    if order < 1 or not 0.0 < cutoff_hz < sample_rate / 2.0:
        raise ParameterError(
            f"order = {order}, cutoff_hz = {cutoff_hz}: give an order of 1 or more, and a cut-off between 0 and "
            f"half the sample rate, {sample_rate / 2.0:g} Hz"
        )
    k = math.tan(math.pi * cutoff_hz / sample_rate)
    rows = []
    if order % 2:
        rows.append([1.0 / (1.0 + k), -1.0 / (1.0 + k), 0.0, 1.0, (k - 1.0) / (k + 1.0), 0.0])
    for i in range(order // 2 - 1, -1, -1):
        damping = 2.0 * math.sin((2 * i + 1) * math.pi / (2 * order))
        norm = 1.0 + damping * k + k * k
        b = 1.0 / norm
        rows.append([b, -2.0 * b, b, 1.0, 2.0 * (k * k - 1.0) / norm, (1.0 - damping * k + k * k) / norm])
    return np.array(rows)


def filtered(sections: Array, x: NDArray[Any], state: Array) -> tuple[Array, Array]:
    """The signal through the cascade, and the state to go on with.

    Args:
        sections: ``(sections, 6)``.
        x: ``(channels, samples)``, any float type; not changed.
        state: ``(sections, channels, 2)``, zeros before the first sample; not changed.

    Returns:
        float64 ``(channels, samples)``, and the new state.
    """
    y = np.array(x, np.float64, order="C")
    after = np.array(state.transpose(1, 0, 2), np.float64, order="C")
    _run(sections, y, after)
    return y, after.transpose(1, 0, 2)


def documented(sections: Array, x: Array, state: Array) -> None:
    """A :data:`Filter` by ``scipy.signal.sosfilt``."""
    from scipy.signal import sosfilt

    x[:], after = sosfilt(sections, x, axis=-1, zi=state.transpose(1, 0, 2))
    state[:] = after.transpose(1, 0, 2)


def direct(kernel: Any) -> Filter | None:
    """The function of scipy's compiled module, or ``None`` if it does not do what is expected of it."""
    try:
        run: Filter = kernel._sosfilt
        sections = np.array([[1.0, 0.5, 0.25, 1.0, -0.5, 0.25], [0.5, 1.0, 0.0, 1.0, 0.125, -0.25]])
        x, state = np.array([[1.0, 0.0, -2.0], [0.0, 3.0, 1.0]]), np.zeros((2, 2, 2))
        wanted, kept = x.copy(), np.zeros((2, 2, 2))
        for row in range(2):
            for n in range(3):
                for s, (b0, b1, b2, _, a1, a2) in enumerate(sections):
                    y = b0 * wanted[row, n] + kept[row, s, 0]
                    kept[row, s] = b1 * wanted[row, n] - a1 * y + kept[row, s, 1], b2 * wanted[row, n] - a2 * y
                    wanted[row, n] = y
        run(sections, x, state)
    except Exception:  # whatever has changed in there: the documented way is open
        return None
    return run if np.allclose(x, wanted, rtol=1e-12) and np.allclose(state, kept, rtol=1e-12) else None


_run = direct(compiled.module("scipy.signal._sosfilt")) or documented
