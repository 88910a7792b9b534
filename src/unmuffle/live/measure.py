"""The delay of the device itself, measured: a chirp goes out, and is looked for in what comes in.

What drivers state of their delay is often wrong. So a short sweep is played five times, at
irregular intervals, and found again in the input by correlation,

    c[k] = sum_n chirp[n] input[n + k],

whose highest magnitude stands at the delay. The output must be heard by the input: a cable, the
monitor of a null sink, or a microphone beside the loudspeaker (then the way through the air is in
it, 2.9 ms a metre). An answer counts if its peak is eight times the root of the mean square of the
correlation around it; for noise the largest of 30,000 values is about four times.

The number is the *round trip*: from the moment a block is handed to the device until its samples
come back. The way from a microphone through unmuffle to an output takes as long, plus the delay of
method and block, which is exact by construction.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..engine.stream import hurry
from ..errors import DeviceError
from ..signal.blocks import check_rate
from .devices import Device, close

REPEATS = 5
CHIRP_S = 0.06
FIRST_S, INTERVAL_S = 1.5, 0.8
LONGEST_S = 0.6
"""Delays beyond this are not looked for (Bluetooth has 0.1 to 0.4 s)."""
QUALITY = 8.0
"""Least ratio of the correlation's peak to its root mean square."""
LEVEL = 0.25
"""Amplitude of the chirp: -12 dBFS."""


class StoppedError(DeviceError):
    """The device stopped in the middle of a measurement."""


@dataclass(frozen=True)
class Measurement:
    """What was found.

    Attributes:
        rate: in Hz.
        block: samples.
        delays: of each chirp, in samples.
        quality: the least ratio of peak to root mean square of the chirps that count.
        stated_ms: what the driver says of itself.
        overruns: blocks that the device lost meanwhile; with any, the delay may have moved.
    """

    rate: int
    block: int
    delays: tuple[int, ...]
    quality: float
    stated_ms: float
    overruns: int

    @property
    def median_ms(self) -> float:
        """The median of the delays."""
        return 1e3 * float(np.median(self.delays)) / self.rate

    @property
    def spread_ms(self) -> float:
        """Largest minus smallest."""
        return 1e3 * (max(self.delays) - min(self.delays)) / self.rate


def chirp(sample_rate: int) -> NDArray[np.float32]:
    """A sweep from 300 Hz to 6 kHz (or 0.4 of the rate), faded at both ends.

    >>> len(chirp(48000))
    2880
    """
    n = round(CHIRP_S * check_rate(sample_rate))
    t = np.arange(n) / sample_rate
    low, high = 300.0, min(6000.0, 0.4 * sample_rate)
    phase = 2 * np.pi * (low * t + (high - low) / (2 * CHIRP_S) * t * t)
    fade = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.1 * n))
    return (LEVEL * np.sin(phase) * fade).astype(np.float32)


def find_delay(
    heard: NDArray[np.float32], sought: NDArray[np.float32], longest: int
) -> tuple[int, float]:
    """Where ``sought`` begins in ``heard``, 0 to ``longest``, and how clearly: peak over root mean square.

    >>> import numpy as np
    >>> x = np.zeros(9000, np.float32); x[777:777 + 2880] = -0.1 * chirp(48000)
    >>> find_delay(x, chirp(48000), 6000)[0]
    777
    """
    n = fft.next_fast_len(len(heard) + len(sought))
    product = fft.rfft(heard, n) * np.conj(fft.rfft(sought, n))
    c = np.abs(fft.irfft(product, n)[: longest + 1])
    at = int(np.argmax(c))
    mean = float(np.sqrt(np.mean(np.square(c))))
    return at, float(c[at]) / mean if mean > 0 else 0.0


def measure(
    sound: Any, source: Device, target: Device, rate: int, block: int, latency: float | str = "low"
) -> Measurement:
    """Play chirps and find them again; ``latency`` is what the driver is asked for, in seconds.

    Raises:
        DeviceError: the devices cannot be opened, or nothing comes back.
    """
    nice = hurry()
    try:
        return _measure(sound, source, target, rate, block, latency)
    finally:
        if nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, nice)


def _measure(
    sound: Any, source: Device, target: Device, rate: int, block: int, latency: float | str
) -> Measurement:
    sweep = chirp(rate)
    rng = np.random.default_rng()
    starts = [round((FIRST_S + i * INTERVAL_S + rng.uniform(0, 0.1)) * rate) for i in range(REPEATS)]
    total = starts[-1] + round((LONGEST_S + 2 * CHIRP_S) * rate)
    out = np.zeros(total, np.float32)
    for start in starts:
        out[start : start + len(sweep)] = sweep
    heard = np.zeros(total, np.float32)
    state = {"at": 0, "overruns": 0}

    def callback(indata: NDArray[Any], outdata: NDArray[Any], frames: int, clock: Any, status: Any) -> None:
        at = state["at"]
        n = min(frames, total - at)
        outdata.fill(0)
        if n > 0:
            heard[at : at + n] = indata[:n, 0]
            outdata[:n] = out[at : at + n, np.newaxis]
            if at > starts[0] and status and (status.input_overflow or status.output_underflow):
                state["overruns"] += 1
        state["at"] = at + frames

    try:
        stream = sound.Stream(
            samplerate=float(rate), blocksize=block, device=(source.number, target.number),
            channels=(1, min(2, target.outputs)), dtype="float32", latency=latency, callback=callback,
        )  # fmt: skip
        stated = 1e3 * float(sum(stream.latency))
        stream.start()
    except (sound.PortAudioError, ValueError) as error:
        raise DeviceError(
            f"{source.name!r} and {target.name!r} cannot be opened together at {rate} Hz "
            f"({' '.join(str(error).split())})"
        ) from None
    try:
        until = time.monotonic() + 2.0 * total / rate + 5.0
        while state["at"] < total:
            if time.monotonic() > until or (state["at"] and not stream.active):
                raise StoppedError(f"the device stopped after {state['at'] / rate:.1f} s of the measurement")
            time.sleep(0.02)
    finally:
        close(stream)
    longest = round(LONGEST_S * rate)
    found = [find_delay(heard[start : start + longest + len(sweep)], sweep, longest) for start in starts]
    good = [(delay, quality) for delay, quality in found if quality >= QUALITY]
    if len(good) <= REPEATS // 2:
        level = float(np.sqrt(np.mean(np.square(heard[starts[0] :]))))
        why = "the input is silent" if level < 1e-5 else f"only {len(good)} of {REPEATS} chirps came back"
        raise DeviceError(
            f"{why}: {source.name!r} does not hear {target.name!r}; connect them with a cable, put the microphone "
            "beside the loudspeaker, or raise the volume"
        )
    delays = tuple(delay for delay, _ in good)
    return Measurement(rate, block, delays, min(q for _, q in good), stated, state["overruns"])
