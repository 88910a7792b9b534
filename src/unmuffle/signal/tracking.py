r"""Where the talkers are now: directions followed in time, block by block.

The votes of :mod:`~unmuffle.signal.direction` fade with a time constant of ``memory_s``; every 64 ms the peaks of
what is left are matched to the tracks there are, the nearest first (within 25 degrees), and a track moves towards
its peak by first-order smoothing,

.. math:: \theta \leftarrow \theta + (1 - e^{-\Delta / \tau}) \, (\hat\theta - \theta),

the short way round the circle. A peak without a track starts one, if there are fewer than ``talkers``; a track that
has had no votes for ``lost_s`` ends. In pauses a track stays where it is.

A zone is loud when it is louder than the running mean, over 2 s, of the logarithm of its band's energy: with a
whole file at hand, :func:`~unmuffle.signal.direction.find_directions` uses the median instead.

Shorter memory follows faster movement and jumps more. With one second, a talker who walks around the array in 20
seconds is followed within about 10 degrees.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from .arrays import ArrayGeometry
from .blocks import as_block
from .direction import APART_DEG, SPEC, ZONE_FRAMES, Talker, Votes, ZoneVotes, check_talkers, living, pick_talkers
from .steering import TEMPERATURE_C
from .stft import StreamingStft

_LEVEL_S = 2.0
_LEAST_SHARE = 0.15  # of the fading votes: below, a peak starts no track of its own


class Track(NamedTuple):
    """A talker who is followed."""

    number: int
    """The same for as long as the track lasts."""
    azimuth_deg: float
    elevation_deg: float
    heard_s: float
    """When it last had a vote."""


class Fix(NamedTuple):
    """The talkers at one time."""

    time_s: float
    """End of the stretch of sound that was heard."""
    tracks: tuple[Track, ...]


class DirectionTracker:
    """Follows up to ``talkers`` directions in a stream of blocks of any size.

    Args:
        array: the microphones.
        sample_rate: in Hz.
        talkers: the most that are followed at a time.
        method: ``srp-phat`` or ``music``.
        memory_s: time constant with which votes fade.
        smoothing_s: time constant of a track.
        lost_s: a track without votes for so long ends.
        temperature_c: of the air.
    """

    def __init__(
        self,
        array: ArrayGeometry,
        sample_rate: int,
        talkers: int = 1,
        *,
        method: str = "srp-phat",
        memory_s: float = 1.0,
        smoothing_s: float = 0.2,
        lost_s: float = 5.0,
        temperature_c: float = TEMPERATURE_C,
    ) -> None:
        check_talkers(talkers)
        for name, value in (("memory_s", memory_s), ("smoothing_s", smoothing_s), ("lost_s", lost_s)):
            if not 0.0 < value < math.inf:
                raise ParameterError(f"{name} = {value!r}; give seconds above 0")
        self.array, self.sample_rate, self.talkers = array, sample_rate, talkers
        self.memory_s, self.smoothing_s, self.lost_s = memory_s, smoothing_s, lost_s
        self._zones = ZoneVotes(array, sample_rate, method, temperature_c)
        self.step_s = ZONE_FRAMES * self._zones.frames.hop / sample_rate
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        self._stft = StreamingStft(SPEC, self.sample_rate, len(self.array))
        self._waiting = np.zeros((len(self.array), 0, self._zones.frames.bins), np.complex64)
        self._votes = Votes(*(np.zeros(0) for _ in range(5)))
        self._log_level: NDArray[np.float64] | None = None
        self._tracks: list[Track] = []
        self._heard, self._made = 0, 0

    def snapshot(self) -> dict[str, Any]:
        """A copy of the whole state."""
        names = ("_stft", "_waiting", "_votes", "_log_level", "_tracks", "_heard", "_made")
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`snapshot` returned."""
        for name, value in state.items():
            setattr(self, name, copy.deepcopy(value))

    def process(self, block: Any) -> list[Fix]:
        """Take ``(microphones, n)`` samples, return a fix for each 64 ms that are complete."""
        spectra = self._stft.forward(as_block(block, len(self.array)))
        self._waiting = np.concatenate((self._waiting, spectra), axis=1)
        fixes = []
        while self._waiting.shape[1] >= ZONE_FRAMES:
            fixes.append(self._step(self._waiting[:, :ZONE_FRAMES]))
            self._waiting = self._waiting[:, ZONE_FRAMES:]
        return fixes

    def _step(self, spectra: NDArray[np.complex64]) -> Fix:
        self._heard += 1
        now = self._heard * self.step_s
        energy, zones = self._zones.cut(spectra)
        log = np.log(energy[0] + 1e-9)
        if self._log_level is None:
            self._log_level = log
        else:
            self._log_level = self._log_level + (1.0 - math.exp(-self.step_s / _LEVEL_S)) * (log - self._log_level)
        fresh, _ = self._zones.vote(energy, zones, np.exp(self._log_level), now - self.step_s)
        fade = math.exp(-self.step_s / self.memory_s)
        old = self._votes._replace(weight=self._votes.weight * fade)
        kept = old.weight > 1e-3
        self._votes = Votes(*(np.concatenate((a[kept], b)) for a, b in zip(old, fresh, strict=True)))
        if fresh.weight.size:
            self._match(pick_talkers(self._votes, self._zones.grid, self.talkers), now)
        self._tracks = [t for t in self._tracks if now - t.heard_s <= self.lost_s]
        return Fix(now, tuple(self._tracks))

    def _match(self, found: tuple[Talker, ...], now: float) -> None:
        pairs = sorted(
            (abs(_short_way(peak.azimuth_deg - track.azimuth_deg)), i, j)
            for i, track in enumerate(self._tracks)
            for j, peak in enumerate(found)
        )
        moved, used = set(), set()
        share = 1.0 - math.exp(-self.step_s / self.smoothing_s)
        for apart, i, j in pairs:
            if apart > APART_DEG or i in moved or j in used:
                continue
            track, peak = self._tracks[i], found[j]
            azimuth = (track.azimuth_deg + share * _short_way(peak.azimuth_deg - track.azimuth_deg)) % 360.0
            elevation = track.elevation_deg + share * (peak.elevation_deg - track.elevation_deg)
            self._tracks[i] = Track(track.number, azimuth, elevation, now)
            moved.add(i)
            used.add(j)
        for j, peak in enumerate(found):
            if j in used or peak.share < _LEAST_SHARE:
                continue
            if len(self._tracks) >= self.talkers:
                # Somebody else talks now: the track that has been silent longest makes room.
                oldest = min(range(len(self._tracks)), key=lambda i: self._tracks[i].heard_s)
                if oldest in moved:
                    continue
                self._tracks.pop(oldest)
                moved = {i - (i > oldest) for i in moved}
            self._tracks.append(Track(self._made, peak.azimuth_deg, peak.elevation_deg, now))
            moved.add(len(self._tracks) - 1)
            self._made += 1


def _short_way(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0


def track_directions(
    x: Any, sample_rate: int, array: ArrayGeometry, talkers: int = 1, **options: Any
) -> list[Fix]:
    """Fixes of a whole recording ``(microphones, samples)``, one each 64 ms; options as of the tracker.

    Dead channels are left out.
    """
    signal, array = living(as_block(x), array)
    return DirectionTracker(array, sample_rate, talkers, **options).process(signal)
