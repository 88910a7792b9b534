"""Log-likelihood ratio: how badly the degraded speech's all-pole model fits the reference.

Per 30 ms frame, with the prediction polynomials ``a`` of the reference, ``b`` of the degraded frame, and the
reference's Toeplitz autocorrelation matrix ``R``::

    LLR = ln( b R b' / a R a' )  >= 0

Itakura's measure, in the form of Hu & Loizou, "Evaluation of objective quality measures for speech
enhancement", IEEE Trans. ASLP 16(1), 2008, and of Loizou's ``comp_llr``: order 16 (10 below 10 kHz),
autocorrelation method, mean over the 95 % lowest frames. `llr` limits each frame to [0, 2] as published
for the stand-alone measure; the composite scores use the values without that limit (`frames`). Above 16
kHz the pair is resampled to 16 kHz.

It is blind to gain (the gain of a frame cancels) and to pitch. Both products are kept above 2.2e-16, which
decides the value of digitally silent frames; they count as 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._frames import EPS, blocks, layout, lowest_mean, prediction_order, predictor, quadratic, speech_pair
from ._inputs import Signal


def frames(reference: Signal, degraded: Signal, sample_rate: int) -> Signal:
    """LLR of every frame, not limited; signals must be checked already."""
    lay, order = layout(sample_rate), prediction_order(sample_rate)
    out = []
    for x, y in zip(blocks(reference, lay), blocks(degraded, lay), strict=True):
        a, r = predictor(x, order)
        b, _ = predictor(y, order)
        out.append(np.log(np.maximum(quadratic(b, r), EPS) / np.maximum(quadratic(a, r), EPS)))
    return np.concatenate(out)


def llr(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Mean log-likelihood ratio of the 95 % lowest frames, each limited to [0, 2]."""
    s, y, fs = speech_pair(reference, degraded, sample_rate)
    return lowest_mean(np.clip(frames(s, y, fs), 0.0, 2.0))
