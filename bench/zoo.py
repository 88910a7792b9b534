"""Every network of the zoo, trained for the same small budget: how do they compare at the very beginning?

    UNMUFFLE_DATA=DATA python bench/zoo.py --minutes 3
    python bench/zoo.py --data DATA [--minutes 3] [--nets live,dccrn] [--write]

``DATA`` holds recordings with a ``manifest.csv``, and ``dev16``. Each network gets the same minutes of one core's
processor time for training (measured on a few steps, then counted in steps, so that other work on the machine
changes nothing but the wait), with its preset, mixtures of 2 s and batches of 8. It is exported, and the file is
counted, timed and scored on dev16, as the result comes, without alignment. **These are not the figures of the
papers**: a few minutes favour networks that learn quickly and are cheap to train; they show that every one trains,
exports and runs, and what it costs.

Rows are kept in ``runs/bench/zoo-MINUTES``; a run that was stopped goes on there. ``--write`` writes the result from
the rows that are there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

RATE = 16_000
METRICS = {"pesq_wb": 3, "estoi": 3, "si_sdr": 2}
TITLES = {"pesq_wb": "PESQ-WB", "estoi": "ESTOI", "si_sdr": "SI-SDR (dB)"}
SETTINGS = {"batch": 8, "valid_items": 16, "keep": 1, "samples": 0, "compile": False}
SECONDS = 2.0
PROBE_STEPS = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default=os.environ.get("UNMUFFLE_DATA"))
    options.add_argument("--minutes", type=float, default=3.0, help="of processor time, for the training of each")
    options.add_argument("--nets", help="comma-separated presets; default: all")
    options.add_argument("--write", action="store_true", help="measure nothing; write the result from what is there")
    options.add_argument(
        "--time", action="store_true", help="only the real-time factors again, of fresh weights; for a quiet machine"
    )
    args = options.parse_args()
    if not args.data:
        options.error("no recordings: give --data DATA or set UNMUFFLE_DATA")
    import torch

    from unmuffle.cli.train import keep_memory
    from unmuffle.train import presets

    torch.set_num_threads(1)
    keep_memory()
    before = common.load_average()
    folder = common.SCRATCH / f"zoo-{args.minutes:g}"
    names = args.nets.split(",") if args.nets else presets.names()
    if args.time:
        for name in names:
            path = folder / f"{name}.json"
            row = json.loads(path.read_text(encoding="utf-8"))
            row["real_time_factor"] = timed(name, folder)
            path.write_text(json.dumps(row), encoding="utf-8")
            print(f"{name}: {row['real_time_factor']:.4f}", flush=True)
    elif not args.write:
        pool = packed(Path(args.data))
        for name in names:
            if not (folder / f"{name}.json").is_file():
                row = one(name, folder / name, pool, Path(args.data), args.minutes)
                (folder / f"{name}.json").write_text(json.dumps(row), encoding="utf-8")
                print(f"{name}: {row}", flush=True)
    rows = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))}
    results: dict[str, Any] = {"minutes": args.minutes, "seconds": SECONDS, "batch": SETTINGS["batch"], "nets": rows}
    missing = [name for name in presets.names() if name not in rows]
    results["missing"] = missing
    note = "Rows are made one after another and kept, so that some may be of an earlier commit than the one named here."
    common.save("zoo", ("torch", "onnxruntime", "pesq", "pystoi"), results, load_before=before, note=note)


def packed(data: Path) -> Any:
    """The training recordings, decoded once."""
    from unmuffle.data import manifest, pool

    folder = common.SCRATCH / "zoo-pool"
    if not (folder / pool.INDEX).is_file():
        clips = manifest.split_validation(manifest.from_csv(data / "manifest.csv"))
        failed = pool.pack(clips, folder, RATE)
        print(f"packed {len(clips)} recordings, {len(failed)} failed", flush=True)
    return pool.Pool(folder)


def one(name: str, folder: Path, pool: Any, data: Path, minutes: float) -> dict[str, Any]:
    """Train, export, count, time and score one preset."""
    from unmuffle.enhancers.neural.model import load
    from unmuffle.enhancers.registry import MODEL
    from unmuffle.enhancers.registry import load as enhancer
    from unmuffle.export.cost import macs_per_second
    from unmuffle.export.graph import export
    from unmuffle.train import presets
    from unmuffle.train.loop import Trainer

    folder.mkdir(parents=True, exist_ok=True)
    recipe = presets.layered(presets.table(name), {**SETTINGS, "mix": {"seconds": SECONDS}})
    short = dataclasses.replace(recipe, steps=1000, epoch_items=recipe.batch * 1000)
    probe = Trainer(folder / "probe", pool, short)
    probe.run(max_steps=1)
    begun = time.process_time()
    probe.run(max_steps=PROBE_STEPS)
    step_s = (time.process_time() - begun) / PROBE_STEPS
    steps = max(1, round(60.0 * minutes / step_s))
    final = dataclasses.replace(
        recipe, steps=steps, epoch_items=recipe.batch * steps, warmup_steps=min(100, steps // 5)
    )
    last = folder / "run" / "last.pt"
    last.unlink(missing_ok=True)
    begun = time.process_time()
    trainer = Trainer(folder / "run", pool, final)
    trainer.run()
    used = time.process_time() - begun
    path = folder / "model.onnx"
    model = export(last, path, licence="not for use", data=trainer.data)
    made = enhancer(MODEL, path=str(path))
    return {
        "net": recipe.net,
        "causal": model.facts.causal,
        "latency_ms": made.stream(RATE).latency_ms if model.facts.causal else None,
        "parameters": sum(p.numel() for p in trainer.net.parameters()),
        "macs_per_s": macs_per_second(load(path), path.read_bytes()),
        "steps": steps,
        "training_cpu_min": used / 60.0,
        "real_time_factor": real_time_factor(made),
        "scores": scores(made, data / "dev16"),
    }


def timed(name: str, folder: Path) -> float:
    """The real-time factor of a preset's network, which does not depend on what it has learned."""
    import torch

    from unmuffle.enhancers.registry import MODEL
    from unmuffle.enhancers.registry import load as enhancer
    from unmuffle.export.graph import to_bytes
    from unmuffle.train import nets, presets

    torch.manual_seed(0)
    recipe = presets.layered(presets.table(name), SETTINGS)
    facts = {"name": name, "licence": "not for use", "data": {}, "recipe": recipe.to_dict(), "scores": {}}
    path = folder / f"{name}.fresh.onnx"
    path.write_bytes(to_bytes(nets.make(recipe.net, recipe.sizes).eval(), facts))
    try:
        return real_time_factor(enhancer(MODEL, path=str(path)))
    finally:
        path.unlink()


