"""The contract that every enhancement method keeps. Read this file first.

Three objects, from the outside in:

:class:`Enhancer`
    What a user names: an immutable, shareable set of parameters (and weights, for networks).
    ``enhancer.stream(sample_rate, channels)`` starts a stream, cheaply.
:class:`Stream`
    What a user feeds: ``process(block)``, ``flush()``, ``reset()``, and the wet/dry controls. The
    one final class; it checks input, aligns the dry signal and counts samples for every method.
:class:`Kernel`
    What an author writes. :class:`StepKernel` covers methods that take a fixed number of samples
    at a time, :class:`SpectralKernel` those that work on STFT frames, :class:`WholeKernel` those
    that need the entire signal.

A file is a stream that ends: :func:`run_offline` is ``process`` + ``flush`` minus the latency, and
there is no second path.

Counting
--------
After ``n`` samples in and a ``flush``, exactly ``n + latency_samples`` samples have come out, of
which the first ``latency_samples`` belong to the time before the signal began.

Channels
--------
As many channels come out as went in, unless a method makes fewer out of several: a beamformer one out
of eight, an echo canceller one out of microphone and loudspeaker. Such a kernel names the inputs that
its outputs stand in for (``outputs``, the reference microphone of a beamformer). Those are the dry
signal of ``set_strength`` and ``bypass``, and what a residual completes the output to.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError, ShapeError, StreamError, UnboundedLatencyError
from ..noise.profile import NoiseProfile
from ..signal.blocks import Fifo, Samples, as_block, check_channels, check_rate
from ..signal.stft import Frames, Spectrum, StftSpec
from . import params

Array: TypeAlias = NDArray[np.float32]

UNBOUNDED: Final = -1
"""``latency_samples`` of a method that answers only when the signal has ended."""

RAMP_MS = 20.0
"""Time in which a change of strength or bypass is carried out, so that it does not click."""


class Kernel(abc.ABC):
    """The running part of a method, for one stream at one sample rate and channel count.

    Input is checked before it gets here. A kernel never writes into its input.
    """

    channels: int
    latency_samples: int
    shares: bool = False
    """Can its steps be taken in one call with those of other streams (:func:`together`)?"""
    outputs: tuple[int, ...] | None = None
    """The input channel that each output channel stands in for and is aligned with; ``None``: all, in order."""

    @property
    def channels_out(self) -> int:
        """Channels of what ``push`` and ``finish`` return."""
        return self.channels if self.outputs is None else len(self.outputs)

    @abc.abstractmethod
    def push(self, x: Samples) -> Samples:
        """Take ``(channels, n)`` samples, return those ``(channels_out, m)`` that are ready (``m`` may be 0)."""

    def pushing(self, x: Samples) -> Work:
        """:meth:`push` for :func:`together`: hands out the steps that are due and is sent what became of them.

        A kernel that hands out nothing does its work by itself.
        """
        return self.push(x)
        yield  # a generator, if one that never stops on its way

    def expect(self, block: int) -> None:  # noqa: B027 - most kernels have nothing to prepare
        """Blocks of this many samples will come, one after the other: prepare what makes them quick.

        Or, in some blocks, a recording of so many. Only a hint, given before the first block: any may come as well.
        """

    @abc.abstractmethod
    def finish(self) -> Samples:
        """Return all that is still owed: in total ``samples in + latency_samples``."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Return to the state of a new kernel."""

    @abc.abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """A copy of the whole state, as plain containers of arrays and numbers."""

    @abc.abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`snapshot` returned."""

    def core(self) -> SpectralKernel | None:
        """The kernel that does the work, while there is only bookkeeping around it: for :mod:`.crowd`."""
        return None

    @abc.abstractmethod
    def hold(self, quantum: int) -> tuple[int, int]:
        """How many samples can be held back beyond the latency.

        Args:
            quantum: samples arrive in multiples of this number.

        Returns:
            The largest number of samples held back, and the quantum in which samples come out.
        """


class StepKernel(Kernel):
    """A kernel that turns each ``granularity`` samples into as many samples (of ``channels_out`` channels).

    Authors write :meth:`init` and :meth:`step`; collecting blocks of any size into whole steps,
    and pushing the tail out at the end, is done here once.

    Args:
        channels: channels of the stream.
        granularity: samples of one step (the hop of a frame-based method).
        latency: samples by which the output of ``step`` lags behind its input.
    """

    def __init__(self, channels: int, granularity: int = 1, latency: int = 0) -> None:
        self.channels = channels
        self.granularity = granularity
        self.latency_samples = latency
        self._state: Any = None  # made at first use, so that a subclass may finish its __init__
        self._waiting: Samples = np.zeros((channels, 0), np.float32)
        self._taken = self._given = 0

    @abc.abstractmethod
    def init(self) -> Any:
        """Return a new state: plain containers of arrays and numbers."""

    @abc.abstractmethod
    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        """Turn ``(channels, k * granularity)`` samples into as many; ``k`` may be any number from 1.

        The result must not depend on how a signal is cut into calls.
        """

    def push(self, x: Samples) -> Samples:
        """Take any number of samples, return those of the steps that are complete."""
        x = self._complete(x)
        return self.advance(x) if x.shape[1] else np.zeros((self.channels_out, 0), np.float32)

    def pushing(self, x: Samples) -> Work:
        """:meth:`push`, with its steps handed out if others may share them."""
        if self.kind() is None:
            return self.push(x)
        x = self._complete(x)
        return (yield self, x) if x.shape[1] else np.zeros((self.channels_out, 0), np.float32)

    def advance(self, x: Samples) -> Samples:
        """Take the steps of ``(channels, k * granularity)`` samples, ``k`` at least 1."""
        if self._state is None:
            self._state = self.init()
        y, self._state = self.step(x, self._state)
        self._given += x.shape[1]
        return y

    def kind(self) -> object | None:
        """What kernels must share to take a step in one call (:meth:`advance_all`); ``None``: this one is alone."""
        return None

    def advance_all(self, kernels: Sequence[Any], x: Samples) -> Samples:
        """One step of several kernels of one :meth:`kind`, this one among them.

        Args:
            kernels: each of one channel in and out.
            x: ``(kernels, granularity)``.

        Returns:
            ``(kernels, granularity)``; each row as :meth:`advance` would have given it. When this raises, no kernel
            has moved.
        """
        raise NotImplementedError(f"{type(self).__name__} has no kind")

    def _complete(self, x: Samples) -> Samples:
        """Samples of the steps that are complete with these; the rest waits."""
        self._taken += x.shape[1]
        waiting = self._waiting.shape[1]
        if waiting:
            x = np.concatenate((self._waiting, x), axis=1)
        ready = x.shape[1] - x.shape[1] % self.granularity
        if ready == x.shape[1]:
            if waiting:
                self._waiting = self._waiting[:, :0]
        else:
            self._waiting = x[:, ready:].copy()
            x = x[:, :ready]
        return x

    def finish(self) -> Samples:
        """Push silence through until every sample that came in has come out."""
        owed = self._taken + self.latency_samples - self._given
        if not owed:
            return np.zeros((self.channels_out, 0), np.float32)
        steps = -(-owed // self.granularity)
        silence = np.zeros((self.channels, steps * self.granularity - self._waiting.shape[1]), np.float32)
        return self.push(silence)[:, :owed]

    def reset(self) -> None:
        """Return to the state of a new kernel."""
        self._state = None
        self._waiting = self._waiting[:, :0]
        self._taken = self._given = 0

    def snapshot(self) -> dict[str, Any]:
        """A deep copy of the state."""
        counts = (self._taken, self._given)
        return {"state": copy.deepcopy(self._state), "waiting": self._waiting.copy(), "counts": counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._state = copy.deepcopy(state["state"])
        self._waiting = state["waiting"].copy()
        self._taken, self._given = state["counts"]

    def hold(self, quantum: int) -> tuple[int, int]:
        """A step waits for ``granularity`` samples; blocks that fit it wait for nothing."""
        held = self.granularity - math.gcd(self.granularity, quantum)
        return held, quantum if not held else self.granularity


class SpectralKernel(StepKernel):
    """A kernel that works on STFT frames: the adapter between samples and spectra.

    Authors write :meth:`init_bins` and :meth:`step_bins`; framing, windows, overlap-add and delay
    are done here.
    """

    def __init__(self, frames: Frames, channels: int) -> None:
        super().__init__(channels, frames.hop, frames.latency)
        self.frames = frames

    @abc.abstractmethod
    def init_bins(self) -> Any:
        """Return a new state of the method proper."""

    @abc.abstractmethod
    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        """Turn ``(channels, k, bins)`` complex bins into ``(channels_out, k, bins)``; ``k`` is 1 or more."""

    def init(self) -> Any:
        """State of analysis, method and synthesis."""
        held = self.frames.size - self.frames.hop
        history = np.zeros((self.channels, held), np.float32)
        return history, self.init_bins(), np.zeros((self.channels_out, held), np.float32)

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        """Analysis, the method, synthesis."""
        history, inner, tail = state
        spectrum, history = self.frames.forward(x, history)
        spectrum, inner = self.step_bins(spectrum, inner)
        y, tail = self.frames.inverse(spectrum, tail)
        return y, (history, inner, tail)

    def remembered(self, state: Any) -> tuple[Array, ...]:
        """What one stream has in a state of :meth:`init_bins`, as arrays; what is the same for all is left out.

        This, :meth:`recalled` and :meth:`step_rows` are only for kernels that have a :meth:`kind`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no kind")

    def recalled(self, state: Any, arrays: Sequence[Array]) -> Any:
        """A state that remembers these arrays; ``state``, from which the rest is taken, may be updated in place."""
        raise NotImplementedError(f"{type(self).__name__} has no kind")

    def step_rows(self, spectrum: Spectrum, state: Any, arrays: Sequence[Array]) -> tuple[Spectrum, Sequence[Array]]:
        """:meth:`step_bins` of one frame of each of several streams.

        Args:
            spectrum: ``(streams, 1, bins)``.
            state: of one of them, for what is the same in all; not changed.
            arrays: what they remember (:meth:`remembered`), with an axis of streams in front; may be changed.

        Returns:
            The spectrum, and what they remember now.
        """
        raise NotImplementedError(f"{type(self).__name__} has no kind")

    def core(self) -> SpectralKernel | None:
        """Itself, once it has a kind."""
        return None if self.kind() is None else self

    def advance_all(self, kernels: Sequence[Any], x: Samples) -> Samples:
        """Analysis, the method, synthesis, each once for all rows."""
        states = [kernel._state for kernel in kernels]
        spectrum, history = self.frames.forward(x, np.concatenate([state[0] for state in states]))
        before = [np.stack(each) for each in zip(*(self.remembered(state[1]) for state in states), strict=True)]
        spectrum, arrays = self.step_rows(spectrum, states[0][1], before)
        y, tail = self.frames.inverse(spectrum, np.concatenate([state[2] for state in states]))
        for i, kernel in enumerate(kernels):
            inner = self.recalled(states[i][1], [each[i] for each in arrays])
            kernel._state = (history[i : i + 1], inner, tail[i : i + 1])
            kernel._given += x.shape[1]
        return y


