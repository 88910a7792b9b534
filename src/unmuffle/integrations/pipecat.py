"""An audio filter for the input (or output) of a Pipecat transport: what comes after hears clear speech.

::

    transport = DailyTransport(url, token, "bot", DailyParams(audio_in_enabled=True, audio_in_filter=UnmuffleFilter()))

``FilterEnableFrame(False)`` in the pipeline passes the input, with the same delay; ``FilterUpdateSettingsFrame`` with
``{"strength_db": 12.0}`` sets the strength. The delay is ``UnmuffleFilter(...).latency_ms``.

20 ms of sound take a fraction of a millisecond, in the event loop, as Pipecat's own filters do.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from ..enhancers.base import Enhancer
from ..errors import MissingExtraError, ParameterError, UnmuffleError
from .blocks import Blocks

try:
    from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
    from pipecat.frames.frames import FilterControlFrame, FilterEnableFrame, FilterUpdateSettingsFrame
except ImportError:
    raise MissingExtraError("the filter for Pipecat", "pipecat") from None

_log = logging.getLogger("unmuffle.integrations")


class UnmuffleFilter(BaseAudioFilter):
    """Enhances 16-bit sound, block by block.

    Args:
        method: a name from `unmuffle methods`, or an enhancer.
        strength_db: most attenuation; infinite for the full effect.
        channels: interleaved in what the transport hands over (1 unless ``audio_in_channels`` says otherwise).
        params: of the method.
    """

    def __init__(
        self, method: str | Enhancer = "auto", *, strength_db: float = math.inf, channels: int = 1, **params: Any
    ) -> None:
        super().__init__()
        self._blocks = Blocks(method, strength_db=strength_db, **params)
        self._channels = channels
        self._rate = 16000

    async def start(self, sample_rate: int) -> None:
        """The transport begins."""
        self._rate = sample_rate
        self._blocks.reset()

    async def stop(self) -> None:
        """The transport ends."""
        self._blocks.reset()

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """On, off, or another strength. What has no meaning is logged, and changes nothing."""
        if isinstance(frame, FilterEnableFrame):
            self._blocks.enabled = frame.enable
        elif isinstance(frame, FilterUpdateSettingsFrame):
            for name, value in frame.settings.items():
                try:
                    if name != "strength_db":
                        raise ParameterError(f"the filter has no setting {name!r}; it has: strength_db")
                    self._blocks.set_strength(float(value))
                except (UnmuffleError, TypeError, ValueError) as error:
                    _log.warning("a setting was left as it is: %s", error)

    async def filter(self, audio: bytes) -> bytes:
        """As many bytes as came in."""
        samples = np.frombuffer(audio, np.int16).reshape(-1, self._channels).T
        return self._blocks.process_pcm(samples, self._rate).T.tobytes()

    @property
    def latency_ms(self) -> float:
        """Delay of the filter, on or off."""
        return self._blocks.latency_ms
