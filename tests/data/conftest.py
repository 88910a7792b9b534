"""A pool small enough to pack in a fraction of a second: synthetic voices, noises, music and rooms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmuffle.data import manifest, pool

RATE = 16_000


def voice(seed: int, seconds: float) -> np.ndarray:
    """Harmonics of a gliding pitch in syllables: periodic, with pauses, below 3.5 kHz."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    time = np.arange(n) / RATE
    phase = 2 * np.pi * np.cumsum(110 + 15 * seed + 20 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)), 0, 1) ** 0.5
    return (0.2 * tone * syllables).astype(np.float32)


@pytest.fixture(scope="session")
def small_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders speech/<speaker>/, noise/<class>/, music/, rooms/ of WAV files."""
    root = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for speaker in range(6):
        folder = root / "speech" / f"speaker{speaker}"
        folder.mkdir(parents=True)
        for take in range(2):
            soundfile.write(folder / f"take{take}.wav", voice(10 * speaker + take, 1.5), RATE)
    for label in ("fan", "rain", "street"):
        folder = root / "noise" / label
        folder.mkdir(parents=True)
        for take in "ab":
            noise = 0.1 * rng.standard_normal(int(1.2 * RATE))
            soundfile.write(folder / f"{label}{take}.wav", noise, RATE)
    (root / "music").mkdir()
    chord = sum(np.sin(2 * np.pi * f * np.arange(RATE) / RATE) for f in (220, 277, 330))
    soundfile.write(root / "music" / "chord.wav", 0.1 * chord, RATE)
    (root / "rooms").mkdir()
    decay = rng.standard_normal(4000) * np.exp(-np.arange(4000) / 800)
    decay[:100] = 0
    decay[80] = 8.0
    soundfile.write(root / "rooms" / "room.wav", 0.1 * decay, RATE)
    return root


@pytest.fixture(scope="session")
def small_pool(small_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> pool.Pool:
    """The tree, packed; every third speaker and one noise class are for validation."""
    clips = manifest.from_folders(
        speech=[small_tree / "speech"],
        noise=[small_tree / "noise"],
        music=[small_tree / "music"],
        rooms=[small_tree / "rooms"],
    )
    import dataclasses

    held_out = ("speech:speaker2", "speech:speaker5")
    clips = [
        dataclasses.replace(c, split="valid") if c.speaker in held_out or c.category == "street" else c for c in clips
    ]
    folder = tmp_path_factory.mktemp("pool")
    assert pool.pack(clips, folder) == []
    return pool.Pool(folder)
