r"""GEV or max-SNR: the weights with the best ratio of speech to noise, whatever they do to the voice.

.. math:: w = \arg\max_w \frac{w^H R_s w}{w^H R_n w}

is the largest generalised eigenvector of :math:`(R_s, R_n)`. Its length is free in every bin, so the voice
comes out with an arbitrary colour. Blind analytic normalisation undoes that without knowing the room:

.. math:: g = \frac{\sqrt{w^H R_n R_n w / M}}{w^H R_n w}

which makes the response to the voice about that of one microphone, exactly so when noise is white
(then :math:`g w = d / |d| / \sqrt M`). The phase is turned to that of the reference microphone.

E. Warsitz, R. Haeb-Umbach, "Blind acoustic beamforming based on generalized eigenvalue decomposition",
IEEE Trans. ASLP 15(5), 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .algebra import (
    LOADING,
    TINY,
    Complex,
    check_covariance,
    check_reference,
    loaded_unit,
    or_reference,
    whitened_principal,
)
from .beamformer import Adaptive


@dataclass(frozen=True)
class Gev(Adaptive):
    """Max-SNR beamformer from masks, streaming, with blind analytic normalisation; needs no geometry."""

    name: ClassVar[str] = "gev"

    def solve(self, speech: Complex, noise: Complex, steering: Complex | None) -> Complex:
        """:func:`gev`."""
        return gev(speech, noise, self.reference, self.loading)


def gev(
    speech: Complex, noise: Complex, reference: int = 0, loading: float = LOADING, normalise: bool = True
) -> Complex:
    """Max-SNR weights ``(bins, M)``, with blind analytic normalisation unless ``normalise`` is false."""
    check_covariance(speech, "speech")
    size = check_covariance(noise, "noise").shape[1]
    check_reference(reference, size)
    weights, values = whitened_principal(speech, noise, loading)
    matrix = loaded_unit(noise, loading)
    seen = np.einsum("kmn,kn->km", matrix, weights)
    power = np.einsum("km,km->k", weights.conj(), seen).real
    gain = np.sqrt(np.sum(np.abs(seen) ** 2, axis=1) / size) / np.maximum(power, TINY)
    if not normalise:
        gain = 1.0 / np.maximum(np.linalg.norm(weights, axis=1), TINY)
    turn = np.exp(-1j * np.angle(seen[:, reference]))
    return or_reference(weights * (gain * turn)[:, np.newaxis], values > 0.0, reference)
