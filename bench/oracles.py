"""How far could each kind of answer get? Perfect masks and filters, computed from the clean speech, on the 16 kHz set.

    UNMUFFLE_DATA=DATA python bench/oracles.py
    python bench/oracles.py --data DATA [--limit 4]

``DATA`` holds ``dev16`` with ``clean`` and ``noisy`` (pairs of one name). The speech and the noise of each pair are
known, so each answer that a network may be asked for (``unmuffle.train.targets``) can be given without an error: an
upper bound for networks of that kind on this STFT (20 ms windows, 10 ms hop). PESQ-WB, STOI, ESTOI, SI-SDR; means
over files with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy

RATE = 16_000
METRICS = {"pesq_wb": 3, "stoi": 3, "estoi": 3, "si_sdr": 2}
TITLES = {"pesq_wb": "PESQ-WB", "stoi": "STOI", "estoi": "ESTOI", "si_sdr": "SI-SDR (dB)"}
NAMES = {
    "noisy": "unprocessed",
    "ibm": "ideal binary mask",
    "irm": "ideal ratio mask",
    "iam": "ideal amplitude mask (at most 2)",
    "mapping": "true magnitude, noisy phase",
    "psm": "phase-sensitive mask, 0 to 1",
    "cirm": "complex ratio mask, squeezed",
    "deep-filter": "deep filter, 3 taps in time, fitted over 9 frames",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default=os.environ.get("UNMUFFLE_DATA"))
    options.add_argument("--limit", type=int, help="this many pairs (a trial; no result)")
    args = options.parse_args()
    if not args.data:
        options.error("no recordings: give --data DATA or set UNMUFFLE_DATA")
    import torch

    from unmuffle.evaluate import find_pairs, mean_interval
    from unmuffle.evaluate.pesq import pesq_wb
    from unmuffle.evaluate.si_sdr import si_sdr
    from unmuffle.evaluate.stoi import estoi, stoi
    from unmuffle.io import read
    from unmuffle.train.targets import TARGETS, oracle

    torch.set_num_threads(1)
    before = common.load_average()
    folder = Path(args.data) / "dev16"
    pairs = find_pairs(folder / "clean", folder / "noisy").pairs[: args.limit]
    rows: dict[str, list[list[float]]] = {name: [] for name in ("noisy", *TARGETS)}
    for done, pair in enumerate(pairs, 1):
        noisy, clean = (read(place, sample_rate=RATE)[0][0] for place in (pair.noisy, pair.clean))
        s, x = (torch.from_numpy(signal[None].astype("float64")) for signal in (clean, noisy))
        outputs = {"noisy": noisy, **{n: oracle(n, s, x, RATE)[0].numpy().astype("float32") for n in TARGETS}}
        for name, y in outputs.items():
            rows[name].append([float(score(clean, y, RATE)) for score in (pesq_wb, stoi, estoi, si_sdr)])
        print(f"{done} of {len(pairs)}", flush=True)
    means = {
        name: {m: list(mean_interval([row[i] for row in found]))[:3] for i, m in enumerate(METRICS)}
        for name, found in rows.items()
    }
    results: dict[str, Any] = {"files": len(pairs), "means": means}
    packages = ("torch", "pesq", "pystoi")
    common.save("oracles-trial" if args.limit else "oracles", packages, results, load_before=before)


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    rows = []
    for name, cells in sorted(found["means"].items(), key=lambda item: item[1]["pesq_wb"][0]):
        scores = (
            f"{cells[m][0]:.{places}f} ± {(cells[m][2] - cells[m][1]) / 2:.{places}f}" for m, places in METRICS.items()
        )
        rows.append([NAMES.get(name, name) + ("" if name == "noisy" else f" (`{name}`)"), *scores])
    return [
        "## Perfect answers",
        "",
        f"What masks and filters of each kind reach on dev16 ({found['files']} files) when they are computed from the "
        "clean speech: bounds for networks that give such answers with 20 ms windows every 10 ms. ± is half the "
        "95 % bootstrap interval of the mean.",
        "",
        *common.table(["answer", *(f">{TITLES[m]}" for m in METRICS)], rows),
        "",
        common.provenance(data),
        "",
    ]


if __name__ == "__main__":
    main()
