r"""MMSE noise tracking with a soft speech presence probability (Gerkmann & Hendriks).

With complex Gaussian spectra, the noise power given the noisy power is expected to be

.. math:: E\{|D|^2 \mid P\} = p \, \lambda_D + (1 - p) \, P,

where :math:`p` is the probability that speech is present in the bin,

.. math::
    p = \Bigl(1 + (1 + \xi) \, e^{-\frac{P}{\lambda_D} \frac{\xi}{1 + \xi}}\Bigr)^{-1}.

The a-priori SNR :math:`\xi` is a constant here: what speech typically has *where it is present*
(15 dB), not what it has just now. That keeps the estimate from feeding on itself, and lets one bin
cost a handful of operations. The PSD is the recursive mean
:math:`\lambda_D \leftarrow a \lambda_D + (1 - a) E\{|D|^2 \mid P\}`.

In noise alone, the strongest values are taken for speech now and then, which leaves the paper's
estimate 1.0 dB low. With ``compensate`` (the default, not in the paper), ``P`` enters as
:math:`\beta P`, with the factor for which the update is zero on average when the estimate is right,

.. math:: \beta = \frac{E\{1 - p\}}{E\{(1 - p) P / \lambda_D\}}, \quad P / \lambda_D \sim \mathrm{Exp}(1):

:func:`compensation`, 1.16 at 15 dB.

After an upward jump of the noise, :math:`p` would stay at one for ever. So its own recursive mean
is watched, and where that passes 0.99, :math:`p` is held at 0.99 at most: 1 % of the difference
leaks in at every frame, and the estimate climbs within about a second.

Fails when speech fills a bin without a pause of about a second (sung vowels, hum-like voices): the
leak then takes it for noise. A larger ``stuck_s`` resists longer and reacts later.

T. Gerkmann, R. C. Hendriks, "Unbiased MMSE-based noise power estimation with low complexity and low
tracking delay", IEEE Trans. Audio Speech Lang. Process. 20(4), 2012.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ..signal.stft import Frames
from . import startup
from .base import NoiseTracker, Power, check_range, constant, silence, smoothing

STUCK = 0.99
"""Mean probability above which a bin counts as stuck, and the probability it is then held at."""


@lru_cache(maxsize=16)
def compensation(prior_snr_db: float) -> float:
    """The factor beta by which noise taken for speech is made up for."""
    xi = 10.0 ** (prior_snr_db / 10.0)
    gamma = np.linspace(0.0, 40.0, 40001)  # e^-40 of the noise lies beyond
    absent = np.exp(-gamma) / (1.0 + np.exp(gamma * xi / (1.0 + xi)) / (1.0 + xi))
    return float(np.sum(absent) / np.sum(absent * gamma))


@dataclass(frozen=True)
class MmseSpp(NoiseTracker):
    """MMSE noise tracking with a soft speech presence probability.

    Attributes:
        prior_snr_db: a-priori SNR of speech where it is present.
        smoothing_s: time constant of the PSD (0.8 per frame of 16 ms in the paper).
        stuck_s: time constant of the watched mean probability (0.9 per frame of 16 ms).
        startup_s: time over which the first estimate is formed.
        gate_doubt_db: by how much that starts lower after digital silence: the first sound is then speech.
        compensate: make the estimate unbiased in noise; without, it is the paper's.
    """

    name: ClassVar[str] = "mmse-spp"
    prior_snr_db: float = 15.0
    smoothing_s: float = 0.0717
    stuck_s: float = 0.1519
    startup_s: float = 0.1
    gate_doubt_db: float = 10.0
    compensate: bool = True

    def __post_init__(self) -> None:
        check_range(self, 3.0, 40.0, prior_snr_db=self.prior_snr_db)
        check_range(self, 0.001, 10.0, smoothing_s=self.smoothing_s, stuck_s=self.stuck_s)
        check_range(self, 0.01, 10.0, startup_s=self.startup_s)
        check_range(self, 0.0, 60.0, gate_doubt_db=self.gate_doubt_db)

    def init(self, frames: Frames, channels: int) -> dict[str, Any]:
        """Return a new state."""
        xi = 10.0 ** (self.prior_snr_db / 10.0)
        shape = (channels, frames.bins)
        a, b = smoothing(self.smoothing_s, frames), smoothing(self.stuck_s, frames)
        return {
            "startup": startup.begin(frames, channels, self.startup_s, gate_doubt_db=self.gate_doubt_db),
            "noise": np.full(shape, silence(frames), np.float32),
            "absence": np.full(shape, 0.5, np.float32),  # recursive mean of 1 - p
            "scratch": np.empty((2, *shape), np.float32),
            "mask": np.empty(shape, bool),
            # 1 - p = 1 / (1 + exp(k gamma - c)) = (1 - tanh(k gamma / 2 - c / 2)) / 2: no overflow
            "half_slope": constant(0.5 * xi / (1.0 + xi)),
            "half_offset": constant(0.5 * math.log1p(xi)),
            "half": constant(0.5),
            "beta": constant(compensation(self.prior_snr_db) if self.compensate else 1.0),
            "least": constant(1.0 - STUCK),
            "gain": constant(1.0 - a),
            "keep": constant(b),
            "fresh": constant(1.0 - b),
            "silence": constant(silence(frames)),
        }

    def joins(self, state: Any) -> bool:
        """Yes, once the start is over."""
        return bool(state["startup"]["done"])

    learnt: ClassVar[tuple[str, ...]] = ("noise", "absence")

    def join(self, state: Any, learnt: Sequence[Power]) -> Any:
        """With room for as many channels."""
        noise, absence = learnt
        scratch = np.empty((2, *noise.shape), np.float32)
        return {**state, "noise": noise, "absence": absence, "scratch": scratch, "mask": np.empty(noise.shape, bool)}

    def step(self, power: Power, state: Any) -> Power:
        """Hear one frame."""
        s = state
        noise: Power = s["noise"]
        absence, mask = s["absence"], s["mask"]
        q, w = s["scratch"]
        np.divide(power, noise, q)
        np.multiply(q, s["half_slope"], q)
        np.subtract(q, s["half_offset"], q)
        np.tanh(q, q)
        np.multiply(q, s["half"], q)
        np.subtract(s["half"], q, q)  # q = 1 - p
        np.multiply(absence, s["keep"], absence)
        np.multiply(q, s["fresh"], w)
        np.add(absence, w, absence)
        np.less(absence, s["least"], mask)
        if np.count_nonzero(mask):
            np.maximum(q, s["least"], out=q, where=mask)
        # noise += (1 - a) (1 - p) (beta P - noise), except in digital silence
        np.multiply(power, s["beta"], w)
        np.subtract(w, noise, w)
        np.multiply(q, s["gain"], q)
        np.multiply(w, q, w)
        np.greater(power, s["silence"], mask)
        if np.count_nonzero(mask) < mask.size:
            np.multiply(w, mask, w)
        np.add(noise, w, noise)
        if not s["startup"]["done"]:
            startup.step(power, s["startup"], noise)
        return noise
