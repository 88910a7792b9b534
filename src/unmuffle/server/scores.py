"""In a worker: what can be said about a recording without a clean one beside it.

=====================  ======================================================================================
``loudness_lufs``      integrated loudness (ITU-R BS.1770-4)
``true_peak_dbtp``     highest value of the waveform, also between the samples
``rms_dbfs``           level of everything
``noise_dbfs``         noise floor, by minimum statistics (:mod:`unmuffle.quality.figures`)
``speech_dbfs``        level of the speech, without the noise under it
``snr_db``             the difference of the two
``clipped_share``      share of samples on a ceiling
``dnsmos``             opinion scores predicted by networks (:mod:`unmuffle.evaluate.dnsmos`), 1 to 5, if installed
=====================  ======================================================================================

Levels are in dB re full scale, a mean square of 1. What has no value (silence, too short) is ``None``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import UnmuffleError
from ..quality.figures import SHORTEST_S, Figures, measure
from ..signal import levels
from ..signal.blocks import Samples
from ..signal.loudness import LoudnessMeter

SCORES_S = 120.0
"""Seconds of sound that are scored at most; DNSMOS takes about a fifth of a second for each."""


def scores(x: Samples, sample_rate: int) -> dict[str, Any]:
    """All scores of ``(channels, n)`` samples."""
    seconds = x.shape[1] / sample_rate
    meter = LoudnessMeter(sample_rate, x.shape[0])
    meter.push(x)
    figures = measure(x, sample_rate) if seconds >= SHORTEST_S else Figures(seconds)
    found: dict[str, float] = {
        "seconds": seconds,
        "sample_rate": sample_rate,
        "channels": x.shape[0],
        "loudness_lufs": meter.integrated(),
        "true_peak_dbtp": meter.true_peak_db(),
        "rms_dbfs": levels.rms_dbfs(x),
        "noise_dbfs": figures.noise_dbfs,
        "speech_dbfs": figures.speech_dbfs,
        "snr_db": figures.snr_db,
        "clipped_share": figures.clipping,
    }
    plain: dict[str, Any] = {key: value if math.isfinite(value) else None for key, value in found.items()}
    plain["dnsmos"], plain["dnsmos_missing"] = _dnsmos(np.mean(x, axis=0), sample_rate)
    return plain


def _dnsmos(mono: Any, sample_rate: int) -> tuple[dict[str, float] | None, str | None]:
    """Opinion scores, or why there are none."""
    from ..evaluate.dnsmos import dnsmos

    try:
        found = dnsmos(mono, sample_rate)
    except UnmuffleError as error:  # not installed; silence, or too short
        return None, str(error)
    return {key: float(value) for key, value in found._asdict().items()}, None
