"""Many streams of one kind, their states side by side in one set of arrays.

A frame of a spectral method or of a small network is some dozens of operations on a few hundred numbers: most of its
time goes into calling them, and most of a stream's time into the queues around it. A crowd makes each call once for
all streams that have a block at the moment, and keeps of each stream only what the next block needs: the samples of a
frame that is not whole yet, the tail of the overlap-add, and what the method remembers. What a stream's own books
hold beyond that (the dry signal, the past for a fall-back) is brought up to date now and then, in bulk, by
:meth:`~unmuffle.enhancers.base.Stream.note`::

    core = stream.core()                      # None: not now
    place = crowd.enter(core, stream.share)
    due, wet, out = crowd.push(places, x)     # block after block, one row for each stream that has one
    crowd.leave(place, core)
    stream.note(all of its x, all of its wet) # and it goes on by itself

The results are those that each stream gives alone: to the last bit for gain functions, to rounding for networks, whose
products of many rows are added up in another order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..signal.blocks import Samples
from .base import Array, SpectralKernel

Places = NDArray[np.intp]

_ROOM = 8  # at first; doubled when it is full


class Crowd:
    """Streams of one channel and one :meth:`~unmuffle.enhancers.base.StepKernel.kind`, with blocks of one size.

    Args:
        kernel: one of them.
        block: samples of each block, at most a hop.

    Raises:
        ParameterError: longer blocks; such streams have several steps at a time and little to gain.
    """

    def __init__(self, kernel: SpectralKernel, block: int) -> None:
        self.frames = frames = kernel.frames
        if not 1 <= block <= frames.hop:
            raise ParameterError(f"block = {block} samples; a crowd takes 1 to a hop of {frames.hop}")
        self.block = block
        self._kernel = kernel
        self._held = frames.size - frames.hop
        self._state = kernel._state[1]
        self._free = list(range(_ROOM))
        # Of each stream, the end of the last frame, and what has come since.
        self._recent: Samples = np.zeros((_ROOM, frames.size + block), np.float32)
        self._waiting: Places = np.zeros(_ROOM, np.intp)
        self._tail: Samples = np.zeros((_ROOM, self._held), np.float32)
        self._share: Samples = np.zeros((_ROOM, 1), np.float32)
        self._arrays = [np.zeros((_ROOM, *each.shape), np.float32) for each in kernel.remembered(self._state)]
        self._span = np.arange(block)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, kernel: SpectralKernel, share: float) -> int:
        """Take over a stream from its kernel; returns its place.

        Args:
            kernel: of the same kind.
            share: of the dry signal in its output.
        """
        if not self._free:
            self._grow()
        place = self._free.pop()
        history, inner, tail = kernel._state
        waiting = kernel._waiting.shape[1]
        self._recent[place, : self._held] = history[0]
        self._recent[place, self._held : self._held + waiting] = kernel._waiting[0]
        self._waiting[place] = waiting
        self._tail[place] = tail[0]
        self._share[place] = share
        for array, row in zip(self._arrays, kernel.remembered(inner), strict=True):
            array[place] = row
        self._count += 1
        return place

    def leave(self, place: int, kernel: SpectralKernel) -> None:
        """Give a stream back to its kernel, which knows all but what is still to be noted."""
        inner = kernel.recalled(kernel._state[1], [array[place].copy() for array in self._arrays])
        history = self._recent[place, : self._held].copy()
        kernel._state = history[np.newaxis], inner, self._tail[place].copy()[np.newaxis]
        self._free.append(place)
        self._count -= 1

    def push(self, places: Places, x: Samples) -> tuple[Places, Samples, Samples]:
        """A block of each of some streams.

        Args:
            places: theirs, each once.
            x: ``(streams, block)``, finite.

        Returns:
            For which of them (rows of ``x``) a step was due, what it made, ``(due, hop)``, and the same with the share
            of the dry signal. When this raises, no stream has moved.
        """
        frames, width = self.frames, self._recent.shape[1]
        filled = self._waiting[places]
        self._recent.reshape(-1)[(places * width + filled + self._held)[:, np.newaxis] + self._span] = x
        filled += self.block
        due = np.flatnonzero(filled >= frames.hop)
        if not len(due):
            self._waiting[places] = filled
            empty = np.zeros((0, frames.hop), np.float32)
            return due, empty, empty
        at = places[due]
        recent = self._recent[at]
        whole = recent[:, : frames.size]
        spectrum, _ = frames.forward(whole[:, self._held :], whole[:, : self._held])
        spectrum, arrays = self._kernel.step_rows(spectrum, self._state, [array[at] for array in self._arrays])
        wet, tail = frames.inverse(spectrum, self._tail[at])
        share = self._share[at]
        out = wet
        if share.any():
            stop = frames.size - frames.latency
            dry = whole[:, stop - frames.hop : stop]
            out = np.where(share == 1.0, dry, np.where(share == 0.0, wet, wet + share * (dry - wet)))
        for array, rows in zip(self._arrays, arrays, strict=True):
            array[at] = rows
        self._tail[at] = tail
        self._recent[at, : width - frames.hop] = recent[:, frames.hop :]
        filled[due] -= frames.hop
        self._waiting[places] = filled
        return due, wet, out

    def _grow(self) -> None:
        room = len(self._waiting)

        def doubled(array: Array) -> Array:
            return np.concatenate((array, np.zeros_like(array)))

        self._recent, self._tail, self._share = map(doubled, (self._recent, self._tail, self._share))
        self._waiting = np.concatenate((self._waiting, np.zeros_like(self._waiting)))
        self._arrays = [doubled(array) for array in self._arrays]
        self._free = list(range(room, 2 * room))
