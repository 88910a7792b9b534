r"""MCRA: recursive averaging that a minimum controls (Cohen & Berdugo).

The power is smoothed over three bins and over time, :math:`S(k, l)`, and its minimum
:math:`S_{min}` over the last one to two windows is kept. Where :math:`S / S_{min} > \delta`, speech
is present: that yes or no, smoothed over a few frames, is a probability ``p`` that slows the
recursive average of the noise down,

.. math:: \lambda_D \leftarrow \tilde\alpha \lambda_D + (1 - \tilde\alpha) P, \qquad
          \tilde\alpha = \alpha_d + (1 - \alpha_d) \, p .

Unlike minimum statistics it averages, so its variance is small; the minimum only decides when.
After a rise of the noise beyond :math:`\delta` the average is frozen until the minimum has left
its window, one to two ``window_s``. Weak speech below :math:`\delta` leaks into the noise.

I. Cohen, B. Berdugo, "Noise estimation by minima controlled recursive averaging for robust speech
enhancement", IEEE Signal Process. Lett. 9(1), 2002: factors 0.8, 0.2 and 0.95 at a hop of 8 ms,
kept here as time constants; minimum over 125 frames; threshold 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..signal.stft import Frames
from . import startup
from .base import NoiseTracker, Power, check_range, constant, frame_count, silence, smoothing
from .bins import smooth3

PRESENCE_S = 0.005
"""Time constant of the speech presence probability (0.2 at 8 ms)."""


@dataclass(frozen=True)
class Mcra(NoiseTracker):
    """Minima controlled recursive averaging.

    Attributes:
        smoothing_s: time constant of the smoothed power.
        average_s: time constant of the noise average in the absence of speech.
        window_s: length ``L`` of the minimum's window (it looks back one to two of them).
        threshold: ratio of power to minimum above which speech is present.
        startup_s: time over which the first estimate is formed.
    """

    name: ClassVar[str] = "mcra"
    smoothing_s: float = 0.0359
    average_s: float = 0.156
    window_s: float = 1.0
    threshold: float = 5.0
    startup_s: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, 0.001, 10.0, smoothing_s=self.smoothing_s, average_s=self.average_s)
        check_range(self, 0.1, 10.0, window_s=self.window_s)
        check_range(self, 1.5, 100.0, threshold=self.threshold)
        check_range(self, 0.01, 10.0, startup_s=self.startup_s)

    def init(self, frames: Frames, channels: int) -> dict[str, Any]:
        """Return a new state."""
        shape = (channels, frames.bins)
        floor = silence(frames)
        s, p = smoothing(self.smoothing_s, frames), smoothing(PRESENCE_S, frames)
        return {
            "startup": startup.begin(frames, channels, self.startup_s),
            "noise": np.full(shape, floor, np.float32),
            "smooth": np.full(shape, floor, np.float32),  # S
            "least": np.full(shape, np.inf, np.float32),  # S_min
            "next": np.full(shape, np.inf, np.float32),  # minimum since the window began
            "presence": np.zeros(shape, np.float32),  # p
            "count": 0,
            "window": frame_count(self.window_s, frames),
            "scratch": np.empty((2, *shape), np.float32),
            "mask": np.empty(shape, bool),
            "silence": constant(floor),
            "fresh": constant(1.0 - s),
            "keep_p": constant(p),
            "fresh_p": constant(1.0 - p),
            "gain": constant(1.0 - smoothing(self.average_s, frames)),
            "threshold": constant(self.threshold),
            "one": constant(1.0),
            "tiny": constant(1e-20),
        }

    def step(self, power: Power, state: Any) -> Power:
        """Hear one frame."""
        s = state
        noise: Power = s["noise"]
        smooth, least, following, presence, mask = (
            s["smooth"],
            s["least"],
            s["next"],
            s["presence"],
            s["mask"],
        )
        a, b = s["scratch"]
        np.greater(power, s["silence"], mask)
        if not mask.any():
            return noise  # digital silence everywhere: nothing was heard
        np.copyto(b, noise)
        np.copyto(b, power, where=mask)  # a silent bin counts as noise as usual
        smooth3(b, a)
        np.subtract(a, smooth, a)
        np.multiply(a, s["fresh"], a)
        np.add(smooth, a, smooth)
        s["count"] += 1
        if s["count"] >= s["window"]:
            s["count"] = 0
            np.minimum(following, smooth, out=least)
            np.copyto(following, smooth)
        else:
            np.minimum(least, smooth, out=least)
            np.minimum(following, smooth, out=following)
        np.multiply(least, s["threshold"], a)
        np.greater(smooth, a, mask)
        np.multiply(presence, s["keep_p"], presence)
        np.multiply(mask, s["fresh_p"], a)
        np.add(presence, a, presence)
        np.add(presence, s["tiny"], presence)  # it would fade into denormal numbers
        # noise += (1 - alpha_d) (1 - p) (P - noise)
        np.subtract(b, noise, b)
        np.subtract(s["one"], presence, a)
        np.multiply(a, s["gain"], a)
        np.multiply(b, a, b)
        np.add(noise, b, noise)
        if not s["startup"]["done"]:
            for c in startup.step(power, s["startup"], noise):
                smooth[c] = least[c] = following[c] = noise[c]
                presence[c] = 0.0
        return noise
