r"""WPE on a whole recording: iterative, the reference for the streaming form.

The method is :func:`.prediction.wpe`, on frames of 40 ms with a hop of 10 ms; formula, conventions
and papers are there.

Which knob does what (one simulated room of 0.6 s; gains in STOI and SI-SDR against the direct sound, and in
SI-SDR against the first 50 ms of the room; least variance 1e-4):

=======================  =======  =========  =========
four microphones         STOI     direct     50 ms
=======================  =======  =========  =========
delay 3                  +0.173   +5.0 dB    +0.3 dB
delay 4                  +0.147   +3.1 dB    +4.5 dB
delay 5                  +0.130   +2.2 dB    +6.7 dB
1 iteration              +0.154   +4.1 dB    +1.3 dB
=======================  =======  =========  =========

``delay`` says what is wanted: the filter cannot take away what is
younger, and 3 frames of 10 ms reach into the first 50 ms. Where early reflections are to stay (which help
understanding), take 4 or 5, or the finer knobs ``early_loading`` and ``restraint``; :mod:`.prediction` has a table.

One microphone has to look further back: 10 taps give +0.048 STOI, 25 +0.061, 40 +0.067 (and in the streaming form 25
+0.071, 40 +0.075), at a cost that grows with their square.

The filter is one for the entire recording, so nobody should move in it; for
moving talkers and for recordings of many minutes take ``wpe``, which forgets.

Memory: the signal and two spectra of it are held at once, at the default frames about 60 bytes a
sample and channel: 230 MB for a minute of four channels at 16 kHz, 3.5 GB for an hour of one channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import ParameterError
from ...signal.blocks import Samples
from ...signal.stft import Frames
from ..base import Kernel, WholeKernel
from ..masks import Masked, whole_mask
from ..params import param
from .high_band import HighBand
from .prediction import wpe

LOADING = 1e-10
"""Loading of R, relative to its mean diagonal: for microphones that hear exactly the same. With 1e-6 the differences of
close microphones at low frequencies, which tell much, are lost in it."""
FLOOR = 1e-4
"""Least variance of a frame, relative to the highest of its bin, for one microphone: what its filter predicts in soft
frames is mostly chance. In six rooms of 0.6 s, training voices: STOI 0.779, direct -3.19 dB, first 50 ms 7.41 dB;
with 1e-10 0.764, -3.50, 7.13."""
SEVERAL = 1e-10
"""For several microphones and no network that tells the variance: 0.904, 0.26, 6.46; with 1e-4 0.909, 0.40, 5.88."""


@dataclass(frozen=True)
class WpeBatch(Masked):
    """Iterative weighted prediction error: takes late reverberation off a whole recording."""

    name: ClassVar[str] = "wpe-batch"

    taps: int = param(10, "frames of the past, of each microphone, that predict", low=1, high=60)
    delay: int = param(3, "frames from the present to the newest of them", low=1, high=16)
    iterations: int = param(3, "rounds of variance and filter", low=1, high=20)
    context: int = param(0, "frames before and behind that share in the variance", low=0, high=20)
    early_loading: float = param(
        0.0, "restraint of the newest frame, for early reflections to stay", low=0.0, high=100.0
    )
    restraint: float = param(0.0, "restraint of every frame, against chance", low=0.0, high=100.0)
    masks: str = param("", "who tells the voice's power: a network (live, FILE.onnx) or a method; empty: its own")
    inputs: int = param(8, "microphones, the first ones, that predict; all are cleaned", low=1, high=64)
    high_hz: float = param(8000.0, "upper edge of the band with filters", low=1000.0, high=96_000.0)
    window_ms: float = param(40.0, "length of the analysis window", low=4.0, high=128.0)
    hop_ms: float = param(10.0, "step from frame to frame; divides window_ms", low=1.0, high=64.0)

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part.

        Raises:
            ParameterError: more than 1000 coefficients a bin.
        """
        size = self.taps * min(self.inputs, channels)
        if size > 1000:
            raise ParameterError(f"{size} coefficients a bin (taps times inputs); give at most 1000")
        return _WpeBatchKernel(self, self.spec.at(sample_rate), channels)


class _WpeBatchKernel(WholeKernel):
    def __init__(self, method: WpeBatch, frames: Frames, channels: int) -> None:
        super().__init__(channels)
        self.method = method
        self.frames = frames
        self.high = HighBand(frames, method.high_hz)

    def run(self, x: Samples) -> Samples:
        frames, bins, method = self.frames, self.high.treated, self.method
        held = np.zeros((self.channels, frames.size - frames.hop), np.float32)
        count = -(-(x.shape[1] + frames.latency) // frames.hop)
        tail = np.zeros((self.channels, count * frames.hop - x.shape[1]), np.float32)
        spectrum, _ = frames.forward(np.concatenate((x, tail), axis=1), held)
        voice = None
        if method.masks:
            mask = whole_mask(method.masks, method.spec, frames.sample_rate, x, spectrum)
            power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=0, dtype=np.float64)
            voice = (mask * power)[:, :bins]
        out = wpe(
            spectrum[:, :, :bins],
            method.taps,
            method.delay,
            method.iterations,
            method.context,
            LOADING,
            SEVERAL if voice is None and min(self.channels, method.inputs) > 1 else FLOOR,
            method.inputs,
            voice,
            method.early_loading,
            method.restraint,
        )
        if self.high.empty:
            spectrum = out
        else:
            state = self.high.begin()
            for l in range(count):
                gain, state = self.high.step(spectrum[:, l], out[:, l], state)
                spectrum[:, l, :bins] = out[:, l]
                spectrum[:, l, bins:] *= np.float32(gain)
        y, _ = frames.inverse(spectrum, held)
        return y[:, frames.latency : frames.latency + x.shape[1]]
