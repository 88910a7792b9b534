"""How far are the figures without a reference from those with the clean signal at hand?

Mixtures of 10 s: sentences of the training speakers with pauses of 0.3 to 1.2 s between, in steady noise (white, pink,
and the steadiest of the recorded ones) and in noise that changes, at 0 to 20 dB over active speech; enhanced with
``omlsa``. Beside each other: `unmuffle.quality.figures.measure` of noisy and enhanced, and the metrics of
`unmuffle.evaluate` with the clean signal. Errors are medians of absolute differences; correlations are Spearman's.

    UNMUFFLE_DATA=DATA nice python bench/quality.py [COUNT]       # 3 minutes
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
from scipy.stats import spearmanr

from unmuffle import load
from unmuffle.enhancers.base import run_offline
from unmuffle.evaluate import METRICS
from unmuffle.io import read
from unmuffle.quality.figures import measure
from unmuffle.signal.levels import active_speech_level

RATE, SECONDS = 16000, 10


def mono(path: Path) -> np.ndarray:
    return read(path, sample_rate=RATE)[0].mean(axis=0)


def speech(rng: np.random.Generator, files: list[Path]) -> np.ndarray:
    parts, held = [], 0
    while held < SECONDS * RATE:
        parts += [mono(files[rng.integers(len(files))])[: 4 * RATE], np.zeros(int(RATE * rng.uniform(0.3, 1.2)))]
        held = sum(map(len, parts))
    x = np.concatenate(parts)[: SECONDS * RATE]
    return 0.1 * x / 10 ** (active_speech_level(x.astype(np.float32), RATE).level_dbfs / 20)


def made_noise(rng: np.random.Generator, kind: str) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(SECONDS * RATE))
    if kind == "pink":
        spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    return np.fft.irfft(spectrum, SECONDS * RATE)


def recorded(rng: np.random.Generator, files: list[Path]) -> np.ndarray:
    x = np.zeros(0)
    while len(x) < SECONDS * RATE:
        x = np.concatenate((x, mono(files[rng.integers(len(files))])))
    return x[: SECONDS * RATE]


def main() -> None:
    load_before = common.load_average()
    if "UNMUFFLE_DATA" not in os.environ:
        raise SystemExit("no recordings: set UNMUFFLE_DATA")
    root, count = Path(os.environ["UNMUFFLE_DATA"]), int(sys.argv[1]) if len(sys.argv) > 1 else 60
    rng = np.random.default_rng(11)
    voices, noises = sorted(root.glob("speech/train/*.opus")), sorted(root.glob("noise/train/*.opus"))
    method = load("omlsa")
    rows = []
    for k in range(count):
        kind = ("white", "pink", "recorded", "recorded")[k % 4]
        clean = speech(rng, voices)
        noise = recorded(rng, noises) if kind == "recorded" else made_noise(rng, kind)
        snr = float(rng.choice([0, 5, 10, 15, 20]))
        noise *= 0.1 * 10 ** (-snr / 20) / max(float(np.std(noise)), 1e-9)
        noisy = (clean + noise).astype(np.float32)
        enhanced = run_offline(method, noisy, RATE)
        begun = time.thread_time()
        found = measure(enhanced, RATE, noisy)
        used = time.thread_time() - begun
        # Steady: the level of its seconds lies within 2 dB.
        seconds = 10 * np.log10(np.mean(noise.reshape(SECONDS, -1) ** 2, axis=1) + 1e-12)
        steady = kind != "recorded" or float(np.ptp(seconds)) < 2.0
        names = ("speech_loss", "musical_noise")
        truth = {name: METRICS[name](enhanced, RATE, reference=clean, noisy=noisy) for name in names}
        floor = METRICS["noise_floor"](noisy, RATE, reference=clean)
        floor_after = METRICS["noise_floor"](enhanced, RATE, reference=clean)
        rows.append({
            "steady": steady, "noise_before": (found.noise_before_dbfs, floor),
            "reduction": (found.reduction_db, floor - floor_after), "speech_before": (found.speech_before_dbfs, -20.0),
            "snr_before": (found.snr_before_db, snr), "speech_lost": (found.speech_lost_db, truth["speech_loss"]),
            "artefacts": (found.artefacts, truth["musical_noise"]), "cpu": used,
        })  # fmt: skip
    results = []
    for label in ("steady", "changing"):
        chosen = [r for r in rows if r["steady"] == (label == "steady")]
        for name in ("noise_before", "reduction", "speech_before", "snr_before", "speech_lost", "artefacts"):
            pairs = np.array([r[name] for r in chosen], float).reshape(-1, 2)
            told = np.isfinite(pairs).all(axis=1)
            error = pairs[told, 0] - pairs[told, 1]
            entry = {"noise": label, "figure": name, "files": len(chosen), "told": int(told.sum())}
            if told.sum() >= 5:
                entry |= {"median_error": float(np.median(error)), "median_abs_error": float(np.median(np.abs(error)))}
                if np.ptp(pairs[told, 1]) > 0:
                    entry["rank_correlation"] = float(spearmanr(pairs[told, 0], pairs[told, 1])[0])
            results.append(entry)
            print(entry)
    seconds = float(np.median([r["cpu"] for r in rows]))
    common.save("quality", (), {"rows": results, "processor_s_per_window": seconds}, load_before=load_before)


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    lines = [
        "## Quality figures without a reference",
        "",
        "Beside the metrics with the clean signal, on mixtures of real speech that `omlsa` enhanced: median of the "
        "signed and of the absolute difference, and rank correlation. Steady noise: white, pink, and recorded noise "
        "whose level stays within 2 dB; the rest changes, and its floor lies below its mean by nature.",
        "",
    ]
    table = [
        [
            r["noise"], r["figure"].replace("_", " "), f"{r['told']}/{r['files']}",
            *(f"{r[k]:.2f}" if k in r else "-" for k in ("median_error", "median_abs_error", "rank_correlation")),
        ]
        for r in data["results"]["rows"]
    ]  # fmt: skip
    header = ["noise", "figure", ">told", ">error", ">absolute", ">correlation"]
    return [*lines, *common.table(header, table), "", common.provenance(data), ""]


if __name__ == "__main__":
    main()
