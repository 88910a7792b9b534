"""The recipe of simulated array recordings that ``arrays.py`` measures on and ``train_array_mask.py`` learns from.

Rooms, directions, noise and truth are those of `unmuffle.degrade.array_rooms` (its text says how they are drawn). Here:

* T60 of 0.2 to 0.6 s; a talker 0.8 to 2 m away, an interferer likewise, 45 degrees or more apart in azimuth;
* diffuse white noise from all around;
* interferer and diffuse noise of equal power, together as strong as the reverberant voice (0 dB) while it is active;
* the talker is one clean recording, repeated with pauses of 0.2 to 0.6 s; the interferer a piece of a noise.

The reference for scores is the voice with the first 50 ms of the room, as each microphone hears it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from unmuffle.degrade.array_rooms import RoomScene, random_scene, simulate
from unmuffle.degrade.sources import load_first_channel
from unmuffle.errors import InputError

RATE = 16000
APART_DEG = 45.0
EQUAL_DB = 10 * np.log10(2)
"""Two noises, each so far below the voice, are together as strong as it."""


class Take(NamedTuple):
    """A scene, what is heard in it ``(microphones, samples)``, the early voice in that, and the two noises."""

    scene: RoomScene
    heard: np.ndarray
    early: np.ndarray
    interferer: np.ndarray
    diffuse: np.ndarray


def draw_scene(rng: np.random.Generator, array: str = "circle:4:0.05") -> RoomScene:
    """A room, a talker, an interferer and diffuse noise, together 0 dB."""
    return random_scene(
        rng,
        array=array,
        t60_s=float(rng.uniform(0.2, 0.6)),
        apart_deg=APART_DEG,
        level_db=-EQUAL_DB,
        noise_snr_db=EQUAL_DB,
        noise_color="white",
        sample_rate=RATE,
    )


def recording(path: Path) -> np.ndarray:
    """One channel at 16 kHz, RMS 0.05."""
    x = load_first_channel(path, RATE).samples[0]
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
    """A piece of a noise that is heard, repeated if it is too short."""
    while True:
        noise = noises[rng.integers(len(noises))]
        if noise.size < samples:
            noise = np.tile(noise, -(-samples // noise.size))
        start = int(rng.integers(noise.size - samples + 1))
        piece = noise[start : start + samples]
        if np.std(piece) > 1e-3:
            return piece


def draw(seed: int, index: int, voices: list[np.ndarray], noises: list[np.ndarray], seconds: float) -> Take:
    """Recording ``index`` of a set."""
    rng = np.random.default_rng((seed, index))
    n = int(seconds * RATE)
    scene = draw_scene(rng)
    voice = talk(rng, voices, n)
    while True:
        try:
            sound = simulate(scene, [voice, excerpt(rng, noises, n)])
            return Take(scene, sound.mix, sound.early[0], sound.images[1], sound.noise)
        except InputError:  # that noise pauses all the while the voice is there, and has no level
            continue
