"""Test sets from folders: clean recordings in, noisy ones with their targets and records out.

::

    out_dir/
      noisy/p001__rain_snr4.2.wav      the damaged recording
      clean/p001__rain_snr4.2.wav      its target, same name, length and alignment
      records/p001__rain_snr4.2.json   what was done; `replay_file` does it again
      manifest.csv                     one row per pair

A name holds the clean file's, the class of the noise (several joined by ``+``; for other damage its
kind) and, where noise was added at an SNR, the SNR over active speech in decibels.

Every pair has its own seed, made from the set's seed, the clean file's path within its folder and the
number of the copy: adding or removing files leaves the other pairs as they were.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import MediaError, ParameterError
from ..io import read, write
from ..signal.blocks import Samples
from .base import Pipeline, Record, to_json
from .gains import Headroom
from .replay import replay
from .sources import class_of, digest, list_audio, load, speaker_of
from .spec import Material, Spec

FORMAT = "unmuffle-degrade-1"


@dataclass(frozen=True)
class Pair:
    """One clean/noisy pair of a set."""

    name: str
    noisy: Path
    clean: Path
    record: Path
    noise_class: str
    snr_db: float | None


def make_set(
    clean_dir: str | Path,
    out_dir: str | Path,
    spec: str | Sequence[str] | Spec,
    *,
    noise_dir: str | Path | None = None,
    rooms_dir: str | Path | None = None,
    seed: int = 0,
    per_file: int = 1,
    sample_rate: int | None = None,
    subtype: str = "PCM_16",
) -> list[Pair]:
    """Damage every recording below ``clean_dir`` ``per_file`` times by ``spec``.

    Args:
        clean_dir: speech; file names begin with the speaker (up to the first ``_`` or ``-``), so that
            babble is made of others.
        out_dir: made if needed; existing pairs of the same name are replaced.
        spec: see `unmuffle.degrade.spec`.
        noise_dir: noise recordings, their class before ``__`` in the name.
        rooms_dir: measured room impulse responses, for ``rir``.
        seed: of the whole set.
        per_file: noisy versions of each clean file.
        sample_rate: of the set in Hz; by default each file keeps its own.
        subtype: sample format of the files: ``PCM_16``, ``PCM_24`` or ``FLOAT``.

    Returns:
        The pairs, in the order of the manifest.
    """
    parsed = spec if isinstance(spec, Spec) else Spec.parse(spec)
    if per_file < 1:
        raise ParameterError(f"per_file must be at least 1, got {per_file}")
    if subtype not in ("PCM_16", "PCM_24", "FLOAT"):
        raise ParameterError(f"unknown subtype {subtype!r}; choose PCM_16, PCM_24 or FLOAT")
    if Path(out_dir).resolve().is_relative_to(Path(clean_dir).resolve()):
        raise ParameterError(
            f"{out_dir} lies in {clean_dir}: the next run would damage it again; move it out"
        )
    clean_files = list_audio(clean_dir)
    noises = tuple(map(str, list_audio(noise_dir))) if noise_dir is not None else ()
    rooms = tuple(map(str, list_audio(rooms_dir))) if rooms_dir is not None else ()
    out = Path(out_dir)
    for folder in ("noisy", "clean", "records"):
        (out / folder).mkdir(parents=True, exist_ok=True)

    pairs: list[Pair] = []
    taken: set[str] = set()
    for path in clean_files:
        relative = path.relative_to(clean_dir).as_posix()
        material = Material(noises, rooms, _other_voices(path, clean_files))
        for copy in range(per_file):
            rng = np.random.default_rng(_seed_of(seed, relative, copy))
            drawn = parsed.draw(rng, material)
            pipeline = drawn if subtype == "FLOAT" else Pipeline((*drawn.steps, Headroom()))
            clean, rate = _read_clean(path, sample_rate)
            damaged = pipeline.apply(clean, rate, rng)
            noise_class, snr_db = _label(damaged.record)
            name = _free_name(Path(relative).with_suffix("").as_posix(), noise_class, snr_db, taken)
            pair = Pair(
                name,
                out / "noisy" / f"{name}.wav",
                out / "clean" / f"{name}.wav",
                out / "records" / f"{name}.json",
                noise_class,
                snr_db,
            )
            write(pair.noisy, damaged.noisy, rate, subtype)
            write(pair.clean, damaged.target, rate, subtype)
            sidecar: Record = {
                "format": FORMAT,
                "unmuffle": __version__,
                "numpy": np.__version__,
                "spec": str(parsed),
                "set_seed": seed,
                "clean": {"file": str(path), "sha256": digest(path), "sample_rate": sample_rate},
                "subtype": subtype,
                "noisy_sha256": digest(pair.noisy),
                "target_sha256": digest(pair.clean),
                "snr_db": snr_db,
                "record": damaged.record,
            }
            _write_text(pair.record, to_json(sidecar))
            pairs.append(pair)
    _write_manifest(out / "manifest.csv", pairs, out)
    return pairs


def replay_file(
    sidecar: str | Path, noisy: str | Path, target: str | Path, moved: Mapping[str, str] | None = None
) -> None:
    """Make the pair of a sidecar again, into ``noisy`` and ``target`` (both ``.wav``).

    ``moved`` maps folders of the record to where they are now. Raises `ParameterError` if the clean
    file or a source has changed, or if what comes out is not, byte for byte, what came out then.
    """
    try:
        data = json.loads(Path(sidecar).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot read the record {sidecar}: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ParameterError(f"{sidecar} is no record of the format {FORMAT}")
    path = data["clean"]["file"]
    for old, new in (moved or {}).items():
        if path.startswith(old.rstrip("/") + "/"):
            path = new.rstrip("/") + path[len(old.rstrip("/")) :]
    if digest(path) != data["clean"]["sha256"]:
        raise ParameterError(f"{path} is not the clean file of the record (its SHA-256 differs)")
    clean, rate = _read_clean(Path(path), data["clean"]["sample_rate"])
    damaged = replay(data["record"], clean, moved)
    write(noisy, damaged.noisy, rate, data["subtype"])
    write(target, damaged.target, rate, data["subtype"])
    for made, key in ((noisy, "noisy_sha256"), (target, "target_sha256")):
        if digest(made) != data[key]:
            raise ParameterError(
                f"{made} differs from the recorded file; the record was made with unmuffle "
                f"{data['unmuffle']} and other versions of numpy, scipy or FFmpeg may round differently"
            )


def _read_clean(path: Path, sample_rate: int | None) -> tuple[Samples, int]:
    samples, rate = read(path)
    if sample_rate is None or sample_rate == rate:
        return samples, rate
    return load(path, sample_rate, samples.shape[0]).samples, sample_rate


def _other_voices(path: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Files of other speakers or, where names tell only one speaker, the other files."""
    others = [f for f in files if f != path]
    strangers = [f for f in others if speaker_of(f) != speaker_of(path)]
    return tuple(map(str, strangers or others))


