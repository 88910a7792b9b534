r"""What a beamformer is worth, from its weights alone.

========================  =================================================================
white noise gain          :math:`|w^H d|^2 / w^H w`: gain over a microphone's own noise; at most M
directivity factor        :math:`|w^H d|^2 / w^H \Gamma w` with the coherence of diffuse noise
array gain                the same with any noise coherence
beam pattern              :math:`|w^H d(\theta)|` over directions
========================  =================================================================

All are powers or amplitudes, not decibels, unless the name says so.
"""

from __future__ import annotations

import numpy as np

from .algebra import TINY, Complex, Real, quadratic


def white_noise_gain(weights: Complex, steering: Complex) -> Real:
    """:math:`|w^H d|^2 / w^H w` for each bin."""
    out: Real = _target(weights, steering) / np.maximum(np.sum(np.abs(weights) ** 2, axis=1), TINY)
    return out


def array_gain(weights: Complex, steering: Complex, noise: Complex | Real) -> Real:
    r""":math:`|w^H d|^2 / w^H \Gamma w` for each bin; with diffuse coherence, the directivity factor."""
    out: Real = _target(weights, steering) / np.maximum(quadratic(weights, noise), TINY)
    return out


def directivity_index_db(weights: Complex, steering: Complex, coherence: Real) -> Real:
    """The directivity factor in decibels."""
    out: Real = 10.0 * np.log10(np.maximum(array_gain(weights, steering, coherence), 1e-30))
    return out


def beam_pattern(weights: Complex, steering: Complex) -> Real:
    """Magnitude of the response ``(directions, bins)`` to steering ``(directions, bins, M)``."""
    out: Real = np.abs(np.einsum("km,ukm->uk", weights.conj(), steering))
    return out


def _target(weights: Complex, steering: Complex) -> Real:
    out: Real = np.abs(np.einsum("km,km->k", weights.conj(), steering)) ** 2
    return out
