"""How much time do the methods take, alone and beside two other programs?

    python bench/speed.py [--methods log-mmse,omlsa] [--rounds 9] [--seconds 12]

One thread, one channel, at 16 and 48 kHz: the bundled noisy recording, over and over. Two ways of working:

whole    the whole signal in one call, as for a file
blocks   10 ms blocks through ``Stream.process``, as in a live stream; each block is timed

The machine may be shared, so all contestants take turns: in every round each of them does the whole signal
once and, in the same stream as before, its next stretch of blocks; the order is drawn anew in every round.
Times are the process's own processor time (what the work costs: other programs on the machine count for
little) and, beside it, the wall clock (what somebody waiting sees: they count). A figure is the median over
the rounds; per block, the median and 99th percentile of all blocks, and the longest.

Rivals, if installed: noisereduce (its default, non-stationary, one job) and pyroomacoustics
(``apply_iterative_wiener`` and ``apply_spectral_sub`` with their defaults). They have no live stream to be fed
in 10 ms blocks, so only whole signals are compared. A ratio is formed in each round and its median taken.

Slow methods (those of which a round would take longer than ``--patience`` seconds) get shorter signals.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

RATES = (16000, 48000)
SEED = 7
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "kalman AR(10)+AR(4)": ("kalman", {"order": 10, "noise_order": 4}),
}
"""Settings that are timed beside the defaults: label -> method and parameters."""
REDUCED = ("kalman-fast", "kalman-subband")
RIVALS = {
    "noisereduce": "noisereduce",
    "pra-wiener": "pyroomacoustics iterative Wiener",
    "pra-subtraction": "pyroomacoustics spectral subtraction",
}
PACKAGES = ("numba", "onnxruntime", "noisereduce", "pyroomacoustics")

WHOLE_TARGET = 0.004  # the best spectral method, whole file
BLOCKS_TARGET = 0.012  # and in blocks
P99_TARGET_MS = 0.4
KALMAN_TARGET = 0.3  # Kalman filter with AR(10) speech and AR(4) noise
REDUCED_TARGET = 0.1  # its sub-band or reduced form
NETWORK_TARGETS = (  # of `live`: rate, figure, bound, unit, what it is
    ("16000", "whole_cpu", 0.005, "", "whole"),
    ("16000", "blocks_cpu", 0.010, "", "blocks"),
    ("48000", "blocks_cpu", 0.021, "", "blocks at 48 kHz"),
    ("16000", "median_ms_wall", 0.1, " ms", "median per block"),
    ("16000", "p99_ms_wall", 0.3, " ms", "p99 per block"),
)


@dataclass
class Contestant:
    """One method or rival at one rate."""

    name: str
    whole: Callable[[np.ndarray], Any]
    stream: Any = None
    samples: int = 0
    position: int = 0
    used: dict[str, list[float]] = field(default_factory=lambda: {"cpu": [], "wall": []})
    blocks: dict[str, list[float]] = field(default_factory=lambda: {"cpu": [], "wall": []})
    stretches: dict[str, list[float]] = field(default_factory=lambda: {"cpu": [], "wall": []})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", help="comma-separated; default: all")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--seconds", type=float, default=12.0, help="signal of one round")
    options.add_argument("--patience", type=float, default=2.0, help="seconds that one turn may take")
    options.add_argument("--name", default="speed", help="of the result file")
    args = options.parse_args()
    before = common.load_average()
    names = args.methods.split(",") if args.methods else installed()
    names += [label for label, (method, _) in SETTINGS.items() if method in names]
    results: dict[str, Any] = {"rounds": args.rounds, "rates": {}, "absent": []}
    for rate in RATES:
        got, absent = one_rate(rate, names, args)
        results["rates"][str(rate)] = got
        results["absent"] = absent
    common.save(args.name, PACKAGES, results, load_before=before)


def installed() -> list[str]:
    """All methods of the registry that can be made here without parameters."""
    from unmuffle.enhancers import registry
    from unmuffle.errors import UnmuffleError

    found = []
    for name in registry.names():
        if registry.entry(name).channels > 1 or registry.entry(name).family == "spatial":
            continue  # bench/arrays.py and bench/references.py time those
        try:
            registry.load(name)
            found.append(name)
        except UnmuffleError as error:
            print(f"left out: {error}")
    return found


def load(label: str) -> Any:
    """The method, or the setting, of a name."""
    from unmuffle.enhancers import registry

    method, values = SETTINGS.get(label, (label, {}))
    return registry.load(method, **values)


def family(label: str) -> str:
    """Family of a method or setting; "rival"."""
    from unmuffle.enhancers import registry

    return "rival" if label in RIVALS else registry.entry(SETTINGS.get(label, (label,))[0]).family


def recording(rate: int, seconds: float) -> np.ndarray:
    """The bundled noisy recording, repeated; at 48 kHz with faint noise in the band that it lacks."""
    from unmuffle.io import read
    from unmuffle.signal.resample import convert

    x, old = read(common.ROOT / "src" / "unmuffle" / "assets" / "demo_noisy.flac")
    x = convert(x, old, rate)[0]
    x = np.resize(x, round(seconds * rate))
    return (x + 1e-3 * np.random.default_rng(SEED).standard_normal(x.size)).astype(np.float32)


def one_rate(rate: int, names: list[str], args: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Every contestant at a rate: [whole, blocks] figures, and ratios to the rivals."""
    from unmuffle.enhancers.base import UNBOUNDED, run_offline

    contestants = []
    for name in names:
        made = load(name)
        run = lambda x, made=made: run_offline(made, x, rate)  # noqa: E731
        stream = made.stream(rate, block_size=rate // 100)
        contestants.append(Contestant(name, run, None if stream.latency_samples == UNBOUNDED else stream))
    found, absent = rivals(rate)
    contestants += found
    full = recording(rate, args.seconds)
    hop = rate // 100
    for one in contestants:
        one.samples = full.size
        probe = full[: 2 * rate]
        one.whole(probe)  # compile, cache
        cost = clocked(one.whole, probe)[1] / 2.0
        if cost * args.seconds > args.patience:
            one.samples = max(2 * rate, round(args.patience / cost * rate))
        if one.stream is not None:
            for start in range(0, rate, hop):
                one.stream.process(full[start : start + hop])
    rng = np.random.default_rng(SEED)
    ratios: dict[tuple[str, str], list[float]] = {}
    for number in range(args.rounds):
        turn: dict[str, float] = {}
        for index in rng.permutation(len(contestants)):
            one = contestants[index]
            cpu, wall = clocked(one.whole, full[: one.samples])
            turn[one.name] = cpu * rate / one.samples
            one.used["cpu"].append(turn[one.name])
            one.used["wall"].append(wall * rate / one.samples)
            if one.stream is not None:
                feed(one, full, hop, rate)
        for one in contestants:
            for rival in found:
                if one is not rival:
                    ratios.setdefault((one.name, rival.name), []).append(turn[rival.name] / turn[one.name])
        print(f"{rate} Hz, round {number + 1} of {args.rounds}, load {common.load_average()}", flush=True)
    rows: dict[str, Any] = {}
    for one in contestants:
        row = {f"whole_{clock}": float(np.median(v)) for clock, v in one.used.items()}
        row |= {"seconds": one.samples / rate, "family": family(one.name)}
        if one.stream is not None:
            row["latency_ms"] = one.stream.latency_ms
            for clock in ("cpu", "wall"):
                ms = 1000 * np.array(one.blocks[clock])
                row[f"blocks_{clock}"] = float(np.median(one.stretches[clock]))
                row[f"median_ms_{clock}"] = float(np.median(ms))
                row[f"p99_ms_{clock}"] = float(np.quantile(ms, 0.99))
                row[f"max_ms_{clock}"] = float(ms.max())
            row["blocks_timed"] = len(one.blocks["wall"])
        row["times_faster_than"] = {
            rival.name: float(np.median(ratios[one.name, rival.name])) for rival in found if one is not rival
        }
        rows[one.name] = row
    return rows, absent


def rivals(rate: int) -> tuple[list[Contestant], list[str]]:
    """Other programs that are installed, and the names of those that are not."""
    found, absent = [], []
    try:
        import noisereduce

        run = lambda x: noisereduce.reduce_noise(y=x, sr=rate, n_jobs=1)  # noqa: E731
        found.append(Contestant("noisereduce", run))
    except ImportError:
        absent.append("noisereduce")
    try:
        from pyroomacoustics import denoise

        # Both divide by the energy of a frame, and warn where it is zero.
        found.append(Contestant("pra-wiener", _quiet(denoise.apply_iterative_wiener)))
        found.append(Contestant("pra-subtraction", _quiet(denoise.apply_spectral_sub)))
    except ImportError:
        absent.append("pyroomacoustics")
    return found, absent


def _quiet(run: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    def quiet(x: np.ndarray) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(x)

    return quiet


def clocked(run: Callable[[np.ndarray], Any], x: np.ndarray) -> tuple[float, float]:
    """Processor time and wall-clock time of a call, in seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    run(x)
    return time.process_time() - cpu, time.perf_counter() - wall


def feed(one: Contestant, full: np.ndarray, hop: int, rate: int) -> None:
    """The next stretch of blocks, each timed; the stream goes on from round to round."""
    process = one.stream.process
    cpu, wall = [], []
    for _ in range(one.samples // hop):
        block = full[one.position : one.position + hop]
        one.position = (one.position + hop) % (full.size - hop)
        cpu0, wall0 = time.thread_time(), time.perf_counter()
        process(block)
        wall.append(time.perf_counter() - wall0)
        cpu.append(time.thread_time() - cpu0)
    one.blocks["cpu"] += cpu
    one.blocks["wall"] += wall
    one.stretches["cpu"].append(sum(cpu) / (len(cpu) * hop / rate))
    one.stretches["wall"].append(sum(wall) / (len(wall) * hop / rate))


# -- the page -----------------------------------------------------------------------------------


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    lines = [
        "## Speed",
        "",
        "Share of real time on one thread, one channel: 0.004 means that a second of sound takes 4 ms. *whole*: the "
        "signal in one call; *blocks*: 10 ms blocks through a stream. Both in processor time, with the wall clock "
        "behind the slash. *Per block*: median, 99th percentile and longest time in ms by the wall clock, with the "
        "99th percentile of processor time in brackets. All methods took turns in one run; figures are medians over "
        f"{found['rounds']} rounds. The last columns say how many times faster than a rival the method was on whole "
        "signals in the same round (median).",
        "",
        "Streams are made with `block_size`, and numba is installed: blocks of `live` and `live-low` are machine code "
        "(without numba 0.0174 and 0.160 / 0.275 ms a block for `live` at 16 kHz, measured in the session before).",
        "",
    ]
    if found["absent"]:
        lines += [f"Not installed, so not compared: {', '.join(found['absent'])}.", ""]
    for rate, rows in found["rates"].items():
        others = [n for n, row in rows.items() if row["family"] == "rival"]
        head = ["method", ">latency ms", ">whole", ">blocks", ">per block: median / p99 [cpu] / max ms"]
        head += [f">x {RIVALS[n]}" for n in others]
        made = []
        for name, row in sorted(rows.items(), key=lambda item: item[1]["whole_cpu"]):
            rival = row["family"] == "rival"
            cells = [f"*{RIVALS[name]}*" if rival else f"`{name}`"]
            cells.append(f"{row['latency_ms']:.1f}" if "latency_ms" in row else "whole signal")
            cells.append(f"{row['whole_cpu']:.4f} / {row['whole_wall']:.4f}")
            if "blocks_cpu" in row:
                cells.append(f"{row['blocks_cpu']:.4f} / {row['blocks_wall']:.4f}")
                cells.append(
                    f"{row['median_ms_wall']:.3f} / {row['p99_ms_wall']:.3f} [{row['p99_ms_cpu']:.3f}] / "
                    f"{row['max_ms_wall']:.1f}"
                )
            else:
                cells += ["-", "-"]
            cells += [f"{row['times_faster_than'][n]:.1f}" if n in row["times_faster_than"] else "-" for n in others]
            made.append(cells)
        lines += [f"### {int(rate) // 1000} kHz", "", *common.table(head, made), ""]
    title = "Targets (at 16 kHz unless another rate is named; processor time, but times per block by the wall clock):"
    lines += [title, "", *targets(found)]
    return [*lines, "", common.provenance(data), ""]


def best_sounding(names: list[str]) -> str | None:
    """Of these methods the one with the highest mean PESQ on the 16 kHz set, if that has been measured."""
    sound = common.result("sound")
    scores = {} if sound is None else sound["results"]["sets"]["dev16"]["means"]
    known = [n for n in names if n in scores and scores[n]["pesq_wb"][0] is not None]
    return max(known, key=lambda n: scores[n]["pesq_wb"][0], default=None)


def targets(found: dict[str, Any]) -> list[str]:
    """A line for every target."""
    rows = found["rates"]["16000"]
    spectral = {n: r for n, r in rows.items() if r["family"] == "spectral"}
    best = best_sounding(list(spectral))
    quickest = min(spectral, key=lambda n: spectral[n]["blocks_cpu"])
    out = []
    for name, why in ((best, "best-sounding spectral method"), (quickest, "fastest spectral method")):
        if name is not None:
            row = spectral[name]
            what = f"{why} (`{name}`)"
            out.append(common.verdict(f"{what}, whole", row["whole_cpu"], WHOLE_TARGET))
            out.append(common.verdict(f"{what}, blocks", row["blocks_cpu"], BLOCKS_TARGET))
            out.append(common.verdict(f"{what}, p99 per block", row["p99_ms_wall"], P99_TARGET_MS, unit=" ms"))
    for key, target, what in (
        ("whole_cpu", WHOLE_TARGET, "whole"),
        ("blocks_cpu", BLOCKS_TARGET, "blocks"),
        ("p99_ms_wall", P99_TARGET_MS, "p99, ms"),
    ):
        slow = [n for n, r in spectral.items() if r[key] > target]
        if slow:
            cells = ", ".join(f"`{n}` {spectral[n][key]:.3g}" for n in slow)
            out.append(f"- all spectral methods beyond a bound ({what}, {target:g}): {cells}.")
    for label in SETTINGS:
        if label in rows:
            out.append(common.verdict(f"`{label}`, whole", rows[label]["whole_cpu"], KALMAN_TARGET))
    reduced = {n: rows[n]["whole_cpu"] for n in REDUCED if n in rows}
    for name, share in reduced.items():
        out.append(common.verdict(f"reduced Kalman filter `{name}`, whole", share, REDUCED_TARGET))
    for rate, key, bound, unit, what in NETWORK_TARGETS:
        measured = found["rates"].get(rate, {}).get("live")
        if measured is not None:
            out.append(common.verdict(f"`live`, {what}", measured[key], bound, unit=unit))
    rivals = [n for n, r in rows.items() if r["family"] == "rival"]
    for name in dict.fromkeys(n for n in (best, quickest) if n):
        for rival in rivals:
            times = rows[name]["times_faster_than"][rival]
            out.append(f"- `{name}` against {RIVALS[rival]}, whole: **{times:.1f}** times as fast.")
    return out


if __name__ == "__main__":
    main()
