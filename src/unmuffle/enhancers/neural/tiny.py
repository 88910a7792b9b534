r"""``tiny``: the trained network for small machines, of the class of RNNoise; under 100 kB.

Bands, pitch and coherence are computed here (:mod:`.bands`, :mod:`.pitch`); a network of small GRUs answers,
for each of 32 bands, with a gain :math:`g` and the share :math:`r` of a comb filter at the pitch,

.. math:: Y = g \, ((1 - r) X + r P),

:math:`P` the frame one pitch period earlier, and with the probability that somebody speaks
(:meth:`Tiny.voice_activity`). One set of weights for all sample rates: what lies above 8 kHz gets the gain of the
highest bands. Channels are heard as one sound and share gains and pitch. The delay is 10 ms, and 20 ms
with the hop that has to be collected.

What it was trained on, its licence and its scores are in its model card, ``models/tiny.md`` beside the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...signal.blocks import Samples, as_block
from ..base import Enhancer, Kernel, StepKernel
from . import bands
from .model import Facts, Model, shipped

_CHUNK = 512
"""Frames of one call: 5 s of memory, and long enough for the calls not to matter."""

_EDGE = bands.SPREAD[:, -bands.BINS // 8 :].mean(axis=1)
"""Share of each band in the upper eighth of the network's band."""


class TinyKernel(StepKernel):
    """Analysis, network, gains and comb filter, synthesis."""

    def __init__(self, model: Model, sample_rate: int, channels: int) -> None:
        self.frames = model.facts.spec.at(sample_rate)
        super().__init__(channels, self.frames.hop, self.frames.latency)
        self.model = model
        self.analysis = bands.Analysis(self.frames, channels)
        self._spread = np.ascontiguousarray(bands.SPREAD[:, : self.analysis.known])

    def init(self) -> Any:
        """State of analysis, network and synthesis."""
        tail = np.zeros((self.channels, self.frames.size - self.frames.hop), np.float32)
        return self.analysis.initial(), self.model.initial(), tail

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        """Any number of hops, a few seconds at a time."""
        size = _CHUNK * self.granularity
        if x.shape[1] <= size:
            return self._some(x, state)
        parts = []
        for start in range(0, x.shape[1], size):
            part, state = self._some(x[:, start : start + size], state)
            parts.append(part)
        return np.concatenate(parts, axis=1), state

    def _some(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        heard, inner, tail = state
        found, heard = self.analysis.step(x, heard)
        answer, inner = self.model.run(found.features[np.newaxis], inner)
        gains = answer[0, :, : bands.BANDS]
        # Two sets of band values to bins at once.
        gain, share = answer[0, :, : 2 * bands.BANDS].reshape(-1, 2, bands.BANDS).transpose(1, 0, 2) @ self._spread
        known = self.analysis.known
        spectrum = found.spectrum
        low = found.comb - spectrum[:, :, :known]
        low *= share
        low += spectrum[:, :, :known]
        low *= gain
        spectrum[:, :, :known] = low
        if spectrum.shape[2] > known:
            spectrum[:, :, known:] *= (gains @ _EDGE)[:, np.newaxis]
        y, tail = self.frames.inverse(spectrum, tail)
        return y, (heard, inner, tail)


@dataclass(frozen=True)
class Tiny(Enhancer):
    """Removes noise from speech with a very small trained network, band by band, and a pitch filter."""

    name: ClassVar[str] = "tiny"

    def __post_init__(self) -> None:
        """Nothing to check: there are no parameters."""

    @property
    def facts(self) -> Facts:
        """What the network's file says of itself."""
        return shipped(self.name).facts

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The network at this rate."""
        return TinyKernel(shipped(self.name), sample_rate, channels)

    def key(self) -> str:
        """Name and digest of the network."""
        return f"neural({self.facts.name},{self.facts.sha256})"

    def voice_activity(self, x: Any, sample_rate: int) -> NDArray[np.float32]:
        """The network's second answer: the probability of speech, every 10 ms.

        Args:
            x: ``(samples,)`` or ``(channels, samples)``, floating point.
            sample_rate: in Hz.

        Returns:
            One number from 0 to 1 for each hop, ``(ceil(samples / hop),)``; that of a hop was decided when the
            hop had been heard.
        """
        return voice_activity(shipped(self.name), x, sample_rate)


def voice_activity(model: Model, x: Any, sample_rate: int) -> NDArray[np.float32]:
    """:meth:`Tiny.voice_activity` of any network of bands.

    Raises:
        ModelError: the network is of another kind.
    """
    if model.facts.domain != "features":
        raise ModelError(
            f"{model.path}: a network of {model.facts.domain}, which does not tell whether somebody speaks"
        )
    signal = as_block(x)
    frames = model.facts.spec.at(sample_rate)
    analysis = bands.Analysis(frames, signal.shape[0])
    padded = np.pad(signal, ((0, 0), (0, -signal.shape[1] % frames.hop)))
    heard, inner, out = analysis.initial(), model.initial(), [np.zeros(0, np.float32)]
    for start in range(0, padded.shape[1], _CHUNK * frames.hop):
        found, heard = analysis.step(padded[:, start : start + _CHUNK * frames.hop], heard)
        answer, inner = model.run(found.features[np.newaxis], inner)
        out.append(answer[0, :, 2 * bands.BANDS])
    return np.concatenate(out)
