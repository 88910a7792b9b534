"""Hum removal: finds the mains frequency, follows it, and subtracts its lines.

Hum is a comb of lines at k f_0, f_0 near 50 or 60 Hz, whose amplitudes and phases stand still for
seconds, unlike anything in speech. A fixed comb of notches takes bits of every voice whose
harmonics touch it and rings at each onset; here a line is *modelled* and subtracted, and only where
there is one.

Every 20 ms:

1. *Demodulation*, for both families F = 50 and 60 Hz and their harmonics, over the last 40 ms with a
   Hann window w: c_k = 2 / sum(w) sum w[n] x[n] exp(-j 2 pi k F n / f_s).
2. *Search* (while nothing is found). Over the last 3 s the magnitudes of c_k are limited to their
   median, so that seconds of hum outweigh moments of speech. An offset d in [-1, 1] Hz makes a
   comb stand still if the coherences

       C_k(d) = |mean_t c_k[t] exp(-j 2 pi k d t)|^2 / mean_t |c_k[t]|^2        (1: a line; 0: none)

   of the lowest twelve lines sum up to much more than noise would give (1/T each for T steps), one
   of the first three being clearly there. Then f_0 = F + d, and A_k is the median of the c_k made
   to stand still.
3. *Tracking*. Reference phases k phi advance with f_0. Each amplitude A_k is a leaky integral of what
   is left at its line after the subtraction,

       e = x - Re sum_k g_k A_k exp(j k phi),
       r_k = 2 / sum(w) sum w e exp(-j k phi),    A_k += (T / tau) r_k, T the step,

   a notch 1/(pi tau) wide for what stands still: tau is 2 s, and 0.3 s while r_k itself stands still.
   r_k is limited to twice its lower quartile over 3 s. That limit is what keeps the voice: a loud
   vowel that crosses a line hardly moves A_k, and leaves no tail. Where r_k has stood still for
   0.6 s, or cancels A_k, the hum itself has changed, or ended, and A_k is set anew at once. The common rotation of the
   A_k, weighted by power and k, steers a phase-locked loop (2.5 rad/s) for f_0.
4. *Gate*. g_k opens (50 ms) only where there is a line: |m|^2 must exceed twice the lower quartile of
   |z - m|^2, z the input's own phasors at the line over the last 3 s and m their median. When all
   gates have closed the search begins anew.

There is no latency, so hum is heard for the first 1 to 1.5 s, until it is found; it then goes within
0.1 s. A sung or played note that stays on the comb for seconds is hum to this method.
The faster the mains frequency drifts the more of the high harmonics survives.

References
    B. Widrow et al., "Adaptive noise cancelling: principles and applications", Proc. IEEE 63
    (1975); J. R. Glover, "Adaptive noise canceling applied to sinusoidal interferences", IEEE
    Trans. ASSP 25 (1977).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...signal.blocks import Samples
from .. import params
from ..base import Enhancer, Kernel, StepKernel

_Array = NDArray[np.float64]
_Phasors = NDArray[np.complex128]

_STEP_S = 0.02
_MEMORY = 150  # steps: 3 s
_FIRST = 40  # steps before the first search
_SEARCH_EVERY = 6
_GATE_EVERY = 5
_FAST_S, _SLOW_S = 0.3, 2.0
_LEAST_LIMIT = 0.02
_RECENT = 0.1
_STEADY = 0.5
_CHANGED_STEPS = 30
_GONE = 0.3
_FADE_STEPS = 3
_LOOP, _DAMPING = 2.5, 1.0  # phase-locked loop: natural frequency in radians per second
_LINES_OF_SEARCH = 12
_COARSE: _Array = np.linspace(-1.0, 1.0, 101)  # Hz
_FINE: _Array = np.linspace(-0.02, 0.02, 41)
_NOISE = 2.5  # coherence of noise, times the number of steps, and a margin
_FOUND = 0.5
_CLEAR = 0.3  # coherence that one of the first three lines must have
_OPEN, _SHUT = 2.0, 1.0


@dataclass(frozen=True)
class Dehum(Enhancer):
    """Subtracts mains hum and its harmonics, no latency. See the module docstring.

    >>> Dehum(mains="50").stream(48000).latency_samples
    0
    """

    mains: str = params.param("auto", "mains frequency in Hz", choices=("auto", "50", "60"))
    harmonics: int = params.param(20, "number of lines, the fundamental included", low=1, high=60)

    name: ClassVar[str] = "dehum"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The canceller at a sample rate."""
        families = (50.0, 60.0) if self.mains == "auto" else (float(self.mains),)
        return _Cancel(families, self.harmonics, sample_rate, channels)


