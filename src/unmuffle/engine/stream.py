"""A stream beside a sound device: blocks come when the device wants, and must be answered at once.

::

    device --exchange(indata, outdata)--> heard --work()--> wet
                    |                       |                |
                    '------- the answer <---'----------------'--> played

:meth:`LiveStream.exchange` is what the device calls. It copies the block into the ring ``heard``,
takes what is due out of the ring ``wet``, and returns: it computes nothing that depends on the
method. :meth:`LiveStream.work` carries samples from ``heard`` through the enhancer to ``wet``, in a
thread of its own (the default) or inside ``exchange`` (``inline``).

Delay
-----
Between the blocks that come and those that go lie, constant to the sample,

    delay = latency of the method + what waits for a whole step + reserve

with ``reserve`` = one block, the time that the worker has; ``inline`` has none. Both rings are
addressed by the number of the sample, so nothing can shift: not a late block, not an odd one.

When the enhanced samples are not there in time
-----------------------------------------------
the block is answered with the unchanged input *of the same delay*, and counted (``late``). The
step from one to the other is taken off by a ramp of 5 ms, so that it does not click. Only after
100 ms without trouble the enhanced signal fades in again (10 ms). A worker that is more than half
a second behind leaves out what it missed. An enhancer that fails or returns NaN is begun anew; if
it fails three times within ten seconds it is left alone and the input passes unchanged from then on.

What ``exchange`` does and does not do
--------------------------------------
It takes no lock (the worker is woken by releasing one that only the worker acquires), waits for
nothing, and lets no exception out: what goes wrong is silence, and counted (``faults``). Every
buffer of samples was made before; what remains are numpy's view objects of about a hundred bytes
each, which CPython takes from its free lists. The interpreter's own lock remains, as in every
Python callback.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..enhancers.base import UNBOUNDED, Enhancer, Stream
from ..errors import ParameterError, UnboundedLatencyError
from ..signal.blocks import Samples, check_channels
from .ring import Ring

DECLICK_S = 0.005
"""In this time the step to the unchanged input is taken off."""
RETURN_S = 0.010
"""In this time the enhanced signal fades in again."""
CALM_S = 0.1
"""The enhanced signal returns after so much time without a late block."""
PATIENCE_S = 0.5
"""A worker that is further behind leaves out what it missed."""
FAILURES, WITHIN_S = 3, 10.0
"""After so many failures of the enhancer within this time it is left alone."""
KEPT_S = 2.0
"""What was heard and played stays in the rings for so long, for meters and recorders."""
LARGEST = 8192
"""The largest block that is expected of a device that does not say."""
RESERVE_S = 0.2
"""The most reserve that can be added while it runs."""

_NEVER = 1 << 62


def hurry() -> int | None:
    """Ask for this thread to be run before other programs' (nice -11), where the system allows it.

    Linux allows it to root and to those whom ``/etc/security/limits.conf`` gives a ``nice`` of -11.
    A process that was made nice on purpose stays so. Threads that are started later inherit it, and
    every thread that takes the interpreter's lock should have it: one that is made to wait while it
    holds the lock makes all others wait.

    Returns:
        The nice value before, if it was changed.
    """
    try:
        before = os.getpriority(os.PRIO_PROCESS, 0)
        if before <= 0:
            os.setpriority(os.PRIO_PROCESS, 0, -11)
            return before
    except (AttributeError, OSError):
        return None
    return None


@dataclass(frozen=True)
class Counts:
    """What has happened so far, in blocks unless it says otherwise."""

    blocks: int = 0
    late: int = 0
    """Answered with the unchanged input, as the enhanced samples were not there in time; inline also those
    that took longer than they last."""
    dry_samples: int = 0
    """Samples in all that were answered so, the calm after a late block included."""
    skipped_samples: int = 0
    """Samples that the enhancer never saw."""
    failures: int = 0
    """Times that the enhancer raised an error or returned NaN."""
    misfits: int = 0
    """Came in another format than agreed (channels, type): taken for silence."""
    nonfinite: int = 0
    """Held NaN or infinity, taken for zero."""
    faults: int = 0
    """Ended in an unexpected error, answered with silence."""


@dataclass(frozen=True)
class Load:
    """Time taken by the enhancer, as a share of the sound's own time: 1 is as long as it lasts."""

    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    """Since the beginning; the percentiles are of the last 1024 blocks."""


