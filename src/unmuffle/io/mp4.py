"""Hours of MP4 in little memory.

An MP4 file describes each packet in its index (``moov``), which libav expands to some 40 bytes a packet when it reads
and 80 when it writes: ten hours of video are 2.6 million packets. Two measures keep that small:

- Reading: to honour edit lists libav builds the index twice. :func:`reading_options` finds out whether the lists of a
  large file do no more than skip the encoders' delay, which the simple way of reading does too.
- Writing: beyond :data:`FRAGMENT_HOURS` the file is written in fragments, each with an index of its own. (Not when
  pictures are hidden by an edit list, nor with MP3 inside: libav does not restore those from fragments.)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
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


def _walk(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Kind and first 4 KiB of every box inside, depth first."""
    for kind, begin, stop in boxes(stream, start, end):
        if kind in _CONTAINERS:
            yield kind, b""
            yield from _walk(stream, begin, stop)
        else:
            stream.seek(begin)
            yield kind, stream.read(min(4096, stop - begin))


def has_long_index(path: str) -> bool:
    """Is this an MP4 file whose index takes tens of megabytes when it is read: about an hour of video, or more?"""
    if not os.path.isfile(path):  # of a pipe, no byte may be lost
        return False
    try:
        index = _index_of(path)
    except OSError:  # whoever reads it says so
        return False
    return index is not None and index[1] - index[0] >= LARGE_INDEX_BYTES


def reading_options(path: str) -> dict[str, str]:
    """Options that let libav read a long MP4 file in half the memory, if its edit lists are simple."""
    return {"advanced_editlist": "0"} if has_long_index(path) and edits_are_simple(path) else {}


def edits_are_simple(path: str) -> bool:
    """Do the edit lists (if it is an MP4 file) only skip encoders' delays and let tracks begin late?"""
    index = _index_of(path)
    if index is None:
        return True
    try:
        with open(path, "rb") as stream:
            return _only_delays(stream, *index)
    except (struct.error, IndexError):
        return False


def _index_of(path: str) -> tuple[int, int] | None:
    """Where the payload of ``moov`` lies; None if there is none."""
    with open(path, "rb") as stream:
        if stream.read(8)[4:] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            with suppress(struct.error):
                for kind, begin, stop in boxes(stream, 0, os.path.getsize(path)):
                    if kind == b"moov":
                        return begin, stop
    return None


def _only_delays(stream: BinaryIO, begin: int, stop: int) -> bool:
    movie_scale = 0
    tracks: list[dict[bytes, bytes]] = []
    for kind, data in _walk(stream, begin, stop):
        if kind == b"mvhd":
            movie_scale = struct.unpack(">I", data[20:24] if data[0] else data[12:16])[0]
        elif kind == b"trak":
            tracks.append({})
        elif kind in (b"mdhd", b"elst", b"hdlr", b"stsd") and tracks:
            tracks[-1].setdefault(kind, data)
    return bool(tracks) and movie_scale > 0 and all(_track_only_delays(track, movie_scale) for track in tracks)


def _track_only_delays(track: dict[bytes, bytes], movie_scale: int) -> bool:
    head, edits = track.get(b"mdhd", b""), track.get(b"elst", b"")
    if not head:
        return False
    scale, length = struct.unpack(">IQ", head[20:32]) if head[0] else struct.unpack(">II", head[12:20])
    if track.get(b"hdlr", b"")[8:12] == b"soun" and not _delay_is_known(track.get(b"stsd", b"")):
        return False
    if not edits:
        return True
    wide, count = edits[0], struct.unpack(">I", edits[4:8])[0]
    entry = struct.Struct(">Qqi" if wide else ">Iii")
    entries = [entry.unpack_from(edits, 8 + i * entry.size) for i in range(min(count, 3))]
    if entries and entries[0][1] == -1:
        entries = entries[1:]  # an empty edit: the track begins late
    if len(entries) != 1 or count > 2:
        return False
    duration, skipped, rate = entries[0]
    ends_with_media = duration == 0 or duration / movie_scale >= (length - skipped) / scale - 0.1
    return rate == 1 << 16 and 0 <= skipped <= _DELAY_S * scale and ends_with_media


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
