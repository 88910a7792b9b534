r"""What runs all beamformers: frames in, masks, covariances, weights, one channel out.

For every frame, in this order:

1. **mask** of the voice (:mod:`..masks`), where the method learns from the sound;
2. **covariances** of voice and noise (:mod:`.tracking`; with ``refine = "cgmm"`` :class:`.cgmm.SlidingCgmm`);
3. **weights**: every bin gets new ones every ``refresh_ms``, the bins taking turns, so that no frame costs more
   than another;
4. **output** :math:`y = w^H x`, and the post-filter, if one is asked for (:mod:`.postfilter`).

The output stands in for microphone ``reference``: the voice comes out as that one hears it (of fixed beams: its direct
sound). One microphone alone is passed on unchanged. Until anything was learnt, the reference microphone is.

A dead microphone, 60 dB or more below the loudest one, hears no voice: beamformers that learn leave it out of the
steering, and where it is the reference the loudest one is that instead, for as long as it is dead. Fixed beams keep
their weights.

Geometry: ``array`` and a direction, where a method needs them. Without an array the microphones are taken for a line
with 5 cm between neighbours, seen from broadside: two or more microphones side by side, the voice in front.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import ParameterError
from ...signal.arrays import ArrayGeometry, line, parse_array
from ...signal.steering import check_direction, diffuse_coherence, far_field
from ...signal.stft import Frames, Spectrum
from ..base import Framed, Kernel, SpectralKernel
from ..masks import Masked, Masker, masker
from ..params import param
from . import postfilter
from .algebra import Complex, Real
from .cgmm import SlidingCgmm
from .tracking import Tracker
from .transfer import relative_transfer

POSTS = ("none", "zelinski", "mccowan", "residual")
POST_MEMORY_S = 0.1
"""Averaging time of the densities of Zelinski's and McCowan's post-filters."""
WINDOW_S = 4.0
"""Sound that the sliding CGMM keeps."""
DEAD = 1e-6
"""Power of a microphone beside that of the loudest, below which it is dead."""
POWER_MEMORY_S = 2.0
"""Time constant of these powers."""


@dataclass(frozen=True)
class Beamformer(Framed):
    """Base of the beamformers that stream: frames, array, direction, post-filter."""

    array: str = param("", "preset, positions or TOML file; empty: a line, 5 cm apart")
    azimuth_deg: float = param(90.0, "direction of the voice, anticlockwise from +x", low=-360.0, high=360.0)
    elevation_deg: float = param(0.0, "direction of the voice, upwards", low=-90.0, high=90.0)
    reference: int = param(0, "microphone that the output stands in for", low=0, high=63)
    post: str = param("none", "post-filter", choices=POSTS)
    post_floor_db: float = param(-12.0, "smallest gain of the post-filter", low=-60.0, high=0.0)
    window_ms: float = param(64.0, "length of the analysis window", low=4.0, high=256.0)
    hop_ms: float = param(16.0, "step from frame to frame; divides window_ms", low=1.0, high=128.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_direction(self.azimuth_deg, self.elevation_deg)
        if self.array:
            parse_array(self.array)

    def geometry(self, channels: int) -> ArrayGeometry:
        """The array; :class:`~unmuffle.errors.ShapeError` if it has another number of microphones."""
        found = parse_array(self.array) if self.array else line(channels, 0.05)
        found.check_channels(channels)
        return found

    def steering(self, frames: Frames, channels: int) -> Complex:
        """Steering vectors ``(bins, microphones)``, 1 at the reference."""
        array = self.geometry(channels)
        return far_field(array, frames.frequencies, self.azimuth_deg, self.elevation_deg, reference=self.reference)

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part.

        Raises:
            ShapeError: the array has another number of microphones.
            ParameterError: a reference microphone that is not there, masks that do not fit.
        """
        if self.reference >= channels:
            raise ParameterError(f"reference = {self.reference}; there are microphones 0 to {channels - 1}")
        frames = self.spec.at(sample_rate)
        if self.array:
            self.geometry(channels)
        return BeamKernel(self, frames, channels) if channels > 1 else _Through(frames)

    @abc.abstractmethod
    def begin(self, frames: Frames, channels: int) -> Brain:
        """What finds the weights, for one stream."""


class _Through(SpectralKernel):
    """One microphone: nothing to form a beam of. The latency stays that of the method."""

    def __init__(self, frames: Frames) -> None:
        super().__init__(frames, 1)

    def init_bins(self) -> Any:
        return ()

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        return spectrum, state


