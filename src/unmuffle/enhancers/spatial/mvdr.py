r"""MVDR: least noise at the output under the condition that the voice is not changed.

Three forms of one idea, which differ in what has to be known:

**steered**
    the direction, as a steering vector d: :math:`w = R_n^{-1} d \,/\, d^H R_n^{-1} d`. Exact towards d.
    In a room d is only the direct sound: echoes of the voice count as noise and, if they are in
    :math:`R_n`, take the voice with them (self-cancellation); estimate :math:`R_n` in pauses. Even with
    a model of the noise alone, echoes that should stay are lost with little loading: in 30 rooms of 0.2 to 0.6 s, four
    microphones, places of talker and interferer known, SI-SDR against the voice with its first 50 ms rose by
    0.9 dB with a loading of 1e-2, 1.8 with 0.1, 2.2 with 0.3, 2.4 with 1, 2.3 with 3 (delay-and-sum: 2.0).
**Souden**
    covariances of speech and noise and a reference microphone u:
    :math:`w = R_n^{-1} R_s u \,/\, \operatorname{tr}(R_n^{-1} R_s)`. No geometry, no direction.
    With :math:`R_s` of rank one it equals the steered form with the relative transfer function.
**rank one**
    the same with :math:`R_s` brought to rank one first: d is the relative transfer function from the
    largest generalised eigenvector v of :math:`(R_s, R_n)`, :math:`d = R_n v / (R_n v)_u` (covariance
    whitening). Less speech distortion when :math:`R_s` was learnt from little or noisy material.

All are distortionless towards their d, exactly. Loading: see :mod:`.algebra`.

J. Capon, Proc. IEEE 57(8), 1969; M. Souden, J. Benesty, S. Affes, "On optimal frequency-domain multichannel
linear filtering for noise reduction", IEEE Trans. ASLP 18(2), 2010; S. Markovich-Golan, S. Gannot,
"Performance analysis of the covariance subtraction method for relative transfer function estimation and
comparison to the covariance whitening method", ICASSP 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..params import param
from .algebra import (
    LOADING,
    TINY,
    Complex,
    check_covariance,
    check_reference,
    check_steering,
    distortionless,
    or_reference,
    solve,
    unit_power,
)
from .beamformer import Adaptive
from .transfer import relative_transfer

FORMS = ("souden", "rank-one", "steered")
LEAKY = 0.3
"""Least loading of a steered beam whose noise is learnt from masks: some voice leaks into that, and its echoes do not
come from the direction; with less, the beam takes the voice for noise (simulated rooms: 5 dB worse at 1e-3)."""


@dataclass(frozen=True)
class Mvdr(Adaptive):
    """MVDR beamformer, streaming: in Souden's form from masks, with no geometry; rank-one; or steered."""

    name: ClassVar[str] = "mvdr"

    form: str = param("souden", "souden and rank-one know no geometry, steered needs it", choices=FORMS)

    def steered(self) -> bool:
        """Only the steered form."""
        return self.form == "steered"

    def solve(self, speech: Complex, noise: Complex, steering: Complex | None) -> Complex:
        """One of the three forms."""
        if steering is not None:
            return steered(noise, steering, max(self.loading, LEAKY))
        form = souden if self.form == "souden" else rank_one
        return form(speech, noise, self.reference, self.loading)


def steered(noise: Complex, steering: Complex, loading: float = LOADING) -> Complex:
    """MVDR towards a steering vector; delay-and-sum in bins without noise.

    Args:
        noise: ``(bins, M, M)``.
        steering: ``(bins, M)``.
        loading: see :mod:`.algebra`.
    """
    check_steering(steering, check_covariance(noise, "noise"))
    return distortionless(solve(noise, steering, loading), steering)


def souden(speech: Complex, noise: Complex, reference: int = 0, loading: float = LOADING) -> Complex:
    """MVDR from two covariances, towards the voice as microphone ``reference`` hears it."""
    check_covariance(speech, "speech")
    check_reference(reference, check_covariance(noise, "noise").shape[1])
    ratio = solve(noise, unit_power(speech), loading)
    trace = np.trace(ratio, axis1=-2, axis2=-1)
    good = trace.real > TINY
    weights = ratio[:, :, reference] / np.where(good, trace, 1.0)[:, np.newaxis]
    return or_reference(weights, good, reference)


def rank_one(speech: Complex, noise: Complex, reference: int = 0, loading: float = LOADING) -> Complex:
    """MVDR towards :func:`relative_transfer`."""
    return steered(noise, relative_transfer(speech, noise, reference, loading), loading)
