"""Folders for uploads and results. Their names are ours, only this user can read them, and none outlives its use.

A server that was killed cannot tidy up. Each server holds a lock on its folder as long as it lives, so the next one
on the same machine knows which folders are nobody's, and removes them.
"""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "unmuffle-serve-"
_LOCK = "lock"


class Spool:
    """The server's own folder; one subfolder for each upload."""

    def __init__(self, parent: str | None = None) -> None:
        self._parent = parent or tempfile.gettempdir()
        self._remove_stale()
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))  # mode 0700
        self._lock = open(self.root / _LOCK, "w")
        _try_lock(self._lock.fileno())

    def folder(self) -> Path:
        """A new, empty folder."""
        return Path(tempfile.mkdtemp(prefix="f-", dir=self.root))

    def remove(self, folder: Path) -> None:
        """Remove a folder with all that is in it; harmless when repeated."""
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock.close()

    def _remove_stale(self) -> None:
        for found in glob.glob(os.path.join(glob.escape(self._parent), PREFIX + "*")):
            try:
                if os.path.islink(found) or os.lstat(found).st_uid != os.getuid():
                    continue
                descriptor = os.open(os.path.join(found, _LOCK), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            except (OSError, AttributeError):
                continue  # being made at this moment, or not ours
            try:
                if _try_lock(descriptor):
                    shutil.rmtree(found, ignore_errors=True)
            finally:
                os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: what was left behind stays until the system tidies up
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
