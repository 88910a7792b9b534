"""Enhancers made of enhancers: nothing, one after another, at another rate, per channel.

All keep the contract of :mod:`.base`: latencies add, and each part's tail runs through the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ParameterError, ShapeError
from ..signal.blocks import Fifo, Samples, check_rate
from ..signal.resample import StreamingResampler
from .base import UNBOUNDED, Enhancer, Kernel, StepKernel


@dataclass(frozen=True)
class Identity(Enhancer):
    """Gives every sample back at once, unchanged. The first method to read, and the first to test."""

    name: ClassVar[str] = "identity"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """A kernel that copies."""
        return _Copy(channels)


class _Copy(StepKernel):
    def init(self) -> Any:
        return ()

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        return x.copy(), state


@dataclass(frozen=True)
class Chain(Enhancer):
    """Several enhancers one after another.

    >>> from unmuffle import load
    >>> chain = Chain((load("low-cut"), load("log-mmse")))
    >>> chain.stream(16000).latency_samples == load("log-mmse").stream(16000).latency_samples
    True
    """

    stages: tuple[Enhancer, ...] = ()
    name: ClassVar[str] = "chain"

    def __post_init__(self) -> None:
        stages = tuple(self.stages)
        for stage in stages:
            if not isinstance(stage, Enhancer):
                raise ParameterError(f"a chain is made of enhancers, got {stage!r}; make it with load(name)")
        object.__setattr__(self, "stages", stages)

    def warm(self) -> None:
        """Every stage."""
        for stage in self.stages:
            stage.warm()

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The stages' kernels, joined: each gets as many channels as the one before gives."""
        parts: list[Kernel] = []
        count = channels
        for stage in self.stages:
            parts.append(stage.kernel(sample_rate, count))
            count = parts[-1].channels_out
        return _ChainKernel(channels, parts)

    def to_dict(self) -> dict[str, Any]:
        """The stages in order."""
        return {"method": self.name, "stages": [s.to_dict() for s in self.stages]}

    def key(self) -> str:
        """The stages' keys in order."""
        return "chain(" + ",".join(s.key() for s in self.stages) + ")"

    def to_toml(self) -> str:
        """The stages as an array of tables."""
        return 'method = "chain"\n' + "".join("\n[[stages]]\n" + s.to_toml() for s in self.stages)


class _Composite(Kernel):
    """State handling shared by the kernels that are made of kernels."""

    parts: list[Kernel]

    def expect(self, block: int) -> None:
        for part in self.parts:
            part.expect(block)

    def reset(self) -> None:
        for part in self.parts:
            part.reset()

    def snapshot(self) -> dict[str, Any]:
        return {"parts": [p.snapshot() for p in self.parts]}

    def restore(self, state: dict[str, Any]) -> None:
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.restore(saved)


class _ChainKernel(_Composite):
    def __init__(self, channels: int, parts: list[Kernel]) -> None:
        self.channels = channels
        self.parts = parts
        outputs = tuple(range(channels))
        for part in parts:
            outputs = outputs if part.outputs is None else tuple(outputs[i] for i in part.outputs)
        self.outputs = None if outputs == tuple(range(channels)) else outputs
        latencies = [p.latency_samples for p in parts]
        self._cut = 0  # samples of pre-roll still to be dropped from an unbounded chain
        self._unbounded = UNBOUNDED in latencies
        # An unbounded stage answers at the end, when the others' latencies can be taken off as well.
        self._drop = sum(n for n in latencies if n != UNBOUNDED) if self._unbounded else 0
        self.latency_samples = UNBOUNDED if self._unbounded else sum(latencies)

    def push(self, x: Samples) -> Samples:
        for part in self.parts:
            x = part.push(x)
        return self._dropped(x) if self._unbounded else x

    def finish(self) -> Samples:
        x: Samples = np.zeros((self.channels, 0), np.float32)
        for part in self.parts:
            x = np.concatenate((part.push(x), part.finish()), axis=1) if x.shape[1] else part.finish()
        return self._dropped(x) if self._unbounded else x

    def _dropped(self, y: Samples) -> Samples:
        """Take the bounded stages' pre-roll off the front, so that in total as many come out as went in."""
        n = min(self._drop - self._cut, y.shape[1])
        self._cut += n
        return y[:, n:]

    def reset(self) -> None:
        self._cut = 0
        super().reset()

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "cut": self._cut}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._cut = state["cut"]

    def hold(self, quantum: int) -> tuple[int, int]:
        total = 0
        for part in self.parts:
            held, quantum = part.hold(quantum)
            total += held
        return total, quantum


