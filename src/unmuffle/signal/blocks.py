"""Arrays of samples on their way through a stream: checking, queueing, delaying.

One convention everywhere: float32 in [-1, 1], shape ``(channels, samples)``, time last.
:func:`as_block` is the only door; behind it code may trust its input.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import DtypeError, NonFiniteError, ParameterError, SampleRateError, ShapeError

Samples: TypeAlias = NDArray[np.float32]
"""float32 samples in [-1, 1], shape ``(channels, samples)``."""

MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 64


def check_rate(sample_rate: Any) -> int:
    """Return the rate as ``int`` or raise :class:`SampleRateError` (8000..192000 Hz, whole)."""
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, float, np.integer, np.floating)):
        raise SampleRateError(f"sample rate must be a number in Hz, got {sample_rate!r}")
    if not (MIN_RATE <= sample_rate <= MAX_RATE) or int(sample_rate) != sample_rate:
        raise SampleRateError(
            f"sample rate {sample_rate!r} is not a whole number between {MIN_RATE} and {MAX_RATE} Hz; "
            "resample the signal first"
        )
    return int(sample_rate)


def check_channels(channels: Any) -> int:
    """Return the channel count as ``int`` or raise :class:`ShapeError` (1..64)."""
    if isinstance(channels, bool) or not isinstance(channels, (int, np.integer)):
        raise ShapeError(f"channels must be a whole number, got {channels!r}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise ShapeError(f"channels = {channels} is out of range; give 1 to {MAX_CHANNELS}")
    return int(channels)


def as_block(x: Any, channels: int | None = None) -> Samples:
    """Check samples and return them as float32 ``(channels, samples)``; the caller's array is not changed.

    Args:
        x: float array, ``(samples,)`` for one channel or ``(channels, samples)``.
        channels: the count that is expected; ``None`` takes it from the array.

    Raises:
        DtypeError: integers, booleans, complex numbers or objects.
        ShapeError: a wrong number of dimensions or channels, or a transposed array.
        NonFiniteError: NaN or infinity; nothing of the block has been used then.
    """
    array: NDArray[Any] = np.asarray(x)
    if array.dtype.kind != "f":
        hint = "; divide 16-bit samples by 32768" if array.dtype.kind in "iu" else ""
        raise DtypeError(f"samples must be floating point in [-1, 1], got {array.dtype}{hint}")
    if array.ndim == 1:
        array = array[np.newaxis]
    elif array.ndim != 2:
        raise ShapeError(f"samples must be (samples,) or (channels, samples), got shape {array.shape}")
    found = array.shape[0]
    if channels is None:
        if found > MAX_CHANNELS or found == 0:
            hint = "; this looks like (samples, channels): pass x.T" if found > MAX_CHANNELS else ""
            raise ShapeError(f"shape {array.shape} means {found} channels{hint}")
    elif found != channels:
        hint = "; this looks like (samples, channels): pass x.T" if array.shape[1] == channels else ""
        raise ShapeError(f"expected {channels} channel(s), got shape {array.shape}{hint}")
    if not finite(array):
        bad = int(np.flatnonzero(~np.isfinite(array).all(axis=0))[0])
        values = ", ".join(str(value) for value in array[:, bad].tolist())
        raise NonFiniteError(f"sample {bad} is {values}; replace NaN and infinity before enhancing")
    if array.dtype != np.float32:
        limit = float(np.finfo(np.float32).max)
        if array.size and float(np.max(np.abs(array))) > limit:
            raise NonFiniteError("a sample is too large for float32; scale the signal to [-1, 1]")
        return array.astype(np.float32)
    block: Samples = array
    return block


def finite(array: NDArray[Any]) -> bool:
    """Is every sample of ``(channels, samples)`` a number?"""
    # A sum is finite exactly when every term is (float32 terms cannot overflow a float64 sum).
    return not array.size or math.isfinite(np.add.reduce(array, axis=None, dtype=np.float64))


class Fifo:
    """A queue of samples ``(channels, samples)``; starts with ``delay`` zeros."""

    def __init__(self, channels: int, delay: int = 0) -> None:
        if delay < 0:
            raise ParameterError(f"delay = {delay} samples; give 0 or more")
        self._held: Samples = np.zeros((channels, delay), np.float32)

    def __len__(self) -> int:
        return self._held.shape[1]

    def push(self, x: Samples) -> None:
        """Append samples."""
        self._held = np.concatenate((self._held, x), axis=1) if len(self) else x.copy()

    def pop(self, n: int) -> Samples:
        """Take the ``n`` oldest samples."""
        if n > len(self):
            raise ParameterError(f"asked for {n} samples, {len(self)} are held")
        out, self._held = self._held[:, :n], self._held[:, n:]
        return out

    def exchange(self, x: Samples, n: int) -> Samples:
        """Append ``x`` and take the ``n`` oldest samples."""
        if not len(self) and n == x.shape[1]:
            return x
        self.push(x)
        return self.pop(n)

    def snapshot(self) -> Samples:
        """A copy of what is held."""
        return self._held.copy()

    def restore(self, held: Samples) -> None:
        """Put back what :meth:`snapshot` gave."""
        self._held = held.copy()
