r"""Suppression of late reverberation with one microphone: a gain, as against noise.

Reverberation that arrives more than ``early_ms`` after its sound blurs speech like a noise that is
made of the speech itself. In the model of Polack the energy in a room dies away exponentially,
:math:`e^{-2 \Delta t}` with :math:`\Delta = 3 \ln 10 / T_{60}`; so the power of what is left
of the past can be told from the past (Lebart). With the smoothed power :math:`\lambda_x` of the frames
(hop R seconds), the reverberant part and its late part are (Habets)

.. math:: \lambda_r(l) = e^{-2 \Delta R} \left[ (1 - \kappa) \lambda_r(l-1)
                         + \kappa \lambda_x(l-1) \right], \qquad
          \lambda_\ell(l) = e^{-2 \Delta R N} \, \lambda_r(l - N).

:math:`\kappa` is the share of a frame's power that goes on to reverberate: 1 far from the talker (then
it is Lebart's formula), less the closer the microphone. The late part is taken for noise: with
:math:`\gamma = |Y|^2 / \lambda_\ell` and the decision-directed :math:`\xi`, the gain is that of the
log-spectral amplitude estimator, :math:`\frac{\xi}{1+\xi} \exp(\tfrac12 E_1(\frac{\xi \gamma}{1+\xi}))`,
not below ``floor_db``. One gain serves all channels, so the stereo image stays in place.

``t60_s = 0`` estimates the reverberation time from the signal (:mod:`.decay`); a known one is better.

Limits. Unlike WPE this brings back nothing: it turns down what is mostly reverberation. Early reflections
and the colour of the room stay; soft endings of words become shorter. Steady noise is taken for
reverberation of itself and turned down a little as well.

K. Lebart, J. M. Boucher, P. N. Denbigh, "A new method based on spectral subtraction for speech
dereverberation", Acta Acustica 87, 2001; E. A. P. Habets, S. Gannot, I. Cohen, "Late reverberant
spectral variance estimation based on a statistical model", IEEE Signal Process. Lett. 16(9), 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ParameterError
from ...signal.stft import Frames, Spectrum
from ..base import Framed, Kernel, SpectralKernel
from ..params import param
from .decay import DecayTracker

Float64 = NDArray[np.float64]
_LARGEST = 1e6  # SNR above which nothing changes any more; keeps silence free of infinities


@dataclass(frozen=True)
class LateReverb(Framed):
    """Late reverberation suppressor for one microphone (Lebart, Habets), T60 blind or given."""

    name: ClassVar[str] = "late-reverb"

    t60_s: float = param(0.0, "reverberation time; 0 estimates it", low=0.0, high=5.0)
    early_ms: float = param(40.0, "reverberation that comes sooner stays", low=8.0, high=200.0)
    kappa: float = param(0.6, "share of a frame's power that reverberates", low=0.01, high=1.0)
    floor_db: float = param(-12.0, "smallest gain", low=-40.0, high=0.0)
    smoothing_ms: float = param(10.0, "time constant of the power that is remembered", low=1.0, high=200.0)
    dd_ms: float = param(50.0, "memory of the decision-directed ratio", low=1.0, high=10_000.0)
    window_ms: float = param(32.0, "length of the analysis window", low=4.0, high=128.0)
    hop_ms: float = param(8.0, "step from frame to frame; divides window_ms", low=1.0, high=64.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0.0 < self.t60_s < 0.05:
            raise ParameterError(f"t60_s = {self.t60_s}; give 0 (estimate it) or 0.05 to 5 s")

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part."""
        return _LateReverbKernel(self, self.spec.at(sample_rate), channels)


class _LateReverbKernel(SpectralKernel):
    def __init__(self, method: LateReverb, frames: Frames, channels: int) -> None:
        super().__init__(frames, channels)
        self.method = method
        self.decay = DecayTracker(frames)
        self.hop_s = frames.hop / frames.sample_rate
        self.lag = max(1, round(method.early_ms * 1e-3 / self.hop_s))
        self.smoothing = math.exp(-self.hop_s / (method.smoothing_ms * 1e-3))
        self.trust = math.exp(-self.hop_s / (method.dd_ms * 1e-3))
        self.floor = 10.0 ** (method.floor_db / 20.0)

    def init_bins(self) -> Any:
        bins = self.frames.bins
        return {
            "decay": self.decay.begin(),
            "smooth": np.zeros(bins),
            "reverberant": np.zeros((self.lag, bins)),  # of the last frames, oldest first
            "cleaned": np.zeros(bins),  # power after the gain, of the last frame
        }

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        real, imaginary = spectrum.real.astype(np.float64), spectrum.imag.astype(np.float64)
        power = np.add.reduce(real * real + imaginary * imaginary, axis=0) / self.channels
        gains = np.empty(power.shape, np.float32)
        for l in range(power.shape[0]):
            gains[l] = self._gain(power[l], state)
        return spectrum * gains, state

    def _gain(self, power: Float64, state: dict[str, Any]) -> Float64:
        from scipy.special import exp1

        method = self.method
        t60_s = method.t60_s
        if not t60_s:
            self.decay.step(power, state["decay"])
            t60_s = self.decay.t60_s(state["decay"])
        fade = math.exp(-6.0 * math.log(10.0) * self.hop_s / t60_s)  # e^(-2 Delta R)
        past = state["reverberant"]
        reverberant = fade * ((1.0 - method.kappa) * past[-1] + method.kappa * state["smooth"])
        late = fade**self.lag * past[0]
        state["reverberant"] = np.concatenate((past[1:], reverberant[np.newaxis]))
        state["smooth"] = self.smoothing * state["smooth"] + (1.0 - self.smoothing) * power

        known = late > 1e-150  # silence before: nothing reverberates
        divisor = np.where(known, late, 1.0)
        gamma = np.where(known, np.minimum(power / divisor, _LARGEST), _LARGEST)
        before = np.where(known, np.minimum(state["cleaned"] / divisor, _LARGEST), _LARGEST)
        xi = self.trust * before + (1.0 - self.trust) * np.maximum(gamma - 1.0, 0.0)
        xi = np.maximum(xi, 1e-3)
        wiener = xi / (1.0 + xi)
        gain = wiener * np.exp(0.5 * exp1(np.maximum(wiener * gamma, 1e-10)))
        gain = np.minimum(np.maximum(gain, self.floor), 1.0)
        state["cleaned"] = gain * gain * power
        found: Float64 = gain
        return found
