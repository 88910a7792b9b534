"""Closing a connection so that an early answer arrives.

A socket that is closed while something its client has sent lies unread is reset by the system, and the reset may
overtake the answer and destroy it: a client that is refused in the middle of its upload would see "connection reset"
instead of the reason (RFC 9112, section 9.6). So the sending half is closed first; what the client is still sending is
read and dropped until it closes, its request is whole, or a limit is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

LINGER_BYTES, LINGER_S = 32 << 20, 3.0
"""Limits of what is dropped: beyond them the connection is closed all the same."""


class Lingering:
    """An asyncio transport whose ``close`` has two steps; all else is that of the transport.

    Args:
        transport: the connection.
        unread: is more to come of what the client is sending?
    """

    def __init__(self, transport: asyncio.Transport, unread: Callable[[], bool]) -> None:
        self.bare = transport
        self.waiting = False
        self._unread = unread
        self._left = LINGER_BYTES
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)

    def close(self) -> None:
        """Send what is written and the end; wait for the rest of the request, but not when called again."""
        if self.waiting or self.bare.is_closing() or not self._unread() or not self.bare.can_write_eof():
            self._end()
            return
        self.waiting = True
        self.bare.write_eof()
        self.bare.resume_reading()
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._end)

    def is_closing(self) -> bool:
        """Also in the meantime."""
        return self.waiting or self.bare.is_closing()

    def write(self, data: bytes) -> None:
        """Nothing more is written once it is closing."""
        if not self.waiting:
            self.bare.write(data)

    def dropped(self, count: int) -> None:
        """So many bytes more have been read for nothing."""
        self._left -= count
        if self._left < 0 or not self._unread():
            self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.bare.close()

    def abort(self) -> None:
        """At once."""
        self._end()
        self.bare.abort()
