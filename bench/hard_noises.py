"""Which noises are hard, one by one, and which speech does not survive?

    UNMUFFLE_DATA=DATA python bench/hard_noises.py [--methods classic,tiny] [--voices 6] [--seconds 6]

A method is a name of the registry or the path of a network file. Nothing is heard here that a network was trained
on, nor anything of the development sets: voices, noises and music are the validation part of the collection's training
recordings (``unmuffle.data.manifest.split_validation``), 16 kHz.

Noises, at 5 dB over active speech (wind 0 dB): babble of other held-out voices, music, rain, traffic, impacts (metal,
dishes, things that fall) from recordings; typing is made of short clicks cut from held-out recordings, as all
recordings of keyboards are in training; wind, hum and tones are synthetic (``unmuffle.degrade``), for the same reason.
Each with the method alone, and with the repair stage made for that noise in front.

Speech that must survive, without noise: quiet, whispered (the spectral envelope of a voice, excited by noise instead of
its glottis), fricatives (only the frames that hiss, only above 2 kHz), sung (the envelope, slowed down,
excited by pulses of a melody with vibrato). How much of it is lost (0 dB is best), and the SI-SDR to the input.

Noise alone and silence: how much quieter, and how unsteady (the standard deviation of the level in 100 ms pieces,
in dB, beyond that of the input: what one hears as pumping).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common
import numpy as np

RATE = 16_000
STAGES = {
    "impacts": "declick",
    "typing": "declick",
    "wind": "dewind",
    "hum": "dehum",
    "tones": "detone",
    "traffic": "low-cut",
}
RECORDED = {
    "rain": ("rain",),
    "traffic": ("vehicle_engine_traffic",),
    "impacts": ("impacts_impulses", "metal_hits", "dishes_cutlery"),
}
SNR_DB = {"wind": 0.0}
METRICS = {"pesq_wb": 2, "estoi": 3, "si_sdr": 1, "speech_loss": 1}
TITLES = {"pesq_wb": "PESQ-WB", "estoi": "ESTOI", "si_sdr": "SI-SDR dB", "speech_loss": "lost speech dB"}

Signal = np.ndarray[Any, np.dtype[np.float32]]


class Recordings:
    """Held-out clips, decoded when asked for."""

    def __init__(self, folder: Path) -> None:
        from unmuffle.data import manifest

        clips = manifest.split_validation(manifest.from_csv(folder / "manifest.csv"))
        self.clips = [c for c in clips if c.split == "valid"]

    def voices(self, count: int, seconds: float) -> list[Signal]:
        """Different speakers, those with the most sound first; clips of one speaker joined."""
        speakers: dict[str, list[Any]] = {}
        for clip in self.clips:
            if clip.kind == "speech":
                speakers.setdefault(clip.speaker, []).append(clip)
        ranked = sorted(speakers.values(), key=lambda c: -sum(x.duration_s for x in c))
        if len(ranked) < count:
            raise SystemExit(f"{len(ranked)} held-out voices, {count} wanted")
        return [self.joined(clips, seconds, pause_s=0.3) for clips in ranked[:count]]

    def of(self, kind: str, categories: tuple[str, ...] = ()) -> list[Any]:
        """Clips of a kind, of some categories."""
        found = [c for c in self.clips if c.kind == kind and (not categories or c.category in categories)]
        if not found:
            raise SystemExit(f"no held-out {kind} of {', '.join(categories)}")
        return found

    @staticmethod
    def joined(clips: list[Any], seconds: float, pause_s: float = 0.0, rate: int = RATE) -> Signal:
        """Clips one after the other, and again, for as long as wanted; each with an RMS of 0.05."""
        from unmuffle.data.pool import decode

        out, n = np.zeros(0, np.float32), int(seconds * rate)
        while len(out) < n:
            for clip in clips:
                x = decode(clip.path, rate)
                x = x * np.float32(0.05 / max(float(np.std(x)), 1e-6))
                out = np.concatenate((out, x, np.zeros(int(pause_s * rate), np.float32)))
                if len(out) >= n:
                    break
        return out[:n].astype(np.float32)


# -- signals that are made -----------------------------------------------------------------------


def typing(recordings: Recordings, seconds: float, rng: np.random.Generator) -> Signal:
    """Held-out clicks of 60 ms, some six a second, in bursts as fingers are."""
    source = recordings.joined(recordings.of("noise", ("office_clicks_paper",)), 12.0)
    level = np.convolve(source**2, np.ones(80), "same")
    size, out = int(0.06 * RATE), np.zeros(int(seconds * RATE), np.float32)
    peaks = np.argsort(-level.reshape(-1, 800).max(axis=1))[:12] * 800 + 400
    fade = np.exp(-np.arange(size) / (0.015 * RATE)).astype(np.float32)
    at = 0
    while at < len(out) - size:
        start = int(np.clip(rng.choice(peaks) - size // 4, 0, len(source) - size))
        click = source[start : start + size] * fade
        out[at : at + size] += click / max(float(np.max(np.abs(click))), 1e-6) * rng.uniform(0.3, 1.0)
        at += int(RATE * (rng.uniform(0.08, 0.2) if rng.random() < 0.85 else rng.uniform(0.4, 0.9)))
    return out


def at_level(x: Signal, dbfs: float) -> Signal:
    """Scaled to this level over the active part."""
    from unmuffle.data.mix import active_rms

    return (x * (10 ** (dbfs / 20) / max(active_rms(x, RATE), 1e-9))).astype(np.float32)


def hissing(x: Signal) -> Any:
    """Frames (32 ms, every 16) in which a voice hisses: more energy above 3 kHz than below, and enough of it."""
    power = spectra(x)
    high, total = power[:, 96:].sum(axis=1), power.sum(axis=1)
    return (high > 0.6 * total) & (total > 1e-4 * total.max())


def spectra(x: Signal) -> Any:
    """Power of Hann frames of 32 ms, every 16 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), 512)[::256] * np.hanning(512)
    return np.abs(np.fft.rfft(frames, axis=1)) ** 2


