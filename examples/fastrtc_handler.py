"""A FastRTC stream that gives the voice back enhanced (extra ``fastrtc``)."""

import numpy as np

from unmuffle.errors import MissingExtraError

try:
    from fastrtc import Stream

    from unmuffle.integrations.fastrtc import UnmuffleHandler
except (ImportError, MissingExtraError) as error:
    print(f"left out: {error}")
    raise SystemExit(0) from None

handler = UnmuffleHandler("log-mmse")
stream = Stream(handler=handler, modality="audio", mode="send-receive")
# stream.ui.launch()  opens the page with the microphone; here the frames are made up.
rng = np.random.default_rng(0)
for _ in range(100):  # 20 ms each
    noise = (1000 * rng.standard_normal((1, 960))).astype(np.int16)
    handler.receive((48000, noise))
    rate, clear = handler.emit()
print(f"noise is down by {20 * np.log10(noise.std() / clear.std()):.0f} dB, {handler.latency_ms:.0f} ms later")
