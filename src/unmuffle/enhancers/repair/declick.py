"""Click removal: short disturbances are found by prediction and replaced by interpolation.

Model, on frames of 64 ms: speech is autoregressive, x[n] = -sum_i a_i x[n-i] + e[n], and a click is an
*addition* of at most ``longest_ms``. What is added is not predicted: it stands out of the residual,
by far more than out of the signal.

1. *Residuals*, forward e and backward (the same filter in reversed time): the first tells exactly where
   a click begins, the second where it ends, as each smears by the order only away from there.
2. *Detection* where e exceeds ``threshold`` times the larger of its 90 % quantiles in the 1.5..12 ms
   before and after. Pulses of the glottis do so too, but every few milliseconds, and raise the
   quantile themselves; at the burst of a plosive the quantile after it is high.
3. *Interpolation* (least squares, Janssen): the samples in doubt are those that minimise the sum of
   e^2. With b the autocorrelation of a and the rest of the frame known this is a Toeplitz system

       sum_{j in gap} b_{|i-j|} x_j = - sum_{j known} b_{|i-j|} x_j.

4. *Test*. Where a click was added, the residual falls back to that of its surroundings once the gap is
   filled. Where the voice itself was excited (a glottal pulse after a pause, a plosive), the
   resonance that follows still needs its cause, and the residual stays: then nothing is changed.
   The residual's energy around the gap has to fall to less than a twentieth, and its peak below the
   threshold. (A tenth finds one click in ten more and costs ten times the false alarms.)

If the system has no sound solution the gap is bridged between the medians of its two sides.
Everything but the gaps comes out bit-identical; clean speech is left alone (false alarms on real
speech: see ``bench/repair.py``). Clicks weaker than ``threshold`` times the residual stay, as do
those longer than ``longest_ms`` and dense crackle (more than about one in 5 ms).

References
    A. Janssen, R. Veldhuis, L. Vries, "Adaptive interpolation of discrete-time signals that can be
    modeled as autoregressive processes", IEEE Trans. ASSP 34 (1986). S. Vaseghi, P. Rayner,
    "Detection and suppression of impulsive noise in speech communication systems", IEE Proc. I 137
    (1990). S. Godsill, P. Rayner, "Digital Audio Restoration", Springer 1998, ch. 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz

from ...signal.blocks import Samples
from ...signal.transforms import fast_length, irfft, rfft
from .. import params
from ..base import Enhancer, Kernel, StepKernel

_Array = NDArray[np.float64]

_HOP_S, _PAST_S, _AHEAD_S = 0.016, 0.032, 0.016
_NEAR_S, _FAR_S = 0.0015, 0.012
_QUANTILE = 0.9
_EDGE = 0.4  # where a click begins and ends, as a share of the threshold
_LEFT = 0.05  # energy of the residual that may be left
_PER_HOP = 12  # clicks mended in one hop
_ROUNDS = 2
_CORRECTION = 1e-9  # white noise that keeps the normal equations regular


@dataclass(frozen=True)
class Declick(Enhancer):
    """Finds clicks by linear prediction and interpolates them. See the module docstring.

    >>> Declick().stream(48000).latency_ms
    16.0
    """

    threshold: float = params.param(4.0, "sensitivity: smaller finds weaker clicks", low=2.0, high=50.0)
    longest_ms: float = params.param(2.0, "length of the longest click", low=0.1, high=4.0)

    name: ClassVar[str] = "declick"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The detector at a sample rate."""
        return _Mend(self, sample_rate, channels)


