"""Sound devices made of nothing, with the functions of sounddevice that unmuffle uses.

For tests, which script every fault that a device can have, and for ``unmuffle live --demo``, which
shows the screen without a microphone: the bundled noisy recording goes round and round.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.ring import Ring

Source = Callable[[int, int, int], NDArray[np.float32]]
"""``source(first_sample, samples, sample_rate)`` gives ``(samples, channels)`` of the microphone."""


class FakeError(Exception):
    """What sounddevice calls PortAudioError."""


@dataclass(frozen=True)
class Flags:
    """What a device says went wrong before a callback."""

    input_overflow: bool = False
    output_underflow: bool = False

    def __bool__(self) -> bool:
        return self.input_overflow or self.output_underflow


@dataclass
class Script:
    """How a device behaves.

    Attributes:
        speed: how much faster than real time; 0: as fast as it can.
        sizes: block sizes in turn, whatever was asked for.
        jitter_s: callbacks come early or late by up to so much.
        overruns: numbers of the callbacks before which samples were lost.
        overruns_below: blocks smaller than so many samples always overrun.
        formats: channels of the block at these numbers of callbacks, instead of those agreed.
        vanish_at: number of the callback that never comes, nor any after it.
        silently: then the stream still calls itself active.
        returns: after it vanished it can be opened again.
        hangs: closing never comes back, and complains without end, as PortAudio does when PipeWire has died.
        refuse: the stream cannot be opened.
        cable: samples after which what was played is heard by the microphone; 0: never.
        loss: factor of the cable.
        before: called before each callback (a test waits there for the worker).
        seed: of the jitter.
    """

    speed: float = 1.0
    sizes: tuple[int, ...] = ()
    jitter_s: float = 0.0
    overruns: frozenset[int] = frozenset()
    overruns_below: int = 0
    formats: dict[int, int] = field(default_factory=dict)
    vanish_at: int | None = None
    silently: bool = False
    returns: bool = False
    hangs: bool = False
    refuse: bool = False
    cable: int = 0
    loss: float = 0.5
    before: Callable[[], None] | None = None
    seed: int = 0


class FakeSound:
    """Stands in for the module sounddevice.

    Args:
        source: what the microphone hears; ``None``: silence.
        script: how the device behaves.
        rate: that the devices like best.
        keep: samples of the output that are kept in :attr:`heard` of the stream.
    """

    PortAudioError = FakeError

    def __init__(
        self, source: Source | None = None, script: Script | None = None, *, rate: int = 16000, keep: int = 0
    ) -> None:
        self.source = source
        self.script = script or Script()
        self.rate = rate
        self.keep = keep
        self.streams: list[FakeStream] = []
        """All that were opened, the newest last."""

    def query_hostapis(self) -> tuple[dict[str, Any], ...]:
        """One sound system."""
        return ({"name": "Nothing"},)

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        """A microphone, a loudspeaker and a headset; the first two are the defaults."""
        known = [("Fake microphone", 2, 0), ("Fake loudspeaker", 0, 2), ("Fake headset", 1, 2)]
        lines = [
            {
                "name": name,
                "index": i,
                "hostapi": 0,
                "max_input_channels": inputs,
                "max_output_channels": outputs,
                "default_samplerate": float(self.rate),
                "default_low_input_latency": 0.005,
                "default_low_output_latency": 0.008,
            }
            for i, (name, inputs, outputs) in enumerate(known)
        ]
        if kind is not None:
            return lines[0 if kind == "input" else 1]
        return lines if device is None else lines[device]

    def Stream(self, **settings: Any) -> FakeStream:
        """Open a stream."""
        if self.script.refuse:
            raise FakeError("Invalid sample rate [PaErrorCode -9997]")
        self.streams.append(FakeStream(self, **settings))
        return self.streams[-1]


class FakeStream:
    """A running device: a thread that calls back."""

    def __init__(
        self,
        host: FakeSound,
        *,
        samplerate: float,
        blocksize: int,
        channels: tuple[int, int],
        callback: Callable[..., None],
        latency: Any = None,
        device: Any = None,
        dtype: str = "float32",
        finished_callback: Callable[[], None] | None = None,
    ) -> None:
        self.samplerate = float(samplerate)
        self.blocksize = blocksize
        self.asked_latency = latency
        self.latency = (0.005 + blocksize / samplerate, 0.008 + blocksize / samplerate)
        self.channels = channels
        self.calls = 0
        self.active = False
        self.closed = False
        self.position = 0
        self._host = host
        self._callback = callback
        self._finished = finished_callback
        self._played = Ring(1, max(1, host.script.cable + 65536))
        self.kept = Ring(channels[1], max(1, host.keep))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake sound device", daemon=True)

    def start(self) -> None:
        """Begin to call back."""
        self.active = True
        self._thread.start()

    def stop(self) -> None:
        """Stop calling back."""
        self._stop.set()
        while self._host.script.hangs:
            os.write(2, b"Expression 'self->ready' failed\n")
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()
        self.active = False

    abort = stop

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self.closed = True

    def _run(self) -> None:
        script = self._host.script
        rng = np.random.default_rng(script.seed)
        due = time.perf_counter()
        while not self._stop.is_set():
            if self.calls == script.vanish_at:
                script.vanish_at, script.refuse = None, not script.returns
                self.active = script.silently
                if not script.silently and self._finished is not None:
                    self._finished()
                return
            n = script.sizes[self.calls % len(script.sizes)] if script.sizes else self.blocksize
            if script.before is not None:
                script.before()
            self._call(n, script)
            if script.speed:
                due += n / (self.samplerate * script.speed)
                wait = due + script.jitter_s * rng.uniform(-1, 1) - time.perf_counter()
                if wait > 0:
                    self._stop.wait(wait)

    def _call(self, n: int, script: Script) -> None:
        inputs, outputs = self.channels
        inputs = script.formats.get(self.calls, inputs)
        heard = np.zeros((n, inputs), np.float32)
        if self._host.source is not None:
            heard += self._host.source(self.position, n, round(self.samplerate))
        if script.cable:
            echo = np.zeros((1, n), np.float32)
            self._played.read(self.position - script.cable, echo)
            heard += np.float32(script.loss) * echo.T
        played = np.full((n, outputs), np.nan, np.float32)  # what is not filled in will be noticed
        overrun = self.calls in script.overruns or n < script.overruns_below
        self._callback(heard, played, n, None, Flags(overrun, overrun))
        self._played.write(played[:, :1].T)
        if self._host.keep:
            self.kept.write(played.T)
        self.calls += 1
        self.position += n


def round_and_round(x: NDArray[np.float32], sample_rate: int) -> Source:
    """A source that repeats a mono recording at any rate."""
    made: dict[int, NDArray[np.float32]] = {}

    def source(first: int, samples: int, rate: int) -> NDArray[np.float32]:
        if rate not in made:
            from ..signal.resample import convert

            made[rate] = np.ravel(convert(x, sample_rate, rate))
        loop = made[rate]
        return loop[(first + np.arange(samples)) % len(loop), np.newaxis]

    return source


def demo_sound() -> FakeSound:
    """The bundled noisy recording as a microphone, and nothing as a loudspeaker."""
    from importlib.resources import as_file, files

    from ..io import read

    with as_file(files("unmuffle") / "assets" / "demo_noisy.flac") as path:
        noisy, rate = read(path)
    return FakeSound(round_and_round(noisy[0], rate), rate=rate)
