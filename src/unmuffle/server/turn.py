"""What happens in the event loop at once: when a frame came, and frames of several streams worked off together.

Methods that can take a step of several streams in one call gain by waiting for each other. While few such streams run,
none waits. From :data:`CROWD` of them on, their frames are gathered for :data:`GATHER_S` from the first one on: a delay
that is small beside a block, and bounds what a crowd costs. Frames of streams that have a seat (:mod:`.seats`) are the
rows of one array; those of others share at least their steps (:func:`unmuffle.enhancers.base.together`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from ..enhancers.base import together
from .faults import fault_of
from .protocol import HEADER, packed_rows, rows_of

if TYPE_CHECKING:
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

    Attributes:
        members: streams that run and can share their steps.
    """

    def __init__(self) -> None:
        self.members = 0
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

    @property
    def crowded(self) -> bool:
        """Is it worth waiting?"""
        return self.members >= CROWD

    def add(self, session: Session) -> None:
        """A session has frames that may wait."""
        self._gathered.append(session)
        if len(self._gathered) >= MOST:
            self.run()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.run)

    def run(self) -> None:
        """Work off what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, []
        apart: list[Session] = []
        seated: dict[object, list[Session]] = {}
        for session in gathered:
            alike = session.row()
            if alike is None:
                apart.append(session)
            else:
                seated.setdefault(alike, []).append(session)
        for sessions in seated.values():
            apart += self._rows(sessions)
        for result in together([session.work() for session in apart]):
            if isinstance(result, Exception):  # answers that could not be given are the sessions' own affair
                _log.error("a frame was not answered", exc_info=result)

    def _rows(self, sessions: list[Session]) -> list[Session]:
        """Frames of streams with seats in one crowd; returns those sessions that have to go by themselves."""
        frames = [session.first for session in sessions]
        form = sessions[0].format
        x = rows_of([frame.data for frame in frames], form)
        sums = np.add.reduce(x, axis=1, dtype=np.float64)
        if not math.isfinite(sums.sum()):  # said where each goes by itself
            fine = np.isfinite(sums).tolist()
            others = [each for each, good in zip(sessions, fine, strict=True) if not good]
            left = [each for each, good in zip(sessions, fine, strict=True) if good]
            return others + self._rows(left) if left else others
        seats = [session.taken for session in sessions]
        try:
            due, wet, out = seats[0].crowd.push(np.array([seat.place for seat in seats], np.intp), x)
        except Exception:  # one of them is at fault, which is found out when each goes by itself
            _log.exception("a crowd of %d streams failed", len(sessions))
            return sessions
        at = due.tolist()
        made: list[int | None] = [None] * len(sessions)
        for k, i in enumerate(at):
            made[i] = k
        sound = np.isfinite(np.add.reduce(wet, axis=1, dtype=np.float64)).tolist()
        answers = packed_rows([frames[i].number for i in at], out, form)
        for i, session in enumerate(sessions):
            row = made[i]
            try:
                if row is None:
                    session.passed(x[i], None, HEADER.pack(frames[i].number))
                elif sound[row]:
                    session.passed(x[i], wet[row], answers[row])
                else:
                    session.substituted(x[i], wet[row])
            except Exception as error:
                _log.exception("a frame was not answered")
                session.end(fault_of(error))
        return []
