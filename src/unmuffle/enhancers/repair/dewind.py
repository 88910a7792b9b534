"""Wind reduction: a high-pass whose cut-off follows the wind, and that is not there without it.

Wind on a microphone is turbulence at the membrane: its spectrum falls steadily from the lowest
frequencies, about as f^-2 in power or steeper, down to nothing near 500 Hz; it comes in gusts, and
every microphone has its own. Speech has nothing below its fundamental (70 Hz and more) and its
power in bands up to 4 kHz.

Per frame of 32 ms (hop 8 ms), of the power spectra summed over the channels:

* *Wind power* W is the power below 60 Hz and, with several channels, also the incoherent part of
  60-200 Hz: P (1 - C), C the magnitude-squared coherence of pairs of neighbouring channels over
  0.25 s. Channels that are copies of each other (dual mono) tell nothing by their coherence, and
  only the first part is used.
* *Extrapolation*: W is continued as W(f) = W_0 (f / 50 Hz)^-p with the slope p found by least
  squares between 30 Hz and 120 Hz, kept within 1.5..4.
* *Cut-off*: the frequency at which W(f) has fallen to the mean level of the spectrum between 300
  and 2000 Hz less 6 dB (the smoothed level of speech, when there is speech), within 20 Hz and
  ``highest_cutoff_hz``. Only ratios of powers enter, so the level does not matter.
* *Movement*: up with 40 ms, down with 400 ms, in log-frequency. At 20 Hz the gain is 1 throughout:
  clean speech passes.

The gain is that of a Butterworth high-pass of order 4, |G|^2 = 1 / (1 + (f_c / f)^8), but not below
``range_db``, and exactly 1 from 500 Hz on; neither phase nor image change, all channels share it.

It takes the fundamental of low voices away together with the wind: what lies under the cut-off is
lost, not separated. Wind that reaches far above 300 Hz needs a network. Rumble and DC look like
wind, and go.

References
    C. Nelke, P. Vary, "Measurement, analysis and simulation of wind noise signals for mobile
    communication devices", IWAENC 2014; S. Franz, J. Bitzer, "Multi-channel algorithms for wind
    noise reduction and signal compensation in binaural hearing aids", IWAENC 2010 (coherence).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...signal.stft import Frames, Spectrum, StftSpec
from .. import params
from ..base import Enhancer, Kernel, SpectralKernel

_Array = NDArray[np.float64]

_LOWEST_HZ = 20.0
_UNTOUCHED_HZ = 500.0
_RISE_S, _FALL_S = 0.04, 0.4
_COHERENCE_S = 0.25
_LEVEL_S = 0.3
_BELOW_SPEECH_DB = 6.0
_DUAL_MONO = 1e-4  # share of incoherent amplitude below which channels are copies of each other


@dataclass(frozen=True)
class Dewind(Enhancer):
    """Adaptive high-pass against wind and rumble, one gain for all channels. See the module docstring.

    >>> Dewind().stream(16000).latency_ms
    24.0
    """

    highest_cutoff_hz: float = params.param(280.0, "the cut-off rises no further", low=60.0, high=350.0)
    range_db: float = params.param(40.0, "strongest attenuation", low=3.0, high=80.0)

    name: ClassVar[str] = "dewind"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The high-pass at a sample rate."""
        return _Wind(self, StftSpec(window_ms=32.0, hop_ms=8.0).at(sample_rate), channels)


