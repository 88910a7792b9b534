r"""The relative transfer function: how the voice reaches each microphone, compared with the reference.

It is the steering vector that a room really has, echoes included (as far as they fit into a frame), and it needs no
geometry. Covariance whitening: with the largest solution v of :math:`R_s v = \lambda R_n v`,
:math:`d = R_n v / (R_n v)_u`. Of a speech covariance that still holds noise it is exact all the same, as long as
the noise in it is the noise of :math:`R_n`.

S. Markovich-Golan, S. Gannot, ICASSP 2015.
"""

from __future__ import annotations

import numpy as np

from .algebra import (
    LOADING,
    Complex,
    check_covariance,
    check_reference,
    loaded_unit,
    or_reference,
    whitened_principal,
)


def relative_transfer(speech: Complex, noise: Complex, reference: int = 0, loading: float = LOADING) -> Complex:
    """Steering vector ``(bins, M)`` of the voice, 1 at the reference, by covariance whitening.

    Where nothing was heard it is 1 at the reference and 0 elsewhere.
    """
    check_covariance(speech, "speech")
    check_reference(reference, check_covariance(noise, "noise").shape[1])
    vectors, values = whitened_principal(speech, noise, loading)
    seen = np.einsum("kmn,kn->km", loaded_unit(noise, loading), vectors)
    own = seen[:, reference]
    # A reference that hears less than a thousandth of the voice cannot be divided by.
    good = (values > 0.0) & (np.abs(own) > 1e-3 * np.linalg.norm(seen, axis=1))
    return or_reference(seen / np.where(good, own, 1.0)[:, np.newaxis], good, reference)