def loss_of_hiss(x: Signal, y: Signal) -> float:
    """What is lost of the hissing frames above 2 kHz, in dB."""
    rows = hissing(x)
    p, q = spectra(x)[rows, 64:], spectra(y)[rows, 64:]
    return float(10 * np.log10(p.sum() / max(np.minimum(p, q).sum(), 1e-20)))


def tones(seconds: float, rng: np.random.Generator) -> Signal:
    """One to three tones of 200 to 4000 Hz that hold, as of alarms, whistles, feedback, machines."""
    t = np.arange(round(seconds * RATE)) / RATE
    hertz = np.exp(rng.uniform(np.log(200.0), np.log(4000.0), int(rng.integers(1, 4))))
    return np.asarray(sum(rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in hertz))


# -- the three questions -------------------------------------------------------------------------


FILES: dict[str, str] = {}
"""Network files by the name under which they are shown."""


def make(name: str) -> Any:
    """An enhancer from a name, that of a network file, or ``stage+name``."""
    from unmuffle import Chain, load

    if "+" in name:
        return Chain(tuple(make(part) for part in name.split("+", 1)))
    return load("model", path=FILES[name]) if name in FILES else load(name)


def run(name: str, x: Signal) -> Signal:
    """Through a method; "" leaves it as it is."""
    from unmuffle.enhancers.base import run_offline

    return run_offline(make(name), x, RATE) if name else x


