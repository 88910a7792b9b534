r"""Voices for training, freed of the noise that they were recorded with.

Speech in free collections has a noise floor of its own, often only 40 dB below the voice. As a target it teaches a
network to leave that much in pauses. :func:`cleaned` lowers it with a method that is there already, a shipped network
for one: with :math:`g = |Y| / |X|` what the method does to each cell of the spectrogram,

.. math:: Z = X \min(1, 2 g),

so that whatever it lowers by less than 6 dB, speech above all, stays as it was recorded; and so does what lies below
the voice (75 Hz), where methods take the breath at a close microphone for noise. Voices whose pauses lie 50 dB
or more below their loud parts (:func:`floor_db`) are left alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..enhancers.masks import whole_mask
from ..signal.stft import StftSpec, StreamingStft

CLEAN_DB = -50.0
"""A floor at which a voice is clean enough."""

_SPARED = 2.0
_BELOW_HZ = 75.0


def floor_db(x: NDArray[np.float32], sample_rate: int) -> float:
    """Level of the softest tenth of 10 ms frames relative to the loudest tenth, dB; 0 for less than ten frames."""
    size = sample_rate // 100
    power = np.square(x[: len(x) // size * size].reshape(-1, size), dtype=np.float64).mean(axis=1)
    if len(power) < 10:
        return 0.0
    soft, loud = np.percentile(power, (10, 90))
    return float(10.0 * np.log10((soft + 1e-14) / (loud + 1e-14)))


def cleaned(x: NDArray[np.float32], sample_rate: int, method: str) -> NDArray[np.float32]:
    """A voice with less noise, as long as it was.

    Args:
        x: ``(samples,)``.
        sample_rate: Hz.
        method: what tells noise from speech: a name, or a network file.
    """
    if floor_db(x, sample_rate) <= CLEAN_DB:
        return x
    spec = StftSpec()
    stft = StreamingStft(spec, sample_rate)
    late, hop = stft.frames.latency, stft.frames.hop
    padded = np.pad(x, (0, late + -(len(x) + late) % hop))[np.newaxis]
    spectra = stft.forward(padded)
    share = whole_mask(method, spec, sample_rate, x[np.newaxis], spectra)  # of the power
    gain = np.minimum(1.0, _SPARED * np.sqrt(share)).astype(np.float32)
    gain[..., stft.frames.frequencies < _BELOW_HZ] = 1.0
    out = stft.inverse(spectra * gain)
    return np.ascontiguousarray(out[0, late : late + len(x)])
