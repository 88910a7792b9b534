r"""An enhancer around a network file.

The network was trained at one rate, mostly 16 kHz, on frames defined in milliseconds. Its bins lie
50 Hz apart at any rate, so it runs at all of them with the same weights:

* **below** its rate the bins that are missing are zeros, on the way in and out;
* **above**, bins over its band (8 kHz) get the gain of the edge of the band,
  :math:`g_t = \min(1, \sqrt{\sum_k |Y_{t,k}|^2 / \sum_k |X_{t,k}|^2})` over its upper eighth. Speech
  up there is fricatives, which are broad: where 7 kHz is noise, so is 10 kHz. A hiss or whistle that
  lives above 8 kHz alone is thus only lowered when the edge is.

Spectra are scaled by the ratio of the frame lengths: white noise of one density, and a tone of one
amplitude, have the same bins at any rate.

Networks of waveforms run at their own rate, between two resamplers if the stream has another; what lies
above their band is delayed and passed on.

A stereo pair shares its gains (``linked``), so that the image stays in place. Of a network that
knows only one channel, the gain it applies to the mean of the channels is applied to each; networks of
waveforms have no gain, and enhance each channel for itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError, ModelError
from ...signal.blocks import Samples
from ...signal.stft import Frames, Spectrum
from ..base import Array, Enhancer, Kernel, SpectralKernel, StepKernel, WholeKernel
from ..compose import AtRate
from ..params import param
from .model import Facts, Lane, Model, State, load
from .tiny import TinyKernel

if TYPE_CHECKING:
    from .native import Native

_FEW = 8
"""Frames of a short block, at most."""

_PIECE = 64
"""Frames of one call of the graph: what they need fits the cache of a core, and the calls do not matter."""

_PIECE_OF_CODE = 32
"""The same for machine code."""

_LONG = 60_000
"""Frames of a long signal, at least: what machine code saves of them pays for loading it. Ten minutes for ``live``."""

_CHUNK = 8 * _PIECE
"""Frames that are transformed at once: some seconds."""

_WAVE_CHUNK_S = 4

_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class NeuralEnhancer(Enhancer):
    """Runs a network file: ``unmuffle.load("model", path="mine.onnx")``, or ``--model mine.onnx``.

    Args:
        path: of an ONNX file made by ``unmuffle export``.
    """

    name: ClassVar[str] = "model"

    path: str = param("", "path of a network file (.onnx)")

    def __post_init__(self) -> None:
        if isinstance(self.path, os.PathLike):
            object.__setattr__(self, "path", os.fspath(self.path))
        super().__post_init__()
        if not self.path:
            raise ModelError("no network file: give path=FILE, an .onnx file made by `unmuffle export`")
        load(self.path)

    @property
    def facts(self) -> Facts:
        """What the file says of itself."""
        return load(self.path).facts

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The network at this rate."""
        model = load(self.path)
        facts = model.facts
        if facts.domain == "wave":
            if sample_rate != facts.sample_rate and facts.causal:
                return AtRate(self, facts.sample_rate).kernel(sample_rate, channels)
            return WaveKernel(model, channels) if facts.causal else WholeWave(model, sample_rate, channels)
        if facts.domain == "features":
            return TinyKernel(model, sample_rate, channels)
        frames = facts.spec.at(sample_rate)
        return NetworkKernel(model, frames, channels) if facts.causal else WholeNetwork(model, frames, channels)

    def key(self) -> str:
        """Name and digest of the network: where the file lies does not matter."""
        return f"neural({self.facts.name},{self.facts.sha256})"


