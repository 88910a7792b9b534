"""Each integration against the real package: as much sound back, aligned, the same delay on and off."""

import asyncio
import fractions

import numpy as np
import pytest

RATE = 48000
pytestmark = pytest.mark.filterwarnings("ignore")  # what these packages warn about is theirs



@pytest.fixture(scope="module")
def tone():
    """2 s, 16 bits, mono."""
    t = np.arange(2 * RATE) / RATE
    return np.rint(8000 * np.sin(2 * np.pi * 440 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype(np.int16)


def check_aligned(out, tone, latency_ms, off):
    """Within ``off`` the enhancement was off: there the output is the input, late by the latency, to the last bit."""
    late = round(latency_ms * RATE / 1000)
    np.testing.assert_array_equal(out[off], tone[off.start - late : off.stop - late])
    # A step of the tone at full level would bend by thousands; the tone bends by 27.
    assert np.abs(np.diff(out[RATE // 4 :].astype(int), 2)).max() < 120


OFF = slice(int(1.1 * RATE), int(1.5 * RATE))


def toggle(at):
    return not 1.0 * RATE <= at < 1.5 * RATE


def test_pipecat(tone):
    pytest.importorskip("pipecat")
    from pipecat.frames.frames import FilterEnableFrame, FilterUpdateSettingsFrame

    from unmuffle.integrations.pipecat import UnmuffleFilter

    async def talk():
        made = UnmuffleFilter("classic")
        await made.start(RATE)
        out, at, enabled = [], 0, True
        sizes = [960, 960, 320, 1441]  # transports are not all alike
        for i in range(10_000):
            if at >= len(tone):
                break
            if toggle(at) != enabled:
                enabled = not enabled
                await made.process_frame(FilterEnableFrame(enable=enabled))
            block = tone[at : at + sizes[i % 4]]
            out.append(await made.filter(block.tobytes()))
            assert len(out[-1]) == 2 * len(block)
            at += len(block)
        await made.process_frame(FilterUpdateSettingsFrame(settings={"strength_db": 0.0, "colour": "red"}))
        assert made._blocks.strength_db == 0.0
        await made.process_frame(FilterUpdateSettingsFrame(settings={"strength_db": -3}))
        assert made._blocks.strength_db == 0.0
        latency = made.latency_ms
        await made.stop()
        return np.frombuffer(b"".join(out), np.int16), latency

    out, latency = asyncio.run(talk())
    check_aligned(out, tone, latency, OFF)


def test_pipecat_in_a_real_transport(tone):
    """Pipecat's own input transport calls the filter, and pushes what it gives down the pipeline."""
    pytest.importorskip("pipecat")
    from pipecat.frames.frames import InputAudioRawFrame, StartFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.transports.base_input import BaseInputTransport
    from pipecat.transports.base_transport import TransportParams

    from unmuffle.integrations.pipecat import UnmuffleFilter

    try:
        from pipecat.pipeline.runner import PipelineRunner
        from pipecat.pipeline.task import PipelineParams, PipelineTask
    except ImportError:
        pytest.skip("this version of Pipecat starts its pipelines in another way")

    heard, ready, begun = [], asyncio.Event(), asyncio.Event()

    class Input(BaseInputTransport):
        async def start(self, frame):
            await super().start(frame)
            await self.set_transport_ready(frame)
            ready.set()

    class Listener(FrameProcessor):
        async def process_frame(self, frame, direction):
            await super().process_frame(frame, direction)
            if isinstance(frame, StartFrame):
                begun.set()
            if isinstance(frame, InputAudioRawFrame):
                heard.append(frame.audio)
            await self.push_frame(frame, direction)

    async def talk():
        params = TransportParams(
            audio_in_enabled=True, audio_in_sample_rate=RATE, audio_in_filter=UnmuffleFilter("identity"),
            audio_in_passthrough=True,
        )  # fmt: skip
        source = Input(params)
        task = PipelineTask(Pipeline([source, Listener()]), params=PipelineParams(audio_in_sample_rate=RATE))
        running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
        await ready.wait()  # both ends have started
        await begun.wait()
        for i in range(0, RATE // 2, 960):
            await source.push_audio_frame(InputAudioRawFrame(tone[i : i + 960].tobytes(), RATE, 1))
        while sum(map(len, heard)) < RATE:
            await asyncio.sleep(0.05)
        await task.cancel()
        await running

    asyncio.run(asyncio.wait_for(talk(), 300))
    np.testing.assert_array_equal(np.frombuffer(b"".join(heard), np.int16), tone[: RATE // 2])


@pytest.mark.parametrize("channels", [1, 2])
def test_livekit(tone, channels):
    pytest.importorskip("livekit.rtc")
    from livekit import rtc

    from unmuffle.integrations.livekit import UnmuffleProcessor

    made = UnmuffleProcessor("classic")
    assert isinstance(made, rtc.FrameProcessor)
    out = []
    for at in range(0, len(tone), 480):
        made.enabled = toggle(at)
        assert made.enabled  # LiveKit would not call it otherwise
        assert made.bypassed == (not toggle(at))
        samples = np.repeat(tone[at : at + 480], channels)
        frame = rtc.AudioFrame(samples.tobytes(), RATE, channels, 480, userdata={"n": at})
        back = made._process(frame)  # as AudioStream does
        assert (back.sample_rate, back.num_channels, back.samples_per_channel) == (RATE, channels, 480)
        assert back.userdata == {"n": at}
        out.append(np.frombuffer(back.data, np.int16).reshape(-1, channels))
    joined = np.concatenate(out)
    for c in range(channels):
        check_aligned(joined[:, c], tone, made.latency_ms, OFF)
    made._close()


def test_aiortc(tone):
    pytest.importorskip("aiortc")
    from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
    from av import AudioFrame

    from unmuffle.integrations.aiortc import EnhancedTrack

    class Source(MediaStreamTrack):
        kind = "audio"
        at = 0

        async def recv(self):
            if self.at >= len(tone):
                raise MediaStreamError
            samples = np.repeat(tone[self.at : self.at + 960], 2).reshape(1, -1)  # stereo, packed, as WebRTC gives it
            frame = AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, self.at, fractions.Fraction(1, RATE)
            self.at += 960
            return frame

    async def talk():
        source = Source()
        track = EnhancedTrack(source, "classic")
        out = []
        for at in range(0, len(tone), 960):
            track.enabled = toggle(at)
            frame = await track.recv()
            assert (frame.pts, frame.sample_rate, frame.samples) == (at, RATE, 960)
            assert frame.time_base.denominator == RATE
            out.append(frame.to_ndarray().reshape(-1, 2))
        latency = track.latency_ms
        with pytest.raises(MediaStreamError):
            await track.recv()
        assert track.readyState == source.readyState == "ended"
        return np.concatenate(out), latency

    out, latency = asyncio.run(talk())
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    check_aligned(out[:, 0], tone, latency, OFF)


def test_aiortc_through_a_real_connection(tone):
    """Two peers on loopback: what the other hears is the enhanced track."""
    pytest.importorskip("aiortc")
    from aiortc import RTCPeerConnection
    from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

    from unmuffle.integrations.aiortc import EnhancedTrack

    async def talk():
        here, there = RTCPeerConnection(), RTCPeerConnection()
        heard = asyncio.Queue()

        @there.on("track")
        def on_track(track):
            async def listen():
                for _ in range(10):
                    heard.put_nowait(await track.recv())

            heard.task = asyncio.create_task(listen())

        here.addTrack(EnhancedTrack(AudioStreamTrack(), "classic"))
        await here.setLocalDescription(await here.createOffer())
        await there.setRemoteDescription(here.localDescription)
        await there.setLocalDescription(await there.createAnswer())
        await here.setRemoteDescription(there.localDescription)
        try:
            return [await asyncio.wait_for(heard.get(), 30) for _ in range(10)]
        finally:
            await here.close()
            await there.close()

    for attempt in range(3):  # on a machine that is busy, the handshakes of WebRTC time out now and then
        try:
            frames = asyncio.run(talk())
            break
        except (asyncio.TimeoutError, MediaStreamError):
            if attempt == 2:
                raise
    assert {f.sample_rate for f in frames} == {48000}


def test_fastrtc(tone):
    pytest.importorskip("fastrtc")
    from fastrtc import StreamHandler

    from unmuffle.integrations.fastrtc import UnmuffleHandler

    first = UnmuffleHandler("classic")
    made = first.copy()  # as FastRTC makes one for each connection
    assert isinstance(made, StreamHandler)
    assert made is not first
    assert made.output_sample_rate == RATE
    assert made.emit() is None
    out = []
    for at in range(0, len(tone), 960):
        made.enabled = toggle(at)
        made.receive((RATE, tone[at : at + 960].reshape(1, -1)))
        rate, samples = made.emit()
        assert rate == RATE
        assert samples.shape == (1, 960)
        out.append(samples[0])
    check_aligned(np.concatenate(out), tone, made.latency_ms, OFF)
    for _ in range(200):  # nobody fetches: bounded, and never stuck
        made.receive((RATE, tone[:960].reshape(1, -1)))
    assert made._queue.qsize() == 100
    made.shutdown()


@pytest.mark.parametrize("name", ["pipecat", "livekit", "aiortc", "fastrtc"])
def test_without_the_package_the_way_out_is_named(name, monkeypatch):
    import importlib
    import sys

    from unmuffle.errors import MissingExtraError

    module = f"unmuffle.integrations.{name}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    for known in [k for k in sys.modules if k.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'unmuffle\[{name}\]'"):
        importlib.import_module(module)
