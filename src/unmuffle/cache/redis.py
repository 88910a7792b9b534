"""Results in Redis, for services on several machines (extra ``redis``).

An entry is one string, header and content, under ``unmuffle:<key>``, written by one command with its time to live: it
is there whole or not at all. Room is made by Redis itself: give it ``maxmemory`` and ``maxmemory-policy allkeys-lru``
(or ``volatile-lru``, when it holds other things). Results over ``largest_bytes`` are not kept: Redis holds everything
in memory.

When Redis does not answer, the service goes on without: a short time-out, then no attempt for ``pause_s``.
"""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Any, Final

from ..errors import MissingExtraError, ParameterError
from .store import Counts, Header, Store

_log = logging.getLogger("unmuffle.cache")

PREFIX: Final = "unmuffle:"
_LONGEST_HEADER = 64 << 10


class RedisStore(Store):
    """Results in Redis.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; a password and a database may be in it.
        largest_bytes: of one result.
        ttl_s: how long an entry is kept.
        timeout_s: for each answer of Redis.
        pause_s: without an attempt, after one that failed.

    Raises:
        MissingExtraError: the package is not installed.
        ParameterError: the address has no meaning. That Redis cannot be reached is no error.
    """

    def __init__(
        self,
        url: str,
        largest_bytes: int = 64 << 20,
        ttl_s: float = 30 * 86400.0,
        *,
        timeout_s: float = 2.0,
        pause_s: float = 15.0,
    ) -> None:
        if largest_bytes <= 0 or not ttl_s >= 1:
            raise ParameterError(f"limit = {largest_bytes!r} bytes, time to live = {ttl_s!r} s; give 1 or more")
        try:
            import redis
        except ImportError:
            raise MissingExtraError("a cache in Redis", "redis") from None
        try:
            self._client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        except ValueError as error:
            raise ParameterError(f"the cache {_without_password(url)!r} is no address of Redis: {error}") from None
        self._faults = (redis.RedisError, OSError)
        self._largest = largest_bytes
        self._ttl_s = ttl_s
        self._pause_s = pause_s
        self._silent_until = 0.0
        self.counts = Counts()

    def fetch(self, key: str, destination: Path) -> dict[str, Any] | None:
        """Write the content to ``destination``, verified."""
        data = self._ask("GET", PREFIX + key)
        if not isinstance(data, bytes):
            self.counts.misses += 1
            return None
        line, _, content = data.partition(b"\n")
        header = Header.decoded(line) if len(line) <= _LONGEST_HEADER else None
        good = (
            header is not None
            and header.facts.get("key") == key
            and header.size == len(content)
            and hashlib.sha256(content).hexdigest() == header.sha256
        )
        if header is None or not good:
            self.counts.damaged += 1
            self.counts.misses += 1
            self._ask("DEL", PREFIX + key)
            return None
        destination.write_bytes(content)
        self.counts.hits += 1
        return header.facts

    def keep(self, key: str, source: Path, facts: dict[str, Any]) -> bool:
        """Store the file."""
        try:
            if source.stat().st_size > self._largest:
                self.counts.skipped += 1
                return False
            content = source.read_bytes()
        except OSError:
            self.counts.failed += 1
            return False
        sha256 = hashlib.sha256(content).hexdigest()
        header = Header(len(content), sha256, {**facts, "key": key, "made_s": time.time()})
        ttl_ms = int(1000 * self._ttl_s)
        if self._ask("SET", PREFIX + key, header.encoded() + content, "PX", ttl_ms) is None:
            return False
        self.counts.stored += 1
        return True

    def _ask(self, *command: Any) -> Any:
        """One command; ``None`` also when Redis does not answer."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            return self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except self._faults as error:
            self.counts.failed += 1
            self._silent_until = time.monotonic() + self._pause_s
            _log.warning("Redis does not answer (%s); on without it for %g s", error, self._pause_s)
            return None


def _without_password(url: str) -> str:
    head, at, rest = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{rest}" if at else url
