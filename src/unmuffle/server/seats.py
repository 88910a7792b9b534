"""Places of streams in crowds: frames of many streams, worked off as the rows of one array.

A light stream whose frames are all alike takes a seat: its state goes into a crowd
(:mod:`unmuffle.enhancers.crowd`), and what came in and what the method made of it is noted in its own books some dozens
of frames later, all at once. Whatever is not such a frame (a change of strength, a frame of another size, the end)
makes it stand up first; then it is a stream like any other, exactly where it would have been.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from ..enhancers.base import SpectralKernel, Stream
from ..enhancers.crowd import Crowd
from ..quality.monitor import StreamMonitor
from ..signal.blocks import Samples

if TYPE_CHECKING:
    from .session import Session

NOTED: Final = 48
"""Frames after which a seated stream's books are brought up to date."""

_NONE: Samples = np.zeros((1, 0), np.float32)


class Seat:
    """One stream's place, and what its books do not know yet.

    Attributes:
        table, place: where.
        block, lasts: samples of each frame, and seconds.
        data: a frame that waits, if one does.
        more: those behind it, with their numbers and when they came: many, when the server was held up.
    """

    __slots__ = (
        "_came", "_core", "_load_s", "_made", "_monitor", "_stream", "block", "data", "lasts", "more", "place", "table"
    )  # fmt: skip

    def __init__(
        self, table: Table, core: SpectralKernel, stream: Stream, monitor: StreamMonitor | None, load: float
    ) -> None:
        self.table = table
        self.place = table.crowd.enter(core, stream.share)
        self.block = table.crowd.block
        self.lasts = self.block / stream.sample_rate
        self.data: bytes | None = None
        self.more: deque[tuple[bytes, int, float]] = deque()
        self._core = core
        self._stream = stream
        self._monitor = monitor
        self._load_s = load / stream.sample_rate
        self._came: list[Samples] = []
        self._made: list[Samples] = []

    def passed(self, x: Samples, wet: Samples | None) -> None:
        """A block, and the step that it made due."""
        self._came.append(x)
        if wet is not None:
            self._made.append(wet)
        if len(self._came) >= NOTED:
            self.note()

    def note(self) -> None:
        """Bring the books up to date."""
        if not self._came:
            return
        x = np.concatenate(self._came)[np.newaxis]
        wet = np.concatenate(self._made)[np.newaxis] if self._made else _NONE
        self._came, self._made = [], []
        y = self._stream.note(x, wet)
        if self._monitor is not None:
            self._monitor.busy_s += self._load_s * x.shape[1]
            if not self._stream.bypass:
                self._monitor.push(x, y)

    def stand(self) -> None:
        """Give the place back: from here on the stream goes on by itself."""
        self.table.crowd.leave(self.place, self._core)
        self.note()

    def failed(self, x: Samples, wet: Samples) -> Samples:
        """The method made NaN: stand up, and let the stream's guard say what comes instead, ``(1, n)``."""
        self.stand()
        return self._stream.note(x[np.newaxis], wet[np.newaxis])


class Table:
    """A crowd, and who has a frame for it.

    Attributes:
        form: of the samples of its streams' messages.
        waiting: sessions with a frame in their seat.
    """

    def __init__(self, crowd: Crowd, form: str) -> None:
        self.crowd = crowd
        self.form = form
        self.waiting: list[Session] = []


class Seats:
    """All crowds of a server."""

    def __init__(self) -> None:
        self._tables: dict[object, Table] = {}

    def __len__(self) -> int:
        return sum(len(table.crowd) for table in self._tables.values())

    def take(self, stream: Stream, block: int, form: str, monitor: StreamMonitor | None, load: float) -> Seat | None:
        """A seat for a stream, if it can have one now.

        Args:
            stream: of one channel.
            block: samples of each of its frames.
            form: of the samples of its messages.
            monitor: who watches it.
            load: share of a core that its method takes.
        """
        core = stream.core()
        if core is None or not 0 < block <= core.frames.hop:
            return None
        key = (core.kind(), block, form)
        table = self._tables.get(key)
        if table is None or not len(table.crowd):  # empty ones are not kept beyond the next of their kind
            self._tables = {k: t for k, t in self._tables.items() if len(t.crowd)}
            table = self._tables[key] = Table(Crowd(core, block), form)
        return Seat(table, core, stream, monitor, load)
