r"""Voices for training, freed of the noise that they were recorded with.

Speech in free collections has a noise floor of its own, often only 40 dB below the voice. As a target it teaches a
network to leave that much in pauses. :func:`cleaned` lowers it with a method that is there already, a shipped network
for one: with :math:`g = |Y| / |X|` what the method does to each cell of the spectrogram,

.. math:: Z = X \min(1, 2 g),

so that whatever it lowers by less than 6 dB, speech above all, stays as it was recorded. Voices whose pauses lie 50 dB
or more below their loud parts (:func:`floor_db`) are left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..enhancers.base import Enhancer, run_offline
from ..signal.stft import StftSpec

CLEAN_DB = -50.0
"""A floor at which a voice is clean enough."""

_SPARED = np.float32(2.0)
_TINY = np.float32(1e-9)


def floor_db(x: NDArray[np.float32], sample_rate: int) -> float:
    """Level of the softest tenth of 10 ms frames relative to the loudest tenth, dB; 0 for less than ten frames."""
    size = sample_rate // 100
    power = np.square(x[: len(x) // size * size].reshape(-1, size), dtype=np.float64).mean(axis=1)
    if len(power) < 10:
        return 0.0
    soft, loud = np.percentile(power, (10, 90))
    return float(10.0 * np.log10((soft + 1e-14) / (loud + 1e-14)))


def cleaned(x: NDArray[np.float32], sample_rate: int, enhancer: Enhancer) -> NDArray[np.float32]:
    """A voice with less noise, as long as it was.

    Args:
        x: ``(samples,)``.
        sample_rate: Hz.
        enhancer: what tells noise from speech.
    """
    if floor_db(x, sample_rate) <= CLEAN_DB:
        return x
    frames = StftSpec().at(sample_rate)
    before = _spectrum(x, frames)
    after = _spectrum(run_offline(enhancer, x, sample_rate), frames)
    gain = np.minimum(np.float32(1.0), _SPARED * np.abs(after) / (np.abs(before) + _TINY))
    tail = np.zeros((1, frames.size - frames.hop), np.float32)
    out, _ = frames.inverse(before * gain.astype(np.float32), tail)
    return np.ascontiguousarray(out[0, frames.latency : frames.latency + len(x)])


def _spectrum(x: NDArray[np.float32], frames: Any) -> NDArray[np.complex64]:
    """``(1, frames, bins)``, with enough of them for the last sample to come out."""
    count = -(-(len(x) + frames.latency) // frames.hop)
    padded = np.zeros((1, count * frames.hop), np.float32)
    padded[0, : len(x)] = x
    spectrum, _ = frames.forward(padded, np.zeros((1, frames.size - frames.hop), np.float32))
    return spectrum
