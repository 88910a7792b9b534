"""unmuffle inside other programs: one file for each, imported only when asked for.

=============  ==============================================================================
blocks         what they share: blocks in, as many samples out, at any rate, with a bypass
pipecat        an audio filter for the input of a Pipecat transport (extra ``pipecat``)
livekit        a frame processor for LiveKit tracks and streams (extra ``livekit``)
aiortc         a media track that enhances another (extra ``aiortc``)
fastrtc        a stream handler that gives the voice back enhanced (extra ``fastrtc``)
=============  ==============================================================================

All of them keep time: as many samples come out as went in, the delay is the same whether the enhancement is on or off,
and switching it does not click. Each is guarded: a method that fails is replaced, see `unmuffle.quality.fallback`.
FFmpeg, GStreamer, OBS and PipeWire need no code: recipes are in ``docs/integrations.md``.
"""
