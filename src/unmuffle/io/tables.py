"""Pictures of a long MP4 file, packet by packet, from its index as it lies in the file.

libav expands the index of every track when it opens a file, to some 37 bytes a packet: of ten hours of video 33 MB
are the pictures' (25 a second). But pictures are only copied, in order, and the index can be read as that goes on. So
libav is shown the first of them alone (:func:`shortened`: the same file with smaller counts in its tables), which is
enough to know the codec, and :meth:`Track.packets` gives all of them, as libav would (ISO/IEC 14496-12, 8.6 and 8.7).

Tracks whose tables hold anything else (several codecs, encryption, negative offsets, groups, notes which pictures may
be dropped) are left to libav.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice, repeat, takewhile
from typing import Any, BinaryIO, Final

import av
import numpy as np

from unmuffle.io import mp4
from unmuffle.io.guard import Descriptor

#: Tracks with fewer packets are left to libav: there is nothing to gain.
MANY: Final = 10_000
# Packets that libav is shown; it takes a few to find the rate and the format of the pictures.
_SHOWN: Final = 50
# Entries of a table in memory at a time.
_ENTRIES: Final = 4096

# Words of an entry, where 4 bytes make a word. All tables begin with version and flags, and the number of entries.
_TABLES: Final = {b"stts": 2, b"ctts": 2, b"stss": 1, b"stsc": 3, b"stco": 1, b"co64": 2}
_KNOWN: Final = frozenset({*_TABLES, b"stsd", b"stsz"})
_NEEDED: Final = frozenset({b"stsd", b"stsz", b"stts", b"stsc"})
_ENCRYPTED: Final = b"encv"


@dataclass
class Track:
    """A track of pictures, with the places of its tables in the file.

    Attributes:
        path: of the file.
        id: of the track; libav's streams have it too.
        time_base: of all times, in seconds.
        start: decoding time of the first packet.
        count: of packets.
        size: of each, if it is the same for all; else 0.
        tables: place of the first entry and number of entries, by the name of the table.
        patches: place and bytes of the smaller counts.
    """

    path: str
    id: int
    time_base: Fraction
    start: int
    count: int
    size: int
    tables: dict[bytes, tuple[int, int]]
    patches: list[tuple[int, bytes]] = field(default_factory=list)

    def packets(self) -> Iterator[Any]:
        """All packets, in the order of decoding; stamps and flags are set, the stream is not."""
        with open(self.path, "rb", buffering=0) as file:
            keys = self._keys(file)
            key = next(keys, 0)
            time = self.start
            columns = zip(self._places(file), self._durations(file), self._delays(file), strict=False)
            for number, ((place, size), duration, delay) in enumerate(columns, 1):
                packet = av.Packet(_bytes(file, place, size))
                if packet.size < size:
                    return  # the file is cut off here
                packet.dts, packet.pts, packet.duration = time, time + delay, duration
                packet.time_base = self.time_base
                packet.is_keyframe = not key or number == key
                if number == key:
                    key = next(keys, -1)
                time += duration
                yield packet

    def rows(self, file: BinaryIO, name: bytes) -> Iterator[list[int]]:
        """The entries of one of its tables; of one that it lacks, none."""
        return _rows(file, *self.tables[name], _TABLES[name]) if name in self.tables else iter(())

    def _keys(self, file: BinaryIO) -> Iterator[int]:
        """Numbers of the pictures that need no other, from 1; none: all are such."""
        return (row[0] for row in self.rows(file, b"stss"))

    def _durations(self, file: BinaryIO) -> Iterator[int]:
        last = 0
        for count, last in self.rows(file, b"stts"):
            yield from repeat(last, count)
        yield from repeat(last)

    def _delays(self, file: BinaryIO) -> Iterator[int]:
        """From decoding to showing."""
        return chain(chain.from_iterable(repeat(v, n) for n, v in self.rows(file, b"ctts")), repeat(0))

    def _sizes(self, file: BinaryIO) -> Iterator[int]:
        if self.size:
            return repeat(self.size, self.count)
        return (row[0] for row in _rows(file, self.tables[b"stsz"][0], self.count, 1))

    def _places(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """Place and size of each packet: they lie one behind the other in chunks."""
        sizes = self._sizes(file)
        for place, count in self.chunks(file):
            for size in islice(sizes, count):
                yield place, size
                place += size

    def chunks(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """Place of each chunk and packets in it."""
        runs = self.rows(file, b"stsc")
        here, ahead = next(runs), next(runs, None)
        wide = b"co64" in self.tables
        for number, row in enumerate(self.rows(file, b"co64" if wide else b"stco"), 1):
            if ahead is not None and number >= ahead[0]:
                here, ahead = ahead, next(runs, None)
            yield (row[0] << 32 | row[1]) if wide else row[0], here[1]


def aside(path: str) -> list[Track]:
    """Tracks of pictures whose packets are read from the tables; of files with a long index only."""
    if not mp4.has_long_index(path) or not mp4.edits_are_simple(path):
        return []
    scale, found = mp4.tracks_of(path)
    ids = [_number(boxes) for boxes in found]
    tracks = []
    with open(path, "rb", buffering=0) as file:
        for boxes, number in zip(found, ids, strict=True):
            if number and ids.count(number) == 1 and mp4.is_of(boxes, b"vide"):
                with suppress(struct.error, KeyError):
                    track = _track(path, file, boxes, number, scale)
                    if track is not None and track.count >= MANY:
                        tracks.append(track)
    return tracks


def shortened(path: str, tracks: list[Track]) -> Descriptor:
    """The file for libav, in which these tracks have only their first packets."""
    return _Shortened(path, sorted(patch for track in tracks for patch in track.patches))


class _Shortened(Descriptor):
    """A file some bytes of which are others."""

    def __init__(self, path: str, patches: list[tuple[int, bytes]]) -> None:
        super().__init__(path, write=False)
        self._patches = patches

    def read(self, size: int) -> bytes:
        begin = self.tell()
        data = super().read(size)
        end = begin + len(data)
        if not self._patches or end <= self._patches[0][0] or begin >= self._patches[-1][0] + 4:
            return data
        changed = bytearray(data)
        for place, new in self._patches:
            first, last = max(begin, place), min(end, place + len(new))
            if first < last:
                changed[first - begin : last - begin] = new[first - place : last - place]
        return bytes(changed)


def _number(boxes: mp4.Boxes) -> int:
    head = boxes[b"tkhd"].head if b"tkhd" in boxes else b""
    at = 20 if head[:1] == b"\1" else 12
    return int.from_bytes(head[at : at + 4], "big")


def _track(path: str, file: BinaryIO, boxes: mp4.Boxes, number: int, movie_scale: int) -> Track | None:
    """What the boxes of a track say; None if libav shall read it."""
    kinds = [kind for kind, *_ in mp4.boxes(file, boxes[b"stbl"].begin, boxes[b"stbl"].end)]
    if not _NEEDED <= set(kinds) <= _KNOWN or len(kinds) > len(set(kinds)):
        return None
    entries, kind = struct.unpack(">4xI4x4s", boxes[b"stsd"].head[:16])
    if entries != 1 or kind == _ENCRYPTED:
        return None
    size, count = struct.unpack(">4xII", boxes[b"stsz"].head[:12])
    tables = {b"stsz": (boxes[b"stsz"].begin + 12, 0 if size else count)}
    for name in _TABLES.keys() & set(kinds):
        tables[name] = boxes[name].begin + 8, struct.unpack(">4xI", boxes[name].head[:8])[0]
    words = {**_TABLES, b"stsz": 1}
    if any(begin + 4 * words[n] * many > boxes[n].end for n, (begin, many) in tables.items() if n in words):
        return None  # a table longer than its box
    if any(tables[name][1] < 1 for name in tables if name != b"stsz"):
        return None
    if any(delay >> 31 for _, delay in _rows(file, *tables[b"ctts"], 2)) if b"ctts" in tables else False:
        return None  # earlier than decoded: libav moves all packets then
    if any(which != 1 for *_, which in _rows(file, *tables[b"stsc"], 3)):
        return None
    late, edits = mp4.edits(boxes)
    scale, _ = mp4.time_scale(boxes)
    start = late * scale // movie_scale - (edits[0][1] if edits else 0)
    track = Track(path, number, Fraction(1, scale), start, count, size, tables)
    track.patches = _patches(track, file)
    return track


def _patches(track: Track, file: BinaryIO) -> list[tuple[int, bytes]]:
    """Counts for the first chunks alone."""
    shown = chunks = 0
    for _, count in track.chunks(file):
        shown, chunks = shown + count, chunks + 1
        if shown >= _SHOWN:
            break

    def until(name: bytes, enough: int) -> int:
        total = entries = 0
        for row in track.rows(file, name):
            if total >= enough:
                break
            total, entries = total + row[0], entries + 1
        return entries

    smaller = {
        b"stts": until(b"stts", shown),
        b"ctts": until(b"ctts", shown),
        b"stss": sum(1 for _ in takewhile(lambda row: row[0] <= shown, track.rows(file, b"stss"))),
        b"stsc": sum(1 for _ in takewhile(lambda row: row[0] <= chunks, track.rows(file, b"stsc"))),
        b"stco": chunks,
        b"co64": chunks,
    }
    patches = [(track.tables[name][0] - 4, smaller[name]) for name in smaller if name in track.tables]
    patches.append((track.tables[b"stsz"][0] - 4, shown))
    return [(place, struct.pack(">I", count)) for place, count in sorted(patches)]


def _rows(file: BinaryIO, begin: int, count: int, words: int) -> Iterator[list[int]]:
    """The entries of a table, as they are needed."""
    for first in range(0, count, _ENTRIES):
        data = _bytes(file, begin + 4 * words * first, 4 * words * min(_ENTRIES, count - first))
        yield from np.frombuffer(data[: len(data) // (4 * words) * 4 * words], ">u4").reshape(-1, words).tolist()


def _bytes(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)
