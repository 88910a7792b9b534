"""Beamformers on simulated rooms beside pyroomacoustics, their speed, and a real line array.

    UNMUFFLE_DATA=DATA python bench/arrays.py rooms [--rooms 40]
    python bench/arrays.py speed
    UNMUFFLE_DATA=DATA python bench/arrays.py line

**rooms**: scenes of ``array_scenes.py`` (its text says how they are drawn), a circle of four microphones with a
radius of 5 cm, 8 s each. Voices are the clean recordings, interferers what the noisy ones hold beside them. Score:
SI-SDR against the voice with the first 50 ms of its room at a microphone, the best one for each method and the input
alike; the gain is the difference. Rooms that are done are kept, so a run that was stopped goes on.

``oracle`` has the true covariances of early voice and of everything else, on frames of 256 ms. Fixed and steered beams
get the true
direction (azimuth and elevation of the talker). pyroomacoustics gets the true positions, of the interferer as well for
its MVDR. All others get nothing but the microphones.

pyroomacoustics models the interferer with a gain of 1 / (4 pi distance), so the noise that it is told weighs some
hundred times more than the interferer, and its MVDR is nearly its delay-and-sum; "noise to scale" is with that gain on
the noise as well. "pyroomacoustics' model" is our MVDR with the covariance that its has.

**line**: the eight microphones of a real line in a room, of which the first two are dead (70 dB below the others); one
loudspeaker has speech, others noise. The dry source says when the voice is there and what it is. Score: energy of what
the dry source explains of a channel over the rest, with a filter of 50 ms, least squares. Of noise alone such a filter
explains as much by chance as it has taps beside samples: -17 dB, which bounds what can be seen below.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path

from common import SCRATCH, load_average, result, save, table  # isort: skip  # sets one thread: before numpy
import array_scenes as sim
import numpy as np
import soundfile
from scipy.linalg import solve_toeplitz
from scipy.signal import fftconvolve

import unmuffle
from unmuffle.enhancers import registry
from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.compose import Chain
from unmuffle.enhancers.spatial import algebra, mvdr, mwf
from unmuffle.evaluate.si_sdr import si_sdr
from unmuffle.signal.channels import dead_channels
from unmuffle.signal.covariance import spatial_covariance
from unmuffle.signal.steering import diffuse_coherence, near_field, point_at
from unmuffle.signal.stft import StftSpec, StreamingStft

RATE = sim.RATE
SECONDS = 8
SHORT, LONG = StftSpec(64.0, 16.0), StftSpec(256.0, 64.0)


def spectra(x: np.ndarray) -> tuple[np.ndarray, StreamingStft]:
    stft = StreamingStft(LONG, RATE, x.shape[0])
    return stft.forward(np.pad(x, ((0, 0), (0, 2 * stft.frames.size)))).astype(complex), stft


def oracle(take: sim.Take, wiener: bool = False) -> np.ndarray:
    x, _ = spectra(take.heard)
    early, _ = spectra(take.early)
    rest, _ = spectra(take.heard - take.early)
    speech, noise = spatial_covariance(early), spatial_covariance(rest)
    scores = [si_sdr(e, y, RATE) for e, y in zip(take.early, take.heard, strict=True)]
    reference = int(np.argmax(scores))
    weights = mwf.mwf(speech, noise, 1.0, reference, 1e-5) if wiener else mvdr.souden(speech, noise, reference, 1e-5)
    out = algebra.apply(weights, x)[None].astype(np.complex64)
    stft = StreamingStft(LONG, RATE, 1)
    late = stft.frames.latency
    return stft.inverse(out)[0, late : late + take.heard.shape[1]]


def direction(take: sim.Take, which: int = 0) -> dict[str, float | str]:
    place = take.scene.sources[which]
    return {"array": take.scene.array, "azimuth_deg": place.azimuth_deg, "elevation_deg": place.elevation_deg}


ROOM = 1.0
"""Loading of MVDR where talker and noise are known by their places only: as much as all that is modelled. The echoes of
the voice, which the score wants, come from elsewhere, and a beam with less loading takes them away. In 30 rooms of
training voices and noises: 1e-2 +0.9 dB, 0.1 +1.8, 0.3 +2.2, 1 +2.4, 3 +2.3, delay-and-sum +2.0."""


def placed(take: sim.Take, loading: float = ROOM, peers_model: bool = False) -> np.ndarray:
    """Our MVDR with what pyroomacoustics' gets: the points of talker and interferer, and how loud the rest is.

    Its model is white noise beside an interferer as soft as 1 / (4 pi distance).
    """
    stft = StreamingStft(SHORT, RATE, len(take.heard))
    frequencies, array = stft.frames.frequencies, take.scene.geometry
    talker, other = (
        near_field(array, frequencies, point_at(p.azimuth_deg, p.elevation_deg, p.distance_m), reference=0)
        for p in take.scene.sources
    )
    rest = rest_beside_interferer(take)
    if peers_model:
        noise = softness(take) * other[:, :, None] * other[:, None, :].conj() + rest * np.eye(len(array))
    else:
        noise = other[:, :, None] * other[:, None, :].conj() + rest * diffuse_coherence(array, frequencies)
    x = stft.forward(np.pad(take.heard, ((0, 0), (0, 2 * stft.frames.size)))).astype(complex)
    out = algebra.apply(mvdr.steered(noise, talker, loading), x)[None].astype(np.complex64)
    late = stft.frames.latency
    return StreamingStft(SHORT, RATE, 1).inverse(out)[0, late : late + take.heard.shape[1]]


def rest_beside_interferer(take: sim.Take) -> float:
    """Power of the diffuse noise over that of the interferer, at the microphones."""
    return float(np.mean(take.diffuse.astype(float) ** 2) / np.mean(take.interferer.astype(float) ** 2))


def softness(take: sim.Take) -> float:
    """Power gain of the interferer's way to the array, in pyroomacoustics' model."""
    return float((4 * np.pi * take.scene.sources[1].distance_m) ** -2)


def ours(name: str, steered: bool = False, **values):
    def run(take: sim.Take) -> np.ndarray:
        given = {**(direction(take) if steered else {}), **values}
        return run_offline(registry.load(name, **given), take.heard, RATE)[0]

    return run


def nulled(take: sim.Take) -> np.ndarray:
    away = str(direction(take, 1)["azimuth_deg"])
    return run_offline(registry.load("lcmv", nulls_deg=away, **direction(take)), take.heard, RATE)[0]


def behind(post: str, **values):
    """A method behind the batch beamformer: of a whole recording a chain does the same."""
    beam = ours("mask-mvdr", **values)

    def run(take: sim.Take) -> np.ndarray:
        kept = (id(take), tuple(values.items()))
        if kept not in BEAMS:
            BEAMS.clear()
            BEAMS[kept] = beam(take)
        return run_offline(registry.load(post), BEAMS[kept], RATE)

    return run


BEAMS: dict[tuple, np.ndarray] = {}
"""The last beam, which several post-filters are tried behind."""


def peer(kind: str):
    """pyroomacoustics' beamformers, in the frame of the array."""

    def run(take: sim.Take) -> np.ndarray:
        import pyroomacoustics

        places = take.scene.geometry.centred.T
        beam = pyroomacoustics.Beamformer(places, RATE, N=1024, Lg=1024 if kind == "ds" else 512)
        talker, other = (
            pyroomacoustics.SoundSource(point_at(p.azimuth_deg, p.elevation_deg, p.distance_m))
            for p in take.scene.sources
        )
        if kind == "ds":
            beam.rake_delay_and_sum_weights(talker)
            beam.filters_from_weights(non_causal=0.5)
        else:
            noise = rest_beside_interferer(take) * (softness(take) if kind == "mvdr, to scale" else 1.0)
            beam.rake_mvdr_filters(talker, other, noise * np.eye(len(take.scene.geometry) * beam.Lg))
        beam.record(take.heard.astype(float), RATE)
        out = np.asarray(beam.process())
        # Its delay is what correlates best: a filter's, not declared.
        n = take.heard.shape[1]
        size = 1 << (2 * n).bit_length()
        cross = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(take.early[0], size)), size)
        cut = np.roll(np.pad(out, (0, max(0, size - out.size)))[:size], -int(np.argmax(np.abs(cross))))[:n]
        return cut.astype(np.float32)

    return run


