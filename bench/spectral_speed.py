"""How long the spectral enhancers take: whole files and 10 ms blocks, one thread.

    OMP_NUM_THREADS=1 python bench/spectral_speed.py [METHOD ...]

Prints the share of real time of a whole file at 16 kHz mono (processor time, best of five), and mean,
median and 99th percentile of ``Stream.process`` over blocks of 160 samples, in microseconds. The signal
is streamed five times and each block counts with its least time, so that other programs on the machine
are left out and what the method itself does now and then is not; the first run is shown as it was.
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
        runs = []
        gc.collect()
        for _ in range(5):
            stream = enhancer.stream(RATE)
            blocks = []
            for i in range(0, len(x), BLOCK):
                start = time.perf_counter()
                stream.process(x[i : i + BLOCK])
                blocks.append(time.perf_counter() - start)
            runs.append(blocks)
        least = 1e6 * np.min(runs, axis=0)
        first = 1e6 * np.array(runs[0])
        print(
            f"{name:22s} whole {min(whole) / SECONDS:.5f}  block mean {least.mean():4.0f}, "
            f"median {np.median(least):4.0f}, p99 {np.percentile(least, 99):4.0f}, max {least.max():4.0f} us "
            f"(first run: median {np.median(first):4.0f}, p99 {np.percentile(first, 99):5.0f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
