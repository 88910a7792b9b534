from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from unmuffle.data import pool
from unmuffle.data.clean import cleaned, floor_db
from unmuffle.data.manifest import Clip

RATE = 16000


def voice(noise_db: float, seconds: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics that come and go twice a second, over noise; and where they are."""
    time = np.arange(int(seconds * RATE)) / RATE
    there = (np.floor(time * 4) % 2 == 1) & (time > 0.5)
    tone = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20)) * there
    tone *= 0.3 / np.sqrt(np.mean(tone[there] ** 2))
    noise = np.random.default_rng(0).standard_normal(time.size) * 0.3 * 10 ** (noise_db / 20)
    return (tone + noise).astype(np.float32), there


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64))))


def test_the_floor_is_that_of_the_pauses() -> None:
    x, _ = voice(-35.0)
    assert abs(floor_db(x, RATE) + 35.0) < 1.5
    assert floor_db(x[:100], RATE) == 0.0


def test_pauses_become_quiet_and_the_voice_stays() -> None:
    x, there = voice(-30.0)
    y = cleaned(x, RATE, "log-mmse")
    assert y.shape == x.shape
    assert y.dtype == np.float32
    inside = np.convolve(there, np.ones(1600), "same") == 1600
    outside = np.convolve(there, np.ones(3200), "same") == 0
    outside[:RATE] = False
    assert level_db(y[outside]) < level_db(x[outside]) - 5.0
    assert abs(level_db(y[inside]) - level_db(x[inside])) < 0.2
    # In time: what is left is where it was.
    assert level_db((y - x)[inside]) < level_db(x[inside]) - 20.0


def test_a_clean_voice_is_left_alone() -> None:
    x, _ = voice(-55.0)
    assert cleaned(x, RATE, "log-mmse") is x


def test_a_method_that_does_nothing_changes_nothing() -> None:
    x, _ = voice(-30.0)
    assert np.max(np.abs(cleaned(x, RATE, "identity") - x)) < 1e-6


def test_of_a_pool_only_the_voices(tmp_path: Path) -> None:
    x, _ = voice(-30.0)
    clips = []
    for kind in ("speech", "noise", "music"):
        soundfile.write(tmp_path / f"{kind}.wav", x, RATE, subtype="FLOAT")
        clips.append(Clip(str(tmp_path / f"{kind}.wav"), kind))
    pool.pack(clips, tmp_path / "plain")
    pool.pack(clips, tmp_path / "clean", clean="log-mmse")
    plain, clean = pool.Pool(tmp_path / "plain"), pool.Pool(tmp_path / "clean")
    for kind in ("speech", "noise", "music"):
        before, after = (p.read(p.of(kind, "train")[0]) for p in (plain, clean))
        assert np.array_equal(before, after) == (kind != "speech")
        assert abs(np.max(np.abs(after)) - 0.98) < 1e-3
    assert floor_db(after, RATE) < -29.0  # music, as it was
    voices = clean.read(clean.of("speech", "train")[0])
    assert floor_db(voices, RATE) < -34.0


def test_what_lies_below_a_voice_stays() -> None:
    x, _ = voice(-35.0)
    time = np.arange(x.size) / RATE
    low = (0.05 * np.sin(2 * np.pi * 30 * time)).astype(np.float32)
    difference = cleaned(x + low, RATE, "classic") - cleaned(x, RATE, "classic")
    inner = slice(RATE // 2, -RATE // 2)
    left = np.dot(difference[inner], low[inner]) / np.dot(low[inner], low[inner])
    assert left > 0.9
