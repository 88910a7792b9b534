"""What do the Kalman filters cost, and what do they gain?

    python bench/kalman.py [--pairs 24] [--data FOLDER]

For each setting, on one thread at 16 kHz mono:

cost         processor time as a share of real time, least of five runs over 20 s
latency      of ``process``, in ms
demo, white  SI-SDR gained in dB on the bundled noisy recording, and on the bundled clean one with white
             noise at 5 dB
pairs        SI-SDR and PESQ-WB gained on mixtures of training speech and training noise at 0, 5 and 10 dB
             (fixed seed, never the dev sets), and the SI-SDR that the clean speech of them keeps; needs the
             recordings (``--data`` or UNMUFFLE_DATA) and ``pesq``, and is left out without them

First use compiles: the seconds are measured in new processes, with an empty cache and with a full one.
The Wiener filter and log-MMSE, on the same noise tracker, are the yardstick.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

RATE = 16000
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("wiener", {}),
    ("log-mmse", {}),
    ("kalman", {}),
    ("kalman", {"order": 10, "noise_order": 4, "lag": 9}),
    ("kalman", {"order": 10, "noise_order": 4, "lag": 0}),
    ("kalman", {"order": 10, "noise_order": 0, "lag": 9}),
    ("kalman", {"order": 10, "noise_order": 4, "lag": 9, "iterations": 3}),
    ("kalman", {"noise": "vad"}),
    ("kalman", {"noise": "imcra"}),
    ("kalman-fast", {}),
    ("kalman-vb", {}),
    ("kalman-vb", {"trust": 0.0}),
    ("kalman-ekf", {}),
    ("kalman-ukf", {}),
    ("kalman-subband", {}),
    ("kalman-subband", {"order": 2, "lag": 1}),
]
TARGETS = (("kalman order=10 noise_order=4 lag=9", 0.3), ("kalman-fast", 0.1), ("kalman-subband", 0.1))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=24)
    options.add_argument("--data", type=Path, default=os.environ.get("UNMUFFLE_DATA"))
    args = options.parse_args()
    before = common.load_average()
    mixtures = pairs(Path(args.data), args.pairs) if args.data else []
    rows = {}
    for name, values in SETTINGS:
        label = " ".join([name, *(f"{k}={v}" for k, v in values.items())])
        rows[label] = measure(name, values, mixtures)
        print(label, {k: round(v, 3) for k, v in rows[label].items()}, flush=True)
    results = {"pairs": len(mixtures), "settings": rows, "first_use": first_use()}
    common.save("kalman", ("numba", "pesq"), results, load_before=before)


def si_sdr(clean: np.ndarray, x: np.ndarray) -> float:
    clean, x = clean.astype(float) - clean.mean(), x.astype(float) - x.mean()
    part = clean * np.dot(clean, x) / np.dot(clean, clean)
    return float(10 * np.log10(np.sum(part**2) / np.sum((x - part) ** 2)))


def bundled(which: str) -> np.ndarray:
    from unmuffle.io import read

    return read(common.ROOT / "src" / "unmuffle" / "assets" / f"demo_{which}.flac")[0][0]


def pairs(data: Path, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Half a second of noise alone, then 6 s of speech in it."""
    from unmuffle.io import read
    from unmuffle.signal.resample import convert

    dice = random.Random(1)
    voices = sorted((data / "speech" / "train").glob("librispeech*"))
    noises = sorted((data / "noise" / "train").iterdir())
    lead, length, out = RATE // 2, 6 * RATE, []

    def take(path: Path) -> np.ndarray:
        x, rate = read(path)
        return convert(x[0], rate, RATE)

    while len(out) < count:
        voice, noise = take(dice.choice(voices)), take(dice.choice(noises))
        if len(voice) < length or len(noise) < RATE or np.mean(noise**2) < 1e-10:
            continue
        clean = np.concatenate((np.zeros(lead), voice[:length]))
        noise = np.resize(noise, len(clean))
        snr = (0, 5, 10)[len(out) % 3]
        noisy = clean + noise * np.sqrt(np.mean(clean**2) / np.mean(noise**2) / 10 ** (snr / 10))
        scale = 0.5 / np.abs(noisy).max()
        out.append(((clean * scale).astype(np.float32), (noisy * scale).astype(np.float32)))
    return out


