"""Simulated rooms with a microphone array, one talker, one interferer and diffuse noise.

Shared by ``arrays.py`` (what beamformers are worth) and ``train_array_mask.py``. Everything is drawn from a seed:

* a shoebox of 4.5 x 4 x 2.5 to 8 x 6 x 3.2 m, T60 of 0.2 to 0.6 s (Sabine), image sources of pyroomacoustics;
* the array in it, 1.5 m or more from the walls, turned at random;
* a talker 0.8 to 2 m away, up to 0.4 m above the array; an interferer likewise, 45 degrees or more apart in azimuth;
* diffuse noise: 48 plane waves from random directions of a sphere, each white noise of its own;
* interferer and diffuse noise of equal power, together as strong as the reverberant voice (0 dB), means over
  the microphones.

The reference for scores is the voice with the first 50 ms of the room, as each microphone hears it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from unmuffle.degrade.rooms import find_direct
from unmuffle.signal.arrays import ArrayGeometry, circle
from unmuffle.signal.resample import convert
from unmuffle.signal.steering import speed_of_sound, unit_vectors

RATE = 16000
EARLY_S = 0.05
WAVES = 48


@dataclass(frozen=True)
class Room:
    """Responses ``(microphones, samples)`` of talker and interferer, and where they are as the array sees it."""

    array: ArrayGeometry
    t60_s: float
    talker: np.ndarray
    interferer: np.ndarray
    azimuths_deg: tuple[float, float]
    points_m: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Scene:
    """Signals ``(microphones, samples)``: what is heard, the early voice in it, all of the voice, the noises."""

    room: Room
    heard: np.ndarray
    early: np.ndarray
    voice: np.ndarray
    interferer: np.ndarray
    diffuse: np.ndarray
    dry: np.ndarray


def room(rng: np.random.Generator, array: ArrayGeometry | None = None, t60_s: tuple[float, float] = (0.2, 0.6)) -> Room:
    import pyroomacoustics

    array = array or circle(4, 0.05)
    size = rng.uniform([4.5, 4.0, 2.5], [8.0, 6.0, 3.2])
    t60 = float(rng.uniform(*t60_s))
    centre = rng.uniform([1.5, 1.5, 1.0], [size[0] - 1.5, size[1] - 1.5, 1.5])
    turn = rng.uniform(0.0, 360.0)
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    turned = array.centred @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    def place(apart_from: float | None) -> tuple[float, np.ndarray]:
        while True:
            azimuth, distance = rng.uniform(0.0, 360.0), rng.uniform(0.8, 2.0)
            away = distance * unit_vectors(azimuth) + np.array([0.0, 0.0, rng.uniform(0.0, 0.4)])
            at = centre + away
            near = apart_from is not None and abs((azimuth - apart_from + 180.0) % 360.0 - 180.0) < 45.0
            if not near and np.all(at > 0.3) and np.all(at < size - 0.3):
                return azimuth, at

    first, talker = place(None)
    second, interferer = place(first)
    absorption, _ = pyroomacoustics.inverse_sabine(t60, size)
    order = min(int(speed_of_sound() * t60 * 0.6 / size.min()) + 2, 40)
    box = pyroomacoustics.ShoeBox(size, fs=RATE, materials=pyroomacoustics.Material(absorption), max_order=order)
    for source in (talker, interferer):
        box.add_source(source)
    box.add_microphone((centre + turned).T)
    box.compute_rir()
    back = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])  # row vectors of the room as the array sees them
    return Room(
        array,
        t60,
        _stack([box.rir[m][0] for m in range(len(array))]),
        _stack([box.rir[m][1] for m in range(len(array))]),
        ((first - turn) % 360.0, (second - turn) % 360.0),
        (tuple((talker - centre) @ back), tuple((interferer - centre) @ back)),
    )


def _stack(responses: list[np.ndarray]) -> np.ndarray:
    longest = max(len(h) for h in responses)
    return np.stack([np.pad(h, (0, longest - len(h))) for h in responses]).astype(np.float32)


def diffuse(rng: np.random.Generator, array: ArrayGeometry, samples: int, waves: int = WAVES) -> np.ndarray:
    """White noise from all around, ``(microphones, samples)``."""
    size = samples + 1024
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    directions = rng.standard_normal((waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    delays = -(directions @ array.centred.T) / speed_of_sound()
    total = np.zeros((len(array), frequencies.size), complex)
    for late in delays:
        wave = np.fft.rfft(rng.standard_normal(size))
        total += wave * np.exp(-2j * np.pi * frequencies * late[:, None])
    return np.fft.irfft(total, size)[:, :samples].astype(np.float32)


def early_part(responses: np.ndarray) -> np.ndarray:
    """The responses up to 50 ms after the direct sound of the first microphone that hears it."""
    end = min(find_direct(h) for h in responses) + int(EARLY_S * RATE)
    cut = responses.copy()
    cut[:, end:] = 0.0
    return cut


def recording(path: Path) -> np.ndarray:
    """One channel at 16 kHz, RMS 0.05."""
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    x = convert(np.ascontiguousarray(x[:, 0]), rate, RATE)
    return 0.05 * x / max(float(np.std(x)), 1e-9)


def talk(rng: np.random.Generator, voices: list[np.ndarray], samples: int) -> np.ndarray:
    """One voice, repeated with pauses of 0.2 to 0.6 s."""
    voice = voices[rng.integers(len(voices))]
    parts, count = [], 0
    while count < samples:
        parts += [np.zeros(int(RATE * rng.uniform(0.2, 0.6)), np.float32), voice]
        count += parts[-2].size + voice.size
    return np.concatenate(parts)[:samples]


def excerpt(rng: np.random.Generator, noises: list[np.ndarray], samples: int) -> np.ndarray:
    """A piece of a noise, repeated if it is too short."""
    while True:
        noise = noises[rng.integers(len(noises))]
        if noise.size < samples:
            noise = np.tile(noise, -(-samples // noise.size))
        start = int(rng.integers(noise.size - samples + 1))
        piece = noise[start : start + samples]
        if np.std(piece) > 1e-3:
            return piece


def scene(
    rng: np.random.Generator,
    place: Room,
    dry: np.ndarray,
    noise: np.ndarray,
    around: np.ndarray | None = None,
    snr_db: float = 0.0,
    interferer_share: float = 0.5,
) -> Scene:
    """Put the sounds into the room; the mixture gets an RMS of 0.1."""
    n = dry.size
    voice = fftconvolve(dry[None], place.talker, axes=1)[:, :n]
    early = fftconvolve(dry[None], early_part(place.talker), axes=1)[:, :n]
    other = fftconvolve(noise[None], place.interferer, axes=1)[:, :n]
    around = diffuse(rng, place.array, n) if around is None else around
    power, level = np.mean(voice**2), 10 ** (-snr_db / 10)
    other = other * np.sqrt(interferer_share * level * power / max(np.mean(other**2), 1e-20))
    around = around * np.sqrt((1 - interferer_share) * level * power / np.mean(around**2))
    gain = 0.1 / np.sqrt(np.mean((voice + other + around) ** 2))
    parts = [(gain * p).astype(np.float32) for p in (early, voice, other, around)]
    return Scene(place, parts[1] + parts[2] + parts[3], *parts, dry)
