r"""What all beamformers share: how weights are applied, solved for and kept honest.

Conventions, the same in all files here
---------------------------------------
Spectra are complex ``(microphones, frames, bins)``. Weights ``w`` are ``(bins, microphones)`` and the
output is :math:`y = w^H x`. Covariances ``R`` and coherences ``Gamma`` are ``(bins, microphones,
microphones)``, steering vectors ``d`` ``(bins, microphones)``: a source S arrives as ``x = d S``. A beamformer
is *distortionless* towards ``d`` when :math:`w^H d = 1`; with ``d`` relative to a reference microphone
(its entry is 1), the voice comes out as that microphone hears it.

Loading
-------
Each inverse of a covariance is one of ``R + loading * tr(R) / M * I`` (:func:`~unmuffle.signal.covariance.
load_diagonal`): the microphones are given that much noise of their own. It bounds the condition number by
``M / loading + 1``, so that identical, dead or too few channels leave a solution, and the white noise gain
from below, so that errors of position and gain are forgiven. More loading, less suppression.

A bin in which nothing was heard has no solution; it passes the reference microphone (:func:`or_reference`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ParameterError, ShapeError
from ...signal.covariance import load_diagonal

Complex = NDArray[np.complexfloating[Any, Any]]
Real = NDArray[np.floating[Any]]

LOADING = 1e-3
"""Usual loading: noise of the microphones' own 30 dB below what they hear."""

TINY = 1e-200
"""Powers below count as silence. Float32 samples have none between 0 and 1e-90."""


def apply(weights: Complex, spectra: Complex) -> Complex:
    """:math:`w^H x`: ``(bins, microphones)`` on ``(microphones, frames, bins)`` gives ``(frames, bins)``."""
    if weights.ndim != 2 or spectra.ndim != 3 or weights.shape != (spectra.shape[2], spectra.shape[0]):
        raise ShapeError(
            f"weights {weights.shape} do not fit spectra {spectra.shape}: (bins, microphones), "
            "(microphones, frames, bins)"
        )
    out: Complex = np.einsum("km,mlk->lk", weights.conj(), spectra)
    return out


def check_covariance(covariance: Complex, name: str = "covariance") -> Complex:
    """``(bins, M, M)``, finite, or :class:`ShapeError`, :class:`ParameterError`."""
    if covariance.ndim != 3 or covariance.shape[1] != covariance.shape[2] or not covariance.shape[1]:
        raise ShapeError(f"{name} must be (bins, microphones, microphones), got {covariance.shape}")
    if not np.isfinite(covariance).all():
        raise ParameterError(f"{name} holds NaN or infinity: replace such samples before beamforming")
    return covariance


def check_steering(steering: Complex, covariance: Complex) -> Complex:
    """``(bins, M)`` that fits the covariance, or :class:`ShapeError`."""
    if steering.shape != covariance.shape[:2]:
        raise ShapeError(f"steering must be (bins, microphones) = {covariance.shape[:2]}, got {steering.shape}")
    return steering


def check_reference(reference: int, microphones: int) -> int:
    """A microphone that exists, or :class:`ParameterError`."""
    if not 0 <= reference < microphones:
        raise ParameterError(f"reference = {reference}; there are microphones 0 to {microphones - 1}")
    return int(reference)


def solve(covariance: Complex, right: Complex | Real, loading: float) -> Complex:
    """``R^-1 b`` with loading; ``b`` is ``(bins, M)`` or ``(bins, M, n)``. Zero where R is zero."""
    vector = right.ndim == 2
    # Scaled to unit power first: inverses of very soft bins would leave the range of numbers.
    power = np.trace(covariance, axis1=-2, axis2=-1).real / covariance.shape[-1]
    heard = power > TINY
    scale = np.where(heard, 1.0 / np.where(heard, power, 1.0), 0.0)
    unit = load_diagonal(covariance * scale[:, np.newaxis, np.newaxis], loading, 0.0 if loading else 1e-15)
    unit[~heard] = np.eye(covariance.shape[-1])
    answer = np.linalg.solve(unit, right[..., np.newaxis] if vector else right)
    answer = answer * scale[:, np.newaxis, np.newaxis]
    out: Complex = answer[..., 0] if vector else answer
    return out


