r"""The first tenth of a second: an estimate before there is anything to average.

All trackers share it. Two things make the beginning special.

*Half-empty frames.* A stream starts with an empty history, so the first ``N/H - 1`` frames are
partly zeros and their power is too low. They give a provisional estimate and are then forgotten.
The same holds for the first frames after leading digital silence: the clock of each channel starts
with its first sound.

*Speech may come first.* An arithmetic mean over the first frames is ruled by the loudest of them.
The mean of the logarithm is not: with the power of noise being exponentially distributed,
:math:`E\{\ln P\} = \ln \lambda_D - C` with Euler's constant :math:`C = 0.577`, so

.. math:: \hat\lambda_D = \exp\Bigl(C + \frac1n \sum_{l=1}^{n} \ln P(l)\Bigr)

is on target (within the uncertainty of few frames) for noise, and follows a short burst of speech
only by its share of the frames.

*After a gate, speech does come first.* Digital silence before the first sound means that something
(a codec's silence suppression, a gate, an editor, a synthesiser) let nothing pass until there was
something to say. The first tenth of a second is then more likely speech than noise, so a tracker may ask
for an estimate that starts lower; noise that does set in there is caught up with, as any rise of it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..signal.stft import Frames
from .base import Power, frame_count, silence

EULER = 0.5772157

GATE_S = 0.1
"""Digital silence that lasts at least this long before the first sound was made by a gate."""


def begin(frames: Frames, channels: int, time_s: float, *, gate_doubt_db: float = 0.0) -> dict[str, Any]:
    """Return the state of a start that lasts ``time_s``.

    ``gate_doubt_db`` is by how much the estimate is lowered after a gate; only for trackers that catch
    up with a rise of the noise within a second.
    """
    return {
        "age": np.zeros(channels, np.int64),  # frames since the first sound
        "quiet": np.zeros(channels, np.int64),  # frames of digital silence before it
        "gated": frame_count(GATE_S, frames),
        "doubt": gate_doubt_db * math.log(10.0) / 10.0,
        "skip": frames.size // frames.hop - 1,
        "count": frame_count(time_s, frames),
        "sum": np.zeros((channels, frames.bins), np.float32),
        "silence": silence(frames),
        "done": False,
    }


def step(power: Power, state: dict[str, Any], noise: Power) -> list[int]:
    """Hear one frame; write the estimate into ``noise`` for the channels that are still starting.

    ``state["done"]`` is set when no channel is.

    Returns:
        The channels that were written.
    """
    age, skip, count = state["age"], state["skip"], state["count"]
    written = []
    for c in range(power.shape[0]):
        if age[c] > skip + count:
            continue
        if age[c] == 0 and power[c].max() <= state["silence"]:
            state["quiet"][c] += 1
            continue
        age[c] += 1
        logs = np.log(np.maximum(power[c], state["silence"]))
        total = state["sum"][c]
        if age[c] <= skip + 1:
            total[:] = logs  # what came before was half empty
            heard = 1
        elif age[c] <= skip + count:
            total += logs
            heard = age[c] - skip
        else:
            continue
        doubt = state["doubt"] if state["quiet"][c] >= state["gated"] else 0.0
        np.exp(total / np.float32(heard) + np.float32(EULER - doubt), noise[c])
        written.append(c)
    state["done"] = bool((age > skip + count).all())
    return written
