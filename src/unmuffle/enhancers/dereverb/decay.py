r"""Blind reverberation time: how fast a running signal dies away where it does.

Between words the room is heard alone, and its energy falls on a straight line in decibels,
:math:`-60\,\mathrm{dB}` in :math:`T_{60}`. Speech itself fades too, more slowly than a dry room does.

1. the power of each half octave from 300 Hz to 4 kHz, smoothed over 20 ms, is followed in decibels;
2. a stretch that falls for at least ``LEAST_MS`` and by ``LEAST_DB`` is a decay; a line through it
   (least squares) gives one candidate :math:`T = -60 / \text{slope}`;
3. candidates, weighted with how far they fell, are collected in a histogram over log T that forgets
   with a time constant of ``MEMORY_S``. The median m grows with T60, but far less, as in long
   reverberation the next word cuts the decay short; :math:`T_{60} = e^{a m + b}` undoes that. The two
   numbers were fitted once, on simulated rooms of 0.2 to 1.1 s with read speech, for frames of 32 ms and
   hops of 8 ms (``bench/dereverb.py t60`` is the check).

In noise the decays end in the noise, look longer or are lost. A few seconds of speech are needed:
until then the answer moves from ``START_S``. Below some 0.3 s the decay of speech itself is what is seen.
On 18 other rooms of 0.2 to 1 s (ten seconds of speech each) the median error was 14 %, the worst 36 %;
rooms of 1 s were taken for 0.7 s.

K. Lebart, J. M. Boucher, P. N. Denbigh, "A new method based on spectral subtraction for speech
dereverberation", Acta Acustica 87, 2001 (the idea); T. de M. Prego et al., "A blind algorithm for
reverberation-time estimation using subband decomposition of speech signals", JASA 131(4), 2012
(the sub-bands).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...signal.stft import Frames

LEAST_MS = 100.0
LEAST_DB = 10.0
SMOOTHING_MS = 20.0
MEMORY_S = 20.0
START_S = 0.3
START_WEIGHT = 60.0
"""How many decibels of decays the answer at the start counts as."""
CORRECTION = (4.887, -3.350)
"""The answer is ``exp(a m + b)`` for a median of ``m`` seconds."""
SHORTEST_S, LONGEST_S = 0.1, 2.5
_CELLS = 96
_STEEPEST_DB = 15.0  # a fall by more from one frame to the next is an edit, not a room


class DecayTracker:
    """Follows T60 from the power of the frames; the state is a plain dictionary."""

    def __init__(self, frames: Frames) -> None:
        edges_hz = 300.0 * 2.0 ** (0.5 * np.arange(8))
        edges = np.searchsorted(frames.frequencies, edges_hz[edges_hz < 0.45 * frames.sample_rate])
        self.starts = edges[:-1]
        self.end = int(edges[-1])
        self.hop_s = frames.hop / frames.sample_rate
        self.smoothing = math.exp(-self.hop_s / (SMOOTHING_MS * 1e-3))
        self.keep = math.exp(-self.hop_s / MEMORY_S)
        self.least = max(3, round(LEAST_MS * 1e-3 / self.hop_s))
        self.centres_s = SHORTEST_S * (LONGEST_S / SHORTEST_S) ** ((np.arange(_CELLS) + 0.5) / _CELLS)

    def begin(self) -> dict[str, Any]:
        """Only the answer at the start is believed."""
        bands = self.starts.size
        median = (math.log(START_S) - CORRECTION[1]) / CORRECTION[0]
        histogram = np.where(np.arange(_CELLS) == self._cell(median), START_WEIGHT, 0.0)
        return {
            "power": np.zeros(bands),
            "level": np.full(bands, -np.inf),
            "run": np.zeros((5, bands)),  # frames, sums of t, E, t E, and the level at the beginning
            "histogram": histogram,
        }

    def step(self, power: NDArray[np.floating[Any]], state: dict[str, Any]) -> None:
        """Take the power ``(bins,)`` of one frame; ``state`` is changed."""
        bands = np.add.reduceat(power[: self.end].astype(np.float64), self.starts)
        state["power"] = self.smoothing * state["power"] + (1.0 - self.smoothing) * bands
        level = 10.0 * np.log10(np.maximum(state["power"], 1e-100))
        falls = level < state["level"]
        falls &= level > state["level"] - _STEEPEST_DB
        run = state["run"]
        ended = ~falls & (run[0] >= self.least)
        if ended.any():
            self._collect(run[:, ended], state)
        if falls.any():
            # Of silence nothing falls, and where nothing is heard nothing is forgotten.
            state["histogram"] *= self.keep
        t, e = run[0], level - run[4]
        grown = run + np.stack((np.ones_like(t), t, e, t * e, np.zeros_like(t)))
        fresh = np.stack((np.ones_like(t), np.zeros_like(t), np.zeros_like(t), np.zeros_like(t), level))
        state["run"] = np.where(falls, grown, fresh)
        state["level"] = level

    def t60_s(self, state: dict[str, Any]) -> float:
        """The present answer, in seconds."""
        total = np.cumsum(state["histogram"])
        at = int(np.searchsorted(total, 0.5 * total[-1]))
        answer = math.exp(CORRECTION[0] * float(self.centres_s[at]) + CORRECTION[1])
        return min(max(answer, SHORTEST_S), LONGEST_S)

    def _collect(self, run: NDArray[np.float64], state: dict[str, Any]) -> None:
        n, t, e, te, _ = run
        spread = n * (n * n - 1.0) / 12.0  # sum of (t - mean)^2 over t = 0 .. n-1
        slope = (te - t * e / n) / spread / self.hop_s  # dB a second
        fall = -slope * self.hop_s * (n - 1.0)
        for drop, rate in zip(fall, slope, strict=True):
            if drop >= LEAST_DB and SHORTEST_S < -60.0 / rate < LONGEST_S:
                state["histogram"][self._cell(-60.0 / rate)] += drop

    @staticmethod
    def _cell(t60_s: float) -> int:
        place = math.log(t60_s / SHORTEST_S) / math.log(LONGEST_S / SHORTEST_S)
        return min(_CELLS - 1, int(place * _CELLS))
