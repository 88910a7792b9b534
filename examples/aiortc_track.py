"""A peer that gives back what it hears, enhanced (extra ``aiortc``); both peers are on this machine."""

import asyncio

from unmuffle.errors import MissingExtraError

try:
    from aiortc import RTCPeerConnection
    from aiortc.mediastreams import AudioStreamTrack

    from unmuffle.integrations.aiortc import EnhancedTrack
except (ImportError, MissingExtraError) as error:
    print(f"left out: {error}")
    raise SystemExit(0) from None


async def main() -> None:
    """Offer, answer, ten frames."""
    caller, echo, heard = RTCPeerConnection(), RTCPeerConnection(), asyncio.Queue()
    echo.on("track", lambda track: echo.addTrack(EnhancedTrack(track, "log-mmse")))
    caller.on("track", heard.put_nowait)
    caller.addTrack(AudioStreamTrack())  # a microphone, in real life
    await caller.setLocalDescription(await caller.createOffer())
    await echo.setRemoteDescription(caller.localDescription)
    await echo.setLocalDescription(await echo.createAnswer())
    await caller.setRemoteDescription(echo.localDescription)
    track = await asyncio.wait_for(heard.get(), 20)
    frames = [await asyncio.wait_for(track.recv(), 20) for _ in range(10)]
    print(f"{len(frames)} frames of {frames[0].samples} samples came back at {frames[0].sample_rate} Hz")
    await caller.close()
    await echo.close()


asyncio.run(main())
