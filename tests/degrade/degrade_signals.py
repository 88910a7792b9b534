"""Speech-like signals for the tests of damage: syllables of a buzzing voice, with pauses."""

from __future__ import annotations

import numpy as np
import scipy.signal

RATE = 16000


def speech_like(seconds: float = 4.0, rate: int = RATE, seed: int = 0, pitch_hz: float = 120.0) -> np.ndarray:
    """Pulses of a wandering pitch through resonances, in syllables of 0.2 s, every sixth left out."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    pitch = pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t + seed) + 0.03 * np.sin(2 * np.pi * 3.1 * t))
    x = np.diff(np.floor(np.cumsum(pitch) / rate), prepend=0.0) + 0.02 * rng.standard_normal(n)
    for hz, width in ((500, 80), (1500, 120), (2500, 160)):
        radius, angle = np.exp(-np.pi * width / rate), 2 * np.pi * hz / rate
        x = scipy.signal.lfilter([1, 0, -1], [1, -2 * radius * np.cos(angle), radius**2], x)
    syllable = np.arange(n) // (rate // 5)
    x *= (
        np.sin(np.pi * (t % 0.2) / 0.2)
        * (syllable % 6 != 5)
        * (0.5 + rng.random(syllable.max() + 1))[syllable]
    )
    return (0.4 * x / np.max(np.abs(x))).astype(np.float32)
