"""Foreign exceptions in, our errors out.

libav, libsndfile and the operating system each have their own way of saying no. Nothing of that leaves this
package: every call into them runs inside :func:`reading` or :func:`writing`, which translate what they raise
into the :class:`~unmuffle.errors.MediaError` family with one line that names the file and the way out.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import av
import soundfile

from unmuffle.errors import MediaError, MediaNotFoundError, NotAudioError, OutputError, UnmuffleError

LIBAV_ERROR: type[BaseException] = av.FFmpegError

# What broken input makes libav, libsndfile, and numpy's and Python's own parsing of a header raise.
_BROKEN = (
    LIBAV_ERROR, soundfile.SoundFileError, ValueError, IndexError, OverflowError, MemoryError, EOFError,
    RuntimeError, AssertionError, TypeError, AttributeError, NotImplementedError,
)  # fmt: skip


def _line(error: BaseException) -> str:
    """The foreign message, on one line and without our own path twice."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Translate what goes wrong while ``path`` is read."""
    try:
        yield
    except UnmuffleError:
        raise
    except FileNotFoundError as error:
        raise MediaNotFoundError(f"{path!r} does not exist: check the spelling and the folder") from error
    except IsADirectoryError as error:
        raise NotAudioError(f"{path!r} is a folder: name a file inside it") from error
    except PermissionError as error:
        raise MediaError(f"{path!r} may not be read by this user: change its permissions") from error
    except _BROKEN as error:
        raise NotAudioError(
            f"{path!r} holds no sound that can be decoded ({_line(error)}): check that it is an intact media file"
        ) from error
    except OSError as error:
        raise MediaError(f"{path!r} could not be read ({_line(error)}): check the disk or the device") from error


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Translate what goes wrong while ``path`` is written."""
    try:
        yield
    except UnmuffleError:
        raise
    except (OSError, *_BROKEN) as error:
        raise OutputError(f"{path!r} could not be written ({_line(error)}): {_way_out(error)}") from error


def _way_out(error: BaseException) -> str:
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space or write to another disk"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "write to a folder that you may write to"
    if code in (errno.ENOENT, errno.ENOTDIR):
        return "create the folder first"
    if code == errno.EISDIR:
        return "name a file, not a folder"
    if code == errno.EPIPE:
        return "the program that reads the pipe has stopped"
    if code == errno.ENAMETOOLONG:
        return "choose a shorter name"
    return "try another name, folder or format"


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def for_libav(path: str, *, write: bool = False) -> Any:
    """What libav opens as that very file, even when it is called ``http:...``, ``pipe:`` or is no valid text."""
    return "file:" + path if _is_text(path) else Descriptor(path, write=write)


def for_sndfile(path: str) -> str | bytes:
    """What libsndfile opens as that very file."""
    return path if _is_text(path) else os.fsencode(path)


class Descriptor:
    """A file whose name is no valid text, as an object with the methods that PyAV looks for."""

    def __init__(self, path: str, *, write: bool) -> None:
        self._fd = os.open(path, os.O_RDWR if write else os.O_RDONLY)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        return os.read(self._fd, size)

    def write(self, data: bytes) -> int:
        """Write, and say how much."""
        return os.write(self._fd, data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go there."""
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        """The place."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._fd)