class Brain(abc.ABC):
    """The part of a beamformer that decides; the state belongs to the kernel."""

    @abc.abstractmethod
    def begin(self) -> Any:
        """State before the first frame."""

    @abc.abstractmethod
    def masks(self, frames: Complex, state: Any) -> Real | None:
        """Masks ``(frames, bins)`` of ``(microphones, frames, bins)``, if the method has any use for them."""

    @abc.abstractmethod
    def step(self, frame: Complex, mask: Real | None, state: Any) -> Complex:
        """Output ``(bins,)`` of a frame ``(bins, microphones)``."""

    def post(self, frame: Complex, out: Complex, floor: float, state: Any) -> Real | None:
        """Gain of a residual-noise post-filter, if the method can tell."""
        return None


class BeamKernel(SpectralKernel):
    """Frames through a brain, and the post-filters that need no brain."""

    def __init__(self, method: Beamformer, frames: Frames, channels: int) -> None:
        super().__init__(frames, channels)
        self.outputs = (method.reference,)
        self.method = method
        self.brain = method.begin(frames, channels)
        self.floor = 10.0 ** (method.post_floor_db / 20.0)
        self.keep = math.exp(-frames.hop / frames.sample_rate / POST_MEMORY_S)
        self.aligning = None
        if method.post in ("zelinski", "mccowan"):
            self.aligning = method.steering(frames, channels).conj()
            coherence = diffuse_coherence(method.geometry(channels), frames.frequencies)
            self.coherence = coherence * self.aligning[:, :, None] * self.aligning[:, None, :].conj()

    def init_bins(self) -> Any:
        """The brain's start, and no densities yet."""
        size = self.channels
        return {"brain": self.brain.begin(), "densities": np.zeros((self.frames.bins, size, size), np.complex128)}

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        """Frame by frame, so that no split changes anything."""
        masks = self.brain.masks(spectrum, state["brain"])
        out = np.empty((1, *spectrum.shape[1:]), np.complex64)
        for l in range(spectrum.shape[1]):
            frame = spectrum[:, l].T.astype(np.complex128, order="C")
            y = self.brain.step(frame, None if masks is None else masks[l], state["brain"])
            gain = self._post(frame, y, state)
            out[0, l] = y if gain is None else gain * y
        return out, state

    def _post(self, frame: Complex, y: Complex, state: Any) -> Real | None:
        if self.aligning is None:
            return self.brain.post(frame, y, self.floor, state["brain"]) if self.method.post == "residual" else None
        x = frame * self.aligning
        state["densities"] *= self.keep
        state["densities"] += (1.0 - self.keep) * (x[:, :, np.newaxis] * x[:, np.newaxis, :].conj())
        if self.method.post == "zelinski":
            gain = postfilter.zelinski(state["densities"])
        else:
            gain = postfilter.mccowan(state["densities"], self.coherence)
        return np.clip(gain, self.floor, 1.0)


class FixedBrain(Brain):
    """Weights that never change."""

    def __init__(self, weights: Complex) -> None:
        self.conjugate = weights.conj()

    def begin(self) -> Any:
        """Nothing to remember."""
        return ()

    def masks(self, frames: Complex, state: Any) -> Real | None:
        """None: nothing is learnt."""
        return None

    def step(self, frame: Complex, mask: Real | None, state: Any) -> Complex:
        """The weights on a frame."""
        out: Complex = np.sum(self.conjugate * frame, axis=1)
        return out


@dataclass(frozen=True)
class Adaptive(Masked, Beamformer):
    """Base of the beamformers that learn covariances from masks."""

    masks: str = param("log-mmse", "where the voice is: a spectral method, vad, or a network file (.onnx)")
    refine: str = param("none", "make the masks better by where sound comes from", choices=("none", "cgmm"))
    noise_s: float = param(0.0, "this long from the start there is noise only (0: follow masks)", low=0.0, high=60.0)
    speech_memory_s: float = param(5.0, "time constant of the voice's covariance", low=0.1, high=600.0)
    noise_memory_s: float = param(5.0, "time constant of the noise's covariance", low=0.1, high=600.0)
    refresh_ms: float = param(256.0, "time from one set of weights of a bin to its next", low=1.0, high=2000.0)
    loading: float = param(1e-3, "of the noise covariance, relative to its mean power", low=1e-8, high=10.0)

    @abc.abstractmethod
    def solve(self, speech: Complex, noise: Complex, steering: Complex | None) -> Complex:
        """Weights ``(bins, microphones)`` from covariances ``(bins, M, M)`` (and steering, if it uses any)."""

    def steered(self) -> bool:
        """Whether :meth:`solve` wants a steering vector."""
        return False

    def begin(self, frames: Frames, channels: int) -> Brain:
        """The brain that learns."""
        source = masker(self.masks, self.spec, frames.sample_rate, channels)
        steering = self.steering(frames, channels) if self.steered() else None
        return AdaptiveBrain(self, frames, channels, source, steering)


