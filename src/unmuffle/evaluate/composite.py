"""Composite scores CSIG, CBAK, COVL: opinion scores predicted from PESQ, LLR, WSS and segmental SNR.

::

    CSIG = 3.093 - 1.029 LLR + 0.603 PESQ - 0.009 WSS          distortion of the speech    1..5
    CBAK = 1.634 + 0.478 PESQ - 0.007 WSS + 0.063 segSNR       intrusion of the background 1..5
    COVL = 1.594 + 0.805 PESQ - 0.512 LLR - 0.007 WSS          overall                     1..5

Hu & Loizou, "Evaluation of objective quality measures for speech enhancement", IEEE Trans. ASLP 16(1), 2008.

Variant (that of the published VoiceBank-DEMAND tables): wide-band PESQ (narrow band below 16 kHz, as the
paper had it), LLR without the per-frame limit of 2, LLR and WSS as mean of the 95 % lowest frames, scores
limited to 1..5, above 16 kHz resampled to 16 kHz by soxr. With linear coefficients a single wild term
shows: an output with an empty band has a huge LLR and lands at 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import llr, pesq, seg_snr, wss
from ._frames import lowest_mean, speech_pair


class Composite(NamedTuple):
    """The three scores, each 1 (bad) to 5 (excellent)."""

    csig: float
    cbak: float
    covl: float


def composite(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> Composite:
    """CSIG, CBAK and COVL of Hu & Loizou (2008)."""
    quality = (pesq.pesq_wb if sample_rate >= 16000 else pesq.pesq_nb)(reference, degraded, sample_rate)
    s, y, fs = speech_pair(reference, degraded, sample_rate)
    likelihood = lowest_mean(llr.frames(s, y, fs))
    slope = lowest_mean(wss.frames(s, y, fs))
    segmental = float(np.mean(seg_snr.frames(s, y, fs)))
    scores = (
        3.093 - 1.029 * likelihood + 0.603 * quality - 0.009 * slope,
        1.634 + 0.478 * quality - 0.007 * slope + 0.063 * segmental,
        1.594 + 0.805 * quality - 0.512 * likelihood - 0.007 * slope,
    )
    return Composite(*(float(np.clip(score, 1.0, 5.0)) for score in scores))
