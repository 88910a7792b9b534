"""Take a loudspeaker's echo out of a microphone, 10 ms at a time, while somebody talks beside it."""

import numpy as np

from unmuffle import load

rate = 16000
rng = np.random.default_rng(0)
rhythm = np.clip(np.sin(2 * np.pi * 2 * np.arange(6 * rate) / rate) + 0.4, 0, 1)
far = 0.1 * rng.standard_normal(6 * rate) * rhythm  # what the loudspeaker plays
room = 0.1 * rng.standard_normal(1600) * np.exp(-np.arange(1600) / 300)
echo = np.convolve(far, room)[: far.size]
near = np.where(np.arange(far.size) > 4 * rate, 0.05 * np.sin(2 * np.pi * 300 * np.arange(far.size) / rate), 0)

stream = load("echo-canceller").stream(rate, channels=2)  # microphone, then the loudspeaker's signal
blocks = np.split(np.stack((echo + near, far)).astype(np.float32), 600, axis=1)
out = np.concatenate([stream.process(b) for b in blocks] + [stream.flush()], axis=1)[0]

for start, what in ((0, "at the start"), (3, "after 3 s"), (5, "while the near end talks")):
    part = slice(start * rate, (start + 1) * rate)
    erle = 10 * np.log10(np.sum(echo[part] ** 2) / np.sum((out - near)[part] ** 2))
    print(f"echo down by {erle:.1f} dB {what}")
