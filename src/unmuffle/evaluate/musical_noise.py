"""Musical noise: how tonal the residual noise became, as log-kurtosis ratio.

In the pauses of the reference only noise is present. Its power spectrum ``P`` in each cell has the
kurtosis (raw moments)::

    kurt = mean(q^4) / mean(q^2)^2,      q(t, f) = P(t, f) / mean_t P(t, f)
    score = ln( kurt(enhanced) / kurt(noisy) )

Gaussian noise has exponentially distributed ``P``: kurt = 4! / 2!^2 = 6, for any colour, since each bin is
divided by its own mean. A linear, fixed filter leaves it at 6. Processing that spares isolated cells and
mutes their neighbours leaves isolated blips, which are heard as chirping tones, and a heavier tail:
spectral subtraction with over-subtraction ``b`` (in units of the mean noise power, floor 0) gives ``6
e^b``, so the score is exactly ``b``.

Uemura, Takahashi, Saruwatari, Shikano & Kondo, "Automatic optimization scheme of spectral subtraction
based on musical noise assessment via higher-order statistics", IWAENC 2008. 0: as natural as the
input; positive: more tonal; negative: smoother. Frames of 32 ms with 8
ms hop.

Limits: noise that itself fluctuates (babble, clicks) starts from a high kurtosis and any gain that follows
it lowers the score. NaN when the reference has less than 0.2 s of pauses, or an output is mute in all of
them: there is no residual to judge.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ShapeError
from ._inputs import Signal, pair, rate, signal
from ._pauses import pauses
from ._spectra import hann_power, shortest

_MUTE = 1e-20  # power of a bin: -200 dB, rounding of float32 zeros


def kurtosis(power: Signal) -> float:
    """Raw-moment kurtosis of cells ``(frames, bins)``, every bin at its own mean; NaN if all bins are mute.

    >>> import numpy as np
    >>> round(kurtosis(np.random.default_rng(0).exponential(size=(200000, 4))), 1)
    6.0
    """
    mean = power.mean(axis=0)
    alive = mean > _MUTE
    if not alive.any():
        return math.nan
    q2 = (power[:, alive] / mean[alive]) ** 2
    return float(np.mean(q2 * q2) / np.mean(q2) ** 2)


def musical_noise(reference: ArrayLike, noisy: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Log-kurtosis ratio of the residual noise in the pauses; 0 is as natural as the noisy input."""
    sample_rate = rate(sample_rate)
    s, y = pair(reference, degraded, at_least=shortest(sample_rate))
    x = signal(noisy, "noisy")
    if x.size != s.size:
        raise ShapeError(f"noisy has {x.size} samples and reference {s.size}; align them first")
    quiet = pauses(s, sample_rate)
    if not quiet.any():
        return math.nan
    before, after = (kurtosis(np.concatenate(list(hann_power(v, sample_rate)))[quiet]) for v in (x, y))
    if math.isnan(before) or math.isnan(after):
        return math.nan
    return math.log(after / before)