def noises(recordings: Recordings, voices: list[Signal], methods: list[str]) -> dict[str, Any]:
    """Noise -> method -> metric -> mean."""
    from unmuffle.degrade import Hum, Wind
    from unmuffle.degrade.snr import at_level as at_snr
    from unmuffle.evaluate.pesq import pesq_wb
    from unmuffle.evaluate.si_sdr import si_sdr
    from unmuffle.evaluate.speech_loss import speech_loss
    from unmuffle.evaluate.stoi import estoi

    judges: dict[str, Callable[..., float]] = {
        "pesq_wb": pesq_wb,
        "estoi": estoi,
        "si_sdr": si_sdr,
        "speech_loss": speech_loss,
    }
    seconds = len(voices[0]) / RATE
    others = recordings.voices(len(voices) + 6, seconds)[len(voices) :]
    table: dict[str, Any] = {}
    for noise in ("babble", "music", "typing", "wind", "impacts", "hum", "tones", "rain", "traffic"):
        rows: dict[str, list[list[float]]] = {}
        for number, voice in enumerate(voices):
            rng = np.random.default_rng((7, number))
            snr = SNR_DB.get(noise, 5.0)
            if noise in ("wind", "hum"):
                damage = Wind(snr_db=snr) if noise == "wind" else Hum(snr_db=snr)
                noisy = damage.apply(voice, RATE, rng).noisy
            else:
                if noise == "babble":
                    sound = sum(np.roll(v, int(rng.integers(len(v)))) for v in others)
                elif noise == "typing":
                    sound = typing(recordings, seconds, rng)
                elif noise == "tones":
                    sound = tones(seconds, rng)
                else:
                    clips = recordings.of("music") if noise == "music" else recordings.of("noise", RECORDED[noise])
                    sound = np.roll(recordings.joined(clips, 4 * seconds), -int(rng.integers(3 * len(voice))))
                added = np.asarray(sound, np.float64)[np.newaxis, : len(voice)]
                noisy = voice + at_snr(voice[np.newaxis], added, RATE, snr, None)[0][0]
            noisy = np.asarray(noisy, np.float32).reshape(-1)
            stage = STAGES.get(noise)
            tried = ["", *methods, *([stage, *(f"{stage}+{m}" for m in methods)] if stage else [])]
            for name in tried:
                y = run(name, noisy)
                rows.setdefault(name, []).append([judge(voice, y, RATE) for judge in judges.values()])
        table[noise] = {
            name: dict(zip(judges, np.mean(found, axis=0).tolist(), strict=True)) for name, found in rows.items()
        }
        print(noise, {n: {k: round(v, 3) for k, v in m.items()} for n, m in table[noise].items()}, flush=True)
    return table


def speech(voices: list[Signal], methods: list[str]) -> dict[str, Any]:
    """Kind of speech -> method -> [lost dB, SI-SDR dB]."""
    from unmuffle.data.voices import sung, whispered
    from unmuffle.evaluate.si_sdr import si_sdr
    from unmuffle.evaluate.speech_loss import speech_loss

    table: dict[str, Any] = {}
    for kind in ("usual", "quiet", "whispered", "fricatives", "sung"):
        rows: dict[str, list[list[float]]] = {}
        for number, voice in enumerate(voices):
            rng = np.random.default_rng((8, number))
            make = {"whispered": whispered, "sung": sung}.get(kind)
            made = voice if make is None else make(voice, RATE, rng)
            x = at_level(made, -45.0 if kind == "quiet" else -26.0)
            if kind == "fricatives" and hissing(x).sum() < 10:
                continue
            for name in methods:
                y = run(name, x)
                lost = loss_of_hiss(x, y) if kind == "fricatives" else speech_loss(x, y, RATE)
                rows.setdefault(name, []).append([lost, si_sdr(x, y, RATE)])
        table[kind] = {name: np.mean(found, axis=0).tolist() for name, found in rows.items()}
        print(kind, table[kind], flush=True)
    return table


def alone(recordings: Recordings, methods: list[str]) -> dict[str, Any]:
    """Noise without speech -> method -> [dB quieter, dB less steady than the input]; the last 6 of 10 s count."""
    rng = np.random.default_rng(9)
    n = 10 * RATE
    white = rng.standard_normal(n)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 200)), n)
    rain = recordings.joined(recordings.of("noise", ("rain",)), 10.0)
    engine = recordings.joined(recordings.of("noise", ("fan_hum_air",)), 10.0)
    table: dict[str, Any] = {}
    for kind, x, db in (
        ("white noise, -40 dBFS", white, -40.0),
        ("pink noise, -30 dBFS", pink, -30.0),
        ("rain, -30 dBFS", rain, -30.0),
        ("dryer, -30 dBFS", engine, -30.0),
        ("near silence, -85 dBFS", white, -85.0),
    ):
        x = (x / np.std(x) * 10 ** (db / 20)).astype(np.float32)
        table[kind] = {}
        for name in methods:
            y = run(name, x)
            before, after = (levels(v[4 * RATE :]) for v in (x, y))
            table[kind][name] = [
                float(10 * np.log10(np.mean(x[4 * RATE :] ** 2) / max(np.mean(y[4 * RATE :] ** 2), 1e-20))),
                float(np.std(after) - np.std(before)),
            ]
        print(kind, table[kind], flush=True)
    table["silence"] = {name: float(np.max(np.abs(run(name, np.zeros(n, np.float32))))) for name in methods}
    return table


