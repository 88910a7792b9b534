"""Which block size: the one with the smallest delay that this machine can keep.

The size of the device's blocks enters the delay several times: the device collects a block and
plays a block, the worker has a block of time, and samples wait until a step of the method is full
(``step - gcd(step, block)``: nothing for blocks that are multiples of the step). Small blocks make
a small delay, but each costs the same calls, and leaves less time to make up for a pause of the
system. So the size is found by trial: a little noise through the method in blocks of each size,
and the size with the smallest delay wins among those that leave room: nine of ten blocks within
half of their time (:data:`ROOM`; rarer pauses come from the system, not from the method, and no
trial foresees them).

While it runs, only trouble changes something (:class:`Watch`: three bad blocks within ten seconds),
and nothing is taken back:

- blocks that *we* answered late: the worker gets as many blocks more of time as were missing, and
  the delay grows by them, without a gap. Larger blocks would not help: what is missing is reserve.
  Drivers that deliver several blocks at once (PulseAudio and PipeWire behind ALSA do) need it.
- blocks that the *device* lost, a pause of a second, or a stream that it ended: it is opened anew
  with blocks twice as large, up to 80 ms, and a buffer of four of them, which leaves a gap of the
  time that opening takes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..enhancers.base import Enhancer
from ..errors import ParameterError

SIZES_MS = (4, 5, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80)
"""Sizes that are tried."""

LEAST_MS = 8.0
"""Blocks that are chosen unasked are not smaller: below that Python's callbacks come too late too often."""

ROOM = 0.5
"""Share of a block's time that the method may take, in 9 of 10 blocks."""

TRIAL_S = 0.4
"""Sound that goes through the method for each size (and at least 40 blocks)."""


@dataclass(frozen=True)
class Trial:
    """What a block size would mean.

    Attributes:
        block: samples.
        delay_samples: of the whole way but the device's own buffers: two blocks (collected, played)
            and what the method and its worker add.
        load: 90th percentile of the time taken, as a share of the block's.
    """

    block: int
    delay_samples: int
    load: float


def delay_with(enhancer: Enhancer, sample_rate: int, channels: int, block: int, *, inline: bool = False) -> int:
    """Delay of a block size in samples: collecting and playing one, the method, the worker's time."""
    method = enhancer.stream(sample_rate, channels, block_size=block).block_latency_samples
    return 2 * block + method + (0 if inline else block)


def trial(
    enhancer: Enhancer,
    sample_rate: int,
    channels: int,
    block: int,
    *,
    inline: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Trial:
    """Run noise through the method in blocks of this size."""
    stream = enhancer.stream(sample_rate, channels, block_size=block)
    noise = 0.05 * np.random.default_rng(0).standard_normal((channels, block)).astype(np.float32)
    count = max(40, round(TRIAL_S * sample_rate / block))
    took = np.zeros(count)
    for _ in range(5):  # what is loaded or compiled at the first blocks is not the method's cost
        stream.process(noise)
    for i in range(count):
        began = clock()
        stream.process(noise)
        took[i] = clock() - began
    load = float(np.percentile(took, 90)) * sample_rate / block
    return Trial(block, delay_with(enhancer, sample_rate, channels, block, inline=inline), load)


def choose(
    enhancer: Enhancer,
    sample_rate: int,
    channels: int = 1,
    *,
    inline: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Trial:
    """The size with the smallest delay that leaves room; the largest if none does."""
    sizes = {block_of(ms, sample_rate) for ms in SIZES_MS if ms >= LEAST_MS}
    order = sorted(sizes, key=lambda b: delay_with(enhancer, sample_rate, channels, b, inline=inline))
    for block in order:
        tried = trial(enhancer, sample_rate, channels, block, inline=inline, clock=clock)
        if tried.load <= ROOM:
            return tried
    return trial(enhancer, sample_rate, channels, max(sizes), inline=inline, clock=clock)


def block_of(milliseconds: float, sample_rate: int) -> int:
    """Samples of a block.

    Raises:
        ParameterError: not 1 to 200 ms.
    """
    if not 1.0 <= milliseconds <= 200.0:
        raise ParameterError(f"block = {milliseconds!r} ms; give 1 to 200, or auto")
    return max(1, round(milliseconds * sample_rate / 1000.0))


class Watch:
    """Says when there is trouble: three bad blocks within ten seconds.

    Args:
        seen: bad blocks that do not count any more.

    >>> watch = Watch()
    >>> [watch.troubled(bad, at_s) for bad, at_s in [(1, 0.0), (1, 5.0), (2, 6.0), (3, 20.0), (5, 21.0)]]
    [False, False, False, False, True]
    """

    LIMIT, WITHIN_S = 3, 10.0

    def __init__(self, seen: int = 0) -> None:
        self._seen = seen
        self._recent: deque[tuple[float, int]] = deque()

    def troubled(self, bad: int, now_s: float) -> bool:
        """Given the count of bad blocks so far, is it time to change something?"""
        if bad > self._seen:
            self._recent.append((now_s, bad - self._seen))
            self._seen = bad
        while self._recent and now_s - self._recent[0][0] > self.WITHIN_S:
            self._recent.popleft()
        return sum(n for _, n in self._recent) >= self.LIMIT
