"""Segmental SNR, plain and frequency-weighted.

Plain, over 30 ms Hann frames with 75 % overlap (Hansen & Pellom, ICSLP 1998; the form inside Hu & Loizou's
CBAK)::

    segSNR = mean_m  clip( 10 log10( sum s^2 / sum (s - y)^2 ), -10, 35 )   [dB]

Frequency-weighted (Tribolet et al. 1978; Loizou's ``comp_fwseg`` with a magnitude exponent of 0.2)::

    fwSNRseg = mean_m clip( sum_k W_k 10 log10( S_k^2 / (S_k - Y_k)^2 ) / sum_k W_k, -10, 35 ),  W_k = S_k^0.2

``S_k, Y_k`` magnitudes in 25 critical bands (50 Hz to 3.6 kHz) after each frame's spectrum is divided by
its sum, so it is blind to gain, and to phase. All frames count, pauses included: in a pause of the
reference the plain form answers -10. The pair is resampled to 16 kHz when it is above. Range -10 to 35 dB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import wss
from ._frames import EPS, blocks, layout, speech_pair
from ._inputs import Signal

LOWEST_DB, HIGHEST_DB = -10.0, 35.0
_EXPONENT = 0.2


def frames(reference: Signal, degraded: Signal, sample_rate: int) -> Signal:
    """Segmental SNR of every frame in dB; signals must be checked already."""
    lay = layout(sample_rate)
    out = []
    for x, y in zip(blocks(reference, lay), blocks(degraded, lay), strict=True):
        ratio = np.sum(x * x, axis=1) / (np.sum((x - y) ** 2, axis=1) + EPS) + EPS
        out.append(np.clip(10.0 * np.log10(ratio), LOWEST_DB, HIGHEST_DB))
    return np.concatenate(out)


def seg_snr(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Segmental SNR in dB, frames limited to -10..35 dB."""
    s, y, fs = speech_pair(reference, degraded, sample_rate)
    return float(np.mean(frames(s, y, fs)))


def _bands(x: Signal, filters: Signal, size: int) -> Signal:
    spectrum = np.abs(np.fft.rfft(x, size, axis=1)[:, : size // 2])
    total = spectrum.sum(axis=1, keepdims=True)
    return np.asarray((spectrum / np.where(total > 0, total, 1.0)) @ filters.T)


def fwseg_snr(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Frequency-weighted segmental SNR in dB, 25 critical bands, frames limited to -10..35 dB."""
    s, y, fs = speech_pair(reference, degraded, sample_rate)
    lay = layout(fs)
    size = wss.n_fft(lay.frame)
    filters = wss.critical_bands(fs, size)
    out = []
    for x, z in zip(blocks(s, lay), blocks(y, lay), strict=True):
        a, b = _bands(x, filters, size), _bands(z, filters, size)
        weight = a**_EXPONENT
        ratio = 10.0 * np.log10(np.maximum(a * a, EPS) / np.maximum((a - b) ** 2, EPS))
        total = weight.sum(axis=1)
        safe = np.where(total > 0, total, 1.0)
        mean = np.where(total > 0, np.sum(weight * ratio, axis=1) / safe, LOWEST_DB)
        out.append(np.clip(mean, LOWEST_DB, HIGHEST_DB))
    return float(np.mean(np.concatenate(out)))
