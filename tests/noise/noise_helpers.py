"""Signals with known noise, and frames of them, for the tests of this folder."""

from __future__ import annotations

import numpy as np

from unmuffle.signal.stft import Frames, StftSpec

FRAMES = StftSpec().at(16000)


def power_of(x: np.ndarray, frames: Frames = FRAMES) -> np.ndarray:
    """``|X|^2`` of a stream that begins with ``x``: ``(channels, frames, bins)``."""
    x = np.atleast_2d(x).astype(np.float32)
    history = np.zeros((x.shape[0], frames.size - frames.hop), np.float32)
    spectrum, _ = frames.forward(x[:, : x.shape[1] // frames.hop * frames.hop], history)
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


def white(rng: np.random.Generator, seconds: float, rate: int = 16000, rms: float = 0.01) -> np.ndarray:
    return (rms * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def level_db(noise: np.ndarray, frames: Frames = FRAMES) -> np.ndarray:
    """Mean level of a PSD over bins and channels, in dB relative to white noise of variance 1.

    Bins 0 and N/2 are left out: they are real, so their variance is twice that of the others.
    """
    return 10 * np.log10(noise[..., 1:-1].mean(axis=(0, 2)) * frames.power_scale)


def syllables(
    rng: np.random.Generator, seconds: float, rate: int = 16000, lead: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Speech-like signal, peak 0.3, and where it is active (per sample).

    Phrases of 1.2 s out of syllables (glottal pulses, 100 to 200 Hz and gliding, through three
    resonances that move), some with a burst of hiss as a consonant, then 0.6 s of pause.
    """
    n = round(seconds * rate)
    out, active = np.zeros(n), np.zeros(n, bool)
    at = round(lead * rate)
    while at < n:
        phrase_end = at + round(1.2 * rate)
        while at < phrase_end:
            length = round(rng.uniform(0.12, 0.3) * rate)
            t = np.arange(length) / rate
            f0 = rng.uniform(100, 200) * 2 ** (rng.uniform(-0.3, 0.3) * t / t[-1])
            phase = 2 * np.pi * np.cumsum(f0) / rate
            formants = [rng.uniform(300, 800), rng.uniform(900, 2200), rng.uniform(2300, 3200)]
            y = np.zeros(length)
            for k in range(1, int(min(4000, 0.45 * rate) / 200)):
                gain = sum(1 / (1 + ((k * f0 - f) / 120) ** 2) / (i + 1) for i, f in enumerate(formants))
                y += gain * np.sin(k * phase)
            y *= np.maximum(np.sin(np.pi * t / t[-1]), 0) ** 0.5
            if rng.random() < 0.4:
                hiss = np.diff(rng.standard_normal(length // 3 + 1))
                y[: hiss.size] += 0.3 * hiss * np.hanning(hiss.size)
            stop = min(at + length, n)
            if stop > at:
                out[at:stop] += y[: stop - at]
                active[at:stop] = True
            at += length
        at += round(0.6 * rate)
    return (0.3 * out / np.max(np.abs(out))).astype(np.float32), active


def mixed(speech: np.ndarray, active: np.ndarray, noise: np.ndarray, snr_db: float) -> tuple[np.ndarray, float]:
    """Speech plus noise at an SNR over active speech; also the factor that the noise got."""
    gain = np.sqrt(np.mean(speech[active] ** 2) / np.mean(noise**2) * 10 ** (-snr_db / 10))
    return (speech + gain * noise).astype(np.float32), float(gain)
