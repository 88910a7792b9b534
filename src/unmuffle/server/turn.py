"""What happens in the event loop at once: when a frame came, and frames of several streams worked off together.

Methods that can take a step of several streams in one call gain by waiting for each other. While few such streams run,
none waits. From :data:`CROWD` of them on, their frames are gathered for :data:`GATHER_S` from the first one on: a delay
that is small beside a block, and bounds what a crowd costs. Frames of streams that have a seat (:mod:`.seats`) are the
rows of one array; those of others share at least their steps (:func:`unmuffle.enhancers.base.together`).

A server that was held up finds several frames of every stream. They stay in their seats and are worked off in rounds,
at no more than they cost otherwise: were they dearer, a busy server would never make up for what it lost.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from ..enhancers.base import together
from .faults import fault_of
from .protocol import framed, framed_rows, rows_of

if TYPE_CHECKING:
    from .metrics import Metrics
    from .seats import Seat, Table
    from .session import Session

_log = logging.getLogger("unmuffle.server")

CROWD: Final = 8
"""So many streams that can share their steps make it worth their while to wait for each other."""

GATHER_S: Final = 0.002
"""For so long."""

MOST: Final = 64
"""Streams whose frames are worked off in one go; so many do not wait."""


class Turn:
    """The event loop's work for streams.

    Args:
        metrics: where the latencies of seated streams are counted.

    Attributes:
        members: streams that run and can share their steps.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.members = 0
        self._metrics = metrics
        self._tables: list[Table] = []  # with frames in seats
        self._seated = 0  # so many streams
        self._began: float | None = None
        self._gathered: list[Session] = []
        self._timer: asyncio.TimerHandle | None = None

    def began(self) -> float:
        """When the loop began to look at what has arrived, on the clock of :func:`time.perf_counter`.

        A frame that is read late in a turn has waited since the turn began; that is part of its latency.
        """
        if self._began is None:
            self._began = time.perf_counter()
            asyncio.get_running_loop().call_soon(self._over)
        return self._began

    def _over(self) -> None:
        self._began = None

    def add(self, session: Session) -> None:
        """A session has frames that may wait."""
        self._gathered.append(session)
        if len(self._gathered) >= MOST:
            self.run()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.run)

    def sit(self, session: Session, seat: Seat) -> None:
        """A session has a frame in its seat, or one more behind it."""
        table = seat.table
        if not seat.more:
            if not table.waiting:
                self._tables.append(table)
            table.waiting.append(session)
            self._seated += 1
        if self._seated >= MOST:
            self.run()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.run)

    def run(self) -> None:
        """Work off what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, []
        tables, self._tables, self._seated = self._tables, [], 0
        for table in tables:
            sessions, table.waiting = table.waiting, []
            # Who stood up meanwhile waits elsewhere, or not at all.
            pairs = [(each, seat) for each in sessions if (seat := each.seat) is not None and seat.data is not None]
            while pairs:  # the first of each, then the second of those that have one, ...
                gathered += self._rows(table, pairs)
                pairs = [(each, seat) for each, seat in pairs if each.seat is seat and each.next()]
        for result in together([session.work() for session in gathered]):
            if isinstance(result, Exception):  # answers that could not be given are the sessions' own affair
                _log.error("a frame was not answered", exc_info=result)

    def _rows(self, table: Table, pairs: list[tuple[Session, Seat]]) -> list[Session]:
        """The frames in the seats of one table; returns those sessions that have to go by themselves."""
        x = rows_of([cast(bytes, seat.data) for _, seat in pairs], table.form)
        sums = np.add.reduce(x, axis=1, dtype=np.float64)
        if not math.isfinite(sums.sum()):  # said where each goes by itself
            fine = np.isfinite(sums).tolist()
            others = self._apart([pair for pair, good in zip(pairs, fine, strict=True) if not good])
            usable = [pair for pair, good in zip(pairs, fine, strict=True) if good]
            return others + self._rows(table, usable) if usable else others
        try:
            due, wet, out = table.crowd.push(np.array([seat.place for _, seat in pairs], np.intp), x)
        except Exception:  # one of them is at fault, which is found out when each goes by itself
            _log.exception("a crowd of %d streams failed", len(pairs))
            return self._apart(pairs)
        numbers = [session.number for session, _ in pairs]
        at = due.tolist()
        rows: list[int | None] = [None] * len(pairs)
        for row, i in enumerate(at):
            rows[i] = row
        sound = np.isfinite(np.add.reduce(wet, axis=1, dtype=np.float64)).tolist()
        answers = framed_rows([numbers[i] for i in at], out, table.form)
        took = []
        left = []
        for i, (session, seat) in enumerate(pairs):
            k = rows[i]
            try:
                if k is None:
                    took.append(session.passed(seat, x[i], None, framed(numbers[i])))
                elif sound[k]:
                    took.append(session.passed(seat, x[i], wet[k], answers[k]))
                elif session.substituted(seat, x[i], wet[k]):
                    left.append(session)
            except Exception as error:
                _log.exception("a frame was not answered")
                session.end(fault_of(error))
        self._metrics.latency.observe_all(took)
        return left

    @staticmethod
    def _apart(pairs: list[tuple[Session, Seat]]) -> list[Session]:
        for session, seat in pairs:
            session.by_itself(seat)
        return [session for session, _ in pairs]
