"""A LiveKit track that is enhanced where it is received (extra ``livekit``).

In a room: ``rtc.AudioStream(track, noise_cancellation=UnmuffleProcessor())``. Here the frames are made up.
"""

import numpy as np

from unmuffle.errors import MissingExtraError

try:
    from livekit import rtc

    from unmuffle.integrations.livekit import UnmuffleProcessor
except (ImportError, MissingExtraError) as error:
    print(f"left out: {error}")
    raise SystemExit(0) from None

processor = UnmuffleProcessor("log-mmse", strength_db=18.0)
rng = np.random.default_rng(0)
for _ in range(200):  # 10 ms each
    noise = (1000 * rng.standard_normal(480)).astype(np.int16)
    frame = processor._process(rtc.AudioFrame(noise.tobytes(), 48000, 1, 480))
clear = np.frombuffer(frame.data, np.int16)
print(f"noise is down by {20 * np.log10(noise.std() / clear.std()):.0f} dB, {processor.latency_ms:.0f} ms later")
processor.enabled = False  # from here on the input passes, at the same delay
