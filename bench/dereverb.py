"""Dereverberation on simulated rooms: quality beside nara_wpe, speed, and the blind T60.

    python bench/dereverb.py rooms --rooms 20 --t60 0.6 --speech FOLDER
    python bench/dereverb.py speed
    python bench/dereverb.py t60 --speech FOLDER

Rooms are drawn from ``--seed``: shoeboxes of 5 x 4 x 2.5 to 8 x 6 x 3.2 m by the image-source method
of pyroomacoustics, absorption corrected until the response itself decays with the wanted T60 (within
5 %), a circle of four microphones (radius 5 cm), a talker 1 to 2.5 m away. Speech is one voice for each
room, repeated to ten seconds; without ``--speech`` it is the bundled recording. Scores are those of the
first microphone from 4 s on, so that streaming methods have had time to converge: STOI and SI-SDR
against the direct sound, SI-SDR against the first 50 ms of the room.

The peer is given our frames, taps and delay, so that nothing but the algorithm differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from common import load_average, save, table  # isort: skip  # sets one thread: before numpy
import numpy as np
import soundfile
from scipy.signal import fftconvolve

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from unmuffle.degrade.rooms import find_direct, schroeder_t60_s
from unmuffle.enhancers import registry
from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.dereverb.decay import DecayTracker
from unmuffle.evaluate.rooms import room_measures
from unmuffle.evaluate.si_sdr import si_sdr
from unmuffle.evaluate.stoi import stoi
from unmuffle.signal.resample import convert
from unmuffle.signal.stft import StftSpec, StreamingStft

RATE = 16000
SPEED_OF_SOUND = 343.0
SCORES = ("stoi", "si_sdr_direct", "si_sdr_early")


def room(rng: np.random.Generator, t60_s: float, microphones: int = 4) -> np.ndarray:
    """Impulse responses ``(microphones, samples)`` of one random room."""
    import pyroomacoustics

    size = rng.uniform([5.0, 4.0, 2.5], [8.0, 6.0, 3.2])
    centre = rng.uniform(1.0, size - 1.0)
    centre[2] = rng.uniform(1.0, 1.6)
    angles = 2 * np.pi * np.arange(microphones) / microphones
    array = centre[:, None] + 0.05 * np.stack((np.cos(angles), np.sin(angles), 0 * angles))
    while True:
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 2.5)
        away = (distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-0.2, 0.4))
        talker = centre + np.array(away)
        if np.all(talker > 0.3) and np.all(talker < size - 0.3):
            break
    walls = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    exponent = 24 * np.log(10) / SPEED_OF_SOUND * np.prod(size) / (walls * t60_s)
    for _ in range(6):
        order = int(SPEED_OF_SOUND * t60_s * 0.75 / size.min()) + 1  # images until -45 dB
        material = pyroomacoustics.Material(float(1 - np.exp(-exponent)))
        box = pyroomacoustics.ShoeBox(size, fs=RATE, materials=material, max_order=order)
        box.add_source(talker)
        box.add_microphone(array)
        box.compute_rir()
        first = np.asarray(box.rir[0][0])
        measured = schroeder_t60_s(first, RATE)
        if abs(measured / t60_s - 1) < 0.05:
            break
        exponent *= measured / t60_s
    longest = max(len(box.rir[m][0]) for m in range(microphones))
    return np.stack([np.pad(box.rir[m][0], (0, longest - len(box.rir[m][0]))) for m in range(microphones)])


def voices(folder: Path | None) -> list[Path]:
    if folder is None:
        return [Path(__file__).resolve().parents[1] / "src/unmuffle/assets/demo_clean.flac"]
    found = sorted(p for p in folder.iterdir() if p.suffix in (".opus", ".flac", ".wav") and "libri" in p.name)
    return found or sorted(p for p in folder.iterdir() if p.suffix in (".opus", ".flac", ".wav"))


def voice(path: Path, seconds: float) -> np.ndarray:
    """One recording, repeated with pauses of a quarter second, at 16 kHz."""
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    x = convert(np.ascontiguousarray(x[:, 0]), rate, RATE)
    x = 0.05 * x / np.std(x)
    once = np.concatenate((x, np.zeros(RATE // 4, np.float32)))
    return np.tile(once, int(np.ceil(seconds * RATE / once.size)))[: int(seconds * RATE)]


def scene(rng: np.random.Generator, files: list[Path], t60_s: float, seconds: float = 10.0):
    """Microphone signals, direct and early sound at the first microphone, and its response."""
    h = room(rng, t60_s)
    x = voice(files[int(rng.integers(len(files)))], seconds)
    at = find_direct(h[0])
    direct, early = h[0].copy(), h[0].copy()
    direct[at + 41 :] = 0  # 2.5 ms
    early[at + RATE // 20 :] = 0
    y = fftconvolve(h, x[None], axes=1)[:, : x.size]
    scale = 0.3 / np.abs(y).max()
    d, e = (fftconvolve(part, x)[: x.size] * scale for part in (direct, early))
    return (y * scale).astype(np.float32), d.astype(np.float32), e.astype(np.float32), h[0]


def peer(y: np.ndarray) -> np.ndarray:
    """nara_wpe with our STFT, taps and delay, and the rounds that it takes by default."""
    import nara_wpe.wpe

    ours = registry.load("wpe-batch")
    stft = StreamingStft(ours.spec, RATE, y.shape[0])
    frames = stft.frames
    # As many frames as ours has. Frames of digital silence behind the end would weigh more than all others, as its
    # least variance is 1e-10 of the highest, and would cost it 0.4 dB and STOI 0.02.
    count = -(-(y.shape[1] + frames.latency) // frames.hop)
    spectrum = stft.forward(np.pad(y, ((0, 0), (0, count * frames.hop - y.shape[1]))))
    out = nara_wpe.wpe.wpe_v8(spectrum.transpose(2, 0, 1).astype(complex), ours.taps, ours.delay)
    back = stft.inverse(out.transpose(1, 2, 0).astype(np.complex64))
    return back[:, frames.latency : frames.latency + y.shape[1]]


def ours(name: str, **values):
    return lambda y: run_offline(registry.load(name, **values), y, RATE)


METHODS = {
    "untouched": (lambda y: y, 4),
    "nara_wpe, 4 microphones": (peer, 4),
    "wpe-batch, 4 microphones": (ours("wpe-batch"), 4),
    "wpe, 4 microphones": (ours("wpe"), 4),
    "wpe-batch, live's variance, 4 microphones": (ours("wpe-batch", masks="live"), 4),
    "wpe, live's variance, 4 microphones": (ours("wpe", masks="live"), 4),
    "nara_wpe, 1 microphone": (peer, 1),
    "wpe-batch, 1 microphone": (ours("wpe-batch"), 1),
    "wpe, 1 microphone": (ours("wpe"), 1),
    "late-reverb": (ours("late-reverb"), 1),
    "wpe + late-reverb, 4 microphones": (lambda y: ours("late-reverb")(ours("wpe")(y)[:1]), 4),
}


def rooms(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed)
    files, before = voices(args.speech), load_average()
    scores: dict[str, list[list[float]]] = {name: [] for name in METHODS}
    drawn = []
    for index in range(args.rooms):
        y, direct, early, response = scene(rng, files, args.t60)
        measured = room_measures(response, RATE)
        drawn.append({"t20_s": measured.t20_s, "drr_db": measured.drr_db, "c50_db": measured.c50_db})
        late = slice(4 * RATE, None)
        for name, (method, microphones) in METHODS.items():
            out = method(y[:microphones])[0][late]
            d, e = direct[late], early[late]
            scores[name].append([stoi(d, out, RATE), si_sdr(d, out, RATE), si_sdr(e, out, RATE)])
        print(index, {k: round(v, 2) for k, v in drawn[-1].items()}, flush=True)
    means = {name: np.mean(rows, axis=0) for name, rows in scores.items()}
    base = means["untouched"]
    rows = [
        [name, f"{m[0]:.3f}", f"{m[0] - base[0]:+.3f}", f"{m[1]:.2f}", f"{m[2]:.2f}"] for name, m in means.items()
    ]
    print("\n".join(table(["method", ">STOI", ">gain", ">SI-SDR direct", ">SI-SDR early"], rows)))
    save(
        f"dereverb_t60_{args.t60:g}",
        ("nara_wpe", "pyroomacoustics", "pystoi"),
        {
            "rooms": drawn,
            "mean": {n: dict(zip(SCORES, map(float, m), strict=True)) for n, m in means.items()},
        },
        load_before=before,
        note="Bundled speech." if args.speech is None else "Read speech, one voice a room.",
    )


def speed(args: argparse.Namespace) -> None:
    """Blocks of 10 ms; time of the processor, as the machine may be shared, beside that of the clock."""
    before, results = load_average(), {}
    rng = np.random.default_rng(0)
    for name, microphones in (("wpe", 1), ("wpe", 2), ("wpe", 4), ("late-reverb", 1)):
        x = 0.1 * rng.standard_normal((microphones, 5 * RATE)).astype(np.float32)
        stream = registry.load(name).stream(RATE, microphones, block_size=160)
        clock, processor = [], []
        for i in range(0, x.shape[1], 160):
            a, b = time.perf_counter(), time.process_time()
            stream.process_block(x[:, i : i + 160])
            clock.append(time.perf_counter() - a)
            processor.append(time.process_time() - b)
        results[f"{name}, {microphones}"] = {
            "real_time_factor": 100 * float(np.mean(processor)),
            "p99_ms": 1e3 * float(np.quantile(processor, 0.99)),
            "clock_real_time_factor": 100 * float(np.mean(clock)),
            "clock_p99_ms": 1e3 * float(np.quantile(clock, 0.99)),
        }
        print(name, microphones, {k: round(v, 4) for k, v in results[f"{name}, {microphones}"].items()}, flush=True)
    save("dereverb_speed", (), results, load_before=before, note="Time of the processor; clock_* is by the clock.")


def t60(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed + 1)  # other rooms and voices than those of the fit
    files, before, results = voices(args.speech), load_average(), []
    for wanted in (0.2, 0.35, 0.5, 0.65, 0.8, 1.0):
        for _ in range(max(1, args.rooms // 6)):
            y, _, _, response = scene(rng, files, wanted)
            stft = StreamingStft(StftSpec(32.0, 8.0), RATE)
            tracker = DecayTracker(stft.frames)
            state = tracker.begin()
            for power in np.abs(stft.forward(y[:1])[0]) ** 2:
                tracker.step(power, state)
            results.append((room_measures(response, RATE).t20_s, tracker.t60_s(state)))
        print(wanted, [tuple(round(v, 2) for v in r) for r in results[-max(1, args.rooms // 6) :]], flush=True)
    true, found = np.array(results).T
    error = np.abs(found / true - 1)
    print(f"median error {np.median(error):.1%}, worst {error.max():.1%}")
    summary = {"median_error": float(np.median(error)), "worst_error": float(error.max()), "pairs": results}
    save("dereverb_t60_blind", ("pyroomacoustics",), summary, load_before=before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rooms", "speed", "t60"))
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--t60", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--speech", type=Path, default=None, help="folder of clean recordings")
    args = parser.parse_args()
    {"rooms": rooms, "speed": speed, "t60": t60}[args.what](args)


if __name__ == "__main__":
    main()