def levels(x: Signal) -> Any:
    """Level of each 100 ms in dB, not below -120 dBFS."""
    parts = x[: len(x) // 1600 * 1600].reshape(-1, 1600).astype(np.float64)
    return 10 * np.log10(np.mean(parts**2, axis=1) + 1e-12)


def main() -> None:
    """Measure and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default=os.environ.get("UNMUFFLE_DATA"))
    options.add_argument("--methods", help="comma-separated; default: the best untrained one and all networks")
    options.add_argument("--voices", type=int, default=6)
    options.add_argument("--seconds", type=float, default=6.0)
    args = options.parse_args()
    if not args.data:
        options.error("no recordings: give --data DATA or set UNMUFFLE_DATA")
    from unmuffle.enhancers import registry

    networks = [n for n in registry.names() if registry.entry(n).family == "neural" and not registry.entry(n).extra]
    words = args.methods.split(",") if args.methods else ["classic", *(n for n in networks if n != "model")]
    FILES.update({Path(w).stem: w for w in words if w.endswith(".onnx")})
    methods = [Path(w).stem if w.endswith(".onnx") else w for w in words]
    before = common.load_average()
    recordings = Recordings(Path(args.data))
    voices = recordings.voices(args.voices, args.seconds)
    results = {
        "voices": args.voices,
        "seconds": args.seconds,
        "methods": methods,
        "noises": noises(recordings, voices, methods),
        "speech": speech(voices, methods),
        "alone": alone(recordings, methods),
    }
    common.save("hard_noises", ("pesq", "pystoi", "onnxruntime"), results, load_before=before)


# -- the page -----------------------------------------------------------------------------------


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    methods = found["methods"]
    lines = [
        "## Hard noises",
        "",
        f"{found['voices']} held-out voices of {found['seconds']:g} s at 16 kHz, each noise at 5 dB over active speech "
        "(wind at 0 dB), means. Recorded noises, voices and music are held out of all training; typing is made of "
        "held-out clicks, wind, hum and tones (one to three that hold) are synthetic. A stage with a + stands in front "
        "of the method. *Lost speech*: energy taken from the cells in which there is speech; 0 is best, and noise left "
        "in place hides some of it.",
        "",
    ]
    rows = []
    for noise, tried in found["noises"].items():
        for name, values in tried.items():
            cells = [f"{values[m]:.{places}f}" for m, places in METRICS.items()]
            rows.append([noise, f"`{name.replace('+', '` + `')}`" if name else "unprocessed", *cells])
    lines += [*common.table(["noise", "method", *(f">{TITLES[m]}" for m in METRICS)], rows), ""]
    lines += [
        "Speech that must survive, without noise: lost speech in dB / SI-SDR to the input in dB. Quiet is -45 dBFS, "
        "all others -26; whispers and singing are made from the voices' spectral envelopes; of fricatives only hissing "
        "frames above 2 kHz count (their SI-SDR is that of the whole).",
        "",
    ]
    rows = [
        [kind, *(f"{got[m][0]:.1f} / {got[m][1]:.1f}" if m in got else "-" for m in methods)]
        for kind, got in found["speech"].items()
    ]
    lines += [*common.table(["speech", *(f">`{m}`" for m in methods)], rows), ""]
    lines += [
        "Without speech: how much quieter in dB / how much less steady than the input (standard deviation of the level "
        "in 100 ms pieces, dB; above 0 is pumping). The last 6 of 10 s. Of digital silence, the largest sample.",
        "",
    ]
    rows = []
    for kind, got in found["alone"].items():
        cells = [f"{got[m]:.1g}" if kind == "silence" else f"{got[m][0]:.1f} / {got[m][1]:+.1f}" for m in methods]
        rows.append([kind, *cells])
    lines += [*common.table(["noise alone", *(f">`{m}`" for m in methods)], rows), ""]
    return [*lines, common.provenance(data), ""]


if __name__ == "__main__":
    main()
