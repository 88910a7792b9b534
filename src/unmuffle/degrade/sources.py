"""Recordings used as material: read once, matched in rate and channels, cut or looped to length.

A source is known by its path and by the SHA-256 of its bytes; a replay refuses a file that has
changed since.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MediaError, MediaNotFoundError, ParameterError
from ..io import read
from ..signal.blocks import Samples, as_block
from ..signal.resample import convert

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aiff", ".aif")

_CROSSFADE_S = 0.05


@dataclass(frozen=True)
class Source:
    """A recording as read: samples at the wanted rate, and where they came from."""

    samples: Samples
    path: str
    sha256: str

    @property
    def origin(self) -> dict[str, Any]:
        """What the record keeps of it."""
        return {"file": self.path, "sha256": self.sha256}


def load(path: str | Path, sample_rate: int, channels: int) -> Source:
    """Read a file and bring it to ``sample_rate`` and ``channels``.

    A file of exactly ``channels`` stays as it is; any other is mixed down and copied to all.
    """
    samples, rate = read(path)
    if samples.shape[0] != channels:
        samples = np.repeat(samples.mean(axis=0, keepdims=True, dtype=np.float32), channels, axis=0)
    return Source(as_block(convert(samples, rate, sample_rate)), str(path), digest(path))


def load_first_channel(path: str | Path, sample_rate: int) -> Source:
    """Read a file, keep its first channel: mixing the channels of a room's response would comb it."""
    samples, rate = read(path)
    return Source(as_block(convert(samples[:1], rate, sample_rate)), str(path), digest(path))


def digest(path: str | Path) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise MediaNotFoundError(f"cannot read {path}: {error.strerror}; check the path") from error


def list_audio(folder: str | Path) -> list[Path]:
    """All audio files below a folder, sorted by their path within it."""
    root = Path(folder)
    if not root.is_dir():
        raise MediaNotFoundError(f"{folder} is not a folder; give one with audio files in it")
    found = [p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file()]
    if not found:
        raise MediaError(f"no audio files below {folder}; known suffixes: {', '.join(AUDIO_SUFFIXES)}")
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def class_of(path: str | Path) -> str:
    """What a noise recording is called: the part of its name before ``__``, or else its stem.

    Anything but letters, digits, ``-`` and ``.`` becomes ``-``, so it may stand in a file name.
    """
    label = Path(path).stem.split("__")[0]
    return re.sub(r"[^A-Za-z0-9.-]+", "-", label).strip("-.") or "noise"


def speaker_of(path: str | Path) -> str:
    """Speaker label of a speech file: its stem up to the first ``_`` or ``-``."""
    return re.split(r"[_-]", Path(path).stem)[0]


def fit(
    samples: Samples, length: int, sample_rate: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Cut ``length`` samples at a random offset, or loop with crossfades where there are fewer.

    The loop's end is faded into its start over 50 ms (a tenth of it, if it is shorter than
    half a second) with equal power, so that noise keeps its level through the seam.
    """
    x = samples.astype(np.float64)
    n = x.shape[1]
    if n == 0:
        raise InputError("a noise recording is empty; choose another")
    if n >= length:
        start = int(rng.integers(n - length + 1))
        return x[:, start : start + length], {"offset_s": start / sample_rate, "looped": False}
    fade = min(round(_CROSSFADE_S * sample_rate), n // 10)
    period = n - fade
    loop = x[:, :period].copy()
    if fade:
        angle = 0.5 * np.pi * (np.arange(fade) + 0.5) / fade
        loop[:, :fade] = loop[:, :fade] * np.sin(angle) + x[:, period:] * np.cos(angle)
    start = int(rng.integers(period))
    return loop[:, (start + np.arange(length)) % period], {"offset_s": start / sample_rate, "looped": True}


def check_unchanged(origin: dict[str, Any]) -> None:
    """Raise `ParameterError` when the file of a recorded source is not the one that was used."""
    if digest(origin["file"]) != origin["sha256"]:
        raise ParameterError(f"{origin['file']} has changed since the record was made; restore it to replay")
