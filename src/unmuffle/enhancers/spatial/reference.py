"""Which microphone a beamformer stands in for: the one that hears the voice best.

The measure is the mean over the bins of the logarithm of speech over noise power: loud bins do not
outvote the others, and a microphone that is merely louder gains nothing. Dead channels never win.
"""

from __future__ import annotations

import numpy as np

from .algebra import TINY, Complex, check_covariance


def best_reference(speech: Complex, noise: Complex) -> int:
    """Microphone with the best SNR; the first one where all are alike, or silent."""
    s = np.einsum("kmm->km", check_covariance(speech, "speech")).real
    n = np.einsum("kmm->km", check_covariance(noise, "noise")).real
    heard = (s > TINY) & (n > TINY)
    ratio = np.log(np.where(heard, s, 1.0)) - np.log(np.where(heard, n, 1.0))
    # A bin that any microphone does not hear says nothing, unless the microphone is dead altogether.
    alive = heard.any(axis=0)
    if not alive.any():
        return 0
    fair = heard[:, alive].all(axis=1)
    score = np.full(s.shape[1], -np.inf)
    score[alive] = ratio[:, alive][fair].mean(axis=0) if fair.any() else 0.0
    return int(np.argmax(np.round(score, 9)))
