"""How much time does a long file take by the networks, with the machine code that is loaded for it and without?

    python bench/long_files.py [--minutes 15] [--rounds 5]

One thread, 16 kHz: the bundled noisy recording, over and over, as one signal in memory, and as two channels of which
the second hears it a millisecond later. In each round every network does it both ways, in an order that is drawn anew;
machine code is kept away by making no signal long enough for it. Processor time; reading and writing files is not part
of it. Numba's import and the loading of the code come before and are told for themselves.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

RATE = 16_000
ROWS = {  # name and channels
    "`live`": ("live", 1),
    "`live`, stereo": ("live", 2),
    "`live-low`": ("live-low", 1),
    "`live-low`, stereo": ("live-low", 2),
}
TARGET = 200.0  # times real time, of `live`
LOADING = (
    "import time; from unmuffle.enhancers.neural.model import shipped; model = shipped('live'); "
    "t = time.process_time(); from unmuffle.enhancers.neural.native import native; native(model); "
    "print(time.process_time() - t)"
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=15.0, help="of the signal")
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    if importlib.util.find_spec("numba") is None:
        options.error("machine code needs numba: pip install unmuffle[live]")
    import speed

    from unmuffle.enhancers import registry
    from unmuffle.enhancers.base import run_offline
    from unmuffle.enhancers.neural import network

    before = common.load_average()
    x = speed.recording(RATE, 60.0 * args.minutes)
    sounds = {1: x, 2: np.stack([x, np.roll(x, RATE // 1000)])}
    ways = {"code": network._LONG, "graph": 1 << 62}
    times: dict[tuple[str, str], list[float]] = {(row, way): [] for row in ROWS for way in ways}
    rng = np.random.default_rng(0)
    for number in range(args.rounds + 1):
        for index in rng.permutation(len(times)):
            row, way = list(times)[index]
            network._LONG = ways[way]
            name, channels = ROWS[row]
            method = registry.load(name)
            cpu, _ = speed.clocked(lambda x, method=method: run_offline(method, x, RATE), sounds[channels])
            if number:  # the first round loads all that there is to load
                times[row, way].append(cpu / (x.size / RATE))
        print(f"round {number} of {args.rounds}, load {common.load_average()}", flush=True)
    loading = [float(subprocess.check_output([sys.executable, "-c", LOADING])) for _ in range(5)]
    found: dict[str, Any] = {}
    for row in ROWS:
        for way in ways:
            taken = times[row, way]
            found.setdefault(row, {})[way] = {"median": float(np.median(taken)), "low": min(taken)}
        ratio = np.array(times[row, "code"]) / np.array(times[row, "graph"])
        found[row]["ratio"] = float(np.median(ratio))
    results = {"minutes": args.minutes, "rounds": args.rounds, "networks": found}
    results["loading_s"] = float(np.median(loading))
    common.save("long_files", ("numba", "onnxruntime"), results, load_before=before)


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    rows = []
    for name, row in found["networks"].items():
        cells = [name]
        for way in ("code", "graph"):
            cells += [f"{row[way][k]:.4f} ({1.0 / row[way][k]:.0f})" for k in ("median", "low")]
        rows.append([*cells, f"{row['ratio']:.2f}"])
    head = ["network", ">machine code, median", ">best", ">onnxruntime, median", ">best", ">ratio"]
    live = found["networks"]["`live`"]["code"]
    return [
        "## Long files",
        "",
        f"A signal of {found['minutes']:.0f} minutes at 16 kHz through a network, one thread: processor time as a "
        "share of real time, and in brackets how many times faster than real time that is; as machine code, which is "
        "taken from 60 000 frames on where numba is installed, and as a graph by onnxruntime. Medians and best of "
        f"{found['rounds']} rounds in which all took turns; the ratio is the median of those of the rounds. Machine "
        f"code takes {found['loading_s']:.2f} s of processor time to load, once in a process.",
        "",
        *common.table(head, rows),
        "",
        common.verdict("`live`, times real time, median", 1.0 / live["median"], TARGET, at_most=False),
        "",
        common.provenance(data),
        "",
    ]


if __name__ == "__main__":
    main()