class AdaptiveBrain(Brain):
    """Masks, covariances, and weights in turns."""

    def __init__(
        self, method: Adaptive, frames: Frames, channels: int, source: Masker, steering: Complex | None
    ) -> None:
        hop_s = frames.hop / frames.sample_rate
        self.method, self.source, self.all_steering = method, source, steering
        self.bins, self.channels = frames.bins, channels
        self.turn = max(1, round(method.refresh_ms * 1e-3 / hop_s))
        self.noise_frames = round(method.noise_s / hop_s)
        self.tracker: Tracker | SlidingCgmm
        if method.refine == "cgmm":
            self.tracker = SlidingCgmm(frames.bins, channels, round(WINDOW_S / hop_s), turn=self.turn)
        else:
            self.tracker = Tracker(
                frames.bins,
                channels,
                math.exp(-hop_s / method.speech_memory_s),
                math.exp(-hop_s / method.noise_memory_s),
                self.turn,
            )
        self.residual = postfilter.Residual(frames.bins, channels) if method.post == "residual" else None
        self.power_keep = math.exp(-hop_s / POWER_MEMORY_S)
        # The same method for each reference that may have to stand in for a dead one.
        self.referring = [method if m == method.reference else replace(method, reference=m) for m in range(channels)]

    def begin(self) -> Any:
        """The reference microphone, until something was learnt."""
        return {
            "masks": self.source.begin(),
            "tracker": self.tracker.begin(),
            "conjugate": self._only(self.method.reference),
            "frame": 0,
            "residual": None if self.residual is None else self.residual.begin(),
            "power": np.zeros(self.channels),
            "reference": self.method.reference,
        }

    def _only(self, reference: int) -> Complex:
        conjugate = np.zeros((self.bins, self.channels), np.complex128)
        conjugate[:, reference] = 1.0
        return conjugate

    def masks(self, frames: Complex, state: Any) -> Real | None:
        """From the source; all noise in the first ``noise_s``."""
        masks, state["masks"] = self.source.step(frames, state["masks"])
        if self.noise_frames:
            first = state["frame"] + np.arange(masks.shape[0])[:, np.newaxis]
            masks = np.where(first < self.noise_frames, 0.0, masks)
        return masks

    def step(self, frame: Complex, mask: Real | None, state: Any) -> Complex:
        """Learn from a frame, then put the weights on it."""
        assert mask is not None  # this brain always makes them
        self.tracker.step(frame, mask, state["tracker"])
        self._refer(frame, state)
        which = slice(state["frame"] % self.turn, None, self.turn)
        if which.start < self.bins:
            self._learn(which, state)
        state["frame"] += 1
        out: Complex = np.sum(state["conjugate"] * frame, axis=1)
        return out

    def _refer(self, frame: Complex, state: Any) -> None:
        """Choose the reference: the one that was asked for, or the loudest while that is dead."""
        state["power"] *= self.power_keep
        state["power"] += np.sum(frame.real**2 + frame.imag**2, axis=0)
        power, wanted = state["power"], self.method.reference
        reference = wanted if power[wanted] >= DEAD * power.max() else int(np.argmax(power))
        if reference != state["reference"]:
            state["reference"], state["conjugate"] = reference, self._only(reference)

    def _learn(self, which: slice, state: Any) -> None:
        speech, noise = self.tracker.covariances(state["tracker"], which)
        reference = state["reference"]
        steering = None if self.all_steering is None else self._steering(which, state)
        weights = self.referring[reference].solve(speech, noise, steering)
        state["conjugate"][which] = weights.conj()
        if self.residual is not None:
            if steering is None:
                steering = relative_transfer(speech, noise, reference, self.method.loading)
            first = steering if steering.ndim == 2 else steering[..., 0]  # of several conditions, the voice
            self.residual.prepare(which, weights, first, noise, self.method.loading, state["residual"])

    def _steering(self, which: slice, state: Any) -> Complex:
        """Of microphones that live, 1 at the reference."""
        assert self.all_steering is not None
        steering, power = self.all_steering[which], state["power"]
        alive = power >= DEAD * power.max()
        if alive.all():
            return steering
        shape = (1, -1) + (1,) * (steering.ndim - 2)
        out: Complex = np.where(alive.reshape(shape), steering / steering[:, [state["reference"]]], 0.0)
        return out

    def post(self, frame: Complex, out: Complex, floor: float, state: Any) -> Real | None:
        """The residual-noise gain, if it was asked for."""
        return None if self.residual is None else self.residual.step(frame, out, floor, state["residual"])
