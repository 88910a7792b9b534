"""Packets of a track from the fragments of an MP4 file (ISO/IEC 14496-12, 8.8), one fragment at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmuffle.io import mp4
from unmuffle.io.track import Entry, Track, at

# What a run says of each packet, in this order, if it says it.
_DURATION, _SIZE, _FLAGS, _DELAY = COLUMNS = 0x100, 0x200, 0x400, 0x800
_OFFSET, _FIRST_FLAGS = 0x1, 0x4
# In the head of a track's part: from where places count, and what holds for all of its packets.
_BASE, _CODEC, _BASE_IS_MOOF = 0x1, 0x2, 0x20000
_DEFAULTS: Final = ((0x8, _DURATION), (0x10, _SIZE), (0x20, _FLAGS))
_KNOWN: Final = frozenset({b"tfhd", b"tfdt", b"trun"})
_NEEDS_OTHERS: Final = 0x01010000


class _Strange(Exception):
    """Something that libav shall read."""


class Run(NamedTuple):
    """Packets that lie one behind the other.

    Attributes:
        part: where the payload of the track's part of the fragment begins.
        place, time: of the first packet.
        columns: of all of them, by what it is.
    """

    part: int
    place: int
    time: int
    columns: dict[int, NDArray[np.int64]]


@dataclass
class FragmentTrack(Track):
    """A track whose fragments say each what is in them.

    Attributes:
        moofs: begin and end of the payload of each fragment's index.
        defaults: of all packets, by what it is.
    """

    moofs: list[tuple[int, int]]
    defaults: dict[int, int]

    def entries(self, file: BinaryIO) -> Iterator[Entry]:
        """Of all packets, in the order of decoding."""
        for _, place, time, columns in self.runs(file):
            time += self.start
            rows = (columns[kind].tolist() for kind in COLUMNS)
            for duration, size, flags, delay in zip(*rows, strict=True):
                yield Entry(place, size, time, delay, duration, not flags & _NEEDS_OTHERS)
                place, time = place + size, time + duration

    def patches(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """The track's parts of all fragments but the first become free space."""
        parts = sorted({run.part for run in self.runs(file)})
        return ((part - 4, b"free") for part in parts[1:])

    def runs(self, file: BinaryIO) -> Iterator[Run]:
        """Of all fragments, in order."""
        for begin, end in self.moofs:
            for kind, first, last in list(mp4.boxes(file, begin, end)):
                if kind == b"traf":
                    yield from self._of_part(file, begin - 8, first, last)

    def _of_part(self, file: BinaryIO, moof: int, begin: int, end: int) -> Iterator[Run]:
        inside = [(kind, at(file, first, last - first)) for kind, first, last in list(mp4.boxes(file, begin, end))]
        if [kind for kind, _ in inside[:2]] != [b"tfhd", b"tfdt"] or any(kind not in _KNOWN for kind, _ in inside):
            raise _Strange
        base, known = self._head(inside[0][1], moof)
        if not known:
            return  # another track
        time = struct.unpack_from(">Q" if inside[1][1][0] else ">I", inside[1][1], 4)[0]
        place = base
        for _, data in inside[2:]:
            flags, many = struct.unpack_from(">II", data)
            words = Words(data, 8)
            if flags & _OFFSET:
                place = base + words.signed()
            first = words.word() if flags & _FIRST_FLAGS else None
            given = [kind for kind in COLUMNS if flags & kind]
            table = np.frombuffer(data, ">u4", many * len(given), words.place).reshape(many, len(given))
            columns = {kind: np.full(many, known.get(kind, 0), np.int64) for kind in COLUMNS}
            columns.update({kind: table[:, i].astype(np.int64) for i, kind in enumerate(given)})
            if first is not None and many:
                columns[_FLAGS][0] = first
            if (columns[_DELAY] >> 31).any():
                raise _Strange  # shown before it is decoded: libav then moves all packets
            yield Run(begin, place, time, columns)
            place, time = place + int(columns[_SIZE].sum()), time + int(columns[_DURATION].sum())

    def _head(self, data: bytes, moof: int) -> tuple[int, dict[int, int]]:
        """From where places count, and the defaults of this track's part; none for another track."""
        flags, number = struct.unpack_from(">II", data)
        if number != self.id:
            return 0, {}
        words = Words(data, 8)
        if not flags & (_BASE | _BASE_IS_MOOF):
            raise _Strange
        base = words.word() << 32 | words.word() if flags & _BASE else moof
        if flags & _CODEC and words.word() != 1:
            raise _Strange
        return base, {**self.defaults, **{kind: words.word() for flag, kind in _DEFAULTS if flags & flag}}


class Words:
    """Numbers of four bytes, one after the other."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data = data
        self.place = place

    def word(self) -> int:
        """The next."""
        self.place += 4
        return int(struct.unpack_from(">I", self._data, self.place - 4)[0])

    def signed(self) -> int:
        """The next, which may be negative."""
        number = self.word()
        return number - (1 << 32) if number >> 31 else number


def track(
    file: BinaryIO, about: tuple[str, int, Fraction, int], boxes: mp4.Boxes, moofs: list[tuple[int, int]]
) -> FragmentTrack | None:
    """A track of which path, number, time base and start are known; None if libav shall read it."""
    if struct.unpack(">I", boxes[b"stsz"].head[8:12])[0]:
        return None  # packets before the first fragment
    path, number, *_ = about
    index = mp4.index_of(path)
    assert index is not None  # the boxes come from there
    for kind, first, last in list(mp4.boxes(file, *index)):
        for inner, begin, end in list(mp4.boxes(file, first, last)) if kind == b"mvex" else ():
            if inner == b"trex" and end - begin >= 24:
                which, codec, *values = struct.unpack(">4x5I", at(file, begin, 24))
                if which == number and codec == 1:
                    found = FragmentTrack(*about, 0, moofs, dict(zip((_DURATION, _SIZE, _FLAGS), values, strict=True)))
                    try:
                        found.count = sum(len(run.columns[_SIZE]) for run in found.runs(file))
                    except (_Strange, ValueError):  # ValueError: a run longer than its box
                        return None
                    return found
    return None
