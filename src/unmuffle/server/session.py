"""One ``/stream`` connection: hello, ready, then a frame back for every frame.

One frame of a stream is under way at a time; the next is read when its answer has been handed to the socket. A client
that sends faster than real time, or reads slower, is therefore held back by the network's own flow control, and the
server's memory does not grow with its impatience.

There are two ways for a frame. **At once**: a method that works off a frame within a millisecond does it where the
bytes arrive, in the event loop, and the answer is written before the next connection is looked at; no thread, no
queue, no turn of a task (:meth:`Session.at_once`); or, in a crowd, two milliseconds later together with those of other
streams (:mod:`.turn`). **In turn**: everything else, and each message about which there
is something to say or to wait for, goes through the task of the connection, and heavy methods from there to a lane.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from ..enhancers.base import Enhancer, Stream, Work
from ..enhancers.compose import Identity
from ..errors import NonFiniteError, UnboundedLatencyError, UnmuffleError
from ..quality.fallback import DRY, MAIN, SPARE, Switch, guard_for
from ..quality.figures import Figures
from ..quality.monitor import StreamMonitor
from ..signal.blocks import Samples
from . import protocol
from .faults import Fault, fault_of
from .lanes import Lane
from .protocol import Hello, WireError
from .seats import Seat
from .turn import CROWD

if TYPE_CHECKING:
    from .state import State

T = TypeVar("T")

_log = logging.getLogger("unmuffle.server")

PIECE_S = 0.25
"""A longer block is worked off in pieces, so that other streams of the lane get their turn."""

LATE_S = 0.01
"""A frame is late when its answer takes longer than the frame lasts, but at least this."""

MISTAKES = 100
"""Messages that may be wrong before the connection is closed."""

AT_ONCE_S = 0.001
"""Longest time that a method may take for a frame in the event loop, where all other connections wait for it."""

STEADY = 8
"""Frames of one size after which a stream asks for a seat."""

_SPEED = 1.05  # real time, with room for clocks that run fast
_KEPT = 1024

_NOTHING: Samples = np.zeros((1, 0), np.float32)

_CLOSE = {401: protocol.POLICY, 429: protocol.POLICY, 503: protocol.TRY_LATER, 500: protocol.INTERNAL}


class Door(Protocol):
    """The connection, as a session sees it that answers without its task."""

    def answer(self, payload: bytes) -> None:
        """Send a binary message."""

    def send_framed(self, message: bytes) -> None:
        """Send a binary message that has its header already (:func:`.frames.binary`)."""

    def refer(self, payload: bytes) -> None:
        """Leave a binary message to the task."""


class Waiting(NamedTuple):
    """A frame of so many samples, which last ``lasts`` seconds, and when it came."""

    data: bytes
    number: int
    samples: int
    lasts: float
    came: float


class Session:
    """One connection.

    Attributes:
        expired: why it was ended from outside (by :meth:`end`), or ``None``.
        load: share of a core that it was admitted with.
        direct_load: the method's part of it, if that runs in the event loop, else 0.
    """

    def __init__(self, state: State, scope: Any, receive: Any, send: Any) -> None:
        self._state = state
        self._scope = scope
        self._receive = receive
        self._send = send
        self._task = asyncio.current_task()
        self._hello: Hello | None = None
        self._stream: Stream | None = None
        self._lane: Lane | None = None  # none: the event loop
        self._occupied = True  # the task has a message in hand
        self._door: Door | None = None  # where answers go that are not the task's
        self._waits: list[Waiting] = []  # frames that wait for those of other streams
        self._shares = False
        self.seat: Seat | None = None
        self._number = 0  # of the frame that waits in the seat
        self._came = 0.0
        self._alike = 0  # frames of one size after another
        self._size = 0  # bytes of each
        self._piece = 0  # samples of the longest message that is worked off in one go
        self._expected: int | None = None
        self._began = self._heard = time.perf_counter()
        self._sending: float | None = None
        self._sent_s = 0.0  # seconds of sound that came
        self._credit_at = self._began
        self._credit = state.config.max_ahead_s
        self._mistakes = 0
        self._owner = ""
        self._latencies = array("d", bytes(8 * _KEPT))
        self._loop = asyncio.get_running_loop()
        self._monitor: StreamMonitor | None = None
        self._figures: Figures | None = None
        self._active = MAIN
        self._names: dict[str, str] = {}
        self.switches = 0
        self.expired: Fault | None = None
        self.load = self.direct_load = self._method_load = 0.0
        self._frame_bytes_in = self._frame_bytes_out = 4
        self.frames = self.late = self.lost = 0
        self.samples_in = self.samples_out = 0
        self.counted = (0, 0, 0.0)  # frames, late, seconds: what the metrics have seen already

    # -- from outside ----------------------------------------------------------------------------

    @property
    def format(self) -> str:
        """Of the samples of its messages."""
        return "f32le" if self._hello is None else self._hello.format

    def overdue(self, now: float) -> Fault | None:
        """Has the client been silent, or deaf, for too long?"""
        config = self._state.config
        if self._sending is not None and now - self._sending > config.send_timeout_s:
            return Fault(408, "SendTimeout", f"nothing was read for {config.send_timeout_s:g} s")
        limit = config.idle_timeout_s if self._stream is not None else config.hello_timeout_s
        if self._sending is None and now - self._heard > limit:
            return Fault(408, "IdleTimeout", f"nothing came for {limit:g} s")
        return None

    def end(self, why: Fault) -> None:
        """Close the connection, from another task."""
        if self.expired is None and self._task is not None:
            self.expired = why
            self._task.cancel()

    async def announce(self, message: dict[str, Any]) -> None:
        """Tell the client something out of turn; a client that does not read is not waited for."""
        try:
            await asyncio.wait_for(self._text(message), 1.0)
        except (asyncio.TimeoutError, Exception):
            return

    @property
    def number(self) -> int:
        """Of the frame that waits in the seat."""
        return self._number

    @property
    def seconds(self) -> float:
        """Sound that came, in seconds."""
        return self._sent_s

    @property
    def live(self) -> bool:
        """Is a stream running?"""
        return self._stream is not None

    # -- the connection --------------------------------------------------------------------------

    async def run(self) -> None:
        """From the handshake to the close."""
        if (await self._receive())["type"] != "websocket.connect":
            return
        await self._send({"type": "websocket.accept"})
        abort = True
        try:
            try:
                await self._open()
                await self._serve()
                abort = False
            except Fault as fault:
                await self._farewell(fault, _CLOSE.get(fault.status, protocol.POLICY))
                abort = False
            except UnmuffleError as error:
                await self._farewell(fault_of(error), protocol.POLICY)
                abort = False
        except asyncio.CancelledError:
            if self.expired is None:
                raise
            restarting = self.expired.kind == "ShuttingDown"
            code = protocol.RESTART if restarting else protocol.POLICY
            deaf = self.expired.kind == "SendTimeout"
            if not deaf:
                try:
                    await asyncio.wait_for(self._farewell(self.expired, code), 1.0)
                    abort = False
                except asyncio.TimeoutError:
                    pass
        finally:
            self._close()
            if abort:  # the rest of what was sent will never be read
                self._scope.get("extensions", {}).get("unmuffle.abort", {}).get("call", lambda: None)()

    async def _open(self) -> None:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            return
        self._heard = math.inf  # the time until the stream is ready is ours, not the client's
        text = message.get("text")
        if text is None:
            raise WireError("the first message must be the hello, as text")
        config = self._state.config
        hello = protocol.parse_hello(protocol.parse_text(text), config.max_channels, config.model)
        owner = self._state.guard.owner_of_stream(self._scope, hello.key)
        enhancer = await asyncio.to_thread(self._guarded_enhancer, hello)
        stream = await asyncio.to_thread(hello.stream, enhancer)
        capacity = self._state.capacity
        method = await capacity.load(enhancer, hello)
        direct = self._scope.get("extensions", {}).get("unmuffle.direct")
        light = method * hello.block_s <= AT_ONCE_S
        self._state.limits.open_stream(owner)
        self._owner = owner
        try:
            self.load = capacity.admit(method, hello, light=light)
        except BaseException:
            self._state.limits.close_stream(owner)
            raise
        if light:
            self.direct_load = method
            self._shares = stream.shares and direct is not None
            self._state.turn.members += self._shares
        else:
            self._lane = self._state.lanes.join()
        self._hello, self._stream, self._method_load = hello, stream, method
        self._piece = round(PIECE_S * hello.rate)
        if config.quality_every_s:
            self._monitor = StreamMonitor(
                self._state.surveyor, hello.rate,
                stream.latency_samples if hello.block_size is None else stream.block_latency_samples,
                every_s=config.quality_every_s, done=self._measured,
            )  # fmt: skip
        self._frame_bytes_in = hello.frame_bytes
        self._frame_bytes_out = stream.channels_out * protocol.FORMATS[hello.format][1]
        latency = stream.latency_samples if hello.block_size is None else stream.block_latency_samples
        self._state.metrics.streams_total.inc()
        await self._text({
            "type": "ready", "method": hello.method, "rate": hello.rate, "channels": hello.channels,
            "channels_out": stream.channels_out, "format": hello.format, "block_size": hello.block_size,
            "latency_samples": latency, "latency_ms": 1000.0 * latency / hello.rate,
            "strength": hello.strength_db, "bypass": hello.bypass,
            "load": round(self.load, 5), "max_message_bytes": config.max_message_bytes,
            "idle_timeout_s": config.idle_timeout_s,
        })  # fmt: skip
        self._heard = time.perf_counter()
        if light and direct is not None:
            self._door = direct["door"]
            direct["call"](self)

    def _guarded_enhancer(self, hello: Hello) -> Enhancer:
        """The enhancer, with another behind it for the case that it fails."""
        enhancer = hello.enhancer()
        behind_s = self._state.config.behind_s or float("inf")
        try:
            guard = guard_for(
                enhancer, hello.rate, hello.channels, hello.block_size, behind_s=behind_s, notify=self._switched
            )
            self._names = {MAIN: hello.method, SPARE: guard.spare.name, DRY: Identity.name}
            return guard
        except UnboundedLatencyError:
            return enhancer  # refused when its stream is made, in better words

    def _switched(self, switch: Switch) -> None:
        """Where the stream runs: it has changed its method."""
        hello, loop = self._hello, self._loop
        if hello is None:  # the trial run that measures the load
            return
        self._active = switch.to
        self.switches += 1
        self._state.metrics.switches.labels(switch.to, switch.reason).inc()
        self._state.surveyor.switched(switch, hello.method)
        message = {
            "type": "switched", "to": switch.to, "method": self._names[switch.to], "reason": switch.reason,
            "at_s": round(switch.at_s, 3),
        }  # fmt: skip
        loop.call_soon_threadsafe(lambda: loop.create_task(self.announce(message)))

    def _measured(self, figures: Figures) -> None:
        """In the surveyor's thread: a window of the stream was measured."""
        self._figures = figures

    def _stand(self) -> None:
        """The stream is by itself from here on."""
        seat, self.seat = self.seat, None
        if seat is not None:
            self._alike = 0
            seat.stand()

    def _through(self, x: Samples, *, fixed: bool = False) -> Samples:
        """In the lane or the loop: samples through the stream, under watch."""
        stream, monitor = self._stream, self._monitor
        assert stream is not None
        if monitor is None:
            return stream.process_block(x) if fixed else stream.process(x)
        # A look at the clock of the thread is a call of the system, a microsecond of the few that a light frame takes.
        clock = time.perf_counter if self._lane is None else time.thread_time
        begun = clock()
        y = stream.process_block(x) if fixed else stream.process(x)
        monitor.busy_s += clock() - begun
        if not stream.bypass:
            monitor.push(stream.dry(x), y)
        return y

    def _close(self) -> None:
        if self._stream is None or self._hello is None:
            return
        self._stand()
        self._state.collect(self)
        self._state.capacity.release(self._method_load, self._hello, light=self._lane is None)
        self._state.turn.members -= self._shares
        self._state.limits.close_stream(self._owner)
        if self._lane is not None:
            self._state.lanes.part(self._lane)
        self._stream = None
        self._waits = []

    async def _serve(self) -> None:
        if self._stream is None:
            return
        receive = self._receive
        while True:
            self._occupied = False
            message = await receive()
            self._occupied = True
            now = self._heard = time.perf_counter()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            try:
                if data is not None:
                    await self._frame(data, now)
                elif await self._control(message.get("text") or ""):
                    return
            except UnmuffleError as error:
                await self._mistake(error, data)

    async def _mistake(self, error: UnmuffleError, data: bytes | None) -> None:
        """Name the error; the stream goes on as if the message had not been."""
        kind = type(error).__name__
        self._state.metrics.errors.labels(kind).inc()
        answer: dict[str, Any] = {"type": "error", "error": str(error), "kind": kind}
        if data is not None and len(data) >= protocol.HEADER.size:
            answer["seq"] = protocol.sequence_of(data)
        await self._text(answer)
        self._mistakes += 1
        if self._mistakes >= MISTAKES:
            raise Fault(422, "TooManyErrors", f"{MISTAKES} messages were wrong")

    # -- frames ----------------------------------------------------------------------------------

    def at_once(self, data: bytes) -> bytes | None:
        """Where the bytes arrive: the answer to a frame, or ``None`` if the task has to see to it.

        Nothing has changed when the answer is ``None``, so that the task finds everything as it was. An empty answer
        means that it comes later, from :meth:`work`: the frame waits for those of other streams.
        """
        hello, stream, size = self._hello, self._stream, len(data)
        if self._occupied or hello is None or stream is None or size < protocol.HEADER.size:
            return None
        turn, seat = self._state.turn, self.seat
        if seat is not None and turn.members >= CROWD:
            if size == self._size and not self._waits and self._rows(seat, data):
                turn.sit(self, seat)
                return b""
            if seat.data is not None:  # something else, before the turn: all wait as others do
                self.by_itself(seat)
                turn.add(self)
        number: int = protocol.HEADER.unpack_from(data)[0]
        waits = self._waits
        expected = self._expected if not waits else (waits[-1].number + 1) % protocol.MODULUS
        if number != expected and expected is not None:
            return None
        count, rest = divmod(size - protocol.HEADER.size, self._frame_bytes_in)
        if rest or count > self._piece:
            return None
        came, now = turn.began(), time.perf_counter()  # read late in a turn, it has waited since it began
        lasts = count / hello.rate
        if self._credit_for(now) < lasts + sum(each.lasts for each in waits):
            return None
        frame = Waiting(data, number, count, lasts, came)
        if waits or (self._shares and turn.members >= CROWD):
            waits.append(frame)
            if len(waits) == 1:
                turn.add(self)
            return b""
        try:
            out = self._short(data, number)
        except Exception:  # the task will meet it again, and knows what to say
            return None
        self._answered(frame, out)
        return out

    def settle(self) -> None:
        """Whatever comes next finds no frame waiting."""
        if self._waits or (self.seat is not None and self.seat.data is not None):
            self._state.turn.run()

    def work(self) -> Work:
        """The frames that wait, one after the other, as work to be done together with that of others."""
        hello, stream, door = self._hello, self._stream, self._door
        waits, self._waits = self._waits, []
        if hello is None or stream is None or door is None:  # closed meanwhile
            return _NOTHING
        self._stand()
        fixed, monitor, failed = hello.block_size is not None, self._monitor, False
        for frame in waits:
            if not failed:
                try:
                    x = protocol.samples_of(frame.data, hello)
                    y = yield from stream.processing(x, fixed=fixed)
                except Exception:  # the task will meet it again, and knows what to say
                    failed = True
            if failed:
                door.refer(frame.data)
                continue
            if monitor is not None:
                monitor.busy_s += self.direct_load * frame.lasts
                if not stream.bypass:
                    monitor.push(stream.dry(x), y)
            out = protocol.packed(frame.number, y, hello.format)
            self._answered(frame, out)
            door.answer(out)
        self._sit([0] if failed else [len(frame.data) for frame in waits])
        return _NOTHING

    def _sit(self, sizes: list[int]) -> None:
        """Frames of so many bytes went by themselves: do they need no more looking at?"""
        stream = self._stream
        for size in sizes:
            self._alike = self._alike + 1 if size == self._size else 0
            self._size = size
        if self._alike < STEADY or stream is None or stream.channels != 1:
            return
        self._alike = -STEADY  # if there is none now, ask again later
        block = (size - protocol.HEADER.size) // self._frame_bytes_in
        self.seat = self._state.seats.take(stream, block, self.format, self._monitor, self.direct_load)

    # -- frames of a stream that has a seat ------------------------------------------------------

    def _rows(self, seat: Seat, data: bytes) -> bool:
        """Is this the frame that comes next, and in time? Then it waits in the seat."""
        number: int = protocol.HEADER.unpack_from(data)[0]
        now = time.perf_counter()
        credit = self._credit + _SPEED * (now - self._credit_at)
        if seat.data is None:
            if number != self._expected or credit < seat.lasts:
                return False
            seat.data, self._number, self._came = data, number, self._state.turn.began()
            return True
        last = seat.more[-1][1] if seat.more else self._number
        most = self._state.config.max_ahead_s
        if number != (last + 1) % protocol.MODULUS or min(credit, most) < (2 + len(seat.more)) * seat.lasts:
            return False
        seat.more.append((data, number, self._state.turn.began()))
        return True

    def next(self) -> bool:
        """The next frame of those behind moves up into the seat, if there is one."""
        seat = self.seat
        if seat is None or seat.data is not None or not seat.more:
            return False
        seat.data, self._number, self._came = seat.more.popleft()
        return True

    def passed(self, seat: Seat, x: Samples, wet: Samples | None, answer: bytes) -> float:
        """The frame in the seat was worked off: send the answer, a whole frame of the connection; its latency."""
        door = self._door
        assert door is not None
        seat.data = None
        lasts = seat.lasts
        self._expected = (self._number + 1) % protocol.MODULUS
        door.send_framed(answer)
        now = time.perf_counter()
        credit, most = self._credit + _SPEED * (now - self._credit_at), self._state.config.max_ahead_s
        self._credit = (credit if credit < most else most) - lasts
        self._heard = self._credit_at = now
        took = now - self._came
        self._latencies[self.frames % _KEPT] = took
        self.frames += 1
        self._sent_s += lasts
        self.samples_in += seat.block
        if took > LATE_S and took > lasts:
            self.late += 1
        if wet is not None:
            self.samples_out += len(wet)
        seat.passed(x, wet)
        return took

    def substituted(self, seat: Seat, x: Samples, wet: Samples) -> bool:
        """What was made of the frame in the seat cannot be used: another method answers. Do more frames wait?"""
        door = self._door
        assert door is not None
        self.seat = seat.data = None
        self._alike = -STEADY
        out = protocol.packed(self._number, seat.failed(x, wet), self.format)
        self._answered(Waiting(b"", self._number, seat.block, seat.lasts, self._came), out)
        door.answer(out)
        self._behind(seat)
        return bool(self._waits)

    def by_itself(self, seat: Seat) -> None:
        """The frames in the seat go the way of others."""
        assert seat.data is not None
        self._waits.append(Waiting(seat.data, self._number, seat.block, seat.lasts, self._came))
        seat.data = None
        self._behind(seat)

    def _behind(self, seat: Seat) -> None:
        """Those behind as well."""
        self._waits += [Waiting(data, number, seat.block, seat.lasts, came) for data, number, came in seat.more]
        seat.more.clear()

    def _answered(self, frame: Waiting, out: bytes) -> None:
        now = time.perf_counter()
        self._credit = self._credit_for(now) - frame.lasts
        self._heard = self._credit_at = now
        self._expected = (frame.number + 1) % protocol.MODULUS
        self._count(frame.samples, frame.lasts, out, now - frame.came)

    async def _frame(self, data: bytes, came: float) -> None:
        hello = self._hello
        assert hello is not None
        number = protocol.sequence_of(data)
        self._follow(number)
        count = (len(data) - protocol.HEADER.size) // hello.frame_bytes
        lasts = count / hello.rate
        if await self._pace(lasts):
            came = time.perf_counter()
        if hello.block_size is None and count > self._piece:
            out = await self._long(data, number)
        else:
            out = await self._work(lambda: self._short(data, number))
        self._sending = time.perf_counter()
        await self._send({"type": "websocket.send", "bytes": out})
        self._sending = None
        self._count(count, lasts, out, time.perf_counter() - came)

    def _count(self, count: int, lasts: float, out: bytes, took: float) -> None:
        """A frame was answered."""
        self._latencies[self.frames % _KEPT] = took
        self.frames += 1
        self._sent_s += lasts
        self.samples_in += count
        self.samples_out += (len(out) - protocol.HEADER.size) // self._frame_bytes_out
        if took > LATE_S and took > lasts:
            self.late += 1
        self._state.metrics.latency.observe(took)

    async def _work(self, work: Callable[[], T]) -> T:
        """A piece of work in the stream's lane; of a light stream, in the event loop, which then sees to others."""
        if self._lane is not None:
            return await self._lane.do(work)
        done = work()
        await asyncio.sleep(0)
        return done

    def _short(self, data: bytes, number: int) -> bytes:
        """In the lane or the loop: one message through the stream."""
        hello, stream = self._hello, self._stream
        if hello is None or stream is None:  # closed meanwhile
            return b""
        self._stand()
        x = protocol.samples_of(data, hello)
        y = self._through(x, fixed=hello.block_size is not None)
        return protocol.packed(number, y, hello.format)

    async def _long(self, data: bytes, number: int) -> bytes:
        """A long message, in pieces: what comes out does not depend on how a signal is cut."""
        hello, piece = self._hello, self._piece
        assert hello is not None
        self._stand()

        def checked() -> Samples:
            x = protocol.samples_of(data, hello)
            if not np.isfinite(x).all():  # before the stream has seen the first piece
                raise NonFiniteError("the block holds NaN or infinity; replace them before sending")
            return x

        x = await self._work(checked)
        parts = []
        for start in range(0, x.shape[1], piece):
            parts.append(await self._work(_later(self._through, x[:, start : start + piece])))
            self._heard = time.perf_counter()
        return await self._work(lambda: protocol.packed(number, np.concatenate(parts, axis=1), hello.format))

    def _follow(self, number: int) -> None:
        """Sequence numbers go up by one; those left out were lost by the client, and are counted."""
        if self._expected is not None:
            ahead = (number - self._expected) % protocol.MODULUS
            if ahead >= protocol.MODULUS // 2:
                raise WireError(f"sequence number {number} after {(self._expected - 1) % protocol.MODULUS}")
            self.lost += ahead
        self._expected = (number + 1) % protocol.MODULUS

    async def _pace(self, lasts: float) -> bool:
        """Hold back a stream that runs ahead of real time; was it necessary?"""
        now = time.perf_counter()
        self._credit = self._credit_for(now) - lasts
        self._credit_at = now
        if self._credit >= 0:
            return False
        await asyncio.sleep(-self._credit / _SPEED)
        self._heard = time.perf_counter()
        return True

    def _credit_for(self, now: float) -> float:
        """Seconds by which the stream may run ahead."""
        return min(self._state.config.max_ahead_s, self._credit + _SPEED * (now - self._credit_at))

    # -- control ---------------------------------------------------------------------------------

    async def _control(self, text: str) -> bool:
        """Carry out a text message; true when the client says goodbye."""
        stream, hello = self._stream, self._hello
        assert stream is not None
        assert hello is not None
        message = protocol.parse_text(text)
        kind = message["type"]
        allowed = {"strength": {"db"}, "bypass": {"on"}, "flush": set(), "reset": set(), "stats": set(), "bye": set()}
        if kind not in allowed:
            raise WireError(f"there is no message of type {kind[:50]!r}; there are: {', '.join(allowed)}")
        if set(message) - {"type"} != allowed[kind]:
            raise WireError(f"a message of type {kind!r} has the keys: {', '.join(['type', *allowed[kind]])}")
        if kind not in ("stats", "bye"):
            self._stand()
        if kind == "strength":
            decibels = protocol.parse_strength(message["db"])
            stream.set_strength(float("inf") if decibels is None else decibels)
            await self._text({"type": "strength", "db": decibels})
        elif kind == "bypass":
            if not isinstance(message["on"], bool):
                raise WireError("bypass: on is true or false")
            stream.bypass = message["on"]
            self._start_window()
            await self._text({"type": "bypass", "on": stream.bypass})
        elif kind == "flush":
            tail = await self._work(lambda: np.atleast_2d(stream.flush()))
            self.samples_out += tail.shape[1]
            self._start_window()
            await self._text({"type": "flushed", "samples": tail.shape[1]})
            number = self._expected - 1 if self._expected is not None else 0
            await self._guarded({"type": "websocket.send", "bytes": protocol.packed(number, tail, hello.format)})
        elif kind == "reset":
            await self._work(stream.reset)
            self._start_window()
            await self._text({"type": "reset"})
        elif kind == "stats":
            await self._text({"type": "stats", **self.stats()})
        else:
            await self._send({"type": "websocket.close", "code": protocol.NORMAL})
        return kind == "bye"

    def _start_window(self) -> None:
        """The signal, or what is done to it, is another from here on."""
        if self._monitor is not None:
            self._monitor.reset()

    def stats(self) -> dict[str, Any]:
        """Counters, and the latency that the server added to the last frames."""
        kept = 1e3 * np.array(self._latencies[: min(self.frames, _KEPT)])
        p50, p99 = (float(v) for v in np.percentile(kept, (50, 99))) if len(kept) else (0.0, 0.0)
        return {
            "frames": self.frames,
            "samples_in": self.samples_in,
            "samples_out": self.samples_out,
            "lost": self.lost,
            "late": self.late,
            "errors": self._mistakes,
            "server_ms": {"p50": p50, "p99": p99, "max": float(kept.max()) if len(kept) else 0.0},
            "load": self.load,
            "active": self._active,
            "switches": self.switches,
            "quality": None if self._figures is None else self._figures.to_dict(),
            "uptime_s": time.perf_counter() - self._began,
        }

    # -- sending ---------------------------------------------------------------------------------

    async def _text(self, message: dict[str, Any]) -> None:
        await self._guarded({"type": "websocket.send", "text": json.dumps(message)})

    async def _guarded(self, message: dict[str, Any]) -> None:
        self._sending = time.perf_counter()
        await self._send(message)
        self._sending = None

    async def _farewell(self, fault: Fault, code: int) -> None:
        self._state.metrics.errors.labels(fault.kind).inc()
        if fault.status in (429, 503):
            self._state.metrics.refused.labels(fault.kind).inc()
        await self._text({"type": "error", **fault.body()})
        await self._send({"type": "websocket.close", "code": code, "reason": fault.kind})


def _later(work: Callable[[Samples], Samples], block: Samples) -> Callable[[], Samples]:
    return lambda: work(block)
