r"""Delay-and-sum: turn all microphones to one phase for a direction and average them.

.. math:: w = \frac{d}{d^H d}

The best there is against noise that is independent from microphone to microphone (hiss of preamplifiers):
its white noise gain is ``M``, the largest possible. Against noise from all around it helps only where the
array is large beside the wavelength; a 10 cm array does nothing below some 500 Hz. It needs no
estimate and cannot go wrong by more than its steering.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import ParameterError
from ...signal.stft import Frames
from .algebra import Complex
from .beamformer import Beamformer, Brain, FixedBrain


@dataclass(frozen=True)
class DelayAndSum(Beamformer):
    """Delay-and-sum beamformer: microphones turned to one phase for a direction, and averaged."""

    name: ClassVar[str] = "delay-and-sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_residual(self)

    def begin(self, frames: Frames, channels: int) -> Brain:
        """Fixed weights."""
        return FixedBrain(delay_and_sum(self.steering(frames, channels)))


def refuse_residual(method: Beamformer) -> None:
    """A fixed beam knows no noise covariance, which that post-filter wants."""
    if method.post == "residual":
        raise ParameterError(f"post = 'residual' needs a noise covariance, which {method.name} has none of; take mvdr")


def delay_and_sum(steering: Complex) -> Complex:
    """Weights ``(bins, microphones)``; microphones that are louder in ``d`` count more.

    >>> delay_and_sum(np.array([[1, 1j]]))
    array([[0.5+0.j , 0. +0.5j]])
    """
    energy = np.maximum(np.sum(np.abs(steering) ** 2, axis=1, keepdims=True), 1e-30)
    weights: Complex = steering / energy
    return weights
