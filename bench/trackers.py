"""How true and how quick are the noise trackers?

    python bench/trackers.py [--seeds 10]

Noise of known level (white, so that one number says it all), in frames of 20 ms every 10 ms at 16 kHz:

bias         mean estimate in steady noise against the truth, after 2 s; 0 dB is right
spread       standard deviation of the estimate over time and bins, in dB
up, down     after a step of 10 dB: seconds until the mean estimate is within 1 dB of the new level
rise         largest lag behind noise that rises by 3 dB/s for 6 s, in dB
in speech    mean over-estimation in dB while somebody speaks at 5 and at 20 dB SNR (the bundled clean
             recording, with white noise): an estimate that followed the speech would be off by ten and more

Means over seeds, with the standard deviation over seeds where it matters.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

RATE = 16000
LEVEL_DB = -40.0
TOLERANCE_DB = 0.5  # the bias that the tests allow
SNRS_DB = (5, 20)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=10)
    args = options.parse_args()
    before = common.load_average()
    from unmuffle.noise import TRACKERS

    rows = {name: measure(name, args.seeds) for name in TRACKERS if name != "profile"}
    common.save("trackers", (), {"seeds": args.seeds, "trackers": rows}, load_before=before)


def levels(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The estimate for each frame: mean over bins in dB (white noise of variance 1 is 0 dB), and per bin."""
    from unmuffle.noise import tracker
    from unmuffle.signal.stft import StftSpec

    frames = StftSpec(20, 10).at(RATE)
    x = x[None, : x.size // frames.hop * frames.hop].astype(np.float32)
    spectrum, _ = frames.forward(x, np.zeros((1, frames.size - frames.hop), np.float32))
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    noise = tracker(name).track(power, frames)[0] * frames.power_scale
    noise = noise[:, 1:-1]  # the outer bins are real: twice the variance
    return 10 * np.log10(noise.mean(axis=1)), 10 * np.log10(noise)


def white(rng: np.random.Generator, seconds: float) -> np.ndarray:
    return 10 ** (LEVEL_DB / 20) * rng.standard_normal(round(seconds * RATE))


def measure(name: str, seeds: int) -> dict[str, Any]:
    """All figures of a tracker."""
    found: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        found.setdefault(what, []).append(value)

    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        mean, bins = levels(name, white(rng, 8))
        note("bias_db", 10 * math.log10(np.mean(10 ** (mean[200:] / 10))) - LEVEL_DB)
        note("spread_db", float(np.std(bins[200:])))
        for what, step in (("up_s", 10.0), ("down_s", -10.0)):
            x = white(rng, 14)
            x[6 * RATE :] *= 10 ** (step / 20)
            level, _ = levels(name, x)
            close = np.abs(level[600:] - (LEVEL_DB + step)) < 1
            note(what, float(np.argmax(close)) * 0.01 if close.any() else math.nan)
        seconds = np.arange(9 * RATE) / RATE
        rise = np.clip(seconds - 2, 0, 6) * 3
        level, _ = levels(name, white(rng, 9) * 10 ** (rise / 20))
        error = level - (LEVEL_DB + rise[159::160][: level.size])
        note("rise_db", float(error[300:800].min()))
        for snr in SNRS_DB:
            note(f"speech_{snr}_db", in_speech(name, rng, snr))
    return {what: [float(np.mean(v)), float(np.std(v))] for what, v in found.items()}


def in_speech(name: str, rng: np.random.Generator, snr_db: float) -> float:
    """Mean over-estimation in dB over bins and frames after the first second."""
    from unmuffle.io import read
    from unmuffle.signal.levels import active_speech_level

    speech, rate = read(common.ROOT / "src" / "unmuffle" / "assets" / "demo_clean.flac")
    if rate != RATE:
        raise SystemExit(f"the bundled recording has {rate} Hz, not {RATE}")
    active = active_speech_level(speech[0], RATE).level_dbfs
    scaled = speech[0] * 10 ** ((LEVEL_DB + snr_db - active) / 20)
    _, bins = levels(name, scaled + white(rng, scaled.size / RATE))
    return float(np.mean(bins[100:])) - LEVEL_DB


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]["trackers"]
    head = ["tracker", ">bias dB", ">spread dB", ">+10 dB, s", ">-10 dB, s", ">3 dB/s rise, dB"]
    head += [f">in speech at {snr} dB SNR, dB" for snr in SNRS_DB]
    rows = []
    for name, row in found.items():
        cells = [f"`{name}`", f"{row['bias_db'][0]:+.2f}", f"{row['spread_db'][0]:.2f}"]
        cells += ["never" if row[k][0] is None else f"{row[k][0]:.2f} ± {row[k][1]:.2f}" for k in ("up_s", "down_s")]
        cells.append(f"{row['rise_db'][0]:+.1f}")
        rows.append(cells + [f"{row[f'speech_{snr}_db'][0]:+.1f}" for snr in SNRS_DB])
    lines = [
        "## Noise trackers",
        "",
        "White noise of known level at 16 kHz, frames of 20 ms every 10 ms. *bias*: mean estimate against the truth in "
        "steady noise; *spread*: standard deviation over time and bins; *+10 dB*, *-10 dB*: seconds until the mean "
        "estimate is within 1 dB of the new level (± over seeds); *rise*: largest error while the noise rises by "
        "3 dB/s; *in speech*: mean error in dB (log domain) while the bundled recording speaks.",
        "",
        *common.table(head, rows),
        "",
    ]
    for name, row in found.items():
        bias = abs(row["bias_db"][0])
        lines.append(common.verdict(f"`{name}`, bias either way", bias, TOLERANCE_DB, unit=" dB"))
    return [*lines, "", common.provenance(data) + f" Means over {data['results']['seeds']} seeds.", ""]


if __name__ == "__main__":
    main()
