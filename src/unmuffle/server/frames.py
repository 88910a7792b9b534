"""WebSocket frames of a running stream, found in the bytes of a connection without a turn of the general machinery.

Nearly all that a stream receives are whole binary messages of one frame. Those are unmasked and handed over as they
come, some microseconds each; everything else (texts, fragments, pings, closing, long messages, anything odd) goes to
the WebSocket library byte for byte and in order, which judges it as it judges a whole connection.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it could not be compiled
    from websockets.utils import apply_mask

LONGEST: Final = 64 << 10
"""Longest message that is kept here until it is whole; the library gets longer ones as they come."""

_BINARY, _FINAL, _MASKED = 0x82, 0x80, 0x80
_USUAL = bytes((_BINARY, _MASKED | 126))  # binary, masked, its length in two bytes


class Cutter:
    """Tells plain binary messages from all else.

    Args:
        plain: gets each message while :attr:`taking` is set; false to get it again later, at the next :meth:`feed`.
        other: gets the rest, in pieces of any size.

    Attributes:
        taking: may be changed at any time, also from within ``plain`` and ``other``.
    """

    def __init__(self, plain: Callable[[bytes], bool], other: Callable[[bytes], None]) -> None:
        self._plain = plain
        self._other = other
        self.taking = False
        self._held = b""  # the beginning of a frame
        self._rest = 0  # bytes of the present frame that the library is still to get
        self._fragments = False  # a message of several frames has begun

    def hold(self, data: bytes) -> None:
        """What was received meanwhile, for the next :meth:`feed`."""
        self._held += data

    def feed(self, data: bytes) -> None:
        """What was received after the handshake."""
        size = len(data)
        # Nearly always it is one frame, whole, with a length of two bytes.
        whole = 134 < size <= LONGEST and data[:2] == _USUAL and size == 8 + (data[2] << 8 | data[3])
        if whole and self.taking and not (self._held or self._rest or self._fragments):
            if not self._plain(apply_mask(data[8:], data[4:8])):
                self._held = data
            return
        if self._held:
            data, self._held = self._held + data, b""
        at, size = 0, len(data)
        if self._rest:
            at = min(self._rest, size)
            self._rest -= at
            self._other(data[:at])
        while at < size:
            if size - at < 2:
                break
            first, second = data[at], data[at + 1]
            length, start = second & 0x7F, at + 2
            if length == 126:
                start += 2
                if size < start:
                    break
                length = int.from_bytes(data[start - 2 : start], "big")
            elif length == 127:
                start += 8
                if size < start:
                    break
                length = int.from_bytes(data[start - 8 : start], "big")
            if second & _MASKED:
                start += 4
            end = start + length
            plain = self.taking and first == _BINARY and second & _MASKED and not self._fragments
            if plain and length <= LONGEST:
                if size < end:
                    break
                if not self._plain(apply_mask(data[start:end], data[start - 4 : start])):
                    break
            else:
                code = first & 0x0F
                if code < 8:  # control frames may come between fragments
                    self._fragments = not first & _FINAL
                end = min(end, size)
                self._rest = start + length - end
                self._other(data[at:end])
            at = end
        self._held = data[at:]


def binary(payload: bytes) -> bytes:
    """A binary message as a server sends it.

    >>> binary(b"abc")
    b'\\x82\\x03abc'
    """
    size = len(payload)
    if size < 126:
        return bytes((_BINARY, size)) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", _BINARY, 126, size) + payload
    return struct.pack(">BBQ", _BINARY, 127, size) + payload
