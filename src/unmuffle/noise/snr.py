r"""Signal-to-noise ratio per bin: a posteriori, and three estimates of it a priori.

With noisy power :math:`P = |X|^2` and noise PSD :math:`\lambda_D`, the a-posteriori SNR is what can
be seen, the a-priori SNR what gains are made of:

.. math:: \gamma = \frac{P}{\lambda_D}, \qquad
          \xi = \frac{E\{|S|^2\}}{\lambda_D}, \qquad E\{\gamma\} = 1 + \xi .

======================================  ================================================================
:func:`maximum_likelihood`              :math:`\max(\gamma - 1, 0)`: immediate, but as restless as
                                        :math:`\gamma`; gains made of it ring (musical noise)
:func:`decision_directed`               mixes in the last frame's clean speech (Ephraim & Malah):
                                        smooth in noise, one frame late at onsets
:func:`two_step`                        a second look with the gain of the first (Plapous et al.):
                                        removes that lateness
======================================  ================================================================

Functions of one frame; what has to be remembered is handed in. Ratios in linear power. All arrays
are float32 ``(channels, bins)``; ``out`` may be given to avoid making new ones, and may be an input.

Y. Ephraim, D. Malah, "Speech enhancement using a minimum mean-square error short-time spectral
amplitude estimator", IEEE Trans. Acoust. Speech Signal Process. 32(6), 1984 (eq. 51).
C. Plapous, C. Marro, P. Scalart, "Improved signal-to-noise ratio estimation for speech enhancement",
IEEE Trans. Audio Speech Lang. Process. 14(6), 2006 (eq. 16-17).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ..signal.stft import Frames
from .base import Power, constant, smoothing

SMOOTHING_S: Final = 0.396
"""Time constant of the decision-directed estimate: the customary 0.98 at a hop of 8 ms."""

_ONE, _ZERO, _LARGEST = constant(1.0), constant(0.0), constant(1e6)


def decision_weight(frames: Frames, time_s: float = SMOOTHING_S) -> float:
    """The weight of the past in :func:`decision_directed` at the hop of ``frames``."""
    return smoothing(time_s, frames)


def posterior(power: Power, noise: Power, out: Power | None = None) -> Power:
    """A-posteriori SNR ``P / noise``, at most 60 dB (larger values change no gain, only overflow)."""
    gamma: Power = np.divide(power, noise, out=out)
    np.minimum(gamma, _LARGEST, out=gamma)
    return gamma


def maximum_likelihood(gamma: Power, lowest: float = 0.0, out: Power | None = None) -> Power:
    """A-priori SNR ``max(gamma - 1, lowest)``."""
    xi: Power = np.subtract(gamma, _ONE, out=out)
    np.maximum(xi, np.float32(lowest), out=xi)
    return xi


def decision_directed(
    gamma: Power, clean: Power, weight: float, lowest: float = 0.003, out: Power | None = None
) -> Power:
    r"""A-priori SNR :math:`\max(a \, G^2 \gamma |_{l-1} + (1 - a) \max(\gamma - 1, 0), \xi_{min})`.

    Args:
        gamma: a-posteriori SNR of this frame.
        clean: the last frame's clean power over its noise, :func:`clean_ratio`; zeros at first.
        weight: ``a``, 0..1, see :func:`decision_weight`: near 1 is smooth and slow.
        lowest: floor of the result; -25 dB keeps the residual noise even.
        out: where to put the result; neither ``gamma`` nor ``clean``.
    """
    xi = maximum_likelihood(gamma, 0.0, out)
    np.multiply(xi, np.float32(1.0 - weight), xi)
    np.add(xi, np.multiply(clean, np.float32(weight)), xi)
    np.maximum(xi, np.float32(lowest), out=xi)
    return xi


def clean_ratio(gamma: Power, gain: Power, out: Power | None = None) -> Power:
    r"""What :func:`decision_directed` needs of this frame in the next: :math:`G^2 \gamma`."""
    ratio: Power = np.multiply(gain, gain, out=out)
    np.multiply(ratio, gamma, ratio)
    return ratio


def wiener(xi: Power) -> Power:
    """Gain ``xi / (1 + xi)``."""
    gain: Power = xi / (xi + _ONE)
    return gain


def two_step(
    gamma: Power,
    xi: Power,
    lowest: float = 0.003,
    gain: Callable[[Power], Power] = wiener,
    out: Power | None = None,
) -> Power:
    r"""Refined a-priori SNR :math:`\max(G(\xi)^2 \gamma, \xi_{min})` of the same frame.

    Args:
        gamma: a-posteriori SNR of this frame.
        xi: its decision-directed a-priori SNR.
        lowest: floor of the result.
        gain: the gain as a function of the a-priori SNR.
        out: where to put the result; not ``gamma``.
    """
    refined = clean_ratio(gamma, gain(xi), out)
    np.maximum(refined, np.float32(lowest), out=refined)
    return refined
