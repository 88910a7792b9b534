"""Measuring windows in a process of its own, so that a stream never waits for the interpreter.

A window is 60 ms of numpy and more (:func:`unmuffle.quality.figures.measure`). In a thread of the process that runs
the streams, parts of that hold the interpreter, and every frame of that time is late. :class:`Aside` hands windows to
a child: it is started with the first of them, at low priority, and again when it has died. Where no child can be
started (a frozen program, no processes left), the measuring is done where it was called.

The pipes carry pickles of our own making, from a process of our own and to it.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Final

from .figures import Figures, measure

_log = logging.getLogger("unmuffle.quality")

TIMEOUT_S: Final = 60.0
"""A window that takes longer is given up, and the child with it."""


def child_environment() -> dict[str, str]:
    """The environment of a process of ours: one thread, this very code, and none of the server's secrets."""
    environment = {k: v for k, v in os.environ.items() if k != "UNMUFFLE_API_KEYS"}
    environment.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    # The folder above the package comes first.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return environment


class Aside:
    """Calls :func:`~unmuffle.quality.figures.measure` in a child process; for one thread at a time.

    Attributes:
        used_s: processor time that the last window took, wherever it was measured.
    """

    def __init__(self) -> None:
        self.used_s = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._here = False  # no child can be had

    def measure(self, *args: Any, **values: Any) -> Figures:
        """As :func:`~unmuffle.quality.figures.measure`; what that raises is raised here.

        Raises:
            RuntimeError: the child died with this window, or took too long; the next one gets another child.
        """
        child = None if self._here else self._running()
        if child is None:
            begun = time.thread_time()
            try:
                return measure(*args, **values)
            finally:
                self.used_s = time.thread_time() - begun
        assert child.stdin is not None
        assert child.stdout is not None
        watch = threading.Timer(TIMEOUT_S, child.kill)
        watch.daemon = True
        watch.start()
        try:
            pickle.dump((args, values), child.stdin, pickle.HIGHEST_PROTOCOL)
            child.stdin.flush()
            answer, self.used_s = pickle.load(child.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            code = self._end()
            raise RuntimeError(
                f"the process that measures ended (exit code {code}); the next window gets one"
            ) from error
        finally:
            watch.cancel()
        if isinstance(answer, Exception):
            raise answer
        found: Figures = answer
        return found

    def close(self) -> None:
        """End the child."""
        self._end()

    def _running(self) -> subprocess.Popen[bytes] | None:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._end()
        if getattr(sys, "frozen", False) or not sys.executable:
            self._here = True
            return None
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "unmuffle.quality.aside"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for the parent
            )  # fmt: skip
        except OSError as error:
            _log.warning("no process to measure in (%s); measuring goes on in this one", error)
            self._here = True
        return self._child

    def _end(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        # Without its input it ends by itself, unless it hangs.
        with suppress(subprocess.TimeoutExpired):
            return child.wait(5.0)
        child.kill()
        return child.wait()


def main() -> int:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not between our answers
    with suppress(OSError, AttributeError):
        os.nice(10)
    with suppress(OSError, AttributeError):  # Linux: only when nobody else wants the processor, and off it at once
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        try:
            args, values = pickle.load(sys.stdin.buffer)
        except EOFError:
            return 0
        begun = time.process_time()
        answer: Figures | Exception
        try:
            answer = measure(*args, **values)
        except Exception as error:  # raised where the window came from
            answer = error
        used = time.process_time() - begun
        try:
            pickle.dump((answer, used), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except OSError:  # nobody waits for it any more
            return 0


if __name__ == "__main__":
    sys.exit(main())
