"""Noises that can be computed: coloured noise, mains hum, rumble, alarms, sirens, bells, engines and whines.

Collections hold a handful of recordings of each alarm; a network learns those by heart. What all of them share, that
a tone holds its pitch or repeats itself as no voice does, is learned from many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Signal = NDArray[np.float32]


def coloured(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Noise with a spectral slope of +3 to -9 dB per octave, or (one in four) mains hum with harmonics.

    Args:
        n: samples.
        sample_rate: Hz.
        rng: of all that is drawn.

    Returns:
        ``(n,)``, of some level near 1.
    """
    if rng.random() < 0.25:
        base = float(rng.choice((50.0, 60.0))) * float(rng.uniform(0.995, 1.005))
        time = np.arange(n, dtype=np.float32) * np.float32(2.0 * np.pi / sample_rate)
        out = np.zeros(n, np.float32)
        for k in range(1, int(rng.integers(3, 14))):
            amplitude = rng.uniform(0.1, 1.0) / k
            out += np.float32(amplitude) * np.sin(np.float32(k * base) * time + np.float32(rng.uniform(0, 6.3)))
        return out
    spectrum = fft.rfft(rng.standard_normal(n, dtype=np.float32))
    slope = float(rng.uniform(-9.0, 3.0)) / 6.02
    hertz = np.maximum(np.arange(spectrum.size, dtype=np.float32) * (sample_rate / n), 30.0)
    spectrum *= (hertz / 1000.0) ** np.float32(slope)
    return np.asarray(fft.irfft(spectrum, n), np.float32)


