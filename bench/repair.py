"""How much do the repair methods repair, what do they do to speech that needs none, and how fast?

    UNMUFFLE_DATA=/path/to/data python bench/repair.py [--files 12] [--seconds 2.5] [--rate 16000] [--only declip]

Reads clean training speech from the folder of recordings (``manifest.csv``), damages it from a seed,
and prints tables in Markdown. Never reads the development sets. Times are CPU seconds per second of sound.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.interpolate import CubicSpline

from unmuffle import load
from unmuffle.enhancers.base import run_offline


def voices(rate: int, count: int, seconds: float, seed: int) -> list[np.ndarray]:
    root = Path(os.environ.get("UNMUFFLE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    with (root / "manifest.csv").open(newline="") as table:
        rows = [r for r in csv.DictReader(table) if r["path"].startswith("speech/train")]
    rows = [r for r in rows if int(r["sample_rate"]) >= min(rate, 16000 if rate <= 16000 else 32000)]
    out = []
    for i in np.random.default_rng(seed).permutation(len(rows)):
        x, found = soundfile.read(root / rows[i]["path"], dtype="float32", always_2d=True)
        if len(x) >= seconds * found:
            x = soxr.resample(x[: int(seconds * found), 0], found, rate)
            out.append((x / np.max(np.abs(x))).astype(np.float32))
        if len(out) == count:
            break
    return out


def sdr(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return float(10 * np.log10(np.sum(x**2) / max(np.sum((x - y) ** 2), 1e-20)))


def clip_to(x: np.ndarray, wanted: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = 1e-4, 1.0
    for _ in range(40):
        level = (low + high) / 2
        low, high = (level, high) if sdr(x, np.clip(x, -level, level)) < wanted else (low, level)
    y = np.clip(x, -np.float32(high), np.float32(high))
    return y, np.abs(y) >= np.float32(high)


def spline(y: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """The baseline: a cubic spline through the reliable samples, not below the level, at most 12 dB above."""
    known = np.flatnonzero(~cut)
    level = np.max(np.abs(y))
    z = CubicSpline(known, y[known])(np.arange(len(y))) * np.sign(y)
    return np.where(cut, np.sign(y) * np.clip(z, level, 4 * level), y)


def declip(rate: int, count: int, seconds: float) -> None:
    x = voices(rate, count, seconds, 1)
    print(f"\n## declip: {count} voices of {seconds} s, {rate} Hz, mean gain of SDR in dB\n")
    print("| SDR in | clipped samples | found | spline | declip, all | declip, clipped samples | CPU / s |")
    print("|---|---|---|---|---|---|---|")
    for wanted in (1, 3, 5, 10, 15):
        rows = []
        for clean in x:
            y, cut = clip_to(clean, wanted)
            begin = time.process_time()
            z = run_offline(load("declip"), y, rate)
            spent = (time.process_time() - begin) / seconds
            if not np.array_equal(z[~cut], y[~cut]):
                raise SystemExit("a reliable sample was changed")
            inside = sdr(clean[cut], z[cut]) - sdr(clean[cut], y[cut])
            gains = sdr(clean, spline(y, cut)) - wanted, sdr(clean, z) - wanted, inside
            rows.append((np.mean(cut), np.mean(z[cut] != y[cut]), *gains, spent))
        share, found, base, every, inside, spent = np.mean(rows, axis=0)
        print(
            f"| {wanted} | {share:.1%} | {found:.1%} | {base:.1f} | {every:.1f} | {inside:.1f} | {spent:.2f} |"
        )
    clean = voices(rate, 4 * count, seconds, 2)
    begin = time.process_time()
    changed = sum(not np.array_equal(run_offline(load("declip"), c, rate), c) for c in clean)
    spent = (time.process_time() - begin) / (len(clean) * seconds)
    print(f"\nClean voices changed: {changed} of {len(clean)}; CPU / s where nothing is clipped: {spent:.4f}")


def declick(rate: int, count: int, seconds: float) -> None:
    x = voices(rate, 2 * count, seconds, 3)
    rng = np.random.default_rng(0)
    hits: dict[float, list[bool]] = {0.05: [], 0.15: [], 0.5: []}
    before, after, spent, clean_events, extra, mended = [], [], 0.0, 0, 0, 0
    worst = np.inf
    for clean in x:
        z = run_offline(load("declick"), clean, rate)
        clean_events += len(events(z != clean, rate))
        worst = min(worst, sdr(clean, z))
        y, places = clean.copy(), []
        for at in np.sort(rng.integers(rate // 20, len(clean) - rate // 20, int(10 * seconds))):
            length, size = int(rng.integers(1, rate // 1000 + 1)), float(rng.choice(list(hits)))
            if places and at - places[-1][0] < 0.008 * rate:
                continue
            shape = np.exp(-3 * np.arange(length) / length) * rng.choice([-1, 1], length)
            y[at : at + length] += (size * rng.uniform(0.7, 1.3) * shape).astype(np.float32)
            places.append((int(at), length, size))
        begin = time.process_time()
        z = run_offline(load("declick"), y, rate)
        spent += (time.process_time() - begin) / (seconds * len(x))
        changed = np.flatnonzero(z != y)
        for at, length, size in places:
            hits[size].append(bool(np.any((changed >= at) & (changed < at + length))))
        found = events(z != y, rate)
        mended += len(found)
        extra += sum(not any(m[0] <= at + n and m[-1] >= at - 1 for at, n, _ in places) for m in found)
        before.append(sdr(clean, y))
        after.append(sdr(clean, z))
    minutes = len(x) * seconds / 60
    print(f"\n## declick: {len(x)} voices, 10 clicks a second up to 1 ms, peak of speech 1.0\n")
    print(f"recall by size of click: { {k: round(float(np.mean(v)), 2) for k, v in hits.items()} }")
    print(
        f"precision: {1 - extra / max(mended, 1):.3f}; SDR {np.mean(before):.1f} -> {np.mean(after):.1f} dB"
    )
    print(
        f"false alarms on clean speech: {clean_events / minutes:.2f} a minute; worst file keeps {worst:.1f} dB"
    )
    print(f"CPU / s: {spent:.3f}")


def events(changed: np.ndarray, rate: int) -> list[np.ndarray]:
    at = np.flatnonzero(changed)
    return [e for e in np.split(at, np.flatnonzero(np.diff(at) > 0.001 * rate) + 1) if len(e)]


def left(name: str, sound: np.ndarray, speech: np.ndarray, rate: int, late: slice) -> tuple[list[float], float]:
    """What is left of a sound, alone and in speech, in dB of it (with what the speech lost); CPU seconds a second."""
    alone = run_offline(load(name), sound.astype(np.float32), rate)
    begin = time.process_time()
    both = run_offline(load(name), (speech + sound).astype(np.float32), rate) - speech
    spent = (time.process_time() - begin) / (len(sound) / rate)
    return [20 * np.log10(np.std(y[late]) / np.std(sound[late])) for y in (alone, both)], spent


def dehum(rate: int, count: int, seconds: float) -> None:
    print("\n## dehum: hum of 15 lines at -34 dBFS in continuous speech\n")
    print("| mains, drift per s | hum alone, after 4 s | in speech, after 4 s | CPU / s |")
    print("|---|---|---|---|")
    speech = 0.5 * np.concatenate(voices(rate, max(count // 2, 6), 3.0, 4))
    t = np.arange(len(speech)) / rate
    rng = np.random.default_rng(0)
    late = slice(4 * rate, None)
    for f0, drift in ((50, 0), (50.13, 0), (59.97, 0.002), (60.4, 0.005), (49.9, 0.01)):
        turns = f0 * t + drift * t**2 / 2
        hum = sum(np.cos(2 * np.pi * (k * turns + rng.uniform())) / k**0.7 for k in range(1, 16))
        hum *= 0.02 / np.std(hum)
        levels, spent = left("dehum", hum, speech, rate, late)
        print(f"| {f0} Hz, {drift} Hz | {levels[0]:.1f} dB | {levels[1]:.1f} dB | {spent:.3f} |")
    clean = voices(rate, 4 * count, 5.0, 5)
    kept = [sdr(c, run_offline(load("dehum"), c, rate)) for c in clean]
    changed = [round(k, 1) for k in kept if k < 190]
    print(f"\nClean voices changed: {len(changed)} of {len(kept)} (SDR kept: {changed} dB)")


def detone(rate: int, count: int, seconds: float) -> None:
    print("\n## detone: a tone that holds, in continuous speech\n")
    print("| tone, change per s | against the speech | tone alone, after 2 s | in speech, after 2 s | CPU / s |")
    print("|---|---|---|---|---|")
    speech = 0.5 * np.concatenate(voices(rate, max(count // 2, 6), 3.0, 4))
    t = np.arange(len(speech)) / rate
    late = slice(2 * rate, -rate // 20)
    for f, drift, loud in ((1000.0, 0, 5), (1000.0, 0, -10), (437.3, 0, 5), (2950.0, 0.1, 5), (2950.0, 1.0, 5)):
        tone = np.cos(2 * np.pi * (f * t + drift * t**2 / 2))
        tone *= np.std(speech) / np.std(tone) * 10 ** (loud / 20)
        levels, spent = left("detone", tone, speech, rate, late)
        print(f"| {f:g} Hz, {drift:g} Hz | {loud} dB | {levels[0]:.1f} dB | {levels[1]:.1f} dB | {spent:.3f} |")
    kept = sorted(sdr(c, run_offline(load("detone"), c, rate)) for c in voices(rate, 4 * count, 5.0, 5))
    print(f"\nClean voices: SDR kept, median {np.median(kept):.1f} dB, three worst {np.round(kept[:3], 1)} dB")


def dewind(rate: int, count: int, seconds: float) -> None:
    print("\n## dewind: wind (f^-2.6 in power, gusts) in speech\n")
    print("| channels | SDR in | SDR out | wind alone, 20-300 Hz | CPU / s |\n|---|---|---|---|---|")
    speech = 0.3 * np.concatenate(voices(rate, max(count // 2, 5), 3.0, 4))
    n = len(speech)
    f = np.fft.rfftfreq(n, 1 / rate)
    shape = (f > 8) / np.maximum(f, 25) ** 1.3 / (1 + (f / 250) ** 4)
    low = (f >= 20) & (f < 300)
    for channels in (1, 2):
        for loud in (0.02, 0.1, 0.3):
            rng = np.random.default_rng(channels)
            w = np.fft.irfft(np.fft.rfft(rng.standard_normal((channels, n))) * shape, n)
            knots = np.arange(0, n + rate, rate // 2)
            gust = np.interp(np.arange(n), knots, rng.uniform(size=len(knots))) ** 2
            w *= loud / np.std(w) * gust / np.sqrt(np.mean(gust**2))
            begin = time.process_time()
            y = run_offline(load("dewind"), (speech + w).astype(np.float32), rate)
            spent = (time.process_time() - begin) / (n / rate)
            alone = run_offline(load("dewind"), w.astype(np.float32), rate)
            power = [np.sum(np.abs(np.fft.rfft(z))[:, low] ** 2) for z in (alone, w)]
            both = np.broadcast_to(speech, w.shape)
            cut = 10 * np.log10(power[0] / power[1])
            print(
                f"| {channels} | {sdr(both, speech + w):.1f} | {sdr(both, y):.1f} | {cut:.1f} dB | {spent:.3f} |"
            )
    kept = sorted(sdr(c, run_offline(load("dewind"), c, rate)) for c in voices(rate, 3 * count, 3.0, 5))
    print(
        f"\nClean voices: SDR kept, median {np.median(kept):.1f} dB, three worst {np.round(kept[:3], 1)} dB"
    )


def levels(rate: int, count: int, seconds: float) -> None:
    from unmuffle.signal.levels import active_speech_level, true_peak_dbfs

    speech = np.concatenate(voices(rate, max(count // 2, 6), 3.0, 6))
    print("\n## limiter, agc\n")
    highest = -np.inf
    begin = time.process_time()
    for x in (speech, np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)):
        for gain in (2, 6):
            y = run_offline(load("limiter", lookahead_ms=1.5, release_ms=50.0), x * np.float32(gain), rate)
            highest = max(highest, true_peak_dbfs(y))
    spent = (time.process_time() - begin) / (4 * len(speech) / rate)
    print(f"limiter: true peak at most {highest:.2f} dBTP for a ceiling of -1, CPU / s {spent:.4f}")
    for gain in (-30, -10, 0):
        x = speech * np.float32(0.5 * 10 ** (gain / 20))
        y = run_offline(load("agc"), x, rate)
        late = slice(8 * rate, None)
        before, after = (active_speech_level(z[late], rate).level_dbfs for z in (x, y))
        print(f"agc: active speech level, after 8 s: {before:.1f} -> {after:.1f} dBFS (target -23)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    questions = {
        "declip": declip,
        "declick": declick,
        "dehum": dehum,
        "detone": detone,
        "dewind": dewind,
        "levels": levels,
    }
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--only", choices=questions)
    options = parser.parse_args()
    for name, ask in questions.items():
        if options.only in (None, name):
            ask(options.rate, options.files, options.seconds)


if __name__ == "__main__":
    main()