METHODS = {
    "delay-and-sum": ours("delay-and-sum", True),
    "superdirective": ours("superdirective", True),
    "superdirective + McCowan": ours("superdirective", True, post="mccowan"),
    "pyroomacoustics, delay-and-sum": peer("ds"),
    "pyroomacoustics, MVDR": peer("mvdr"),
    "pyroomacoustics, MVDR, noise to scale": peer("mvdr, to scale"),
    "MVDR, positions known": placed,
    "MVDR, positions known, pyroomacoustics' model": lambda t: placed(t, 1e-6, peers_model=True),
    "gsc": ours("gsc", True),
    "lcmv, interferer nulled": nulled,
    "mvdr, steered": ours("mvdr", True, form="steered"),
    "MVDR, oracle covariances": oracle,
    "MWF, oracle covariances": lambda s: oracle(s, True),
    "mvdr, streaming, log-mmse masks": ours("mvdr"),
    "mvdr, streaming, live masks": ours("mvdr", masks="live", window_ms=20.0, hop_ms=10.0),
    "gev, streaming": ours("gev"),
    "mwf, streaming": ours("mwf"),
    "neural-beamformer, streaming": ours("neural-beamformer"),
    "meeting, streaming": ours("meeting"),
    "mask-mvdr, no network": ours("mask-mvdr"),
    "mask-mvdr, live masks": ours("mask-mvdr", masks="live"),
    "mask-mvdr, live masks, mwf": ours("mask-mvdr", masks="live", form="mwf"),
    "mask-mvdr, live masks + live": behind("live", masks="live"),
    "mask-mvdr, live masks + classic": behind("classic", masks="live"),
    "mask-mvdr, array-mask": ours("mask-mvdr", masks="array-mask", iterations=0),
    "mask-mvdr, array-mask + live": behind("live", masks="array-mask", iterations=0),
    "mask-mvdr, array-mask + classic": behind("classic", masks="array-mask", iterations=0),
}


