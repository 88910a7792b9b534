"""Synthetic speech for the metric tests: glottal pulses through moving formants, with pauses."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter


def voice(rate: int = 16000, seconds: float = 3.0, seed: int = 3) -> np.ndarray:
    """Words of 0.35 s (vowel with pitch glide, or fricative at the start) and pauses of 0.15 s, peak 0.5."""
    rng = np.random.default_rng(seed)
    out = np.zeros(int(rate * seconds))
    word, step = int(0.35 * rate), int(0.5 * rate)
    vowels = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480)]
    for k, start in enumerate(range(0, out.size - word, step)):
        t = np.arange(word) / rate
        pitch = 110 + 30 * rng.random() + 25 * np.sin(2 * np.pi * 1.5 * t)
        phase = np.cumsum(pitch) / rate
        x = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(word)
        x[: word // 5] = 0.15 * rng.standard_normal(word // 5)
        for f, bw in zip(vowels[k % 4], (80, 100, 140), strict=True):
            r = np.exp(-np.pi * bw / rate)
            x = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * f / rate), r * r], x)
        out[start : start + word] = x / np.max(np.abs(x)) * np.hanning(word) ** 0.3
    return 0.5 * out / np.max(np.abs(out))


def noise_at(clean: np.ndarray, snr_db: float, seed: int = 4) -> np.ndarray:
    """``clean`` plus white noise at that SNR."""
    n = np.random.default_rng(seed).standard_normal(clean.size)
    return clean + n * np.sqrt(np.sum(clean**2) / np.sum(n**2)) * 10 ** (-snr_db / 20)