class _Wind(SpectralKernel):
    def __init__(self, settings: Dewind, frames: Frames, channels: int) -> None:
        super().__init__(frames, channels)
        f = frames.frequencies
        self.seconds = frames.hop / frames.sample_rate
        self.highest = settings.highest_cutoff_hz
        self.least_gain = 10.0 ** (-settings.range_db / 20.0)
        self.low = (f > 0) & (f <= 60.0)
        self.low[0] = True  # DC and what is below the first bin
        self.mixed = (f > 60.0) & (f <= 200.0)
        self.slope_bins = np.flatnonzero((f >= 25.0) & (f <= 130.0))
        self.speech = (f >= 300.0) & (f <= 2000.0)
        self.top = int(np.searchsorted(f, _UNTOUCHED_HZ))
        self.frequencies = f[1 : self.top]
        x = np.log(f[self.slope_bins] / 50.0)
        self.slope_x = x - np.mean(x)

    def init_bins(self) -> Any:
        bins, pairs = self.top, max(self.channels - 1, 1)
        return {
            "cutoff": _LOWEST_HZ,
            "speech": 0.0,
            "cross": np.zeros((pairs, bins), np.complex128),
            "auto": np.zeros((self.channels, bins)),
        }

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        state = dict(state)
        y = spectrum.copy()
        for k in range(spectrum.shape[1]):
            frame = np.ascontiguousarray(spectrum[:, k]).astype(np.complex128)
            cutoff = self._follow(self._cutoff(frame, state), state)
            if cutoff > _LOWEST_HZ:
                gain = 1.0 / np.sqrt(1.0 + (cutoff / self.frequencies) ** 8)
                gain = np.maximum(gain, self.least_gain).astype(np.float32)
                y[:, k, 1 : self.top] *= gain
                y[:, k, 0] *= np.float32(self.least_gain)
        return y, state

    def _follow(self, wished: float, state: dict[str, Any]) -> float:
        """The cut-off on its way to the wished one; snaps to the lowest when it is close."""
        now = float(state["cutoff"])
        constant = _RISE_S if wished > now else _FALL_S
        share = 1.0 - math.exp(-self.seconds / constant)
        now = now * (wished / now) ** share
        if now < _LOWEST_HZ * 1.02 and wished <= _LOWEST_HZ:
            now = _LOWEST_HZ
        state["cutoff"] = now
        return now

    def _cutoff(self, frame: NDArray[np.complex128], state: dict[str, Any]) -> float:
        """The cut-off that this frame asks for."""
        power = np.square(frame.real) + np.square(frame.imag)
        total = np.sum(power, axis=0)
        speech = float(np.mean(total[self.speech]))
        # Speech keeps its level for a moment, so that the cut-off does not jump between its sounds.
        state["speech"] = max(speech, state["speech"] * math.exp(-self.seconds / _LEVEL_S))
        own = self._incoherent(frame, power, state)
        if own is None:
            wind = total.copy()
            wind[self.mixed] = 0.0
        else:
            wind = total.copy()
            wind[: self.top] = total[: self.top] * own
        lowest = wind[self.low]
        at_50 = float(np.max(lowest)) if own is None else float(max(np.max(lowest), np.max(wind[self.mixed])))
        level = state["speech"] * 10.0 ** (-_BELOW_SPEECH_DB / 10.0)
        if at_50 <= level or at_50 <= 0.0:
            return _LOWEST_HZ
        # Slope of the raw spectrum; it starts at the lowest bins, where wind is strongest.
        logs = np.log(np.maximum(total[self.slope_bins], 1e-9 * at_50))
        slope = -float(np.sum(self.slope_x * logs) / np.sum(np.square(self.slope_x)))
        slope = min(max(slope, 1.5), 4.0)
        if level <= 0.0:
            return self.highest
        exponent = math.log(at_50 / level) / slope
        return min(max(50.0 * math.exp(min(exponent, 10.0)), _LOWEST_HZ), self.highest)

    def _incoherent(
        self, frame: NDArray[np.complex128], power: _Array, state: dict[str, Any]
    ) -> _Array | None:
        """Share of the power that each channel has for itself, per bin; ``None`` if it cannot be told."""
        if self.channels < 2:
            return None
        keep = math.exp(-self.seconds / _COHERENCE_S)
        low = frame[:, : self.top]
        state["cross"] = keep * state["cross"] + (1.0 - keep) * (low[:-1] * np.conj(low[1:]))
        state["auto"] = keep * state["auto"] + (1.0 - keep) * power[:, : self.top]
        auto, cross = state["auto"], state["cross"]
        product = auto[:-1] * auto[1:]
        common = float(np.sum(np.sqrt(product)))
        if common - float(np.sum(np.abs(cross))) <= _DUAL_MONO * common:
            return None
        coherence = np.square(np.abs(cross)) / np.where(product > 0.0, product, 1.0)
        return np.asarray(np.clip(1.0 - np.mean(coherence, axis=0), 0.0, 1.0))
