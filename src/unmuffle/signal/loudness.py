"""Loudness of a stream by ITU-R BS.1770-4, and its true peak, in constant memory.

Integrated loudness
    1. *K-weighting*: a shelf of +4 dB above about 1.7 kHz (the head) and a high-pass at 38 Hz.
       The standard prints the two biquads for 48 kHz; :func:`k_weighting` derives them for any rate
       from the analogue prototypes that give exactly those numbers. (The bilinear transform bends the
       shelf at low rates: a sine of 1 kHz reads 0.05 LU low at 16 kHz, 0.2 LU at 8 kHz.)
    2. *Blocks* of 400 ms, one every 100 ms; z_j = sum over channels of G_c times the mean square,
       with G = 1, for the surround channels of a five- or six-channel signal 1.41; the LFE channel
       of a six-channel signal (L R C LFE Ls Rs) is left out. The block's loudness is

           l_j = -0.691 + 10 log10 z_j   (LUFS).

    3. *Gating*: the mean of z_j over blocks with l_j >= -70, its loudness less 10 LU is the second
       threshold, and the mean over the blocks above both is the result.

    The second threshold is known only at the end. So that ten hours need no more memory than ten
    seconds, blocks are counted in bins of 0.01 LU that hold number and sum of z: means are exact,
    and only the membership of blocks within 0.01 LU of the threshold is rounded.

True peak
    The largest value between the samples, from four-fold interpolation (two-fold above 96 kHz) by a
    filter of 64 taps per phase that is flat to 0.1 dB up to 0.45 of the rate. What such a grid can
    miss is 0.17 dB at a quarter of the sample rate, as the standard accepts.

A signal shorter than one block has no gated loudness; the meter then gives that of its mean
square. Silence is ``-inf``.

References
    ITU-R BS.1770-4 (2015), annexes 1 and 2; EBU R 128 (2020), EBU Tech 3341.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Samples, as_block, check_channels, check_rate
from .sections import filtered

_Array = NDArray[np.float64]

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
_OFFSET = -0.691  # makes a 997 Hz full-scale sine of one channel read -3.01 LUFS

_BIN_LU = 0.01
_BINS = 10_000  # -70 .. +30 LUFS

_CHUNK = 4096
_HALF_TAPS = 32  # taps of the interpolator on each side


def k_weighting(sample_rate: int) -> _Array:
    """The two sections of the K filter at a sample rate, ``(2, 6)`` as scipy's ``sosfilt`` takes them."""
    rate = check_rate(sample_rate)
    # Shelf: corner, gain and Q of the analogue prototype behind the numbers printed for 48 kHz.
    k = np.tan(np.pi * 1681.974450955533 / rate)
    q, high = 0.7071752369554196, 10.0 ** (3.999843853973347 / 20.0)
    band = high**0.4996667741545416
    norm = 1.0 + k / q + k * k
    shelf = [
        (high + band * k / q + k * k) / norm,
        2.0 * (k * k - high) / norm,
        (high - band * k / q + k * k) / norm,
        1.0,
        2.0 * (k * k - 1.0) / norm,
        (1.0 - k / q + k * k) / norm,
    ]
    # The standard leaves the numerator at 1, -2, 1, which lifts everything by 0.04 dB at 48 kHz and would
    # lift it by 0.26 dB at 8 kHz; here every rate has the 0.04 dB.
    lift = _high_pass(48000)[0] / _high_pass(rate)[0]
    high_pass = [lift, -2.0 * lift, lift, 1.0, *_high_pass(rate)[1:]]
    return np.array([shelf, high_pass])


def _high_pass(rate: int) -> tuple[float, float, float]:
    """Its normalisation, and a_1 and a_2."""
    k, q = float(np.tan(np.pi * 38.13547087602444 / rate)), 0.5003270373238773
    norm = 1.0 + k / q + k * k
    return norm, 2.0 * (k * k - 1.0) / norm, (1.0 - k / q + k * k) / norm


def channel_weights(channels: int) -> _Array:
    """Weights G of the channels: 1, and 1.41 for the surrounds of 5.0 and 5.1 (whose LFE has 0)."""
    weights = np.ones(channels)
    if channels == 5:
        weights[3:] = 1.41
    elif channels == 6:
        weights[3:] = 0.0, 1.41, 1.41
    return weights


