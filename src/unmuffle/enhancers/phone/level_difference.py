r"""Noise reduction of a phone with two microphones, by their difference in level.

The mouth is some centimetres from the first microphone and a hand's breadth from the second: speech is 6 to 15 dB
louder in the first. Noise from afar is equally loud in both. So with the smoothed powers ``P_1``, ``P_2`` and the
cross-power ``P_12`` of a bin, the difference ``D = max(P_1 - P_2, 0)`` is speech, and

.. math:: \delta = \frac{|P_1 - P_2|}{P_1 + P_2}

tells whether anybody speaks: below ``pause_below`` (nobody) the noise power ``N`` follows ``P_1``, above
``speech_above`` it stands still, and in between it follows the second microphone. The gain is

.. math:: G = \frac{D}{D + \gamma \, (1 - |H|^2) \, N}, \qquad
          H = \frac{P_{12} - \Gamma N}{P_1 - N},

``H`` the transfer of speech from the first to the second microphone (the share of the speech that ``D`` lacks),
``Gamma`` the coherence of diffuse noise at the distance of the two. The output is the first channel, times ``G``.

Microphones differ in sensitivity by some decibels, and a case shadows one of them: the ratio of the noise in both is
learned in pauses, bin by bin, and evened out.

It works with noise that moves and babbles, which one microphone cannot tell from speech. It fails when the talker is
far from both microphones (a phone on the table: use a beamformer), when a noise source is as near as the mouth, and
when a hand covers one of them.

Source: M. Jeub, C. Herglotz, C. Nelke, C. Beaugeant, P. Vary, "Noise reduction for dual-microphone mobile phones
exploiting power level differences", ICASSP 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ShapeError
from ...signal.steering import speed_of_sound
from ...signal.stft import Frames, Spectrum, StftSpec
from ..base import Enhancer, Kernel, SpectralKernel
from ..params import param

_POWER_S = 0.02  # smoothing of the powers
_NOISE_S = 0.15  # of the noise
_RATIO_S = 1.0  # of the sensitivities
_RATIO_LIMIT_DB = 12.0
_START_S = 0.2  # in which the sensitivities are taken from whatever is heard first: usually no speech
_TINY = 1e-20


@dataclass(frozen=True)
class PhoneNoise(Enhancer):
    """Two microphones of a phone in, the one at the mouth (the first) out, without the noise.

    See the module for formulas, limits and sources.
    """

    name: ClassVar[str] = "phone"
    spacing_m: float = param(0.14, "distance of the microphones, in m", low=0.01, high=0.3)
    oversubtraction: float = param(2.5, "gamma: more takes more noise and more speech", low=0.5, high=10.0)
    floor_db: float = param(-18.0, "least gain of a bin, in dB", low=-60.0, high=0.0)
    pause_below: float = param(0.25, "level difference up to which nobody speaks", low=0.0, high=1.0)
    speech_above: float = param(0.8, "level difference from which the noise is left alone", low=0.0, high=1.0)

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The gain on the first channel.

        Raises:
            ShapeError: not two channels.
        """
        if channels != 2:
            raise ShapeError(
                f"phone needs 2 channels, the microphone at the mouth first, got {channels}; "
                "with one microphone use 'classic', with more a beamformer"
            )
        return _PhoneKernel(StftSpec(20.0, 10.0).at(sample_rate), self)


class _PhoneKernel(SpectralKernel):
    def __init__(self, frames: Frames, parameters: PhoneNoise) -> None:
        super().__init__(frames, 2)
        self.outputs = (0,)
        self.parameters = parameters
        hop_s = frames.hop / frames.sample_rate
        self._power, self._noise, self._ratio = (float(np.exp(-hop_s / s)) for s in (_POWER_S, _NOISE_S, _RATIO_S))
        self._start = max(1, round(_START_S / hop_s))
        self._diffuse = np.sinc(2.0 * frames.frequencies * parameters.spacing_m / speed_of_sound())

    def init_bins(self) -> Any:
        """Powers, noise, the sensitivities' ratio, and frames heard."""
        empty = np.zeros(self.frames.bins)
        return {
            "own": empty, "other": empty, "cross": empty.astype(complex), "noise": empty,
            "ratio": np.ones(self.frames.bins), "heard": 0,
        }  # fmt: skip

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        """Frame by frame."""
        gains = np.empty((1, *spectrum.shape[1:]), np.float32)
        for l in range(spectrum.shape[1]):
            gains[0, l], state = self._frame(spectrum[:, l].astype(np.complex128), state)
        return spectrum[:1] * gains, state

    def _frame(
        self, x: NDArray[np.complex128], state: dict[str, Any]
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        p = self.parameters
        heard = state["heard"] + 1 if np.any(x) else state["heard"]
        # Until the time constant has passed, the mean of what there is.
        power = min(self._power, 1.0 - 1.0 / max(heard, 1))
        own = power * state["own"] + (1.0 - power) * np.abs(x[0]) ** 2
        other = power * state["other"] + (1.0 - power) * np.abs(x[1]) ** 2
        cross = power * state["cross"] + (1.0 - power) * x[1] * x[0].conj()
        ratio = state["ratio"]
        second = other * ratio  # as loud as the first microphone would have been, in the noise
        apart = (own - second) / np.maximum(own + second, _TINY)
        pause = (np.abs(apart) < p.pause_below) | (heard <= self._start)
        memory = min(self._ratio, 1.0 - 1.0 / max(heard, 1)) if heard <= self._start else self._ratio
        limit = 10.0 ** (_RATIO_LIMIT_DB / 10.0)
        now = np.clip(own / np.maximum(other, _TINY), 1.0 / limit, limit)
        ratio = np.where(pause & (own > _TINY), memory * ratio + (1.0 - memory) * now, ratio)
        follow = min(self._noise, 1.0 - 1.0 / max(heard, 1))
        noise = np.where(pause, follow * state["noise"] + (1.0 - follow) * own, state["noise"])
        between = ~pause & (np.abs(apart) < p.speech_above)
        noise = np.where(between, follow * noise + (1.0 - follow) * np.minimum(second, own), noise)
        speech = np.maximum(own - second, 0.0)
        transfer = np.abs(cross * np.sqrt(ratio) - self._diffuse * noise) / np.maximum(own - noise, _TINY)
        lacking = 1.0 - np.minimum(transfer, 0.95) ** 2
        gain = speech / np.maximum(speech + p.oversubtraction * lacking * noise, _TINY)
        new = {"own": own, "other": other, "cross": cross, "noise": noise, "ratio": ratio, "heard": heard}
        return np.maximum(gain, 10.0 ** (p.floor_db / 20.0)), new
