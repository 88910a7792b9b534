"""Hours of MP4 in little memory.

An MP4 file describes each packet in its index (``moov``), which libav expands to some 40 bytes a packet when it reads
and 80 when it writes: ten hours of video are 2.6 million packets. Three measures keep that small:

- Reading: to honour edit lists libav builds the index twice. :func:`reading_options` finds out whether the lists of a
  large file do no more than skip the encoders' delay, which the simple way of reading does too.
- Reading pictures: they are copied from the index as it lies in the file (:mod:`.aside`).
- Writing: beyond :data:`FRAGMENT_HOURS` the file is written in fragments, each with an index of its own. (Not when
  pictures are hidden by an edit list, nor with MP3 inside: libav does not restore those from fragments.)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

#: Indices smaller than this (about an hour of video) are read the ordinary way.
LARGE_INDEX_BYTES: Final = 3 << 20
#: Outputs longer than this are written in fragments.
FRAGMENT_HOURS: Final = 2.0
#: Options of libav's muxer for that; microseconds.
FRAGMENT_OPTIONS: Final = {"frag_duration": "60000000", "movflags": "+delay_moov", "use_editlist": "1"}

# An encoder's delay is never longer than this (B-pictures, priming); a longer skip is a cut.
_DELAY_S: Final = 0.25
_CONTAINERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"})
_AAC: Final = 0x40


@dataclass(frozen=True)
class Box:
    """A box of a track.

    Attributes:
        begin, end: of its payload in the file.
        head: the first bytes of it, 4 KiB at most.
    """

    begin: int
    end: int
    head: bytes


Boxes = dict[bytes, Box]
"""Of one track, by their kind: the first of each."""


def boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the payload of each box between two positions."""
    while start + 8 <= end:
        stream.seek(start)
        length, kind = struct.unpack(">I4s", stream.read(8))
        header = 8
        if length == 1:
            length, header = struct.unpack(">Q", stream.read(8))[0], 16
        elif length == 0:
            length = end - start
        if length < header or start + length > end:
            return
        yield kind, start + header, start + length
        start += length


def _walk(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, Box]]:
    """Every box inside, depth first."""
    for kind, begin, stop in boxes(stream, start, end):
        if kind in _CONTAINERS:
            yield kind, Box(begin, stop, b"")
            yield from _walk(stream, begin, stop)
        else:
            stream.seek(begin)
            yield kind, Box(begin, stop, stream.read(min(4096, stop - begin)))


def tracks_of(path: str) -> tuple[int, list[Boxes]]:
    """Units of a second in which the movie counts, and the boxes of its tracks; (0, []) if it is no MP4 file."""
    index = index_of(path)
    scale: int = 0
    tracks: list[Boxes] = []
    if index is not None:
        with open(path, "rb") as stream:
            for kind, box in _walk(stream, *index):
                if kind == b"mvhd":
                    scale = struct.unpack(">I", box.head[20:24] if box.head[0] else box.head[12:16])[0]
                elif kind == b"trak":
                    tracks.append({})
                elif tracks:
                    tracks[-1].setdefault(kind, box)
    return scale, tracks


def has_long_index(path: str) -> bool:
    """Is this an MP4 file whose index takes tens of megabytes when it is read: about an hour of video, or more?"""
    if not os.path.isfile(path):  # of a pipe, no byte may be lost
        return False
    try:
        index = index_of(path)
        parts = fragments(path) if index is not None else []
    except OSError:  # whoever reads it says so
        return False
    return index is not None and sum(end - begin for begin, end in (index, *parts)) >= LARGE_INDEX_BYTES


def reading_options(path: str) -> dict[str, str]:
    """Options that let libav read a long MP4 file in half the memory, if its edit lists are simple."""
    return {"advanced_editlist": "0"} if has_long_index(path) and edits_are_simple(path) else {}


def edits_are_simple(path: str) -> bool:
    """Do the edit lists (if it is an MP4 file) only skip encoders' delays and let tracks begin late?"""
    try:
        if index_of(path) is None:
            return True
        scale, tracks = tracks_of(path)
        return bool(tracks) and scale > 0 and all(_only_delays(track, scale) for track in tracks)
    except (struct.error, IndexError):
        return False


def fragments(path: str) -> list[tuple[int, int]]:
    """Where the payload of the index of each fragment (``moof``) lies."""
    with open(path, "rb", buffering=0) as stream, suppress(struct.error):
        return [(begin, end) for kind, begin, end in boxes(stream, 0, os.path.getsize(path)) if kind == b"moof"]
    return []


def index_of(path: str) -> tuple[int, int] | None:
    """Where the payload of ``moov`` lies; None if there is none."""
    with open(path, "rb") as stream:
        if stream.read(8)[4:] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            with suppress(struct.error):
                for kind, begin, stop in boxes(stream, 0, os.path.getsize(path)):
                    if kind == b"moov":
                        return begin, stop
    return None


def time_scale(track: Boxes) -> tuple[int, int]:
    """Units of a second in which a track counts, and its length in them."""
    head = track[b"mdhd"].head
    scale, length = struct.unpack(">IQ", head[20:32]) if head[0] else struct.unpack(">II", head[12:20])
    return scale, length


def edits(track: Boxes) -> tuple[int, list[tuple[int, int, int]]]:
    """Silence before a track (in the movie's units), and its edits: duration, begin in the medium, rate."""
    if b"elst" not in track:
        return 0, []
    head = track[b"elst"].head
    wide, count = head[0], struct.unpack(">I", head[4:8])[0]
    entry = struct.Struct(">Qqi" if wide else ">Iii")
    entries = [entry.unpack_from(head, 8 + i * entry.size) for i in range(min(count, 3))]
    if entries and entries[0][1] == -1:  # an empty edit: the track begins late
        return entries[0][0], entries[1:]
    return 0, entries


def _only_delays(track: Boxes, movie_scale: int) -> bool:
    if b"mdhd" not in track:
        return False
    scale, length = time_scale(track)
    if is_of(track, b"soun") and not _delay_is_known(track[b"stsd"].head if b"stsd" in track else b""):
        return False
    if b"elst" not in track:
        return True
    _, entries = edits(track)
    if len(entries) != 1:
        return False
    duration, skipped, rate = entries[0]
    ends_with_media = duration == 0 or duration / movie_scale >= (length - skipped) / scale - 0.1
    return rate == 1 << 16 and 0 <= skipped <= _DELAY_S * scale and ends_with_media


def is_of(track: Boxes, kind: bytes) -> bool:
    """Does the track hold that kind of medium: ``soun``, ``vide``?"""
    return b"hdlr" in track and track[b"hdlr"].head[8:12] == kind


def _delay_is_known(description: bytes) -> bool:
    """Sound whose delay libav also drops in the simple way: AAC, and what has none."""
    codec = description[12:16]
    if codec != b"mp4a":
        return codec in (b"alac", b"fLaC", b"sowt", b"twos", b"lpcm", b"in24", b"fl32", b"Opus")
    at = description.find(b"esds")
    if at < 0:
        return False
    # Descriptors: tag, length in 7-bit groups, payload. The object type is the first byte of the one with tag 4.
    at += 8
    at = _skip_length(description, at + 1) + 3  # ES_Descriptor: ES_ID, flags
    return description[at] == 4 and description[_skip_length(description, at + 1)] == _AAC


def _skip_length(data: bytes, at: int) -> int:
    while data[at] & 0x80:
        at += 1
    return at + 1