class LoudnessMeter:
    """Measures integrated loudness and true peak of a stream in blocks of any size.

    >>> import numpy as np
    >>> sine = np.sin(2 * np.pi * 997 / 48000 * np.arange(96000)).astype(np.float32)
    >>> meter = LoudnessMeter(48000, 1)
    >>> for block in np.split(sine, 10):
    ...     meter.push(block)
    >>> round(meter.integrated(), 1), round(meter.true_peak_db(), 1)
    (-3.0, 0.0)
    """

    def __init__(self, sample_rate: int, channels: int = 1) -> None:
        self.sample_rate = check_rate(sample_rate)
        self.channels = check_channels(channels)
        self._sections = k_weighting(self.sample_rate)
        self._weights = channel_weights(self.channels)
        self.reset()

    def reset(self) -> None:
        """Forget everything measured so far."""
        self._filter = np.zeros((2, self.channels, 2))
        self._position = 0  # samples seen
        self._step = 0  # index of the 100 ms step in progress
        self._steps: list[float] = []  # energy of up to three whole steps before it
        self._partial = 0.0
        self._energy = 0.0
        self._count = np.zeros(_BINS, np.int64)
        self._sum = np.zeros(_BINS)
        self._peak = TruePeak(self.sample_rate, self.channels)
        self._highest = 0.0

    def push(self, block: Any) -> None:
        """Take samples, ``(samples,)`` or ``(channels, samples)``."""
        x = as_block(block, self.channels)
        if not x.shape[1]:
            return
        self._highest = max(self._highest, float(np.max(self._peak.push(x))))
        weighted, self._filter = filtered(self._sections, x, self._filter)
        energy = self._weights @ np.square(weighted)
        self._energy += float(np.sum(energy))
        start = 0
        while start < x.shape[1]:
            end = min(self._end_of_step() - self._position + start, x.shape[1])
            self._partial += float(np.sum(energy[start:end]))
            self._position += end - start
            start = end
            if self._position == self._end_of_step():
                self._finish_step()

    def _end_of_step(self) -> int:
        return (self._step + 1) * self.sample_rate // 10  # no drift at rates that 10 does not divide

    def _finish_step(self) -> None:
        self._step += 1
        self._steps.append(self._partial)
        self._partial = 0.0
        if len(self._steps) == 4:
            z = sum(self._steps) / (0.4 * self.sample_rate)
            level = _lufs(z)
            if level >= ABSOLUTE_GATE_LUFS:
                index = min(int((level - ABSOLUTE_GATE_LUFS) / _BIN_LU), _BINS - 1)
                self._count[index] += 1
                self._sum[index] += z
            del self._steps[0]

    def integrated(self) -> float:
        """Gated loudness in LUFS of what was pushed so far; ``-inf`` for silence."""
        if self._position and self._step < 4:
            return _lufs(self._energy / self._position)
        blocks = int(np.sum(self._count))
        if not blocks:
            return -np.inf
        gate = _lufs(float(np.sum(self._sum)) / blocks) + RELATIVE_GATE_LU
        first = max(int(np.ceil((gate - ABSOLUTE_GATE_LUFS) / _BIN_LU - 0.5)), 0)
        return _lufs(float(np.sum(self._sum[first:])) / int(np.sum(self._count[first:])))

    def true_peak_db(self) -> float:
        """True peak in dBTP of what was pushed so far, its last samples included; ``-inf`` for silence."""
        rest = copy.deepcopy(self._peak).push(np.zeros((self.channels, _HALF_TAPS), np.float32))
        highest = max(self._highest, float(np.max(rest)))
        return 20.0 * float(np.log10(highest)) if highest > 0.0 else -np.inf


class TruePeak:
    """Magnitude of the interpolated waveform, sample by sample.

    ``push`` returns as many values as it gets samples, late by :attr:`delay` samples: each is the
    largest magnitude of the sample and of the points between it and the next one, over all
    channels. Any split of a signal gives the same bits.
    """

    delay = _HALF_TAPS

    def __init__(self, sample_rate: int, channels: int) -> None:
        rate = check_rate(sample_rate)
        self._phases = _phases(2 if rate > 96_000 else 4)
        self._held: Samples = np.zeros((channels, 2 * _HALF_TAPS - 1), np.float32)

    def push(self, x: Samples) -> NDArray[np.float32]:
        """Take ``(channels, n)`` samples, return ``(n,)`` magnitudes."""
        joined = np.concatenate((self._held, x), axis=1)
        n = x.shape[1]
        # Copied, so that what is kept does not hold a large block alive.
        self._held = joined[:, joined.shape[1] - self._held.shape[1] :].copy()
        top = np.empty(n, np.float32)
        for start in range(0, n, _CHUNK):  # pieces that stay in the processor's cache: three times as fast
            end = min(start + _CHUNK, n)
            self._peaks(joined[:, start : end + 2 * _HALF_TAPS - 1], top[start:end])
        return top

    def _peaks(self, x: Samples, out: NDArray[np.float32]) -> None:
        n = len(out)
        np.max(np.abs(x[:, _HALF_TAPS - 1 : _HALF_TAPS - 1 + n]), axis=0, out=out)
        part = np.empty((x.shape[0], n), np.float32)
        for taps in self._phases:
            # Tap by tap: a sum in this order is the same however the signal is cut.
            point = taps[0] * x[:, :n]
            for i in range(1, len(taps)):
                np.multiply(x[:, i : i + n], taps[i], out=part)
                point += part
            np.maximum(out, np.max(np.abs(point), axis=0), out=out)


@lru_cache(maxsize=4)
def _phases(factor: int) -> tuple[NDArray[np.float32], ...]:
    """Taps of the points between two samples, in order of time."""
    length = 2 * _HALF_TAPS * factor + 1
    # A windowed sinc, cut at the old Nyquist frequency and with a gain of exactly ``factor`` at 0 Hz.
    taps = np.sinc((np.arange(length) - _HALF_TAPS * factor) / factor) * np.kaiser(length, 6.0)
    taps *= factor / np.sum(taps)
    # Point p/factor after the middle sample m weighs sample m + i by taps[centre + p - i * factor].
    out = []
    for p in range(1, factor):
        index = _HALF_TAPS * factor + p - factor * np.arange(-_HALF_TAPS + 1, _HALF_TAPS + 1)
        out.append(taps[index].astype(np.float32))
    return tuple(out)


def _lufs(z: float) -> float:
    return _OFFSET + 10.0 * float(np.log10(z)) if z > 0.0 else -np.inf
