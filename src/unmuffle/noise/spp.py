r"""Speech presence probability: is there speech in this bin of this frame?

With complex Gaussian spectra of speech and noise, Bayes' rule gives the probability a posteriori

.. math:: p = \Bigl(1 + \frac{q}{1 - q} (1 + \xi) \, e^{-v}\Bigr)^{-1}, \qquad
          v = \frac{\gamma \, \xi}{1 + \xi},

from the probability of absence a priori, ``q``. The two schools differ in :math:`\xi` and ``q``.

:func:`fixed`
    :math:`\xi` is a constant, the SNR that speech typically has where it is present, and
    :math:`q = 1/2`. Reliable for detection: where :math:`\gamma` is small, ``p`` really goes to zero.
    T. Gerkmann, R. C. Hendriks, 2012 (see :mod:`.mmse_spp`).
:func:`conditional` with :class:`AbsencePrior`
    :math:`\xi` is that of the bin and moment, and ``q`` comes from how much SNR there is in the bin's
    neighbourhood, narrow and wide, and in the entire frame: speech comes in patches and frames, noise
    peaks come alone. The basis of OM-LSA. I. Cohen, B. Berdugo, "Speech enhancement for non-stationary
    noise environments", Signal Processing 81, 2001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..signal.stft import Frames
from .base import Power, check_range, constant, smoothing

_ONE, _HALF, _MOST = constant(1.0), constant(0.5), constant(80.0)


def fixed(gamma: Power, prior_snr_db: float = 15.0, absence: float = 0.5) -> Power:
    """Probability of presence with a fixed a-priori SNR.

    Args:
        gamma: a-posteriori SNR, ``(channels, bins)``.
        prior_snr_db: SNR of speech where it is present.
        absence: probability of absence a priori, between 0 and 1.
    """
    xi = 10.0 ** (prior_snr_db / 10.0)
    offset = math.log1p(xi) + math.log(absence / (1.0 - absence))
    half: Power = np.multiply(gamma, np.float32(0.5 * xi / (1.0 + xi)))
    np.subtract(half, np.float32(0.5 * offset), half)
    np.tanh(half, half)  # 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2 never overflows
    np.multiply(half, _HALF, half)
    np.add(half, _HALF, half)
    return half


def conditional(gamma: Power, xi: Power, q: Power | float) -> Power:
    """Probability of presence from a-posteriori SNR, a-priori SNR and probability of absence a priori."""
    over = xi + _ONE
    v: Power = gamma * xi
    np.divide(v, over, v)
    np.minimum(v, _MOST, out=v)
    np.exp(-v, v)
    np.multiply(v, over, v)
    np.multiply(v, q, v)
    present = np.subtract(_ONE, np.float32(q) if isinstance(q, float) else q)
    np.add(v, present, v)
    np.divide(present, v, v)
    return v


@dataclass(frozen=True)
class AbsencePrior:
    r"""Probability of absence a priori, from the SNR around: :math:`q = 1 - P_{local} P_{global} P_{frame}`.

    The a-priori SNR is smoothed over time, then over a narrow and a wide range of bins. Each mean is
    mapped to 0..1 by its logarithm between ``low_db`` and ``high_db``. The frame's mean counts fully
    while it rises, and after that as long as it stays near its last peak.

    Attributes:
        smoothing_s: time constant of the smoothed SNR (0.7 at 8 ms).
        local_hz, global_hz: half widths of the narrow and the wide range (1 and 15 bins of 31.25 Hz).
        low_db, high_db: mean SNR that means absence, and presence.
        peak_low_db, peak_high_db: range that the remembered peak of the frame's mean is held to.
        highest: upper limit of the result.
    """

    smoothing_s: float = 0.0224
    local_hz: float = 31.25
    global_hz: float = 468.75
    low_db: float = -10.0
    high_db: float = -5.0
    peak_low_db: float = 0.0
    peak_high_db: float = 10.0
    highest: float = 0.95

    def __post_init__(self) -> None:
        check_range(self, 0.0, 1.0, smoothing_s=self.smoothing_s)
        check_range(self, 1.0, 4000.0, local_hz=self.local_hz, global_hz=self.global_hz)
        check_range(self, -40.0, 40.0, low_db=self.low_db, peak_low_db=self.peak_low_db)
        check_range(self, self.low_db + 0.1, 40.0, high_db=self.high_db)
        check_range(self, self.peak_low_db, 40.0, peak_high_db=self.peak_high_db)
        check_range(self, 0.0, 0.999, highest=self.highest)

    def init(self, frames: Frames, channels: int) -> dict[str, Any]:
        """Return a new state."""
        spacing = frames.sample_rate / frames.size
        shape = (channels, frames.bins)
        return {
            "mean": np.zeros(shape, np.float32),
            "frame": np.zeros((channels, 1), np.float32),  # last frame's mean
            "peak": np.full((channels, 1), 10.0 ** (self.peak_low_db / 10.0), np.float32),
            "fresh": constant(1.0 - smoothing(self.smoothing_s, frames)),
            "windows": [
                _window(frames.bins, max(1, round(width / spacing))) for width in (self.local_hz, self.global_hz)
            ],
        }

    def step(self, xi: Power, state: Any) -> Power:
        """Take the a-priori SNR of one frame, ``(channels, bins)``; return ``q`` of the same shape."""
        s = state
        mean = s["mean"]
        mean += s["fresh"] * (xi - mean)
        present = self._presence(s, np.add.reduce(mean, axis=1, keepdims=True) / np.float32(mean.shape[1]))
        total = np.zeros((mean.shape[0], mean.shape[1] + 1))  # running sum; differences need float64
        np.cumsum(mean, axis=1, out=total[:, 1:])
        for first, stop, share in s["windows"]:
            around = (total[:, stop] - total[:, first]) * share
            present = present * self._map(around.astype(np.float32))
        q: Power = np.minimum(_ONE - present, np.float32(self.highest))
        return q

    def _map(self, snr: Power) -> Power:
        """0 at ``low_db`` and below, 1 at ``high_db`` and above, linear in decibels between."""
        low = 10.0 ** (self.low_db / 10.0)
        scale = 10.0 / (math.log(10.0) * (self.high_db - self.low_db))
        level: Power = np.log(np.maximum(snr, np.float32(low)) * np.float32(1.0 / low))
        level *= np.float32(scale)
        np.minimum(level, _ONE, out=level)
        return level

    def _presence(self, s: dict[str, Any], frame: Power) -> Power:
        """Presence as the mean of the frame tells it, ``(channels, 1)``."""
        low, high = (10.0 ** (v / 10.0) for v in (self.peak_low_db, self.peak_high_db))
        rising = frame > s["frame"]
        s["peak"] = np.where(rising, np.clip(frame, low, high), s["peak"]).astype(np.float32)
        s["frame"] = frame
        # After the peak: the same map, shifted by the peak's level.
        near = self._map(frame / s["peak"])
        heard = frame > np.float32(10.0 ** (self.low_db / 10.0))
        return np.where(heard, np.where(rising, _ONE, near), 0.0).astype(np.float32)


def _window(bins: int, width: int) -> tuple[Any, Any, Any]:
    """First bin, last bin + 1 and reciprocal count of ``2 width + 1`` bins, fewer near the edges."""
    k = np.arange(bins)
    first, stop = np.maximum(k - width, 0), np.minimum(k + width + 1, bins)
    return first, stop, 1.0 / (stop - first)
