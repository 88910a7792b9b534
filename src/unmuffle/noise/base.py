r"""What every noise tracker keeps: one frame of power in, one noise power spectrum out.

A tracker estimates, bin by bin, the power spectral density (PSD) of the noise under the speech,

.. math:: \lambda_D(k, l) = E\{|D(k, l)|^2\},

from ``P(k, l) = |X(k, l)|^2``, the power of the noisy spectrum in bin ``k`` of frame ``l``. Both are
on the same scale, that of :meth:`~unmuffle.signal.stft.Frames.forward`; multiply with
:attr:`~unmuffle.signal.stft.Frames.power_scale` to get the variance of white noise.

A tracker is an immutable set of parameters; what it has heard lives in a state that the caller
holds::

    tracker = MmseSpp()
    state = tracker.init(frames, channels)
    for power in frames_of_power:              # each (channels, bins) float32
        noise = tracker.step(power, state)     # (channels, bins) float32, valid until the next step

One frame at a time, so the estimate cannot depend on how a signal is cut into blocks.

Level
-----
No tracker has an absolute threshold: a signal that is louder by ``g`` gives an estimate that is
larger by ``g^2``. The one absolute number is :data:`SILENCE_DBFS`: power below it counts as digital
silence, which says nothing about the noise of a microphone. The estimate is held through it, and
never falls below it, so that dividing by the estimate is always safe.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError, ShapeError
from ..signal.stft import Frames

Power: TypeAlias = NDArray[np.float32]
"""float32 power of one frame, shape ``(channels, bins)``."""

SILENCE_DBFS: Final = -160.0
"""Power (of white noise with this RMS level) at and below which a bin counts as digital silence.

16 dB below the rounding noise of 24-bit samples; still far above the denormal numbers of float32.
"""


@dataclass(frozen=True)
class NoiseTracker(abc.ABC):
    """A method that follows the power spectrum of the noise. Subclasses are frozen dataclasses."""

    name: ClassVar[str]

    @abc.abstractmethod
    def init(self, frames: Frames, channels: int) -> Any:
        """Return a new state: plain containers of arrays and numbers, to be handed to :meth:`step`."""

    @abc.abstractmethod
    def step(self, power: Power, state: Any) -> Power:
        """Hear one frame.

        Args:
            power: ``|X|^2``, ``(channels, bins)`` float32; it is not changed.
            state: from :meth:`init`; updated in place.

        Returns:
            The noise PSD ``(channels, bins)``. The array belongs to the state: it is valid until the
            next step, and the caller must not write into it.
        """

    def joins(self, state: Any) -> bool:
        """May a state of one channel be joined with others, so that a frame of several streams is heard in one step?"""
        return False

    learnt: ClassVar[tuple[str, ...]] = ()
    """The arrays ``(channels, bins)`` of a state that :meth:`joins` allows in which all is that it has learnt."""

    def join(self, state: Any, learnt: Sequence[Power]) -> Any:
        """A state of as many channels as ``learnt`` has, which are updated in place; the rest as in ``state``."""
        raise NotImplementedError(f"{self.name} joins no states")

    def track(self, power: NDArray[np.float32], frames: Frames) -> NDArray[np.float32]:
        """The estimate for every frame of a whole signal.

        Args:
            power: ``(channels, frames, bins)``.
            frames: what the spectrum was made with.

        Returns:
            An array of the same shape.
        """
        if power.ndim != 3 or power.shape[2] != frames.bins:
            raise ShapeError(f"power must be (channels, frames, {frames.bins}), got shape {power.shape}")
        state = self.init(frames, power.shape[0])
        out = np.empty(power.shape, np.float32)
        for i in range(power.shape[1]):
            out[:, i] = self.step(power[:, i], state)
        return out


def silence(frames: Frames) -> float:
    """:data:`SILENCE_DBFS` as ``|X|^2``."""
    return float(10.0 ** (SILENCE_DBFS / 10.0)) / frames.power_scale


def smoothing(time_s: float, frames: Frames) -> float:
    r"""The factor :math:`a = e^{-H / (f_s \tau)}` of ``y = a y + (1 - a) x``, ``time_s`` being tau."""
    return math.exp(-frames.hop / (frames.sample_rate * time_s)) if time_s > 0 else 0.0


def frame_count(time_s: float, frames: Frames) -> int:
    """The number of frames, at least 1, that comes closest to a time."""
    return max(1, round(time_s * frames.sample_rate / frames.hop))


def constant(value: float) -> NDArray[np.float32]:
    """A number as a float32 array without dimensions: the form that ufuncs take up fastest."""
    return np.array(value, np.float32)


def check_range(owner: object, low: float, high: float, **values: float) -> None:
    """Raise :class:`ParameterError` for a value that is no number, or outside ``low..high``."""
    for name, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise ParameterError(f"{type(owner).__name__}.{name} = {value!r} is out of range; give {low:g} to {high:g}")


def check_whole(owner: object, low: int, high: int, **values: int) -> None:
    """Raise :class:`ParameterError` for a value that is no whole number, or outside ``low..high``."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ParameterError(f"{type(owner).__name__}.{name} = {value!r}; give a whole number, {low} to {high}")