def rooms(args: argparse.Namespace) -> None:
    before = load_average()
    clean = sorted(args.speech.iterdir())
    voices = [sim.recording(p) for p in clean]
    noises = []
    for path in clean:
        x, y = (soundfile.read(p, dtype="float32")[0] for p in (path, args.noisy / path.name))
        n = min(x.size, y.size)
        noises.append(y[:n] - x[:n])
    methods = {k: v for k, v in METHODS.items() if not args.only or any(o in k for o in args.only)}
    kept = SCRATCH / f"arrays-{args.seed}-{_package()}.json"  # a run that was stopped goes on
    rows = json.loads(kept.read_text()) if kept.is_file() else {}
    for index in range(args.rooms):
        row = rows.setdefault(str(index), {})
        if all(name in row for name in methods):
            continue
        take = sim.draw(args.seed, index, voices, noises, SECONDS)
        row["input"] = score(take, None)
        row["t60_s"] = take.scene.t60_s
        for name, method in methods.items():
            if name not in row:
                row[name] = score(take, method(take)) - row["input"]
        SCRATCH.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(rows))
        print(index, {k: round(v, 2) for k, v in row.items()}, flush=True)
    done = [rows[str(i)] for i in range(args.rooms)]
    means = {name: float(np.mean([r[name] for r in done])) for name in methods}
    spread = {name: float(np.std([r[name] for r in done]) / np.sqrt(len(done))) for name in methods}
    print("\n".join(table(["method", ">SI-SDR gain, dB"], [[k, f"{v:.2f}"] for k, v in means.items()])))
    note = "Voices and noises of dev16; no method was tuned on them."
    earlier = result("arrays") if args.add else None
    if earlier is not None:
        old = earlier["results"]
        if old["rooms"] != args.rooms:
            raise SystemExit(f"the earlier result is of {old['rooms']} rooms: give as many, or not --add")
        note += f" Of this run: {', '.join(means)}; the others of {earlier['date']}, commit {earlier['commit']}."
        means, spread = ({**old[k], **new} for k, new in (("gain_db", means), ("standard_error_db", spread)))
    save(
        "arrays" if args.rooms >= 8 and (args.add or not args.only) else "arrays-trial",
        ("pyroomacoustics", "onnxruntime"),
        {
            "rooms": args.rooms,
            "input_db": float(np.mean([r["input"] for r in done])),
            "gain_db": means,
            "standard_error_db": spread,
        },
        load_before=before,
        note=note,
    )


