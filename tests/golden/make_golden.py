"""Freezes what every method makes of the bundled recording: run it after a change that is meant to change sound.

    python tests/golden/make_golden.py            all methods
    python tests/golden/make_golden.py --new      those that are not frozen yet; the others stay as they are
    python tests/golden/make_golden.py wpe mvdr   those that are named, and new ones

Writes golden.npz: for each method with default parameters, every 37th sample of the output for two
seconds of the bundled noisy recording. A change in these numbers that nobody meant is a regression.
"""

import sys
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
    x = signal()
    entry = registry.entry(name)
    channels = 4 if entry.family == "spatial" else entry.channels
    if channels > 1:  # each channel 3 dB softer and 5 samples later than the one before
        x = np.stack([0.7**i * np.roll(x, 5 * i) for i in range(channels)]).astype(np.float32)
    return np.atleast_2d(run_offline(registry.load(name), x, 16000))[0, ::STEP]


if __name__ == "__main__":
    made = {}
    kept = dict(np.load(FILE)) if sys.argv[1:] else {}
    for name in sys.argv[1:]:
        kept.pop(name, None)
    for name in registry.REGISTRY:
        try:
            made[name] = kept[name] if name in kept else output(name)
        except MissingExtraError as error:
            raise SystemExit(f"install everything first: {error}") from None
    np.savez_compressed(FILE, **made)
    print(f"{len(made)} methods, {FILE.stat().st_size} bytes")
