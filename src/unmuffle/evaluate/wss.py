"""Weighted spectral slope distance, and the 25 critical bands it shares with the frequency-weighted SNR.

Klatt, "Prediction of perceived phonetic distance from critical-band spectra", ICASSP 1982. Per 30 ms
frame, with the band levels ``E_k`` in dB of 25 Gaussian filters (50 Hz to 3.6 kHz) and the slopes ``d_k =
E_{k+1} - E_k``::

    WSS = sum_k W_k (d_k - d'_k)^2 / sum_k W_k
    W_k = mean over both signals of   20 / (20 + E_max - E_k) * 1 / (1 + E_peak(k) - E_k)

``E_max`` loudest band, ``E_peak(k)`` nearest spectral peak in the direction in which the spectrum rises.
Variant: Loizou's ``comp_wss``, which the composite scores were fitted with; it takes as rising peak the
band *before* the maximum, and that is kept here, since the figures in the literature contain it. Mean over
the 95 % lowest frames; band energies are floored at 1e-10 (full scale 1). Above 16 kHz the pair is
resampled to 16 kHz.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._frames import blocks, layout, lowest_mean, speech_pair
from ._inputs import Signal

# Centre frequencies and bandwidths in Hz of comp_wss and comp_fwseg.
_CENTER = [50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38]
_CENTER += [1148.30, 1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17]
_CENTER += [3597.63]
_WIDTH = [70.0] * 7 + [77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423, 153.823, 168.154]
_WIDTH += [183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136]
_FLOOR = 1e-10


def critical_bands(sample_rate: int, n_fft: int) -> Signal:
    """Gaussian filters ``(25, n_fft // 2)`` of equal area, zero below -30 dB."""
    half = n_fft // 2
    center = np.floor(np.array(_CENTER) / (sample_rate / 2) * half)[:, None]
    width = (np.array(_WIDTH) / (sample_rate / 2) * half)[:, None]
    filters = np.exp(-11.0 * ((np.arange(half) - center) / width) ** 2)
    filters *= _WIDTH[0] / np.array(_WIDTH)[:, None]
    return np.where(filters > np.exp(-30.0 / (2 * 2.303)), filters, 0.0)


def n_fft(frame: int) -> int:
    """Power of two of at least twice the frame."""
    return 1 << int(np.ceil(np.log2(2 * frame)))


def _levels(x: Signal, filters: Signal, size: int) -> Signal:
    power = np.abs(np.fft.rfft(x, size, axis=1)[:, : size // 2]) ** 2
    return 10.0 * np.log10(np.maximum(power @ filters.T, _FLOOR))


def _weights(level: Signal, slope: Signal) -> Signal:
    count = slope.shape[1]
    rows = np.arange(level.shape[0])
    right = np.full(slope.shape[0], count)
    left = np.full(slope.shape[0], -1)
    above, below = np.empty_like(slope), np.empty_like(slope)
    for k in range(count - 1, -1, -1):  # index at which the rise that contains k ends
        right = np.where(slope[:, k] > 0, right, k)
        above[:, k] = level[rows, np.maximum(right - 1, 0)]
    for k in range(count):  # index of the last rise before the fall that contains k
        left = np.where(slope[:, k] <= 0, left, k)
        below[:, k] = level[rows, left + 1]
    peak = np.where(slope > 0, above, below)
    loudest = level.max(axis=1, keepdims=True)
    return np.asarray(20.0 / (20.0 + loudest - level[:, :-1]) / (1.0 + peak - level[:, :-1]))


def frames(reference: Signal, degraded: Signal, sample_rate: int) -> Signal:
    """WSS of every frame; signals must be checked already."""
    lay = layout(sample_rate)
    size = n_fft(lay.frame)
    filters = critical_bands(sample_rate, size)
    out = []
    for x, y in zip(blocks(reference, lay), blocks(degraded, lay), strict=True):
        e, f = _levels(x, filters, size), _levels(y, filters, size)
        d, g = np.diff(e, axis=1), np.diff(f, axis=1)
        w = 0.5 * (_weights(e, d) + _weights(f, g))
        out.append(np.sum(w * (d - g) ** 2, axis=1) / np.sum(w, axis=1))
    return np.concatenate(out)


def wss(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Weighted spectral slope distance (Klatt 1982, Loizou's form), mean of the 95 % lowest frames."""
    s, y, fs = speech_pair(reference, degraded, sample_rate)
    return lowest_mean(frames(s, y, fs))
