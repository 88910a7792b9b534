"""Folders of small synthesised recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from degrade_signals import RATE, speech_like

from unmuffle.io import write


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``clean/`` of three speakers, ``noise/`` of three classes, ``rooms/`` of one response."""
    root = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(5)
    for folder in ("clean", "noise", "rooms"):
        (root / folder).mkdir()
    for i, name in enumerate(("anna_1", "bert_1", "cleo_1")):
        write(root / "clean" / f"{name}.wav", speech_like(2.0, seed=i, pitch_hz=100 + 50 * i), RATE, "PCM_16")
    steady = (0.1 * rng.standard_normal(6 * RATE)).astype(np.float32)
    short = (0.05 * rng.standard_normal((2, RATE // 2))).astype(np.float32)
    other_rate = (0.05 * rng.standard_normal(3 * 44100)).astype(np.float32)
    write(root / "noise" / "rain__a.wav", steady, RATE, "PCM_16")
    write(root / "noise" / "engine__b.flac", short, RATE, "PCM_16")
    write(root / "noise" / "street__c.wav", other_rate, 44100, "PCM_16")
    # An exponential tail of T60 = 0.3 s behind a direct sound 5 ms after the start.
    n = RATE // 2
    response = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / RATE / 0.3) * 0.1
    response[:80] = 0.0
    response[80] = 1.0
    write(root / "rooms" / "hall.wav", (0.5 * response).astype(np.float32), RATE, "FLOAT")
    return root
