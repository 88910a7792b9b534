r"""Post-filters: what is left behind a beamformer, lowered bin by bin with what the microphones still tell.

All are Wiener gains :math:`G = \hat\phi_s / \hat\phi`, limited to a floor, from recursively averaged densities of the
microphones after they were turned to one phase (:math:`x_m d_m^*`):

**Zelinski**
    noise is independent from microphone to microphone, so what two have in common is the voice:
    :math:`\hat\phi_s = \operatorname{mean}_{i<j} \operatorname{Re} \phi_{ij}`,
    :math:`\hat\phi = \operatorname{mean}_i \phi_{ii}`. Below the frequency where the array is half a wavelength wide,
    noise from all around is common too, and stays.
**McCowan**
    the same with the coherence :math:`\Gamma_{ij}` of diffuse noise, turned like the signals, taken out:
    :math:`\hat\phi_s^{ij} = (\operatorname{Re}\phi_{ij} - \frac12 \operatorname{Re}\Gamma_{ij} (\phi_{ii} + \phi_{jj}))
    / (1 - \operatorname{Re}\Gamma_{ij})`. Where :math:`\Gamma` is near 1 nothing can be told, so it is held at
    :data:`LARGEST` at most.
**residual**
    the noise that the beamformer lets through, known at any moment from signals in which the voice is blocked: with a
    blocking matrix B (:math:`B^H d = 0`) and the noise covariance,
    :math:`\lambda = \frac{1}{M-1} u^H (B^H R_n B)^{-1} u,\; u = B^H x`, is the most likely level of the noise now,
    and :math:`\lambda \, w^H R_n w` its power at the output. The gain follows by the decision-directed SNR.

R. Zelinski, ICASSP 1988; I. McCowan, H. Bourlard, "Microphone array post-filter based on noise field coherence",
IEEE Trans. SAP 11(6), 2003; U. Kjems, J. Jensen, "Maximum likelihood based noise covariance matrix estimation for
multi-microphone speech enhancement", EUSIPCO 2012; Y. Ephraim, D. Malah, IEEE Trans. ASSP 32(6), 1984.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .algebra import TINY, Complex, Real, quadratic, solve

LARGEST = 0.7
"""Largest coherence that McCowan's formula divides by 1 minus of."""
DD = 0.96
"""Memory of the decision-directed SNR, a frame of 16 ms."""


def zelinski(densities: Complex) -> Real:
    """Gain ``(bins,)`` from the cross densities ``(bins, M, M)`` of aligned microphones, -inf..1 before any floor."""
    size = densities.shape[-1]
    rows, columns = np.triu_indices(size, 1)
    if not rows.size:
        return np.ones(densities.shape[0])
    own = np.einsum("kmm->km", densities).real.mean(axis=1)
    common = densities[:, rows, columns].real.mean(axis=1)
    return np.where(own > TINY, common / np.maximum(own, TINY), 1.0)


def mccowan(densities: Complex, coherence: Complex | Real) -> Real:
    """The same for noise of a known coherence ``(bins, M, M)``, aligned like the densities."""
    size = densities.shape[-1]
    rows, columns = np.triu_indices(size, 1)
    if not rows.size:
        return np.ones(densities.shape[0])
    own = np.einsum("kmm->km", densities).real
    shared = np.minimum(np.real(coherence[:, rows, columns]), LARGEST)
    cross = densities[:, rows, columns].real
    voice = (cross - 0.5 * shared * (own[:, rows] + own[:, columns])) / (1.0 - shared)
    mean = own.mean(axis=1)
    return np.where(mean > TINY, voice.mean(axis=1) / np.maximum(mean, TINY), 1.0)


def blocking(steering: Complex) -> Complex:
    """``(bins, M, M - 1)`` orthonormal columns B with :math:`B^H d = 0`."""
    size = steering.shape[1]
    length = np.maximum(np.linalg.norm(steering, axis=1, keepdims=True), 1e-30)
    unit = steering / length
    # Householder: the reflection that takes d to the first axis; its other columns are orthogonal to d.
    turn = np.where(np.abs(unit[:, :1]) > 0, unit[:, :1] / np.maximum(np.abs(unit[:, :1]), 1e-30), 1.0)
    v = unit.copy()
    v[:, :1] += turn
    norm = np.maximum(np.sum(np.abs(v) ** 2, axis=1), 1e-30)
    reflection = np.eye(size) - 2.0 * v[:, :, np.newaxis] * v[:, np.newaxis, :].conj() / norm[:, np.newaxis, np.newaxis]
    out: Complex = reflection[:, :, 1:]
    return out


class Residual:
    """The residual-noise post-filter; what is prepared for bins stays until it is prepared anew.

    Args:
        bins, microphones: of a frame.
        keep: memory of the decision-directed SNR.
    """

    def __init__(self, bins: int, microphones: int, keep: float = DD) -> None:
        self.bins, self.microphones, self.keep = bins, microphones, keep

    def begin(self) -> dict[str, Any]:
        """Passes everything until it is prepared."""
        size = self.microphones
        return {
            "map": np.zeros((self.bins, size, size), np.complex128),
            "left": np.zeros(self.bins),
            "ready": np.zeros(self.bins, bool),
            "before": np.zeros(self.bins),
        }

    def prepare(
        self, which: slice, weights: Complex, steering: Complex, noise: Complex, loading: float, state: dict[str, Any]
    ) -> None:
        """Take over new weights of some bins: :math:`B (B^H R B)^{-1} B^H / (M - 1)` and :math:`w^H R w`."""
        block = blocking(steering)
        size = block.shape[1]
        inner = block.conj().transpose(0, 2, 1) @ noise @ block
        eye = np.broadcast_to(np.eye(size - 1), inner.shape)
        inverse = solve(inner, eye, loading)
        state["map"][which] = block @ inverse @ block.conj().transpose(0, 2, 1) / (size - 1)
        state["left"][which] = quadratic(weights, noise)
        state["ready"][which] = state["left"][which] > TINY

    def step(self, frame: Complex, output: Complex, floor: float, state: dict[str, Any]) -> Real:
        """Gain ``(bins,)`` for the output ``(bins,)`` of a frame ``(bins, M)``."""
        if self.microphones < 2:
            return np.ones(self.bins)
        level = np.einsum("km,kmn,kn->k", frame.conj(), state["map"], frame).real
        noise = level * state["left"]
        power = np.abs(output) ** 2
        known = state["ready"] & (noise > TINY)
        safe = np.where(known, noise, 1.0)
        gamma = np.minimum(power / safe, 1e6)
        prior = self.keep * np.minimum(state["before"] / safe, 1e6) + (1.0 - self.keep) * np.maximum(gamma - 1.0, 0.0)
        gain = np.where(known, np.maximum(prior / (1.0 + prior), floor), 1.0)
        state["before"] = np.where(known, gain**2 * power, 0.0)
        return gain