def quadratic(vector: Complex, matrix: Complex | Real) -> Real:
    """:math:`v^H R v` for each bin, real as R is Hermitian."""
    out: Real = np.einsum("km,kmn,kn->k", vector.conj(), matrix, vector).real
    return out


def distortionless(numerator: Complex, steering: Complex) -> Complex:
    """``v / (d^H v)``, that is :math:`w^H d = 1`; the matched filter where ``v`` is zero."""
    response = np.einsum("km,km->k", steering.conj(), numerator)
    lost = np.abs(response) <= TINY
    safe = np.where(lost, 1.0, response)
    energy = np.maximum(np.sum(np.abs(steering) ** 2, axis=1), 1e-30)
    weights: Complex = np.where(lost[:, np.newaxis], steering / energy[:, np.newaxis], numerator / safe[:, np.newaxis])
    return weights


def or_reference(weights: Complex, good: NDArray[np.bool_], reference: int) -> Complex:
    """Weights where ``good`` and finite, elsewhere those that pass the reference microphone."""
    good = good & np.isfinite(weights).all(axis=1)
    passing = np.zeros(weights.shape[1])
    passing[reference] = 1.0
    out: Complex = np.where(good[:, np.newaxis], weights, passing)
    return out


def principal(covariance: Complex) -> Complex:
    """Eigenvectors of the largest eigenvalues, ``(bins, M)``, of unit length and arbitrary phase."""
    _, vectors = np.linalg.eigh(covariance)
    out: Complex = vectors[..., -1]
    return out


def whitened_principal(speech: Complex, noise: Complex, loading: float) -> tuple[Complex, Real]:
    """Largest solution of ``R_s v = lambda R_n v``: vectors ``(bins, M)`` and values ``(bins,)``.

    With the Cholesky factor L of the loaded noise, :math:`L^{-1} R_s L^{-H}` is an ordinary Hermitian
    problem, whose vector u gives :math:`v = L^{-H} u`. Silent bins give (1, 0, ..) and 0.
    """
    size = noise.shape[-1]
    power = np.trace(noise, axis1=-2, axis2=-1).real / size
    loud = np.trace(speech, axis1=-2, axis2=-1).real / size
    heard = (power > TINY) & (loud > TINY)
    eye = np.eye(size)
    safe_n = np.where(heard, power, 1.0)[:, np.newaxis, np.newaxis]
    safe_s = np.where(heard, loud, 1.0)[:, np.newaxis, np.newaxis]
    white = np.where(heard[:, np.newaxis, np.newaxis], noise / safe_n, eye)
    white = load_diagonal(white, max(loading, 1e-10), 0.0)
    white = 0.5 * (white + white.conj().transpose(0, 2, 1))
    lower = np.linalg.cholesky(white)
    half = np.linalg.solve(lower, np.where(heard[:, np.newaxis, np.newaxis], speech / safe_s, 0.0))
    inner = np.linalg.solve(lower, half.conj().transpose(0, 2, 1))
    values, vectors = np.linalg.eigh(0.5 * (inner + inner.conj().transpose(0, 2, 1)))
    found = np.linalg.solve(lower.conj().transpose(0, 2, 1), vectors[..., -1:])[..., 0]
    ratio = np.where(heard, loud / np.where(heard, power, 1.0), 0.0)
    first = np.zeros(size)
    first[0] = 1.0
    return np.where(heard[:, np.newaxis], found, first), np.maximum(values[:, -1], 0.0) * ratio


def unit_power(matrix: Complex) -> Complex:
    """Covariances brought to a mean power of 1, where there is any."""
    power = np.trace(matrix, axis1=-2, axis2=-1).real / matrix.shape[-1]
    out: Complex = matrix / np.where(power > TINY, power, 1.0)[:, np.newaxis, np.newaxis]
    return out


def loaded_unit(matrix: Complex, loading: float) -> Complex:
    """:func:`unit_power` with loading: the matrix that :func:`whitened_principal` whitens by."""
    out: Complex = unit_power(matrix) + max(loading, 1e-10) * np.eye(matrix.shape[-1])
    return out