@dataclass(frozen=True)
class AtRate(Enhancer):
    """Runs an enhancer at a fixed sample rate inside a stream of any rate.

    The signal is resampled, enhanced and resampled back. What the filters take away is not lost:
    it is the difference between the input and its own trip through both resamplers, delayed alike and
    added back with ``high_band_db`` of gain.

    Args:
        inner: the enhancer.
        sample_rate: the rate at which it runs, in Hz.
        high_band_db: gain of what lies above the inner band; ``-inf`` removes it.
    """

    inner: Enhancer
    inner_rate: int = 16_000
    high_band_db: float = 0.0
    name: ClassVar[str] = "at-rate"

    def __post_init__(self) -> None:
        check_rate(self.inner_rate)
        if math.isnan(self.high_band_db) or self.high_band_db > 0:
            raise ParameterError(f"high_band_db = {self.high_band_db!r}; give 0 or less")

    def warm(self) -> None:
        """The inner enhancer."""
        self.inner.warm()

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The inner kernel between two resamplers, or alone when the rates agree."""
        if sample_rate == self.inner_rate:
            return self.inner.kernel(sample_rate, channels)
        inner = self.inner.kernel(self.inner_rate, channels)
        if inner.latency_samples == UNBOUNDED:
            raise ParameterError(f"{self.inner.name} needs the whole signal: resample that, not the stream")
        return _RateKernel(inner, sample_rate, self.inner_rate, 10.0 ** (self.high_band_db / 20.0))

    def to_dict(self) -> dict[str, Any]:
        """The inner enhancer and the rate."""
        own = {"inner_rate": self.inner_rate, "high_band_db": self.high_band_db}
        return {"method": self.name, **own, "inner": self.inner.to_dict()}

    def key(self) -> str:
        """The inner key and the rate."""
        return f"at-rate({self.inner_rate},{self.high_band_db},{self.inner.key()})"


class _RateKernel(Kernel):
    """Down (or up), the inner kernel, and back, with the part above the inner band added."""

    def __init__(self, inner: Kernel, outer_rate: int, inner_rate: int, high_gain: float) -> None:
        self.channels = inner.channels
        self.outputs = inner.outputs
        self.inner = inner
        common = math.lcm(outer_rate, inner_rate)
        self._per_inner = common // inner_rate  # ticks of the common rate in one inner sample
        self._per_outer = common // outer_rate
        self._high_gain = np.float32(high_gain)
        self._there = StreamingResampler(outer_rate, inner_rate, self.channels)
        # Make the whole trip a whole number of outer samples: the way back waits for the rest.
        ticks = self._there.delay_ticks + inner.latency_samples * self._per_inner
        self._back = StreamingResampler(inner_rate, outer_rate, self.channels_out, align_ticks=ticks)
        self.latency_samples = (ticks + self._back.delay_ticks) // self._per_outer
        keep = high_gain > 0
        self._echo = (
            StreamingResampler(inner_rate, outer_rate, self.channels_out, align_ticks=ticks) if keep else None
        )
        self._fresh()

    def _fresh(self) -> None:
        # The plain copy of the inner band must be as late as the enhanced one.
        self._plain = Fifo(self.channels_out, self.inner.latency_samples)
        self._input = Fifo(self.channels_out, self.latency_samples)
        self._echoed = Fifo(self.channels_out)
        self._taken = self._given = 0

    def push(self, x: Samples) -> Samples:
        self._taken += x.shape[1]
        y = self._forward(x)
        self._given += y.shape[1]
        return y

    def _forward(self, x: Samples) -> Samples:
        low = self._there.process(x)
        enhanced = self.inner.push(low)
        y = self._back.process(enhanced)
        if self._echo is not None:
            self._input.push(self._stood_for(x))
            self._plain.push(self._stood_for(low))
            plain = self._plain.pop(enhanced.shape[1])
            self._echoed.push(self._echo.process(plain))
            n = y.shape[1]
            y = y + self._high_gain * (self._input.pop(n) - self._echoed.pop(n))
        return y

    def _stood_for(self, x: Samples) -> Samples:
        return x if self.outputs is None else x[list(self.outputs)]

    def finish(self) -> Samples:
        owed = self._taken + self.latency_samples - self._given
        silence = np.zeros((self.channels, 1024), np.float32)
        parts = [np.zeros((self.channels_out, 0), np.float32)]
        while owed > sum(p.shape[1] for p in parts):
            parts.append(self._forward(silence))
        return np.concatenate(parts, axis=1)[:, :owed]

    def reset(self) -> None:
        self.inner.reset()
        self._there.reset()
        self._back.reset()
        if self._echo is not None:
            self._echo.reset()
        self._fresh()

    def snapshot(self) -> dict[str, Any]:
        return {
            "inner": self.inner.snapshot(),
            "there": self._there.snapshot(),
            "back": self._back.snapshot(),
            "echo": self._echo.snapshot() if self._echo else None,
            "fifos": [f.snapshot() for f in (self._plain, self._input, self._echoed)],
            "counts": (self._taken, self._given),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.inner.restore(state["inner"])
        self._there.restore(state["there"])
        self._back.restore(state["back"])
        if self._echo is not None:
            self._echo.restore(state["echo"])
        for fifo, held in zip((self._plain, self._input, self._echoed), state["fifos"], strict=True):
            fifo.restore(held)
        self._taken, self._given = state["counts"]

    def hold(self, quantum: int) -> tuple[int, int]:
        held, _ = self.inner.hold(1)
        # In ticks: an inner step that is not full, and one sample not yet due in each resampler.
        ticks = (held + 1) * self._per_inner + self._per_outer
        return -(-ticks // self._per_outer) + 1, 1


@dataclass(frozen=True)
class PerChannel(Enhancer):
    """Runs an enhancer on each channel for itself, instead of with one gain for all of them.

    Linked gains (the default of every method) keep the stereo image in place; separate ones remove
    more when the channels hear different noises.
    """

    inner: Enhancer
    name: ClassVar[str] = "per-channel"

    def __post_init__(self) -> None:
        """Nothing to check: the inner enhancer checked itself."""

    def warm(self) -> None:
        """The inner enhancer."""
        self.inner.warm()

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """One mono kernel a channel."""
        return _ParallelKernel([self.inner.kernel(sample_rate, 1) for _ in range(channels)])

    def to_dict(self) -> dict[str, Any]:
        """The inner enhancer."""
        return {"method": self.name, "inner": self.inner.to_dict()}

    def key(self) -> str:
        """The inner key."""
        return f"per-channel({self.inner.key()})"


class _ParallelKernel(_Composite):
    def __init__(self, parts: list[Kernel]) -> None:
        self.parts = parts
        self.channels = len(parts)
        self.latency_samples = parts[0].latency_samples

    def push(self, x: Samples) -> Samples:
        return np.concatenate([p.push(x[i : i + 1]) for i, p in enumerate(self.parts)], axis=0)

    def finish(self) -> Samples:
        return np.concatenate([p.finish() for p in self.parts], axis=0)

    def hold(self, quantum: int) -> tuple[int, int]:
        return self.parts[0].hold(quantum)


@dataclass(frozen=True)
class MidSide(Enhancer):
    """Enhances the sum and the difference of two channels, each for itself.

    ``mid = (l + r) / 2``, ``side = (l - r) / 2``; a voice in the middle is then not disturbed by
    noise at the sides. Only for two channels.
    """

    inner: Enhancer
    name: ClassVar[str] = "mid-side"

    def __post_init__(self) -> None:
        """Nothing to check: the inner enhancer checked itself."""

    def warm(self) -> None:
        """The inner enhancer."""
        self.inner.warm()

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """Two mono kernels between the two matrices.

        Raises:
            ShapeError: not two channels.
        """
        if channels != 2:
            raise ShapeError(f"mid-side needs 2 channels, got {channels}; use linked or independent")
        return _MidSideKernel([self.inner.kernel(sample_rate, 1) for _ in range(2)])

    def to_dict(self) -> dict[str, Any]:
        """The inner enhancer."""
        return {"method": self.name, "inner": self.inner.to_dict()}

    def key(self) -> str:
        """The inner key."""
        return f"mid-side({self.inner.key()})"


class _MidSideKernel(_ParallelKernel):
    def push(self, x: Samples) -> Samples:
        left, right = x[:1], x[1:]
        return self._unmix(super().push(np.concatenate((left + right, left - right)) * np.float32(0.5)))

    def finish(self) -> Samples:
        return self._unmix(super().finish())

    @staticmethod
    def _unmix(y: Samples) -> Samples:
        mid, side = y[:1], y[1:]
        return np.concatenate((mid + side, mid - side))
