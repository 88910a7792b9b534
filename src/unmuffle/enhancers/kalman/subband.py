r"""``kalman-subband``: one small complex Kalman filter in each bin of an STFT.

Bin ``k`` of a short-time spectrum, followed from frame to frame, is a narrow-band signal at the frame
rate. Demodulated by :math:`e^{-2 \pi i k l H / N}`, so that a steady tone in the middle of the bin is a
constant, it is modelled as

.. math:: S_l = \sum_{i=1}^{p} a_i S_{l-i} + W_l, \qquad Y_l = S_l + V_l,

with complex coefficients of low order. The filter is that of ``kalman``, in miniature. The model comes
from two estimates that are kept apart:

- *shape* (how the bin moves): the correlations of the noisy bin over ``memory_ms``, minus those that
  noise has because frames overlap, with ``caution`` times the noise power added to lag 0, so that
  chance correlations of noise give no prediction;
- *power*: the decision-directed SNR, as in the spectral methods.

Without prediction (a = 0) what is left is exactly the Wiener gain :math:`\xi / (1 + \xi)`.

Where the bin can be predicted, the filter averages over frames, which is a finer frequency
resolution than that of the window: partials of steady voices and of music. Speech changes too fast for
much of it, so that little is gained over the Wiener filter there. The order of 1 is the most
robust; ``lag`` (below the order) lets later frames help, at a hop of latency each.

Works at any sample rate without resampling: frames are in milliseconds. The noise is taken as white
from frame to frame, which it is not quite (frames overlap); that errs on the side of more noise left.

W.-R. Wu, P.-C. Chen, "Subband Kalman filtering for speech enhancement", IEEE Trans. Circuits Syst. II
45(8), 1998.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import ParameterError
from ...noise import NoiseProfile, NoiseTracker, Profile, tracker
from ...signal.stft import Spectrum, StftSpec
from .. import compiling
from ..base import Enhancer, Kernel, SpectralKernel
from ..params import param
from . import recursion
from .framing import TRACKED, digest


@dataclass(frozen=True)
class KalmanSubband(Enhancer):
    """A complex AR filter of low order in each bin of an STFT."""

    name: ClassVar[str] = "kalman-subband"
    order: int = param(1, "order of the model in each bin", low=1, high=4)
    lag: int = param(0, "frames of smoothing, below the order", low=0, high=3)
    window_ms: float = param(32.0, "length of the analysis window", low=4.0, high=128.0)
    hop_ms: float = param(8.0, "step from frame to frame; divides window_ms", low=1.0, high=64.0)
    memory_ms: float = param(60.0, "time over which the correlations are averaged", low=1.0, high=1000.0)
    caution: float = param(2.0, "noise power added to the power of the correlations", low=0.01, high=1000.0)
    noise: str = param("mmse-spp", "how the noise is tracked", choices=TRACKED)
    dd_ms: float = param(150.0, "memory of the decision-directed SNR estimate", low=1.0, high=10_000.0)
    xi_min_db: float = param(-20.0, "smallest a-priori SNR", low=-60.0, high=0.0)
    profile: NoiseProfile | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec  # noqa: B018 - raises now, not at the first stream, when the frames make no sense
        if self.lag >= self.order:
            raise ParameterError(f"lag = {self.lag} with order = {self.order}; give less than the order")
        if self.profile is not None and not isinstance(self.profile, NoiseProfile):
            raise ParameterError(f"profile = {self.profile!r}; give what noise.profile_from(...) returns")

    @property
    def spec(self) -> StftSpec:
        """Frame, hop and window."""
        return StftSpec(self.window_ms, self.hop_ms, "hann")

    def warm(self) -> None:
        """Load the machine code; see :mod:`..compiling`."""
        compiling.warm(self)

    def with_profile(self, profile: NoiseProfile) -> KalmanSubband:
        """The same method with a measured noise instead of a tracked one."""
        return dataclasses.replace(self, profile=profile)

    def tracker(self) -> NoiseTracker:
        """The noise tracker that the parameters name; the profile, if there is one, goes before it."""
        return tracker(self.noise) if self.profile is None else Profile(profile=self.profile)

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters; of a noise profile only its digest, so such a table does not load back."""
        return {**super().to_dict(), **digest(self.profile)}

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part."""
        return _SubbandKernel(self, sample_rate, channels)


class _SubbandKernel(SpectralKernel):
    def __init__(self, method: KalmanSubband, sample_rate: int, channels: int) -> None:
        super().__init__(method.spec.at(sample_rate), channels)
        frames = self.frames
        self.latency_samples += method.lag * frames.hop
        self.method = method
        self.tracker = method.tracker()
        hop_ms = 1000.0 * frames.hop / frames.sample_rate
        self.keep = math.exp(-hop_ms / method.memory_ms)
        self.inertia = math.exp(-hop_ms / method.dd_ms)
        self.least_snr = 10.0 ** (method.xi_min_db / 10.0)
        # White noise correlates between frames as far as their windows overlap.
        window = np.concatenate((frames.analysis, np.zeros(5 * frames.hop))).astype(np.float64)
        overlap = [np.dot(window[m * frames.hop :][: frames.size], window[: frames.size]) for m in range(5)]
        self.ratio = np.array(overlap[: method.order + 1]) / overlap[0]
        self.turns = frames.size // frames.hop  # frames after which every bin's phase is back
        steps = np.outer(np.arange(self.turns), np.arange(frames.bins)) % self.turns
        self.phase = np.exp(-2j * np.pi * steps / self.turns)

    def init_bins(self) -> Any:
        c, bins, p = self.channels, self.frames.bins, self.method.order
        return {
            "tracker": self.tracker.init(self.frames, c),
            "turn": 0,
            "past": np.zeros((c, bins, p + 1), np.complex128),
            "corr": np.zeros((c, bins, p + 1), np.complex128),
            "mean": np.zeros((c, bins, p), np.complex128),
            "root": np.zeros((c, bins, p + 1, p + 1), np.complex128),
        }

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        power = spectrum.real**2 + spectrum.imag**2
        noise = np.empty(power.shape)
        for l in range(power.shape[1]):
            noise[:, l] = self.tracker.step(power[:, l], state["tracker"])
        turn = (state["turn"] + np.arange(power.shape[1])) % self.turns
        state["turn"] = int(turn[-1] + 1) % self.turns
        there = self.phase[turn]
        back = self.phase[(turn - self.method.lag) % self.turns].conj()
        # `|X|^2 * power_scale` is a variance, on which the least noise and the silence are defined
        scale = self.frames.power_scale
        amplitude = math.sqrt(scale)
        out = np.empty_like(spectrum)
        for c in range(self.channels):
            bins = spectrum[c] * (there * amplitude)
            estimate = np.empty_like(bins)
            recursion.run_bands(
                bins,
                estimate,
                noise[c] * scale,
                self.method.order,
                self.method.lag,
                self.ratio,
                self.keep,
                self.method.caution,
                self.inertia,
                self.least_snr,
                state["past"][c],
                state["corr"][c],
                state["mean"][c],
                state["root"][c],
            )
            out[c] = estimate * (back / amplitude)
        return out, state
