r"""CGMM masks: which bins hold the voice, told from directions alone, without any network or geometry.

In a bin k the microphones hear ``x(l)``, taken as a zero-mean complex Gaussian whose covariance is one of a few
spatial ones, scaled by what sounds at the moment:

.. math:: p(x) = \sum_c \alpha_c \, \mathcal{N}_c(x;\, 0,\, \phi_c(l) R_c), \qquad
          \phi_c = \frac{1}{M} x^H R_c^{-1} x

The EM algorithm alternates between the posterior of the classes (with that :math:`\phi` the Gaussian
becomes :math:`\gamma_c \propto \alpha_c \, |R_c|^{-1} (x^H R_c^{-1} x)^{-M}`) and

.. math:: R_c = \frac{\sum_l \gamma_c \, x x^H / \phi_c}{\sum_l \gamma_c}, \qquad
          \alpha_c = \operatorname{mean}_l \gamma_c

The levels :math:`\phi` fall out: a loud moment of the noise is not taken for the voice. Classes are
spatial, so nothing in the model says which of them is the voice; the start does. It begins with a first guess
(a mask of the voice from one microphone, :mod:`..masks`), and :math:`R_c` keeps a part of it.

Two classes serve a voice in noise from anywhere. A talker who competes has to be a noise that the first
guess knows.

T. Higuchi, N. Ito, T. Yoshioka, T. Nakatani, "Robust MVDR beamforming using time-frequency masks for
online/offline ASR in noise", ICASSP 2016; N. Ito, S. Araki, T. Nakatani,
"Complex angular central Gaussian mixture model for directional statistics in mask-based microphone array
signal processing", EUSIPCO 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ParameterError, ShapeError
from ...signal.covariance import spatial_covariance
from .algebra import Complex, Real

LOADING = 1e-3
"""Of the class covariances, which have unit trace per microphone."""
LEAST = 1e-4
"""Least mask: no bin is wholly one class."""


def cgmm(spectra: Complex, guess: Real, iterations: int = 10, prior: float = 10.0) -> Real:
    """Refine a mask of the voice by EM.

    Args:
        spectra: ``(microphones, frames, bins)``, two microphones or more.
        guess: ``(frames, bins)``, 0 to 1: where the voice seems to be.
        iterations: of EM.
        prior: frames that the first guess keeps counting for, in the class weights.

    Returns:
        ``(frames, bins)``, 0 to 1.

    Raises:
        ShapeError, ParameterError.
    """
    if spectra.ndim != 3 or guess.shape != spectra.shape[1:]:
        raise ShapeError(f"guess must be (frames, bins) = {spectra.shape[1:]}, got {guess.shape}")
    if iterations < 0 or prior < 0.0:
        raise ParameterError(f"iterations = {iterations}, prior = {prior}; give 0 or more")
    size = spectra.shape[0]
    if size < 2 or not spectra.shape[1]:
        return np.array(guess, np.float64)
    x, heard = directions(spectra)
    first = np.clip(np.nan_to_num(guess.T.astype(np.float64)), LEAST, 1.0 - LEAST)
    posterior = np.stack((first, 1.0 - first))  # (classes, bins, frames)
    levels = np.ones_like(posterior)
    usual = posterior.mean(axis=2)
    products = x[:, :, :, np.newaxis] * x[:, :, np.newaxis, :].conj()  # (bins, frames, M, M)
    flat = products.reshape(*products.shape[:2], -1)
    for _ in range(iterations):
        weight = posterior * heard / levels
        total = np.maximum(np.sum(posterior * heard, axis=2), 1e-12)
        covariance = np.einsum("ckl,kln->ckn", weight, flat, optimize=True) / total[..., np.newaxis]
        shares = (total + prior * usual) / (np.sum(total, axis=0) + prior)
        posterior, levels = _classify(x, covariance.reshape(*covariance.shape[:2], size, size), shares)
    out: Real = np.where(heard, posterior[0], 0.0).T
    return out


def directions(spectra: Complex) -> tuple[Complex, NDArray[np.bool_]]:
    """``x / |x|`` as ``(bins, frames, M)``, and whether there was anything to normalise."""
    x = spectra.transpose(2, 1, 0).astype(np.complex128)
    length = np.linalg.norm(x, axis=2)
    heard = length > 1e-100
    return x / np.where(heard, length, 1.0)[:, :, np.newaxis], heard


def normalised(covariance: Complex) -> tuple[Complex, Real]:
    """Inverses and log determinants of class covariances ``(..., M, M)``, at unit power and loaded."""
    size = covariance.shape[-1]
    power = np.trace(covariance, axis1=-2, axis2=-1).real / size
    unit = covariance / np.where(power > 1e-200, power, 1.0)[..., np.newaxis, np.newaxis] + LOADING * np.eye(size)
    unit = 0.5 * (unit + np.conj(np.swapaxes(unit, -1, -2)))
    inverse = np.linalg.inv(unit)
    return inverse, np.linalg.slogdet(unit)[1]


def _classify(x: Complex, covariance: Complex, shares: Real) -> tuple[Real, Real]:
    """Posteriors and levels, both ``(classes, bins, frames)``."""
    inverse, logdet = normalised(covariance)
    size = x.shape[-1]
    mapped = np.einsum("ckmn,kln->cklm", inverse, x, optimize=True)
    levels = np.maximum(np.einsum("klm,cklm->ckl", x.conj(), mapped, optimize=True).real, 1e-12)
    score = np.log(shares)[..., np.newaxis] - logdet[..., np.newaxis] - size * np.log(levels)
    score -= score.max(axis=0)
    posterior = np.exp(score)
    posterior /= posterior.sum(axis=0)
    return np.clip(posterior, LEAST, 1.0 - LEAST), levels / size


class SlidingCgmm:
    """The online form: EM on the last frames, for a few bins at a time; the state is a plain dictionary.

    A truly recursive EM judges each frame by covariances that have not seen it; with few frames a second
    those are so sharp that any new frame of their own class looks foreign (it was tried: masks worse than the guess
    they began with). So the last ``window`` frames are kept, and every ``turn``-th bin, in turns, gets
    ``iterations`` of EM on all of them, with the frame that has just come in among them.

    Args:
        bins, microphones: of a frame.
        window: frames that are kept.
        iterations: of EM.
        turn: frames from one update of a bin to its next.
    """

    def __init__(self, bins: int, microphones: int, window: int, iterations: int = 4, turn: int = 16) -> None:
        if window < 1 or iterations < 0 or turn < 1:
            raise ParameterError(f"window = {window}, iterations = {iterations}, turn = {turn}; give 1, 0, 1 or more")
        self.bins, self.microphones = bins, microphones
        self.window, self.iterations, self.turn = window, iterations, turn

    def begin(self) -> dict[str, Any]:
        """Nothing heard."""
        return {
            "frames": np.zeros((self.window, self.bins, self.microphones), np.complex64),
            "guesses": np.zeros((self.window, self.bins), np.float32),
            "count": 0,
        }

    def step(self, frame: Complex, guess: Real, state: dict[str, Any]) -> None:
        """Remember one frame ``(bins, microphones)`` with the first guess ``(bins,)``."""
        at = state["count"] % self.window
        state["frames"][at], state["guesses"][at] = frame, guess
        state["count"] += 1

    def covariances(self, state: dict[str, Any], which: slice) -> tuple[Complex, Complex]:
        """Speech and noise covariances of some bins, from the refined masks of the frames that are kept."""
        known = min(state["count"], self.window)
        spectra = state["frames"][:known, which].transpose(2, 0, 1)
        mask = cgmm(spectra, state["guesses"][:known, which], self.iterations)
        return spatial_covariance(spectra, mask), spatial_covariance(spectra, 1.0 - mask)
