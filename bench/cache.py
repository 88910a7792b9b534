"""How long does a hit take for an hour of sound?

A wav of one hour at 48 kHz, 16 bit (345 MB) is stored once and fetched five times through
`unmuffle.cache.enhance_file`: hashing the input, finding the entry, copying the result and checking its digest. Beside
it, what the machine allows: SHA-256 over the file, and a plain copy. On a busy machine the processor time is the figure
to read: it is the time that a hit takes on an idle one, or a little less.

    nice python bench/cache.py            # 1 minute, 1.1 GB of disk
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

from unmuffle.cache import enhance_file, open_cache
from unmuffle.cache.key import file_digest
from unmuffle.io import open_writer
from unmuffle.io.info import MediaInfo


def main() -> None:
    load = common.load_average()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "hour.wav"
        rate, block = 48000, (0.05 * np.random.default_rng(0).standard_normal((1, 48000 * 10))).astype(np.float32)
        like = MediaInfo("-", container="memory", codec="pcm", sample_rate=rate, channels=1, sample_format="PCM_16")
        with open_writer(str(source), like, length=3600 * rate) as writer:
            for _ in range(360):
                writer.write(block)
        cache = open_cache(Path(folder) / "cache")
        output = Path(folder) / "out.wav"
        _, state = enhance_file(cache, source, output, "identity")
        assert state == "miss"
        hits, cpu, parts = [], [], {"sha256_s": [], "copy_s": []}
        for _ in range(5):
            begun, used = time.perf_counter(), time.process_time()
            _, state = enhance_file(cache, source, output, "identity")
            cpu.append(time.process_time() - used)
            hits.append(time.perf_counter() - begun)
            assert state == "hit"
            begun = time.perf_counter()
            file_digest(source)
            parts["sha256_s"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            shutil.copyfile(source, Path(folder) / "copy.wav")
            parts["copy_s"].append(time.perf_counter() - begun)
        results = {
            "bytes": source.stat().st_size,
            "hit_s": sorted(hits),
            "hit_median_s": float(np.median(hits)),
            "hit_processor_s": float(np.median(cpu)),
            **{k: float(np.median(v)) for k, v in parts.items()},
        }
    print(results)
    common.save("cache", (), results, load_before=load)


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    rows = [
        ["a hit, wall clock", f"{found['hit_median_s']:.2f}"],
        ["a hit, processor time", f"{found['hit_processor_s']:.2f}"],
        ["SHA-256 over the file", f"{found['sha256_s']:.2f}"],
        ["a plain copy", f"{found['copy_s']:.2f}"],
    ]
    text = f"Seconds for a wav of one hour ({found['bytes'] / 1e6:.0f} MB) whose result is in the cache on disk."
    lines = ["## Cache", "", text, "", *common.table(["what", ">median"], rows), ""]
    lines.append(common.verdict("a hit for an hour of sound", found["hit_median_s"], 1.0, unit=" s"))
    return [*lines, "", common.provenance(data), ""]


if __name__ == "__main__":
    main()
