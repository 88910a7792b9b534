"""Packets of a track from the sample tables of an MP4 file (ISO/IEC 14496-12, 8.6 and 8.7), a piece at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, repeat, takewhile
from typing import BinaryIO, Final

import numpy as np

from unmuffle.io import mp4
from unmuffle.io.track import Entry, Track, at

# Packets that libav is shown; it takes a few to find the rate and the format of the pictures.
_SHOWN: Final = 50
# Entries of a table in memory at a time.
_ENTRIES: Final = 4096

# Words of an entry, where 4 bytes make a word. All tables begin with version and flags, and the number of entries.
_WORDS: Final = {b"stts": 2, b"ctts": 2, b"stss": 1, b"stsc": 3, b"stco": 1, b"co64": 2}
_KNOWN: Final = frozenset({*_WORDS, b"stsd", b"stsz"})
_NEEDED: Final = frozenset({b"stsd", b"stsz", b"stts", b"stsc"})
# Which pictures no other needs. PyAV cannot make packets that say so; but fragments, as which long files are written,
# do not say it either.
_NOTES: Final = b"sdtp"


@dataclass
class TableTrack(Track):
    """A track with the places of its tables in the file.

    Attributes:
        size: of each packet, if it is the same for all; else 0.
        tables: place of the first entry and number of entries, by the name of the table.
    """

    size: int
    tables: dict[bytes, tuple[int, int]]

    def entries(self, file: BinaryIO) -> Iterator[Entry]:
        """Of all packets, in the order of decoding."""
        keys = self._keys(file)
        key, time = next(keys, 0), self.start
        columns = zip(self._places(file), self._durations(file), self._delays(file), strict=False)
        for number, ((place, size), duration, delay) in enumerate(columns, 1):
            yield Entry(place, size, time, delay, duration, not key or number == key)
            if number == key:
                key = next(keys, -1)
            time += duration

    def rows(self, file: BinaryIO, name: bytes) -> Iterator[list[int]]:
        """The entries of one of its tables; of one that it lacks, none."""
        return _rows(file, *self.tables[name], _WORDS[name]) if name in self.tables else iter(())

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

    def patches(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Counts for the first chunks alone."""
        shown = chunks = 0
        for _, many in self.chunks(file):
            shown, chunks = shown + many, chunks + 1
            if shown >= _SHOWN:
                break

        def until(name: bytes) -> int:
            total = entries = 0
            for row in self.rows(file, name):
                if total >= shown:
                    break
                total, entries = total + row[0], entries + 1
            return entries

        smaller = {
            b"stts": until(b"stts"),
            b"ctts": until(b"ctts"),
            b"stss": sum(1 for _ in takewhile(lambda row: row[0] <= shown, self.rows(file, b"stss"))),
            b"stsc": sum(1 for _ in takewhile(lambda row: row[0] <= chunks, self.rows(file, b"stsc"))),
            b"stco": chunks,
            b"co64": chunks,
            b"stsz": min(shown, self.count),
        }
        return ((begin - 4, struct.pack(">I", smaller[name])) for name, (begin, _) in self.tables.items())


def track(file: BinaryIO, about: tuple[str, int, Fraction, int], boxes: mp4.Boxes) -> TableTrack | None:
    """A track of which path, number, time base and start are known; None if libav shall read it."""
    kinds = [kind for kind, *_ in mp4.boxes(file, boxes[b"stbl"].begin, boxes[b"stbl"].end)]
    scale, length = mp4.time_scale(boxes)
    known = _KNOWN | {_NOTES} if length > mp4.FRAGMENT_HOURS * 3600 * scale else _KNOWN
    if not _NEEDED <= set(kinds) <= known or len(kinds) > len(set(kinds)):
        return None
    size, many = struct.unpack(">4xII", boxes[b"stsz"].head[:12])
    tables = {b"stsz": (boxes[b"stsz"].begin + 12, 0 if size else many)}
    for name in _WORDS.keys() & set(kinds):
        tables[name] = boxes[name].begin + 8, struct.unpack(">4xI", boxes[name].head[:8])[0]
    words = {**_WORDS, b"stsz": 1}
    if any(begin + 4 * words[n] * entries > boxes[n].end for n, (begin, entries) in tables.items()):
        return None  # a table longer than its box
    if any(entries < 1 for name, (_, entries) in tables.items() if name != b"stsz"):
        return None
    found = TableTrack(*about, many, size, tables)
    if any(delay >> 31 for _, delay in found.rows(file, b"ctts")):
        return None  # shown before it is decoded: libav then moves all packets
    return None if any(codec != 1 for *_, codec in found.rows(file, b"stsc")) else found


def _rows(file: BinaryIO, begin: int, entries: int, words: int) -> Iterator[list[int]]:
    """The entries of a table, as they are needed."""
    for first in range(0, entries, _ENTRIES):
        data = at(file, begin + 4 * words * first, 4 * words * min(_ENTRIES, entries - first))
        yield from np.frombuffer(data[: len(data) // (4 * words) * 4 * words], ">u4").reshape(-1, words).tolist()
