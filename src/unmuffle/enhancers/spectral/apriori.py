r"""Estimating the a-priori SNR :math:`\xi = \lambda_S / \lambda_D`, the number that decides the sound.

The formulas of the first three are in :mod:`unmuffle.noise.snr`; here they run over a stream.

``ml``
    Maximum likelihood, :math:`\xi = \gamma - 1`: unbiased and as noisy as the spectrum itself, so it
    leaves musical noise.
``dd``
    Decision-directed (Ephraim & Malah 1984): mixes what the last frame's gain let through with the
    ML estimate,

    .. math:: \xi(l) = \alpha \, G^2(l-1) \, \gamma(l-1) + (1 - \alpha) \max(\gamma(l) - 1, 0).

    With :math:`\alpha` near one (``dd_ms`` is its time constant), :math:`\xi` is smooth where it is low
    and follows with a frame's delay where it is high. No musical noise, blunted onsets.
``tsnr``
    Two-step noise reduction (Plapous, Marro & Scalart 2006): the Wiener gain of ``dd`` applied once
    to the present frame, :math:`\xi = G^2 \gamma`, which takes back the frame of delay.
``cepstral``
    The ML estimate smoothed over time in the cepstrum (Breithaupt, Gerkmann & Martin 2008), see
    :mod:`.cepstrum`: strongly where random peaks live, little where a spectral envelope and a pitch
    live. Follows onsets at once, and leaves hardly any musical noise.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...noise import snr
from ...signal.stft import Frames
from .cepstrum import CepstralSmoother
from .gain import Array, power, scalar

if TYPE_CHECKING:
    from .scene import Scene

ESTIMATORS = ("ml", "dd", "tsnr", "cepstral")
"""Names of the estimators."""

XI_MAX = 1e6
"""A-priori SNR above which nothing changes any more (60 dB)."""

CEPSTRAL_MIN_DB = -18.0
"""Smallest ML estimate that goes into the cepstrum; zero has no logarithm."""

CEPSTRAL_BIAS = 0.5
r"""Added after the smoothing of logarithms, because the mean of :math:`\ln P` lies below the
logarithm of the mean: by 0.577 for a full average of exponentially distributed power, by less here,
where the smoothing is selective and small values are clipped."""

Gain = Callable[[Array, Array], Array]


class Estimator(abc.ABC):
    """Writes ``scene.xi`` (and ``scene.gain``, if it had to form the gain) for some frames.

    Attributes:
        elementwise: no bin knows of another, so that arrays ``(frames, streams, bins)`` are as good, with a state of
            ``(streams, bins)``, if there is any: an array, updated in place.
    """

    elementwise = False

    @abc.abstractmethod
    def begin(self) -> Any:
        """Return a new state."""

    @abc.abstractmethod
    def estimate(self, scene: Scene, state: Any) -> None:
        """Fill in ``scene``; update ``state`` in place."""


def estimator(name: str, frames: Frames, gain: Gain, *, dd_ms: float, xi_min_db: float) -> Estimator:
    """Make an estimator by name; ``gain`` is the method's formula, which ``dd`` feeds back."""
    least = power(xi_min_db)
    weight = snr.decision_weight(frames, dd_ms / 1000.0)
    if name == "ml":
        return _MaximumLikelihood(least)
    if name == "dd":
        return _DecisionDirected(frames.bins, gain, weight, least)
    if name == "tsnr":
        return _TwoStep(frames.bins, weight, least)
    return _Cepstral(frames, least)


class _MaximumLikelihood(Estimator):
    elementwise = True

    def __init__(self, least: float) -> None:
        self.least = least

    def begin(self) -> Any:
        return ()

    def estimate(self, scene: Scene, state: Any) -> None:
        scene.xi = snr.maximum_likelihood(scene.gamma, self.least)


class _DecisionDirected(Estimator):
    elementwise = True

    def __init__(self, bins: int, gain: Gain, weight: float, least: float) -> None:
        self.bins = bins
        self.gain = gain
        self.weight = weight
        self.least = least
        self.most = scalar(XI_MAX)

    def begin(self) -> Any:
        return np.zeros(self.bins, np.float32)

    def estimate(self, scene: Scene, state: Any) -> None:
        gamma = scene.gamma
        xi, gains = np.empty_like(gamma), np.empty_like(gamma)
        for i in range(gamma.shape[0]):
            x, y = xi[i], gamma[i]
            snr.decision_directed(y, state, self.weight, self.least, out=x)
            np.minimum(x, self.most, out=x)
            gains[i] = g = self.gain(x, y)
            snr.clean_ratio(y, g, out=state)
        scene.xi, scene.gain = xi, gains


class _TwoStep(_DecisionDirected):
    def __init__(self, bins: int, weight: float, least: float) -> None:
        super().__init__(bins, lambda xi, gamma: snr.wiener(xi), weight, least)

    def estimate(self, scene: Scene, state: Any) -> None:
        super().estimate(scene, state)
        scene.xi = snr.two_step(scene.gamma, scene.xi, self.least)
        scene.gain = None


class _Cepstral(Estimator):
    def __init__(self, frames: Frames, least: float) -> None:
        self.smoother = CepstralSmoother(frames)
        self.least = scalar(least)
        self.lowest = power(CEPSTRAL_MIN_DB)
        self.most = scalar(XI_MAX)
        self.unbias = scalar(math.exp(CEPSTRAL_BIAS))

    def begin(self) -> Any:
        return self.smoother.begin()

    def estimate(self, scene: Scene, state: Any) -> None:
        xi = snr.maximum_likelihood(scene.gamma, self.lowest)
        xi *= scene.noise
        np.log(xi, out=xi)
        xi = self.smoother.smooth(xi, xi, state)
        np.exp(xi, out=xi)
        xi *= self.unbias
        xi /= scene.noise
        np.maximum(xi, self.least, out=xi)
        np.minimum(xi, self.most, out=xi)
        scene.xi = xi
