"""A method that may fail, with one behind it that takes over without a gap.

``Guarded(main, spare)`` is an enhancer like any other. Its stream runs ``main`` and watches it; when ``main``

* raises an exception,
* gives samples that are NaN or infinite, or the wrong number of them, or
* falls behind real time by more than ``behind_s`` (only when that is set: a file is never late),

then ``spare`` (by default ``classic``, which needs no network) takes over, and if that fails as well, the input
passes through. All three are aligned to one latency, the larger of the two methods', so that a switch moves
nothing in time. Listening on::

    main ──────────────╮ 20 ms                        ╭────────── main again
                        ╲ what main would have said  ╱  20 ms
    spare ───────────────╰──────────────────────────╯

A method that has failed says nothing more, so there is nothing to fade from: the fade begins from its last 40 ms,
continued by linear prediction (autocorrelation method: the continuation always decays). The spare does not start
cold: it first hears the last ``warm_s`` of the input again, in one go.

After ``retry_s`` the main method is started anew and runs beside the spare for ``warm_s``, unheard; if it does so
without fault, it is faded in. Each pause is twice as long as the one before, and after ``retries`` of them the main
method is left alone.

Every switch is told: to ``notify`` (called where the audio runs: be brief) and to the log ``unmuffle.quality``. The
watch costs a copy of the input, a sum over the output and two looks at the clock for each block, about 15 us.

Latency: ``max(main, spare)``. Samples come out as the active method gives them; ``hold`` is the larger of both.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, cast

import numpy as np
from scipy.signal import lfilter, lfiltic

from ..enhancers.base import RAMP_MS, UNBOUNDED, Enhancer, Kernel, SpectralKernel, StepKernel, Work, alone
from ..enhancers.registry import load
from ..errors import NonFiniteError, ParameterError, ShapeError, UnboundedLatencyError
from ..signal.blocks import Fifo, Samples, finite
from ..signal.lpc import lpc_autocorrelation

_log = logging.getLogger("unmuffle.quality")

PIECE_S: Final = 0.5
"""Longer blocks are worked off in pieces of this length, so that the input of a piece that failed is still there."""

TAIL_S: Final = 0.04
"""Length of the output from which it is continued after a failure."""

_HIGHEST_ORDER = 32  # of the prediction: two poles a kilohertz describe the resonances of speech up to 16 kHz

MAIN: Final = "main"
SPARE: Final = "spare"
DRY: Final = "dry"


@dataclass(frozen=True)
class Switch:
    """A stream changed its method.

    Attributes:
        to: ``main``, ``spare`` or ``dry`` (the input, aligned).
        reason: ``error``, ``non-finite``, ``behind`` or ``recovered``; what happened to the method that was left.
        detail: in words.
        at_s: seconds of sound that had come in.
    """

    to: str
    reason: str
    detail: str
    at_s: float


class _Behind(Exception):
    """The method is too slow."""


def _spare() -> Enhancer:
    return load("classic")


@dataclass(frozen=True)
class Guarded(Enhancer):
    """Runs ``main``, and ``spare`` when that fails; see the module.

    Args:
        main: the method.
        spare: takes over; ``classic`` by default. ``identity`` means the input itself.
        behind_s: how far ``main`` may fall behind real time; infinite (the default) for files.
        warm_s: input that a method hears before it is heard.
        retry_s: pause before the main method is tried again.
        retries: how often it is tried again.
        notify: called with every :class:`Switch`.
        clock: seconds, monotonic; for tests.
    """

    main: Enhancer
    spare: Enhancer = field(default_factory=_spare)
    behind_s: float = math.inf
    warm_s: float = 0.5
    retry_s: float = 10.0
    retries: int = 3
    notify: Callable[[Switch], None] | None = field(default=None, compare=False, repr=False)
    clock: Callable[[], float] = field(default=time.perf_counter, compare=False, repr=False)
    name: ClassVar[str] = "guarded"

    def __post_init__(self) -> None:
        for which in (self.main, self.spare):
            if not isinstance(which, Enhancer):
                raise ParameterError(f"a guard is made of enhancers, got {which!r}; make it with load(name)")
        for key, value, low in (("behind_s", self.behind_s, 0.0), ("retry_s", self.retry_s, 0.0)):
            if not value > low:
                raise ParameterError(f"{key} = {value!r}; give more than 0 seconds")
        if not 0.0 <= self.warm_s <= 10.0:
            raise ParameterError(f"warm_s = {self.warm_s!r}; give 0 to 10 seconds")
        if self.retries < 0:
            raise ParameterError(f"retries = {self.retries!r}; give 0 or more")

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The guard.

        Raises:
            UnboundedLatencyError: a method that needs the whole signal has nothing to fall back from.
        """
        return GuardedKernel(self, sample_rate, channels)

    def to_dict(self) -> dict[str, Any]:
        """Both methods and the times."""
        own = {k: getattr(self, k) for k in ("behind_s", "warm_s", "retry_s", "retries")}
        return {"method": self.name, **own, "main": self.main.to_dict(), "spare": self.spare.to_dict()}

    def key(self) -> str:
        """Both keys and the times."""
        own = ",".join(f"{getattr(self, k):g}" for k in ("behind_s", "warm_s", "retry_s", "retries"))
        return f"guarded({self.main.key()},{self.spare.key()},{own})"


