"""Which files belong together, and what is known about each.

A pair is found by its path relative to the folder, without the extension (``a/b.wav`` and ``a/b.flac``
match); what is left over is matched by its file name alone if that is unique on both sides. What has no
partner is listed, not dropped in silence.

What is known about a file (its tags: ``snr_db``, ``noise``, and whatever else) comes from, in this order,

1. a manifest: CSV with a header, JSON (a list of objects, or an object name -> object) or JSON lines; a
row belongs
   to the pair whose name, file name or stem stands in its column ``file``, ``name``, ``noisy`` or ``path``;
2. a sidecar: ``<noisy>.json`` (``clip.wav.json`` or ``clip.json``) beside the noisy file;
3. the file name: ``..._snr-5...``, ``..._snr10dB...`` or ``..._-5dB`` give the SNR; in
``<number>_<class>_<snr>dB``
   the class is what is left in the middle; in ``<class>__<rest>`` it is what comes before the double
   underscore.

Accepted spellings of the tags in 1 and 2: ``snr``, ``snr_db``; ``noise``, ``noise_class``, ``noise_type``,
``class``.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MediaError, MediaNotFoundError, ParameterError
from ..io.formats import supported_extensions

Tag = float | str
Location = str | os.PathLike[str]

_SNR_NAMED = re.compile(r"(?:^|[_\-. ])snr[_=]?(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_SNR_UNIT = re.compile(r"(?:^|[_ ])(-?\d+(?:\.\d+)?) ?dB(?![a-z])", re.IGNORECASE)
_CLASS_MIDDLE = re.compile(r"^\d+_([A-Za-z][A-Za-z_\-]*?)_(?:snr)?-?\d+(?:\.\d+)? ?dB$", re.IGNORECASE)
_CLASS_FIRST = re.compile(r"^([A-Za-z][A-Za-z_\-]*?)__")
_SPELLINGS = {"snr": "snr_db", "noise_class": "noise", "noise_type": "noise", "class": "noise"}
_NAME_COLUMNS = ("file", "name", "noisy", "path")


@dataclass(frozen=True)
class Pair:
    """Files that belong together; ``name`` is the relative path without the extension."""

    name: str
    noisy: Path | None = None
    clean: Path | None = None
    enhanced: Path | None = None
    tags: Mapping[str, Tag] = field(default_factory=dict)


@dataclass(frozen=True)
class Pairing:
    """Pairs in order of their names, and the files that found no partner."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[str, ...]


def find_pairs(
    clean: Location | None = None,
    noisy: Location | None = None,
    enhanced: Location | None = None,
    *,
    manifest: Location | None = None,
) -> Pairing:
    """Pair the files of up to three folders (or three single files).

    With ``noisy`` the pairs are its files, else those of ``enhanced``. A file without a partner in one of
    the other folders given is left out and listed in ``unmatched``, as are the files of the others that
    nobody asked for.
    """
    roots = {"noisy": noisy, "enhanced": enhanced, "clean": clean}
    given = {kind: Path(root) for kind, root in roots.items() if root is not None}
    if not given or set(given) == {"clean"}:
        raise ParameterError("nothing to score: give a noisy or an enhanced folder")
    for path in given.values():
        if not path.exists():
            raise MediaNotFoundError(f"{str(path)!r} does not exist: check the spelling")
    if all(path.is_file() for path in given.values()):
        files = {kind: {"": path} for kind, path in given.items()}
        leading = next(iter(given))
        files = {kind: {given[leading].stem: path} for kind, path in given.items()}
    elif all(path.is_dir() for path in given.values()):
        files = {kind: _audio_files(path) for kind, path in given.items()}
        leading = next(iter(given))
    else:
        raise ParameterError("give folders only, or single files only; not a mixture")
    known = _read_manifest(Path(manifest)) if manifest is not None else {}
    pairs, unmatched, used = [], [], {kind: set[str]() for kind in files}
    others = {kind: _Lookup(table, files[leading]) for kind, table in files.items() if kind != leading}
    for name, path in files[leading].items():
        partners = {kind: lookup.find(name) for kind, lookup in others.items()}
        if None in partners.values():
            unmatched.append(f"{leading}: {name}")
            continue
        paths = {kind: files[kind][key] for kind, key in partners.items() if key is not None}
        for kind, key in partners.items():
            used[kind].add(str(key))
        pairs.append(Pair(name=name, tags=tags_of(name, path, known), **{leading: path, **paths}))
    for kind in others:
        unmatched += [f"{kind}: {name}" for name in files[kind] if name not in used[kind]]
    return Pairing(tuple(pairs), tuple(unmatched))