class NetworkKernel(SpectralKernel):
    """The running network between analysis and synthesis."""

    def __init__(self, model: Model, frames: Frames, channels: int) -> None:
        super().__init__(frames, channels)
        self.model = model
        facts = model.facts
        self._linked = facts.channels == "linked" or channels == 1
        self._bins = facts.bins
        self._edge = facts.bins - facts.bins // 8
        self._scale = np.float32(facts.frames().size / frames.size)
        self._unscale = np.float32(1.0) / self._scale
        self.shares = channels == 1 and model.sides
        # For single frames everything is prepared; what comes out is used up before the next one goes in.
        self._lane: Lane | Native = model.lane(channels if self._linked else 1)
        self._prepared = _desk(self._lane.given, frames.bins)
        self._ready = 1  # frames at once that the lane takes
        self._piece = _PIECE if facts.causal else 1 << 62

    def expect(self, block: int) -> None:
        """Of blocks of a few frames, or a long signal: machine code, where there is some."""
        frames = -(-block // self.granularity)
        if _FEW < frames < _LONG or not self.model.facts.causal:
            return
        try:
            from .native import native
        except MissingExtraError:
            return
        channels = self._lane.given.shape[0]
        lane = native(self.model, frames if frames <= _FEW else _PIECE_OF_CODE, channels)
        if lane is not None:
            self._lane = lane
            self._prepared = _desk(lane.given, self.frames.bins)
            self._ready = self._piece = lane.frames

    def init_bins(self) -> State:
        """The network's zeros."""
        return self.model.initial(self.channels if self._linked else 1)

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        """Any number of hops, some seconds at a time."""
        size = _CHUNK * self.granularity
        if x.shape[1] <= size or not self.model.facts.causal:
            return super().step(x, state)
        out = np.empty((self.channels_out, x.shape[1]), np.float32)
        for start in range(0, x.shape[1], size):
            out[:, start : start + size], state = super().step(x[:, start : start + size], state)
        return out, state

    def step_bins(self, spectrum: Spectrum, state: State) -> tuple[Spectrum, State]:
        """All frames at once."""
        if self._linked:
            return self._through(spectrum, state)
        # The network hears the mean of the channels; what it does to that is done to each.
        mean = spectrum.mean(axis=0, keepdims=True)
        enhanced, state = self._through(mean, state)
        gain = np.minimum(np.abs(enhanced) / (np.abs(mean) + _TINY), np.float32(1.0))
        return spectrum * gain, state

    def kind(self) -> object | None:
        """Streams of one channel on one network at one rate."""
        return (id(self.model), self.frames) if self.shares and self._state is not None else None

    def remembered(self, state: Any) -> tuple[Array, ...]:
        """All of it."""
        return self.model.row(state)

    def recalled(self, state: Any, arrays: Sequence[Array]) -> Any:
        """As they were."""
        return self.model.from_row(arrays)

    def step_rows(self, spectrum: Spectrum, state: Any, arrays: Sequence[Array]) -> tuple[Spectrum, Sequence[Array]]:
        """:meth:`step_bins`, with a stream where there is a frame there."""
        enhanced, after = self._through(spectrum.transpose(1, 0, 2), arrays)
        return enhanced.transpose(1, 0, 2), after

    def _through(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        """Frames of one stream and its state; or a frame of each of several, and their rows."""
        channels, count, bins = spectrum.shape
        known = min(bins, self._bins)
        several = not isinstance(state, dict)
        if not several and count > self._piece:
            made = np.empty_like(spectrum)
            for i in range(0, count, self._piece):
                piece, state = self._through(spectrum[:, i : i + self._piece], state)
                made[:, i : i + self._piece] = piece
            return made, state
        lane = self._lane if count <= self._ready and not several else None
        if lane is None:
            rows = np.zeros((channels, count, 2, self._bins), np.float32)
            given, taken, enhanced = _desk(rows, bins)
        else:
            rows = lane.given[:, :count]
            given, taken, enhanced = self._prepared
            given, taken, enhanced = given[:, :count], taken[:, :count], enhanced[:, :count]
        _copy(given, _pairs(spectrum)[:, :, :known], self._scale)
        if several:
            out, state = self.model.run_streams(rows, state)
        elif lane is None:
            out, state = self.model.run(rows, state)
        else:
            out, state = lane.answer[:, :count], lane.run(state, count)
        _copy(taken, out.swapaxes(2, 3)[:, :, :known], self._unscale)
        if bins > known:
            before, after = rows[..., self._edge :], out[..., self._edge :]
            # One gain for all channels, so that the image stays in place.
            loud = np.einsum("ctrk,ctrk->t", before, before) + _TINY
            left = np.einsum("ctrk,ctrk->t", after, after)
            gain = np.minimum(np.sqrt(left / loud), np.float32(1.0)).astype(np.float32)
            enhanced[..., known:] = spectrum[..., known:] * gain[:, np.newaxis]
        return enhanced, state


def _pairs(spectrum: Spectrum) -> NDArray[np.float32]:
    """The same memory as ``(channels, frames, bins, 2)``."""
    return spectrum.view(np.float32).reshape(*spectrum.shape, 2)


def _desk(rows: NDArray[np.float32], bins: int) -> tuple[NDArray[np.float32], NDArray[np.float32], Spectrum]:
    """The known bins of ``rows`` as pairs, those of a new spectrum, and that spectrum: pairs to rows is one copy."""
    known = min(bins, rows.shape[-1])
    enhanced = np.zeros((*rows.shape[:2], bins), np.complex64)
    return rows.swapaxes(2, 3)[:, :, :known], _pairs(enhanced)[:, :, :known], enhanced


def _copy(target: NDArray[np.float32], source: NDArray[np.float32], scale: np.float32) -> None:
    if scale == 1.0:
        target[...] = source
    else:
        np.multiply(source, scale, out=target)


class WholeNetwork(WholeKernel):
    """A network that looks ahead: it gets the whole signal in one call."""

    def __init__(self, model: Model, frames: Frames, channels: int) -> None:
        super().__init__(channels)
        self._kernel = NetworkKernel(model, frames, channels)

    def run(self, x: Samples) -> Samples:
        """Analysis, the network, synthesis, aligned with the input."""
        frames = self._kernel.frames
        steps = -(-(x.shape[1] + frames.latency) // frames.hop)
        padded = np.zeros((self.channels, steps * frames.hop), np.float32)
        padded[:, : x.shape[1]] = x
        y, _ = self._kernel.step(padded, self._kernel.init())
        return y[:, frames.latency : frames.latency + x.shape[1]]


class WaveKernel(StepKernel):
    """A network of waveforms at its own rate: each channel is a stream of its own."""

    def __init__(self, model: Model, channels: int) -> None:
        super().__init__(channels, model.facts.bins, model.facts.latency)
        self.model = model

    def init(self) -> list[State]:
        """The network's zeros, for each channel."""
        return [self.model.initial(1) for _ in range(self.channels)]

    def step(self, x: Samples, state: list[State]) -> tuple[Samples, list[State]]:
        """Whole frames, a few seconds at a time."""
        size = self.granularity
        chunk = size * max(1, self.model.facts.sample_rate * _WAVE_CHUNK_S // size)
        out = np.empty_like(x)
        after = []
        for channel, held in enumerate(state):
            for start in range(0, x.shape[1], chunk):
                piece = x[channel, start : start + chunk]
                y, held = self.model.run(piece.reshape(1, -1, size), held)
                out[channel, start : start + chunk] = y.reshape(-1)
            after.append(held)
        return out, after


class WholeWave(WholeKernel):
    """A network of waveforms that looks ahead, on the whole signal at once."""

    def __init__(self, model: Model, sample_rate: int, channels: int) -> None:
        super().__init__(channels)
        self.model = model
        self.sample_rate = sample_rate

    def run(self, x: Samples) -> Samples:
        """Resample, enhance, resample back; add what was above the network's band."""
        own = self.model.facts.sample_rate
        low = x if own == self.sample_rate else _resampled(x, self.sample_rate, own)
        size, late = self.model.facts.bins, self.model.facts.latency
        steps = -(-(low.shape[1] + late) // size)
        padded = np.zeros((self.channels, steps * size), np.float32)
        padded[:, : low.shape[1]] = low
        parts = [self.model.run(c.reshape(1, -1, size), self.model.initial(1))[0].reshape(-1) for c in padded]
        y = np.stack(parts)[:, late : late + low.shape[1]]
        if own == self.sample_rate:
            return y
        n = x.shape[1]
        return _fitted(_resampled(y, own, self.sample_rate), n) + (
            x - _fitted(_resampled(low, own, self.sample_rate), n)
        )


def _resampled(x: Samples, source: int, target: int) -> Samples:
    from scipy.signal import resample_poly  # here, as it takes 50 MB and few networks need it

    common = math.gcd(source, target)
    return resample_poly(x, target // common, source // common, axis=1).astype(np.float32)


def _fitted(x: Samples, n: int) -> Samples:
    """Cut or zero-padded to ``n`` samples: a resampler rounds the length."""
    return x[:, :n] if x.shape[1] >= n else np.pad(x, ((0, 0), (0, n - x.shape[1])))
