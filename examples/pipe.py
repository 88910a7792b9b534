"""Raw 16-bit mono samples from standard input to standard output, 10 ms at a time: for parec, pacat and the like.

    parec --format=s16le --rate=48000 --channels=1 | python pipe.py 48000 | pacat --format=s16le --rate=48000
"""

import sys

import numpy as np

from unmuffle.integrations.blocks import Blocks

rate = int(sys.argv[1]) if len(sys.argv) > 1 else 48000
method = sys.argv[2] if len(sys.argv) > 2 else "log-mmse"
blocks = Blocks(method, fixed=True)
if sys.stdin.isatty() or len(sys.argv) < 2:
    print(f"usage: pipe.py RATE [METHOD]; the delay of {method} is {blocks.latency_ms:.1f} ms")
    raise SystemExit(0)
size = rate // 100
while data := sys.stdin.buffer.read(2 * size):
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)
    padded = np.pad(samples, (0, size - len(samples)))[np.newaxis]
    sys.stdout.buffer.write(blocks.process_pcm(padded, rate)[0, : len(samples)].astype("<i2").tobytes())
    sys.stdout.buffer.flush()
