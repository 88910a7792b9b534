"""A pool: all recordings decoded once, in one memory-mapped int16 file per kind.

Decoding Opus or MP3 costs more than everything else that is done to make a mixture, and a training
run reads each clip hundreds of times. :func:`pack` decodes and resamples every clip of a manifest
once and writes the samples end to end; :class:`Pool` maps the files, so that a clip is a slice, any
number of processes share one copy in memory, and a start takes milliseconds.

int16 has a noise floor of -98 dBFS, below that of every recording; clips are scaled to a peak of
0.98 (rooms too), as levels are set anew in each mixture.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaNotFoundError, OutputError, ParameterError
from ..signal.blocks import check_rate
from .clean import cleaned
from .manifest import KINDS, Clip, read

INDEX = "index.json"
FORMAT = 2
_CROSSINGS = 200
"""Zero crossings of the resampling filter on each side."""
_PEAK = 0.98 * 32767.0


def decode(path: str | Path, sample_rate: int, *, first_channel: bool = False) -> NDArray[np.float32]:
    """Decode a file to mono float32 at ``sample_rate``: the mean of its channels, or the first one.

    Room responses want the first: the mean of two microphones' responses is a comb filter.

    On the way down the filter is long, and keeps what lies up to a hundredth below half the new rate. The usual
    ones fall off from nine tenths on; as voices often come at the lower rate already and noises do not, a network
    would learn that whatever lies in the last tenth is speech, and fail wherever it is not.
    """
    import soundfile
    import soxr

    x, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(x[:, 0]) if first_channel else x.mean(axis=1)
    if rate > sample_rate:
        mono = _lowered(mono, int(rate), sample_rate)
    elif rate < sample_rate:
        mono = soxr.resample(mono, rate, sample_rate)
    return np.asarray(mono, np.float32)


def _lowered(x: NDArray[np.float32], rate: int, sample_rate: int) -> NDArray[np.float32]:
    """Resample down with a filter that falls within 1.6 % of the band (6 dB at half the new rate)."""
    from scipy.signal import firwin, resample_poly

    common = math.gcd(rate, sample_rate)
    up, down = sample_rate // common, rate // common
    taps = firwin(2 * _CROSSINGS * down + 1, 1.0 / down, window=("kaiser", 5.0))
    return np.asarray(resample_poly(x, up, down, window=taps.astype(np.float32)), np.float32)


def pack(
    clips: Sequence[Clip],
    folder: str | Path,
    sample_rate: int = 16_000,
    *,
    clean: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Decode clips into a pool in ``folder``.

    The index is written last: a folder in which packing was broken off is no pool.

    Args:
        clips: of a manifest.
        folder: made if needed; an older pool in it is replaced.
        sample_rate: of the pool in Hz.
        clean: the method that lowers the noise that voices were recorded with; see :mod:`.clean`.
        progress: is called with (clips done, clips in all).

    Returns:
        Paths of clips that could not be decoded and were left out.

    Raises:
        ParameterError: no clips, or none that can be decoded.
        OutputError: the pool cannot be written, as on a full disk.
    """
    rate = check_rate(sample_rate)
    if not clips:
        raise ParameterError("no clips to pack: the manifest is empty")
    root = Path(folder)
    try:
        return _pack(clips, root, rate, clean, progress)
    except OSError as error:
        raise OutputError(f"{root}: the pool could not be written ({error.strerror or error})") from None


def _pack(
    clips: Sequence[Clip],
    root: Path,
    rate: int,
    clean: str | None,
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    import soundfile

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
            if clean is not None and clip.kind == "speech":
                x = cleaned(x, rate, clean)
                peak = max(float(np.max(np.abs(x))), peak / 10.0)  # nothing is blown up that is no voice
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


def of_manifests(
    manifests: Sequence[str | Path],
    sample_rate: int = 16_000,
    *,
    leave_out: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Pool, list[str]]:
    """The pool of one manifest or several, packed beside the first one, or found there from an earlier time.

    Its folder is ``MANIFEST.pool-DIGEST``, with a digest of the manifests, the sizes and times of the recordings, and
    the rate: another choice of recordings is another pool, and none is ever written over.

    Args:
        manifests: paths.
        sample_rate: of the pool in Hz.
        leave_out: go on without recordings that are missing or cannot be decoded.
        progress: is called with (clips done, clips in all) while packing.

    Returns:
        The pool, and the paths of recordings that were left out.

    Raises:
        MediaNotFoundError: a manifest or a recording is missing; the message says how many, and names the first.
        ParameterError: a manifest has an error or nothing in it.
        OutputError: the pool cannot be written.
    """
    clips = [clip for path in manifests for clip in read(path)]
    gone = [c.path for c in clips if not Path(c.path).is_file()]
    names = ", ".join(str(m) for m in manifests)
    if gone and (not leave_out or len(gone) == len(clips)):
        raise MediaNotFoundError(
            f"{names}: {len(gone)} of {len(clips)} recordings are missing, the first is {gone[0]}; "
            "`unmuffle data check` lists them all, --leave-out goes on without them"
        )
    clips = [c for c in clips if Path(c.path).is_file()]
    digest = hashlib.sha256(f"{FORMAT} {sample_rate}".encode())
    for clip in clips:
        facts = os.stat(clip.path)
        digest.update(f"{dataclasses.astuple(clip)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    first = Path(manifests[0])
    folder = first.with_name(f"{first.stem}.pool-{digest.hexdigest()[:10]}")
    if (folder / INDEX).is_file():
        return Pool(folder), gone
    # Under another name until it is whole: two runs may pack at the same time.
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        broken = pack(clips, temporary, sample_rate, progress=progress)
        if broken and not leave_out:
            raise ParameterError(
                f"{names}: {len(broken)} of {len(clips)} recordings are silent or cannot be decoded, the first is "
                f"{broken[0]}; `unmuffle data check` lists them all, --leave-out goes on without them"
            )
        try:
            temporary.rename(folder)
        except OSError as error:
            if not (folder / INDEX).is_file():  # else another run was faster
                raise OutputError(f"{folder}: the pool could not be written ({error.strerror})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Pool(folder), gone + broken


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


def summary(pool: Pool) -> dict[str, dict[str, Any]]:
    """What is in the training part of a pool, for the papers of a network: hours, clips, speakers, licences."""
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        entries = pool.of(kind, "train")
        if not entries:
            continue
        seconds = sum(e.length for e in entries) / pool.sample_rate
        found[kind] = {"hours": round(seconds / 3600.0, 3), "clips": len(entries)}
        if kind == "speech":
            found[kind]["speakers"] = len({e.speaker for e in entries})
        found[kind]["licences"] = sorted({e.licence or "unstated" for e in entries})
    return found
