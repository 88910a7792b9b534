"""A media track that enhances another, for aiortc.

::

    @peer.on("track")
    def on_track(track):
        if track.kind == "audio":
            peer.addTrack(EnhancedTrack(track))
            # or recorder.addTrack(EnhancedTrack(track))

Frames keep their time stamps; the sound in them is later by ``track.latency_ms``, whether the enhancement is on or off.
The work is done in a thread of the event loop's pool: WebRTC's own timers are not held up.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np

from ..enhancers.base import Enhancer
from ..errors import DtypeError, MissingExtraError
from .blocks import Blocks

try:
    from aiortc.mediastreams import MediaStreamTrack
    from av import AudioFrame
except ImportError:
    raise MissingExtraError("the track for aiortc", "aiortc") from None


class EnhancedTrack(MediaStreamTrack):
    """The sound of another track, enhanced; it ends when that ends.

    Args:
        source: an audio track.
        method: a name from `unmuffle methods`, or an enhancer.
        strength_db: most attenuation; infinite for the full effect.
        params: of the method.
    """

    kind = "audio"

    def __init__(
        self, source: MediaStreamTrack, method: str | Enhancer = "auto", *, strength_db: float = math.inf, **params: Any
    ) -> None:
        super().__init__()
        self._source = source
        self._blocks = Blocks(method, strength_db=strength_db, fixed=True, **params)

    async def recv(self) -> AudioFrame:
        """The next frame.

        Raises:
            MediaStreamError: the source has ended.
        """
        try:
            frame = await self._source.recv()
        except BaseException:
            self.stop()
            raise
        return await asyncio.to_thread(self._enhanced, frame)

    def _enhanced(self, frame: AudioFrame) -> AudioFrame:
        if frame.format.name not in ("s16", "s16p"):
            raise DtypeError(f"the track gives {frame.format.name!r} samples; 16-bit ones are expected in WebRTC")
        channels = len(frame.layout.channels)
        samples = frame.to_ndarray()
        if frame.format.is_packed:
            samples = samples.reshape(-1, channels).T
        out = self._blocks.process_pcm(samples, frame.sample_rate)
        laid = np.ascontiguousarray(out.T.reshape(1, -1) if frame.format.is_packed else out)
        made = AudioFrame.from_ndarray(laid, format=frame.format.name, layout=frame.layout.name)
        made.sample_rate = frame.sample_rate
        made.pts = frame.pts
        made.time_base = frame.time_base
        return made

    @property
    def enabled(self) -> bool:
        """While false, the delayed input passes; switching takes 20 ms and does not click."""
        return self._blocks.enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._blocks.enabled = on

    def set_strength(self, db: float) -> None:
        """Limit the attenuation: 0 gives the input back, ``inf`` the full effect."""
        self._blocks.set_strength(db)

    @property
    def latency_ms(self) -> float:
        """Delay of the track, on or off."""
        return self._blocks.latency_ms

    def stop(self) -> None:
        """End this track and the one behind it."""
        super().stop()
        self._source.stop()