class _Cancel(StepKernel):
    def __init__(self, families: tuple[float, ...], lines: int, rate: int, channels: int) -> None:
        hop = round(_STEP_S * rate)
        super().__init__(channels, hop)
        self.rate, self.families = rate, families
        self.lines = min(lines, int(0.45 * rate / max(families)))
        self.searched = min(self.lines, _LINES_OF_SEARCH)
        self.seconds = hop / rate
        window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)) ** 2
        self.window = window / np.sum(window)
        self.ramp = np.arange(1, hop + 1) / hop
        # Demodulators of the families relative to the middle of the window.
        middle = np.arange(-hop, hop) / rate
        k = np.arange(1, self.lines + 1)
        self.demodulators = [
            2.0 * self.window[:, np.newaxis] * np.exp(-2j * np.pi * f * middle[:, np.newaxis] * k)
            for f in families
        ]

    def init(self) -> Any:
        c, n, lines = self.channels, self.granularity, self.lines
        return {
            "steps": 0,
            "before": np.zeros((c, n)),  # the last step's samples
            "left": np.zeros((c, n)),  # and what was left of them
            "nominal": np.zeros((len(self.families), _MEMORY, c, lines), np.complex128),
            "frequency": 0.0,  # f_0; 0: not found
            "phase": 0.0,  # of f_0 at the begin of the next step, in turns
            "amplitude": np.zeros((c, lines), np.complex128),
            "applied": np.zeros((c, lines), np.complex128),  # g A at the end of the last step
            "open": np.zeros((c, lines), np.bool_),
            "gate": np.zeros((c, lines)),
            "seen": np.zeros((_MEMORY, c, lines), np.complex128),  # z, newest at (count - 1) % memory
            "residual": np.zeros((_MEMORY, c, lines)),  # |r|
            "mean": np.zeros((c, lines), np.complex128),  # of r, over the last steps
            "power": np.zeros((c, lines)),  # of |r|^2
            "steady": np.zeros((c, lines), np.int64),  # steps for which r has stood still
            "count": 0,
            "idle": 0,
        }

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        state = {key: v.copy() if isinstance(v, np.ndarray) else v for key, v in state.items()}
        y = np.empty_like(x)
        hop = self.granularity
        for start in range(0, x.shape[1], hop):
            part = x[:, start : start + hop]
            now = part.astype(np.float64)
            self._demodulate(now, state)
            if state["frequency"] == 0.0:
                y[:, start : start + hop] = part
                state["left"] = now
                if state["steps"] >= _FIRST and state["steps"] % _SEARCH_EVERY == 0:
                    self._search(state)
            else:
                y[:, start : start + hop] = self._cancel(now, state)
            state["before"] = now
        return y, state

    # -- finding ---------------------------------------------------------------------------------

    def _demodulate(self, now: _Array, state: dict[str, Any]) -> None:
        """The families' phasors, as of the begin of this step, in absolute phase."""
        joined = np.concatenate((state["before"], now), axis=1)
        joined -= (joined @ self.window)[:, np.newaxis]  # DC would leak into every line
        k = np.arange(1, self.lines + 1)
        slot = state["steps"] % _MEMORY
        for i, (family, demodulator) in enumerate(zip(self.families, self.demodulators, strict=True)):
            # Whole-number arithmetic: the phase is exact after any time.
            turn = k * (int(family) * state["steps"] * self.granularity % self.rate) % self.rate / self.rate
            state["nominal"][i, slot] = (joined @ demodulator) * np.exp(-2j * np.pi * turn)
        state["steps"] += 1

    def _history(self, state: dict[str, Any], family: int) -> tuple[_Phasors, _Array]:
        """Phasors of a family, magnitudes limited, oldest first ``(T, channels, lines)``; their times."""
        steps = min(state["steps"], _MEMORY)
        order = np.arange(state["steps"] - steps, state["steps"])
        c = state["nominal"][family][order % _MEMORY]
        size = np.abs(c)
        limit = np.median(size, axis=0)
        c = c * np.where(size > limit, limit / np.where(size > 0.0, size, 1.0), 1.0)
        return c, (order - order[-1]) * self.seconds

    def _coherence(self, c: _Phasors, times: _Array, offsets: _Array) -> _Array:
        """C_k(d), channels joined: ``(offsets, lines)``."""
        turn = np.exp(-2j * np.pi * offsets[:, np.newaxis] * times)
        power = np.sum(np.mean(np.square(np.abs(c)), axis=0), axis=0)
        out = np.zeros((len(offsets), self.searched))
        rotation = np.ones_like(turn)
        for k in range(self.searched):
            rotation = rotation * turn
            if power[k] > 0.0:
                mean = rotation @ c[:, :, k] / len(times)
                out[:, k] = np.sum(np.square(np.abs(mean)), axis=1) / power[k]
        return out

    def _search(self, state: dict[str, Any]) -> None:
        best = (0.0, 0, 0.0)
        for i in range(len(self.families)):
            c, times = self._history(state, i)
            coherence = self._coherence(c, times, _COARSE)
            total = np.sum(coherence, axis=1)
            at = int(np.argmax(total))
            clear = float(np.max(coherence[at, :3]))
            if total[at] > _FOUND + _NOISE * self.searched / len(times) and clear > _CLEAR:
                best = max(best, (float(total[at]), i, float(_COARSE[at])))
        score, i, offset = best
        if score == 0.0:
            return
        c, times = self._history(state, i)
        fine = np.sum(self._coherence(c, times, offset + _FINE), axis=1)
        offset += float(_FINE[int(np.argmax(fine))])
        family = int(self.families[i])
        state["frequency"] = family + offset
        # The next step begins one step after the newest phasor's moment, where phases are nominal.
        newest = state["steps"] - 1
        turn = (family * newest * self.granularity % self.rate) / self.rate
        state["phase"] = (turn + state["frequency"] * self.seconds) % 1.0
        k = np.arange(1, self.lines + 1)
        still = c * np.exp(-2j * np.pi * offset * times[:, np.newaxis] * k)[:, np.newaxis]
        amplitude = np.median(still.real, axis=0) + 1j * np.median(still.imag, axis=0)
        state["amplitude"] = amplitude
        count = len(times)
        state["seen"][:count] = still
        state["residual"][:count] = np.abs(still - amplitude)
        state["mean"][:] = 0.0
        state["power"][:] = 0.0
        state["steady"][:] = 0
        state["count"], state["idle"] = count, 0
        self._judge(state)

    # -- cancelling ------------------------------------------------------------------------------

    def _cancel(self, now: _Array, state: dict[str, Any]) -> Samples:
        hop, f = self.granularity, state["frequency"]
        turns = state["phase"] + f / self.rate * np.arange(-hop, hop)
        reference = np.cumprod(np.broadcast_to(np.exp(2j * np.pi * turns), (self.lines, 2 * hop)), axis=0)
        gate = state["gate"] + np.where(state["open"], 1.0, -1.0) / _FADE_STEPS
        state["gate"] = np.minimum(np.maximum(gate, 0.0), 1.0)
        applied = state["gate"] * state["amplitude"]
        present = reference[:, hop:]
        old, new = (state["applied"] @ present).real, (applied @ present).real
        state["applied"] = applied
        hum = old + (new - old) * self.ramp
        y = now - hum

        # What is left if every line were subtracted in full, also behind a closed gate.
        rest = now - (state["amplitude"] @ present).real
        both = np.concatenate((state["left"], rest), axis=1)
        both -= (both @ self.window)[:, np.newaxis]
        state["left"] = rest
        r = 2.0 * ((both * self.window) @ np.conj(reference).T)
        slot = state["count"] % _MEMORY
        state["seen"][slot] = state["amplitude"] + r
        size = np.abs(r)
        state["residual"][slot] = size
        state["count"] += 1
        filled = min(state["count"], _MEMORY)
        if slot % _GATE_EVERY == 0:
            self._judge(state)
        limit = 2.0 * np.quantile(state["residual"][:filled], 0.25, axis=0)
        limit = np.maximum(limit, _LEAST_LIMIT * np.abs(state["amplitude"]))
        state["mean"] = state["mean"] + _RECENT * (r - state["mean"])
        state["power"] = state["power"] + _RECENT * (np.square(size) - state["power"])
        steady = np.square(np.abs(state["mean"])) > _STEADY * state["power"]
        state["steady"] = np.where(steady, state["steady"] + 1, 0)
        # What stays for longer than any vowel, or leaves nothing where the line was, is the line itself.
        gone = np.abs(state["amplitude"] + state["mean"]) < _GONE * np.abs(state["amplitude"])
        free = (state["steady"] >= _CHANGED_STEPS) | (steady & gone)
        r = r * np.where(size > limit, limit / np.where(size > 0.0, size, 1.0), 1.0)
        change = self.seconds * np.where(steady, 1.0 / _FAST_S, 1.0 / _SLOW_S) * r
        change = np.where(free, state["mean"], change)
        state["steady"] = np.where(free, 0, state["steady"])
        for name in ("mean", "power"):
            state[name] = np.where(free, 0.0, state[name])
        k = np.arange(1, self.lines + 1)
        weight = np.where(state["open"], np.square(np.abs(state["amplitude"])), 0.0)
        mass = float(np.sum(weight * k * k))
        ahead = 0.0
        if mass > 0.0:
            # Phase of the fundamental, in radians, by which the comb runs ahead of the reference.
            spin = (r * np.conj(state["amplitude"])).imag
            ahead = float(np.sum(np.where(state["open"], spin * k, 0.0))) / mass
        state["amplitude"] = state["amplitude"] + change
        turn = f * self.seconds + 2.0 * _DAMPING * _LOOP * self.seconds * ahead / (2.0 * math.pi)
        state["phase"] = (state["phase"] + turn) % 1.0
        state["frequency"] = f + _LOOP * _LOOP * self.seconds * ahead / (2.0 * math.pi)
        state["idle"] = 0 if state["open"].any() else state["idle"] + 1
        if state["idle"] > _MEMORY // 3 and not state["gate"].any():
            state["frequency"] = 0.0
            state["applied"][:] = 0.0
        return y.astype(np.float32)

    def _judge(self, state: dict[str, Any]) -> None:
        """Which lines stand still."""
        filled = min(state["count"], _MEMORY)
        seen = state["seen"][:filled]
        middle = np.median(seen.real, axis=0) + 1j * np.median(seen.imag, axis=0)
        spread = np.quantile(np.square(np.abs(seen - middle)), 0.25, axis=0)
        power = np.square(np.abs(middle))
        needed = np.where(state["open"], _SHUT, _OPEN) * spread
        state["open"] = (power > needed) & (power > 0.0)
