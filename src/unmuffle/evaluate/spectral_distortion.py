"""Spectral distortion: root-mean-square difference of the all-pole envelopes in dB.

::

    SD = mean_t sqrt( mean_f ( 10 log10( |A'(t,f)|^2 / |A(t,f)|^2 ) )^2 )     [dB],   0 <= f <= rate/2

``A`` predictor of the reference frame, ``A'`` of the degraded one; the gains are left out, so it hears
only the shape of the envelope. The measure of speech coding: about 1 dB is transparent (Paliwal & Atal,
"Efficient vector quantization of LPC parameters at 24 bits/frame", IEEE Trans. SAP 1(1), 1993). 30 ms
frames of order 16 (10 below 10 kHz), 512 points, 16 kHz at most. Only frames in which the reference speaks
(within 40 dB of its loudest frame) count: the envelope of a pause is that of its dither. 0 is best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ._frames import blocks, layout, prediction_order, predictor, speech_pair

_POINTS = 512
_DEPTH = 1e-4  # 40 dB


def spectral_distortion(reference: ArrayLike, degraded: ArrayLike, sample_rate: int) -> float:
    """Mean LPC spectral distortion in dB over the frames with speech."""
    s, y, fs = speech_pair(reference, degraded, sample_rate)
    lay, order = layout(fs), prediction_order(fs)
    distances, energies = [], []
    for x, z in zip(blocks(s, lay), blocks(y, lay), strict=True):
        a, b = (np.abs(np.fft.rfft(predictor(v, order)[0], _POINTS, axis=1)) ** 2 for v in (x, z))
        d = 10.0 * np.log10(np.maximum(b, 1e-12) / np.maximum(a, 1e-12))
        distances.append(np.sqrt(np.mean(d * d, axis=1)))
        energies.append(np.sum(x * x, axis=1))
    energy = np.concatenate(energies)
    return float(np.mean(np.concatenate(distances)[energy >= _DEPTH * energy.max()]))
