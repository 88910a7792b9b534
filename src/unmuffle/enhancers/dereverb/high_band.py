r"""What happens to the band above the one that is dereverberated: it follows its neighbour.

Speech has little above 8 kHz and rooms hardly reverberate there (air absorbs it), so prediction
filters up there would cost much and win nothing. The band gets one gain for each frame, by which the
highest octave of the treated band went down,

.. math:: g_l = \min\left(1, \sqrt{\frac{\sum_k |\hat X(l, k)|^2}{\sum_k |Y(l, k)|^2}}\right),

with both sums over the channels and smoothed over 40 ms, so that the gain does not flutter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...signal.stft import Frames, Spectrum

SMOOTHING_MS = 40.0


class HighBand:
    """The split of the bins, and the gain of the upper ones; the state goes in and comes out.

    Attributes:
        treated: number of bins, from the lowest, that are dereverberated.
    """

    def __init__(self, frames: Frames, edge_hz: float) -> None:
        # Half a bin of tolerance: 8 kHz must give the same number at 16 kHz and at 44.1 kHz.
        self.treated = int(np.searchsorted(frames.frequencies, edge_hz + 0.5 * frames.frequencies[1]))
        self.empty = self.treated == frames.bins
        self.first = int(np.searchsorted(frames.frequencies, 0.5 * edge_hz))
        self.keep = math.exp(-frames.hop / (SMOOTHING_MS * 1e-3 * frames.sample_rate))

    def begin(self) -> Any:
        """Nothing heard yet."""
        return (0.0, 0.0)

    def step(self, before: Spectrum, after: Spectrum, state: Any) -> tuple[float, Any]:
        """The gain for one frame ``(channels, bins)``, from that frame before and after."""
        heard = self.keep * state[0] + _energy(before[:, self.first : self.treated])
        left = self.keep * state[1] + _energy(after[:, self.first : self.treated])
        gain = math.sqrt(min(1.0, left / heard)) if heard > 0.0 else 1.0
        return gain, (heard, left)


def _energy(x: Any) -> float:
    return float(np.sum(np.square(x.real, dtype=np.float64)) + np.sum(np.square(x.imag, dtype=np.float64)))
