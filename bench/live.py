"""Does live mode stand an hour: late blocks, exactness, memory, and the time that is left?

    python bench/live.py [--minutes 60] [--methods log-mmse,classic]

The run of the slow test (``tests/live``): a simulated device with blocks of 16 to 1023 samples at 16 kHz calls
the real callback, the worker runs in its own thread, every sample that is played is compared with the offline
result. The device does not wait for a clock but for the worker, so an hour passes in minutes; what is late
would be late by our own fault. *load* is the worker's time as a share of the sound's.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy

sys.path.insert(0, str(common.ROOT / "tests" / "live"))


def main() -> None:
    from live_helpers import stream_for

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--methods", default="log-mmse,classic")
    args = options.parse_args()
    before = common.load_average()
    rows = []
    for name in args.methods.split(","):
        live, compared, first, last, speed = stream_for(60 * args.minutes, method=name)
        row = {"method": name, "minutes": args.minutes, "compared_samples": compared, "speed": speed}
        row |= {"memory_before_mib": first, "memory_after_mib": last, "delay_samples": live.delay_samples}
        rows.append(row | {"load": asdict(live.load), "counts": asdict(live.counts)})
        print(f"{name}: {speed:.0f}x real time, {live.counts.late} late, {last - first:+.2f} MiB", flush=True)
    common.save("live" if args.minutes >= 60 else "live-trial", ("onnxruntime",), rows, load_before=before)


def section(data: dict[str, Any]) -> list[str]:
    """The part of docs/numbers.md."""
    rows = []
    for row in data["results"]:
        load, counts = row["load"], row["counts"]
        growth = row["memory_after_mib"] - row["memory_before_mib"]
        cells = [f"`{row['method']}`", f"{row['minutes']:g}", f"{counts['blocks']}", f"{counts['late']}"]
        cells += [f"{row['compared_samples']}", f"{growth:+.2f}"]
        rows.append([*cells, f"{100 * load['p50']:.1f} / {100 * load['p99']:.1f}", f"{row['speed']:.0f}"])
    head = ["method", ">minutes", ">blocks", ">late by us", ">samples equal to the offline result"]
    return [
        "## Live",
        "",
        "An hour of sound through the live engine: blocks of odd sizes from a simulated device at 16 kHz, the worker "
        "in its thread, the delay constant to the sample.",
        "",
        *common.table([*head, ">memory, MiB", ">load p50 / p99, %", ">times real time"], rows),
        "",
        *(common.verdict(f"{r['method']}: blocks late by us", r["counts"]["late"], 0) for r in data["results"]),
        "",
        common.provenance(data),
        "",
    ]


if __name__ == "__main__":
    main()
