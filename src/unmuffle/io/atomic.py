"""A file that appears whole, or not at all.

The bytes go to a temporary name in the same folder (so that the final rename stays on one file system and is
atomic), and only :meth:`AtomicFile.commit` gives it its real name. Until then whatever was there stays as it was;
on any exception, Ctrl-C included, the temporary file is removed (only a process that is killed outright leaves it:
``.NAME.<12 digits>.part.EXT``, safe to delete). Every temporary name is unique: two runs that
write the same file do not disturb each other, the last to finish wins, with a whole file. There is no fsync: this
guards against a stopped program, not against a power cut.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import weakref
from contextlib import suppress
from pathlib import Path

from unmuffle.errors import OutputError
from unmuffle.io.guard import writing


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def is_special(path: str | os.PathLike[str]) -> bool:
    """Is something there that must be written into, never replaced (a device, a named pipe)?"""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class AtomicFile:
    """A claim on ``destination``: write to :attr:`temporary`, then :meth:`commit` or :meth:`discard`."""

    def __init__(self, destination: str | os.PathLike[str]) -> None:
        self.name = os.fspath(destination)
        with writing(self.name):
            # Through a symbolic link, so that the link stays and its target is replaced.
            real = Path(os.path.realpath(self.name))
            if real.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder", self.name)
            if is_special(real):
                raise OutputError(f"{self.name!r} is a device or a pipe: write wav or raw samples to it through '-'")
            self.destination = real
            # Room for the decoration within the usual 255 bytes of a file name.
            stem = os.fsdecode(os.fsencode(real.stem)[:180])
            suffix = os.fsdecode(os.fsencode(real.suffix)[:20])
            self.temporary = real.with_name(f".{stem}.{secrets.token_hex(6)}.part{suffix}")
            # Also when the owner forgets: at garbage collection or at the end of the program. Before the file is there,
            # as a Ctrl-C may come in between.
            self._cleanup = weakref.finalize(self, _remove, str(self.temporary))
            try:
                # O_EXCL: a name that is taken is an error, never somebody else's file. 0o666: the umask decides.
                os.close(os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            except OSError:
                self._cleanup.detach()  # nothing of ours is there
                raise

    def commit(self) -> None:
        """Give the whole file its name; an existing file keeps its permissions."""
        with writing(self.name):
            with suppress(FileNotFoundError, PermissionError):
                os.chmod(self.temporary, stat.S_IMODE(os.stat(self.destination).st_mode))
            os.replace(self.temporary, self.destination)
        self._cleanup.detach()

    def discard(self) -> None:
        """Remove the temporary file; the destination stays as it was. Harmless after :meth:`commit`."""
        self._cleanup()
