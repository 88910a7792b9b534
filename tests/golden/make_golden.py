"""Freezes what every method makes of the bundled recording: run it after a change that is meant to change sound.

    python tests/golden/make_golden.py

Writes golden.npz: for each method with default parameters, every 37th sample of the output for two
seconds of the bundled noisy recording. A change in these numbers that nobody meant is a regression.
"""

from pathlib import Path

import numpy as np
import soundfile

import unmuffle
from unmuffle.enhancers import registry
from unmuffle.enhancers.base import run_offline
from unmuffle.errors import MissingExtraError

FILE = Path(__file__).with_name("golden.npz")
STEP = 37
SECONDS = 2


def signal() -> np.ndarray:
    """Two seconds from the middle of the bundled noisy recording."""
    path = Path(unmuffle.__file__).parent / "assets" / "demo_noisy.flac"
    x, rate = soundfile.read(path, dtype="float32", start=16000, frames=16000 * SECONDS)
    assert rate == 16000
    return x


def output(name: str) -> np.ndarray:
    """Every 37th sample of what a method makes of it."""
    return run_offline(registry.load(name), signal(), 16000)[::STEP]


if __name__ == "__main__":
    made = {}
    for name in registry.REGISTRY:
        try:
            made[name] = output(name)
        except MissingExtraError as error:
            raise SystemExit(f"install everything first: {error}") from None
    np.savez_compressed(FILE, **made)
    print(f"{len(made)} methods, {FILE.stat().st_size} bytes")
