"""Loudness normalisation: a whole signal to a target in LUFS, true peaks kept below a ceiling.

Two passes, as EBU R 128 means it: the integrated loudness of the *whole* signal is measured
(:class:`~unmuffle.signal.loudness.LoudnessMeter`), then one gain for all of it is applied,
gain = target - loudness, and the :mod:`.limiter` takes the peaks that would pass the ceiling. Where
limiting costs loudness the gain is raised and the passes repeated, up to the limits given.

The measurement needs the end of the signal, so the latency is unbounded and live use is refused: a
gain that follows the sound causally is another thing, see :mod:`.agc`. A file of any length can be
done in constant memory with the same parts: one pass through a ``LoudnessMeter``, a second one
with the gain and a ``Limiter`` stream.

Digital silence, and a signal in which no block reaches -70 LUFS, is left as it is. By purpose the
output's level does not depend on that of the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...signal.blocks import Samples
from ...signal.loudness import LoudnessMeter
from .. import params
from ..base import Enhancer, Kernel, WholeKernel
from .limiter import Limiter

_CLOSE_LU = 0.02
_ROUNDS = 6
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Loudness(Enhancer):
    """EBU R 128 normalisation of a whole signal. See the module docstring."""

    target_lufs: float = params.param(-23.0, "integrated loudness of the result", low=-50.0, high=-5.0)
    ceiling_dbtp: float = params.param(-1.0, "highest true peak", low=-30.0, high=0.0)
    max_gain_db: float = params.param(40.0, "the signal is raised by no more", low=0.0, high=80.0)
    max_limiting_db: float = params.param(
        6.0, "peaks may be limited by no more; a lower loudness is accepted instead", low=0.0, high=20.0
    )

    name: ClassVar[str] = "loudness"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The two passes for one signal."""
        return _Normalise(self, sample_rate, channels)


class _Normalise(WholeKernel):
    def __init__(self, settings: Loudness, rate: int, channels: int) -> None:
        super().__init__(channels)
        self.settings, self.rate = settings, rate

    def run(self, x: Samples) -> Samples:
        loudness, peak = self._measure(x)
        if not np.isfinite(loudness):
            return x.copy()
        settings = self.settings
        highest = min(settings.max_gain_db, settings.ceiling_dbtp + settings.max_limiting_db - peak)
        gain = min(settings.target_lufs - loudness, highest)
        for _ in range(_ROUNDS):
            y = self._limit(x * np.float32(10.0 ** (gain / 20.0)))
            missing = settings.target_lufs - self._measure(y)[0]
            if missing <= _CLOSE_LU or gain >= highest:
                break
            gain = min(gain + missing, highest)
        return y

    def _measure(self, x: Samples) -> tuple[float, float]:
        meter = LoudnessMeter(self.rate, self.channels)
        for i in range(0, x.shape[1], _BLOCK):
            meter.push(x[:, i : i + _BLOCK])
        return meter.integrated(), meter.true_peak_db()

    def _limit(self, x: Samples) -> Samples:
        limiter = Limiter(ceiling_dbtp=self.settings.ceiling_dbtp).kernel(self.rate, self.channels)
        parts = [limiter.push(x[:, i : i + _BLOCK]) for i in range(0, x.shape[1], _BLOCK)]
        return np.concatenate((*parts, limiter.finish()), axis=1)[:, limiter.latency_samples :]
