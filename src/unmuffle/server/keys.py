"""API keys and what each of them may use.

A key is only ever kept as its SHA-256 digest, and compared with all known digests in constant time, so that the time
an answer takes tells nothing about how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from collections import OrderedDict
from dataclasses import dataclass

from ..errors import ParameterError
from .faults import Fault

VARIABLE = "UNMUFFLE_API_KEYS"
"""Environment variable with keys: ``name:key``, separated by commas."""

SHORTEST = 16
"""Characters that a key must have at least."""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True)
class Keys:
    """Known keys, as pairs of a name and a digest."""

    entries: tuple[tuple[str, bytes], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __repr__(self) -> str:  # names only
        return f"Keys({', '.join(name for name, _ in self.entries)})"

    @classmethod
    def parse(cls, lines: list[str], where: str) -> Keys:
        """Keys from lines ``name:key``; empty lines and ``#`` comments are skipped.

        >>> Keys.parse(["alice:correct-horse-battery"], "here").owner("correct-horse-battery")
        'alice'

        Raises:
            ParameterError: a line is not of that form; its content is not repeated.
        """
        entries: list[tuple[str, bytes]] = []
        for number, raw in enumerate(lines, 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            name, colon, key = line.partition(":")
            name, key = name.strip(), key.strip()
            if not colon or not re.fullmatch(r"[\w.@-]{1,64}", name):
                raise ParameterError(f"{where}, entry {number}: write name:key, the name in letters, digits and .-_@")
            if len(key) < SHORTEST:
                raise ParameterError(f"{where}, entry {number}: a key needs {SHORTEST} characters or more")
            if any(name == known or hmac.compare_digest(_digest(key), d) for known, d in entries):
                raise ParameterError(f"{where}, entry {number}: the name {name!r} or its key is there twice")
            entries.append((name, _digest(key)))
        return cls(tuple(entries))

    @classmethod
    def load(cls, path: str | None = None) -> Keys:
        """Keys from a file, or else from the environment variable ``UNMUFFLE_API_KEYS``."""
        if path is None:
            return cls.parse(os.environ.get(VARIABLE, "").split(","), VARIABLE)
        try:
            with open(path, encoding="utf-8") as file:
                found = cls.parse(file.read().splitlines(), path)
        except (OSError, UnicodeDecodeError) as error:
            raise ParameterError(f"the key file {path!r} cannot be read: {error}") from None
        if not found:
            raise ParameterError(f"the key file {path!r} holds no key; write lines of name:key")
        return found

    def owner(self, key: str | None) -> str | None:
        """The name behind a key, or ``None``; takes the same time for every guess."""
        if key is None:
            return None
        digest = _digest(key)
        found = None
        for name, known in self.entries:
            if hmac.compare_digest(digest, known):
                found = name
        return found


NO_KEYS = Keys()
"""A server without keys: whoever reaches it may use it."""


def key_of(headers: dict[bytes, bytes]) -> str | None:
    """The key that a request carries: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``."""
    scheme, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    other = headers.get(b"x-api-key", b"").decode("latin-1").strip()
    return other or None


class Limits:
    """What each owner uses now, and may: live streams, and requests in a minute."""

    def __init__(self, streams: int, requests_per_min: int) -> None:
        self._streams_max = streams
        self._requests_max = requests_per_min
        self._streams: dict[str, int] = {}
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def request(self, owner: str, now: float | None = None) -> None:
        """Count a request; a bucket of one minute's worth, refilled steadily.

        Raises:
            Fault: 429.
        """
        if not self._requests_max:
            return
        now = time.monotonic() if now is None else now
        tokens, since = self._tokens.pop(owner, (float(self._requests_max), now))
        rate = self._requests_max / 60.0
        tokens = min(float(self._requests_max), tokens + (now - since) * rate)
        refused = tokens < 1.0
        self._tokens[owner] = (tokens if refused else tokens - 1.0, now)
        while len(self._tokens) > 10_000:  # addresses come and go
            self._tokens.popitem(last=False)
        if refused:
            wait = (1.0 - tokens) / rate
            raise Fault(429, "RateLimited", f"more than {self._requests_max} requests a minute; wait", wait)

    def open_stream(self, owner: str) -> None:
        """Count a stream until :meth:`close_stream`.

        Raises:
            Fault: 429.
        """
        if self._streams_max and self._streams.get(owner, 0) >= self._streams_max:
            raise Fault(429, "TooManyStreams", f"{self._streams_max} streams are open for this key; close one first", 1)
        self._streams[owner] = self._streams.get(owner, 0) + 1

    def close_stream(self, owner: str) -> None:
        """A stream has ended."""
        left = self._streams.get(owner, 0) - 1
        if left > 0:
            self._streams[owner] = left
        else:
            self._streams.pop(owner, None)
