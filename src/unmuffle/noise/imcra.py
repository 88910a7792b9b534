r"""IMCRA: minima controlled recursive averaging in two passes, with a soft decision (Cohen).

Pass one smooths the power over three bins and time, :math:`S`, tracks its minimum, and marks where
there is clearly speech: :math:`P > \gamma_0 B S_{min}` or :math:`S > \zeta_0 B S_{min}`. Pass two
smooths again *without* the marked bins, :math:`\tilde S`, so that its minimum
:math:`\tilde S_{min}` stays low through strong speech and its window can be short. From it comes
the a-priori probability of absence,

.. math:: q = \min\Bigl(1, \max\Bigl(0,
              \frac{\gamma_1 - P / (B \tilde S_{min})}{\gamma_1 - 1}\Bigr)\Bigr)
              \text{ where } S < \zeta_0 B \tilde S_{min}, \text{ else } 0,

with the decision-directed a-priori SNR :math:`\xi` the probability of presence,

.. math:: p = \Bigl(1 + \frac{q}{1 - q} (1 + \xi) e^{-v}\Bigr)^{-1}, \quad v = \gamma \xi / (1 + \xi),

and with that a recursive average as in :mod:`.mcra`. As ``q`` lets weak frames in rather than
strong ones, the average is too low by a known factor :math:`\beta` (:func:`compensation`, 1.47 for
:math:`\gamma_1 = 3`), which multiplies the result.

``B`` is the bias of the minimum (:mod:`.minima`). The paper gives 1.66 for 32 ms Hann frames at a hop of
8 ms; here it follows from the frames actually used.

Good for weak speech in moderately moving noise. After an upward jump it waits for two minima in
turn, about two windows: the second pass leaves out what the first still takes for speech.

I. Cohen, "Noise spectrum estimation in adverse environments: improved minima controlled recursive
averaging", IEEE Trans. Speech Audio Process. 11(5), 2003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..signal.stft import Frames
from . import startup
from .base import NoiseTracker, Power, check_range, check_whole, constant, frame_count, silence, smoothing
from .bins import THREE, relative_variance, smooth3
from .minima import minimum_bias

GAMMA_0, ZETA_0, GAMMA_1 = 4.6, 1.67, 3.0
"""Thresholds of the paper's table: rough decision on P, rough decision on S, end of doubt."""

PRIOR_S = 0.0959
"""Time constant of the decision-directed a-priori SNR (0.92 at 8 ms)."""


def compensation(gamma_1: float = GAMMA_1) -> float:
    r"""The factor :math:`\beta` by which the average over doubtful frames is too low (eq. 18-19 there)."""
    top = gamma_1 - 1.0 - math.exp(-1.0) + math.exp(-gamma_1)
    bottom = gamma_1 - 1.0 - 3.0 * math.exp(-1.0) + (gamma_1 + 2.0) * math.exp(-gamma_1)
    return top / bottom


