"""Cepstral distance between all-pole envelopes.

The cepstrum of ``1 / A(z)`` follows from the predictor: ``c_n = -a_n - sum_{k<n} (k/n) c_k a_{n-k}``, and
per frame::

    CD = (10 / ln 10) sqrt( 2 sum_{n=1..P} (c_n - c'_n)^2 )    [dB], limited to 0..10

Kitawaki, Nagabuchi & Itoh, IEEE J-SAC 6(2), 1988; variant: Loizou's ``comp_cep`` (30 ms frames, P = 16, 10
below 10 kHz, without ``c_0``, so blind to gain; mean over the 95 % lowest frames; 16 kHz at most). It is
the first ``P`` terms of the spectral distortion (`spectral_distortion`). 0 is best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._frames import blocks, layout, lowest_mean, prediction_order, predictor, speech_pair
from ._inputs import Signal

_LIMIT = 10.0


def cepstrum(a: Signal, count: int) -> Signal:
    """``c_1 .. c_count`` of ``1 / A(z)`` for predictors ``(frames, P + 1)`` that begin with 1."""
    order = a.shape[1] - 1
    c = np.zeros((a.shape[0], count + 1))
    for n in range(1, count + 1):
        k = np.arange(max(1, n - order), n)
        c[:, n] = -np.sum(k / n * c[:, k] * a[:, n - k], axis=1)
        if n <= order:
            c[:, n] -= a[:, n]
    return c[:, 1:]


def cepstral_distance(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Mean cepstral distance in dB of the 95 % lowest frames, each limited to 10."""
    s, y, fs = speech_pair(reference, degraded, sample_rate)
    lay, order = layout(fs), prediction_order(fs)
    out = []
    for x, z in zip(blocks(s, lay), blocks(y, lay), strict=True):
        c, d = (cepstrum(predictor(v, order)[0], order) for v in (x, z))
        out.append(10.0 / np.log(10.0) * np.sqrt(2.0 * np.sum((c - d) ** 2, axis=1)))
    return lowest_mean(np.minimum(np.concatenate(out), _LIMIT))
