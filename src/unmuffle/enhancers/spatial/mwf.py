r"""Multichannel Wiener filter with a weight on speech distortion (SDW-MWF).

.. math:: w = \arg\min_w \; E|u^T s - w^H s|^2 + \mu \, E|w^H v|^2
            = (R_s + \mu R_n)^{-1} R_s u

with the reference microphone u. ``mu = 1`` is the least mean square error; a larger one takes more noise
away and more of the voice with it; ``mu -> 0`` is the MVDR beamformer when the speech is of rank one. For one
microphone it is the Wiener gain. In rank-one form it is the MVDR beamformer followed by a Wiener gain,
which is why a post-filter belongs behind MVDR and not behind this one.

A. Spriet, M. Moonen, J. Wouters, "Spatially pre-processed speech distortion weighted multi-channel Wiener
filtering for noise reduction", Signal Processing 84(12), 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import ParameterError
from ..params import param
from .algebra import LOADING, TINY, Complex, check_covariance, check_reference, or_reference, solve
from .beamformer import Adaptive


@dataclass(frozen=True)
class Mwf(Adaptive):
    """Multichannel Wiener filter from masks, streaming; needs no geometry."""

    name: ClassVar[str] = "mwf"

    mu: float = param(1.0, "weight of noise against speech distortion", low=0.0, high=100.0)

    def solve(self, speech: Complex, noise: Complex, steering: Complex | None) -> Complex:
        """:func:`mwf` of the voice alone: what the masks call voice holds noise, which is taken off."""
        clean = voice_alone(speech, noise)
        return mwf(clean, noise, self.mu, self.reference, self.loading)


def voice_alone(speech: Complex, noise: Complex) -> Complex:
    """:math:`R_s - R_n` with negative eigenvalues set to zero: the voice in noisy speech."""
    values, vectors = np.linalg.eigh(speech - noise)
    kept = np.maximum(values, 0.0)
    out: Complex = (vectors * kept[:, np.newaxis]) @ vectors.conj().transpose(0, 2, 1)
    return out


def mwf(speech: Complex, noise: Complex, mu: float = 1.0, reference: int = 0, loading: float = LOADING) -> Complex:
    """Weights ``(bins, M)``. Unlike for MVDR, the scale of the two covariances to each other matters.

    Raises:
        ParameterError: a negative or infinite ``mu``.
    """
    if not 0.0 <= mu < np.inf:
        raise ParameterError(f"mu = {mu!r}; give 0 (keep the voice) or more (take more noise away)")
    check_covariance(speech, "speech")
    check_reference(reference, check_covariance(noise, "noise").shape[1])
    weights = solve(speech + mu * noise, speech[:, :, reference], loading)
    heard = np.trace(speech + mu * noise, axis1=1, axis2=2).real > TINY
    return or_reference(weights, heard, reference)
