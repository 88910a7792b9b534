r"""A noise profile: the PSD of noise that was measured once, and a tracker that keeps to it.

The way of the audio editors: mark a span that holds noise only, measure, subtract everywhere. Right
for steady noise (hum, hiss, fans), wrong as soon as the noise changes.

A :class:`NoiseProfile` is a density in power per hertz over frequency, so it holds at every frame
length and sample rate: :meth:`NoiseProfile.power` turns it into the ``|X|^2`` of given frames. With
white noise of variance :math:`\sigma^2` at rate :math:`f_s`, the one-sided density is
:math:`2 \sigma^2 / f_s`, and :math:`E|X|^2 = \sigma^2 \sum w_a^2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..signal.blocks import as_block, check_rate
from ..signal.stft import Frames, StftSpec
from . import startup
from .base import NoiseTracker, Power, check_range, silence


@dataclass(frozen=True)
class NoiseProfile:
    """A one-sided noise PSD, free of any frame length or sample rate.

    Attributes:
        psd: power per hertz at each frequency, the same for all channels or the mean of them.
        frequencies: in Hz, increasing.
    """

    psd: tuple[float, ...]
    frequencies: tuple[float, ...]

    def __post_init__(self) -> None:
        # Tuples rather than arrays: a profile is part of a tracker, which must be hashable.
        psd, frequencies = np.asarray(self.psd, np.float64), np.asarray(self.frequencies, np.float64)
        if psd.ndim != 1 or psd.shape != frequencies.shape or psd.size < 2:
            raise ParameterError(
                f"a noise profile needs as many densities as frequencies, at least 2; got shapes "
                f"{psd.shape} and {frequencies.shape}"
            )
        if not np.isfinite(psd).all() or (psd < 0).any():
            raise ParameterError("the densities of a noise profile must be finite and not negative")
        if not np.isfinite(frequencies).all() or frequencies[0] < 0 or (np.diff(frequencies) <= 0).any():
            raise ParameterError("the frequencies of a noise profile must be in Hz and increase")
        object.__setattr__(self, "psd", tuple(float(v) for v in psd))
        object.__setattr__(self, "frequencies", tuple(float(v) for v in frequencies))

    def power(self, frames: Frames) -> NDArray[np.float32]:
        """The noise as ``|X|^2`` in the bins of ``frames``, ``(bins,)``.

        Interpolated in decibels; above the highest frequency known, its last value is kept.
        """
        known = np.log(np.maximum(self.psd, 1e-30))
        density = np.exp(np.interp(frames.frequencies, self.frequencies, known))
        power = density * (frames.sample_rate / 2.0) / frames.power_scale
        return np.maximum(power, silence(frames)).astype(np.float32)


def profile_from(
    samples: Any,
    sample_rate: int,
    spec: StftSpec | None = None,
    start_s: float = 0.0,
    stop_s: float | None = None,
) -> NoiseProfile:
    """Measure the noise in a span of a recording.

    Args:
        samples: ``(samples,)`` or ``(channels, samples)``; channels are averaged.
        sample_rate: in Hz.
        spec: frames to measure with (20 ms by default).
        start_s, stop_s: the span that holds noise only; to the end by default.

    Raises:
        ParameterError: the span is empty, outside the recording, or shorter than one frame.
    """
    x = as_block(samples)
    frames = (spec or StftSpec()).at(check_rate(sample_rate))
    length_s = x.shape[1] / frames.sample_rate
    stop = length_s if stop_s is None else stop_s
    if not (math.isfinite(start_s) and math.isfinite(stop)) or not 0 <= start_s < stop <= length_s + 1e-9:
        raise ParameterError(f"noise span {start_s} to {stop} s does not lie inside a recording of {length_s:.3f} s")
    span = x[:, round(start_s * frames.sample_rate) : round(stop * frames.sample_rate)]
    if span.shape[1] < frames.size:
        raise ParameterError(
            f"noise span of {span.shape[1] / frames.sample_rate:.3f} s is shorter than one frame "
            f"({frames.size / frames.sample_rate:.3f} s); mark a longer one"
        )
    history, rest = span[:, : frames.size - frames.hop], span[:, frames.size - frames.hop :]
    whole = rest.shape[1] // frames.hop * frames.hop
    spectrum, _ = frames.forward(rest[:, :whole], history)
    mean = np.mean(np.abs(spectrum.astype(np.complex128)) ** 2, axis=(0, 1))
    psd = mean * frames.power_scale * 2.0 / frames.sample_rate
    return NoiseProfile(tuple(psd.tolist()), tuple(frames.frequencies.tolist()))


@dataclass(frozen=True)
class Profile(NoiseTracker):
    """A fixed noise PSD: a measured one, or the mean over the beginning of the stream.

    Attributes:
        learn_s: time after the first sound that is taken for noise, if there is no ``profile``.
        profile: what :func:`profile_from` measured.
    """

    name: ClassVar[str] = "profile"
    learn_s: float = 0.5
    profile: NoiseProfile | None = None

    def __post_init__(self) -> None:
        check_range(self, 0.02, 60.0, learn_s=self.learn_s)
        if self.profile is not None and not isinstance(self.profile, NoiseProfile):
            raise ParameterError(f"profile = {self.profile!r}; give what profile_from(...) returns")

    def init(self, frames: Frames, channels: int) -> dict[str, Any]:
        """Return a new state."""
        noise = np.full((channels, frames.bins), silence(frames), np.float32)
        begin = startup.begin(frames, channels, self.learn_s)
        if self.profile is not None:
            noise[:] = self.profile.power(frames)
            begin["done"] = True
        return {"startup": begin, "noise": noise}

    def step(self, power: Power, state: Any) -> Power:
        """Hear one frame."""
        noise: Power = state["noise"]
        if not state["startup"]["done"]:
            startup.step(power, state["startup"], noise)
        return noise


def mean_profile(profiles: Sequence[NoiseProfile]) -> NoiseProfile:
    """The average of profiles, on the frequencies of the first."""
    if not profiles:
        raise ParameterError("no profile to average; give at least one")
    grid = profiles[0].frequencies
    total = np.mean([np.interp(grid, p.frequencies, p.psd) for p in profiles], axis=0)
    return NoiseProfile(tuple(total.tolist()), grid)
