"""What happens in the event loop at once: when a frame came, and frames of several streams worked off together.

Methods that can take a step of several streams in one call (:func:`unmuffle.enhancers.base.together`) gain by waiting
for each other. While few such streams run, none waits. From :data:`CROWD` of them on, their frames are gathered for
:data:`GATHER_S` from the first one on: a delay that is small beside a block, and bounds what a crowd costs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from ..enhancers.base import together

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
        for result in together([session.work() for session in gathered]):
            if isinstance(result, Exception):  # answers that could not be given are the sessions' own affair
                _log.error("a frame was not answered", exc_info=result)
