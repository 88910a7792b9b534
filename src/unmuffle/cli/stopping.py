"""Ctrl-C and SIGTERM, asked for once and never lost.

What a signal handler raises comes up wherever Python happens to be, and a library may take it for an error of its own:
PyAV does while it translates a result of libav, one time in some hundred. A command would then go on as if nobody had
asked it to stop, and whoever asked would end it the hard way. So the handlers leave a note, and whatever shows progress
looks at it (:func:`check`).
"""

from __future__ import annotations

import signal
from typing import NoReturn

_asked: list[int] = []


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. The interpreter remembers a plain ``KeyboardInterrupt`` that ended a piece of code given as text (as
    :mod:`dataclasses` run it while a module is loaded), even if it was caught afterwards, and ``python -m unmuffle``
    would then die by the signal instead of giving its exit code; it does not take a class of one's own for that."""


def install() -> None:
    """From now on both signals end the command on its way out, with what is unfinished removed.

    A Ctrl-C that is ignored, as in the background of a shell, stays so.
    """
    _asked.clear()
    signal.signal(signal.SIGTERM, _handle)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)


def check() -> None:
    """Stop now, if that was asked for and did not happen."""
    if _asked:
        _stop(_asked[-1])


def _handle(number: int, frame: object) -> None:
    _asked.append(number)
    _stop(number)


def _stop(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise Interrupted
    raise SystemExit(128 + number)
