r"""Averaging while nobody speaks: the plain method, gated by voice activity detection.

.. math:: \lambda_D \leftarrow a \lambda_D + (1 - a) P \quad \text{in frames without speech, else held.}

One decision for all bins, so there is nothing to learn during speech, not even between its
harmonics; good for steady noise and speech with pauses. Its quality is that of the detector
(:mod:`.vad`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..errors import ParameterError
from ..signal.stft import Frames
from . import startup
from .base import NoiseTracker, Power, check_range, constant, silence, smoothing
from .vad import EnergyVad, VoiceDetector


@dataclass(frozen=True)
class VadGated(NoiseTracker):
    """Recursive average over the frames without speech.

    Attributes:
        average_s: time constant of the average.
        startup_s: time over which the first estimate is formed.
        detector: decides which frames hold speech.
    """

    name: ClassVar[str] = "vad"
    average_s: float = 0.2
    startup_s: float = 0.1
    detector: VoiceDetector = field(default_factory=EnergyVad)

    def __post_init__(self) -> None:
        check_range(self, 0.001, 10.0, average_s=self.average_s)
        check_range(self, 0.01, 10.0, startup_s=self.startup_s)
        if not isinstance(self.detector, VoiceDetector):
            raise ParameterError(f"detector = {self.detector!r}; give EnergyVad(...) or LikelihoodVad(...)")

    def init(self, frames: Frames, channels: int) -> dict[str, Any]:
        """Return a new state."""
        shape = (channels, frames.bins)
        return {
            "startup": startup.begin(frames, channels, self.startup_s),
            "detector": self.detector.init(frames, channels),
            "noise": np.full(shape, silence(frames), np.float32),
            "scratch": np.empty(shape, np.float32),
            "mask": np.empty(shape, bool),
            "silence": constant(silence(frames)),
            "gain": constant(1.0 - smoothing(self.average_s, frames)),
        }

    def step(self, power: Power, state: Any) -> Power:
        """Hear one frame."""
        s = state
        noise: Power = s["noise"]
        speech = self.detector.step(power, s["detector"])
        if not speech.all():
            a, mask = s["scratch"], s["mask"]
            np.greater(power, s["silence"], mask)
            mask[speech] = False
            np.subtract(power, noise, a)
            np.multiply(a, s["gain"], a)
            np.multiply(a, mask, a)
            np.add(noise, a, noise)
        if not s["startup"]["done"]:
            startup.step(power, s["startup"], noise)
        return noise
