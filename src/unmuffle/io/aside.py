"""Pictures of a long MP4 file, packet by packet, from its index as it lies in the file.

libav expands the index of every track when it opens a file, to some 37 bytes a packet: of ten hours of video 33 MB
are the pictures' (25 a second). But pictures are only copied, in order, and the index can be read as that goes on. So
libav is shown the first of them alone (:func:`shortened`: the same file with a few bytes changed), which is enough to
know the codec, and :meth:`.track.Track.packets` gives all of them, as libav would.

The index is one set of tables (:mod:`.tables`), or one for each fragment (:mod:`.fragments`). Tracks with anything
that these two do not know (several codecs, encryption, pictures shown before they are decoded, in files of up to two
hours notes which may be dropped) are left to libav.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from contextlib import suppress
from fractions import Fraction
from typing import Final

from unmuffle.io import fragments, mp4, tables
from unmuffle.io.guard import Descriptor
from unmuffle.io.track import Track

#: Tracks with fewer packets are left to libav: there is nothing to gain.
MANY: Final = 10_000

_ENCRYPTED: Final = b"encv"


def aside(path: str) -> list[Track]:
    """Tracks of pictures whose packets are read by us; of files with a long index only."""
    if not mp4.has_long_index(path) or not mp4.edits_are_simple(path):
        return []
    movie_scale, found = mp4.tracks_of(path)
    pieces = mp4.fragments(path)
    ids = [_number(boxes) for boxes in found]
    tracks: list[Track] = []
    with open(path, "rb", buffering=0) as file:
        for boxes, number in zip(found, ids, strict=True):
            if number and ids.count(number) == 1 and mp4.is_of(boxes, b"vide"):
                with suppress(struct.error, KeyError):
                    codecs, kind = struct.unpack(">4xI4x4s", boxes[b"stsd"].head[:16])
                    if codecs != 1 or kind == _ENCRYPTED:
                        continue
                    late, edits = mp4.edits(boxes)
                    scale, _ = mp4.time_scale(boxes)
                    start = late * scale // movie_scale - (edits[0][1] if edits else 0)
                    about = path, number, Fraction(1, scale), start
                    track: Track | None
                    track = fragments.track(file, about, boxes, pieces) if pieces else tables.track(file, about, boxes)
                    if track is not None and track.count >= MANY:
                        tracks.append(track)
    return tracks


def shortened(path: str, tracks: list[Track]) -> Descriptor:
    """The file for libav, in which these tracks have only their first packets."""
    with open(path, "rb", buffering=0) as file:
        return _Shortened(path, sorted(patch for track in tracks for patch in track.patches(file)))


class _Shortened(Descriptor):
    """A file some bytes of which are others: four at each of these places."""

    def __init__(self, path: str, patches: list[tuple[int, bytes]]) -> None:
        super().__init__(path, write=False)
        self._places = [place for place, _ in patches]
        self._new = [new for _, new in patches]

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        begin = self.tell()
        data = super().read(size)
        end = begin + len(data)
        which = range(bisect_right(self._places, begin - 4), bisect_left(self._places, end))
        if not which:
            return data
        changed = bytearray(data)
        for i in which:
            place = self._places[i]
            first, last = max(begin, place), min(end, place + 4)
            changed[first - begin : last - begin] = self._new[i][first - place : last - place]
        return bytes(changed)


def _number(boxes: mp4.Boxes) -> int:
    head = boxes[b"tkhd"].head if b"tkhd" in boxes else b""
    place = 20 if head[:1] == b"\1" else 12
    return int.from_bytes(head[place : place + 4], "big")
