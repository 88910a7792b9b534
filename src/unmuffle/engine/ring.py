"""A ring of samples between threads, without locks: one writes, any number read.

Samples carry their number on an endless axis: the ring holds the last ``capacity`` of them. The
writer never waits and never fails; a reader that comes too late is told so.

Why no lock is needed: the writer first claims the places that it is going to write over, then
stores the samples, then raises :attr:`written`. A reader looks at ``written``, copies, and checks
afterwards that nothing it copied has been claimed meanwhile. CPython's own lock carries out each of
these steps whole and in order. (Builds without that lock were not tried.)
"""

from __future__ import annotations

import numpy as np

from ..errors import ParameterError
from ..signal.blocks import Samples


class Ring:
    """The last ``capacity`` samples of a signal.

    Args:
        channels: of the signal.
        capacity: samples that are kept, at least.

    Attributes:
        written: samples written so far; sample ``k`` can be read while
            ``written - capacity <= k < written``.

    >>> import numpy as np
    >>> ring = Ring(1, 4)
    >>> ring.write(np.arange(6, dtype=np.float32)[None])
    >>> out = np.zeros((1, 3), np.float32)
    >>> ring.read(3, out), out.tolist()
    (True, [[3.0, 4.0, 5.0]])
    >>> ring.read(1, out), ring.read(4, out)
    (False, False)
    """

    def __init__(self, channels: int, capacity: int) -> None:
        if capacity < 1:
            raise ParameterError(f"capacity = {capacity} samples; give 1 or more")
        self.capacity = capacity
        self.written = 0
        self._claimed = 0
        self._data: Samples = np.zeros((channels, capacity), np.float32)

    def write(self, x: Samples) -> None:
        """Append ``(channels, n)`` samples (or one channel for all, by broadcasting)."""
        n = x.shape[-1]
        at = self.written
        self._claimed = end = at + n
        if n > self.capacity:  # only the end will stay
            at += n - self.capacity
            x = x[..., n - self.capacity :]
        start = at % self.capacity
        first = min(x.shape[-1], self.capacity - start)
        self._data[:, start : start + first] = x[..., :first]
        if first < x.shape[-1]:
            self._data[:, : x.shape[-1] - first] = x[..., first:]
        self.written = end

    def skip(self, n: int) -> None:
        """Count ``n`` samples as written without writing them: what is there for them is stale."""
        self._claimed = end = self.written + n
        self.written = end

    def read(self, start: int, out: Samples) -> bool:
        """Copy the samples from number ``start`` on into ``out``; false if they are not (all) there.

        ``out`` may hold anything after a false answer. Samples before number 0 are zeros.
        """
        n = out.shape[-1]
        if start < 0:
            before = min(n, -start)
            out[..., :before] = 0.0
            return before == n or self.read(0, out[..., before:])
        if start + n > self.written:
            return False
        at = start % self.capacity
        first = min(n, self.capacity - at)
        if n > self.capacity:
            return False
        out[..., :first] = self._data[:, at : at + first]
        if first < n:
            out[..., first:] = self._data[:, : n - first]
        return start >= self._claimed - self.capacity