class WholeKernel(Kernel):
    """A kernel that needs the entire signal: it collects in ``push`` and answers in ``finish``."""

    latency_samples = UNBOUNDED

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self._parts: list[Samples] = []

    @abc.abstractmethod
    def run(self, x: Samples) -> Samples:
        """Turn the whole signal ``(channels, n)``, ``n >= 1``, into ``(channels_out, n)``."""

    def push(self, x: Samples) -> Samples:
        """Collect."""
        if x.shape[1]:
            self._parts.append(x.copy())
        return np.zeros((self.channels_out, 0), np.float32)

    def finish(self) -> Samples:
        """Answer."""
        if not self._parts:
            return np.zeros((self.channels_out, 0), np.float32)
        return self.run(np.concatenate(self._parts, axis=1))

    def reset(self) -> None:
        """Drop what was collected."""
        self._parts = []

    def snapshot(self) -> dict[str, Any]:
        """What was collected."""
        return {"parts": [p.copy() for p in self._parts]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._parts = [p.copy() for p in state["parts"]]

    def hold(self, quantum: int) -> tuple[int, int]:
        """Not defined: everything is held back."""
        raise UnboundedLatencyError("this method needs the whole signal and cannot run block by block")


@dataclass(frozen=True)
class Enhancer(abc.ABC):
    """A method with its parameters: immutable, hashable, shareable between threads and streams.

    Subclasses are frozen dataclasses whose fields are made with :func:`~.params.param`, and whose
    docstring says what the method does, its formula, its limits and its source.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        params.check(self)

    @abc.abstractmethod
    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """Make the running part (for authors; users call :meth:`stream`)."""

    def stream(
        self, sample_rate: int, channels: int = 1, *, block_size: int | None = None, usual_size: int | None = None
    ) -> Stream:
        """Start a stream.

        Args:
            sample_rate: 8000 to 192000 Hz; what goes in at this rate comes out at this rate.
            channels: 1 to 64; the count that every block must have.
            block_size: the fixed size of the blocks that :meth:`Stream.process_block` will get, if
                it is known: the delay is then as small as that size allows, and the method can get ready for
                blocks of that size. ``process`` takes any size.
            usual_size: of blocks whose size is not fixed: about how many samples they will hold, or, of a recording
                that is there as a whole, how many it holds. The method gets ready for them; result (to 1e-6 of the
                peak) and delay do not depend on it.

        Raises:
            SampleRateError, ShapeError: rate or channels out of range.
            ParameterError: a parameter that has no meaning at this sample rate, or both sizes are given.
        """
        rate, count = check_rate(sample_rate), check_channels(channels)
        if block_size is not None and usual_size is not None:
            raise ParameterError(f"block_size = {block_size!r} and usual_size = {usual_size!r}: give one of the two")
        for name, size in (("block_size", block_size), ("usual_size", usual_size)):
            if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ParameterError(f"{name} = {size!r}; give a number of samples, 1 or more")
        kernel = self.kernel(rate, count)
        expected = usual_size if block_size is None else block_size
        if expected is not None:
            kernel.expect(expected)
        return Stream(kernel, rate, block_size, self.key())

    def warm(self) -> None:  # noqa: B027 - most methods have nothing to load
        """Load now what the first block would load: machine code, for instance.

        A service calls it before the first visitor does, and a command before the index of a long file takes memory.
        """

    def with_profile(self, profile: NoiseProfile) -> Enhancer:
        """The same enhancer, knowing the noise from a measured profile instead of following it.

        Raises:
            ParameterError: the method has no use for a noise profile.
        """
        raise ParameterError(
            f"method {self.name!r} takes no noise profile; spectral methods do, such as 'log-mmse' and 'wiener'"
        )

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters as plain values; :func:`unmuffle.load` takes them back."""
        return {"method": self.name, **params.values(self)}

    def to_toml(self) -> str:
        """Name and parameters as TOML; :func:`unmuffle.enhancers.registry.from_toml` reads it back."""
        return params.to_toml(self.to_dict())

    def key(self) -> str:
        """Text that two enhancers share exactly when they do the same; part of every cache key."""
        return self.to_toml()


class Framed(Enhancer):
    """A method on frames of its parameters ``window_ms`` and ``hop_ms``, which are checked when it is made."""

    window_ms: float
    hop_ms: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec  # noqa: B018 - raises now, not at the first stream, when the frames make no sense

    @property
    def spec(self) -> StftSpec:
        """Frame and hop."""
        return StftSpec(self.window_ms, self.hop_ms)


class Stream:
    """One running signal. Made by :meth:`Enhancer.stream`, never directly.

    ``process`` returns the samples that are ready, in any split of the signal the same ones.
    ``process_block`` returns exactly as many samples as it gets, for audio callbacks. Use one of
    the two in a stream, not both.

    Attributes:
        sample_rate: in Hz.
        channels: of every block that goes in.
        channels_out: of what comes out; ``channels`` but for methods that make fewer out of several.
        latency_samples: by which the samples of ``process`` lag; :data:`UNBOUNDED` (-1) when the
            method answers only in ``flush``.
        shares: does it gain by :func:`together`?
    """

    def __init__(self, kernel: Kernel, sample_rate: int, block_size: int | None, key: str) -> None:
        self.sample_rate = sample_rate
        self.channels = kernel.channels
        self.channels_out = kernel.channels_out
        self.latency_samples = kernel.latency_samples
        self.block_size = block_size
        self.shares = kernel.shares
        self._kernel = kernel
        self._signature = f"{key}|{sample_rate}|{kernel.channels}|{block_size}"
        self._strength_db = math.inf
        self._bypass = False
        self._aim()
        self._fresh()

    def _fresh(self) -> None:
        """Buffers and counters as at the start; strength and bypass stay as they are set."""
        self._dry = Fifo(self.channels_out, max(self.latency_samples, 0))
        self._blocks: Fifo | None = None
        self._started = False
        self._one_dimensional = False
        self._mix = self._target  # share of the dry signal, 0..1

    # -- samples ---------------------------------------------------------------------------------

    def process(self, block: Any) -> Samples:
        """Take a block of any size, return the samples that are ready.

        Raises:
            InputError: the block cannot be used; the stream has not seen it and can go on.
            StreamError: ``process_block`` was used before.
        """
        return self._present(self._run(self._free(block)))

    def process_block(self, block: Any) -> Samples:
        """Take a block, return exactly as many samples: the twin of ``process`` for callbacks.

        The output lags by :attr:`block_latency_samples`; the first samples are zeros. A stream made
        with ``block_size`` takes only blocks of that size.
        """
        x, blocks = self._fixed(block)
        return self._present(blocks.exchange(self._run(x), x.shape[1]))

    def processing(self, block: Any, *, fixed: bool = False) -> Work:
        """:meth:`process` (``fixed``: :meth:`process_block`) for :func:`together`."""
        x, blocks = self._fixed(block) if fixed else (self._free(block), None)
        y = yield from self._through(x)
        return self._present(y if blocks is None else blocks.exchange(y, x.shape[1]))

    def core(self) -> SpectralKernel | None:
        """The kernel that does the work, if a crowd may do it in its place now (:mod:`.crowd`)."""
        whole = self._blocks is None or self.block_latency_samples == self.latency_samples
        return self._kernel.core() if whole and self._mix == self._target else None

    @property
    def share(self) -> float:
        """Of the dry signal in the output now, 0 to 1."""
        return self._mix

    def note(self, x: Samples, wet: Samples) -> Samples:
        """Keep the books of samples that a crowd worked off.

        Args:
            x: what came in since the last time, ``(channels, n)``, checked.
            wet: what the core's steps made of it.

        Returns:
            What :meth:`process` would have returned, ``(channels_out, m)``.
        """
        return _noted(self._through(x), wet)

    def flush(self) -> Samples:
        """End the signal: return the tail, and begin anew.

        In all, ``samples in + latency_samples`` come out (``+ block_latency_samples`` in the case of
        ``process_block``).
        """
        tail = self._mixed(self._kernel.finish())
        if self._blocks is not None:
            tail = self._blocks.exchange(tail, len(self._blocks) + tail.shape[1])
        out = self._present(tail)
        self.reset()
        return out

    def reset(self) -> None:
        """Forget the signal; strength and bypass stay as they are set."""
        self._kernel.reset()
        self._fresh()

    def dry(self, x: Samples) -> Samples:
        """The channels of an input ``(channels, n)`` that the output stands in for: ``(channels_out, n)``."""
        return x if self._kernel.outputs is None else x[list(self._kernel.outputs)]

    def _free(self, block: Any) -> Samples:
        """A block of any size, checked."""
        if self._blocks is not None:
            raise StreamError("process after process_block: use one of the two, or reset() between")
        return self._check(block)

    def _fixed(self, block: Any) -> tuple[Samples, Fifo]:
        """A block that is answered by as many samples, checked, and the queue behind it."""
        x = self._check(block)
        if self._blocks is None:
            if self._started:
                raise StreamError("process_block after process: use one of the two, or reset() between")
            self._blocks = Fifo(self.channels_out, self.block_latency_samples - self.latency_samples)
        if self.block_size is not None and x.shape[1] != self.block_size:
            raise ShapeError(f"this stream takes blocks of {self.block_size} samples, got {x.shape[1]}")
        return x, self._blocks

    def _check(self, block: Any) -> Samples:
        x = as_block(block, self.channels)
        self._one_dimensional = np.ndim(block) == 1
        return x

    def _run(self, x: Samples) -> Samples:
        self._started = True
        self._dry.push(self.dry(x))
        return self._mixed(self._kernel.push(x))

    def _through(self, x: Samples) -> Work:
        self._started = True
        self._dry.push(self.dry(x))
        return self._mixed((yield from self._kernel.pushing(x)))

    def _present(self, y: Samples) -> Samples:
        # The caller owns what comes back: never a view of a buffer that is still in use.
        out = y[0] if self._one_dimensional else y
        return out if out.base is None and out.flags.c_contiguous else out.copy()

    # -- wet and dry -----------------------------------------------------------------------------

    def _aim(self) -> None:
        """Where the mix is to go, by strength and bypass."""
        self._target = 1.0 if self._bypass else float(10.0 ** (-self._strength_db / 20.0))

    def _mixed(self, wet: Samples) -> Samples:
        n = wet.shape[1]
        dry = self._dry.pop(n)
        target = self._target
        if self._mix == target:
            if target == 0.0:
                return wet
            if target == 1.0:
                return dry
            return wet + np.float32(target) * (dry - wet)
        if not n:
            return wet
        rate = 1000.0 / (RAMP_MS * self.sample_rate)
        rate = rate if target > self._mix else -rate
        ramp = self._mix + rate * np.arange(1, n + 1)
        ramp = np.minimum(ramp, target) if rate > 0 else np.maximum(ramp, target)
        self._mix = float(ramp[-1])
        share = ramp.astype(np.float32)
        return np.where(share == 1.0, dry, wet + share * (dry - wet))

    def set_strength(self, db: float) -> None:
        """Limit the attenuation to ``db`` decibels: 0 gives the input back, ``inf`` the full effect.

        The output is ``wet + g (dry - wet)`` with ``g = 10^(-db / 20)``, reached within 20 ms from
        the next sample on.
        """
        value = float(db)
        if math.isnan(value) or value < 0:
            raise ParameterError(f"strength = {db!r} dB; give 0 (input unchanged) to inf (full effect)")
        self._strength_db = value
        self._aim()
        if not self._started:
            self._mix = self._target

    @property
    def strength_db(self) -> float:
        """The attenuation limit that is set, in dB."""
        return self._strength_db

    @property
    def bypass(self) -> bool:
        """While true, the delayed input passes unchanged; switching takes 20 ms and does not click."""
        return self._bypass

    @bypass.setter
    def bypass(self, on: bool) -> None:
        self._bypass = bool(on)
        self._aim()
        if not self._started:
            self._mix = self._target

    # -- facts -----------------------------------------------------------------------------------

    @property
    def latency_ms(self) -> float:
        """Latency of ``process`` in milliseconds (infinite for an unbounded method)."""
        return self._milliseconds(self.latency_samples)

    @property
    def block_latency_samples(self) -> int:
        """Latency of ``process_block``: ``latency_samples`` and what waits for a whole step.

        Raises:
            UnboundedLatencyError: the method needs the whole signal.
        """
        held, _ = self._kernel.hold(self.block_size or 1)
        return self.latency_samples + held

    @property
    def block_latency_ms(self) -> float:
        """Latency of ``process_block`` in milliseconds."""
        return self._milliseconds(self.block_latency_samples)

    def _milliseconds(self, samples: int) -> float:
        return math.inf if samples == UNBOUNDED else 1000.0 * samples / self.sample_rate

    # -- state -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """A copy of everything the stream remembers, for :meth:`restore` on a stream of the same kind."""
        return {
            "signature": self._signature,
            "kernel": self._kernel.snapshot(),
            "dry": self._dry.snapshot(),
            "blocks": None if self._blocks is None else self._blocks.snapshot(),
            "mix": self._mix,
            "strength_db": self._strength_db,
            "bypass": self._bypass,
            "started": self._started,
            "one_dimensional": self._one_dimensional,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state` returned.

        Raises:
            StreamError: the state is of another method, rate or channel count.
        """
        if not isinstance(state, dict) or state.get("signature") != self._signature:
            raise StreamError(
                "this state belongs to another method, sample rate, channel count or block size; "
                "restore it on a stream made in the same way"
            )
        self._kernel.restore(state["kernel"])
        self._dry.restore(state["dry"])
        self._blocks = None
        if state["blocks"] is not None:
            self._blocks = Fifo(self.channels_out)
            self._blocks.restore(state["blocks"])
        self._mix = state["mix"]
        self._strength_db = state["strength_db"]
        self._bypass = state["bypass"]
        self._aim()
        self._started = state["started"]
        self._one_dimensional = state["one_dimensional"]


Work: TypeAlias = Generator[tuple[StepKernel, Samples], Samples, Samples]
"""A push on its way: hands out steps, is sent their results, returns the samples that are ready."""


def alone(work: Work) -> Samples:
    """Carry out a push by itself."""
    try:
        kernel, x = next(work)
        while True:
            try:
                y = kernel.advance(x)
            except Exception as error:
                kernel, x = work.throw(error)
            else:
                kernel, x = work.send(y)
    except StopIteration as done:
        return cast(Samples, done.value)


def _noted(work: Work, wet: Samples) -> Samples:
    """Carry out a push of which the steps have been taken elsewhere."""
    try:
        kernel, x = next(work)
        while True:
            y, wet = wet[:, : x.shape[1]], wet[:, x.shape[1] :]
            kernel._given += y.shape[1]
            kernel, x = work.send(y)
    except StopIteration as done:
        return cast(Samples, done.value)


def together(works: Sequence[Work]) -> list[Samples | Exception]:
    """Carry out pushes of several streams side by side; steps of one kind are taken in one call.

    The results are those that each stream would have given alone, bit for bit (of a network within 1e-6 of the
    input's peak); it is the calls that are saved. A frame of a spectral method is some dozens of operations on
    a few hundred numbers, and takes hardly longer for ten streams. Many streams that go on side by side save
    more in a :mod:`.crowd`.

    Args:
        works: from :meth:`Stream.processing`, each of another stream.

    Returns:
        For each what it returned, or the exception that it ended with.

    >>> from unmuffle import load
    >>> streams = [load("log-mmse").stream(16000) for _ in range(3)]
    >>> blocks = [np.full(512, level, np.float32) for level in (0.1, 0.2, 0.3)]
    >>> [len(y) for y in together([s.processing(x) for s, x in zip(streams, blocks)])]
    [512, 512, 512]
    """
    results: list[Any] = [None] * len(works)
    sends: list[tuple[int, Samples | None, Exception | None]] = [(i, None, None) for i in range(len(works))]
    while sends:
        due: dict[Any, list[tuple[int, StepKernel, Samples]]] = {}
        for i, y, error in sends:
            try:
                # The first thing that a generator is sent must be nothing.
                kernel, x = works[i].send(cast(Samples, y)) if error is None else works[i].throw(error)
            except StopIteration as done:
                results[i] = done.value
                continue
            except Exception as raised:
                results[i] = raised
                continue
            kind = kernel.kind() if x.shape[1] == kernel.granularity else None
            due.setdefault(i if kind is None else kind, []).append((i, kernel, x))
        sends = [each for group in due.values() for each in _advanced(group)]
    return results


def _advanced(group: list[tuple[int, StepKernel, Samples]]) -> list[tuple[int, Samples | None, Exception | None]]:
    """Results of the steps of one kind."""
    if len(group) > 1:
        with suppress(Exception):  # one of them alone is at fault: found out below
            kernels = [kernel for _, kernel, _ in group]
            y = kernels[0].advance_all(kernels, np.concatenate([x for _, _, x in group]))
            return [(i, y[row : row + 1], None) for row, (i, _, _) in enumerate(group)]
    made: list[tuple[int, Samples | None, Exception | None]] = []
    for i, kernel, x in group:
        try:
            made.append((i, kernel.advance(x), None))
        except Exception as error:
            made.append((i, None, error))
    return made


OFFLINE_BLOCK = 1 << 17
"""Samples that offline processing hands to a stream at once: 8 s at 16 kHz, a few megabytes."""


def run_offline(enhancer: Enhancer, x: Any, sample_rate: int, *, strength_db: float = math.inf) -> Samples:
    """Enhance a whole signal: the stream, minus its latency.

    Args:
        enhancer: the method.
        x: ``(samples,)`` or ``(channels, samples)``, floating point.
        sample_rate: in Hz.
        strength_db: attenuation limit, see :meth:`Stream.set_strength`.

    Returns:
        float32 of the shape of ``x`` (with fewer rows, if the method makes fewer channels out of several),
        sample-aligned with it.
    """
    signal = as_block(x)
    stream = enhancer.stream(sample_rate, signal.shape[0], usual_size=signal.shape[1] or None)
    stream.set_strength(strength_db)
    blocks = (signal[:, i : i + OFFLINE_BLOCK] for i in range(0, signal.shape[1], OFFLINE_BLOCK))
    empty = np.zeros((stream.channels_out, 0), np.float32)
    out = np.concatenate([empty, *aligned(stream, blocks)], axis=1)
    return out[0] if np.ndim(x) == 1 else out


def aligned(stream: Stream, blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Run blocks through a stream and take its latency off: in all, as many samples as went in.

    Args:
        stream: a fresh one; it is flushed at the end.
        blocks: ``(channels, n)`` each, of any size.

    Yields:
        ``(channels, m)``, sample-aligned with the input.
    """
    early = max(stream.latency_samples, 0)
    for block in blocks:
        out = stream.process(block)
        skip = min(early, out.shape[1])
        early -= skip
        if out.shape[1] > skip:
            yield out[:, skip:]
    # Without a block before it, flush has only the latency to answer, in one dimension or two.
    tail = np.atleast_2d(stream.flush())
    if tail.shape[1] > early:
        yield tail[:, early:]
