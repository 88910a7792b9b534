"""Automatic gain: brings a talker slowly to a wished level, and leaves pauses alone.

Every 10 ms the power of the signal above 80 Hz is measured, summed up over the channels, and judged:

* *noise floor* F: follows the power down within 50 ms and creeps up by 1.5 dB a second, so that it
  rests on the pauses;
* *speech*: the power lies 8 dB or more above the floor, no more than 20 dB below the level found so
  far, and above -65 dBFS;
* *level* L: mean power over speech alone, of all of it in the first ``memory_s`` seconds, with a
  time constant of ``memory_s`` thereafter. When as much speech as that has been more than 20 dB
  below it, with nothing louder between, a new level is begun.

The gain in dB aims at ``target_dbfs - L``, within ``[-max_cut_db, max_boost_db]``, and moves at no more
than ``rate_db_per_s`` (twice as fast downwards), and *only while there is speech*: in pauses it
stands still, so noise does not swell ("pumping"). Until 0.3 s of speech have been heard nothing
changes. One talker after another is evened out within a few seconds; the dynamics within a sentence
stay as they are: this is no compressor.

Peaks: the signal is delayed by one step, and a gain that would lift the coming step's peak above
-1 dBFS is taken back in time, and rises from there as slowly as ever (a peak that was above
-1 dBFS before any gain is no reason to attenuate).

By purpose the output's level does not follow that of the input. It cannot tell speech from other
sounds that come and go, and noise less than 8 dB below the voice hides the pauses from it: put it
behind noise reduction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...signal.blocks import Samples
from ...signal.sections import filtered, high_pass
from .. import params
from ..base import Enhancer, Kernel, StepKernel

_STEP_S = 0.01
_LOWEST_DBFS = -65.0
_ABOVE_FLOOR_DB = 8.0
_BELOW_LEVEL_DB = 20.0
_FLOOR_RISE_DB_PER_S = 1.5
_FLOOR_FALL_S = 0.05
_FIRST_SPEECH_S = 0.3
_PEAK = 10.0 ** (-1.0 / 20.0)
_TINY = 1e-14


@dataclass(frozen=True)
class Agc(Enhancer):
    """Slow, speech-gated gain, one for all channels. See the module docstring.

    >>> Agc().stream(16000).latency_ms
    10.0
    """

    target_dbfs: float = params.param(-23.0, "level of speech in the result", low=-50.0, high=-10.0)
    max_boost_db: float = params.param(24.0, "highest gain", low=0.0, high=60.0)
    max_cut_db: float = params.param(24.0, "strongest attenuation", low=0.0, high=60.0)
    rate_db_per_s: float = params.param(6.0, "fastest rise of the gain", low=0.5, high=60.0)
    memory_s: float = params.param(3.0, "speech over which the level is averaged", low=0.5, high=60.0)

    name: ClassVar[str] = "agc"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The gain at a sample rate."""
        return _Gain(self, sample_rate, channels)


class _Gain(StepKernel):
    def __init__(self, settings: Agc, rate: int, channels: int) -> None:
        hop = round(_STEP_S * rate)
        super().__init__(channels, hop, hop)
        self.settings = settings
        self.sections = high_pass(2, 80.0, rate)
        self.seconds = hop / rate
        self.rise = settings.rate_db_per_s * self.seconds
        self.memory = math.exp(-self.seconds / settings.memory_s)
        self.ramp = np.arange(1, hop + 1) / hop

    def init(self) -> Any:
        return {
            "filter": np.zeros((len(self.sections), self.channels, 2)),
            "delayed": np.zeros((self.channels, self.granularity), np.float32),
            "floor": math.inf,  # power in dB
            "speech_s": 0.0,
            "power": 0.0,  # mean power over speech
            "gain_db": 0.0,
            "gain": 1.0,  # as reached at the end of the last step
            "quiet_s": 0.0,  # speech far below the level found
        }

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        state = dict(state)
        hop, steps = self.granularity, x.shape[1] // self.granularity
        weighted, state["filter"] = filtered(self.sections, x, state["filter"])
        line = np.concatenate((state["delayed"], x), axis=1)
        state["delayed"] = line[:, x.shape[1] :].copy()
        y = np.empty_like(x)
        for k in range(steps):
            now = slice(k * hop, (k + 1) * hop)
            coming = line[:, (k + 1) * hop : (k + 2) * hop]
            part = np.ascontiguousarray(weighted[:, now])  # one layout, hence one order of summation
            self._listen(float(np.mean(np.square(part))), state)
            gain = 10.0 ** (state["gain_db"] / 20.0)
            peak = float(max(np.max(np.abs(line[:, now])), np.max(np.abs(coming))))
            if gain > 1.0 and gain * peak > _PEAK:
                gain = max(1.0, _PEAK / peak)
                state["gain_db"] = 20.0 * math.log10(gain)  # from here it rises slowly again
            # The delayed step leaves on a ramp that has arrived when the step just heard begins.
            curve = state["gain"] + (gain - state["gain"]) * self.ramp
            y[:, now] = line[:, now] * curve.astype(np.float32)
            state["gain"] = gain
        return y, state

    def _listen(self, power: float, state: dict[str, Any]) -> None:
        """One step of the floor, the level and the wished gain."""
        level = 10.0 * math.log10(power + _TINY)
        floor = state["floor"]
        if level < floor:
            share = math.exp(-self.seconds / _FLOOR_FALL_S) if floor < math.inf else 0.0
            floor = level + (share * (floor - level) if share else 0.0)
        else:
            floor = min(level, floor + _FLOOR_RISE_DB_PER_S * self.seconds)
        state["floor"] = floor
        known = state["speech_s"] >= _FIRST_SPEECH_S
        found = 10.0 * math.log10(state["power"] + _TINY)
        if level < max(_LOWEST_DBFS, floor + _ABOVE_FLOOR_DB):
            return
        if known and level < found - _BELOW_LEVEL_DB:
            state["quiet_s"] += self.seconds
            if state["quiet_s"] > self.settings.memory_s:  # a far quieter talker: begin anew
                state.update(speech_s=0.0, power=0.0, quiet_s=0.0)
            return
        state["quiet_s"] = 0.0
        state["speech_s"] += self.seconds
        share = max(self.seconds / state["speech_s"], 1.0 - self.memory)
        state["power"] += share * (power - state["power"])
        if state["speech_s"] < _FIRST_SPEECH_S:
            return
        wished = self.settings.target_dbfs - 10.0 * math.log10(state["power"] + _TINY)
        wished = min(max(wished, -self.settings.max_cut_db), self.settings.max_boost_db)
        change = min(max(wished - state["gain_db"], -2.0 * self.rise), self.rise)
        state["gain_db"] += change
