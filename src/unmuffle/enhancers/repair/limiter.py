"""True-peak limiter: no value of the waveform, also between the samples, above a ceiling.

The waveform is interpolated four-fold (:class:`~unmuffle.signal.loudness.TruePeak`), which gives
the attenuation each moment needs, a[n] = max(0, 20 log10(peak[n] / ceiling)) dB. The gain must
have come down *when* the peak arrives, without a jump, so the signal is delayed by the look-ahead
and the attenuation is

1. held: the largest a[n] over the look-ahead,
2. released: r[n] = max(held[n], r[n-1] - d), which falls linearly in dB, 10 dB per ``release_ms``,
3. smoothed: two moving averages that together span the look-ahead (a triangle-like rise).

The average over a stretch in which every value is at least a[n] is itself at least a[n]: the
ceiling holds at each sample by construction, and between them but for the little by which the gain
changes within the interpolator's length (measured: below 0.1 dB).

All channels share one gain, so the image does not move. Attenuation is counted in whole
nano-decibels: integer maxima and sums have no rounding, so any split of the signal gives the same
bits, and a signal that stays below the ceiling comes out bit-identical, delayed.

A short look-ahead acts faster and distorts low voices more; a short release is louder and pumps.
This is a protection, not a way to make things loud: more than about 6 dB of limiting is audible.

Reference: D. Giannoulis, M. Massberg, J. Reiss, "Digital dynamic range compressor design",
J. Audio Eng. Soc. 60 (2012); ITU-R BS.1770-4, annex 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...signal.blocks import Samples
from ...signal.loudness import TruePeak
from .. import params
from ..base import Enhancer, Kernel, StepKernel

_Counts = NDArray[np.int64]

_PER_DB = 1_000_000_000  # nano-decibels
_AROUND = 2  # samples on either side of a peak that get its attenuation too
_SAFETY_DB = 0.02


@dataclass(frozen=True)
class Limiter(Enhancer):
    """Look-ahead limiter for the true peak, one gain for all channels. See the module docstring.

    >>> Limiter(lookahead_ms=2.0).stream(48000).latency_ms < 3.0
    True
    """

    ceiling_dbtp: float = params.param(-1.0, "highest true peak", low=-30.0, high=0.0)
    lookahead_ms: float = params.param(3.0, "time in which the gain comes down", low=1.5, high=5.0)
    release_ms: float = params.param(150.0, "time in which 10 dB are given back", low=10.0, high=5000.0)

    name: ClassVar[str] = "limiter"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The limiter at a sample rate."""
        span = max(2, round(self.lookahead_ms * sample_rate / 1000.0))
        fall = max(1, round(10.0 * _PER_DB / (self.release_ms * sample_rate / 1000.0)))
        return _Limit(channels, sample_rate, 10.0 ** ((self.ceiling_dbtp - _SAFETY_DB) / 20.0), span, fall)


class _Limit(StepKernel):
    def __init__(self, channels: int, rate: int, ceiling: float, span: int, fall: int) -> None:
        self.first = span // 2 + 1  # lengths of the two averages: together they reach over span + 1
        self.second = span - self.first + 2
        self.reach = self.first + self.second - 2 + 2 * _AROUND  # the hold covers the averages
        super().__init__(channels, 1, TruePeak.delay + self.first + self.second - 2 + _AROUND)
        self.rate, self.ceiling, self.fall = rate, ceiling, fall

    def init(self) -> Any:
        return {
            "detector": TruePeak(self.rate, self.channels),
            "delayed": np.zeros((self.channels, self.latency_samples), np.float32),
            "needed": np.zeros(self.reach, np.int64),
            "released": np.zeros(1, np.int64),
            "first": np.zeros(self.first - 1, np.int64),
            "second": np.zeros(self.second - 1, np.int64),
        }

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        n = x.shape[1]
        line = np.concatenate((state["delayed"], x), axis=1)
        state = {**state, "delayed": line[:, n:].copy()}
        peaks = state["detector"].push(x).astype(np.float64)
        needed = np.zeros(n, np.int64)
        over = peaks > self.ceiling
        needed[over] = np.ceil(20.0 * _PER_DB * np.log10(peaks[over] / self.ceiling)).astype(np.int64)

        held, state["needed"] = _sliding_max(needed, state["needed"])
        released = self._release(held, int(state["released"][0]))
        state["released"] = released[-1:].copy()
        smooth, state["first"] = _moving_sum(released, state["first"])
        smooth, state["second"] = _moving_sum(smooth, state["second"])
        if not smooth.any():
            return line[:, :n].copy(), state
        attenuation = smooth / float(_PER_DB * self.first * self.second)
        gain = np.where(smooth > 0, 10.0 ** (-attenuation / 20.0), 1.0).astype(np.float32)
        return line[:, :n] * gain, state

    def _release(self, held: _Counts, last: int) -> _Counts:
        """r[n] = max(held[n], r[n-1] - fall), never below 0, as a running maximum of held[n] + n fall."""
        rise = self.fall * np.arange(1, len(held) + 1, dtype=np.int64)
        line: _Counts = np.maximum.accumulate(np.maximum(held + rise, last)) - rise
        return np.maximum(line, 0)


def _sliding_max(x: _Counts, held: _Counts) -> tuple[_Counts, _Counts]:
    """Largest of each value and the ``len(held)`` before it; and what to hold for the next call."""
    joined = np.concatenate((held, x))
    window, top, covered = len(held) + 1, joined, 1
    while covered < window:  # the maximum of two overlapping stretches is that of their union
        shift = min(covered, window - covered)
        top = np.maximum(top[shift:], top[:-shift])
        covered += shift
    return top, joined[len(x) :].copy()


def _moving_sum(x: _Counts, held: _Counts) -> tuple[_Counts, _Counts]:
    """Sum of each value and the ``len(held)`` before it; and what to hold for the next call."""
    joined = np.concatenate((held, x))
    total = np.concatenate((np.zeros(1, np.int64), np.cumsum(joined)))
    return total[len(held) + 1 :] - total[: len(x)], joined[len(x) :].copy()