def guard_for(
    main: Enhancer, sample_rate: int, channels: int, block_size: int | None = None, **values: Any
) -> Guarded:
    """A guard that costs no latency: its spare is ``classic``, with shorter frames if need be, or the input itself.

    Args:
        main: the method.
        sample_rate, channels, block_size: of the stream it is for, as for :meth:`Enhancer.stream`.
        values: other fields of :class:`Guarded`.
    """
    first = main.kernel(sample_rate, channels)
    steps = (1, block_size or 1)
    candidates = (load("classic"), load("classic", window_ms=20.0, hop_ms=10.0), load("identity"))
    for spare in candidates:
        other = spare.kernel(sample_rate, first.channels_out)
        waits = any(other.hold(n)[0] > first.hold(n)[0] for n in steps)
        if other.latency_samples <= first.latency_samples and not waits:
            break
    return Guarded(main, spare, **values)


class _Branch:
    """A kernel whose output is brought to the common latency; knows where in the output it stands."""

    def __init__(self, kernel: Kernel, latency: int, start: int) -> None:
        self.kernel = kernel
        self.head = start  # index in the output of the next sample of `held`
        self.heard = 0
        self.held = Fifo(kernel.channels_out, latency - kernel.latency_samples)
        self._owed = kernel.latency_samples
        self._most_owed = kernel.latency_samples + kernel.hold(1)[0]

    @property
    def ready(self) -> int:
        """Index in the output up to which there are samples."""
        return self.head + len(self.held)

    def push(self, x: Samples) -> None:
        alone(self.pushing(x))

    def pushing(self, x: Samples) -> Work:
        self._owed += x.shape[1]
        self.heard += x.shape[1]
        y = yield from self.kernel.pushing(x)
        self._take(y)
        if self._owed > self._most_owed:
            raise ShapeError(f"the method holds {self._owed - self._most_owed} samples more back than it may")
        return y

    def finish(self) -> None:
        self._take(self.kernel.finish())
        if self._owed:
            raise ShapeError(f"the method ended with {self._owed} samples missing")

    def _take(self, y: Samples) -> None:
        count = self.kernel.channels_out
        if not isinstance(y, np.ndarray) or y.ndim != 2 or y.shape[0] != count or y.shape[1] > self._owed:
            raise ShapeError(f"the method gave samples of shape {np.shape(y)}")
        if not finite(y):
            raise NonFiniteError("the method gave NaN or infinity")
        self._owed -= y.shape[1]
        self.held.push(y)

    def take(self, start: int, stop: int) -> Samples:
        """The samples of a span of the output; what lies before it is forgotten."""
        if start > self.head:
            self.drop(start)
        self.head += stop - start
        return self.held.pop(stop - start)

    def drop(self, start: int) -> None:
        """Forget what lies before an index, as far as it is there."""
        n = min(max(0, start - self.head), len(self.held))
        self.held.pop(n)
        self.head += n

    def snapshot(self) -> dict[str, Any]:
        counts = (self.head, self.heard, self._owed)
        return {"kernel": self.kernel.snapshot(), "held": self.held.snapshot(), "counts": counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.kernel.restore(state["kernel"])
        self.held.restore(state["held"])
        self.head, self.heard, self._owed = state["counts"]


class _Past:
    """The last samples of a signal, by their index since its start; before the start it is zero."""

    def __init__(self, channels: int, length: int) -> None:
        self._ring: Samples = np.zeros((channels, length), np.float32)
        self.end = 0

    def push(self, x: Samples) -> None:
        size, count = self._ring.shape[1], x.shape[1]
        at = self.end % size
        if at + count <= size:
            self._ring[:, at : at + count] = x
            self.end += count
            return
        skipped = max(0, count - size)
        kept = count - skipped
        at = (self.end + skipped) % size
        first = min(kept, size - at)
        self._ring[:, at : at + first] = x[:, skipped : skipped + first]
        self._ring[:, : kept - first] = x[:, skipped + first :]
        self.end += count

    def get(self, start: int, stop: int) -> Samples:
        index = np.arange(start, stop)
        return np.where(index >= 0, self._ring[:, index % self._ring.shape[1]], np.float32(0.0))

    def snapshot(self) -> tuple[Samples, int]:
        return self._ring.copy(), self.end

    def restore(self, state: tuple[Samples, int]) -> None:
        self._ring, self.end = state[0].copy(), state[1]


class GuardedKernel(Kernel):
    """The running guard.

    Attributes:
        active: ``main``, ``spare`` or ``dry``.
        failures: of the main method since the start.
    """

    def __init__(self, guard: Guarded, sample_rate: int, channels: int) -> None:
        self.channels = channels
        self._guard = guard
        self._rate = sample_rate
        main = guard.main.kernel(sample_rate, channels)
        self.outputs, self.shares = main.outputs, main.shares
        self._heard = slice(None) if main.outputs is None else list(main.outputs)  # by the spare, and when dry
        spare = guard.spare.kernel(sample_rate, main.channels_out)
        if spare.outputs is not None:
            raise ShapeError(f"{guard.spare.name} makes fewer channels: it cannot stand in for {guard.main.name}")
        if UNBOUNDED in (main.latency_samples, spare.latency_samples):
            raise UnboundedLatencyError("a method that needs the whole signal answers only once: nothing to guard")
        self.latency_samples = max(main.latency_samples, spare.latency_samples)
        self._kernels: dict[str, Kernel | None] = {MAIN: main, SPARE: spare}  # None: broken, make a new one
        self._hold = (main.hold, spare.hold)
        self._piece = max(1, round(PIECE_S * sample_rate))
        self._warm = round(guard.warm_s * sample_rate)
        self._ramp = max(1, round(RAMP_MS * sample_rate / 1000.0))
        held, steps = zip(main.hold(1), spare.hold(1), strict=True)
        self._steps = dict(zip((MAIN, SPARE), steps, strict=True))
        self._room = self._warm + self._piece + 2 * self.latency_samples + max(held) + max(steps)
        self._tail = max(16, round(TAIL_S * sample_rate))
        self._order = min(_HIGHEST_ORDER, round(2 * sample_rate / 1000))
        self._block: int | None = None
        self._fresh()

    def expect(self, block: int) -> None:
        """Told to both methods, and to those that are made later."""
        self._block = block
        for kernel in (*self._kernels.values(), *(b.kernel for b in self._branches.values() if b is not None)):
            self._tell(kernel)

    def _tell(self, kernel: Kernel | None) -> None:
        if kernel is not None and self._block is not None:
            with suppress(Exception):  # a hint: what cannot take it shows by its blocks whether it is broken
                kernel.expect(self._block)

    def _fresh(self) -> None:
        self._input = _Past(self.channels_out, self._room)
        self._output = _Past(self.channels_out, self._tail)
        self._old: Samples = np.zeros((self.channels_out, 0), np.float32)  # what the method that was left would say
        self._branches: dict[str, _Branch | None] = {MAIN: None, SPARE: None}
        self._given = 0
        self.active = MAIN
        self.failures = 0
        self._backlog = 0.0
        self._among = False  # other streams, whose steps are taken with ours
        self._retry_at: int | None = None
        try:
            self._branches[MAIN] = self._branch(MAIN, 0)
        except Exception as error:  # it failed before the reset, and cannot even be made again
            self._failed(error)

    def _branch(self, which: str, start: int) -> _Branch:
        kernel = self._kernels[which]
        if kernel is None:
            method = self._guard.main if which == MAIN else self._guard.spare
            kernel = method.kernel(self._rate, self.channels if which == MAIN else self.channels_out)
            self._tell(kernel)
        else:
            kernel.reset()
        self._kernels[which] = None  # until it is handed back, whole
        # On the grid of its steps, as if it had begun with the stream: blocks that fit the steps then wait for nothing.
        return _Branch(kernel, self.latency_samples, start - start % self._steps[which])

    # -- samples ---------------------------------------------------------------------------------

    def push(self, x: Samples) -> Samples:
        """All that the active method has ready."""
        self._among = False
        return alone(self._pieces(x))

    def pushing(self, x: Samples) -> Work:
        """:meth:`push`, with the steps of the main method handed out; what they take there is not its time."""
        self._among = True
        return (yield from self._pieces(x))

    def core(self) -> SpectralKernel | None:
        """That of the main method, while it is the one that is heard and nothing else runs."""
        branch = self._branches[MAIN]
        if branch is None or self.active != MAIN or self._branches[SPARE] or self._old.shape[1] or len(branch.held):
            return None
        return branch.kernel.core()

    def _pieces(self, x: Samples) -> Work:
        if x.shape[1] <= self._piece:
            if not x.shape[1]:
                return np.zeros((self.channels_out, 0), np.float32)
            return (yield from self._pushing(x))
        pieces = []
        for i in range(0, x.shape[1], self._piece):
            pieces.append((yield from self._pushing(x[:, i : i + self._piece])))
        return np.concatenate(pieces, axis=1)

    def _pushing(self, x: Samples) -> Work:
        start = self._input.end
        heard = x[self._heard]
        self._input.push(heard)
        spare = self._branches[SPARE]
        if spare is not None:
            try:
                spare.push(heard)
            except Exception as error:
                self._spare_failed(error)
        yield from self._running_main(x, start)
        return self._emit(max(self._given, self._ready()))

    def _running_main(self, x: Samples, start: int) -> Generator[tuple[StepKernel, Samples], Samples, None]:
        branch = self._branches[MAIN]
        try:
            if branch is None:
                if self._retry_at is None or start < self._retry_at:
                    return
                self._retry_at, self._backlog = None, 0.0
                branch = self._branches[MAIN] = self._branch(MAIN, start)
                if start > branch.head:
                    branch.push(np.zeros((self.channels, start - branch.head), np.float32))
            clock = self._guard.clock
            begun, away = clock(), 0.0
            work = branch.pushing(x)
            due = _resumed(work)
            while due is not None:
                left = clock()
                try:
                    y = yield due
                except Exception as error:
                    due = _resumed(work, error=error)
                else:
                    if self._among:
                        away += clock() - left
                    due = _resumed(work, y)
            self._backlog = max(0.0, self._backlog + clock() - begun - away - x.shape[1] / self._rate)
            if self._backlog > self._guard.behind_s:
                raise _Behind(f"{1e3 * self._backlog:.0f} ms behind real time")
        except Exception as error:  # whatever a method, a network or a library below it can raise
            self._failed(error)
            return
        if self.active != MAIN:
            branch.drop(self._given)
            if branch.heard >= self._warm + self.latency_samples and branch.ready >= self._given:
                self._switch(MAIN, "recovered", "it ran without fault beside the other")

    def _ready(self) -> int:
        branch = self._branches.get(self.active)
        return self._input.end if branch is None else branch.ready

    def _emit(self, stop: int) -> Samples:
        start, branch = self._given, self._branches.get(self.active)
        if branch is None:
            delay = self.latency_samples
            y = self._input.get(start - delay, stop - delay)
        else:
            y = branch.take(start, stop)
        n = min(self._old.shape[1], y.shape[1])
        if n:  # after a switch
            at = np.arange(self._ramp - self._old.shape[1] + 1, self._ramp - self._old.shape[1] + 1 + n)
            weight = (0.5 + 0.5 * np.cos(np.pi * at / (self._ramp + 1))).astype(np.float32)
            y = y.copy()
            y[:, :n] += weight * (self._old[:, :n] - y[:, :n])
            self._old = self._old[:, n:]
        self._output.push(y)
        self._given = stop
        return y

    def finish(self) -> Samples:
        """The tail of the active method, or of the next that works."""
        stop = self._input.end + self.latency_samples
        if self.active == MAIN:
            branch = self._branches[MAIN]
            try:
                assert branch is not None
                branch.finish()
            except Exception as error:
                self._failed(error)
        if self.active == SPARE:
            branch = self._branches[SPARE]
            try:
                assert branch is not None
                branch.finish()
            except Exception as error:
                self._spare_failed(error)
        return self._emit(stop)

    # -- switching -------------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        """The main method has failed: note it, and leave it if it is heard."""
        branch, self._branches[MAIN] = self._branches[MAIN], None
        reason, detail = _told(error)
        if reason == "behind" and branch is not None:
            self._kernels[MAIN] = branch.kernel  # slow, not broken
        self.failures += 1
        if self.failures <= self._guard.retries:
            pause = self._guard.retry_s * 2.0 ** (self.failures - 1)
            self._retry_at = self._input.end + round(pause * self._rate)
        if self.active != MAIN:
            _log.warning("%s failed again (%s)", self._guard.main.name, detail)
            return
        start = max(0, self._given - self.latency_samples - self._warm)
        try:
            spare = self._branch(SPARE, start)
            spare.push(self._input.get(spare.head, self._input.end))
        except Exception as second:
            _log.warning("%s failed as well (%s)", self._guard.spare.name, _told(second)[1])
            self._switch(DRY, reason, detail)
            return
        self._branches[SPARE] = spare
        self._switch(SPARE, reason, detail)

    def _spare_failed(self, error: Exception) -> None:
        self._branches[SPARE] = None
        if self.active == SPARE:
            self._switch(DRY, *_told(error))

    def _switch(self, to: str, reason: str, detail: str) -> None:
        self._old = self._continuation()
        self.active = to
        if to == MAIN and (spare := self._branches[SPARE]) is not None:
            self._kernels[SPARE], self._branches[SPARE] = spare.kernel, None
        at_s = self._input.end / self._rate
        names = {MAIN: self._guard.main.name, SPARE: self._guard.spare.name, DRY: "the input as it is"}
        level = logging.INFO if to == MAIN else logging.WARNING
        _log.log(level, "at %.2f s the stream went to %s (%s): %s", at_s, names[to], reason, detail)
        if self._guard.notify is not None:
            try:
                self._guard.notify(Switch(to, reason, detail, at_s))
            except Exception:  # whoever listens must not stop the sound
                _log.exception("a listener failed")

    def _continuation(self) -> Samples:
        """What was said last, continued for the length of the fade."""
        end = self._output.end
        tail = self._output.get(end - self._tail, end).astype(np.float64)
        out = np.zeros((self.channels_out, self._ramp), np.float32)
        if not np.any(tail):
            return out
        window = np.hamming(2 * self._tail)[: self._tail]  # rises to the end: that is what is continued
        model = lpc_autocorrelation(tail * window, self._order).coefficients
        for c in range(self.channels_out):
            state = lfiltic([1.0], model[c], tail[c, : -self._order - 1 : -1])
            out[c], _ = lfilter([1.0], model[c], np.zeros(self._ramp), zi=state)
        # The window bends the model; a loud tail that ends in the middle of a wave must not grow.
        peak = np.max(np.abs(tail), axis=1, keepdims=True)
        return np.clip(out, -peak, peak).astype(np.float32)

    # -- state -----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Begin with the main method again."""
        for which, branch in self._branches.items():
            if branch is not None:
                self._kernels[which] = branch.kernel
        self._fresh()

    def snapshot(self) -> dict[str, Any]:
        """A copy of the whole state."""
        return {
            "input": self._input.snapshot(),
            "output": self._output.snapshot(),
            "old": self._old.copy(),
            "branches": {k: None if b is None else b.snapshot() for k, b in self._branches.items()},
            "plain": (self._given, self.active, self.failures, self._backlog, self._retry_at),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self.reset()
        self._input.restore(state["input"])
        self._output.restore(state["output"])
        self._old = state["old"].copy()
        for which, saved in state["branches"].items():
            branch = self._branches[which]
            if saved is None:
                if branch is not None:
                    self._kernels[which] = branch.kernel
                self._branches[which] = None
                continue
            if branch is None:
                branch = self._branches[which] = self._branch(which, 0)
            branch.restore(saved)
        self._given, self.active, self.failures, self._backlog, self._retry_at = state["plain"]

    def hold(self, quantum: int) -> tuple[int, int]:
        """The larger of both methods': either may be the one that answers."""
        held, out = zip(*(hold(quantum) for hold in self._hold), strict=True)
        return max(held), math.gcd(quantum, *out)


def _resumed(
    work: Work, y: Samples | None = None, *, error: Exception | None = None
) -> tuple[StepKernel, Samples] | None:
    """The next step that is handed out, if there is one."""
    try:
        return work.send(cast(Samples, y)) if error is None else work.throw(error)
    except StopIteration:
        return None


def _told(error: Exception) -> tuple[str, str]:
    """Reason and detail of a fault."""
    if isinstance(error, _Behind):
        return "behind", str(error)
    if isinstance(error, NonFiniteError):
        return "non-finite", str(error)
    return "error", f"{type(error).__name__}: {error}"
