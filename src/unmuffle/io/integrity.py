"""Does a file hold what its header promises?

A download that broke off, or a recorder that lost its battery, leaves a file that begins well. Decoders play what is
there and say nothing. Most containers, however, state sizes: we add them up and compare with the length of the file,
which costs a few reads, no decoding.

=================  ==========================================================================
WAV, RF64, AIFF    size of the chunk that holds the samples (W64, AU likewise)
MP4, MOV, M4A      sizes of the top-level boxes; also: samples (``mdat``) but no index (``moov``)
Matroska, WebM     size of the segment, unless it is "unknown" (a live stream)
Ogg                the last page must be complete
MP3                bytes counted in the Xing/Info header, if there is one; 2 % may be missing
=================  ==========================================================================

FLAC states the number of samples and is checked while it is read. Raw streams (ADTS AAC, MPEG-TS) promise nothing.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO


def missing_bytes(path: str) -> int:
    """How many bytes the header promises that are not there (0: whole, or the format makes no promise)."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(16)
        stream.seek(0)
        if head[:4] in (b"RIFF", b"RF64", b"BW64", b"FORM"):
            return _iff(stream, size, big=head[:4] == b"FORM")
        if head[:4] == b"riff":
            return _w64(stream, size)
        if head[:4] == b".snd" and len(head) >= 12:
            start, data = struct.unpack(">II", head[4:12])
            return 0 if data == 0xFFFFFFFF else max(0, start + data - size)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
            return _boxes(stream, size)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return _matroska(stream, size)
        if head[:4] == b"OggS":
            return _ogg(stream, size)
        if head[:3] == b"ID3" or (len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
            return _mp3(stream, size)
    return 0


def _iff(stream: BinaryIO, size: int, *, big: bool) -> int:
    order = ">" if big else "<"
    position, data64 = 12, None
    while position + 8 <= size:
        stream.seek(position)
        identity, length = struct.unpack(order + "4sI", stream.read(8))
        if identity == b"ds64":
            payload = stream.read(16)
            data64 = struct.unpack("<Q", payload[8:16])[0] if len(payload) == 16 else None
        if identity in (b"data", b"SSND"):
            if length == 0xFFFFFFFF and data64 is not None:
                length = data64
            elif length >= 0x7FFFF000:  # written into a pipe, see unmuffle.io.wav
                return 0
            return max(0, position + 8 + length - size)
        position += 8 + length + length % 2
    return 0


def _w64(stream: BinaryIO, size: int) -> int:
    position = 40
    while position + 24 <= size:
        stream.seek(position)
        identity, length = struct.unpack("<4s12xQ", stream.read(24))
        if identity == b"data":
            return 0 if length >= 1 << 62 else max(0, position + length - size)
        if length < 24:
            return 0
        position += -(-length // 8) * 8
    return 0


def _boxes(stream: BinaryIO, size: int) -> int:
    position, moov, mdat, fragments = 0, False, False, False
    while position + 8 <= size:
        stream.seek(position)
        length, kind = struct.unpack(">I4s", stream.read(8))
        header = 8
        if length == 1:
            large = stream.read(8)
            if len(large) < 8:
                return 8 - len(large)
            length, header = struct.unpack(">Q", large)[0], 16
        elif length == 0:  # until the end of the file
            length = size - position
        if length < header:
            return 0  # not a box: leave it to the decoder
        moov, mdat = moov or kind == b"moov", mdat or kind == b"mdat"
        fragments = fragments or kind == b"moof"
        position += length
    if position > size:
        # Tools leave harmless rests of a few bytes behind the last box; nobody leaves half an index.
        return position - size
    return 1 if mdat and not moov and not fragments else 0


def _vint(stream: BinaryIO, *, keep_marker: bool) -> tuple[int, bool]:
    """An EBML number: its value, and whether it is the reserved "unknown"."""
    first = stream.read(1)
    if not first or first[0] == 0:
        raise ValueError("not an EBML number")
    length = 9 - first[0].bit_length()
    rest = stream.read(length - 1)
    if len(rest) < length - 1:
        raise ValueError("the EBML number is cut")
    value = int.from_bytes(first + rest, "big")
    mask = (1 << (7 * length)) - 1
    return (value if keep_marker else value & mask), (value & mask) == mask


def _matroska(stream: BinaryIO, size: int) -> int:
    try:
        while stream.tell() < size:
            identity, _ = _vint(stream, keep_marker=True)
            length, unknown = _vint(stream, keep_marker=False)
            if unknown:
                return 0
            end = stream.tell() + length
            if identity == 0x18538067:  # Segment
                return max(0, end - size)
            stream.seek(min(end, size))  # a length of garbage may be beyond what the system can seek to
    except ValueError:
        return 0
    return 0


def _ogg(stream: BinaryIO, size: int) -> int:
    # The last page begins within the last 64 KiB (a page holds at most 65307 bytes).
    tail = min(size, 1 << 17)
    stream.seek(size - tail)
    data = stream.read(tail)
    at = data.rfind(b"OggS")
    if at < 0:
        return 0
    header = data[at : at + 27]
    if len(header) < 27:
        return 27 - len(header)
    lacing = data[at + 27 : at + 27 + header[26]]
    return max(0, at + 27 + header[26] + (sum(lacing) if len(lacing) == header[26] else 1) - len(data))


def _mp3(stream: BinaryIO, size: int) -> int:
    position = 0
    head = stream.read(10)
    if head[:3] == b"ID3" and len(head) == 10:
        position = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        if position > size:
            return position - size
    stream.seek(position)
    frame = stream.read(200)
    at = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if at < 0 or len(frame) < at + 16 or frame[:1] != b"\xff":
        return 0
    flags = struct.unpack(">I", frame[at + 4 : at + 8])[0]
    if not flags & 2:
        return 0
    field = at + 8 + (4 if flags & 1 else 0)
    promised = struct.unpack(">I", frame[field : field + 4])[0]
    missing: int = promised - (size - position)
    # Editors that trim an mp3 often leave the header alone; only a clear lack counts.
    return missing if missing > max(0.02 * promised, 1024) else 0