def measure(name: str, values: dict[str, Any], mixtures: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """All figures of one setting."""
    from unmuffle import load
    from unmuffle.enhancers.base import run_offline

    method = load(name, **values)
    clean, noisy = bundled("clean"), bundled("noisy")
    hiss = np.random.default_rng(5).standard_normal(len(clean)) * np.std(clean) * 10 ** (-5 / 20)
    hissing = (clean + hiss).astype(np.float32)
    long = np.resize(noisy, 20 * RATE)
    run_offline(method, long[:RATE], RATE)
    costs = []
    for _ in range(5):
        start = time.process_time()
        run_offline(method, long, RATE)
        costs.append((time.process_time() - start) / 20)
    row = {
        "cost": min(costs),
        "latency_ms": method.stream(RATE).latency_ms,
        "demo_db": si_sdr(clean, run_offline(method, noisy, RATE)) - si_sdr(clean, noisy),
        "white_db": si_sdr(clean, run_offline(method, hissing, RATE)) - si_sdr(clean, hissing),
    }
    if mixtures:
        from pesq import pesq

        found = []
        for good, bad in mixtures:
            out = run_offline(method, bad, RATE)
            better = pesq(RATE, good, out, "wb") - pesq(RATE, good, bad, "wb")
            kept = si_sdr(good, run_offline(method, good, RATE))
            found.append((si_sdr(good, out) - si_sdr(good, bad), better, kept))
        row |= dict(zip(("pairs_db", "pairs_pesq", "kept_db"), np.mean(found, axis=0).tolist(), strict=True))
    return row


def first_use() -> dict[str, dict[str, float]]:
    """Seconds from ``load`` to the first output, in a new process: compiling, and from the cache."""
    code = (
        "import sys, time, numpy as np, unmuffle.enhancers.base as base\n"
        "from unmuffle import load\n"
        "start = time.perf_counter()\n"
        "base.run_offline(load(sys.argv[1]), np.zeros(16000, np.float32), 16000)\n"
        "print(time.perf_counter() - start)"
    )
    out = {}
    for name in ("kalman", "kalman-ekf", "kalman-subband"):
        with tempfile.TemporaryDirectory() as cache:
            path = os.pathsep.join([str(common.ROOT / "src"), os.environ.get("PYTHONPATH", "")])
            env = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": path}
            seconds = [
                float(
                    subprocess.run([sys.executable, "-c", code, name], env=env, capture_output=True, check=True).stdout
                )
                for _ in range(2)
            ]
        out[name] = {"compiling_s": seconds[0], "cached_s": seconds[1]}
    return out


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]["settings"]
    head = ["method", ">cost", ">latency ms", ">demo dB", ">white dB"]
    several = data["results"]["pairs"]
    if several:
        head += [">pairs dB", ">pairs PESQ", ">clean kept dB"]
    rows = []
    for label, row in found.items():
        cells = [f"`{label}`", f"{row['cost']:.4f}", f"{row['latency_ms']:.1f}"]
        cells += [f"{row['demo_db']:+.2f}", f"{row['white_db']:+.2f}"]
        if several:
            cells += [f"{row['pairs_db']:+.2f}", f"{row['pairs_pesq']:+.3f}", f"{row['kept_db']:.1f}"]
        rows.append(cells)
    uses = ", ".join(
        f"`{name}` {row['compiling_s']:.1f} s and {row['cached_s']:.1f} s"
        for name, row in data["results"]["first_use"].items()
    )
    mixtures = f" *pairs*: mean over {several} mixtures of training recordings at 0, 5 and 10 dB." if several else ""
    return [
        "## Kalman filters",
        "",
        "One thread, 16 kHz mono. *cost*: processor time as a share of real time; *demo*, *white*: SI-SDR gained on "
        "the bundled noisy recording and on the bundled clean one with white noise at 5 dB." + mixtures,
        "",
        *common.table(head, rows),
        "",
        *(common.verdict(f"`{label}`, cost", found[label]["cost"], target) for label, target in TARGETS),
        "",
        f"Seconds from loading to the first output in a new process, compiling and from the cache: {uses}.",
        "",
        common.provenance(data),
        "",
    ]


if __name__ == "__main__":
    main()
