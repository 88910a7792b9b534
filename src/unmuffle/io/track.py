"""A track of pictures in an MP4 file as packets, whatever its index looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import av


class Entry(NamedTuple):
    """What an index says of a packet: where it lies, and when it is decoded and shown, in the track's units."""

    place: int
    size: int
    time: int
    delay: int
    duration: int
    key: bool


@dataclass
class Track(ABC):
    """A track of pictures.

    Attributes:
        path: of the file.
        id: of the track; libav's streams have it too.
        time_base: of all times, in seconds.
        start: when the track begins.
        count: of packets.
    """

    path: str
    id: int
    time_base: Fraction
    start: int
    count: int

    @abstractmethod
    def entries(self, file: BinaryIO) -> Iterator[Entry]:
        """Of all packets, in the order of decoding."""

    @abstractmethod
    def patches(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Places of four bytes in the file, and what they must be for libav to see the first packets only."""

    def packets(self) -> Iterator[Any]:
        """All packets, in the order of decoding; stamps and flags are set, the stream is not."""
        with open(self.path, "rb", buffering=0) as file:
            for entry in self.entries(file):
                packet = av.Packet(at(file, entry.place, entry.size))
                if packet.size < entry.size:
                    return  # the file is cut off here
                packet.dts, packet.pts, packet.duration = entry.time, entry.time + entry.delay, entry.duration
                packet.time_base, packet.is_keyframe = self.time_base, entry.key
                yield packet


def at(file: BinaryIO, place: int, size: int) -> bytes:
    """That many bytes from there on, or as many as there are."""
    file.seek(place)
    return file.read(size)
