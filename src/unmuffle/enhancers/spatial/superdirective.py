r"""Superdirective: the narrowest beam against noise from all around, as far as the microphones allow.

With the coherence :math:`\Gamma` of diffuse noise (:func:`~unmuffle.signal.steering.diffuse_coherence`)

.. math:: w = \frac{(\Gamma + \varepsilon I)^{-1} d}{d^H (\Gamma + \varepsilon I)^{-1} d}

At :math:`\varepsilon = 0` the directivity is the largest possible, up to :math:`M^2` for a line looking
along itself, and the white noise gain :math:`1 / w^H w` falls without bound towards low frequencies:
the beam subtracts almost equal signals and lifts the microphones' own noise. So
:math:`\varepsilon` is the smallest, bin by bin, at which the white noise gain keeps ``least_gain_db``
(found by bisection, as the gain rises with it: Gilbert & Morgan 1955). It ends at delay-and-sum.

H. Cox, R. Zeskind, T. Kooij, "Practical supergain", IEEE Trans. ASSP 34(3), 1986; J. Bitzer, K. U. Simmer,
"Superdirective microphone arrays", in: Microphone Arrays, Springer 2001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import ParameterError
from ...signal.steering import diffuse_coherence
from ...signal.stft import Frames
from ..params import param
from .algebra import Complex, Real, distortionless
from .beamformer import Beamformer, Brain, FixedBrain
from .delay_and_sum import refuse_residual
from .measures import white_noise_gain

LEAST, MOST, STEPS = 1e-9, 1e6, 60


@dataclass(frozen=True)
class Superdirective(Beamformer):
    """Superdirective beamformer: the narrowest fixed beam that a limit on self-noise allows."""

    name: ClassVar[str] = "superdirective"

    least_gain_db: float = param(-10.0, "least white noise gain", low=-40.0, high=18.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_residual(self)

    def begin(self, frames: Frames, channels: int) -> Brain:
        """Fixed weights."""
        coherence = diffuse_coherence(self.geometry(channels), frames.frequencies)
        return FixedBrain(superdirective(coherence, self.steering(frames, channels), self.least_gain_db))


def superdirective(coherence: Real, steering: Complex, least_gain_db: float = -10.0) -> Complex:
    """Weights ``(bins, microphones)`` whose white noise gain is at least ``least_gain_db`` in each bin.

    Args:
        coherence: ``(bins, M, M)`` of the noise to be suppressed.
        steering: ``(bins, M)``.
        least_gain_db: -20 for matched, quiet microphones, -10 for usual ones, 0 for bad ones. More
            than ``10 log10 M`` cannot be had.

    Raises:
        ParameterError: the gain cannot be reached by any weights.
    """
    size = steering.shape[1]
    most_db = 10.0 * np.log10(size)
    if not least_gain_db <= most_db + 1e-9:
        raise ParameterError(f"least_gain_db = {least_gain_db:g}; {size} microphones reach {most_db:.1f} dB at most")
    low = np.full(steering.shape[0], np.log(LEAST))
    high = np.full(steering.shape[0], np.log(MOST))
    target = 10.0 ** (least_gain_db / 10.0)
    eye = np.eye(size)

    def beam(log_loading: Real) -> Complex:
        matrix = coherence + np.exp(log_loading)[:, np.newaxis, np.newaxis] * eye
        return distortionless(np.linalg.solve(matrix, steering[..., np.newaxis])[..., 0], steering)

    enough = white_noise_gain(beam(low), steering) >= target
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        good = white_noise_gain(beam(middle), steering) >= target
        high, low = np.where(good, middle, high), np.where(good, low, middle)
    return beam(np.where(enough, np.log(LEAST), high))
