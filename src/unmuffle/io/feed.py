"""One pass over the packets of a container, for two who want different ones.

The reader decodes the sound and the writer copies the picture. Two demuxers would hold two indices of the file in
memory (in MP4 the index is a few hundred bytes for each second of video), so they share one: what the reader passes by
waits in a queue for the writer, which takes it when the sound has come that far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any


class Feed:
    """An open container and who uses it; it is closed when the last user lets go."""

    def __init__(self, container: Any, audio_index: int) -> None:
        self.container = container
        self.audio_index = audio_index
        self._users = 1
        self._wanted: set[int] = set()
        self._queue: deque[Any] = deque()
        self._packets: Iterator[Any] | None = None

    @property
    def started(self) -> bool:
        """Have packets been read? Then it is too late to ask for more streams."""
        return self._packets is not None

    def share(self) -> Feed:
        """The same feed, for one more user."""
        self._users += 1
        return self

    def want(self, indices: set[int]) -> None:
        """Keep the packets of these streams for :meth:`carried`."""
        self._wanted = set(indices)

    def _all(self) -> Iterator[Any]:
        if self._packets is None:
            chosen = [s for s in self.container.streams if s.index in self._wanted | {self.audio_index}]
            self._packets = iter(self.container.demux(*chosen))
        return self._packets

    def audio(self) -> Iterator[Any]:
        """The packets of the sound; the others are put aside."""
        for packet in self._all():
            if packet.stream_index == self.audio_index:
                yield packet
            elif packet.size:
                self._queue.append(packet)

    def carried(self, *, pull: bool) -> Any | None:
        """The next packet of the wanted streams; None if there is none yet (or, with ``pull``, no more at all)."""
        if self._queue:
            return self._queue.popleft()
        if pull:
            for packet in self._all():
                if packet.size and packet.stream_index in self._wanted:
                    return packet
        return None

    def release(self) -> None:
        """Let go; call once for each user."""
        self._users -= 1
        if self._users == 0:
            self._queue.clear()
            self._packets = None
            self.container.close()
