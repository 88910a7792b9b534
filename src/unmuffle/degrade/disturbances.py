"""Sounds that are no noise recordings: mains hum, wind at the microphone, clicks.

Each is added to the signal; the target stays. Levels are SNRs over active speech
(`unmuffle.degrade.snr`) or RMS in dBFS; clicks, which have next to no RMS, are set by their peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..errors import InputError, ParameterError
from ..signal.levels import gain
from .base import Damage, Record, Scene, check_finite, check_one_level, check_positive
from .snr import at_level


@dataclass(frozen=True)
class Hum(Damage):
    """Mains hum: a fundamental and its harmonics, the k-th with amplitude ``1 / k``, random phases."""

    kind: ClassVar[str] = "hum"
    frequency_hz: float = 50.0
    snr_db: float | None = 20.0
    level_dbfs: float | None = None
    harmonics: int = 8
    """How many partials, the fundamental among them; those above Nyquist are left out."""

    def __post_init__(self) -> None:
        check_one_level(self.snr_db, self.level_dbfs)
        if not 10.0 <= self.frequency_hz <= 1000.0:
            raise ParameterError(f"frequency_hz must lie in 10..1000 Hz, got {self.frequency_hz}")
        if not 1 <= self.harmonics <= 200:
            raise ParameterError(f"harmonics must lie in 1..200, got {self.harmonics}")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        n = scene.signal.shape[1]
        time = np.arange(n) / scene.sample_rate
        phases = rng.uniform(0.0, 2.0 * np.pi, self.harmonics)
        hum = np.zeros(n)
        for k in range(1, self.harmonics + 1):
            if k * self.frequency_hz < scene.sample_rate / 2.0:
                hum += np.sin(2.0 * np.pi * k * self.frequency_hz * time + phases[k - 1]) / k
        sound, reached = _at(scene, hum, self.snr_db, self.level_dbfs)
        return scene.add(sound), reached


@dataclass(frozen=True)
class Wind(Damage):
    """Wind at an unprotected microphone: rumble that swells and fades with the gusts.

    Gaussian noise whose density falls beyond some tens of hertz as turbulence pressure does (about
    -5/3 in the exponent of f for power, steeper above 200 Hz), times a slowly varying gust
    envelope ``exp(g)`` with g Gaussian, low-passed at ``gust_hz``. A second, higher and weaker band
    grows with the square of the envelope: strong gusts reach further up. (A model by ear and by the
    spectra of Nelke & Vary 2014, not a measurement.)
    """

    kind: ClassVar[str] = "wind"
    snr_db: float | None = 0.0
    level_dbfs: float | None = None
    gust_hz: float = 0.7
    """How fast gusts come and go."""

    def __post_init__(self) -> None:
        check_one_level(self.snr_db, self.level_dbfs)
        if not 0.05 <= self.gust_hz <= 10.0:
            raise ParameterError(f"gust_hz must lie in 0.05..10 Hz, got {self.gust_hz}")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        n, rate = scene.signal.shape[1], scene.sample_rate
        rumble = _shaped(
            n, rate, rng, lambda f: 1.0 / (1.0 + (f / 30.0) ** 2) ** (5 / 12) / (1 + (f / 200) ** 2)
        )
        roar = _shaped(n, rate, rng, lambda f: (f / 200.0) / (1.0 + (f / 200.0) ** 2) ** 1.5)
        # At least twenty gusts' worth of time, so that a short file has its share of one.
        gust = _shaped(n, rate, rng, lambda f: np.exp(-0.5 * (f / self.gust_hz) ** 2))
        envelope = np.exp(0.6 * gust)
        wind = envelope * rumble + 0.1 * envelope**2 * roar
        sound, reached = _at(scene, wind, self.snr_db, self.level_dbfs)
        return scene.add(sound), reached


@dataclass(frozen=True)
class Clicks(Damage):
    """Clicks at random times (a Poisson process): bursts of noise that decay within a millisecond."""

    kind: ClassVar[str] = "clicks"
    rate_hz: float = 5.0
    """Mean number per second."""
    peak_db: float = 0.0
    """Height of the highest relative to the peak of the speech; others are up to 12 dB lower."""

    def __post_init__(self) -> None:
        check_positive("rate_hz", self.rate_hz)
        check_finite("peak_db", self.peak_db)
        if self.rate_hz > 1000.0:
            raise ParameterError(f"rate_hz must be at most 1000 clicks a second, got {self.rate_hz}")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        n, rate = scene.signal.shape[1], scene.sample_rate
        speech_peak = float(np.max(np.abs(scene.speech)))
        if speech_peak == 0.0:
            raise InputError(
                "the speech is silent, so clicks have no peak to go by; choose another clean file"
            )
        count = int(rng.poisson(self.rate_hz * n / rate))
        times = np.sort(rng.integers(n, size=count))
        sound = np.zeros(n)
        for start in times:
            decay = rng.uniform(0.05e-3, 0.5e-3) * rate  # samples
            length = int(min(np.ceil(8.0 * decay) + 1, n - start))
            burst = rng.standard_normal(length) * np.exp(-np.arange(length) / decay)
            height = gain(-12.0 * float(rng.random()))
            sound[start : start + length] += height * burst / np.max(np.abs(burst))
        if count:
            sound *= speech_peak * gain(self.peak_db) / np.max(np.abs(sound))
        return scene.add(sound), {"clicks_s": [float(t) / rate for t in times]}


def _at(
    scene: Scene, mono: NDArray[np.float64], snr_db: float | None, level_dbfs: float | None
) -> tuple[NDArray[np.float64], Record]:
    sound = np.broadcast_to(mono, scene.signal.shape)
    return at_level(scene.speech, sound, scene.sample_rate, snr_db, level_dbfs)


def _shaped(n: int, sample_rate: int, rng: np.random.Generator, response) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    """Gaussian noise of unit RMS with amplitude response ``response(f in Hz)``, no DC."""
    # Padded to 10 s: the slowest response here must not wrap around within the part that is used.
    size = scipy.fft.next_fast_len(max(n, 10 * sample_rate), real=True)
    spectrum = scipy.fft.rfft(rng.standard_normal(size))
    shape = response(scipy.fft.rfftfreq(size, 1.0 / sample_rate))
    shape[0] = 0.0
    x = scipy.fft.irfft(spectrum * shape, size)
    unit: NDArray[np.float64] = (x / np.sqrt(np.mean(np.square(x))))[:n]
    return unit
