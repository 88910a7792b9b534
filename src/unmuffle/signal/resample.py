r"""Sample-rate conversion of a stream, with a delay that is known exactly.

A polyphase FIR filter at the common rate ``lcm(f_in, f_out)``. With ``L`` ticks of that rate in an
input sample and ``M`` in an output sample,

.. math:: y[m] = \sum_k h[mM - kL] \, x[k],

where ``h`` is a Kaiser-windowed sinc (stop band below -80 dB, pass band to 0.79 of the lower Nyquist
frequency). It is linear-phase, so the delay is the same at all frequencies: half its length.

Why not ``soxr`` here: its stream state can be neither copied nor put back, and its delay is not part
of its contract. Whole signals (files for metrics, training data) do go through soxr, see
:func:`convert`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Samples, as_block, check_channels, check_rate

ZERO_CROSSINGS = 24  # of the sinc on each side: 1.5 ms at 16 kHz
ATTENUATION_DB = 80.0
_CHUNK = 4096  # outputs computed at a time, to bound the memory of the gathered windows


class StreamingResampler:
    """Converts a stream from one rate to another in blocks of any size, any split giving the same bits.

    After ``n`` samples in, ``ceil(n * rate_out / rate_in)`` samples have come out; the signal in them
    is late by ``delay_samples`` output samples.

    Args:
        rate_in, rate_out: in Hz, 8000 to 192000.
        channels: of the stream.
        align_ticks: delay that the signal already has, in ticks of the common rate; the filter is
            lengthened so that the sum is a whole number of output samples.

    >>> import numpy as np
    >>> r = StreamingResampler(48000, 16000)
    >>> r.process(np.zeros((1, 480), np.float32)).shape, r.delay_samples
    ((1, 160), 24)
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int = 1, *, align_ticks: int = 0) -> None:
        self.rate_in, self.rate_out = check_rate(rate_in), check_rate(rate_out)
        self.channels = check_channels(channels)
        common = math.lcm(self.rate_in, self.rate_out)
        self._up, self._down = common // self.rate_in, common // self.rate_out
        half = ZERO_CROSSINGS * max(self._up, self._down)
        extra = -(align_ticks + half) % self._down
        self.delay_ticks = half + extra
        self._phases = _filter(self._up, self._down, extra)
        self.reset()

    @property
    def delay_samples(self) -> int:
        """Delay in output samples (rounded down when ``align_ticks`` makes it fractional)."""
        return self.delay_ticks // self._down

    def reset(self) -> None:
        """Forget the signal."""
        taps = self._phases.shape[1]
        self._history: Samples = np.zeros((self.channels, taps - 1), np.float32)
        self._position = 0  # tick of the next output, counted from the first sample of the next block

    def process(self, block: Samples) -> Samples:
        """Take ``(channels, n)`` samples, return those of the new rate that are ready."""
        joined = np.concatenate((self._history, block), axis=1)
        n, taps = block.shape[1], self._phases.shape[1]
        ticks = n * self._up
        count = max(0, -(-(ticks - self._position) // self._down))
        out = np.empty((self.channels, count), np.float32)
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(joined, taps, axis=1)
            for start in range(0, count, _CHUNK):
                stop = min(start + _CHUNK, count)
                at = self._position + self._down * np.arange(start, stop)
                sample, phase = np.divmod(at, self._up)
                products = windows[:, sample] * self._phases[phase]
                np.add.reduce(products, axis=-1, out=out[:, start:stop])
        self._position += count * self._down - ticks
        self._history = joined[:, n:].copy()
        return out

    def snapshot(self) -> dict[str, Any]:
        """A copy of the state."""
        return {"history": self._history.copy(), "position": self._position}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self._history = state["history"].copy()
        self._position = state["position"]


@lru_cache(maxsize=8)
def _filter(up: int, down: int, extra: int) -> NDArray[np.float32]:
    """The filter as ``(up, taps)``: row ``p`` holds ``h[p + tL]``, last tap first (time order)."""
    slow = max(up, down)  # ticks in a sample of the lower rate
    half = ZERO_CROSSINGS * slow
    t = np.arange(-half, half + 1)
    beta = 0.1102 * (ATTENUATION_DB - 8.7)  # Kaiser's formula
    width = (ATTENUATION_DB - 8.0) / (2.285 * 2 * ZERO_CROSSINGS) / math.pi  # share of the lower Nyquist
    cutoff = (1.0 - width / 2.0) / slow
    h = np.sinc(t * cutoff) * cutoff * np.kaiser(2 * half + 1, beta) * up
    h = np.concatenate((np.zeros(extra), h))
    taps = -(-len(h) // up)
    padded = np.zeros(taps * up)
    padded[: len(h)] = h
    phases = padded.reshape(taps, up).T[:, ::-1]
    # Every phase passes a constant with gain one: no ripple at the rate of the phases.
    phases = phases / phases.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(phases, dtype=np.float32)


def convert(x: Any, rate_in: int, rate_out: int) -> Samples:
    """Convert a whole signal with soxr (very high quality), aligned, ``round(n * rate_out / rate_in)`` long.

    Args:
        x: ``(samples,)`` or ``(channels, samples)``.
        rate_in, rate_out: in Hz.
    """
    signal = as_block(x)
    source, target = check_rate(rate_in), check_rate(rate_out)
    if source == target:
        out = signal.copy()
    elif signal.shape[1] == 0:
        out = signal
    else:
        import soxr

        resampled = soxr.resample(signal.T, source, target, quality="VHQ").T
        n = round(signal.shape[1] * target / source)
        out = np.zeros((signal.shape[0], n), np.float32)
        m = min(n, resampled.shape[1])
        out[:, :m] = resampled[:, :m]
    return out[0] if np.ndim(x) == 1 else out
