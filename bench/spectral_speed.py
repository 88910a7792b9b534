"""How long the spectral enhancers take: whole files and 10 ms blocks, one thread.

    OMP_NUM_THREADS=1 python bench/spectral_speed.py [METHOD ...]

Prints the share of real time of a whole file at 16 kHz mono (best of five), and mean, median and 99th
percentile of ``Stream.process`` over blocks of 160 samples, in microseconds. Processor time is used
for the whole file, so that a busy machine does not count; the percentiles are wall-clock time.
"""

from __future__ import annotations

import gc
import sys
import time

import numpy as np

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.registry import REGISTRY, load

RATE, BLOCK, SECONDS = 16_000, 160, 30


def main() -> None:
    methods = sys.argv[1:] or ["identity", *(n for n, e in REGISTRY.items() if e.family == "spectral")]
    rng = np.random.default_rng(0)
    x = (0.1 * rng.standard_normal(SECONDS * RATE)).astype(np.float32)
    x *= 1 + np.sin(2 * np.pi * 2 * np.arange(len(x)) / RATE).astype(np.float32)
    for name in methods:
        enhancer = load(name)
        run_offline(enhancer, x[:RATE], RATE)
        whole = []
        for _ in range(5):
            start = time.process_time()
            run_offline(enhancer, x, RATE)
            whole.append(time.process_time() - start)
        stream = enhancer.stream(RATE)
        blocks = []
        used = time.process_time()
        gc.collect()
        for i in range(0, len(x), BLOCK):
            start = time.perf_counter()
            stream.process(x[i : i + BLOCK])
            blocks.append(time.perf_counter() - start)
        used = time.process_time() - used
        wall = 1e6 * np.array(blocks)
        print(
            f"{name:22s} whole {min(whole) / SECONDS:.5f}  block {1e6 * used / len(wall):4.0f} us cpu mean, "
            f"{np.median(wall):4.0f} median, {np.percentile(wall, 90):4.0f} p90, {np.percentile(wall, 99):5.0f} p99"
        )


if __name__ == "__main__":
    main()
