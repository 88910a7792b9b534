r"""What all spectral suppressors share: from noisy spectrum to gain, frame by frame.

Every method here multiplies each bin of the noisy spectrum with a real gain between a floor and one,

.. math:: \hat S(k, l) = G(k, l) \, Y(k, l),

and keeps the noisy phase. They differ in the formula for ``G``. What comes before and after it is
here, once:

1. **Power**, averaged over the channels: one gain serves them all, so the stereo image stays in place.
2. **Noise**: a tracker of :mod:`unmuffle.noise` (parameter ``noise``), or a measured profile, times
   ``over_db``: to over-estimate a little costs less than to leave peaks of noise standing.
3. **SNRs**: a posteriori :math:`\gamma = |Y|^2 / \lambda_D`, and a priori :math:`\xi` by one of the
   estimators of :mod:`.apriori` (parameter ``snr``).
4. **The gain**: the method's own :meth:`SpectralSuppressor.gain`.
5. **Smoothing** of what isolated peaks are left, the source of musical noise (:mod:`.smoothing`).
6. **Floor** ``floor_db``: what is never passed in attenuation. A little residual noise hides the flaws
   of the estimate; -12 to -20 dB sounds natural, lower values are for material with steady noise.

Trade-offs: a longer window resolves the harmonics of a voice better and smears its onsets, and the
latency is ``window_ms - hop_ms`` (for symmetric windows). Everything is in milliseconds, hertz and
decibels, and therefore the same at any sample rate.

Fails where the noise changes as fast as the speech (clatter, a second voice): the tracker cannot
know, and what it does not know stays.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ...errors import ParameterError
from ...noise import NoiseProfile, NoiseTracker, Profile, tracker
from ...noise.snr import posterior
from ...signal.stft import WINDOWS, Frames, Spectrum, StftSpec
from ..base import Enhancer, Kernel, SpectralKernel
from ..params import param
from .apriori import ESTIMATORS, Estimator, estimator
from .gain import Array, amplitude, scalar
from .scene import Scene
from .smoothing import SMOOTHERS, Smoother, smoother

TRACKED = ("mmse-spp", "minimum", "mcra", "imcra", "vad", "profile")
"""Noise trackers that may be named."""


@dataclass(frozen=True)
class SpectralSuppressor(Enhancer):
    """Base of the spectral methods: their common parameters, and how they run."""

    window_ms: float = param(32.0, "length of the analysis window", low=4.0, high=128.0)
    hop_ms: float = param(16.0, "step from frame to frame; divides window_ms", low=1.0, high=64.0)
    window: str = param("sqrt-hann", "shape of the windows (hann wants 67 % overlap or more)", choices=WINDOWS)
    noise: str = param("mmse-spp", "how the noise is tracked", choices=TRACKED)
    over_db: float = param(0.0, "over-estimation of the noise", low=-10.0, high=20.0)
    snr: str = param("dd", "how the a-priori SNR is estimated", choices=ESTIMATORS)
    dd_ms: float = param(396.0, "memory of the decision-directed SNR estimate", low=1.0, high=10_000.0)
    xi_min_db: float = param(-25.0, "smallest a-priori SNR", low=-60.0, high=0.0)
    smoothing: str = param("none", "how the gains are smoothed", choices=SMOOTHERS)
    floor_db: float = param(-15.0, "smallest gain", low=-80.0, high=0.0)
    profile: NoiseProfile | None = None

    uses_xi: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec  # noqa: B018 - raises now, not at the first stream, when the frames make no sense
        if self.profile is not None and not isinstance(self.profile, NoiseProfile):
            raise ParameterError(f"profile = {self.profile!r}; give what noise.profile_from(...) returns")

    @property
    def spec(self) -> StftSpec:
        """Frame, hop and window."""
        return StftSpec(self.window_ms, self.hop_ms, self.window)

    def with_profile(self, profile: NoiseProfile) -> SpectralSuppressor:
        """The same method with a measured noise instead of a tracked one."""
        return dataclasses.replace(self, profile=profile)

    def tracker(self) -> NoiseTracker:
        """The noise tracker that the parameters name; the profile, if there is one, goes before it."""
        return tracker(self.noise) if self.profile is None else Profile(profile=self.profile)

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters; of a noise profile only its digest, so such a table does not load back."""
        table = super().to_dict()
        if self.profile is not None:
            numbers = np.array((self.profile.frequencies, self.profile.psd), "<f8").tobytes()
            table["profile"] = "sha256:" + hashlib.sha256(numbers).hexdigest()
        return table

    @abc.abstractmethod
    def gain(self, xi: Array, gamma: Array) -> Array:
        """The method's formula, elementwise: a new array of gains from 0 to 1."""

    def begin(self, frames: Frames) -> Any:
        """State of :meth:`suppress`: nothing, unless a method remembers something of its own."""
        return ()

    def suppress(self, scene: Scene, frames: Frames, state: Any) -> Array:
        """The gains of some frames; by default :meth:`gain` in every bin."""
        return self.gain(scene.xi, scene.gamma) if scene.gain is None else scene.gain

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part."""
        return _SuppressorKernel(self, self.spec.at(sample_rate), channels)


@lru_cache(maxsize=256)
def _kind(method: SpectralSuppressor, frames: Frames) -> object:
    """The same for the same method at the same rate."""
    return object()


class _SuppressorKernel(SpectralKernel):
    """Runs the six stages. Only recursions go frame by frame; the rest takes all frames at once."""

    def __init__(self, method: SpectralSuppressor, frames: Frames, channels: int) -> None:
        super().__init__(frames, channels)
        self.method = method
        self.tracker = method.tracker()
        self.over = scalar(10.0 ** (method.over_db / 10.0)) if method.over_db else None
        self.estimator: Estimator | None = None
        if method.uses_xi:
            self.estimator = estimator(method.snr, frames, method.gain, dd_ms=method.dd_ms, xi_min_db=method.xi_min_db)
        self.smoother: Smoother | None = smoother(method.smoothing, frames)
        self.floor = scalar(amplitude(method.floor_db))
        self.one = scalar(1.0)
        self.share = scalar(1.0 / channels)
        # What reaches from bin to bin, or has memory of its own, is not done for several streams at once.
        plain = type(method).suppress is SpectralSuppressor.suppress and not self.smoother
        elementwise = self.estimator is None or self.estimator.elementwise
        follows = type(self.tracker).joins is not NoiseTracker.joins
        self.shares = channels == 1 and plain and elementwise and follows
        self._kind = _kind(method, frames) if self.shares else None

    def init_bins(self) -> Any:
        return {
            "noise": self.tracker.init(self.frames, 1),
            "xi": self.estimator.begin() if self.estimator else (),
            "own": self.method.begin(self.frames),
            "smooth": self.smoother.begin() if self.smoother else (),
        }

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        power = self._power(spectrum)
        noise = np.empty_like(power)
        step, memory = self.tracker.step, state["noise"]
        for i in range(power.shape[0]):
            noise[i] = step(power[i : i + 1], memory)[0]
        if self.over is not None:
            noise *= self.over
        gamma = posterior(power, noise)
        scene = Scene(power, noise, gamma, gamma, None)
        if self.estimator:
            self.estimator.estimate(scene, state["xi"])
        gain = self.method.suppress(scene, self.frames, state["own"])
        if self.smoother:
            np.maximum(gain, self.floor, out=gain)
            gain = self.smoother.smooth(gain, scene, state["smooth"])
        np.maximum(gain, self.floor, out=gain)
        np.minimum(gain, self.one, out=gain)
        return spectrum * gain, state

    def kind(self) -> object | None:
        """Streams of one channel, of one method with the same parameters, once they know their noise."""
        if self._kind is None or self._state is None or not self.tracker.joins(self._state[1]["noise"]):
            return None
        return self._kind

    def remembered(self, state: Any) -> tuple[Array, ...]:
        """What the tracker has learnt, and the estimator's past if it has one."""
        noise, xi = state["noise"], state["xi"]
        learnt = tuple(noise[name][0] for name in self.tracker.learnt)
        return (*learnt, xi) if isinstance(xi, np.ndarray) else learnt

    def recalled(self, state: Any, arrays: Sequence[Array]) -> Any:
        """Back where they came from."""
        names = self.tracker.learnt
        for name, row in zip(names, arrays, strict=False):
            state["noise"][name] = row[np.newaxis]
        if len(arrays) > len(names):
            state["xi"] = arrays[-1]
        return state

    def step_rows(self, spectrum: Spectrum, state: Any, arrays: Sequence[Array]) -> tuple[Spectrum, Sequence[Array]]:
        """:meth:`step_bins`, with a stream where there is a channel there."""
        names = self.tracker.learnt
        memory = self.tracker.join(state["noise"], arrays[: len(names)])
        real, imaginary = spectrum.real[:, 0], spectrum.imag[:, 0]
        power: Array = real * real
        power += imaginary * imaginary
        noise = self.tracker.step(power, memory)[np.newaxis]
        power = power[np.newaxis]
        if self.over is not None:
            noise = noise * self.over
        gamma = posterior(power, noise)
        scene = Scene(power, noise, gamma, gamma, None)
        if self.estimator:
            self.estimator.estimate(scene, arrays[-1] if len(arrays) > len(names) else ())
        gain = self.method.suppress(scene, self.frames, ())
        np.maximum(gain, self.floor, out=gain)
        np.minimum(gain, self.one, out=gain)
        return spectrum * gain.transpose(1, 0, 2), arrays

    def _power(self, spectrum: Spectrum) -> Array:
        real, imaginary = spectrum.real, spectrum.imag
        power: Array = real * real
        power += imaginary * imaginary
        if self.channels == 1:
            mono: Array = power[0]
            return mono
        mean: Array = np.add.reduce(power, axis=0)
        mean *= self.share
        return mean