def rumble(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """What traffic and wind send below 20 to 150 Hz: noise that comes and goes slowly; arguments as above.

    It is the counterpart of breath (:func:`.voices.breathed`), which comes with the voice.
    """
    spectrum = fft.rfft(rng.standard_normal(n, dtype=np.float32))
    hertz = np.arange(spectrum.size, dtype=np.float32) * np.float32(sample_rate / n)
    top = float(np.exp(rng.uniform(np.log(20.0), np.log(150.0))))
    spectrum *= (1.0 + (hertz / np.float32(top)) ** 2) ** np.float32(-rng.uniform(1.0, 3.0))
    every = float(np.exp(rng.uniform(np.log(0.2), np.log(2.0))))
    knots = int(n / sample_rate / every) + 2
    level = np.exp(_lines(rng.normal(0.0, float(rng.uniform(0.0, 1.0)), knots), n).astype(np.float32))
    noise = fft.irfft(spectrum, n) if n > 1 else spectrum.real
    return np.asarray(noise * np.float32(1.0 / max(float(np.sqrt(np.mean(noise**2))), 1e-9)) * level, np.float32)


def tones(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """An alarm that beeps, a siren that wails, a bell that is struck, an engine that runs, or a whine; as above.

    Half of them are whines: steady tones under a voice are what the shipped networks have learned least of.
    """
    others = (_beeps, _siren, _bell, _engine)
    draw = int(rng.integers(2 * len(others)))
    return (others[draw] if draw < len(others) else _whine)(n, sample_rate, rng)


def _stack(pitch: NDArray[np.float64], sample_rate: int, levels: NDArray[np.float64]) -> Signal:
    """Harmonics of a moving pitch in Hz, each as loud as ``levels`` says, those above half the rate left out."""
    order = np.arange(1, len(levels) + 1)
    order = order[order * float(np.max(pitch)) < 0.48 * sample_rate]
    # Harmonics are powers of one rotation, and their sum a polynomial of it (Horner): 1.4 ms for 22 of 30 sines.
    turn = _rotation(np.cumsum(pitch) / sample_rate)
    out = np.zeros(pitch.size, np.complex64)
    # Phases that do not pile up into pulses.
    for factor in (levels[: order.size] * np.exp(2.4j * order**2)).astype(np.complex64)[::-1]:
        out += factor
        out *= turn
    return out.imag.copy()


def _rotation(cycles: NDArray[np.float64]) -> NDArray[np.complex64]:
    """``exp(2 pi i cycles)``."""
    angle = _angle(cycles)
    out = np.empty(angle.shape, np.complex64)
    out.real = np.cos(angle)
    out.imag = np.sin(angle)
    return out


def _angle(cycles: NDArray[np.float64]) -> Signal:
    """Radians from 0 to 2 pi: whole cycles are left out while precision is double."""
    return ((cycles - np.floor(cycles)) * (2.0 * np.pi)).astype(np.float32)


def _lines(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """``n`` samples on straight lines through evenly spaced ``values``."""
    length = -(-n // (values.size - 1))
    steps = np.diff(values)[:, np.newaxis] * (np.arange(length) / length)
    return (values[:-1, np.newaxis] + steps).ravel()[:n]


def _pattern(n: int, sample_rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """On and off in turn, 40 ms to 1 s each, with edges of 2 to 10 ms; now and then always on."""
    if rng.random() < 0.25:
        return np.ones(n)
    on, off = (round(float(np.exp(rng.uniform(np.log(0.04), 0.0))) * sample_rate) for _ in range(2))
    at = (np.arange(n) + int(rng.integers(on + off))) % (on + off)
    edge = max(round(float(rng.uniform(0.002, 0.010)) * sample_rate), 1)
    return np.clip(np.minimum(at, on - at) / edge, 0.0, 1.0)


def _beeps(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """One pitch, or two in turn, 250 to 4000 Hz, with up to six harmonics."""
    pitch = np.full(n, float(np.exp(rng.uniform(np.log(250.0), np.log(4000.0)))))
    if rng.random() < 0.4:
        length = round(float(rng.uniform(0.1, 0.8)) * sample_rate)
        pitch[(np.arange(n) // length) % 2 == 1] *= float(rng.uniform(1.1, 1.6))
    levels = rng.uniform(0.0, 1.0, int(rng.integers(1, 7)))
    levels[0] = 1.0
    return np.asarray(_stack(pitch, sample_rate, levels) * _pattern(n, sample_rate, rng), np.float32)


def _siren(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """A pitch that goes up and down by a third to more than an octave, 0.2 to 5 times a second."""
    turn = float(np.exp(rng.uniform(np.log(0.2), np.log(5.0)))) * np.arange(n) / sample_rate + rng.random()
    wave = np.abs(2.0 * (turn % 1.0) - 1.0) if rng.random() < 0.5 else 0.5 - 0.5 * np.cos(2.0 * np.pi * turn)
    low = float(np.exp(rng.uniform(np.log(300.0), np.log(1500.0))))
    pitch = low * float(rng.uniform(1.25, 2.6)) ** wave
    levels = rng.uniform(0.1, 1.0, int(rng.integers(2, 9)))
    return np.asarray(_stack(pitch, sample_rate, levels), np.float32)


def _bell(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Partials that are no harmonics, struck again and again, each with a decay of its own."""
    every = max(round(float(np.exp(rng.uniform(np.log(0.06), np.log(2.0)))) * sample_rate), 1)
    since = (np.arange(n) + int(rng.integers(every))) % every / sample_rate
    out = np.zeros(n)
    for _ in range(int(rng.integers(2, 7))):
        hertz = float(np.exp(rng.uniform(np.log(400.0), np.log(0.45 * sample_rate))))
        decay = float(np.exp(rng.uniform(np.log(0.03), np.log(1.0))))
        out += float(rng.uniform(0.2, 1.0)) * np.exp(-since / decay) * np.sin(2.0 * np.pi * hertz * since)
    return out.astype(np.float32)


def _engine(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Harmonics of 20 to 200 Hz whose pitch drifts by some per cent, and noise in time with it."""
    base = float(np.exp(rng.uniform(np.log(20.0), np.log(200.0))))
    knots = int(n / sample_rate) + 2
    pitch = base * np.exp(_lines(rng.normal(0.0, 0.05, knots), n))
    count = int(rng.integers(8, 40))
    slope = float(rng.uniform(0.3, 1.5))
    levels = rng.uniform(0.1, 1.0, count) / np.arange(1, count + 1) ** slope
    out = _stack(pitch, sample_rate, levels)
    beat = np.float32(0.5) + np.float32(0.5) * np.sin(_angle(np.cumsum(pitch) / sample_rate))
    rush = rng.standard_normal(n, np.float32) * beat ** np.float32(rng.uniform(0.0, 4.0))
    out += np.float32(float(rng.uniform(0.0, 0.5)) * float(np.std(out))) * rush
    return out


def _whine(n: int, sample_rate: int, rng: np.random.Generator) -> Signal:
    """Up to six steady tones of 100 to 6000 Hz, harmonics or not, as of transformers, fans, feedback, a horn far away.

    They hold their pitch to some tenths of a per cent and their level to some decibels, for as long as they are heard.
    """
    base = float(np.exp(rng.uniform(np.log(100.0), np.log(1500.0))))
    harmonic, top = rng.random() < 0.5, min(6000.0, 0.4 * sample_rate)
    knots = int(n / sample_rate) + 2
    out = np.zeros(n, np.float32)
    for k in range(1, int(rng.integers(2, 8))):
        hertz = k * base if harmonic else float(np.exp(rng.uniform(np.log(100.0), np.log(top))))
        if hertz >= 0.48 * sample_rate:
            continue
        pitch = _lines(hertz * (1.0 + rng.normal(0.0, 0.002 * rng.random(), knots)), n)
        level = _lines(float(rng.uniform(-20.0, 0.0)) + rng.normal(0.0, 2.0 * rng.random(), knots), n)
        loud = np.exp(level.astype(np.float32) * np.float32(np.log(10.0) / 20.0))
        out += loud * np.sin(_angle(np.cumsum(pitch) / sample_rate + rng.random()))
    out += np.float32(10.0 ** (float(rng.uniform(-50.0, -10.0)) / 20.0)) * rng.standard_normal(n, np.float32)
    return out