@dataclass(frozen=True)
class Imcra(NoiseTracker):
    """Improved minima controlled recursive averaging.

    Attributes:
        smoothing_s: time constant of the smoothed power (0.9 at 8 ms).
        average_s: time constant of the noise average (0.85 at 8 ms).
        window_s: span of the minimum (120 frames of 8 ms).
        parts: number of parts ``U`` that it is split into.
        startup_s: time over which the first estimate is formed.
    """

    name: ClassVar[str] = "imcra"
    smoothing_s: float = 0.0759
    average_s: float = 0.0492
    window_s: float = 0.96
    parts: int = 8
    startup_s: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, 0.001, 10.0, smoothing_s=self.smoothing_s, average_s=self.average_s)
        check_range(self, 0.1, 10.0, window_s=self.window_s)
        check_whole(self, 2, 20, parts=self.parts)
        check_range(self, 0.01, 10.0, startup_s=self.startup_s)

    def init(self, frames: Frames, channels: int) -> dict[str, Any]:
        """Return a new state."""
        shape = (channels, frames.bins)
        floor = silence(frames)
        s = smoothing(self.smoothing_s, frames)
        part = frame_count(self.window_s / self.parts, frames)
        parts = max(2, round(frame_count(self.window_s, frames) / part))
        # The formula counts frames that overlap by half; more overlap brings little that is new.
        count = round(part * parts * min(1.0, 2.0 * frames.hop / frames.size))
        bias = minimum_bias(relative_variance(frames, s, THREE), count)
        prior = smoothing(PRIOR_S, frames)
        return {
            "startup": startup.begin(frames, channels, self.startup_s),
            "noise": np.full(shape, floor, np.float32),
            "average": np.full(shape, floor, np.float32),  # before compensation
            "smooth": np.full((2, *shape), floor, np.float32),  # S and its second pass
            "least": np.full((2, *shape), np.inf, np.float32),  # minima over window and this part
            "in_part": np.full((2, *shape), np.inf, np.float32),  # minima since the part began
            "stored": np.full((parts, 2, *shape), np.inf, np.float32),
            "clean": np.zeros(shape, np.float32),  # G^2 gamma of the last frame
            "presence": np.zeros(shape, np.float32),  # p
            "slot": 0,
            "count": 0,
            "part": part,
            "scratch": np.empty((5, *shape), np.float32),
            "pair": np.empty((2, *shape), np.float32),
            "masks": np.empty((2, *shape), bool),
            "silence": constant(floor),
            "fresh": constant(1.0 - s),
            "gain": constant(1.0 - smoothing(self.average_s, frames)),
            "beta": constant(compensation()),
            "prior": constant(prior),
            "fresh_prior": constant(1.0 - prior),
            "rough_power": constant(GAMMA_0 * bias),
            "rough_smooth": constant(ZETA_0 * bias),
            "slope": constant(-1.0 / (bias * (GAMMA_1 - 1.0))),
            "offset": constant(GAMMA_1 / (GAMMA_1 - 1.0)),
            "one": constant(1.0),
            "zero": constant(0.0),
            "low": constant(1e-3),
            "high": constant(50.0),
            "tiny": constant(0.1),
        }

    def step(self, power: Power, state: Any) -> Power:
        """Hear one frame."""
        s = state
        noise: Power = s["noise"]
        average, presence, clean, one = s["average"], s["presence"], s["clean"], s["one"]
        (mask, other), (a, b, v, prior, x) = s["masks"], s["scratch"]
        np.greater(power, s["silence"], mask)
        if not mask.any():
            return noise  # digital silence everywhere: nothing was heard
        np.copyto(x, average)
        np.copyto(x, power, where=mask)  # a silent bin counts as noise as usual

        # Pass one: smoothing, minimum, rough decision. smooth, rest are S and its second pass.
        smooth, rest = s["smooth"]
        least, least_rest = s["least"]
        smooth3(x, a)
        np.subtract(a, smooth, a)
        np.multiply(a, s["fresh"], a)
        np.add(smooth, a, smooth)
        np.minimum(least, smooth, out=least)
        np.multiply(least, s["rough_power"], a)
        np.less(x, a, mask)
        np.multiply(least, s["rough_smooth"], a)
        np.less(smooth, a, other)
        np.logical_and(mask, other, mask)

        # Pass two: the same over the bins that hold no speech; where there is none near, nothing new.
        pair, summed = s["pair"], s["scratch"][:2]
        np.multiply(x, mask, pair[0])
        pair[1] = mask
        smooth3(pair, summed)  # a: smoothed power, b: sum of the weights it has, a multiple of 1/4
        np.greater(b, s["tiny"], mask)
        np.maximum(b, s["tiny"], out=b)
        np.divide(a, b, b)
        np.subtract(b, rest, b)
        np.multiply(b, s["fresh"], b)
        np.multiply(b, mask, b)
        np.add(rest, b, rest)
        np.minimum(least_rest, rest, out=least_rest)
        np.minimum(s["in_part"], s["smooth"], out=s["in_part"])
        s["count"] += 1
        if s["count"] >= s["part"]:
            self._end_part(s)

        # Absence a priori.
        np.divide(x, least_rest, a)
        np.multiply(a, s["slope"], a)
        np.add(a, s["offset"], a)
        np.minimum(a, one, out=a)
        np.maximum(a, s["zero"], out=a)
        np.multiply(least_rest, s["rough_smooth"], b)
        np.less(smooth, b, mask)
        np.multiply(a, mask, a)  # q

        # SNR a priori and a posteriori, and the gain for the next frame.
        np.divide(x, noise, b)  # gamma
        np.subtract(b, one, v)
        np.maximum(v, s["zero"], out=v)
        np.multiply(v, s["fresh_prior"], v)
        np.multiply(clean, s["prior"], prior)
        np.add(prior, v, prior)
        np.maximum(prior, s["low"], out=prior)  # xi
        np.add(prior, one, v)
        np.divide(prior, v, clean)  # the Wiener gain, xi / (1 + xi)
        np.multiply(v, a, prior)  # q (1 + xi)
        np.multiply(b, clean, v)
        np.minimum(v, s["high"], out=v)
        _clean_power(clean, v, b, clean)

        # Presence, and the average that it slows down.
        np.negative(v, v)
        np.exp(v, v)
        np.multiply(v, prior, v)
        np.subtract(one, a, a)  # 1 - q
        np.add(v, a, v)
        np.divide(a, v, presence)
        np.subtract(one, presence, a)
        np.multiply(a, s["gain"], a)
        np.subtract(x, average, x)
        np.multiply(x, a, x)
        np.add(average, x, average)
        np.multiply(average, s["beta"], noise)
        if not s["startup"]["done"]:
            for c in startup.step(power, s["startup"], noise):
                average[c] = noise[c] / s["beta"]
                for field in ("smooth", "least", "in_part"):
                    s[field][:, c] = noise[c]
                s["stored"][:, :, c] = np.inf
                clean[c] = presence[c] = 0.0
        np.maximum(noise, s["silence"], out=noise)
        return noise

    @staticmethod
    def _end_part(s: dict[str, Any]) -> None:
        """Store the minima of the part; the window's minimum is that of all that are stored."""
        stored = s["stored"]
        stored[s["slot"]] = s["in_part"]
        s["slot"] = (s["slot"] + 1) % stored.shape[0]
        np.min(stored, axis=0, out=s["least"])
        np.copyto(s["in_part"], s["smooth"])
        s["count"] = 0


def _clean_power(wiener: Power, v: Power, gamma: Power, out: Power) -> None:
    r"""Write :math:`G^2 \gamma` with the log-spectral gain :math:`G = W e^{E_1(v) / 2}` into ``out``.

    :math:`E_1(v) = e^{-v} \ln(1 + c(v) / v)` with ``c`` from 0.5615 (small ``v``) to 1 (large) by a
    rational function: the gain is within 0.2 dB, far below what the SNR itself is known to.
    """
    t = np.multiply(v, 1.375)
    c = t + 0.5615
    t += 1.0
    c /= t
    c /= np.maximum(v, 1e-4)
    np.log1p(c, c)
    np.exp(-v, t)
    c *= t
    np.exp(c, c)
    np.multiply(wiener, wiener, out)
    np.multiply(out, c, out)
    np.multiply(out, gamma, out)