def _package() -> str:
    """A digest of the code and the networks that are measured: what other ones scored is not taken over."""
    root, found = Path(unmuffle.__file__).parent, hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".onnx")):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:12]


def score(take: sim.Take, out: np.ndarray | None) -> float:
    heard = take.heard if out is None else [out] * len(take.early)
    return max(si_sdr(e, y, RATE) for e, y in zip(take.early, heard, strict=True))


def speed(args: argparse.Namespace) -> None:
    """Blocks of 10 ms; time of the processor, as the machine may be shared, beside that of the clock."""
    before, results = load_average(), {}
    rng = np.random.default_rng(0)
    cases = [("mvdr", 4, {}), ("mvdr", 8, {}), ("mvdr", 8, {"form": "rank-one"}), ("gev", 8, {}), ("mwf", 8, {})]
    cases += [("gsc", 8, {}), ("delay-and-sum", 8, {}), ("mvdr", 4, {"refine": "cgmm"}), ("wpe", 4, {})]
    for name, microphones, values in cases:
        x = 0.1 * rng.standard_normal((microphones, 6 * RATE)).astype(np.float32)
        stream = registry.load(name, **values).stream(RATE, microphones, block_size=160)
        clock, processor = [], []
        for i in range(0, x.shape[1], 160):
            a, b = time.perf_counter(), time.process_time()
            stream.process_block(x[:, i : i + 160])
            clock.append(time.perf_counter() - a)
            processor.append(time.process_time() - b)
        clock, processor = clock[100:], processor[100:]  # the first second warms up
        label = ", ".join([name, *map(str, values.values()), str(microphones)])
        results[label] = {
            "real_time_factor": 100 * float(np.mean(processor)),
            "p99_ms": 1e3 * float(np.quantile(processor, 0.99)),
            "clock_real_time_factor": 100 * float(np.mean(clock)),
            "clock_p99_ms": 1e3 * float(np.quantile(clock, 0.99)),
        }
        print(label, {k: round(v, 4) for k, v in results[label].items()}, flush=True)
    save("arrays_speed", (), results, load_before=before, note="Time of the processor; clock_* is by the clock.")


def explained_db(dry: np.ndarray, out: np.ndarray, taps: int = 800, lead: int = 80) -> float:
    """Energy that a filter of the dry source explains of a channel, over the rest, in dB."""
    x, y = dry.astype(float), np.concatenate((out[lead:], np.zeros(lead))).astype(float)
    x, y = np.concatenate((np.zeros(lead), x))[: y.size], np.concatenate((np.zeros(lead), y))[: y.size]
    size = 1 << (2 * x.size).bit_length()
    a = np.fft.rfft(x, size)
    auto = np.fft.irfft(np.abs(a) ** 2, size)[:taps]
    cross = np.fft.irfft(np.conj(a) * np.fft.rfft(y, size), size)[:taps]
    auto[0] *= 1 + 1e-4
    told = fftconvolve(x, solve_toeplitz(auto, cross))[: y.size]
    return float(10 * np.log10(np.sum(told**2) / np.sum((y - told) ** 2)))


