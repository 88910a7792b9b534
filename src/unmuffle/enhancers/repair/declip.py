"""Declipping: rebuilds the tops of a waveform that was cut off at a level.

Detection, per channel and per sign
    A converter or a limiter that clips leaves *flat tops at the extreme level of the signal*. A
    level c is taken for a clipping level if c is the largest value in view (64 ms of history and the
    look-ahead) and stretches of n samples within ``tolerance`` of c are flatter than any smooth peak
    could be. With the slopes g_l and g_r just outside such a stretch a smooth waveform, a parabola,
    would have risen above it by

        (g_l + g_r) / 2 * (n + 1) / 4;

    a stretch counts if that is more than 3 ``tolerance`` c. Two of them are needed, or a single
    one of 0.3 ms. Where c is less than 100 quantisation steps of the samples nothing is concluded:
    quiet 16-bit audio is all flat tops. A level is remembered until a sample exceeds it by more
    than the tolerance, and while it holds *every* sample at it counts as clipped.

Restoration: A-SPADE (analysis sparsity, Kitic et al.)
    Of all waveforms that agree with the reliable samples exactly and lie at or beyond the level
    where the tops were cut (the set Gamma), find the one whose spectrum is sparsest: voiced speech
    and music are few lines. On frames of 48 ms, window w, with A the twice oversampled DFT, and
    z, u the sparse spectrum and the dual variable of ADMM, for k = s, 2s, 3s, ...

        z = the k largest bins of A x + u, the others 0
        x = projection of A^-1 (z - u) onto Gamma       (a limitation, sample by sample)
        stop if |A x - z| <= epsilon |x_0|;    u = u + A x - z

    Frames overlap by three quarters and are added with w^2. Only clipped samples are replaced; all
    others come out bit-identical, so clean input passes unchanged and costs next to nothing.

Limits
    The result exceeds the clipping level, usually by 2 to 10 dB, so full-scale input comes out
    above 1.0: lower the level (or use ``limiter``) before writing integers. Clipping that was
    filtered, resampled or coded afterwards has no flat tops: raise ``tolerance`` (0.02) if they
    still touch one level, or give ``level`` by hand. What was lost in longer stretches than about
    a period of the voice is guessed. Clipping of the noise of /s/ is not improved.

References
    S. Kitic, N. Bertin, R. Gribonval, "Sparsity and cosparsity for audio declipping: a flexible
    non-convex approach", LVA/ICA 2015. P. Zaviska, P. Rajmic, A. Ozerov, L. Rencker, "A survey and
    an extensive evaluation of popular audio declipping methods", IEEE JSTSP 15 (2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...signal.blocks import Samples
from ...signal.transforms import irfft, rfft
from .. import params
from ..base import Enhancer, Kernel, StepKernel

_Array = NDArray[np.float64]
_Mask = NDArray[np.bool_]

_FRAME_S = 0.048
_OVERLAP = 4
_WINDOW_SUM = 1.5  # sum of the squared Hann windows at an overlap of four
_HISTORY_S = 0.064
_LONG_S = 0.0003
_FLATNESS = 3.0
_STEPS = 100.0
_EQUAL = 2e-7  # float32 rounding
_HIGHEST = 100.0  # a top is not raised by more than this factor
_BATCH = 64  # frames restored together


@dataclass(frozen=True)
class Declip(Enhancer):
    """Finds clipped samples and restores them by sparsity (A-SPADE). See the module docstring.

    >>> Declip().stream(16000).latency_ms
    76.0
    """

    level: float = params.param(0.0, "clipping level, 0 = find it", low=0.0, high=100.0)
    tolerance: float = params.param(0.002, "flatness of a clipped top, relative", low=0.0, high=0.1)
    lookahead_ms: float = params.param(40.0, "sound in view beyond the frame", low=0.0, high=500.0)
    accuracy: float = params.param(0.05, "stop at this relative misfit", low=0.001, high=0.5)

    name: ClassVar[str] = "declip"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The restoration at a sample rate."""
        return _Restore(self, sample_rate, channels)


