"""Machine code: made once on a machine, in a process of its own, and loaded from then on.

The Kalman filters are compiled, and the frame of a network for streams of short blocks. Compiling the filter of a
method takes numba some seconds and 45 MB more than loading it does, and what the compiler took stays with the process.
So :func:`warm` never lets the process of the user compile, if that can be avoided: it tries to load, and if numba is
about to compile one of our functions instead, stops it there, has another interpreter compile them all into numba's
folder on disk, and loads. With the code there, nothing is started, and finding that out costs nothing: it is loading
itself that tells.

Wherever another interpreter cannot do it (there is no folder that can be written, this is no plain Python, a process
cannot be started or is killed), this one compiles, as numba would by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import MissingExtraError
from ..signal.compiled import release
from . import params
from .base import Enhancer

try:
    import numba
    from numba.core import caching, event
except ImportError:
    raise MissingExtraError("a Kalman method", "kalman") from None  # a network does without
release()  # of what only the import needed

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_S = 300.0
"""How long another interpreter may take; it needs 5 s on a processor of today."""

_OURS: list[Any] = []
"""All that :func:`compiled` has made."""

_ONE = threading.Lock()
"""Held while another interpreter compiles, so that threads do not start one each."""

_CHILD = """
import sys
text, sys.path[:] = sys.argv[1], sys.argv[2:]
from unmuffle.enhancers.compiling import fill
fill(text)
"""
"""What it is told. Where Python looks for modules is taken over before the first of them is imported: by itself it
would look into the present folder first, where files of the user are."""


class _Cache(caching.FunctionCache):  # type: ignore[misc]  # numba has no types
    """Where numba keeps the code of a function; with broken files or a full disk, code is made again, and no error."""

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            return super().load_overload(signature, context)
        except Exception:  # a file that was cut off or written over makes pickle raise anything
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        with suppress(OSError):
            super().save_overload(signature, result)


class _Uncompiled(Exception):
    """The code of a function was not there."""


class _Watch(event.Listener):  # type: ignore[misc]  # numba has no types
    """Looks on while this thread compiles our functions: keeps the memory low, or does not let it happen."""

    def __init__(self, refuse: bool) -> None:
        self._refuse = refuse
        self._thread = threading.get_ident()

    def _concerned(self, what: Any) -> Any:
        """The function that is compiled, if it is one of ours, and by this thread."""
        function = what.data["dispatcher"]
        ours = threading.get_ident() == self._thread and any(function is one for one in _OURS)
        return function if ours else None

    def on_start(self, what: Any) -> None:
        function = self._concerned(what)
        if self._refuse and function is not None and function.stats.cache_path is not None:
            raise _Uncompiled

    def on_end(self, what: Any) -> None:
        if self._concerned(what) is not None:
            release()  # 12 MB less at the peak


_HERE = threading.local()

_BLOCK = 160
"""Samples of a short block at 16 kHz: one 10 ms frame."""


def running() -> bool:
    """Is this thread trying out, for :func:`warm`, whether the code of a method is there?"""
    return getattr(_HERE, "running", False)


def available() -> bool:
    """Does numba compile, or was it told not to (``NUMBA_DISABLE_JIT``)?"""
    return not numba.config.DISABLE_JIT


def compiled(function: F, *, reorder: bool = False) -> F:
    """Compile with numba at first use, and keep the machine code on disk where that is possible.

    Args:
        function: of arrays and numbers.
        reorder: sums may be added in another order and products joined with them, as vectors of a processor do; not
            for sums that must be the same on every machine.
    """
    # Said in both cases: what is left open, a function that is compiled for another one takes over from that one.
    fast = {"contract", "reassoc", "nsz", "arcp"} if reorder else False
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fast}
    try:
        out: Any = numba.njit(function, cache=True, **options)
        cache = _Cache(function)
    except RuntimeError:  # no folder that can be written: compile anew in each process
        out, cache = numba.njit(function, **options), None
    if numba.extending.is_jitted(out):  # it is not, where NUMBA_DISABLE_JIT is set
        out._cache = cache or out._cache
        _OURS.append(out)
    made: F = out
    return made


def warm(method: Enhancer) -> None:
    """Load the machine code of a method, after having it made if need be, and give back the memory that this took.

    The first call on a machine takes some seconds. Any number of threads and processes may call this at once.
    """
    if not _loads(method):
        with _ONE:
            if not _loads(method):  # no other thread has had it made meanwhile
                _elsewhere(method)
        _run(method, refuse=False)
    release()


def fill(text: str) -> None:
    """Compile what a method needs into numba's folder on disk: the whole work of a process that :func:`warm` starts.

    Args:
        text: the method as TOML.
    """
    from .registry import from_toml

    method = from_toml(text)
    with _alone():
        _run(method, refuse=False)


def _run(method: Enhancer, *, refuse: bool) -> None:
    """Half a second of silence and a few short blocks of it: enough for every function to be called."""
    before, _HERE.running = running(), True
    try:
        with event.install_listener("numba:compile", _Watch(refuse)):
            stream = method.stream(16_000, block_size=_BLOCK)
            stream.process(np.zeros((1, 8000), np.float32))
            for _ in range(3):
                stream.process(np.zeros((1, _BLOCK), np.float32))
            stream.flush()
    finally:
        _HERE.running = before


def _loads(method: Enhancer) -> bool:
    """Load what was compiled before; whether that is all."""
    try:
        _run(method, refuse=True)
    except _Uncompiled:
        return False
    return True


def _elsewhere(method: Enhancer) -> None:
    """Have another interpreter compile. Whether it could do so shows when the code is loaded."""
    if not _is_python():
        return
    release()
    table = {key: value for key, value in method.to_dict().items() if key != "profile"}  # numbers: the code is the same
    flags = ["-I"] if sys.flags.isolated else []
    places = [place for place in sys.path if isinstance(place, str)]
    environment = dict(os.environ)
    if numba.config.CACHE_DIR:  # can be set from Python, too
        environment["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        subprocess.run(
            [sys.executable, *flags, "-c", _CHILD, params.to_toml(table), *places],
            stdin=subprocess.DEVNULL,  # both may be pipes of sound
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=TIMEOUT_S,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows, from a program without a console
        )


def _is_python() -> bool:
    """Whether ``sys.executable`` is an interpreter, not a frozen program or one that Python is embedded in."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return False
    return Path(sys.executable).stem.lower().startswith(("python", "pypy"))


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for other processes that compile into the same folder; what they made need not be made again.

    numba's files are whole at any moment, but the list of them is read, added to and written: two at once can lose
    an entry. Where there are no such locks, that is all there is to lose.
    """
    folder = next((path for path in (one.stats.cache_path for one in _OURS) if path is not None), None)
    if folder is None or sys.platform == "win32":
        yield
        return
    import fcntl

    with ExitStack() as stack:
        with suppress(OSError):
            file = stack.enter_context(open(os.path.join(folder, "unmuffle.lock"), "ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