def _seed_of(seed: int, relative: str, copy: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{copy}/{relative}".encode()).digest()[:8], "big")


def _label(record: Record) -> tuple[str, float | None]:
    """What to call a pair: classes of its noises, or kinds of its damage; and the SNR reached.

    With several additive steps the SNR is that of the first that has one.
    """
    steps: list[Record] = [s for s in record["drawn"]["steps"] if s["damage"] != Headroom.kind]
    classes: list[str] = []
    snr_db: float | None = None
    for step in steps:
        sources = step["drawn"].get("sources", []) if isinstance(step["drawn"], dict) else []
        named = [str(s["class"]) for s in sources if "class" in s]
        classes.extend(c for c in named or [_kind_label(step)] if c not in classes)
        if snr_db is None and step["drawn"].get("snr_db") is not None:
            snr_db = float(step["drawn"]["snr_db"])
    return "+".join(classes), snr_db


def _kind_label(step: Record) -> str:
    if step["damage"] == "codec":
        return str(step["parameters"]["name"])
    if step["damage"] == "rir":
        return f"rir-{class_of(step['parameters']['file'])}"
    return str(step["damage"])


def _free_name(stem: str, noise_class: str, snr_db: float | None, taken: set[str]) -> str:
    name = f"{stem.replace('/', '_')}__{noise_class}"
    if snr_db is not None:
        name += f"_snr{round(snr_db, 1) + 0.0:.1f}"  # + 0.0: no "-0.0"
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    taken.add(unique)
    return unique


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _write_manifest(path: Path, pairs: Sequence[Pair], out: Path) -> None:
    rows: list[list[Any]] = [["name", "noisy", "clean", "record", "class", "snr_db"]]
    for p in pairs:
        places = [x.relative_to(out).as_posix() for x in (p.noisy, p.clean, p.record)]
        rows.append([p.name, *places, p.noise_class, "" if p.snr_db is None else f"{p.snr_db:.3f}"])
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    os.replace(part, path)
