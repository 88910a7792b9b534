"""unmuffle between two GStreamer pipelines: appsink -> enhancer -> appsrc, with time stamps that stay true.

The buffers keep the stamps of the sound in them: what comes out late is stamped with the time at which it went in, so
sound and picture stay together in whatever follows. Needs PyGObject and GStreamer (Debian: python3-gi,
gir1.2-gstreamer-1.0, gir1.2-gst-plugins-base-1.0, gstreamer1.0-plugins-base).
"""

import sys

import numpy as np

import unmuffle

try:
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
except (ImportError, ValueError) as error:
    print(f"left out: {error}")
    raise SystemExit(0) from None

RATE = 48000
CAPS = f"audio/x-raw,format=F32LE,rate={RATE},channels=1,layout=interleaved"
source = sys.argv[1] if len(sys.argv) > 1 else "audiotestsrc wave=white-noise volume=0.1 num-buffers=200"
sink = sys.argv[2] if len(sys.argv) > 2 else "fakesink"

Gst.init(None)
there = Gst.parse_launch(f"{source} ! audioconvert ! audioresample ! {CAPS} ! appsink name=take sync=false")
back = Gst.parse_launch(f"appsrc name=give format=time caps={CAPS} ! audioconvert ! {sink}")
take, give = there.get_by_name("take"), back.get_by_name("give")
for pipeline in (there, back):
    pipeline.set_state(Gst.State.PLAYING)

stream = unmuffle.load("log-mmse").stream(RATE)
taken = given = 0
started = None
squares = [0.0, 0.0]


def push(samples: np.ndarray) -> None:
    """A buffer whose stamp is that of the sound in it; the delay before the first sound is cut off."""
    global given
    early = max(0, stream.latency_samples - given)
    given += len(samples)
    samples = samples[early:]
    if len(samples):
        buffer = Gst.Buffer.new_wrapped(samples.tobytes())
        at = given - len(samples) - stream.latency_samples
        buffer.pts = started + Gst.util_uint64_scale(at, Gst.SECOND, RATE)
        buffer.duration = Gst.util_uint64_scale(len(samples), Gst.SECOND, RATE)
        give.emit("push-buffer", buffer)
        squares[1] += float(np.sum(samples.astype(float) ** 2))


while (sample := take.emit("pull-sample")) is not None:
    buffer = sample.get_buffer()
    started = buffer.pts if started is None else started
    block = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.float32)
    taken += len(block)
    squares[0] += float(np.sum(block.astype(float) ** 2))
    push(stream.process(block))
push(stream.flush())
give.emit("end-of-stream")
ended = back.get_bus().timed_pop_filtered(120 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
for pipeline in (there, back):
    pipeline.set_state(Gst.State.NULL)
assert ended is not None, "the second pipeline did not end"
assert ended.type == Gst.MessageType.EOS, ended.parse_error()
lowered = 10 * np.log10(squares[0] / squares[1])
print(f"{taken} samples in, {given - stream.latency_samples} out, noise down by {lowered:.1f} dB")
