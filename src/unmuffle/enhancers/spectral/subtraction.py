r"""Spectral subtraction (Boll 1979; Berouti, Schwartz & Makhoul 1979).

Takes the noise away from the magnitude (``e = 1``) or the power (``e = 2``) of every bin,

.. math:: |\hat S|^e = |Y|^e - \alpha \, \lambda_D^{e/2}
          \quad\Leftrightarrow\quad G = \left(1 - \alpha \, \gamma^{-e/2}\right)^{1/e},

and where less than the spectral floor :math:`\beta \lambda_D` would be left, leaves that much power.

Subtracting more than the mean (:math:`\alpha > 1`) removes the peaks of the noise as well, and eats
into weak speech. Berouti's rule does it where it hurts least, by the SNR of the frame in dB:
:math:`\alpha = 4 - \tfrac{3}{20} \mathrm{SNR}` between -5 and 20 dB (4.75 to 1).

The oldest of the methods and still the first to try on steady noise with a measured profile.
Random peaks that survive sound as musical noise; a larger :math:`\beta` hides them.

S. F. Boll, "Suppression of acoustic noise in speech using spectral subtraction", IEEE Trans. Acoust.
Speech Signal Process. 27(2), 1979; M. Berouti, R. Schwartz, J. Makhoul, "Enhancement of speech
corrupted by acoustic noise", ICASSP 1979.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...signal.stft import Frames
from ..params import param
from .gain import Array, scalar
from .scene import Scene
from .suppressor import SpectralSuppressor

LOWEST_SNR_DB, HIGHEST_SNR_DB = -5.0, 20.0
ALPHA_AT_0_DB, ALPHA_SLOPE = 4.0, 3.0 / 20.0
ONE, ZERO = scalar(1.0), scalar(0.0)
TINY = scalar(1e-12)


def berouti_alpha(snr: Array) -> Array:
    """Over-subtraction for an a-posteriori SNR (ratio of powers) of a frame or band."""
    snr_db = np.float32(10.0) * np.log10(np.maximum(snr, TINY))
    clipped = np.minimum(np.maximum(snr_db, np.float32(LOWEST_SNR_DB)), np.float32(HIGHEST_SNR_DB))
    return np.asarray(np.float32(ALPHA_AT_0_DB) - np.float32(ALPHA_SLOPE) * clipped)


def subtraction_gain(gamma: Array, alpha: Array | float, beta: float, domain: str) -> Array:
    """Gain of spectral subtraction, at most 1.

    Args:
        gamma: a-posteriori SNR.
        alpha: over-subtraction.
        beta: power that is left at least, in units of the noise power.
        domain: ``magnitude`` or ``power``.
    """
    share = ONE / np.maximum(gamma, TINY)
    left = share * np.float32(beta)
    if domain == "magnitude":
        gain = ONE - np.asarray(alpha, np.float32) * np.sqrt(share)
        np.maximum(gain, ZERO, out=gain)
        np.sqrt(left, out=left)
        np.maximum(gain, left, out=gain)
    else:
        gain = ONE - np.asarray(alpha, np.float32) * share
        np.maximum(gain, left, out=gain)
        np.sqrt(gain, out=gain)
    return np.asarray(np.minimum(gain, ONE, out=gain))


@dataclass(frozen=True)
class SpectralSubtraction(SpectralSuppressor):
    """Spectral subtraction of magnitude or power, with over-subtraction and a spectral floor."""

    name: ClassVar[str] = "spectral-subtraction"
    uses_xi: ClassVar[bool] = False
    smoothing: str = param("gain", "how the gains are smoothed", choices=("none", "gain", "cepstral"))
    domain: str = param("power", "what is subtracted", choices=("magnitude", "power"))
    over: str = param("snr", "over-subtraction: fixed, or by the SNR of the frame", choices=("fixed", "snr"))
    alpha: float = param(2.0, "over-subtraction when fixed", low=0.1, high=20.0)
    beta: float = param(0.02, "power left at least, in units of the noise", low=0.0, high=1.0)

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The formula with a fixed ``alpha``."""
        return subtraction_gain(gamma, self.alpha, self.beta, self.domain)

    def suppress(self, scene: Scene, frames: Frames, state: Any) -> Array:
        """The gains, with ``alpha`` by frame if asked for."""
        if self.over == "fixed":
            return self.gain(scene.xi, scene.gamma)
        snr = np.add.reduce(scene.power, axis=-1, keepdims=True)
        snr /= np.add.reduce(scene.noise, axis=-1, keepdims=True)
        return subtraction_gain(scene.gamma, berouti_alpha(snr), self.beta, self.domain)