def real_time_factor(made: Any) -> float:
    """Processor time for a second of sound, on one thread, whole signal; best of three."""
    from unmuffle.enhancers.base import run_offline

    x = (0.05 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)
    times = []
    for _ in range(3):
        begun = time.process_time()
        run_offline(made, x, RATE)
        times.append(time.process_time() - begun)
    return min(times) / 5.0


def scores(made: Any, folder: Path) -> dict[str, list[float]]:
    """Metric -> [mean, low, high] over the pairs."""
    from unmuffle.enhancers.base import run_offline
    from unmuffle.evaluate import find_pairs, mean_interval
    from unmuffle.evaluate.pesq import pesq_wb
    from unmuffle.evaluate.si_sdr import si_sdr
    from unmuffle.evaluate.stoi import estoi
    from unmuffle.io import read

    rows = []
    for pair in find_pairs(folder / "clean", folder / "noisy").pairs:
        noisy, clean = (read(place, sample_rate=RATE)[0][0] for place in (pair.noisy, pair.clean))
        y = run_offline(made, noisy, RATE)
        rows.append([float(score(clean, y, RATE)) for score in (pesq_wb, estoi, si_sdr)])
    return {m: list(mean_interval([row[i] for row in rows]))[:3] for i, m in enumerate(METRICS)}


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    rows = []
    for name, row in sorted(found["nets"].items(), key=lambda item: -item[1]["scores"]["pesq_wb"][0]):
        cells = [f"`{name}`", f"{row['latency_ms']:.1f}" if row["causal"] else "whole signal"]
        cells += [f"{row['parameters'] / 1e6:.2f}", f"{row['macs_per_s'] / 1e6:.0f}", f"{row['real_time_factor']:.4f}"]
        cells += [str(row["steps"]), *(f"{row['scores'][m][0]:.{places}f}" for m, places in METRICS.items())]
        rows.append(cells)
    head = ["preset", ">latency ms", ">parameters, M", ">MACs/s, M", ">real-time factor", ">steps"]
    missing = f" Not trained yet: {', '.join(found['missing'])}." if found["missing"] else ""
    return [
        "## The zoo",
        "",
        f"Every network after {found['minutes']:g} minutes of training on one core (processor time; batches of "
        f"{found['batch']} mixtures of {found['seconds']:g} s), exported, on dev16. So short a time says how quickly a "
        "network begins to learn on a CPU, and nothing about where it ends: the heavy ones saw a handful of steps. "
        f"Real-time factor: processor time of the whole signal through the exported file, one thread.{missing}",
        "",
        *common.table([*head, *(f">{TITLES[m]}" for m in METRICS)], rows),
        "",
        common.provenance(data),
        "",
    ]


if __name__ == "__main__":
    main()
