"""Machine code and its memory: compiled modules of scipy by themselves, and code that has done its work.

``import scipy.signal`` brings half of scipy along and takes 50 MB, ``import scipy.fft`` 25 MB; the machine code of a
filter or of a Fourier transform is a file of 100 kB. A command that has to stay small on a long recording loads that
file and nothing else. Such files are not part of scipy's documented interface: whoever loads one tries it out before
use, and has the documented function to fall back on.

A library's code stays in memory after it ran: of a compiler that has compiled its one function, 70 MB. :func:`release`
hands such pages back; they come again from the file when they are called. It also hands back what was allocated and
freed: the C library would keep it for later.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_MADV_DONTNEED = 4
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 20


def module(name: str) -> Any:
    """The compiled module of this full name, or ``None`` if it is not where it is expected.

    Its packages are not imported. If they were before, or are later, all share one copy of the code.

    >>> module("scipy.signal._sosfilt").__name__.endswith("_sosfilt")
    True
    >>> module("scipy.signal._no_such_module") is None
    True
    """
    if name in sys.modules:
        return sys.modules[name]
    package, *folders, last = name.split(".")
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent.joinpath(*folders)
    for suffix in EXTENSION_SUFFIXES:
        path = folder / (last + suffix)
        if path.is_file():
            spec = spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                return None
            try:
                out = module_from_spec(spec)
                spec.loader.exec_module(out)
            except Exception:  # another version: whatever it wants from its package is not there
                return None
            return out
    return None


def release() -> None:
    """Give freed memory, and the code and constants of all loaded libraries, back to the system.

    Linux only; elsewhere nothing happens. Of libraries only areas that hold no page of this process's own are touched,
    so that whatever is needed again is read from the file's cached copy, and nothing can be lost.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        library = ctypes.CDLL(None)
        advise = library.madvise
        if hasattr(library, "malloc_trim"):  # glibc
            library.malloc_trim(ctypes.c_size_t(0))
        areas = list(_clean_areas(Path("/proc/self/smaps").read_text()))
    except (AttributeError, OSError, ValueError, IndexError):  # another C library, a sandbox without /proc
        return
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, length in areas:
        advise(start, length, _MADV_DONTNEED)


def keep_large_apart() -> None:
    """From now on, blocks of a megabyte and more are asked from the system one by one, and go back to it when freed.

    glibc does so at first, but raises the limit to 32 MB once such a block was freed: the large tables of a file that
    is opened for the second time then grow among everything else, which leaves holes as large as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(ctypes.c_int(_M_MMAP_THRESHOLD), ctypes.c_int(_LARGE_BYTES))


def _clean_areas(table: str) -> Iterator[tuple[int, int]]:
    """Start and length of the areas in an ``smaps`` table that map a library unchanged."""
    area: list[str] = []
    for line in table.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            area = words  # "start-end permissions offset device inode path"
        elif words[:2] == ["Anonymous:", "0"] and len(area) > 5 and "w" not in area[1] and ".so" in area[-1]:
            start, end = (int(edge, 16) for edge in area[0].split("-"))
            yield start, end - start
