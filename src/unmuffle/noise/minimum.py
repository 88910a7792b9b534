r"""Minimum statistics (Martin): the noise is what remains when speech is at its weakest.

Speech never fills a bin for long, so the smallest value of the smoothed power within about 1.5 s
belongs to the noise alone. Two things turn that minimum into an unbiased estimate:

*Optimal smoothing.* The power is smoothed with a factor of its own in every bin and frame,

.. math:: \alpha(k, l) = \frac{\alpha_{max} \, \alpha_c(l)}{1 + (P(k, l-1) / \lambda_D(k, l-1) - 1)^2},

long in noise, short where speech comes and goes; :math:`\alpha_c` guards against a deviation of the
smoothed from the actual frame power.

*Bias compensation.* The minimum is multiplied with :math:`B(D, Q(k, l))`, see :mod:`.minima`, where
``Q`` comes from the measured variance of the smoothed power.

The window of ``D`` frames is split in ``U`` parts: the minimum over stored parts is renewed once a
part, so that a rise is followed after ``D + D/U`` frames at the latest, and sooner where a local
minimum within a part shows that the noise has risen (not speech, whose minima are not as flat).

Robust and hard to fool by speech; slow to follow rising noise, by construction. The variance of a
minimum is also about twice that of an average of the same length.

R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
statistics", IEEE Trans. Speech Audio Process. 9(5), 2001. Its constants hold at a hop of 16 ms;
they are kept here as time constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..signal.stft import Frames
from . import startup
from .base import NoiseTracker, Power, check_range, check_whole, constant, frame_count, silence, smoothing
from .minima import mean_factor

# Time constants: the paper's factors at a hop of 16 ms, -16 ms / ln(factor).
CORRECTION_S = 0.0449  # 0.7, eq. 10: of the correction factor
LONGEST_S = 0.392  # 0.96, eq. 11: longest smoothing
SHORTEST_S = 0.0133  # 0.3, eq. 12: shortest smoothing, at high SNR
FALL_S = 0.064  # eq. 12: time for the smoothed power to fall, sets how SNR lowers the shortest
MOMENT_S = 0.0717  # 0.8, eq. 20-21: of the moments that give the variance
VARIANCE_FACTOR = 2.12  # eq. 23: bias added for the estimate of the variance being uncertain
SLOPES = ((0.03, 47.0), (0.05, 31.4), (0.06, 15.7), (np.inf, 4.1))
"""Mean inverse of Q below which the noise may rise at most by that many dB/s (8, 4, 2, 1.2 a part)."""


@dataclass(frozen=True)
class Minimum(NoiseTracker):
    """Minimum statistics with optimal smoothing and bias compensation.

    Attributes:
        window_s: span of the minimum; longer than any sound of speech.
        parts: number of parts ``U`` that it is split into.
        startup_s: time over which the first estimate is formed.
    """

    name: ClassVar[str] = "minimum"
    window_s: float = 1.536
    parts: int = 8
    startup_s: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, 0.2, 10.0, window_s=self.window_s)
        check_whole(self, 2, 20, parts=self.parts)
        check_range(self, 0.01, 10.0, startup_s=self.startup_s)

    def init(self, frames: Frames, channels: int) -> dict[str, Any]:
        """Return a new state."""
        shape = (channels, frames.bins)
        part = max(4, frame_count(self.window_s / self.parts, frames))  # shorter parts have no minimum
        parts = max(2, round(frame_count(self.window_s, frames) / part))
        hop_s = frames.hop / frames.sample_rate
        window_m, part_m = mean_factor(part * parts), mean_factor(part)
        floor = silence(frames)
        return {
            "startup": startup.begin(frames, channels, self.startup_s),
            "noise": np.full(shape, floor, np.float32),
            "smooth": np.full(shape, floor, np.float32),  # P
            "mean": np.full(shape, floor, np.float32),  # first moment of P
            "square": np.full(shape, floor * floor, np.float32),  # second moment of P
            "correction": np.ones((channels, 1), np.float32),  # alpha_c
            "least": np.full(shape, np.inf, np.float32),  # minimum of this part, window's bias
            "local": np.full(shape, np.inf, np.float32),  # the same value with the part's bias
            "overall": np.full(shape, floor, np.float32),  # minimum over the stored parts
            "stored": np.full((parts, *shape), np.inf, np.float32),
            "flat": np.zeros(shape, bool),  # the minimum fell inside the part, not on its edge
            "slot": 0,
            "in_part": 0,
            "part": part,
            "scratch": np.empty((3, *shape), np.float32),
            "below": np.empty(shape, bool),
            "silence": constant(floor),
            "correct": smoothing(CORRECTION_S, frames),
            "longest": constant(smoothing(LONGEST_S, frames)),
            "shortest": smoothing(SHORTEST_S, frames),
            "snr_power": -hop_s / FALL_S,
            "moment": constant(smoothing(MOMENT_S, frames)),
            "window_gain": constant(2.0 * (part * parts - 1) * (1.0 - window_m)),
            "window_twice": constant(2.0 * window_m),
            "part_gain": constant(2.0 * (part - 1) * (1.0 - part_m)),
            "part_twice": constant(2.0 * part_m),
            "rises": [10.0 ** (slope * part * hop_s / 10.0) for _, slope in SLOPES],
            "one": constant(1.0),
            "two": constant(2.0),
            "huge": constant(1e6),
            "tiny_q": constant(1.0 / (14.0 * part * parts)),
            "half": constant(0.5),
        }

    def step(self, power: Power, state: Any) -> Power:
        """Hear one frame."""
        s = state
        noise: Power = s["noise"]
        smooth, mean, square, below = s["smooth"], s["mean"], s["square"], s["below"]
        least, local, one = s["least"], s["local"], s["one"]
        a, b, x = s["scratch"]
        np.greater(power, s["silence"], below)
        if not below.any():
            return noise  # digital silence everywhere: nothing was heard
        np.copyto(x, smooth)
        np.copyto(x, power, where=below)  # a silent bin changes nothing

        # Smoothing factor, eq. 9-12.
        sum_smooth = np.add.reduce(smooth, axis=1, keepdims=True)
        sum_noise = np.add.reduce(noise, axis=1, keepdims=True)
        away = np.minimum(sum_smooth / np.add.reduce(x, axis=1, keepdims=True), 1e6) - one
        fresh = np.maximum(1.0 / (one + away * away), s["correct"])
        correction = s["correction"]
        correction += np.float32(1.0 - s["correct"]) * (fresh - correction)
        lowest = np.minimum((sum_smooth / sum_noise) ** np.float32(s["snr_power"]), s["shortest"])
        np.divide(smooth, noise, a)
        np.minimum(a, s["huge"], out=a)
        np.subtract(a, one, a)
        np.multiply(a, a, a)
        np.add(a, one, a)
        np.divide(s["longest"] * correction, a, a)
        np.maximum(a, lowest, out=a)

        # Smoothed power, eq. 3; its moments, eq. 20-21; the inverse of Q, eq. 23.
        np.subtract(smooth, x, smooth)
        np.multiply(smooth, a, smooth)
        np.add(smooth, x, smooth)
        np.multiply(a, a, a)
        np.minimum(a, s["moment"], out=a)
        np.subtract(mean, smooth, mean)
        np.multiply(mean, a, mean)
        np.add(mean, smooth, mean)
        np.multiply(smooth, smooth, b)
        np.subtract(square, b, square)
        np.multiply(square, a, square)
        np.add(square, b, square)
        np.multiply(mean, mean, b)
        np.subtract(square, b, b)
        np.maximum(b, 0.0, out=b)
        np.sqrt(b, b)
        np.divide(b, noise, b)
        np.minimum(b, one, out=b)  # before squaring: a jump from silence would overflow
        np.multiply(b, b, b)
        np.multiply(b, s["half"], b)
        np.maximum(b, s["tiny_q"], out=b)
        spread = np.add.reduce(b, axis=1, keepdims=True) * np.float32(1.0 / b.shape[1])

        # Candidates: P times its bias over the window, and over a part, eq. 17.
        np.multiply(smooth, one + np.float32(VARIANCE_FACTOR) * np.sqrt(spread), x)
        np.multiply(b, s["window_twice"], a)
        np.subtract(one, a, a)
        np.divide(b, a, a)
        np.multiply(a, s["window_gain"], a)
        np.add(a, one, a)
        np.multiply(a, x, a)
        np.less(a, least, below)
        np.minimum(least, a, out=least)
        np.multiply(b, s["part_twice"], a)
        np.subtract(one, a, a)
        np.divide(b, a, a)
        np.multiply(a, s["part_gain"], a)
        np.add(a, one, a)
        np.multiply(a, x, a)
        np.copyto(local, a, where=below)

        s["in_part"] += 1
        overall = s["overall"]
        if s["in_part"] >= s["part"]:
            self._end_part(s, spread)
            np.minimum(overall, local, out=noise)
            local.fill(np.inf)
        else:
            if s["in_part"] > 1:
                np.logical_or(s["flat"], below, s["flat"])
            np.minimum(overall, local, out=overall)
            np.copyto(noise, overall)
        np.maximum(noise, s["silence"], out=noise)
        if not s["startup"]["done"]:
            begun = s["startup"]
            first = begun["age"].max() <= begun["skip"] + begun["count"]
            for c in startup.step(power, begun, noise):
                for field in (smooth, mean, overall):
                    field[c] = noise[c]
                square[c] = np.float32(1.1) * noise[c] ** 2  # relative variance of 0.1 to begin with
                least[c] = local[c] = np.inf
                s["stored"][:, c] = np.inf
                s["flat"][c] = False
                if first:  # its first part is to be a whole one; later channels must not disturb it
                    s["in_part"] = 0
        return noise

    @staticmethod
    def _end_part(s: dict[str, Any], spread: Power) -> None:
        """Store the minimum of the part, and let local minima pull the estimate up."""
        least, local, stored = s["least"], s["local"], s["stored"]
        stored[s["slot"]] = least
        s["slot"] = (s["slot"] + 1) % stored.shape[0]
        overall = np.min(stored, axis=0)
        rank = np.searchsorted([limit for limit, _ in SLOPES], spread, side="right")
        rise = np.array(s["rises"], np.float32)[rank]
        up = s["flat"] & ~s["below"] & (local < rise * overall) & (local > overall)
        np.copyto(overall, local, where=up)
        np.copyto(stored, overall, where=up)
        s["overall"][:] = overall
        least.fill(np.inf)
        s["flat"].fill(False)
        s["in_part"] = 0
