"""One running connection from a microphone to an output: open it, steer it, watch it, close it."""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.meter import FLOOR_DBFS, Level, Meter, mean_level
from ..engine.stream import Counts, LiveStream, Load, hurry
from ..enhancers.base import Enhancer
from ..errors import DeviceError, OutputError, ParameterError
from ..quality.fallback import MAIN, SPARE, Guarded, Switch, guard_for
from .blocks import Watch, block_of, choose
from .devices import Device, close, find
from .recorder import Recorder

STEPS_DB = (0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 24.0, 30.0, 40.0, math.inf)
"""Strengths that the keys step through."""

LARGEST_MS = 80.0
"""Blocks do not become larger than this by themselves."""

FIRST_S, SILENT_S = 8.0, 3.0
"""A device is taken for lost when its first callback takes longer, or a later one."""

SETTLING_S = 1.0
"""Trouble in the first second of sound changes nothing: drivers fill their buffers then."""

REVIVALS, REVIVE_WITHIN_S = 4, 60.0
"""A stream that the driver ends is opened again, so often within this time."""

STALL_S = 1.0
"""A device that pauses for so long in the middle gets larger blocks and buffers: drivers whose buffer ran empty
may take seconds to go on."""

CUSHION = 4
"""Blocks in the driver's buffer that are asked for, once it has lost some; until then as few as it can."""

BEHIND_S = 1.0
"""A method that has fallen so far behind real time gives way to a lighter one (:mod:`unmuffle.quality.fallback`)."""

WINDOW_S = 0.3
"""Span over which levels and the reduction are measured."""

SWITCH_S = 0.0005
"""How long another thread may keep the interpreter while a callback waits (Python's default: 5 ms)."""


@dataclass(frozen=True)
class Settings:
    """What is asked for.

    Attributes:
        enhancer: the method.
        input, output: device by number or name; ``None``: the system's default.
        rate: in Hz; ``None``: what the input device likes best.
        channels: taken from the input, 1 or more.
        block_ms: size of the blocks; ``None``: found by trial, and adapted when there is trouble.
        inline: work inside the device's callback, a block sooner and with less reserve.
        strength_db, bypass: at the beginning.
        record_to: folder for recordings.
    """

    enhancer: Enhancer
    input: str | None = None
    output: str | None = None
    rate: int | None = None
    channels: int = 1
    block_ms: float | None = None
    inline: bool = False
    strength_db: float = math.inf
    bypass: bool = False
    record_to: str = "."


@dataclass(frozen=True)
class Slot:
    """One of the two settings that are compared with A and B."""

    strength_db: float = math.inf
    bypass: bool = False


@dataclass(frozen=True)
class Status:
    """Everything that can be shown at one moment.

    Levels are of the last 0.3 s; ``reduction_db`` is the level of what is played below that of the
    microphone at the same moment of sound, 0 or less; ``device_ms`` is what the driver states of
    its own delay, ``algorithm_ms`` is exact.
    """

    elapsed_s: float
    method: str
    rate: int
    channels: int
    block: int
    inline: bool
    input: str
    output: str
    slot: str
    slots: dict[str, Slot]
    level_in: Level
    level_out: Level
    reduction_db: float
    device_ms: float
    algorithm_ms: float
    load: Load
    counts: Counts
    device_overruns: int
    recording: tuple[str, str] | None = None
    recorded_s: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def block_ms(self) -> float:
        """Length of a block."""
        return 1e3 * self.block / self.rate

    @property
    def total_ms(self) -> float:
        """Delay from microphone to output."""
        return self.device_ms + self.algorithm_ms


