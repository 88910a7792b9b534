"""Sound at an array in a free field, made without the code that is under test: delays by phase."""

import numpy as np

from unmuffle.signal.arrays import parse_array


def talk(seed, seconds, rate):
    """Noise with syllables and pauses, coloured like speech."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    x = rng.standard_normal(n)
    spectrum = np.fft.rfft(x) / (1 + (np.fft.rfftfreq(n, 1 / rate) / 1000) ** 2) ** 0.5
    gate = np.clip(np.sin(2 * np.pi * 2.3 * t + rng.uniform(0, 6)) * np.sin(2 * np.pi * 0.9 * t + rng.uniform(0, 6)), 0, 1)
    return np.fft.irfft(spectrum, n) * gate


def wave(array, x, rate, azimuth, elevation=0.0):
    """A plane wave at the microphones: ``p(t + u r / c)``, by the shift theorem."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    u = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    lead = parse_array(array).centred @ u / 343.2
    n = x.size + 2048
    f = np.fft.rfftfreq(n, 1 / rate)
    moved = np.fft.irfft(np.fft.rfft(x, n) * np.exp(2j * np.pi * f * lead[:, None]), n)
    return moved[:, : x.size].astype(np.float32)