def lag(dry: np.ndarray, heard: np.ndarray) -> int:
    """Samples by which the microphones ``(channels, n)`` hear the source late: GCC-PHAT, summed over the living."""
    size = 1 << (heard.shape[1] + dry.size).bit_length()
    total, source = np.zeros(size), np.conj(np.fft.rfft(dry, size))
    for channel in np.delete(heard, dead_channels(heard), axis=0):
        cross = np.fft.rfft(channel, size) * source
        total += np.abs(np.fft.irfft(cross / np.maximum(np.abs(cross), 1e-20), size))
    late = int(np.argmax(total))
    return late if late < size // 2 else late - size


def line(args: argparse.Namespace) -> None:
    from unmuffle.signal.resample import convert

    before = load_average()
    names = "linear8_12cm_room__xmas-noise-rec.flac", "source_signal_reference__xmas-clean-source.flac"
    heard, rate = soundfile.read(args.folder / names[0], dtype="float32", always_2d=True)
    dry, dry_rate = soundfile.read(args.folder / names[1], dtype="float32", always_2d=True)
    x = convert(np.ascontiguousarray(heard.T), rate, RATE)
    source = convert(np.ascontiguousarray(dry.T[:1]), dry_rate, RATE)[0]
    late = lag(source, x)
    n = min(x.shape[1] - max(late, 0), source.size + min(late, 0))
    x, source = x[:, max(late, 0) :][:, :n], source[max(-late, 0) :][:n]
    single = [explained_db(source, c) for c in x]
    alive = [s for m, s in enumerate(single) if m not in dead_channels(x)]
    results = {"delay, s": late / RATE, "best microphone": max(alive), "worst living microphone": min(alive)}
    print({k: round(v, 2) for k, v in results.items()}, flush=True)
    for name, method in {
        "delay-and-sum, direction auto": None,
        "mvdr, log-mmse masks": registry.load("mvdr"),
        "gev": registry.load("gev"),
        "mwf": registry.load("mwf"),
        "mask-mvdr, no network": registry.load("mask-mvdr"),
        "mask-mvdr, live masks": registry.load("mask-mvdr", masks="live"),
        "wpe + mask-mvdr, live masks": Chain((registry.load("wpe"), registry.load("mask-mvdr", masks="live"))),
    }.items():
        if method is None:
            from unmuffle.engine.beams import ArrayPlan, direction_of
            from unmuffle.signal.arrays import parse_array

            array = parse_array("line-8")
            method = ArrayPlan("line-8", "auto", "delay-and-sum").enhancer(direction_of(x, RATE, array))
        results[name] = explained_db(source, run_offline(method, x, RATE)[0]) - max(single)
        print(name, round(results[name], 2), flush=True)
    save("arrays_line", ("onnxruntime",), results, load_before=before, note="Gains over the best microphone, in dB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rooms", "speed", "line"))
    parser.add_argument("--rooms", type=int, default=40)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--speech", type=Path, default=None, help="folder of clean recordings")
    parser.add_argument("--noisy", type=Path, default=None, help="folder of the same with noise")
    parser.add_argument("--folder", type=Path, default=None, help="folder of the real recordings")
    parser.add_argument("--only", nargs="*", default=[], help="methods whose names hold one of these words")
    parser.add_argument("--add", action="store_true", help="rooms: keep the other methods of the earlier result")
    args = parser.parse_args()
    data = Path(os.environ["UNMUFFLE_DATA"]) if os.environ.get("UNMUFFLE_DATA") else None
    for name, part in (("speech", "dev16/clean"), ("noisy", "dev16/noisy"), ("folder", "arrays")):
        if getattr(args, name) is None and data is not None:
            setattr(args, name, data / part)
    wanted = {"rooms": (args.speech, args.noisy), "line": (args.folder,)}.get(args.what, ())
    if None in wanted:
        parser.error("no recordings: name their folders, or set UNMUFFLE_DATA")
    {"rooms": rooms, "speed": speed, "line": line}[args.what](args)


if __name__ == "__main__":
    main()
