r"""Removal of steady tones: each bin's line is followed with its phase, and subtracted.

A whistle, the beep of a machine, feedback, a transformer: a tone that holds turns in its bin by the same angle from
frame to frame, and so it can be averaged coherently over a second, which makes it known to a fraction of a hertz, and
subtracted with its phase. The voice in the same bin stays, where a gain or a notch would take both.

For each bin of frames of 32 ms every 8 ms, with a lag of m frames (48 ms) and leaky means over ``memory_s``; powers and
angles are those of all channels together, lines of each:

1. *Limit*. The mean of the magnitude's 0.3rd power, raised again, is a level that a loud syllable hardly moves; what
   exceeds four times that is limited to it: x.
2. *Turn*: R is the mean of :math:`x_t x_{t-m}^*` over a quarter of the memory, as pitches move; :math:`u = R / |R|`.
3. *Line*: :math:`L_t = a u L_{t-m} + (1 - a) x_t`, with a such that its mean is as long as the others; it is used
   once eight frames are in it.
4. *Gate*: of a tone and of what else lies in the bin the mean power is E, and the line is known up to a share b of
   that rest, b that of the last frame in its mean. With the coherence :math:`c = |L|^2 / E`, freed of what noise alone
   would have, :math:`g = c / (c + b (1 - c))` leaves the least error; below c = 0.3, which a voice may reach, it is 0,
   and from 0.5 on in full.
5. Out comes :math:`X - g L`, where the input is softer than the line with L as soft as it: a tone that has stopped is
   not sung on.

A tone that begins goes by 7 dB within a second, and by 18 within two, by default; one that moves by a tenth of a hertz
a second goes by 20 dB, by a third of a hertz by 11; faster ones, and those that beat, stay. A sung or played note that
is held for longer than a second, without vibrato, is a tone to this method. Where a tone ends within a frame, it
sounds on for 24 ms: 8 dB softer for the first 8 of them, 18 for the next, 33 for the last.

References
    B. Widrow et al., "Adaptive noise cancelling: principles and applications", Proc. IEEE 63 (1975): the adaptive line
    enhancer, of which this is a form in the frequency domain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...signal.stft import Frames, Spectrum, StftSpec
from .. import params
from ..base import Enhancer, Kernel, SpectralKernel

_LAG_S = 0.05  # after which a voice has changed
_POWER = 0.3
_LIMIT = 4.0
_SWIFT = 4.0  # how much shorter the memory of turns is
_FEWEST = 8  # frames in the mean of a line that is used
_TINY = 1e-12
_OPEN, _FULL = 0.3, 0.5  # coherence


@dataclass(frozen=True)
class Detone(Enhancer):
    """Subtracts steady tones, and leaves the voice under them. See the module docstring.

    >>> Detone().stream(16000).latency_ms
    24.0
    """

    memory_s: float = params.param(0.8, "over how long a tone is averaged, in seconds", low=0.2, high=10.0)
    highest_hz: float = params.param(8000.0, "tones above stay", low=500.0, high=24000.0)

    name: ClassVar[str] = "detone"

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The canceller at a sample rate."""
        return _Lines(self, StftSpec(window_ms=32.0, hop_ms=8.0).at(sample_rate), channels)


class _Lines(SpectralKernel):
    def __init__(self, settings: Detone, frames: Frames, channels: int) -> None:
        super().__init__(frames, channels)
        self.bins = int(np.searchsorted(frames.frequencies, settings.highest_hz, side="right"))
        hop_s = frames.hop / frames.sample_rate
        self.lag = max(1, round(_LAG_S / hop_s))
        self.fresh = 1.0 - math.exp(-hop_s / settings.memory_s)
        self.swift = 1.0 - math.exp(-_SWIFT * hop_s / settings.memory_s)
        self.share = 1.0 - (1.0 - self.fresh) ** self.lag  # of one frame in its line's mean

    def init_bins(self) -> Any:
        c, n = self.channels, self.bins
        return {
            "heard": np.zeros((self.lag, c, n), np.complex64),
            "line": np.zeros((self.lag, c, n), np.complex64),
            "turn": np.zeros(n, np.complex64),
            "level": np.zeros(n, np.float32),
            "energy": np.zeros(n, np.float32),
            "known": 0.0,  # the mean of ones
            "frames": 0,
        }

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        state = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in state.items()}
        y = spectrum.copy()
        for k in range(spectrum.shape[1]):
            y[:, k, : self.bins] -= self._line(spectrum[:, k, : self.bins], state)
        return y, state

    def _line(self, x: NDArray[np.complex64], state: dict[str, Any]) -> NDArray[np.complex64]:
        """What is to be subtracted from a frame ``(channels, bins)``; updates the state in place."""
        fresh, share = np.float32(self.fresh), np.float32(self.share)
        at, count = state["frames"] % self.lag, state["frames"] // self.lag + 1
        known = state["known"] + self.fresh * (1.0 - state["known"])
        whole = 1.0 - (1.0 - self.share) ** count  # the mean of ones of a line
        level, energy, turn = state["level"], state["energy"], state["turn"]
        power = np.sum(np.square(x.real) + np.square(x.imag), 0) + np.float32(_TINY)
        level += fresh * (power ** np.float32(_POWER / 2) - level)
        usual = (level / np.float32(known)) ** np.float32(2 / _POWER)
        limit = np.minimum(np.float32(1.0), np.sqrt(np.float32(_LIMIT**2) * usual / power))
        limited = x * limit
        heard, line = state["heard"][at], state["line"][at]
        turn += np.float32(self.swift) * (np.sum(limited * heard.conj(), 0) - turn)
        energy += fresh * (power * limit * limit - energy)
        way = turn / (np.abs(turn) + np.float32(_TINY))
        line *= (np.float32(1.0) - share) * way
        line += share * limited
        heard[...] = limited
        state["frames"], state["known"] = state["frames"] + 1, known
        if count < _FEWEST:
            return np.zeros_like(x)
        found, share = line / np.float32(whole), np.float32(self.share / whole)
        square = np.sum(np.square(found.real) + np.square(found.imag), 0)
        c = square * np.float32(known) / (energy + np.float32(_TINY))
        c = np.clip((c - share) / (np.float32(1.0) - share), 0.0, 1.0)
        gate = c / (c + share * (np.float32(1.0) - c) + np.float32(_TINY))
        gate *= np.clip((c - np.float32(_OPEN)) / np.float32(_FULL - _OPEN), 0.0, 1.0)
        # A tone that has stopped must not be sung on.
        gate *= np.minimum(np.float32(1.0), np.sqrt(power / (square + np.float32(_TINY))))
        return gate * found
