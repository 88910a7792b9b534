"""An enhancer for programs that hand over one block after another and want as many samples back.

>>> import numpy as np
>>> blocks = Blocks("identity")
>>> blocks.process(np.zeros((1, 480), np.float32), 48000).shape
(1, 480)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..enhancers.base import Enhancer, Stream
from ..enhancers.registry import load
from ..errors import DtypeError, ParameterError, ShapeError
from ..quality.fallback import guard_for
from ..signal.blocks import Samples

_FULL = 32768.0
_USUAL_S = 0.02  # what programs hand over at a time, more or less


class Blocks:
    """Keeps a stream that fits the blocks that come.

    The stream is made for the first block. When rate or channels change, a new one begins (the rest of the old signal,
    less than its latency, is dropped): that is another signal. With ``fixed``, blocks are expected to be of one size,
    and the delay is as small as that size allows; a block of another size begins a stream for blocks of any size.

    Args:
        method: a name from the registry, or an enhancer.
        strength_db: most attenuation; infinite for the full effect.
        enabled: off passes the input, with the same delay.
        fixed: blocks are of one size.
        params: of the method.

    Attributes:
        restarts: how often a new stream had to begin.

    Raises:
        ParameterError: an unknown method or parameter.
        UnboundedLatencyError: the method needs the whole signal.
    """

    def __init__(
        self,
        method: str | Enhancer = "auto",
        *,
        strength_db: float = math.inf,
        enabled: bool = True,
        fixed: bool = False,
        **params: Any,
    ) -> None:
        if isinstance(method, Enhancer) and params:
            raise ParameterError("parameters belong into the enhancer when an enhancer is given")
        self._enhancer = method if isinstance(method, Enhancer) else load(method, **params)
        self._fixed = fixed
        self._stream: Stream | None = None
        self._enabled = bool(enabled)
        self.restarts = 0
        self.strength_db = strength_db
        # Wrong use is told now, and what short blocks need is loaded now: not at the first block.
        self._made(16000, 1, 160 if fixed else None)

    def _made(self, rate: int, channels: int, size: int | None) -> Stream:
        guard = guard_for(self._enhancer, rate, channels, size, behind_s=1.0)
        usual = max(round(_USUAL_S * rate), 1) if size is None else None
        stream = guard.stream(rate, channels, block_size=size, usual_size=usual)
        if stream.channels_out != channels:
            raise ShapeError(f"{self._enhancer.name} makes fewer channels; choose another method here")
        stream.set_strength(self.strength_db)
        stream.bypass = not self._enabled
        return stream

    @property
    def enabled(self) -> bool:
        """While false, the delayed input passes; switching takes 20 ms and does not click."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._enabled = bool(on)
        if self._stream is not None:
            self._stream.bypass = not self._enabled

    def set_strength(self, db: float) -> None:
        """Limit the attenuation, see :meth:`unmuffle.Stream.set_strength`."""
        if self._stream is not None:
            self._stream.set_strength(db)
        elif math.isnan(db) or db < 0:
            raise ParameterError(f"strength = {db!r} dB; give 0 (input unchanged) to inf (full effect)")
        self.strength_db = float(db)

    @property
    def latency_ms(self) -> float:
        """Delay of the stream that is running; of one at 16 kHz before it runs."""
        stream = self._stream or self._made(16000, 1, None)
        return stream.block_latency_ms

    def reset(self) -> None:
        """The signal has ended; the next block begins another."""
        self._stream = None

    def process(self, block: Samples, sample_rate: int) -> Samples:
        """``(channels, n)`` float samples in [-1, 1]; as many come back.

        Raises:
            InputError: the block cannot be used; the stream goes on with the next.
        """
        channels, size = block.shape
        stream = self._stream
        same = stream is not None and (stream.sample_rate, stream.channels) == (sample_rate, channels)
        if stream is None or not same or (stream.block_size is not None and stream.block_size != size):
            if stream is not None:
                self.restarts += 1
            first = stream is None or not same
            stream = self._stream = self._made(sample_rate, channels, size if self._fixed and first and size else None)
        return stream.process_block(block)

    def process_pcm(self, samples: NDArray[Any], sample_rate: int) -> NDArray[Any]:
        """16-bit samples ``(channels, n)``; what would go beyond full scale stops there."""
        if samples.dtype != np.int16:
            raise DtypeError(f"samples are {samples.dtype}; 16-bit ones (int16) are expected here")
        out = self.process(samples.astype(np.float32) / np.float32(_FULL), sample_rate)
        return np.clip(np.rint(out * _FULL), -_FULL, _FULL - 1).astype(np.int16)
