"""Everything of a media file that is not its sound, carried over untouched.

Pictures, subtitles, further audio tracks and attachments are copied packet by packet, never decoded; their time stamps
stay as they are, and the new sound is placed on the same clock.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av

from unmuffle.errors import OutputError
from unmuffle.io.aside import aside
from unmuffle.io.feed import Feed
from unmuffle.io.guard import LIBAV_ERROR
from unmuffle.io.probe import flags_of, is_cover, open_container

# MP4 and MOV cannot say that a line of text, or the pause before the next, lasts longer than this many units. Text is
# often counted in microseconds: in an hour of it such a pause is easily found.
_LONGEST = (1 << 31) - 1
_COARSE = Fraction(1, 10_000)
# A cover comes before the first sample; this many packets on, it does not come at all.
_COVER_SEARCH = 500


def add_template(out: Any, stream: Any) -> Any:
    """A stream of ``out`` that takes the packets of ``stream`` as they are."""
    if stream.codec_context is None:
        return out.add_stream_from_template(stream)
    return out.add_stream_from_template(stream, opaque=True)


class _Line:
    """Packets in order, the next of which can be looked at before it is taken."""

    def __init__(self, take: Callable[[bool], Any]) -> None:
        self._take = take  # is told whether all are to come; None: there is none
        self._next: Any = None

    def until(self, time: Fraction | None) -> Iterator[Any]:
        """Those up to a time in seconds (None: all that are left)."""
        while True:
            packet = self._next if self._next is not None else self._take(time is None)
            self._next = packet
            if packet is None:
                return
            stamp = packet.dts if packet.dts is not None else packet.pts
            if time is not None and stamp is not None and stamp * packet.time_base > time:
                return
            self._next = None
            yield packet


class Carrier:
    """Everything of a video but the replaced audio track, from the reader's own feed or a second one."""

    def __init__(self, source: str, audio_index: int, shared: Feed | None) -> None:
        self._pull = shared is None
        self._feed = Feed(open_container(source), audio_index) if shared is None else shared
        self._container = self._feed.container
        self._targets: dict[int, Any] = {}
        self._undated: dict[int, list[Any]] = {}
        # Of some streams the container has only the first packets.
        ids = {stream.id: stream.index for stream in self._container.streams if stream.type == "video"}
        self._aside = {ids[track.id]: track for track in aside(source)}
        self._lines: list[tuple[int | None, _Line]] = []
        self._open = True

    @property
    def streams(self) -> list[Any]:
        """The source's streams, in order."""
        return list(self._container.streams)

    def add_to(self, out: Any, stream: Any, notes: list[str]) -> None:
        """Announce ``stream`` in ``out``; what the container cannot hold is noted, a picture it cannot is an error."""
        if stream.type == "data":
            notes.append(f"data stream {stream.index} was left out: it cannot be copied")
            return
        try:
            target = add_template(out, stream)
        except (ValueError, TypeError, AttributeError, LIBAV_ERROR) as error:
            codec = getattr(stream.codec_context, "name", "unknown")
            if stream.type == "video" and not is_cover(stream):
                raise OutputError(
                    f"{out.format.name} cannot hold the picture ({codec}): give the output the source's extension, "
                    "or .mkv"
                ) from error
            what = f"{stream.type} stream {stream.index} ({codec})"
            notes.append(f"{what} was left out: {out.format.name} cannot hold it")
            return
        target.metadata.update(stream.metadata)
        with suppress(AttributeError, ValueError):
            target.disposition = flags_of(stream)
        length = stream.duration or (self._container.duration or 0) * Fraction(1, av.time_base) / stream.time_base
        if stream.type == "subtitle" and length > _LONGEST:
            target.time_base = _COARSE
        self._targets[stream.index] = target

    def ready(self) -> None:
        """All streams are announced: the feed keeps their packets from now on."""
        self._feed.want(set(self._targets) - set(self._aside))
        self._lines = [(None, _Line(lambda end: self._feed.carried(pull=self._pull or end)))]
        for index in sorted(set(self._targets) & set(self._aside)):
            packets = self._aside[index].packets()
            self._lines.append((index, _Line(lambda end, packets=packets: next(packets, None))))  # type: ignore[misc]

    def chapters_to(self, out: Any) -> None:
        """Copy the chapter marks."""
        chapters = self._container.chapters()
        if chapters:
            out.set_chapters(chapters)

    def pump(self, out: Any, until: Fraction | None) -> None:
        """Copy packets up to time ``until`` in seconds (None: all that are left)."""
        for index, line in self._lines:
            for packet in line.until(until):
                self._pass(out, packet.stream_index if index is None else index, packet)
        if until is not None:
            return
        for index in list(self._undated):
            for packet in self._undated.pop(index):
                packet.dts = packet.pts
                self._mux(out, index, packet)

    def _pass(self, out: Any, index: int, packet: Any) -> None:
        """Copy one packet; those whose decoding time the container leaves open wait for the first that has one."""
        if packet.dts is None:
            self._undated.setdefault(index, []).append(packet)
            return
        waiting = self._undated.pop(index, [])
        for back, early in enumerate(reversed(waiting), 1):
            early.dts = packet.dts - back * max(1, early.duration or 0)
        for ready in (*waiting, packet):
            self._mux(out, index, ready)

    def _mux(self, out: Any, index: int, packet: Any) -> None:
        if packet.pts is not None or packet.dts is not None:
            packet.stream = self._targets[index]
            out.mux(packet)

    def close(self) -> None:
        """Let go of the source."""
        self._lines = []
        if self._open:
            self._open = False
            self._feed.release()


def add_covers(out: Any, source: str) -> list[Any]:
    """Announce the source's cover pictures in ``out``; returns their packets, to be written first."""
    with open_container(source) as container:
        targets = {}
        for stream in container.streams.video:
            if is_cover(stream):
                with suppress(ValueError, TypeError, LIBAV_ERROR):
                    target = add_template(out, stream)
                    target.metadata.update(stream.metadata)
                    target.disposition = 0x400
                    targets[stream.index] = target
        packets = []
        for packet in _cover_packets(container, set(targets)):
            packet.stream = targets[packet.stream_index]
            packets.append(packet)
        return packets


def _cover_packets(container: Any, indices: set[int]) -> list[Any]:
    """The first packet of each of these streams."""
    found: dict[int, Any] = {}
    if indices:
        for count, packet in enumerate(container.demux(*[s for s in container.streams if s.index in indices])):
            if packet.size:
                found.setdefault(packet.stream_index, packet)
            if len(found) == len(indices) or count > _COVER_SEARCH:
                break
    return list(found.values())


def cover_text(source: str) -> str | None:
    """The source's cover as base64 text of a FLAC picture block, the way Ogg files hold one."""
    try:
        with open_container(source) as container:
            covers = [stream for stream in container.streams.video if is_cover(stream)]
            packets = _cover_packets(container, {covers[0].index}) if covers else []
            if not packets:
                return None
            context = covers[0].codec_context
            mime = b"image/png" if context.name == "png" else b"image/jpeg"
            data = bytes(packets[0])
            head = struct.pack(">II", 3, len(mime)) + mime  # 3: front cover
            head += struct.pack(">IIIIII", 0, context.width, context.height, 24, 0, len(data))
            return base64.b64encode(head + data).decode("ascii")
    except (LIBAV_ERROR, ValueError):
        return None
