"""A pool: all recordings decoded once, in one memory-mapped int16 file per kind.

Decoding Opus or MP3 costs more than everything else that is done to make a mixture, and a training
run reads each clip hundreds of times. :func:`pack` decodes and resamples every clip of a manifest
once and writes the samples end to end; :class:`Pool` maps the files, so that a clip is a slice, any
number of processes share one copy in memory, and a start takes milliseconds.

int16 has a noise floor of -98 dBFS, below that of every recording; clips are scaled to a peak of
0.98 (rooms too), as levels are set anew in each mixture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaNotFoundError, ParameterError
from ..signal.blocks import check_rate
from .manifest import KINDS, Clip

INDEX = "index.json"
FORMAT = 1
_PEAK = 0.98 * 32767.0


def decode(path: str | Path, sample_rate: int, *, first_channel: bool = False) -> NDArray[np.float32]:
    """Decode a file to mono float32 at ``sample_rate``: the mean of its channels, or the first one.

    Room responses want the first: the mean of two microphones' responses is a comb filter.
    """
    import soundfile
    import soxr

    x, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(x[:, 0]) if first_channel else x.mean(axis=1)
    out: NDArray[np.float32] = mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate)
    return np.asarray(out, np.float32)


def pack(
    clips: Sequence[Clip],
    folder: str | Path,
    sample_rate: int = 16_000,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Decode clips into a pool in ``folder``.

    The index is written last: a folder in which packing was broken off is no pool.

    Args:
        clips: of a manifest.
        folder: made if needed; an older pool in it is replaced.
        sample_rate: of the pool in Hz.
        progress: is called with (clips done, clips in all).

    Returns:
        Paths of clips that could not be decoded and were left out.

    Raises:
        ParameterError: no clips, or none that can be decoded.
    """
    import soundfile

    rate = check_rate(sample_rate)
    if not clips:
        raise ParameterError("no clips to pack: the manifest is empty")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    (root / INDEX).unlink(missing_ok=True)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    files = {kind: (root / f"{kind}.i16").open("wb") for kind in KINDS}
    offsets = dict.fromkeys(KINDS, 0)
    try:
        for done, clip in enumerate(clips, 1):
            try:
                x = decode(clip.path, rate, first_channel=clip.kind == "room")
            except (soundfile.LibsndfileError, RuntimeError, OSError):
                x = np.zeros(0, np.float32)
            peak = float(np.max(np.abs(x))) if x.size and np.isfinite(x).all() else 0.0
            if peak <= 0.0:
                failed.append(clip.path)
                continue
            samples = np.round(x * (_PEAK / peak)).astype("<i2")
            samples.tofile(files[clip.kind])
            top = min(clip.top_hz, rate / 2.0)
            rows.append(
                {
                    "kind": clip.kind,
                    "split": clip.split,
                    "speaker": clip.speaker,
                    "category": clip.category,
                    "band_hz": top,
                    "start": offsets[clip.kind],
                    "length": int(samples.size),
                    "path": clip.path,
                    "licence": clip.licence,
                }
            )
            offsets[clip.kind] += int(samples.size)
            if progress is not None:
                progress(done, len(clips))
    finally:
        for file in files.values():
            file.close()
    if not rows:
        raise ParameterError(f"none of the {len(clips)} clips could be decoded; the first is {clips[0].path}")
    temporary = root / f".{INDEX}.part"
    temporary.write_text(json.dumps({"format": FORMAT, "sample_rate": rate, "clips": rows}), encoding="utf-8")
    temporary.replace(root / INDEX)
    return failed


@dataclass(frozen=True)
class Entry:
    """A clip in a pool: where its samples are, and what the mixer needs to know of it."""

    kind: str
    split: str
    speaker: str
    category: str
    band_hz: float
    start: int
    length: int
    path: str
    licence: str


class Pool:
    """The packed clips of one folder, mapped into memory.

    Attributes:
        sample_rate: in Hz, of all samples.
        entries: one :class:`Entry` a clip.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        index = self.folder / INDEX
        if not index.is_file():
            raise MediaNotFoundError(f"{self.folder}: not a packed pool (no {INDEX}); run pack on a manifest")
        table = json.loads(index.read_text(encoding="utf-8"))
        if table.get("format") != FORMAT:
            raise ParameterError(f"{index}: format {table.get('format')!r}, this version reads {FORMAT}; pack again")
        self.sample_rate = int(table["sample_rate"])
        self.entries = [Entry(**row) for row in table["clips"]]
        self._maps: dict[str, NDArray[np.int16]] = {}
        for kind in KINDS:
            ends = [e.start + e.length for e in self.entries if e.kind == kind]
            if not ends:
                continue
            file = self.folder / f"{kind}.i16"
            if not file.is_file() or file.stat().st_size < 2 * max(ends):
                raise ParameterError(f"{file} is missing or shorter than its index says; pack again")
            self._maps[kind] = np.memmap(file, "<i2", "r")

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # a worker process maps the files anew instead of copying them

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def read(self, entry: Entry, start: int = 0, length: int | None = None) -> NDArray[np.float32]:
        """Samples of a clip as float32, from ``start`` on, at most ``length``."""
        first = entry.start + start
        last = entry.start + (entry.length if length is None else min(entry.length, start + length))
        return self._maps[entry.kind][first:last] * np.float32(1.0 / 32768.0)

    def of(self, kind: str, split: str) -> list[Entry]:
        """Clips of a kind and split."""
        return [e for e in self.entries if e.kind == kind and e.split == split]