class Session:
    """A connection; a context manager that runs from entering to leaving.

    ``tick`` must be called a few times a second: it notices the loss of the device, and takes more
    reserve or larger blocks when there is trouble.

    Args:
        settings: what is asked for.
        sound: sounddevice, or the like of it.

    Raises (when entered):
        DeviceError: a device is missing or refuses.
        UnboundedLatencyError: the method cannot run live.
    """

    def __init__(self, settings: Settings, sound: Any) -> None:
        self.settings = settings
        self.sound = sound
        self.notes: list[str] = []
        """What the user should know, the newest last."""
        self.recorder: Recorder | None = None
        self.recordings: list[tuple[str, str]] = []
        self.slots = {"A": Slot(settings.strength_db, settings.bypass), "B": Slot(settings.strength_db, True)}
        self.slot = "A"
        self.device_overruns = 0
        self.live: LiveStream
        self.input: Device
        self.output: Device
        self._past = Counts()  # of streams before the present one
        self._stream: Any = None
        self._ended = False
        self._meters = Meter(), Meter()
        self._metered = time.monotonic()
        self._passed = 0
        self._cushion: float | None = None
        self._revived: list[float] = []
        self._stuck = False  # the driver hangs: nothing can be opened any more
        self._callbacks = 0
        self._heard_at = 0.0
        self._told: set[str] = set()
        self._guard: Guarded
        self._switches: deque[Switch] = deque()  # from the thread in which the method runs
        self._active_method = MAIN

    # -- opening and closing ---------------------------------------------------------------------

    def __enter__(self) -> Session:
        wanted = self.settings
        self.input = find(self.sound, wanted.input, "input")
        self.output = find(self.sound, wanted.output, "output")
        self.rate = wanted.rate or self.input.rate
        if not 1 <= wanted.channels <= self.input.inputs:
            raise ParameterError(
                f"channels = {wanted.channels}; {self.input.name!r} has {self.input.inputs} to take from"
            )
        LiveStream(wanted.enhancer, self.rate, inputs=wanted.channels)  # a method that cannot run live says so here
        if wanted.block_ms is not None:
            block = block_of(wanted.block_ms, self.rate)
        else:
            found = choose(wanted.enhancer, self.rate, wanted.channels, inline=wanted.inline)
            block = found.block
            if found.load > 1.0:
                self._note(f"this method needs {found.load:.1f} times the time there is: expect unchanged sound")
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        self._nice = hurry()
        gc.collect()
        gc.freeze()  # what is loaded by now need not be looked through while sound is running
        self._began = time.monotonic()
        try:
            self._open(block)
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
        finally:
            self._restore()
            if self.recorder is not None:
                try:
                    self.stop_recording()
                except OutputError as failed:
                    if kind is None:
                        raise
                    self._note(str(failed))

    def _restore(self) -> None:
        sys.setswitchinterval(self._interval)
        if self._nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, self._nice)
        gc.unfreeze()

    def _open(self, block: int, reserve: int = 1) -> None:
        wanted = self.settings
        outputs = min(self.output.outputs, max(2, wanted.channels))
        self._guard = guard_for(
            wanted.enhancer, self.rate, wanted.channels, block, behind_s=BEHIND_S, notify=self._switches.append
        )
        self._active_method = MAIN
        self.live = LiveStream(
            self._guard, self.rate, inputs=wanted.channels, outputs=outputs,
            block=block, inline=wanted.inline, reserve=reserve,
        )  # fmt: skip
        self.live.warm_up()
        self._apply()
        self._callbacks, self._heard_at, self._ended = 0, time.monotonic(), False
        self._watch_late, self._watch_lost = Watch(), Watch(self.device_overruns)
        self._misfit = 0
        try:
            self._stream = self.sound.Stream(
                samplerate=float(self.rate),
                blocksize=block,
                device=(self.input.number, self.output.number),
                channels=(wanted.channels, outputs),
                dtype="float32",
                latency="low" if self._cushion is None else self._cushion,
                callback=self._callback,
                finished_callback=self._finished,
            )
            self.live.start()
            self._stream.start()
        except (self.sound.PortAudioError, ValueError) as error:
            self._close()
            raise DeviceError(
                f"{self.input.name!r} to {self.output.name!r} cannot be opened at {self.rate} Hz with blocks of "
                f"{1e3 * block / self.rate:g} ms ({' '.join(str(error).split())}); try --rate 48000, another --block, "
                "or other devices"
            ) from None

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and not close(stream):
            self._stuck = True
        if hasattr(self, "live"):
            self.live.stop()

    def _finished(self) -> None:
        self._ended = True

    def _callback(
        self, indata: NDArray[Any], outdata: NDArray[Any], frames: int, clock: Any, status: Any
    ) -> None:
        """What the driver calls: see :meth:`LiveStream.exchange` for what may happen here."""
        self._callbacks += 1
        if self._callbacks == 1:
            hurry()
        if status and (
            getattr(status, "input_overflow", False)
            or getattr(status, "output_underflow", False)
            or getattr(status, "input_underflow", False)
            or getattr(status, "output_overflow", False)
        ):
            self.device_overruns += 1
        self.live.exchange(indata, outdata)

    # -- watching --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look after the device; to be called a few times a second.

        Raises:
            DeviceError: it has gone.
        """
        now = time.monotonic()
        stream = self._stream
        if self._callbacks != getattr(self, "_seen_callbacks", -1):
            self._seen_callbacks, self._heard_at = self._callbacks, now
        if self._ended or not self._active(stream):
            self._revive()
            return
        if now - self._heard_at > (SILENT_S if self._callbacks else FIRST_S):
            raise DeviceError(
                f"the sound device has not called for {now - self._heard_at:.0f} s "
                f"({self.input.name!r} to {self.output.name!r}); it has gone, or another program holds it"
            )
        while self._switches:
            self._switched(self._switches.popleft())
        counts = self.live.counts
        if counts.misfits > self._misfit + 20:
            raise DeviceError(f"{self.input.name!r} changed its format while it ran; start again")
        if counts.misfits == self._misfit or counts.blocks % 50 == 0:
            self._misfit = counts.misfits
        if self.live.gave_up:
            self._note_once(f"the method failed and was left alone, sound passes unchanged: {self.live.last_error}")
        elif counts.failures:
            self._note_once(f"the method failed and was begun anew: {self.live.last_error}")
        if counts.faults:
            self._note_once(f"a callback failed: {self.live.last_error}")
        if self.recorder is not None and self.recorder.error:
            self._note_once(f"the recording stopped: {self.recorder.error}")
        self._adapt(counts, now)

    def _switched(self, switch: Switch) -> None:
        """The guard went to another method: say so."""
        self._active_method = switch.to
        name = self.settings.enhancer.name
        if switch.to == MAIN:
            self._note(f"{name} runs again")
            return
        why = "is too slow" if switch.reason == "behind" else f"failed ({switch.detail})"
        instead = f"{self._spare} goes on" if switch.to == SPARE and self._spare else "the microphone passes unchanged"
        self._note(f"{name} {why}: {instead}")

    @property
    def method(self) -> str:
        """What is heard: the method, or what stands in for it."""
        name = self.settings.enhancer.name
        if self._active_method == MAIN:
            return name
        return f"{(self._active_method == SPARE and self._spare) or 'nothing'} for {name}"

    @property
    def _spare(self) -> str:
        """The method that stands in, if it is one."""
        spare = self._guard.spare.name
        return "" if spare == "identity" else spare

    def _active(self, stream: Any) -> bool:
        try:
            return stream is not None and bool(stream.active)
        except self.sound.PortAudioError:  # of a device that has gone
            return False

    def _revive(self) -> None:
        """The driver ended the stream. Often only a buffer ran empty: open it again, with larger blocks.

        Raises:
            DeviceError: the device does not open again, or ends at once again and again.
        """
        gone = f"the sound device has gone ({self.input.name!r} to {self.output.name!r})"
        now = time.monotonic()
        self._revived = [t for t in self._revived if now - t < REVIVE_WITHIN_S] + [now]
        if len(self._revived) > REVIVALS:
            raise DeviceError(gone)
        larger = 2 * self.live.largest
        if self.settings.block_ms is not None or 1e3 * larger / self.rate > LARGEST_MS:
            larger = self.live.largest
        try:
            self._enlarge(larger, self.live.counts, "the driver stopped and was started again")
        except DeviceError:
            raise DeviceError(gone) from None

    def _adapt(self, counts: Counts, now: float) -> None:
        """More reserve, or larger blocks, when there is trouble (see :mod:`.blocks`)."""
        if self.settings.block_ms is not None:
            return
        if self.live.heard.written < SETTLING_S * self.rate:
            self._watch_late, self._watch_lost = Watch(counts.late), Watch(self.device_overruns)
            return
        late = self._watch_late.troubled(counts.late, now)
        lost = self._watch_lost.troubled(self.device_overruns, now)
        live = self.live
        stalled = now - self._heard_at > STALL_S and 2e3 * live.largest / self.rate <= LARGEST_MS
        if lost or stalled:
            larger = 2 * live.largest
            self._watch_lost = Watch(self.device_overruns)
            if 1e3 * larger / self.rate <= LARGEST_MS:
                self._enlarge(larger, counts, "the device lost blocks" if lost else "the device paused")
            else:
                self._note_once("the device loses blocks, however large: close other programs, or try another device")
        elif late:
            self._watch_late = Watch(counts.late)
            more = live.largest * max(1, -(-live.missing_samples // live.largest))
            if not live.inline and (live.lengthen(more) or live.lengthen(live.largest)):
                self._note(f"blocks were late: {1e3 * more / self.rate:.0f} ms more reserve")
            else:
                self._note_once("blocks are late, whatever the reserve: choose a quicker method or larger --block")

    def _enlarge(self, block: int, counts: Counts, why: str) -> None:
        """Open the device anew with larger blocks."""
        before = 1e3 * self.live.largest / self.rate
        self._close()
        if self._stuck:
            raise DeviceError(f"the sound device has gone ({self.input.name!r} to {self.output.name!r})")
        self._cushion = CUSHION * block / self.rate
        self._past = self._sum(self._past, counts)
        self._passed += self.live.heard.written
        self._open(block, max(1, -(-self.live.reserve_samples // block)))  # what was learnt of bursts stays
        if self.recorder is not None:
            self.recorder.follow(self.live)
        after = 1e3 * block / self.rate
        changed = round(after) != round(before)
        self._note(why + (f": blocks of {after:.0f} ms instead of {before:.0f}" if changed else ""))

    @staticmethod
    def _sum(a: Counts, b: Counts) -> Counts:
        return Counts(*(getattr(a, name) + getattr(b, name) for name in Counts.__dataclass_fields__))

    @property
    def passed_s(self) -> float:
        """Seconds of sound that have passed."""
        return (self._passed + self.live.heard.written) / self.rate

    @property
    def counts(self) -> Counts:
        """Since the session began, however often the device was opened."""
        return self._sum(self._past, self.live.counts)

    # -- steering --------------------------------------------------------------------------------

    def _apply(self) -> None:
        now = self.slots[self.slot]
        self.live.stream.set_strength(now.strength_db)
        self.live.stream.bypass = now.bypass

    def toggle_bypass(self) -> None:
        """The unchanged microphone, or the enhanced one again; with the same delay."""
        now = self.slots[self.slot]
        self.slots[self.slot] = replace(now, bypass=not now.bypass)
        self._apply()

    def stronger(self, steps: int) -> None:
        """Change the strength by steps of :data:`STEPS_DB`."""
        now = self.slots[self.slot]
        at = min(range(len(STEPS_DB)), key=lambda i: _apart(STEPS_DB[i], now.strength_db))
        to = STEPS_DB[min(len(STEPS_DB) - 1, max(0, at + steps))]
        self.slots[self.slot] = replace(now, strength_db=to)
        self._apply()

    def choose(self, slot: str) -> None:
        """Hear the settings of ``"A"`` or ``"B"``; changes go to the one that is heard."""
        if slot not in self.slots:
            raise ParameterError(f"slot = {slot!r}; choose A or B")
        self.slot = slot
        self._apply()

    def start_recording(self) -> None:
        """Record both sides from now on.

        Raises:
            OutputError: the files cannot be made.
        """
        if self.recorder is None:
            self.recorder = Recorder(self.settings.record_to, self.live)

    def stop_recording(self) -> None:
        """Finish the recording; its files appear.

        Raises:
            OutputError: they could not be written.
        """
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            recorder.close()
            self.recordings.append((str(recorder.paths[0]), str(recorder.paths[1])))
            if recorder.lost_samples:
                lost = recorder.lost_samples / self.rate
                self._note(f"the disk was too slow: {lost:.1f} s of the recording are silence")

    def toggle_recording(self) -> None:
        """Start or stop; what goes wrong becomes a note."""
        try:
            if self.recorder is None:
                self.start_recording()
            else:
                self.stop_recording()
                self._note(f"recorded: {self.recordings[-1][0]} and {self.recordings[-1][1]}")
        except OutputError as error:
            self._note(str(error))

    def _note(self, text: str) -> None:
        self.notes.append(text)

    def _note_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._note(text)

    # -- facts -----------------------------------------------------------------------------------

    def status(self) -> Status:
        """All there is to show."""
        now = time.monotonic()
        elapsed, self._metered = now - self._metered, now
        live = self.live
        n = round(WINDOW_S * self.rate)
        end = live.played.written
        silence, nothing = np.zeros((live.inputs, 0), np.float32), np.zeros((live.made, 0), np.float32)
        heard = _span(live.heard, live.heard.written - n, n, silence)
        played = _span(live.played, end - n, n, nothing)
        aligned = _span(live.dry, end - n - live.delay_samples, n, nothing)
        before, after = mean_level(aligned), mean_level(played)
        reduction = min(0.0, after - before) if before > FLOOR_DBFS + 20 else 0.0
        recorder = self.recorder
        return Status(
            elapsed_s=now - self._began,
            method=self.method,
            rate=self.rate,
            channels=live.inputs,
            block=live.largest,
            inline=live.inline,
            input=self.input.name,
            output=self.output.name,
            slot=self.slot,
            slots=dict(self.slots),
            level_in=self._meters[0].read(heard, elapsed),
            level_out=self._meters[1].read(played, elapsed),
            reduction_db=reduction,
            device_ms=1e3 * sum(self._stream.latency) if self._stream is not None else 0.0,
            algorithm_ms=live.delay_ms,
            load=live.load,
            counts=self.counts,
            device_overruns=self.device_overruns,
            recording=None if recorder is None else (str(recorder.paths[0]), str(recorder.paths[1])),
            recorded_s=0.0 if recorder is None else recorder.seconds,
            notes=tuple(self.notes[-2:]),
        )


def _apart(a: float, b: float) -> float:
    if math.isinf(a) or math.isinf(b):
        return 0.0 if a == b else math.inf
    return abs(a - b)


def _span(ring: Any, start: int, n: int, otherwise: Any) -> Any:
    out = np.empty((otherwise.shape[0], n), np.float32)
    return out if ring.read(start, out) else otherwise
