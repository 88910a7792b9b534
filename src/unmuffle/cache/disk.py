r"""Results as files in a folder, found by a database (``diskcache``, see `index`).

The contents are plain files: an hour of sound is hundreds of megabytes, which the kernel copies without a trip through
this process (on btrfs and xfs without any copying). The database knows the rest. A content is written first, then its
row; two processes that store the same key do no harm, the last wins. What a killed process has left is removed an hour
later, when a store is opened (at most once an hour: with ten thousand entries it takes a tenth of a second).

The least recently used go first when the contents are over the size limit. Entries older than the time to live are
removed when they are met. The content is checked against its digest while it is copied; what does not match is removed
and counts as absent. A database that is damaged is replaced by an empty one, and all contents are removed; one that
another process holds for long is done without.

Only this user can read the folder (mode 0700 when it is made here) and the files in it. Nothing in it is ever unpickled
or run: `index` says how, and why CVE-2025-69872 does not apply.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from diskcache import Timeout
from diskcache.core import DBNAME

from ..errors import OutputError, ParameterError
from .index import FAULTS, NAME, Entry, Index, identity, open_index
from .key import file_digest
from .store import Counts, Header, Store

_T = TypeVar("_T")

_NO_RANGE: Final = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)
_ORPHAN_S: Final = 3600.0  # a content without a row, or a temporary file, that is older belongs to nobody
_PART: Final = re.compile(r"\.(probe\.)?[0-9a-f]+\.part")
# Before there was a database, a header and a content lay beside each other, named by key and digest.
_FORMER: Final = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62}(\.json|~[0-9a-f]{64})|\.[0-9a-f]{16}\.part)")


class DiskStore(Store):
    """Results in a folder.

    Args:
        folder: made if it is not there.
        limit_bytes: of all contents.
        ttl_s: how long an entry is kept after it was made.

    Raises:
        OutputError: the folder cannot be made or written to, or has another program's database in it.
    """

    def __init__(self, folder: str | os.PathLike[str], limit_bytes: int = 4 << 30, ttl_s: float = 30 * 86400.0) -> None:
        if limit_bytes <= 0 or not ttl_s > 0:
            raise ParameterError(f"limit = {limit_bytes!r} bytes, time to live = {ttl_s!r} s; give more than 0")
        self.folder = Path(os.path.expandvars(Path(folder).expanduser()))  # as the database does
        self._limit = limit_bytes
        self._ttl_s = ttl_s
        self._index: Index | None = None
        self.counts = Counts()
        try:
            self._make_folder()
            probe = self.folder / f".probe.{secrets.token_hex(6)}.part"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OutputError(f"the cache {str(self.folder)!r} cannot be used: {error.strerror or error}") from None
        self._tidied = self.folder / ".tidied"
        with suppress(OSError):
            if 0 <= time.time() - self._tidied.stat().st_mtime < _ORPHAN_S:
                return
        self.clean()

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def fetch(self, key: str, destination: Path) -> dict[str, Any] | None:
        """Copy the content to ``destination``, verified."""

        def look(index: Index) -> Entry | None:
            found: Entry | None = index.get(key)
            if found is None:  # or out of date
                self.counts.evicted += index.expire()
            return found

        entry = self._with_index(look)
        if entry is None:
            self.counts.misses += 1
            return None
        header = entry.header
        made = header.facts.get("made_s") if header is not None else None
        if entry.name is None or header is None or header.facts.get("key") != key or not isinstance(made, float):
            self._damaged(key, entry)
            return None
        if not time.time() - made <= self._ttl_s:  # whoever stored it may keep it for longer
            self.counts.evicted += self._drop(key, entry)
            self.counts.misses += 1
            return None
        content = self.folder / entry.name
        try:
            found = content.stat()
            good = stat.S_ISREG(found.st_mode) and found.st_size == header.size
            good = good and _copy_verified(content, destination, header.sha256)
        except FileNotFoundError:
            if content.exists():
                raise  # the destination's folder is not there: not our fault
            good = False  # removed by another process between two looks, or by hand
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            good = False
        if not good:
            self._damaged(key, entry)
            return None
        self.counts.hits += 1
        return header.facts

    def keep(self, key: str, source: Path, facts: dict[str, Any]) -> bool:
        """Copy the file into the folder."""

        def store(index: Index) -> bool:
            name, path = index.disk.filename()
            content = Path(path)
            stored = False
            try:
                content.parent.mkdir(mode=0o700, exist_ok=True)
                content.touch(0o600, exist_ok=False)
                digest = _copy_hashed(source, content)
                header = Header(content.stat().st_size, digest, {**facts, "key": key, "made_s": time.time()})
                stored = index.set(key, Entry(name, header), expire=self._ttl_s)
            finally:
                if not stored:
                    index.disk.remove(name)
            return stored

        try:
            if source.stat().st_size > self._limit:
                self.counts.skipped += 1
                return False
        except OSError:
            self.counts.failed += 1
            return False
        if not self._with_index(store):
            return False
        self.counts.stored += 1
        self._with_index(self._make_room)
        return True

    def clean(self) -> None:
        """Remove what is too old, what belongs to nobody, and the least recently used over the limit."""

        def tidy(index: Index) -> set[str]:
            self._make_room(index)
            bad, names = index.weed()
            self.counts.damaged += bad
            return names

        known = self._with_index(tidy)
        if known is not None:
            self._sweep(known, _ORPHAN_S)
            with suppress(OSError):
                self._tidied.touch(0o600)

    def _make_room(self, index: Index) -> None:
        self.counts.evicted += index.expire()
        self.counts.evicted += index.make_room(self._limit)

    def size(self) -> tuple[int, int]:
        """Entries, and bytes of their contents."""
        return self._with_index(Index.held) or (0, 0)

    def _with_index(self, work: Callable[[Index], _T]) -> _T | None:
        """What ``work`` gives for the database; ``None`` if that cannot be used. A damaged one is first replaced."""
        broken = None
        for _ in range(2):
            index, used = self._index, identity(self.folder / DBNAME)
            try:
                if index is None or used is None:
                    index = self._index = self._opened(broken)
                return work(index)
            except FAULTS as error:
                self._index = None  # it is looked at as a whole then
                if type(error) is sqlite3.DatabaseError:  # no database, or a malformed one; its kinds say less
                    broken = used
            except (Timeout, OSError):
                self._index = None
                break
            finally:
                if index is not None:
                    index.close()
        self.counts.failed += 1
        return None

    def _opened(self, broken: tuple[int, int] | None) -> Index:
        self._make_folder()
        index, damaged = open_index(self.folder, broken)
        if damaged:
            self.counts.damaged += 1
            self._sweep(set(), 0.0)
        return index

    def _sweep(self, known: set[str], age_s: float) -> None:
        """Remove files that nobody knows and that are older than that, and those of the former layout."""
        before = time.time() - age_s
        for found in _scan(self.folder):
            with suppress(OSError):
                if _PART.fullmatch(found.name) and found.stat().st_mtime <= before:
                    os.unlink(found.path)
            for file in _scan(found.path) if found.is_dir(follow_symlinks=False) else ():
                name = f"{found.name}/{file.name}"
                with suppress(OSError):
                    lost = NAME.fullmatch(name) and name not in known and file.stat().st_mtime <= before
                    if lost or _FORMER.fullmatch(name):
                        os.unlink(file.path)

    def _damaged(self, key: str, entry: Entry) -> None:
        self.counts.damaged += self._drop(key, entry)
        self.counts.misses += 1

    def _drop(self, key: str, entry: Entry) -> bool:
        """Remove an entry, unless another process has put a new one in its place."""

        def work(index: Index) -> bool:
            with index.transact():
                now: Entry | None = index.get(key)
                return now is not None and now.name == entry.name and bool(index.delete(key))

        return bool(self._with_index(work))


def _scan(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


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
