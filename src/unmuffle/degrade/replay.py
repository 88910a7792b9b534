"""From a record back to the same bytes.

A record names each damage, its parameters and its seed; `from_record` rebuilds the damage and
`replay` runs it again on the same clean signal. Source files must be those that were used (their
SHA-256 is checked); `moved` says where a folder has gone since.

The bytes are the same with the same versions of numpy, scipy and the codecs; another FFmpeg may code
differently.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ParameterError
from .base import Damage, Damaged, Pipeline, Record
from .clipping import Clip
from .codecs import Codec
from .disturbances import Clicks, Hum, Wind
from .filters import BandLimit
from .gains import DcOffset, Headroom, LevelChange
from .noise import Babble, Noise
from .packets import PacketLoss
from .rooms import MeasuredRoom, SimulatedRoom
from .sources import check_unchanged

DAMAGES: dict[str, type[Damage]] = {
    "noise": Noise,
    "babble": Babble,
    "room": SimulatedRoom,
    "rir": MeasuredRoom,
    "clip": Clip,
    "codec": Codec,
    "loss": PacketLoss,
    "band": BandLimit,
    "hum": Hum,
    "wind": Wind,
    "clicks": Clicks,
    "gain": LevelChange,
    "dc": DcOffset,
    "headroom": Headroom,
}
"""Every single damage by its kind."""


def replay(record: Record, clean: Any, moved: Mapping[str, str] | None = None) -> Damaged:
    """Do again what ``record`` says was done to ``clean``."""
    record = _relocated(record, moved or {})
    for origin in _origins(record):
        check_unchanged(origin)
    try:
        seed, sample_rate = int(record["seed"]), int(record["sample_rate"])
    except (KeyError, TypeError, ValueError) as error:
        raise ParameterError(f"the record lacks a usable {error}; give one that Damage.apply made") from error
    return from_record(record).apply_seeded(clean, sample_rate, seed)


def from_record(record: Record) -> Damage:
    """The damage that a record describes."""
    kind, parameters = record.get("damage"), record.get("parameters")
    if not isinstance(kind, str) or not isinstance(parameters, Mapping):
        raise ParameterError("a record needs 'damage' and 'parameters'; give one that Damage.apply made")
    if kind == Pipeline.kind:
        return Pipeline(tuple(from_record(step) for step in parameters["steps"]))
    if kind not in DAMAGES:
        raise ParameterError(f"unknown damage {kind!r} in the record; known: {', '.join(DAMAGES)}")
    cls = DAMAGES[kind]
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise ParameterError(f"{kind} has no parameter {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()})


def _origins(part: Any) -> Iterator[Record]:
    """All source files that a record names with their digest."""
    if isinstance(part, Mapping):
        if "sha256" in part and "file" in part:
            yield dict(part)
        for value in part.values():
            yield from _origins(value)
    elif isinstance(part, list):
        for value in part:
            yield from _origins(value)


def _relocated(part: Any, moved: Mapping[str, str]) -> Any:
    """The record with paths that begin with an old folder pointing to the new one."""
    if isinstance(part, Mapping):
        return {k: _relocated(v, moved) for k, v in part.items()}
    if isinstance(part, list):
        return [_relocated(v, moved) for v in part]
    if isinstance(part, str):
        for old, new in moved.items():
            if part.startswith(old.rstrip("/") + "/"):
                return new.rstrip("/") + part[len(old.rstrip("/")) :]
    return part
