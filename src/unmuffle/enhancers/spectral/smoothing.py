r"""Smoothing of gains against musical noise: isolated peaks that come and go at random.

``gain``
    Along frequency, and only where it is needed (Esch & Vary 2009): the share of power that the gains
    let through,

    .. math:: \zeta(l) = \frac{\sum_k G^2 |Y|^2}{\sum_k |Y|^2},

    is large in speech and small in pauses. Below 0.4, the gains are replaced by a moving average over
    frequency, the wider the smaller :math:`\zeta` is. Speech is not touched.
``cepstral``
    Over time, in the cepstrum of the logarithm of the gain (Breithaupt, Gerkmann & Martin 2007), see
    :mod:`.cepstrum`.

T. Esch, P. Vary, "Efficient musical noise suppression for speech enhancement systems", ICASSP 2009.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...signal.stft import Frames
from .cepstrum import CepstralSmoother
from .gain import Array

if TYPE_CHECKING:
    from .scene import Scene

SMOOTHERS = ("none", "gain", "cepstral")
"""Names of the smoothers."""

SPEECH_SHARE: Final = 0.4
"""Share of power above which a frame counts as speech."""
WIDTH_HZ: Final = 300.0
"""Width of the moving average on each side when nothing passes."""


class Smoother(abc.ABC):
    """Smooths the gains of some frames."""

    def begin(self) -> Any:
        """Return a new state."""
        return ()

    @abc.abstractmethod
    def smooth(self, gain: Array, scene: Scene, state: Any) -> Array:
        """Take gains ``(frames, bins)`` above zero, return as many; ``gain`` may be written into."""


def smoother(name: str, frames: Frames) -> Smoother | None:
    """Make a smoother by name."""
    if name == "gain":
        return _AcrossFrequency(frames)
    return _Cepstral(frames) if name == "cepstral" else None


class _AcrossFrequency(Smoother):
    def __init__(self, frames: Frames) -> None:
        self.widest = max(1, round(WIDTH_HZ * frames.size / frames.sample_rate))

    def smooth(self, gain: Array, scene: Scene, state: Any) -> Array:
        bins = gain.shape[1]
        passed = gain * gain
        passed *= scene.power
        for i in range(gain.shape[0]):
            total = float(np.add.reduce(scene.power[i], dtype=np.float64))
            share = float(np.add.reduce(passed[i], dtype=np.float64)) / total if total > 0 else 1.0
            if share >= SPEECH_SHARE:
                continue
            half = round((1.0 - share / SPEECH_SHARE) * self.widest)
            if not half:
                continue
            # Moving average by differences of a running sum, the ends repeated.
            padded = np.pad(gain[i].astype(np.float64), (half + 1, half), mode="edge")
            padded[0] = 0.0
            running = np.cumsum(padded)
            gain[i] = (running[2 * half + 1 :] - running[:bins]) / (2 * half + 1)
        return gain


class _Cepstral(Smoother):
    def __init__(self, frames: Frames) -> None:
        self.smoother = CepstralSmoother(frames)

    def begin(self) -> Any:
        return self.smoother.begin()

    def smooth(self, gain: Array, scene: Scene, state: Any) -> Array:
        logs = np.log(gain)
        logs = self.smoother.smooth(logs, logs, state)
        return np.asarray(np.exp(logs, out=logs))
