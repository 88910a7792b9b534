r"""The database of a folder of results: ``diskcache``, kept from ever unpickling anything.

A row of ``diskcache`` holds for each key, as always, when it was stored and used, when it expires, its size and the
name of its file; in the column of values stands our header (`store.Header`), a line of text. The content is the file::

    folder/cache.db            SQLite, mode 0600
    folder/ab/cdef....val      a content; names are random

``diskcache`` as it comes unpickles what it finds (CVE-2025-69872, without a fixed release): who may write to its folder
may run code. Here that does not apply. :class:`Files` takes the place of the class which does it, and neither pickles
nor unpickles: a row that it has not written itself is an entry without a header, which counts as damaged and is
removed. Names of files are believed only in their exact form, so that none leads out of the folder.

The journal is SQLite's plain one, and no memory is mapped: a file that somebody truncates must not end this process,
and folders on a network work. Nothing is synchronised to the disk: what a power cut damages is made anew.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from diskcache import Cache, Disk, Timeout
from diskcache.core import DBNAME, DEFAULT_SETTINGS, METADATA, MODE_BINARY, UNKNOWN

from ..errors import OutputError
from .store import Header

TIMEOUT_S: Final = 2.0
"""How long to wait for another process that holds the database; it needs a millisecond."""

FAULTS: Final = (sqlite3.Error, ValueError, TypeError, AttributeError, FileNotFoundError)
"""What a damaged database raises (SQLite, its messages about names that are no text, settings that are none), and one
whose files another process removes."""

NAME: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}\.val")
"""Of a file with a content, relative to the folder."""

# Every setting is given, so that none is taken from what stands in the database.
_SETTINGS: Final = {
    **DEFAULT_SETTINGS,
    "eviction_policy": "least-recently-used",
    "cull_limit": 0,  # only `Index.make_room` makes room
    "sqlite_journal_mode": "delete",
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 0,
}
_MARK: Final = 0x756E6D66  # "unmf", in the head of every database of ours; other programs' caches have 0 there
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
_LOWER: Final = 0.9  # make room down to this share of the limit, so that not every store has to


@dataclass(frozen=True)
class Entry:
    """What stands under a key.

    Attributes:
        name: of the content's file, relative to the folder; ``None``: none of ours.
        header: ``None``: damaged, or not written by us.
    """

    name: str | None
    header: Header | None


class Files(Disk):
    """How keys and values stand in the database: keys as text, values as an :class:`Entry`; nothing is pickled."""

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> tuple[str, str]:
        """A name that nobody has, relative and absolute."""
        token = secrets.token_hex(16)
        name = f"{token[:2]}/{token[2:]}.val"
        return name, os.path.join(self._directory, name)

    def put(self, key: Any) -> tuple[str, bool]:
        """The key, which must be ASCII text."""
        if not (isinstance(key, str) and key.isascii()):
            raise TypeError(f"a key is ASCII text, not {key!r}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """The key as text; empty if it is none of ours."""
        return key if isinstance(key, str) and raw else ""

    def store(self, value: Any, read: bool, key: Any = UNKNOWN) -> tuple[int, int, str, str]:
        """The columns of an entry whose file is in its place already."""
        return value.header.size, MODE_BINARY, value.name, value.header.encoded().decode()

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool) -> Entry:
        """The entry in these columns, whatever stands in them."""
        return Entry(filename, Header.decoded(value.encode())) if _ours(mode, filename, value) else Entry(None, None)

    def remove(self, file_path: Any) -> None:
        """Remove a file of ours. Its folder stays: another process may be about to write there."""
        if isinstance(file_path, str) and NAME.fullmatch(file_path):
            with suppress(OSError):
                os.unlink(os.path.join(self._directory, file_path))


def _ours(mode: Any, filename: Any, value: Any) -> bool:
    """Are these columns as `Files.store` writes them?"""
    known = isinstance(filename, str) and NAME.fullmatch(filename) is not None
    return known and mode == MODE_BINARY and isinstance(value, str)


class Index(Cache):
    """The database of a folder.

    Its connections are closed by whoever used them, so that none is left to a forked process or in an ended thread.
    """

    def __init__(self, folder: Path) -> None:
        try:
            super().__init__(str(folder), timeout=TIMEOUT_S, disk=Files, **_SETTINGS)
        except BaseException:
            self.close()
            raise

    @property
    def _con(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._con
        # All that we write is ASCII. Other bytes are no text of ours; the default stops the query at them.
        connection.text_factory = lambda data: data.decode() if data.isascii() else data
        return connection

    def make_room(self, limit_bytes: int) -> int:
        """Remove the least recently used until the contents are within the limit; never the one used last.

        `Cache.cull` takes ten at once, which may be all that is there, and counts the database in.
        """
        with self._transact() as (sql, cleanup):
            ((left,),) = sql("SELECT TOTAL(size) FROM Cache").fetchall()
            if left <= limit_bytes:
                return 0
            rows = sql("SELECT rowid, filename, CAST(size AS REAL) FROM Cache ORDER BY access_time, rowid").fetchall()
            removed = 0
            for rowid, filename, size in rows[:-1]:
                if left <= _LOWER * limit_bytes:
                    break
                sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
                cleanup(filename)
                removed += 1
                left -= size or 0.0
            return removed

    def weed(self) -> tuple[int, set[str]]:
        """Remove rows that no :class:`Files` has written; how many, and the names of the others' files."""
        with self._transact() as (sql, _):
            rows = sql(
                "SELECT rowid, key, raw, mode, filename, CASE typeof(value) WHEN 'text' THEN '' END FROM Cache"
            ).fetchall()
            bad = {row[0] for row in rows if not (self._disk.get(row[1], row[2]) and _ours(*row[3:]))}
            for rowid in bad:
                sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
            return len(bad), {row[4] for row in rows if row[0] not in bad}

    def held(self) -> tuple[int, int]:
        """Entries, and bytes of their contents."""
        ((count, size),) = self._sql("SELECT COUNT(*), TOTAL(size) FROM Cache").fetchall()
        return count, int(size)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells this file from another that takes its place; ``None``: nothing is there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_index(folder: Path, broken: tuple[int, int] | None = None) -> tuple[Index, bool]:
    """The database of a folder, and whether it takes the place of a damaged one.

    Args:
        folder: must exist.
        broken: the one that is known to be damaged.

    Raises:
        Timeout, sqlite3.Error, OSError: it cannot be used, which says nothing about what is in it.
        OutputError: it is whole, and another program's.
    """
    path = folder / DBNAME
    was = identity(path)
    damaged = was is not None and (was == broken or not _sound(path))
    if damaged and was == identity(path):  # else another process has replaced it meanwhile
        for suffix in ("-journal", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        # In one step: where nothing is for a moment, another process' sqlite makes an empty file, and a library that
        # finds it a database without our mark.
        _place(path, over=True)
    elif not path.exists():
        _place(path)
    return Index(folder), damaged


def _sound(path: Path) -> bool:
    """Is the file a whole database, with the tables that the library makes and no setting that it does not know?

    A setting becomes an attribute of the library's object, and a trigger runs with every change.
    """
    schema = _blank()[1]
    with closing(sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "readonly" in str(error) and os.access(path, os.W_OK):
                return False  # the database says so, not the system
            raise Timeout from None
        except FAULTS:
            return False
        try:
            whole = db.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
            found = db.execute(_SCHEMA).fetchall()
            if whole and found and db.execute("PRAGMA application_id").fetchall() == [(0,)]:
                raise OutputError(f"the cache {str(path.parent)!r} cannot be used: it has another program's database")
            settings = {name for name, _ in db.execute("SELECT key, value FROM Settings")}  # the rows, not their index
            return whole and settings <= {*_SETTINGS, *METADATA} and found == schema
        except FAULTS:
            return False


@lru_cache(maxsize=1)
def _blank() -> tuple[bytes, list[tuple[str, ...]]]:
    """The file of a database without entries, and its schema."""
    with tempfile.TemporaryDirectory(prefix="unmuffle-") as folder:
        Index(Path(folder)).close()
        path = Path(folder) / DBNAME
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA application_id = {_MARK}")
            schema = db.execute(_SCHEMA).fetchall()
        return path.read_bytes(), schema


def _place(path: Path, *, over: bool = False) -> None:
    """A database without entries, there as a whole or not at all: what others see is never half made."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.touch(0o600, exist_ok=False)
        part.write_bytes(_blank()[0])
        if over:
            os.replace(part, path)
            return
        try:
            os.link(part, path)
        except FileExistsError:
            return  # another process was first
        except OSError:  # a file system without links
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
