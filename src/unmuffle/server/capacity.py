r"""What a stream costs, and whether one more fits.

The load of a stream is the share of one core that it needs:

.. math:: \rho = \frac{c}{b} + \frac{w}{b}

with ``c`` the processor time in which the method works off a block, ``b`` the block's length in time, ``w`` what
moving one message costs. ``c`` is measured once for each method, rate, channel count and block length, in processor
time, so that a busy machine does not falsify it. ``w`` is followed while the server runs: the processor time of the
whole process, minus what the methods took, divided by the messages.

Many streams together cost less than the sum of what each would (their frames are worked off in common, and the
process is woken once for many), so while all of them send, the sum is scaled by what the process is seen to take.

A stream is admitted while the scaled sum of the admitted loads and its own stays below the configured share, while the
measured processor time leaves as much room, and while frames are on time (when another program takes the processor
away, the first two would not notice). Refusing is better than letting all streams stutter.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from ..enhancers.base import Enhancer, Stream, alone, together
from ..signal.blocks import Samples
from .config import ServerConfig
from .faults import Fault
from .protocol import Hello
from .seats import Seats

MESSAGE_S = 50e-6
"""What moving a message costs until it has been measured."""

_MEASURE_CPU_S = 0.06
_CROWD = 32  # streams that are measured together, where that makes a difference
_BEGIN_S = 0.25  # of sound that each has heard before: the first frames are others
_REMEMBERED = 256
_LEAST_SCALE = 0.5  # of the sum of loads: more than twice as many streams are not believed
_LOOP = 0.9  # of a core that the event loop may be given: with more, frames are answered too late for want of slack
_SENDING = 0.9  # share of the expected messages from which on a second counts as one in which all send


def method_load(enhancer: Enhancer, rate: int, channels: int, block_s: float) -> float:
    """Share of a core that a method needs for one stream among others; takes about 0.1 s of processor time.

    Args:
        enhancer: the method.
        rate, channels: of the stream.
        block_s: length of a block, in seconds.
    """
    size = max(1, round(block_s * rate))
    enhancer.warm()
    stream = enhancer.stream(rate, channels)
    others = [enhancer.stream(rate, channels) for _ in range(_CROWD - 1)] if stream.shares else []
    streams = [stream, *others]
    noise = np.random.default_rng(0).standard_normal((channels, size)).astype(np.float32) * np.float32(0.05)
    begun = max(1, round(_BEGIN_S / block_s))
    for i, each in enumerate(streams):  # as when they come one after the other: not all at the same place in a step
        alone(each.processing(np.tile(noise, begun)[:, : begun * size - i * size // len(streams)]))
    turn = _turn(streams, noise) if others else None
    if turn is None:

        def turn() -> None:
            together([each.processing(noise) for each in streams])

    for _ in range(4):  # tables, first-use code
        turn()
    blocks, start, used = 0, time.thread_time(), 0.0
    while used < _MEASURE_CPU_S:
        for _ in range(8):
            turn()
        blocks += 8 * len(streams)
        used = time.thread_time() - start
    return used / (blocks * size / rate)


def _turn(streams: list[Stream], noise: Samples) -> Callable[[], None] | None:
    """A block of each of many streams that have a seat, if they can have one."""
    seats, taken = Seats(), []
    for stream in streams:
        seat = seats.take(stream, noise.shape[1], "f32le", None, 0.0)
        if seat is None:
            return None
        taken.append(seat)
    crowd, places = taken[0].table.crowd, np.array([seat.place for seat in taken], np.intp)
    x = np.repeat(noise, len(streams), axis=0)

    def turn() -> None:
        due, wet, _ = crowd.push(places, x)
        made: dict[int, Samples] = dict(zip(due.tolist(), wet, strict=True))
        for i, seat in enumerate(taken):
            seat.passed(x[i], made.get(i))

    return turn


class Capacity:
    """The admission of streams.

    Args:
        config: the limits.
        busy_s: processor time that the methods of all streams have taken so far.

    Attributes:
        methods: what the methods of the streams that run need.
        rate: messages a second that they are about to send.
        light: the methods of those that run in the event loop.
        observed: share of a core that this process has used of late.
        message_s: what moving a message costs.
        scale: what all streams together take, over the sum of their loads.
        late: share of late frames of late.
    """

    def __init__(self, config: ServerConfig, busy_s: Callable[[], float]) -> None:
        self._config = config
        self._busy_s = busy_s
        self._known: OrderedDict[tuple[str, int, int, int], float] = OrderedDict()
        self._measuring = asyncio.Lock()
        self.methods = self.rate = self.light = 0.0
        self.streams = 0
        self.observed = 0.0
        self.message_s = MESSAGE_S
        self.scale = 1.0
        self.late = 0.0
        self._last = self._clocks()

    async def load(self, enhancer: Enhancer, hello: Hello) -> float:
        """The load of one such stream, method and messages."""
        size = max(1, round(hello.block_s * hello.rate))
        key = (enhancer.key(), hello.rate, hello.channels, size)
        async with self._measuring:  # one measurement at a time: it must not become the load itself
            known = self._known.pop(key, None)
            if known is None:
                block_s = size / hello.rate
                known = await asyncio.to_thread(method_load, enhancer, hello.rate, hello.channels, block_s)
            self._known[key] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known

    def admit(self, method: float, hello: Hello, *, light: bool = False) -> float:
        """Count a stream in, until :meth:`release`; returns its load.

        Args:
            method: share of a core that its method needs.
            hello: what it will send.
            light: it runs in the event loop, which has one core however many there are, moves all messages, and is
                filled to nine tenths.

        Raises:
            Fault: 503, no room.
        """
        config = self._config
        load = method + self.message_s / hello.block_s
        if load > config.stream_load:
            text = f"one such stream needs {load:.2f} cores, this server gives all streams {config.stream_load:g}"
            raise Fault(503, "TooHeavy", text + "; choose a lighter method or longer blocks", config.retry_after_s)
        why = None
        if self.streams >= config.max_streams:
            why = f"{self.streams} streams are running"
        elif self.admitted + self.scale * load > config.stream_load:
            why = f"streams take {self.admitted:.2f} of {config.stream_load:g} cores, this one needs {load:.3f}"
        elif light and self.scale * (self.light + self._messages + load) > _LOOP:
            why = f"the loop that answers light methods takes {self.scale * (self.light + self._messages):.2f} cores"
        elif self.observed + load > max(config.stream_load, 0.95):
            why = f"the server uses {self.observed:.2f} cores"
        elif self.late > config.late_share:
            why = f"{100 * self.late:.0f} % of the frames are late"
        if why is not None:
            raise Fault(503, "NoCapacity", why + "; try again later", config.retry_after_s)
        self.methods += method
        self.light += method if light else 0.0
        self.rate += 1.0 / hello.block_s
        self.streams += 1
        return load

    def release(self, method: float, hello: Hello, *, light: bool = False) -> None:
        """A stream has ended."""
        self.streams -= 1
        if not self.streams:
            self.scale = 1.0
        self.methods = max(0.0, self.methods - method) if self.streams else 0.0
        self.light = max(0.0, self.light - method * light) if self.streams else 0.0
        self.rate = max(0.0, self.rate - 1.0 / hello.block_s) if self.streams else 0.0

    @property
    def admitted(self) -> float:
        """What the streams that run take when all of them send: the scaled sum of their loads."""
        return self.scale * self._sum

    @property
    def _sum(self) -> float:
        """Of the loads, by what a message costs now."""
        return self.methods + self._messages

    @property
    def _messages(self) -> float:
        """What moving them takes."""
        return self.message_s * self.rate

    def observe(self, messages: int, late: int) -> None:
        """Look at the clocks, about once a second.

        Args:
            messages: binary messages since the last look.
            late: those of them that were late.
        """
        now = self._clocks()
        wall, used, methods = (b - a for a, b in zip(self._last, now, strict=True))
        if wall < 0.2:
            return
        self._last = now
        self.observed += 0.5 * (used / wall - self.observed)
        if messages >= max(200.0, _SENDING * self.rate * wall) and self._sum:
            seen = min(1.5, max(_LEAST_SCALE, used / wall / self._sum))
            self.scale += 0.3 * (seen - self.scale)
        if messages >= 200:
            cost = min(1e-3, max(1e-5, (used - methods) / messages))
            self.message_s += 0.3 * (cost - self.message_s)
        share = late / messages if messages >= 50 else 0.0
        self.late += 0.3 * (share - self.late)

    def _clocks(self) -> tuple[float, float, float]:
        """The wall's, the process's, and that of the methods."""
        return time.monotonic(), time.process_time(), self._busy_s()
