"""What a place for results must do.

An entry is a header (a line of JSON: size and digest of the content, and what is known about the result) and the
content, a media file. A store may lose entries at any time; it must never give back one that is damaged, and never
raise because it is out of reach.
"""

from __future__ import annotations

import abc
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Counts:
    """What happened since the store was opened, in this process.

    Attributes:
        hits, misses: entries that were there, and that were not.
        stored: entries written.
        damaged: entries that were not what they said, and were removed.
        failed: times that the store could not be reached or written to.
        skipped: results too large to keep.
        evicted: entries removed to make room, or because they were old.
    """

    hits: int = 0
    misses: int = 0
    stored: int = 0
    damaged: int = 0
    failed: int = 0
    skipped: int = 0
    evicted: int = 0


@dataclass(frozen=True)
class Header:
    """What an entry says of itself.

    Attributes:
        size: bytes of content.
        sha256: of the content.
        facts: about the result.
    """

    size: int
    sha256: str
    facts: dict[str, Any] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """One line."""
        table = {"size": self.size, "sha256": self.sha256, "facts": self.facts}
        return json.dumps(table, ensure_ascii=True, allow_nan=False).encode() + b"\n"

    @classmethod
    def decoded(cls, line: bytes) -> Header | None:
        """``None`` if it is none."""
        try:
            table = json.loads(line)
            made = cls(table["size"], table["sha256"], table["facts"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        good = isinstance(made.size, int) and isinstance(made.sha256, str) and isinstance(made.facts, dict)
        return made if good and len(made.sha256) == hashlib.sha256().digest_size * 2 else None


class Store(abc.ABC):
    """A place for results; used by one thread at a time, by any number of processes."""

    counts: Counts

    @abc.abstractmethod
    def fetch(self, key: str, destination: Path) -> dict[str, Any] | None:
        """Write the content of an entry to a file (which may exist), and return its facts; ``None``: not there."""

    @abc.abstractmethod
    def keep(self, key: str, source: Path, facts: dict[str, Any]) -> bool:
        """Store a file under a key; false if that was not possible."""
