"""What the time-domain methods share: frames, noise, models hop by hop, sample rates, and the delay.

The window of analysis is three hops long: the hop that is filtered, the one before and the one after.
The models thus belong to the middle of what they are used on, at the price of one hop of latency, to
which the lag of smoothing is added.

AR models of order 10 to 20 fit the formants below 8 kHz and nothing more. At rates above 16 kHz the
filter therefore runs at 16 kHz between two resamplers; what lies above 8 kHz passes beside it with a
fixed gain (``high_band_db``).
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ParameterError
from ...noise import TRACKERS, NoiseProfile, NoiseTracker, Profile, tracker
from ...signal.blocks import Samples
from ...signal.stft import StftSpec
from .. import compiling
from ..base import Enhancer, Kernel, StepKernel
from ..compose import AtRate
from ..params import param
from . import estimation
from .recursion import LEAST, Array

NATIVE_RATE = 16_000
"""Highest rate at which the models run."""

WHITE = 1e-4
"""Variance of the white part of coloured noise, as a share of the whole: a measurement is never exact."""

TRACKED = tuple(TRACKERS)
"""Noise trackers that may be named."""


@dataclass(frozen=True)
class ArEnhancer(Enhancer):
    """Base of the time-domain methods: their common parameters, and how they get their kernel."""

    order: int = param(16, "order of the speech model", low=1, high=32)
    noise_order: int = param(12, "order of the noise model, at most order; 0 is white noise", low=0, high=32)
    lag: int = param(23, "samples of smoothing: how much later a sample is given out", low=0, high=128)
    hop_ms: float = param(12.0, "step of the models; their window is three times as long", low=4.0, high=16.0)
    noise: str = param("mmse-spp", "how the noise is tracked; 'vad': in pauses only", choices=TRACKED)
    dd_ms: float = param(150.0, "memory of the decision-directed SNR estimate", low=1.0, high=10_000.0)
    xi_min_db: float = param(-20.0, "smallest a-priori SNR", low=-60.0, high=0.0)
    high_band_db: float = param(-10.0, "gain of what lies above 8 kHz", low=-80.0, high=0.0)
    profile: NoiseProfile | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_order > self.order:
            raise ParameterError(f"noise_order = {self.noise_order} is above order = {self.order}; give at most that")
        if self.profile is not None and not isinstance(self.profile, NoiseProfile):
            raise ParameterError(f"profile = {self.profile!r}; give what noise.profile_from(...) returns")

    def warm(self) -> None:
        """Load the machine code; see :mod:`..compiling`."""
        compiling.warm(self)

    def with_profile(self, profile: NoiseProfile) -> ArEnhancer:
        """The same method with a measured noise instead of a tracked one."""
        return dataclasses.replace(self, profile=profile)

    def tracker(self) -> NoiseTracker:
        """The noise tracker that the parameters name; the profile, if there is one, goes before it."""
        return tracker(self.noise) if self.profile is None else Profile(profile=self.profile)

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters; of a noise profile only its digest, so such a table does not load back."""
        return {**super().to_dict(), **digest(self.profile)}

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part, between two resamplers if the rate is above 16 kHz."""
        if sample_rate > NATIVE_RATE:
            return AtRate(self, NATIVE_RATE, self.high_band_db).kernel(sample_rate, channels)
        return self.native(sample_rate, channels)

    @abc.abstractmethod
    def native(self, sample_rate: int, channels: int) -> Kernel:
        """The running part at a rate of 16 kHz or less."""


def digest(profile: NoiseProfile | None) -> dict[str, str]:
    """A noise profile as an entry of ``to_dict``: its SHA-256, so that keys of caches differ."""
    if profile is None:
        return {}
    numbers = np.array((profile.frequencies, profile.psd), "<f8").tobytes()
    return {"profile": "sha256:" + hashlib.sha256(numbers).hexdigest()}


@dataclass
class Models:
    """AR models of a run of hops of one channel, see :func:`.estimation.fit`.

    Attributes:
        a, speech: coefficients ``(hops, p)`` and variance of the excitation ``(hops,)`` of the speech.
        b, noise: the same of the noise.
        white: variance of the white part of the noise, ``(hops,)``; all of it when ``q = 0``.
    """

    a: Array
    speech: Array
    b: Array
    noise: Array
    white: Array


class ModelKernel(StepKernel):
    """Frames in, models out; the filter is left to the subclass.

    Args:
        method: the parameters.
        sample_rate: in Hz.
        channels: each is filtered for itself.
        spare: samples of speech in the state beyond ``order``.
    """

    def __init__(self, method: ArEnhancer, sample_rate: int, channels: int, spare: int = 0) -> None:
        spec = StftSpec(window_ms=3 * method.hop_ms, hop_ms=method.hop_ms, window="hann")
        self.frames = spec.at(sample_rate)
        super().__init__(channels, self.frames.hop, self.frames.hop + method.lag)
        self.order, self.q, self.lag = method.order, method.noise_order, method.lag
        self.p = self.order + spare
        self.tracker = method.tracker()
        self.inertia = math.exp(-method.hop_ms / method.dd_ms)
        self.least_snr = 10.0 ** (method.xi_min_db / 10.0)
        self.table = estimation.cosines(self.frames.bins, max(self.order, self.q))

    @abc.abstractmethod
    def init_filter(self) -> Any:
        """State of the filter of one channel."""

    @abc.abstractmethod
    def filter(self, around: Array, models: Models, state: Any) -> Array:
        """Filter one channel.

        Args:
            around: ``((hops + 2) * hop,)`` the samples, with one hop before and one after them.
            models: of the hops.
            state: changed in place.

        Returns:
            ``(hops, hop)`` estimates, late by ``lag`` samples.
        """

    def init(self) -> Any:
        """State of frames, noise tracker, models and filters."""
        return {
            "history": np.zeros((self.channels, 2 * self.frames.hop), np.float32),
            "tracker": self.tracker.init(self.frames, self.channels),
            "memory": np.zeros((self.channels, self.frames.bins)),
            "filters": [self.init_filter() for _ in range(self.channels)],
        }

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        """Model and filter ``k`` hops."""
        joined = np.concatenate((state["history"], x), axis=1).astype(np.float64)
        spectrum, state["history"] = self.frames.forward(x, state["history"])
        power = spectrum.real**2 + spectrum.imag**2
        noise = np.empty_like(power)
        for l in range(power.shape[1]):
            noise[:, l] = self.tracker.step(power[:, l], state["tracker"])
        out = np.empty_like(x)
        for c in range(self.channels):
            models = self._fit(power[c], noise[c], state["memory"][c])
            out[c] = self.filter(joined[c], models, state["filters"][c]).ravel()
        return out, state

    def _fit(self, power: NDArray[np.float32], noise: NDArray[np.float32], memory: Array) -> Models:
        hops, scale = len(power), self.frames.power_scale
        a, b = np.zeros((hops, self.p)), np.zeros((hops, self.q))
        speech, excitation, level = np.empty(hops), np.empty(hops), np.empty(hops)
        estimation.fit(
            power.astype(np.float64) * scale,
            noise.astype(np.float64) * scale,
            memory,
            self.table,
            self.order,
            self.q,
            self.inertia,
            self.least_snr,
            a,
            speech,
            b,
            excitation,
            level,
        )
        white = np.maximum(WHITE * level, LEAST) if self.q else excitation
        return Models(a, speech, b, excitation, white)
