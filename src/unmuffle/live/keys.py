"""Single keys from the terminal, and the terminal as it was afterwards, whatever happens."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from types import TracebackType
from typing import Any

_NAMES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[C": "right", b"\x1bOC": "right", b"\x1b[D": "left", b"\x1bOD": "left",
    b"\t": "tab", b"\r": "enter", b"\n": "enter", b"\x1b": "escape",
}  # fmt: skip


class Keys:
    """A context in which keys come one by one and are not shown.

    Ctrl-C still interrupts. Ctrl-Z does not stop the program: sound that stands still in the
    background would only hold the device.
    """

    def __init__(self) -> None:
        self._queue: deque[str] = deque()
        self._saved: list[Any] | None = None

    def __enter__(self) -> Keys:
        if sys.platform != "win32":
            import termios
            import tty

            self._fd = sys.stdin.fileno()
            self._saved = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
            now = termios.tcgetattr(self._fd)
            now[6][termios.VSUSP] = os.fpathconf(self._fd, "PC_VDISABLE").to_bytes(1, "little")
            termios.tcsetattr(self._fd, termios.TCSADRAIN, now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.platform != "win32" and self._saved is not None:
            import termios

            try:
                # FLUSH: keys that were typed too late belong to nobody, least of all to the shell.
                termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._saved)
            except termios.error:  # the terminal itself has gone
                return

    def read(self, timeout_s: float) -> str | None:
        """The next key within this time: a character, or ``up``, ``down``, ``tab``, ``escape`` ...

        Raises:
            EOFError: the terminal has gone.
        """
        if not self._queue:
            self._queue.extend(self._waited(timeout_s))
        return self._queue.popleft() if self._queue else None

    def _waited(self, timeout_s: float) -> list[str]:
        if sys.platform == "win32":
            import msvcrt

            until = time.monotonic() + timeout_s
            while not msvcrt.kbhit():
                if time.monotonic() >= until:
                    return []
                time.sleep(0.02)
            first = msvcrt.getwch()
            if first in "\x00\xe0":
                return [{"H": "up", "P": "down", "K": "left", "M": "right"}.get(msvcrt.getwch(), "other")]
            return split(first.encode())
        import select

        ready, _, _ = select.select([self._fd], [], [], timeout_s)
        if not ready:
            return []
        try:
            data = os.read(self._fd, 64)
        except OSError:
            data = b""
        if not data:
            raise EOFError("the terminal has gone")
        if data.endswith((b"\x1b", b"\x1b[", b"\x1bO")) and select.select([self._fd], [], [], 0.03)[0]:
            data += os.read(self._fd, 64)  # the rest of an arrow, cut in two by a slow line
        return split(data)


def split(data: bytes) -> list[str]:
    """Bytes of a terminal into keys; sequences without a name are dropped.

    >>> split(b"b\\x1b[Aq")
    ['b', 'up', 'q']
    """
    keys = []
    while data:
        length = 1
        if data[:1] == b"\x1b" and data[1:2] in (b"[", b"O"):
            length = 2
            while length < len(data) and not 0x40 <= data[length] <= 0x7E:
                length += 1
            length = min(length + 1, len(data))
        part, data = data[:length], data[length:]
        if part in _NAMES:
            keys.append(_NAMES[part])
        elif length == 1 and part.isascii() and part.decode("ascii").isprintable():
            keys.append(part.decode("ascii"))
    return keys