class _Restore(StepKernel):
    def __init__(self, settings: Declip, rate: int, channels: int) -> None:
        hop = round(_FRAME_S * rate / _OVERLAP)
        self.ahead = round(settings.lookahead_ms * rate / 1000.0)
        self.size = hop * _OVERLAP
        super().__init__(channels, hop, self.size - hop + self.ahead)
        self.settings = settings
        self.past = round(_HISTORY_S * rate)
        self.long = max(3, round(_LONG_S * rate))
        # Bins let in per round: about as many at any rate in proportion to the bins there are.
        self.grow = max(1, round(rate / 16000))
        self.window = np.sin(np.pi * (np.arange(self.size) + 0.5) / self.size) ** 2

    def init(self) -> Any:
        return {
            # What detection can see, oldest first: history, the hop to be judged, look-ahead.
            "view": np.zeros((self.channels, self.past + self.ahead), np.float32),
            # Of tops and bottoms: the level, and what is clipped (from there on); inf: not known.
            "levels": np.full((self.channels, 2, 2), np.inf),
            # What is judged and not complete: samples, which are clipped, sum of restored frames.
            "samples": np.zeros((self.channels, self.size - self.granularity), np.float32),
            "clipped": np.zeros((self.channels, self.size - self.granularity), np.bool_),
            "total": np.zeros((self.channels, self.size - self.granularity)),
        }

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        hop, n, size = self.granularity, x.shape[1], self.size
        view = np.concatenate((state["view"], x), axis=1)
        levels = state["levels"].copy()
        judged = view[:, self.past : self.past + n]
        clipped = np.zeros(judged.shape, np.bool_)
        for channel in range(self.channels):
            for start in range(0, n, hop):
                scene = view[channel, start : start + self.past + hop + self.ahead]
                clipped[channel, start : start + hop] = self._judge(scene, levels[channel])

        samples = np.concatenate((state["samples"], judged), axis=1)
        marks = np.concatenate((state["clipped"], clipped), axis=1)
        total = np.concatenate((state["total"], np.zeros(judged.shape)), axis=1)
        frames = [
            (channel, start)
            for channel in range(self.channels)
            if marks[channel].any()
            for start in range(0, n, hop)
            if marks[channel, start : start + size].any()
        ]
        for i in range(0, len(frames), _BATCH):
            batch = frames[i : i + _BATCH]
            cut = np.array([samples[c, s : s + size] for c, s in batch], np.float64)
            restored = self._restore(cut, np.array([marks[c, s : s + size] for c, s in batch]))
            for (c, s), frame in zip(batch, restored, strict=True):
                total[c, s : s + size] += frame * self.window
        y = samples[:, :n].copy()
        done = marks[:, :n]
        if done.any():
            observed = y[done].astype(np.float64)
            # Beyond the level, on its side of it: the frames' mean is, but for rounding.
            sign = np.sign(observed)
            magnitude = np.maximum(total[:, :n][done] / _WINDOW_SUM * sign, np.abs(observed))
            y[done] = (sign * magnitude).astype(np.float32)
        return y, {
            "view": view[:, n:].copy(),
            "levels": levels,
            "samples": samples[:, n:].copy(),
            "clipped": marks[:, n:].copy(),
            "total": total[:, n:].copy(),
        }

    # -- detection -------------------------------------------------------------------------------

    def _judge(self, scene: Samples, levels: _Array) -> _Mask:
        """Which samples of the hop are clipped; updates the levels of tops and bottoms."""
        now = scene[self.past : self.past + self.granularity]
        if self.settings.level > 0.0:
            return np.abs(now) >= self.settings.level * (1.0 - self.settings.tolerance)
        tolerance = self.settings.tolerance
        top, bottom = float(np.max(scene)), -float(np.min(scene))
        out = np.zeros(now.shape, np.bool_)
        for side, highest in enumerate((top, bottom)):
            if highest > levels[side, 0] * (1.0 + tolerance):
                levels[side] = np.inf
            if 0.0 < highest < levels[side, 0] * (1.0 - tolerance):
                lowest = self._cut(scene if side == 0 else -scene, highest)
                if lowest is not None:
                    levels[side] = highest, lowest
            if levels[side, 0] < np.inf:
                out |= (now if side == 0 else -now) >= levels[side, 1]
        return out

    def _cut(self, values: Samples, level: float) -> float | None:
        """If the waveform was cut off at its largest value in view: from what value on it is cut."""
        tolerance = self.settings.tolerance
        at = values >= level * (1.0 - tolerance)
        if np.count_nonzero(at) < 3:
            return None
        edges = np.flatnonzero(np.diff(at))  # the last sample before each change
        if at[0]:
            edges = edges[1:]
        first, last = edges[: len(edges) // 2 * 2 : 2] + 1, edges[1::2]
        inside = (first >= 2) & (last < len(values) - 2) & (last > first)
        first, last = first[inside], last[inside]
        if not len(first):
            return None
        v = values.astype(np.float64)
        rise, fall = v[first - 1] - v[first - 2], v[last + 1] - v[last + 2]
        length = last - first + 1
        height = 0.5 * (rise + fall) * (length + 1) / 4.0
        flat = (height > _FLATNESS * tolerance * level) & (rise > 0.0) & (fall > 0.0)
        found = int(np.count_nonzero(flat))
        if not found or (found < 2 and not np.any(length[flat] >= self.long)):
            return None
        steps = np.diff(np.sort(v))
        steps = steps[steps > 0.0]
        if not len(steps) or level < _STEPS * np.min(steps):
            return None
        # The tops' own spread, not the tolerance, says what belongs to them: where they are all equal
        # a sample just below is a sample, not a top.
        inner = np.concatenate([v[a : b + 1] for a, b in zip(first[flat], last[flat], strict=True)])
        spread = max(2.0 * (level - float(np.quantile(inner, 0.25))), _EQUAL * level)
        return level - min(spread, tolerance * level)

    # -- restoration -----------------------------------------------------------------------------

    def _restore(self, frames: _Array, clipped: _Mask) -> _Array:
        """A-SPADE on windowed frames ``(count, size)``; returns them windowed."""
        points = 2 * self.size
        x = frames * self.window
        low = np.where(clipped, np.minimum(x, _HIGHEST * x), x)
        high = np.where(clipped, np.maximum(x, _HIGHEST * x), x)
        stop = self.settings.accuracy * np.sqrt(points * np.sum(np.square(x), axis=1))
        result = x.copy()
        active = np.arange(len(x))
        spectrum = rfft(x, points)
        dual = np.zeros_like(spectrum)
        bins = points // 2 + 1
        kept = self.grow
        while len(active):
            sum_ = spectrum + dual
            power = np.square(sum_.real) + np.square(sum_.imag)
            least = np.partition(power, bins - kept, axis=1)[:, bins - kept]
            sparse = np.where(power >= least[:, np.newaxis], sum_, 0.0)
            x = irfft(sparse - dual, points)[:, : self.size]
            x = np.clip(x, low[active], high[active])
            spectrum = rfft(x, points)
            misfit = spectrum - sparse
            error = np.sqrt(2.0 * np.sum(np.square(misfit.real) + np.square(misfit.imag), axis=1))
            result[active] = x
            going = error > stop[active]
            kept += self.grow
            if kept >= bins:
                break
            active = active[going]
            dual = (dual + misfit)[going]
            spectrum = spectrum[going]
        return result
