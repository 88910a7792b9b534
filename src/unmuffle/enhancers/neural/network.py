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

A stereo pair shares its gains (``linked``), so that the image stays in place. Of a network that
knows only one channel, the gain it applies to the mean of the channels is applied to each.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...signal.blocks import Samples
from ...signal.stft import Frames, Spectrum
from ..base import Enhancer, Kernel, SpectralKernel, WholeKernel
from ..params import param
from .model import Facts, Model, State, load

_CHUNK = 512
"""Frames of one call: 5 s of memory, and long enough for the calls not to matter."""

_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class NeuralEnhancer(Enhancer):
    """Runs a network file.

    Args:
        model: path of an ONNX file made by ``unmuffle export``.
    """

    name: ClassVar[str] = "neural"

    model: str = param("", "path of a network file (.onnx)")

    def __post_init__(self) -> None:
        if isinstance(self.model, os.PathLike):
            object.__setattr__(self, "model", os.fspath(self.model))
        super().__post_init__()
        if not self.model:
            raise ModelError("no network file: give model=PATH of an .onnx file made by `unmuffle export`")
        load(self.model)

    @property
    def facts(self) -> Facts:
        """What the file says of itself."""
        return load(self.model).facts

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The network at this rate."""
        model = load(self.model)
        frames = model.facts.spec.at(sample_rate)
        return NetworkKernel(model, frames, channels) if model.facts.causal else WholeNetwork(model, frames, channels)

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

    def init_bins(self) -> State:
        """The network's zeros."""
        return self.model.initial(self.channels if self._linked else 1)

    def step_bins(self, spectrum: Spectrum, state: State) -> tuple[Spectrum, Any]:
        """All frames, a few seconds at a time."""
        if spectrum.shape[1] <= _CHUNK or not self.model.facts.causal:
            return self._some(spectrum, state)
        parts = []
        for start in range(0, spectrum.shape[1], _CHUNK):
            part, state = self._some(spectrum[:, start : start + _CHUNK], state)
            parts.append(part)
        return np.concatenate(parts, axis=1), state

    def _some(self, spectrum: Spectrum, state: State) -> tuple[Spectrum, State]:
        if self._linked:
            return self._through(spectrum, state)
        # The network hears the mean of the channels; what it does to that is done to each.
        mean = spectrum.mean(axis=0, keepdims=True)
        enhanced, state = self._through(mean, state)
        gain = np.minimum(np.abs(enhanced) / (np.abs(mean) + _TINY), np.float32(1.0))
        return spectrum * gain, state

    def _through(self, spectrum: Spectrum, state: State) -> tuple[Spectrum, State]:
        channels, count, bins = spectrum.shape
        known = min(bins, self._bins)
        rows: NDArray[np.float32] = np.empty((channels, count, 2, self._bins), np.float32)
        if known < self._bins:
            rows[..., known:] = 0.0
        rows[:, :, 0, :known] = spectrum.real[..., :known]
        rows[:, :, 1, :known] = spectrum.imag[..., :known]
        if self._scale != 1.0:
            rows *= self._scale
        out, state = self.model.run(rows, state)
        enhanced = np.empty_like(spectrum)
        enhanced.real[..., :known] = out[:, :, 0, :known]
        enhanced.imag[..., :known] = out[:, :, 1, :known]
        if self._scale != 1.0:
            enhanced[..., :known] /= self._scale
        if bins > known:
            before, after = rows[..., self._edge :], out[..., self._edge :]
            # One gain for all channels, so that the image stays in place.
            loud = np.einsum("ctrk,ctrk->t", before, before) + _TINY
            left = np.einsum("ctrk,ctrk->t", after, after)
            gain = np.minimum(np.sqrt(left / loud), np.float32(1.0)).astype(np.float32)
            enhanced[..., known:] = spectrum[..., known:] * gain[:, np.newaxis]
        return enhanced, state


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
