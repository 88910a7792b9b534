"""Signals that the promises are checked on: made from a seed, or the bundled recording."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
import soundfile

from unmuffle.signal.resample import convert


@lru_cache(maxsize=4)
def bundled(which: str) -> np.ndarray:
    """The bundled recording, ``"clean"`` or ``"noisy"``, 16 kHz mono."""
    with (resources.files("unmuffle") / "assets" / f"demo_{which}.flac").open("rb") as file:
        x, rate = soundfile.read(file, dtype="float32")
    assert rate == 16000
    x.setflags(write=False)
    return x


@lru_cache(maxsize=32)
def speech(rate: int, seconds: float = 1.2, which: str = "noisy") -> np.ndarray:
    """A piece of the bundled recording that begins in a pause and holds speech, at any rate."""
    x = convert(bundled(which)[: int(16000 * (seconds + 0.1))], 16000, rate)[: int(rate * seconds)]
    x.setflags(write=False)
    return x


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    reference = reference.astype(np.float64) - np.mean(reference)
    estimate = estimate.astype(np.float64) - np.mean(estimate)
    target = np.dot(estimate, reference) / np.dot(reference, reference) * reference
    noise = np.sum((estimate - target) ** 2)
    return float(10 * np.log10(np.sum(target**2) / max(noise, 1e-30)))


def level_db(x: np.ndarray) -> float:
    """RMS level in dB."""
    return float(10 * np.log10(np.mean(x.astype(np.float64) ** 2) + 1e-30))


def lag(reference: np.ndarray, late: np.ndarray) -> int:
    """Samples by which ``late`` lags, at the peak of the correlation."""
    n = 1 << (len(reference) + len(late)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(late, n) * np.conj(np.fft.rfft(reference, n)), n)
    peak = int(np.argmax(cross))
    return peak if peak < n // 2 else peak - n


def clipped(x: np.ndarray) -> np.ndarray:
    """Clipped at a quarter of its peak."""
    limit = np.abs(x).max() / 4
    return np.clip(x, -limit, limit)


def hummed(x: np.ndarray) -> np.ndarray:
    """With 50 Hz and five harmonics, as loud as the speech."""
    t = np.arange(len(x)) / 16000
    hum = sum(np.sin(2 * np.pi * 50 * k * t + k) / k for k in range(1, 7))
    return (x + hum * np.std(x) / np.std(hum)).astype(np.float32)


def toned(x: np.ndarray) -> np.ndarray:
    """With two tones that hold, 5 dB louder than the speech."""
    t = np.arange(len(x)) / 16000
    tones = np.sin(2 * np.pi * 733.0 * t) + 0.7 * np.sin(2 * np.pi * 1961.0 * t + 1.0)
    return (x + 1.8 * tones * np.std(x) / np.std(tones)).astype(np.float32)


def clicked(x: np.ndarray) -> np.ndarray:
    """With five clicks a second."""
    rng = np.random.default_rng(3)
    y = x.copy()
    for at in rng.integers(0, len(x) - 4, 5 * len(x) // 16000):
        y[at : at + 3] += rng.choice([-0.7, 0.7]) * np.array([1, -0.6, 0.3], np.float32)
    return y


def rumbled(x: np.ndarray) -> np.ndarray:
    """With gusts of low-frequency noise, as wind and steps make them."""
    from scipy.signal import butter, sosfilt

    rng = np.random.default_rng(4)
    low = sosfilt(butter(2, 60, fs=16000, output="sos"), rng.standard_normal(len(x)))
    gust = 1 + np.sin(2 * np.pi * 0.4 * np.arange(len(x)) / 16000)
    wind = low * gust
    return (x + 2 * wind * np.std(x) / np.std(wind)).astype(np.float32)


def reverberated(x: np.ndarray) -> np.ndarray:
    """In a room with a T60 of 0.6 s: the direct sound, and from 5 ms on a decay of half its energy."""
    t = np.arange(int(0.6 * 16000)) / 16000
    tail = np.random.default_rng(7).standard_normal(len(t)) * 10 ** (-3 * t / 0.6) * (t > 0.005)
    response = tail * np.sqrt(0.5 / np.sum(tail**2))
    response[0] = 1.0
    n = 1 << (len(x) + len(t)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(response, n), n)[: len(x)]
    return wet.astype(np.float32)


DAMAGE = {
    "declip": clipped,
    "declick": clicked,
    "dehum": hummed,
    "detone": toned,
    "dewind": rumbled,
    "low-cut": rumbled,
    "wpe": reverberated,
    "wpe-batch": reverberated,
    "late-reverb": reverberated,
}
"""What a repair method repairs; all other methods are given the bundled noisy recording."""
