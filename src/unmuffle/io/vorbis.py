"""Comments (tags, cover) of an Ogg Vorbis file, put in by rewriting its header pages.

libsndfile encodes Vorbis well but writes few tags; copying packets with libav writes all tags but loses the exact end
of files that fit on one page. So we replace the comment packet ourselves. An Ogg file (RFC 3533) is a chain of pages
``OggS version flags granule serial sequence crc lacing payload``; Vorbis puts its first header on the first page, the
comment and setup headers on the next ones, and sound begins on a fresh page. Those pages are written anew, and if
their number changes, the following ones get new sequence numbers and checksums.

Ogg's checksum is the CRC-32 of Ethernet with bits taken from the other end and without inversions, so that zlib's
fast one computes it on bytes with reversed bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final

from unmuffle.errors import OutputError

_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_HEAD: Final = struct.Struct("<4sBBqIIIB")
_NO_GRANULE: Final = -1  # no packet ends on this page


def page_checksum(page: bytes) -> int:
    """Checksum of a page whose checksum field is zero."""
    register = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(register.to_bytes(4, "little").translate(_REVERSED), "big")


def _read_page(stream: BinaryIO) -> tuple[list[int], bytes, bytes] | None:
    """Head fields, lacing and payload of the next page."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size or head[:4] != b"OggS":
        return None
    fields = list(_HEAD.unpack(head))
    lacing = stream.read(fields[7])
    return fields, lacing, stream.read(sum(lacing))


def _pack_page(flags: int, granule: int, serial: int, sequence: int, lacing: bytes, payload: bytes) -> bytes:
    def head(crc: int) -> bytes:
        return _HEAD.pack(b"OggS", 0, flags, granule, serial, sequence, crc, len(lacing))

    return head(page_checksum(head(0) + lacing + payload)) + lacing + payload


def _paginate(packets: list[bytes], serial: int, sequence: int) -> Iterator[bytes]:
    """Header packets on as many pages as they need."""
    lacing, ends, payload = b"", [], b"".join(packets)
    for packet in packets:
        lacing += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
        ends.append(len(lacing))
    at = 0
    for start in range(0, len(lacing), 255):
        part = lacing[start : start + 255]
        continued = start > 0 and start not in ends
        finished = any(start < end <= start + 255 for end in ends)
        yield _pack_page(
            int(continued), 0 if finished else _NO_GRANULE, serial, sequence, part, payload[at : at + sum(part)]
        )
        at += sum(part)
        sequence += 1


def comment_packet(vendor: bytes, tags: Mapping[str, str]) -> bytes:
    """The second header of a Vorbis stream."""
    entries = []
    for key, text in tags.items():
        # Names are ASCII from space to }, without =.
        name = "".join(c for c in key if " " <= c <= "}" and c != "=")
        if name:
            entries.append(f"{name}={text}".encode("utf-8", "replace"))
    body = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
    return b"\x03vorbis" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(entries)) + body + b"\x01"


def rewrite_comments(source: BinaryIO, target: BinaryIO, tags: Mapping[str, str]) -> None:
    """Copy an Ogg Vorbis file with other comments."""
    first = _read_page(source)
    if first is None or not first[2].startswith(b"\x01vorbis"):
        raise OutputError("the interim file of the Vorbis encoder is broken: try again, or another format")
    fields, lacing, payload = first
    target.write(_pack_page(fields[2], fields[3], fields[4], 0, lacing, payload))
    serial = fields[4]
    packets: list[bytes] = []
    partial, pages = b"", 1
    while len(packets) < 2:
        page = _read_page(source)
        if page is None:
            raise OutputError("the interim file of the Vorbis encoder is broken: try again, or another format")
        pages += 1
        at = 0
        for value in page[1]:
            partial += page[2][at : at + value]
            at += value
            if value < 255:
                packets.append(partial)
                partial = b""
    vendor_size = struct.unpack("<I", packets[0][7:11])[0]
    packets[0] = comment_packet(packets[0][11 : 11 + vendor_size], tags)
    sequence = 1
    for new in _paginate(packets, serial, 1):
        target.write(new)
        sequence += 1
    shift = sequence - pages
    while (page := _read_page(source)) is not None:
        fields, lacing, payload = page
        target.write(_pack_page(fields[2], fields[3], fields[4], fields[5] + shift, lacing, payload))
