"""Ten-millisecond blocks through an enhancer, as a voice agent or a call would do it."""

import numpy as np

import unmuffle

RATE, BLOCK = 48000, 480
stream = unmuffle.load("log-mmse").stream(RATE, channels=1, block_size=BLOCK)
print(f"delay: {stream.block_latency_ms:.1f} ms, of which {stream.latency_ms:.1f} ms are the method's")

rng = np.random.default_rng(0)
for i in range(300):
    microphone = (0.05 * rng.standard_normal(BLOCK)).astype(np.float32)
    loudspeaker = stream.process_block(microphone)  # exactly BLOCK samples, always
    if i == 200:
        stream.bypass = True  # no click, same delay
level = 10 * np.log10(np.mean(loudspeaker**2) / np.mean(microphone**2))
print(f"bypassed: {level:+.1f} dB")
