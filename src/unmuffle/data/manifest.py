"""Manifests: one JSON line for every recording that training may use.

A line holds ``path`` (relative to the manifest's folder, or absolute), ``kind`` (speech, noise,
music or room), ``split`` (train or valid), ``speaker``, ``category``, ``licence``, ``duration_s``,
``sample_rate`` and ``band_hz``. The last two differ when a recording has been through a codec or a
resampler: ``sample_rate`` is that of the voice as it was recorded, ``band_hz`` the frequency above
which there is nothing of it left, and the losses are masked there.

Validation is split off by *speaker* and by *recording*, never by clip: two clips of one voice, or
two pieces of one noise recording, on both sides of the split make a validation score a flattering
one. The split is a hash of the name, so it does not change when clips are added.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MediaNotFoundError, OutputError, ParameterError

KINDS = ("speech", "noise", "music", "room")
SPLITS = ("train", "valid")
SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".sph"))
"""File name endings that folder readers take for audio."""


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        path: of the file; relative ones are taken from the manifest's folder.
        kind: one of :data:`KINDS`.
        split: one of :data:`SPLITS`.
        speaker: whose voice (speech only); clips of one speaker never straddle the split.
        category: class of a noise or room, free text.
        licence: as its source states it.
        duration_s: in seconds.
        sample_rate: in Hz, of the recording before any transcoding.
        band_hz: highest frequency with content; 0 means half the sample rate.
    """

    path: str
    kind: str
    split: str = "train"
    speaker: str = ""
    category: str = ""
    licence: str = ""
    duration_s: float = 0.0
    sample_rate: int = 0
    band_hz: float = 0.0

    def __post_init__(self) -> None:
        if not self.path:
            raise ParameterError("a manifest line has no path")
        if self.kind not in KINDS:
            raise ParameterError(f"{self.path}: kind = {self.kind!r}; choose one of {', '.join(KINDS)}")
        if self.split not in SPLITS:
            raise ParameterError(f"{self.path}: split = {self.split!r}; choose one of {', '.join(SPLITS)}")

    @property
    def top_hz(self) -> float:
        """Highest frequency with content (infinite when unknown)."""
        return self.band_hz or self.sample_rate / 2.0 or float("inf")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a clip: which one, and what."""

    path: str
    what: str


def write(path: str | Path, clips: Iterable[Clip]) -> None:
    """Write a manifest, whole or not at all.

    Raises:
        OutputError: it could not be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    default = Clip("x", "noise")
    try:
        with temporary.open("w", encoding="utf-8") as out:
            for clip in clips:
                row = {
                    k: v
                    for k, v in dataclasses.asdict(clip).items()
                    if k in ("path", "kind", "split") or v != getattr(default, k)
                }
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: could not be written ({error.strerror}); what was there is intact") from None
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path) -> list[Clip]:
    """Read a manifest; relative paths are made absolute.

    Raises:
        MediaNotFoundError: there is no such file.
        ParameterError: a line that is no JSON, has an unknown key or a value out of range; the
            message names the line.
    """
    source = Path(path)
    if not source.is_file():
        raise MediaNotFoundError(f"{source}: no such manifest; make one with `unmuffle data prepare`")
    known = {f.name: f.type for f in dataclasses.fields(Clip)}
    clips = []
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ParameterError(f"{source}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ParameterError(f"{source}, line {number}: expected an object, got {row!r}")
        unknown = sorted(set(row) - set(known))
        if unknown or not {"path", "kind"} <= set(row):
            what = f"unknown key {unknown[0]!r}" if unknown else "path and kind are needed"
            raise ParameterError(f"{source}, line {number}: {what}; keys are {', '.join(known)}")
        for key in ("duration_s", "sample_rate", "band_hz"):
            if key in row and (isinstance(row[key], bool) or not isinstance(row[key], (int, float))):
                raise ParameterError(f"{source}, line {number}: {key} = {row[key]!r} is not a number")
        if not isinstance(row["path"], str) or not row["path"]:
            raise ParameterError(f"{source}, line {number}: path = {row['path']!r} is no file name")
        place = Path(row["path"])
        try:
            clip = Clip(**{**row, "path": str(place if place.is_absolute() else source.parent / place)})
        except ParameterError as error:
            raise ParameterError(f"{source}, line {number}: {error}") from None
        clips.append(clip)
    return clips


def check(clips: Sequence[Clip], *, decode: bool = False) -> list[Problem]:
    """What is missing or broken, clip by clip.

    Args:
        clips: from :func:`read` or a builder.
        decode: open every file and compare its length with ``duration_s`` (within 5 %).
    """
    import soundfile

    problems = []
    seen: dict[str, int] = {}
    voices: dict[str, set[str]] = {}
    for clip in clips:
        seen[clip.path] = seen.get(clip.path, 0) + 1
        if clip.kind == "speech":
            if not clip.speaker:
                problems.append(Problem(clip.path, "speech without a speaker"))
            else:
                voices.setdefault(clip.speaker, set()).add(clip.split)
        place = Path(clip.path)
        if not place.is_file():
            problems.append(Problem(clip.path, "no such file"))
            continue
        if not place.stat().st_size:
            problems.append(Problem(clip.path, "empty file"))
            continue
        if decode:
            try:
                facts = soundfile.info(str(place))
            except (soundfile.LibsndfileError, RuntimeError) as error:
                problems.append(Problem(clip.path, f"cannot be read: {error}"))
                continue
            length = facts.frames / facts.samplerate
            if clip.duration_s and abs(length - clip.duration_s) > 0.05 * clip.duration_s + 0.05:
                problems.append(
                    Problem(clip.path, f"lasts {length:.2f} s, the manifest says {clip.duration_s:.2f} s")
                )
    problems += [Problem(p, f"listed {n} times") for p, n in seen.items() if n > 1]
    problems += [Problem(s, "this speaker is in both splits") for s, v in voices.items() if len(v) > 1]
    return problems


def from_folders(
    *,
    speech: Sequence[str | Path] = (),
    noise: Sequence[str | Path] = (),
    music: Sequence[str | Path] = (),
    rooms: Sequence[str | Path] = (),
    licence: str = "",
) -> list[Clip]:
    """Clips of plain folders, searched through all their subfolders.

    A speech file's speaker is the name of the folder it lies in; a noise's category likewise.

    Raises:
        MediaNotFoundError: a folder is missing, or holds no audio.
    """
    import soundfile

    clips = []
    for kind, folders in (("speech", speech), ("noise", noise), ("music", music), ("room", rooms)):
        for folder in folders:
            root = Path(folder)
            if not root.is_dir():
                raise MediaNotFoundError(f"{root}: no such folder of {kind}")
            files = sorted(f for f in root.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
            if not files:
                raise MediaNotFoundError(f"{root}: no audio files in it ({', '.join(sorted(SUFFIXES))})")
            for file in files:
                try:
                    facts = soundfile.info(str(file))
                    length, rate = round(facts.frames / facts.samplerate, 3), int(facts.samplerate)
                except (soundfile.LibsndfileError, RuntimeError):
                    length, rate = 0.0, 0  # `check` names it
                label = file.parent.name
                clips.append(
                    Clip(
                        str(file.resolve()),
                        kind,
                        speaker=f"{root.name}:{label}" if kind == "speech" else "",
                        category="" if kind == "speech" else label,
                        licence=licence,
                        duration_s=length,
                        sample_rate=rate,
                    )
                )
    return clips


def from_csv(path: str | Path) -> list[Clip]:
    """Clips of a ``manifest.csv`` pool: its rows of split ``train``, measuring sets left out.

    The columns needed are path, kind, split, speaker, category, sample_rate, duration_s, licence.

    Raises:
        MediaNotFoundError: there is no such file.
        ParameterError: a column is missing.
    """
    source = Path(path)
    if not source.is_file():
        raise MediaNotFoundError(f"{source}: no such file")
    clips = []
    with source.open(newline="", encoding="utf-8") as rows:
        table = csv.DictReader(rows)
        needed = {"path", "kind", "split", "speaker", "category", "sample_rate", "duration_s", "licence"}
        missing = sorted(needed - set(table.fieldnames or ()))
        if missing:
            raise ParameterError(f"{source}: no column {missing[0]!r}")
        for row in table:
            if row["split"] != "train" or row["kind"] not in KINDS:
                continue
            rate = int(row["sample_rate"])
            clips.append(
                Clip(
                    str((source.parent / row["path"]).resolve()),
                    row["kind"],
                    speaker=row["speaker"],
                    category=row["category"],
                    licence=row["licence"],
                    duration_s=float(row["duration_s"]),
                    sample_rate=rate,
                    band_hz=rate / 2.0,
                )
            )
    return clips


def recording(clip: Clip) -> str:
    """The recording a clip was cut from: its speaker, or its file name without a counter at the end.

    Names that differ only in trailing digits and one-letter marks (``door-1``, ``1-977-a``) count as
    takes of one recording.
    """
    if clip.speaker:
        return clip.speaker
    return re.sub(r"([-_.]?(ch)?\d*|[-_.][a-z])$", "", Path(clip.path).stem.lower())


def split_validation(clips: Sequence[Clip], share: float = 0.06, seed: int = 0) -> list[Clip]:
    """Assign splits: about ``share`` of the speakers and of the noise, music and room recordings.

    The choice is a hash of the name and ``seed``: it does not depend on what else is in the list.
    """
    if not 0 <= share < 1:
        raise ParameterError(f"share = {share!r}; give 0 to below 1")

    def chosen(name: str) -> bool:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        return int.from_bytes(digest[:6], "big") < share * 2**48

    return [
        dataclasses.replace(c, split="valid" if chosen(f"{c.kind}:{recording(c)}") else "train") for c in clips
    ]


def hold_out(clips: Sequence[Clip], share: float = 0.06, seed: int = 0) -> tuple[list[Clip], list[str]]:
    """Make sure that there is something to validate on, and say where that was hard.

    Kinds that have clips in the split ``valid`` already, as a collection with a split of its own, stay as they
    are. The others are split by :func:`split_validation`. Where that draws nothing, as of a handful of speakers, one
    of them is held out all the same; of a single speaker, some of its files, and then validation flatters.

    Returns:
        The clips, and a line for each thing that one should know.
    """
    out = list(clips)
    notes = []
    for kind in KINDS:
        places = [i for i, c in enumerate(out) if c.kind == kind]
        if not places or any(out[i].split == "valid" for i in places):
            continue
        drawn = split_validation([out[i] for i in places], share, seed)
        if any(clip.split == "train" for clip in drawn):  # of one or two groups, chance may draw all
            for i, clip in zip(places, drawn, strict=True):
                out[i] = clip
        if share == 0 or kind in ("music", "room") or any(out[i].split == "valid" for i in places):
            continue
        groups: dict[str, list[int]] = {}
        for i in places:
            groups.setdefault(recording(out[i]), []).append(i)
        if len(groups) > 1:
            # The smallest one, and of equal ones that of the lowest digest.
            chosen = min(groups.values(), key=lambda g: (sum(out[i].duration_s for i in g), _digest(out[g[0]], seed)))
        else:
            by_digest = sorted(places, key=lambda i: _digest(out[i], seed))
            chosen = by_digest[: max(1, round(share * len(places)))] if len(places) > 1 else []
            what = "speaker" if kind == "speech" else "recording"
            notes.append(
                f"all {kind} is of one {what}: {len(chosen)} of {len(places)} files are held out for validation, "
                f"which will look better than it is; put recordings of others into folders of their own"
            )
        for i in chosen:
            out[i] = dataclasses.replace(out[i], split="valid")
    return out, notes


def _digest(clip: Clip, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{Path(clip.path).name}".encode()).hexdigest()


def summary(clips: Sequence[Clip]) -> str:
    """A table: hours, clips and speakers of each kind and split."""
    lines = [f"{'kind':8}{'split':8}{'clips':>8}{'hours':>9}{'speakers':>10}"]
    for kind in KINDS:
        for split in SPLITS:
            chosen = [c for c in clips if c.kind == kind and c.split == split]
            hours = sum(c.duration_s for c in chosen) / 3600.0
            voices = len({c.speaker for c in chosen if c.speaker})
            lines.append(f"{kind:8}{split:8}{len(chosen):8d}{hours:9.2f}{voices:10d}")
    return "\n".join(lines)
