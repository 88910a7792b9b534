r"""Results as files in a folder.

::

    folder/ab/abcdef...~e3b0c4...     the content; the name holds the key and the content's own digest
    folder/ab/abcdef....json          the header, which points to the content; written last

Plain files instead of a database: an hour of sound is hundreds of megabytes, which the kernel copies without a trip
through this process (on btrfs and xfs without any copying), and nothing in the folder is ever executed or unpickled.
Both files are written under a temporary name and renamed. Two processes that store the same key do no harm: equal
contents have equal names; of different ones the last header wins, and the other content is removed in a later clean-up.

A hit sets the header's time of modification: the least recently used go first when the folder is over its size limit.
Entries older than the time to live are removed when they are met. The content is checked against its digest while it is
copied; what does not match is removed and counts as absent.

Only this user can read the folder (mode 0700 when it is made here).

Not ``diskcache``, the usual library for this: it unpickles what it finds in its folder (CVE-2025-69872), its last
release (5.6.3, 2023) has no remedy and no successor, and whoever installs us would find it in every security scan.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..errors import OutputError, ParameterError
from .key import file_digest
from .store import Counts, Header, Store

_NO_RANGE: Final = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)
_ORPHAN_S: Final = 3600.0  # a content without a header, or a temporary file, that is older belongs to nobody
_LOWER: Final = 0.9  # clean up to this share of the limit, so that not every store has to


class DiskStore(Store):
    """Results in a folder.

    Args:
        folder: made if it is not there.
        limit_bytes: of all contents.
        ttl_s: how long an entry is kept after it was made.

    Raises:
        OutputError: the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str], limit_bytes: int = 4 << 30, ttl_s: float = 30 * 86400.0) -> None:
        if limit_bytes <= 0 or not ttl_s > 0:
            raise ParameterError(f"limit = {limit_bytes!r} bytes, time to live = {ttl_s!r} s; give more than 0")
        self.folder = Path(folder).expanduser()
        self._limit = limit_bytes
        self._ttl_s = ttl_s
        self.counts = Counts()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.folder / f".probe.{secrets.token_hex(6)}.part"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OutputError(f"the cache {str(self.folder)!r} cannot be used: {error.strerror or error}") from None

    def _header(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _content(self, key: str, sha256: str) -> Path:
        return self.folder / key[:2] / f"{key}~{sha256}"

    def fetch(self, key: str, destination: Path) -> dict[str, Any] | None:
        """Copy the content to ``destination``, verified."""
        path = self._header(key)
        try:
            made = path.stat().st_mtime_ns
            header = Header.decoded(path.read_bytes())
        except OSError:
            self.counts.misses += 1
            return None
        if header is None or header.facts.get("key") != key:
            self._damaged(path)
            return None
        if time.time() - float(header.facts.get("made_s", 0.0)) > self._ttl_s:
            self._remove(path, self._content(key, header.sha256))
            self.counts.evicted += 1
            self.counts.misses += 1
            return None
        content = self._content(key, header.sha256)
        try:
            good = content.stat().st_size == header.size and _copy_verified(content, destination, header.sha256)
        except FileNotFoundError:
            if not content.exists():  # removed by another process between two looks, or by hand
                self._damaged(path)
                return None
            raise  # the destination's folder is not there: not our fault
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            good = False
        if not good:
            self._damaged(path, content)
            return None
        with suppress(OSError):
            os.utime(path, ns=(time.time_ns(), max(made + 1, time.time_ns())))
        self.counts.hits += 1
        return header.facts

    def keep(self, key: str, source: Path, facts: dict[str, Any]) -> bool:
        """Copy the file into the folder."""
        temporary: Path | None = None
        try:
            size = source.stat().st_size
            if size > self._limit:
                self.counts.skipped += 1
                return False
            path = self._header(key)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            temporary = path.parent / f".{secrets.token_hex(8)}.part"
            digest = _copy_hashed(source, temporary)
            header = Header(temporary.stat().st_size, digest, {**facts, "key": key, "made_s": time.time()})
            os.replace(temporary, self._content(key, digest))
            temporary.write_bytes(header.encoded())
            os.replace(temporary, path)
        except OSError:
            self.counts.failed += 1
            return False
        finally:
            if temporary is not None:
                with suppress(OSError):
                    temporary.unlink()
        self.counts.stored += 1
        self.clean()
        return True

    def clean(self) -> None:
        """Remove what is too old, what belongs to nobody, and the least recently used over the limit."""
        now = time.time()
        entries: list[tuple[float, int, Path, Path]] = []
        contents: dict[str, tuple[Path, os.stat_result]] = {}
        headers: list[tuple[Path, float]] = []
        for shard in self._scan(self.folder):
            for found in self._scan(shard.path) if shard.is_dir() else ():
                with suppress(OSError):
                    if found.name.endswith(".json"):
                        headers.append((Path(found.path), found.stat().st_mtime))
                    elif "~" in found.name:
                        contents[found.name] = (Path(found.path), found.stat())
                    elif now - found.stat().st_mtime > _ORPHAN_S:
                        os.unlink(found.path)
        for path, used in headers:
            try:
                header = Header.decoded(path.read_bytes())
            except OSError:
                continue
            held = None if header is None else contents.pop(f"{path.stem}~{header.sha256}", None)
            if header is None or held is None:
                self._remove(path)
            elif now - float(header.facts.get("made_s", 0.0)) > self._ttl_s:
                self._remove(path, held[0])
                self.counts.evicted += 1
            else:
                entries.append((used, held[1].st_size, path, held[0]))
        for orphan, stat in contents.values():  # another process may be about to write its header
            if now - stat.st_mtime > _ORPHAN_S:
                self._remove(orphan)
        total = sum(size for _, size, *_ in entries)
        if total <= self._limit:
            return
        for _, size, path, content in sorted(entries):
            self._remove(path, content)
            self.counts.evicted += 1
            total -= size
            if total <= _LOWER * self._limit:
                return

    def size(self) -> tuple[int, int]:
        """Entries, and bytes of their contents."""
        sizes = [
            found.stat().st_size
            for shard in self._scan(self.folder)
            if shard.is_dir()
            for found in self._scan(shard.path)
            if "~" in found.name
        ]
        return len(sizes), sum(sizes)

    @staticmethod
    def _scan(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as found:
                return list(found)
        except OSError:
            return []

    def _damaged(self, *paths: Path) -> None:
        self.counts.damaged += 1
        self.counts.misses += 1
        self._remove(*paths)

    @staticmethod
    def _remove(*paths: Path) -> None:
        for path in paths:
            with suppress(OSError):
                path.unlink()


def _copy_verified(source: Path, destination: Path, sha256: str) -> bool:
    """Copy, and tell whether what was copied has that digest. Both at once: each takes as long as the other."""
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(file_digest, source)
        _copy(source, destination)
        return digest.result() == sha256 and destination.stat().st_size == source.stat().st_size


def _copy_hashed(source: Path, destination: Path) -> str:
    """Copy, and return the digest of the copy."""
    _copy(source, destination)
    return file_digest(destination)


def _copy(source: Path, destination: Path) -> None:
    """The kernel copies: without a trip through this process, and on btrfs and xfs by sharing the blocks."""
    if hasattr(os, "copy_file_range"):
        with open(source, "rb", buffering=0) as old, open(destination, "wb", buffering=0) as new:
            left = os.fstat(old.fileno()).st_size
            try:
                while left > 0 and (count := os.copy_file_range(old.fileno(), new.fileno(), left)):
                    left -= count
            except OSError as error:
                if error.errno not in _NO_RANGE:
                    raise
            if left <= 0:
                return
    shutil.copyfile(source, destination)
