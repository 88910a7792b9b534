"""Worker processes and the queue before them.

A :class:`Place` is taken before a single byte of an upload is read, so that a full server says so at once. Each place
is in one of three states: uploading, waiting for a worker, being worked on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..quality.aside import child_environment
from .faults import Fault

_log = logging.getLogger("unmuffle.server")

Progress = Callable[[float, "float | None"], None]


@dataclass(eq=False)
class Place:
    """A place in the queue; give it back with :meth:`Crew.leave`."""

    state: str = "uploading"
    turn: asyncio.Future[None] | None = field(default=None, repr=False)


class Crew:
    """A fixed number of workers; each does one file at a time."""

    def __init__(self, workers: int, queue: int, timeout_s: float, retry_after_s: float) -> None:
        self.workers = workers
        self._room = workers + queue
        self._timeout_s = timeout_s
        self._retry_after_s = retry_after_s
        self._places: set[Place] = set()
        self._idle: list[asyncio.subprocess.Process] = []
        self._processes: set[asyncio.subprocess.Process] = set()
        self._waiting: deque[Place] = deque()
        self._busy = 0
        self._closed = False

    # -- places ----------------------------------------------------------------------------------

    def enter(self) -> Place:
        """Take a place.

        Raises:
            Fault: 503, all are taken.
        """
        if self._closed or len(self._places) >= self._room:
            raise Fault(503, "Busy", f"{len(self._places)} files are being worked on; try later", self._retry_after_s)
        place = Place()
        self._places.add(place)
        return place

    def leave(self, place: Place) -> None:
        """Give the place back; harmless when repeated."""
        self._places.discard(place)

    def position(self, place: Place) -> int:
        """How many wait before this one; 0 for the next, and for those that do not wait."""
        return self._waiting.index(place) if place in self._waiting else 0

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return len(self._places)

    @property
    def busy(self) -> int:
        """Workers at work."""
        return self._busy

    @property
    def pids(self) -> list[int]:
        """Of the processes that live."""
        return sorted(p.pid for p in self._processes if p.returncode is None)

    # -- work ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start one worker, so that the first request does not wait for it."""
        self._idle.append(await self._spawn())

    async def work(self, place: Place, task: dict[str, Any], progress: Progress | None = None) -> dict[str, Any]:
        """Wait for a worker and let it do the task. If this is cancelled, the worker is killed.

        Returns:
            What the worker says about the result.

        Raises:
            Fault: it cannot be done, the worker died, or it took too long.
        """
        await self._turn(place)
        process: asyncio.subprocess.Process | None = None
        sound = False
        try:
            process = await self._worker()
            try:
                answer = await asyncio.wait_for(self._converse(process, task, progress), self._timeout_s)
            except asyncio.TimeoutError:
                raise Fault(504, "TookTooLong", f"not done within {self._timeout_s:g} s; send a shorter file") from None
            sound = True
        finally:
            if process is not None:
                if sound and not self._closed:
                    self._idle.append(process)
                else:
                    await asyncio.shield(asyncio.ensure_future(self._end(process)))
            self._busy -= 1
            self._next()
        if "fault" in answer:
            said = answer["fault"]
            raise Fault(said["status"], said["kind"], said["message"], said["after"])
        done: dict[str, Any] = answer["done"]
        return done

    async def _turn(self, place: Place) -> None:
        place.state = "queued"
        if self._busy < self.workers and not self._waiting:
            self._busy += 1
        else:
            place.turn = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place.turn
            except asyncio.CancelledError:
                if place in self._waiting:
                    self._waiting.remove(place)
                elif place.turn.done() and not place.turn.cancelled():  # it was our turn at the same moment
                    self._busy -= 1
                    self._next()
                raise
        place.state = "running"

    def _next(self) -> None:
        while self._waiting and self._busy < self.workers:
            turn = self._waiting.popleft().turn
            if turn is not None and not turn.done():
                self._busy += 1
                turn.set_result(None)

    async def _converse(
        self, process: asyncio.subprocess.Process, task: dict[str, Any], progress: Progress | None
    ) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(ConnectionError):  # it died while idle: the missing answer says so
            process.stdin.write(json.dumps(task).encode() + b"\n")
            await process.stdin.drain()
        while True:
            line = await process.stdout.readline()
            if not line.endswith(b"\n"):
                code = await process.wait()
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                _log.error("a worker ended in the middle of a file (%s)", how)
                text = f"the process that worked on this file ended ({how}); nothing of the result is kept"
                raise Fault(500, "WorkerDied", text)
            message = json.loads(line)
            if "progress" in message:
                if progress is not None:
                    progress(*message["progress"])
            elif "ready" not in message:
                answer: dict[str, Any] = message
                return answer

    # -- processes -------------------------------------------------------------------------------

    async def _worker(self) -> asyncio.subprocess.Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            self._processes.discard(process)
        return await self._spawn()

    async def _spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "unmuffle.server.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is for the server: it drains
        )
        self._processes.add(process)
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._processes.discard(process)

    async def close(self) -> None:
        """End all workers, at once."""
        self._closed = True
        for place in self._waiting:
            if place.turn is not None:
                place.turn.cancel()
        await asyncio.gather(*(self._end(p) for p in list(self._processes)))
