"""A frame processor for LiveKit: for a subscribed track, or for the input of an agent.

::

    stream = rtc.AudioStream(track, sample_rate=48000, noise_cancellation=UnmuffleProcessor())
    room_io.RoomInputOptions(noise_cancellation=UnmuffleProcessor())                       # livekit-agents

``processor.enabled = False`` passes the input with the same delay. LiveKit itself skips a processor whose ``enabled``
is false, and the sound would then jump ahead by the delay of the method; therefore it reads as true always, and
``processor.bypassed`` says what was set.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..enhancers.base import Enhancer
from ..errors import MissingExtraError
from .blocks import Blocks

try:
    from livekit import rtc
except ImportError:
    raise MissingExtraError("the processor for LiveKit", "livekit") from None


class UnmuffleProcessor(rtc.FrameProcessor[rtc.AudioFrame]):
    """Enhances the frames of one stream; make one for each.

    Args:
        method: a name from `unmuffle methods`, or an enhancer.
        strength_db: most attenuation; infinite for the full effect.
        params: of the method.
    """

    def __init__(self, method: str | Enhancer = "auto", *, strength_db: float = math.inf, **params: Any) -> None:
        # LiveKit's frames have one size (10 ms unless asked otherwise): the delay can be as small as that allows.
        self._blocks = Blocks(method, strength_db=strength_db, fixed=True, **params)

    @property
    def enabled(self) -> bool:
        """Always true, so that LiveKit calls it; see the module. Set it to switch the enhancement."""
        return True

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._blocks.enabled = value

    @property
    def bypassed(self) -> bool:
        """Does the input pass as it is?"""
        return not self._blocks.enabled

    def set_strength(self, db: float) -> None:
        """Limit the attenuation: 0 gives the input back, ``inf`` the full effect."""
        self._blocks.set_strength(db)

    @property
    def latency_ms(self) -> float:
        """Delay of the processor, on or off."""
        return self._blocks.latency_ms

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels).T
        out = self._blocks.process_pcm(samples, frame.sample_rate)
        # Interleaved anew; what LiveKit or others keep with the frame goes along.
        return rtc.AudioFrame(
            bytearray(out.T.tobytes()), frame.sample_rate, frame.num_channels, frame.samples_per_channel,
            userdata=frame.userdata,
        )  # fmt: skip

    def _close(self) -> None:
        self._blocks.reset()
