"""Choose the settings of the spectral enhancers on training recordings, never on the dev sets.

    python bench/spectral_tune.py make   DATA MIX             # mixtures from DATA/{speech,noise}/train
    python bench/spectral_tune.py score  MIX METHOD [key=value ...]
    python bench/spectral_tune.py table  MIX [METHOD ...]       # all spectral methods as they come
    python bench/spectral_tune.py search MIX METHOD [--seconds 600] [--log FILE] key=a,b,c ...

``make`` writes 60 pairs of about 5 s at 16 kHz with SNRs of -5, 0, 5, 10 and 15 dB over active speech,
from a fixed seed. ``search`` is coordinate descent: it tries each value of each key in turn, keeps what
raises the objective, and goes round until nothing does or the time is over.

Objective: mean PESQ-WB + 2 x mean ESTOI, minus a penalty wherever the mean SI-SDR of an SNR bin is
below that of the noisy input. Output is scored as it comes, without alignment.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

RATE = 16_000
SNRS = (-5, 0, 5, 10, 15)
COUNT = 60
SEED = 20_24


def read16(path: Path) -> np.ndarray:
    x, rate = sf.read(path, dtype="float32", always_2d=True)
    x = x.mean(axis=1)
    return x if rate == RATE else soxr.resample(x, rate, RATE).astype(np.float32)


def active_power(x: np.ndarray) -> float:
    """Mean power of the 20 ms frames that are within 35 dB of the loudest."""
    frames = x[: len(x) // 320 * 320].reshape(-1, 320).astype(np.float64)
    power = np.mean(frames**2, axis=1)
    return float(np.mean(power[power > np.max(power) * 10**-3.5]))


def make(data: Path, mix: Path) -> None:
    rng = np.random.default_rng(SEED)
    with open(data / "manifest.csv", newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if r["split"] == "train"]
    voices: dict[str, list[dict]] = {}
    for r in rows:
        if r["kind"] == "speech" and int(r["sample_rate"]) == RATE and float(r["duration_s"]) >= 3.0:
            voices.setdefault(r["speaker"], []).append(r)
    noises: dict[str, list[dict]] = {}
    for r in rows:
        if r["kind"] == "noise" and float(r["duration_s"]) >= 1.0:
            noises.setdefault(Path(r["path"]).name.split("__")[0], []).append(r)
    speakers = rng.permutation(sorted(voices))
    classes = [*rng.permutation(sorted(noises)), *rng.permutation(sorted(noises))]
    for part in ("clean", "noisy"):
        (mix / part).mkdir(parents=True, exist_ok=True)
    for i in range(COUNT):
        own = voices[str(speakers[i % len(speakers)])]
        speech = read16(data / own[rng.integers(len(own))]["path"])[: 5 * RATE]
        kind = str(classes[i])
        noise = read16(data / noises[kind][rng.integers(len(noises[kind]))]["path"])
        if len(noise) < len(speech):
            noise = np.tile(noise, -(-len(speech) // len(noise)))
        start = rng.integers(len(noise) - len(speech) + 1)
        noise = noise[start : start + len(speech)]
        snr = SNRS[i % len(SNRS)]
        scale = np.sqrt(active_power(speech) / max(float(np.mean(noise**2)), 1e-12) / 10 ** (snr / 10))
        noisy = speech + scale * noise
        peak = 0.9 / max(float(np.max(np.abs(noisy))), float(np.max(np.abs(speech))))
        level = min(peak, 10 ** (rng.uniform(-32, -18) / 20) / np.sqrt(active_power(speech)))
        for part, signal in (("clean", speech), ("noisy", noisy)):
            sf.write(mix / part / f"{i:03d}_{kind}_{snr}dB.flac", signal * level, RATE, subtype="PCM_16")


class Set:
    """Pairs in memory, with what the noisy input scores."""

    def __init__(self, folder: Path, every: int = 1) -> None:
        self.names = sorted(p.stem for p in (folder / "noisy").glob("*.flac"))[::every]
        self.clean = [sf.read(folder / "clean" / f"{n}.flac", dtype="float32")[0] for n in self.names]
        self.noisy = [sf.read(folder / "noisy" / f"{n}.flac", dtype="float32")[0] for n in self.names]
        self.snr = np.array([int(n.rsplit("_", 1)[1][:-2]) for n in self.names])
        self.base = np.array([si_sdr(c, y) for c, y in zip(self.clean, self.noisy, strict=True)])

    def scores(self, outputs: list[np.ndarray]) -> np.ndarray:
        """(files, 3): PESQ-WB, ESTOI, SI-SDR."""
        pairs = zip(self.clean, outputs, strict=True)
        return np.array([(pesq_wb(c, y), estoi(c, y), si_sdr(c, y)) for c, y in pairs])


def pesq_wb(clean: np.ndarray, y: np.ndarray) -> float:
    from pesq import pesq

    return float(pesq(RATE, clean, y, "wb"))


def estoi(clean: np.ndarray, y: np.ndarray) -> float:
    from pystoi import stoi

    return float(stoi(clean, y, RATE, extended=True))


def si_sdr(clean: np.ndarray, y: np.ndarray) -> float:
    c, y = clean.astype(np.float64), y.astype(np.float64)
    c, y = c - c.mean(), y - y.mean()
    target = c * (c @ y) / (c @ c)
    return float(10 * np.log10((target @ target) / ((y - target) @ (y - target))))


def enhance_all(pairs: Set, method: str, values: dict) -> list[np.ndarray]:
    from unmuffle.enhancers.base import run_offline
    from unmuffle.enhancers.registry import load

    enhancer = load(method, **values)
    return [run_offline(enhancer, y, RATE) for y in pairs.noisy]


def summary(pairs: Set, table: np.ndarray) -> dict:
    bins = {int(s): [float(v) for v in table[pairs.snr == s].mean(axis=0)] for s in sorted(set(pairs.snr))}
    gain = {s: bins[s][2] - float(pairs.base[pairs.snr == s].mean()) for s in bins}
    pesq, est, sdr = (float(v) for v in table.mean(axis=0))
    penalty = sum(max(0.3 - g, 0.0) for g in gain.values())
    return {
        "objective": pesq + 2 * est - 0.1 * penalty,
        "pesq": pesq,
        "estoi": est,
        "sisdr": sdr,
        "bins": bins,
        "sisdr_gain": gain,
    }


def line(s: dict) -> str:
    gains = " ".join(f"{g:+.2f}" for g in s["sisdr_gain"].values())
    return f"{s['objective']:.4f}  PESQ {s['pesq']:.3f} ESTOI {s['estoi']:.3f} SI-SDR {s['sisdr']:.2f} [{gains}]"


def table(pairs: Set, methods: list[str]) -> None:
    """Print a Markdown table: means of all, then PESQ / ESTOI / gain in SI-SDR for each SNR."""
    snrs = sorted(set(int(s) for s in pairs.snr))
    print("| method | PESQ-WB | ESTOI | SI-SDR | " + " | ".join(f"{s} dB" for s in snrs) + " |")
    print("|" + "---|" * (4 + len(snrs)))
    for method in ["noisy", *methods]:
        outputs = pairs.noisy if method == "noisy" else enhance_all(pairs, method, {})
        s = summary(pairs, pairs.scores(outputs))
        cells = [f"{s['bins'][b][0]:.2f} / {s['bins'][b][1]:.2f} / {s['sisdr_gain'][b]:+.1f}" for b in snrs]
        print(f"| {method} | {s['pesq']:.3f} | {s['estoi']:.3f} | {s['sisdr']:.2f} | {' | '.join(cells)} |", flush=True)


def parse(method: str, assignments: list[str]) -> dict:
    from unmuffle.enhancers import params
    from unmuffle.enhancers.registry import kind

    return params.parse(kind(method), assignments, method)


def search(
    mix: Path, method: str, grid: dict[str, list], start: dict, seconds: float, log: Path | None, every: int
) -> None:
    pairs = Set(mix, every)
    seen: dict[str, dict] = {}
    end = time.monotonic() + seconds

    def run(values: dict) -> dict:
        key = json.dumps(values, sort_keys=True)
        if key not in seen:
            seen[key] = summary(pairs, pairs.scores(enhance_all(pairs, method, values)))
            text = f"{line(seen[key])}  {method} {key}"
            print(text, flush=True)
            if log:
                with open(log, "a") as handle:
                    handle.write(text + "\n")
        return seen[key]

    best = dict(start)
    top = run(best)["objective"]
    improved = True
    while improved and time.monotonic() < end:
        improved = False
        for name, options in grid.items():
            for option in options:
                if time.monotonic() > end:
                    break
                trial = {**best, name: option}
                value = run(trial)["objective"]
                if value > top + 1e-4:
                    best, top, improved = trial, value, True
    print("best", json.dumps(best), f"{top:.4f}")


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("command", choices=("make", "score", "table", "search"))
    ap.add_argument("paths", nargs="+", help="make: DATA MIX; else: MIX METHOD key=value ...")
    ap.add_argument("--seconds", type=float, default=600.0)
    ap.add_argument("--every", type=int, default=1, help="use every n-th pair")
    ap.add_argument("--log", type=Path)
    ap.add_argument("--start", nargs="*", default=[], help="key=value to begin the search with")
    args = ap.parse_args()
    if args.command == "make":
        make(Path(args.paths[0]), Path(args.paths[1]))
        return
    if args.command == "table":
        from unmuffle.enhancers.registry import REGISTRY

        methods = args.paths[1:] or [n for n, e in REGISTRY.items() if e.family == "spectral"]
        table(Set(Path(args.paths[0]), args.every), methods)
        return
    mix, method, *rest = args.paths
    if args.command == "score":
        pairs = Set(Path(mix), args.every)
        if method == "noisy":
            outputs = pairs.noisy
        else:
            outputs = enhance_all(pairs, method, parse(method, rest))
        s = summary(pairs, pairs.scores(outputs))
        print(line(s))
        for snr, row in s["bins"].items():
            print(
                f"  {snr:3d} dB: PESQ {row[0]:.3f} ESTOI {row[1]:.3f} SI-SDR {row[2]:.2f} ({s['sisdr_gain'][snr]:+.2f})"
            )
        return
    grid: dict[str, list] = {}
    for text in rest:
        name, _, options = text.partition("=")
        grid[name] = [parse(method, [f"{name}={o}"])[name] for o in options.split(",")]
    search(Path(mix), method, grid, parse(method, args.start), args.seconds, args.log, args.every)


if __name__ == "__main__":
    sys.exit(main())