class LiveStream:
    """An enhancer between the two sides of a sound device; see the module's docstring.

    Args:
        enhancer: the method.
        sample_rate: in Hz, of both sides.
        inputs, outputs: channels of the two sides. All inputs are enhanced, and what comes of it is
            ``stream.channels_out`` channels (one, of a beamformer). One channel goes to every
            output; several go to as many outputs, and to a single output as their mean.
        block: samples of the device's blocks, or ``None`` when they vary.
        largest: the largest that come when they vary; bigger ones are answered with the unchanged input.
        inline: do the work inside ``exchange``: a block less of delay, but the device has to wait.
        reserve: blocks of time that the worker has; 1 or more.
        clock: seconds that pass, for load and overload (a test may stop it).

    Raises:
        UnboundedLatencyError: the method needs the whole signal.

    >>> from unmuffle import load
    >>> live = LiveStream(load("identity"), 16000, block=160, inline=True)
    >>> block = np.ones((160, 1), np.float32)
    >>> out = np.empty_like(block)
    >>> live.exchange(block, out)
    >>> live.delay_samples, bool((out == block).all())
    (0, True)
    """

    def __init__(
        self,
        enhancer: Enhancer,
        sample_rate: int,
        *,
        inputs: int = 1,
        outputs: int | None = None,
        block: int | None = None,
        largest: int = LARGEST,
        inline: bool = False,
        reserve: int = 1,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if reserve < 1 or largest < 1 or (block is not None and block < 1):
            raise ParameterError(f"block = {block}, largest = {largest}, reserve = {reserve}; give 1 or more")
        self.stream: Stream = enhancer.stream(sample_rate, inputs, block_size=block)
        if self.stream.latency_samples == UNBOUNDED:
            raise UnboundedLatencyError(
                f"method {enhancer.name!r} needs the whole signal and cannot run live; "
                "`unmuffle methods` lists those with a latency"
            )
        self.sample_rate = self.stream.sample_rate
        self.inputs = self.stream.channels
        self.made = self.stream.channels_out
        self.outputs = check_channels(self.made if outputs is None else outputs)
        self.inline = inline
        self._clock = clock
        self.block = block
        self.largest = block or largest
        self.algorithm_samples = self.stream.block_latency_samples
        self.reserve_samples = 0 if inline else reserve * self.largest
        self.delay_samples = self.algorithm_samples + self.reserve_samples
        self._lead = self.delay_samples - self.stream.latency_samples  # of outputs over wet samples
        self._longer = 0  # samples of delay that are to be added
        self._changes = [(0, self.delay_samples)]

        kept = self.delay_samples + self.largest + math.ceil((KEPT_S + PATIENCE_S + RESERVE_S) * self.sample_rate)
        self.heard = Ring(self.inputs, kept)
        self.played = Ring(self.made, kept)
        self._wet = Ring(self.made, kept)
        # The input channels that the output stands in for: what is heard when the enhancer is late.
        numbers = np.arange(self.inputs, dtype=np.float32)[:, np.newaxis]
        self._stood_for = None if self.made == self.inputs else [int(i) for i in self.stream.dry(numbers)[:, 0]]
        self.dry = self.heard if self._stood_for is None else Ring(self.made, kept)
        self._valid_from = -_NEVER  # wet samples before this one mix what does not belong together
        self._fed = 0

        self._x: Samples = np.zeros((self.inputs, self.largest), np.float32)
        self._y: Samples = np.zeros((self.made, self.largest), np.float32)
        self._dry: Samples = np.zeros_like(self._y)
        self._scratch: Samples = np.zeros_like(self._y)
        self._last: Samples = np.zeros((self.made, 1), np.float32)
        self._step: Samples = np.zeros((self.made, 1), np.float32)
        self._declick = np.linspace(1.0, 0.0, max(2, round(DECLICK_S * self.sample_rate)), dtype=np.float32)
        self._declicked = len(self._declick)  # samples of the ramp that are done
        self._return = np.linspace(1.0, 0.0, max(2, round(RETURN_S * self.sample_rate)), dtype=np.float32)
        self._returned = len(self._return)  # as many: the enhanced signal is heard
        self._calm = 0  # samples that the unchanged input still stays

        self._blocks = self._late = self._dry_samples = self._skipped = self._missing = 0
        self._failures = self._misfits = self._nonfinite = self._faults = 0
        self._failed_at: list[float] = []
        self.gave_up = False
        self.last_error = ""
        self._debt_s = 0.0
        self._loads: NDArray[np.float32] = np.zeros(1024, np.float32)
        self._loaded = 0
        self._heaviest = 0.0

        self._wake = threading.Lock()
        self._wake.acquire()
        self._stop = False
        self._thread: threading.Thread | None = None

    # -- what the device calls -------------------------------------------------------------------

    def exchange(self, indata: NDArray[Any], outdata: NDArray[Any]) -> None:
        """Take a block ``(samples, inputs)`` and fill ``(samples, outputs)``, both float32. Never raises."""
        try:
            self._blocks += 1
            fits = (
                indata.shape == (len(outdata), self.inputs)
                and indata.dtype == np.float32
                and outdata.shape[1] == self.outputs
            )
            if not fits:
                self._misfits += 1
            late = self._late
            for start in range(0, len(outdata), self.largest):
                part = outdata[start : start + self.largest]
                x = self._x[:, : len(part)]
                if fits:
                    np.copyto(x, indata[start : start + self.largest].T)
                else:
                    x.fill(0.0)
                self._answer(x, part)
            self._late = min(self._late, late + 1)  # a block counts once, in however many parts
            if not self.inline and self._wake.locked():
                self._wake.release()
        except BaseException as error:  # whatever it is, it must not reach the driver
            self._faults += 1
            self.last_error = repr(error)
            outdata.fill(0)

    def _answer(self, x: Samples, part: NDArray[Any]) -> None:
        """One part of a block, no longer than the buffers."""
        n = x.shape[1]
        with np.errstate(all="ignore"):
            total = 0.0
            for row in x:  # of all at once, numpy before 2.3 makes a copy
                total += float(np.add.reduce(row))
            if total - total != 0.0:  # NaN, infinity, or a sum too large for float32
                self._nonfinite += 1
                np.nan_to_num(x, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        position = self.heard.written
        if self._longer:
            self._lengthened(position)
        self.heard.write(x)
        y, dry = self._y[:, :n], self._dry[:, :n]
        if self._stood_for is not None:
            for row, channel in enumerate(self._stood_for):
                np.copyto(dry[row], x[channel])
            self.dry.write(dry)
        if self.inline:
            self._work_in_time(n)
        self.dry.read(position - self.delay_samples, dry)
        want = position - self._lead
        if self._wet.written - want >= n and want >= self._valid_from and self._wet.read(want, y):
            self._calm -= min(self._calm, n)
            if self._calm:
                self._pass_dry(position, y, dry)
            elif self._returned < len(self._return):
                self._fade_in(y, dry)
        else:
            self._late += 1
            self._missing = max(self._missing, want + n - self._wet.written)
            self._calm = round(CALM_S * self.sample_rate)
            self._pass_dry(position, y, dry)
        self._take_off_step(y)
        self.played.write(y)
        self._deliver(y, part)

    def _pass_dry(self, position: int, y: Samples, dry: Samples) -> None:
        """Answer with the unchanged input, without a step at the beginning."""
        self._dry_samples += y.shape[1]
        if self._returned:  # it was enhanced until now, at least in part
            self._returned = 0
            self.dry.read(position - 1 - self.delay_samples, self._last)
            self._begin_step(position)
        np.copyto(y, dry)

    def _begin_step(self, position: int) -> None:
        """What is played from here on goes on from ``_last`` instead of what was played last."""
        self.played.read(position - 1, self._step)
        self._step -= self._last
        self._declicked = 0

    def _take_off_step(self, y: Samples) -> None:
        left = min(y.shape[1], len(self._declick) - self._declicked)
        if left > 0:
            fall = self._declick[self._declicked : self._declicked + left]
            ramp = self._scratch[0, :left]
            for row, step in zip(y, self._step, strict=True):  # of all rows at once, numpy before 2.3 makes copies
                np.multiply(fall, step[0], out=ramp)
                np.add(row[:left], ramp, out=row[:left])
            self._declicked += left

    def _lengthened(self, position: int) -> None:
        """Carry out :meth:`lengthen`: from this sample on the delay is longer."""
        self._lead += self._longer
        self.reserve_samples += self._longer
        self.delay_samples += self._longer
        self._longer = self._missing = 0
        self._changes.append((position, self.delay_samples))
        if self._returned == 0:
            self.dry.read(position - 1 - self.delay_samples, self._last)
        elif not self._wet.read(position - 1 - self._lead, self._last):
            self._last.fill(0.0)
        self._begin_step(position)

    def _fade_in(self, y: Samples, dry: Samples) -> None:
        n = min(y.shape[1], len(self._return) - self._returned)
        share = self._return[self._returned : self._returned + n]
        difference = self._scratch[0, :n]
        for wet, unchanged in zip(y, dry, strict=True):
            np.subtract(unchanged[:n], wet[:n], out=difference)
            np.multiply(difference, share, out=difference)
            np.add(wet[:n], difference, out=wet[:n])
        self._returned += n

    def _deliver(self, y: Samples, part: NDArray[Any]) -> None:
        if self.made == 1:
            np.copyto(part, y.T)  # one to all, by broadcasting
        elif self.outputs == 1:
            mean = self._scratch[0, : y.shape[1]]
            np.mean(y, axis=0, out=mean)
            np.copyto(part[:, 0], mean)
        else:
            shared = min(self.made, part.shape[1])
            np.copyto(part[:, :shared], y[:shared].T)
            part[:, shared:] = 0.0

    # -- the worker ------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Run a few blocks of silence through the enhancer, so that the first real one finds all loaded."""
        for _ in range(3):
            self.stream.process(np.zeros((self.inputs, self.largest), np.float32))
        self.stream.reset()

    def start(self) -> None:
        """Start the worker's thread (nothing to do for ``inline``)."""
        if not self.inline and self._thread is None:
            self._stop = False
            self._thread = threading.Thread(target=self._loop, name="unmuffle live", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the worker's thread."""
        if self._thread is not None:
            self._stop = True
            if self._wake.locked():
                self._wake.release()
            self._thread.join()
            self._thread = None

    def _loop(self) -> None:
        hurry()
        while True:
            self._wake.acquire()
            if self._stop:
                return
            self.work()

    @property
    def waiting_samples(self) -> int:
        """Samples that have come and that the enhancer has not seen."""
        return self.heard.written - self._fed

    def work(self) -> None:
        """Carry what has come through the enhancer. For those who run without ``start``. Never raises."""
        while (n := self.waiting_samples) > 0:
            if self.gave_up:
                self._jump(n)
                return
            if n > PATIENCE_S * self.sample_rate + self.largest:
                self._jump(n - self.largest)
                n = self.largest
            x: Samples = np.empty((self.inputs, min(n, self.largest)), np.float32)
            self.heard.read(self._fed, x)
            began = self._clock()
            try:
                y = self.stream.process(x)
                with np.errstate(all="ignore"):
                    good = bool(np.isfinite(np.add.reduce(y, axis=None, dtype=np.float64)))
                failure = "" if good else "it returned NaN or infinity"
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            if failure:
                self._fed += x.shape[1]
                self._failed(failure)
            else:
                self._measured((self._clock() - began) * self.sample_rate / x.shape[1])
                self._wet.write(y)
                self._fed += x.shape[1]  # last: nothing waits means that all is there

    def _work_in_time(self, n: int) -> None:
        """The work of an inline block; left out while earlier ones have cost more time than they last."""
        lasts = n / self.sample_rate
        if self._debt_s > 2.0 * lasts + DECLICK_S:
            self._jump(self.waiting_samples)
            self._debt_s = max(0.0, self._debt_s - lasts)
            return
        began = self._clock()
        self.work()
        took = self._clock() - began
        self._late += took > lasts
        self._debt_s = max(0.0, self._debt_s + took - lasts)

    def _jump(self, n: int) -> None:
        """Leave out the next ``n`` samples: their places stay, and stay empty."""
        self._skipped += n
        self._fed += n
        self._stale()
        self._wet.skip(n)

    def _failed(self, why: str) -> None:
        self.last_error = why
        self._failures += 1
        now = time.monotonic()
        self._failed_at = [t for t in self._failed_at if now - t < WITHIN_S] + [now]
        if len(self._failed_at) >= FAILURES:
            self.gave_up = True
        try:
            self.stream.reset()
        except Exception as error:
            self.gave_up = True
            self.last_error = f"{why}; and then {error!r}"
        self._stale()
        self._wet.skip(self._fed - self._wet.written)

    def _stale(self) -> None:
        # Until the method's memory of frames has passed twice, its output mixes before and after.
        self._valid_from = self._fed + 2 * self.algorithm_samples

    def _measured(self, load: float) -> None:
        self._loads[self._loaded % len(self._loads)] = load
        self._loaded += 1
        if load > self._heaviest:
            self._heaviest = load

    # -- more time -------------------------------------------------------------------------------

    def lengthen(self, samples: int) -> bool:
        """Give the worker so much more time from the next block on; false if there is no room for it.

        The delay grows by as much, once: a few milliseconds of sound are heard twice, joined by a
        ramp. :meth:`delay_at` knows when it was.
        """
        room = round(RESERVE_S * self.sample_rate) - (self.delay_samples - self._changes[0][1])
        if self._longer or not 0 < samples <= room:
            return False
        self._longer = samples
        return True

    @property
    def missing_samples(self) -> int:
        """The most that was missing of a late block, since the delay last grew: so much more reserve it needed."""
        return self._missing

    def delay_at(self, position: int) -> tuple[int, int]:
        """The delay of the sample played at ``position``, and the position up to which it holds."""
        delay, until = self._changes[0][1], _NEVER
        for start, samples in self._changes:
            if start > position:
                until = start
                break
            delay = samples
        return delay, until

    # -- facts -----------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """What has happened so far."""
        return Counts(
            self._blocks, self._late, self._dry_samples, self._skipped,
            self._failures, self._misfits, self._nonfinite, self._faults,
        )  # fmt: skip

    @property
    def load(self) -> Load:
        """Time taken by the enhancer."""
        kept = self._loads[: min(self._loaded, len(self._loads))]
        if not len(kept):
            return Load()
        p50, p99 = np.percentile(kept, (50, 99))
        return Load(float(p50), float(p99), self._heaviest)

    @property
    def delay_ms(self) -> float:
        """The delay between the two sides of the device, in milliseconds."""
        return 1000.0 * self.delay_samples / self.sample_rate