def _audio_files(root: Path) -> dict[str, Path]:
    known = supported_extensions()
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in known and path.is_file() and not path.name.startswith("."):
            name = path.relative_to(root).with_suffix("").as_posix()
            if name in found:
                raise ParameterError(
                    f"{str(path)!r} and {found[name].name!r} have one name and two extensions: keep one of them"
                )
            found[name] = path
    return found


class _Lookup:
    """Finds a file by its relative name, or else by its stem if that is unique on both sides."""

    def __init__(self, table: Mapping[str, Path], leading: Mapping[str, Path]) -> None:
        self._table = table
        stems = Counter(Path(name).name for name in table)
        unique = Counter(Path(name).name for name in leading)
        self._stems = {Path(n).name: n for n in table if stems[Path(n).name] == 1 == unique[Path(n).name]}

    def find(self, name: str) -> str | None:
        if name in self._table:
            return name
        return self._stems.get(Path(name).name)


def tags_of(name: str, path: Path, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Tag]:
    """What manifest, sidecar and name say about a file, the first of them winning."""
    tags = tags_from_name(Path(name).name)
    for side in (path.with_suffix(path.suffix + ".json"), path.with_suffix(".json")):
        if side.is_file():
            tags.update(_clean(_load_json(side)))
            break
    for key in (name, Path(name).name, path.name):
        if key in known:
            tags.update(_clean(known[key]))
            break
    return tags


def tags_from_name(stem: str) -> dict[str, Tag]:
    """SNR and noise class as far as a file name tells them.

    >>> tags_from_name("000_machines_tools_-5dB")
    {'snr_db': -5.0, 'noise': 'machines_tools'}
    >>> tags_from_name("book_00012_snr12_tl-27")
    {'snr_db': 12.0}
    """
    tags: dict[str, Tag] = {}
    found = _SNR_NAMED.search(stem) or _SNR_UNIT.search(stem)
    if found:
        tags["snr_db"] = float(found.group(1))
    middle = _CLASS_MIDDLE.match(stem) or _CLASS_FIRST.match(stem)
    if middle:
        tags["noise"] = middle.group(1)
    return tags


def _clean(row: Any) -> dict[str, Tag]:
    """Plain values under their agreed names; an SNR as a number."""
    if not isinstance(row, Mapping):
        return {}
    tags: dict[str, Tag] = {}
    for key, value in row.items():
        name = _SPELLINGS.get(str(key).lower(), str(key).lower())
        if name in _NAME_COLUMNS and name != "noise":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float | str) or value == "":
            continue
        if name == "snr_db":
            try:
                tags[name] = float(value)
            except ValueError:
                continue
        else:
            tags[name] = value
    return tags


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MediaError(f"{str(path)!r} is no readable JSON ({error}): mend or remove it") from error


def _read_manifest(path: Path) -> dict[str, Mapping[str, Any]]:
    if not path.is_file():
        raise MediaNotFoundError(f"manifest {str(path)!r} does not exist: check the spelling")
    rows: Iterable[Any]
    if path.suffix.lower() == ".csv":
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    elif path.suffix.lower() == ".jsonl":
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except ValueError as error:
            raise MediaError(f"{str(path)!r} is no readable JSON lines file ({error})") from error
    else:
        data = _load_json(path)
        if isinstance(data, Mapping):
            return {str(k): v for k, v in data.items() if isinstance(v, Mapping)}
        rows = data if isinstance(data, list) else []
    table: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if isinstance(row, Mapping):
            for column in _NAME_COLUMNS:
                if row.get(column):
                    value = Path(str(row[column]))
                    for key in (value.as_posix(), value.with_suffix("").as_posix(), value.name, value.stem):
                        table.setdefault(key, row)
                    break
    return table
