"""A stream handler for FastRTC that gives the voice back enhanced.

::

    stream = Stream(handler=UnmuffleHandler(), modality="audio", mode="send-receive")
    stream.ui.launch()

One channel, 48 kHz in and out. To enhance what another handler hears, use `Blocks` in its ``receive``.
"""

from __future__ import annotations

import math
import queue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..enhancers.base import Enhancer
from ..errors import MissingExtraError
from .blocks import Blocks

try:
    from fastrtc import StreamHandler
except ImportError:
    raise MissingExtraError("the handler for FastRTC", "fastrtc") from None

_WAIT_S = 0.1  # FastRTC asks again; a thread that waits for ever could not be ended
_ROOM = 100  # frames (2 s) that may wait when nobody fetches them; older ones are dropped


class UnmuffleHandler(StreamHandler):
    """Enhances what it receives and emits it.

    Args:
        method: a name from `unmuffle methods`, or an enhancer.
        strength_db: most attenuation; infinite for the full effect.
        sample_rate: of input and output; a multiple of 50.
        params: of the method.
    """

    def __init__(
        self,
        method: str | Enhancer = "auto",
        *,
        strength_db: float = math.inf,
        sample_rate: int = 48000,
        **params: Any,
    ) -> None:
        super().__init__("mono", output_sample_rate=sample_rate, input_sample_rate=sample_rate)
        self._made = (method, strength_db, sample_rate, params)
        self._blocks = Blocks(method, strength_db=strength_db, **params)
        self._queue: queue.Queue[tuple[int, NDArray[np.int16]]] = queue.Queue(_ROOM)

    def receive(self, frame: tuple[int, NDArray[np.int16]]) -> None:
        """Enhance a frame and keep it for :meth:`emit`."""
        rate, samples = frame
        out = self._blocks.process_pcm(np.asarray(samples).reshape(1, -1), rate)
        while True:
            try:
                self._queue.put_nowait((rate, out))
                return
            except queue.Full:
                try:
                    self._queue.get_nowait()
                except queue.Empty:
                    continue

    def emit(self) -> tuple[int, NDArray[np.int16]] | None:
        """The next frame, or ``None`` if there is none yet."""
        try:
            return self._queue.get(timeout=_WAIT_S)
        except queue.Empty:
            return None

    def copy(self) -> UnmuffleHandler:
        """A handler for another connection, with the same settings."""
        method, strength_db, sample_rate, params = self._made
        return UnmuffleHandler(method, strength_db=strength_db, sample_rate=sample_rate, **params)

    def shutdown(self) -> None:
        """The connection has ended."""
        self._blocks.reset()

    @property
    def enabled(self) -> bool:
        """While false, the delayed input passes; switching takes 20 ms and does not click."""
        return self._blocks.enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._blocks.enabled = on

    @property
    def latency_ms(self) -> float:
        """Delay of the handler, on or off."""
        return self._blocks.latency_ms
