"""Threads in which streams run, so that the event loop only moves bytes.

Each stream belongs to one lane and has one piece of work under way at a time: its order needs no lock. What a lane
has finished is handed to the event loop in one go, however many streams it is for; under load, one wake-up carries
many answers.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Item = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Lane:
    """One thread and its queue.

    Attributes:
        streams: how many belong to it.
        busy_s: processor time it has used.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        self._loop = loop
        self._work: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._finished: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._waking = threading.Lock()
        self._called = False
        self.streams = 0
        self.busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"lane-{number}", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run a function in the lane's thread; await the result."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._work.put((future, work))
        return future

    def _run(self) -> None:
        while True:
            item = self._work.get()
            if item is None:
                return
            future, work = item
            value, error = None, None
            try:
                value = work()
            except BaseException as raised:  # the waiting session decides what it means
                error = raised
            self.busy_s = time.thread_time()
            self._finished.append((future, value, error))
            with self._waking:
                call, self._called = not self._called, True
            if call:
                try:
                    self._loop.call_soon_threadsafe(self._hand_over)
                except RuntimeError:  # the loop has ended
                    return

    def _hand_over(self) -> None:
        with self._waking:
            self._called = False
        while self._finished:
            future, value, error = self._finished.popleft()
            if future.done():  # cancelled meanwhile
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """End the thread once its queue is empty."""
        self._work.put(None)
        self._thread.join(timeout=5.0)


class Lanes:
    """All lanes of a server."""

    def __init__(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        self._lanes = [Lane(loop, i) for i in range(count)]

    def join(self) -> Lane:
        """The emptiest lane, for a new stream."""
        lane = min(self._lanes, key=lambda each: each.streams)
        lane.streams += 1
        return lane

    @staticmethod
    def part(lane: Lane) -> None:
        """A stream has ended."""
        lane.streams -= 1

    @property
    def busy_s(self) -> float:
        """Processor time of all lanes."""
        return sum(lane.busy_s for lane in self._lanes)

    def close(self) -> None:
        """End all threads."""
        for lane in self._lanes:
            lane.close()