class _Mend(StepKernel):
    def __init__(self, settings: Declick, rate: int, channels: int) -> None:
        hop, ahead = round(_HOP_S * rate), round(_AHEAD_S * rate)
        super().__init__(channels, hop, ahead)
        self.settings = settings
        self.past = round(_PAST_S * rate)
        self.size = self.past + hop + ahead
        self.order = min(2 + 2 * rate // 1000, 40)
        self.longest = max(1, round(settings.longest_ms * rate / 1000.0))
        self.near, self.far = round(_NEAR_S * rate), round(_FAR_S * rate)
        self.window = np.sin(np.pi * (np.arange(self.size) + 0.5) / self.size) ** 2
        self.points = fast_length(self.size + self.order)

    def init(self) -> Any:
        return np.zeros((self.channels, self.size - self.granularity))

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        hop = self.granularity
        line = np.concatenate((state, x), axis=1)
        y = np.empty_like(x)
        for start in range(0, x.shape[1], hop):
            for channel in range(self.channels):
                # A view: what is mended here is the past of the next frame.
                self._mend(line[channel, start : start + self.size])
            y[:, start : start + hop] = line[:, start + self.past : start + self.past + hop]
        return y, line[:, x.shape[1] :].copy()

    def _mend(self, frame: _Array) -> None:
        """Mend, in place, the clicks that begin within the hop in the middle of the frame."""
        for _ in range(_ROUNDS):  # once mended, the model is better, and smaller clicks appear
            a = self._model(frame)
            if a is None or not self._sweep(frame, a):
                return

    def _model(self, frame: _Array) -> _Array | None:
        spectrum = rfft(frame * self.window, self.points)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        r = irfft(power.astype(np.complex128), self.points)[: self.order + 1]
        if not r[0] > 0.0:
            return None
        r = r / r[0]
        r[0] += _CORRECTION
        return np.concatenate(([1.0], -solve_toeplitz(r[:-1], r[1:])))

    def _residuals(self, frame: _Array, a: _Array) -> tuple[_Array, _Array]:
        """Magnitudes of the forward and backward residual; 0 where the frame does not reach."""
        forward, backward = np.zeros(self.size), np.zeros(self.size)
        forward[self.order :] = np.abs(np.convolve(frame, a, "valid"))
        backward[: -self.order] = np.abs(np.convolve(frame, a[::-1], "valid"))
        return forward, backward

    def _sweep(self, frame: _Array, a: _Array) -> bool:
        """One pass over the hop from left to right; whether anything was mended."""
        forward, backward = self._residuals(frame, a)
        mended = False
        position, end = self.past, self.past + self.granularity
        # No local scale can be so small that less than this is a click.
        lowest = self.settings.threshold * float(np.quantile(forward[self.order :], 0.5))
        for _ in range(_PER_HOP):
            over = np.flatnonzero(forward[position:end] > lowest)
            if not len(over):
                break
            gap = None
            for at in over + position:
                scale = self._scale(forward, backward, int(at))
                if forward[at] > self.settings.threshold * scale:
                    gap = self._extent(forward, backward, int(at), scale)
                    break
            if gap is None:
                break
            first, last = gap
            position = last + 1
            filled = self._fill(frame, a, first, last)
            trial = frame.copy()
            trial[first : last + 1] = filled
            reach = slice(first, min(last + 1 + self.order, self.size))
            after, back = self._residuals(trial, a)
            left = np.sum(np.square(after[reach])) / np.sum(np.square(forward[reach]))
            if left < _LEFT and np.max(after[reach]) <= self.settings.threshold * scale:
                frame[:] = trial
                forward, backward = after, back
                mended = True
        return mended

    def _scale(self, forward: _Array, backward: _Array, at: int) -> float:
        """The larger of the residuals' quantiles before and after, each from the side it is clean on."""
        before = forward[max(at - self.far, self.order) : at - self.near]
        after = backward[at + self.near : min(at + self.far, self.size - self.order)]
        return max(float(np.quantile(before, _QUANTILE)), float(np.quantile(after, _QUANTILE)))

    def _extent(self, forward: _Array, backward: _Array, at: int, scale: float) -> tuple[int, int]:
        """First and last sample of the click whose forward residual passed the threshold at ``at``."""
        edge = _EDGE * self.settings.threshold * scale
        first = at
        lowest = max(self.past, at - self.longest // 2)
        before = np.flatnonzero(forward[lowest:at] > edge)
        if len(before):
            first = lowest + int(before[0])
        after = np.flatnonzero(backward[at : first + self.longest] > edge)
        last = at + int(after[-1]) if len(after) else at
        return first, last

    def _fill(self, frame: _Array, a: _Array, first: int, last: int) -> _Array:
        """Least-squares samples of the gap; between the medians of its sides if there are none."""
        n, p = last - first + 1, self.order
        b = np.correlate(a, a, "full")[p:]
        column = np.zeros(n)
        column[: min(n, p + 1)] = b[:n]
        known = frame[first - p : last + p + 1].copy()
        known[p : p + n] = 0.0
        right = -np.convolve(known, np.concatenate((b[:0:-1], b)), "valid")
        column[0] *= 1.0 + _CORRECTION
        try:
            filled = np.asarray(solve_toeplitz(column, right))
        except np.linalg.LinAlgError:
            filled = np.full(n, np.inf)
        around = max(float(np.max(np.abs(known))), 1e-30)
        if not np.all(np.abs(filled) < 4.0 * around):
            left, other = (float(np.median(side)) for side in (known[p - 3 : p], known[p + n : p + n + 3]))
            filled = np.linspace(left, other, n)
        return filled
