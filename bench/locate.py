"""How far off are the directions of talkers?

    UNMUFFLE_DATA=recordings python bench/locate.py [--rooms 40]

recordings   a four-microphone circle of 32 mm radius (`arrays/respeaker_usb_4mic__*.flac`), talkers at 0.5 to 2.5 m
             whose azimuths are in the files' names; with one, two and three talkers at once
rooms        simulated rooms (T60 0.2 to 0.6 s), a four-microphone circle of 5 cm radius, one or two talkers 0.8 to
             2 m away, diffuse pink noise 10 dB below the first

The number of talkers is given to all. The error of a talker is the distance to the nearest direction that was
found; *missed* are talkers with more than 15 degrees. The peers are the SRP-PHAT and NormMUSIC of pyroomacoustics
(512-point frames, 1-degree grid of azimuth, 300 to 6000 Hz, the whole recording at once); they search the horizon
only, ours elevations as well. *Counted* is the share of recordings in which our own count of talkers, left to
itself, is right.

The recordings are no test set: the one-talker ones gave the offset of the array's azimuth, and all of them chose
the measure of dominance (0.9, 0.8 and 0.7 were tried). The rooms and their voices chose nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

MISSED_DEG = 15.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rooms", type=int, default=40)
    args = options.parse_args()
    before = common.load_average()
    rows = {"recordings": measure(recordings()), "rooms": measure(rooms(args.rooms))}
    common.save("locate", ("pyroomacoustics",), rows, load_before=before)


def recordings() -> Any:
    from unmuffle.io import read
    from unmuffle.signal.arrays import parse_array

    array = parse_array("respeaker-4mic")
    for path in sorted((Path(os.environ["UNMUFFLE_DATA"]) / "arrays").glob("respeaker_usb_4mic__*.flac")):
        x, rate = read(path)
        yield x, rate, array, [float(a) for a in re.findall(r"a(\d+)e\d+", path.name.split("cm")[0])]


def rooms(count: int) -> Any:
    from unmuffle.degrade.array_rooms import random_scene, simulate
    from unmuffle.io import read

    folder = Path(os.environ["UNMUFFLE_DATA"]) / "speech" / "train"
    voices = sorted(p for p in folder.glob("*") if p.stat().st_size > 30_000)  # sentences, not words
    for number in range(count):
        rng = np.random.default_rng([12, number])
        talkers = 1 + number % 2
        scene = random_scene(rng, sources=talkers, t60_s=float(rng.uniform(0.2, 0.6)), noise_snr_db=10.0)
        chosen = [read(voices[int(i)], sample_rate=16000)[0][0] for i in rng.choice(len(voices), talkers, False)]
        n = min(8 * 16000, *(x.size for x in chosen))
        heard = simulate(scene, [x[:n] for x in chosen])
        yield heard.mix, 16000, scene.geometry, [s.azimuth_deg for s in scene.sources]


def measure(material: Any) -> dict[str, Any]:
    from unmuffle.signal.direction import METHODS, angle_between, find_directions

    errors: dict[str, dict[int, list[float]]] = {}
    counted: dict[str, list[bool]] = {}
    for x, rate, array, truth in material:
        found = {m: [t.azimuth_deg for t in find_directions(x, rate, array, method=m, talkers=len(truth)).talkers]
                 for m in METHODS}  # fmt: skip
        for m in METHODS:
            counted.setdefault(m, []).append(len(find_directions(x, rate, array, method=m).talkers) == len(truth))
        found |= peers(x, rate, array, len(truth))
        for name, azimuths in found.items():
            missing = [180.0] if not azimuths else []
            wrong = [min([angle_between(a, t) for a in azimuths] + missing) for t in truth]
            errors.setdefault(name, {}).setdefault(len(truth), []).extend(wrong)
    return {
        name: {
            "talkers": {
                str(k): {
                    "median_deg": float(np.median(v)),
                    "mean_deg": float(np.mean(v)),
                    "max_deg": float(np.max(v)),
                    "missed": float(np.mean(np.asarray(v) > MISSED_DEG)),
                    "of": len(v),
                }
                for k, v in sorted(by_count.items())
            },
            "counted": float(np.mean(counted[name])) if name in counted else None,
        }
        for name, by_count in errors.items()
    }


def peers(x: np.ndarray, rate: int, array: Any, talkers: int) -> dict[str, list[float]]:
    import pyroomacoustics as pra

    size = 512
    spectra = np.stack([pra.transform.stft.analysis(channel, size, size // 2, win=np.hanning(size)) for channel in x])
    found = {}
    for name, kind in (("pyroomacoustics SRP-PHAT", "SRP"), ("pyroomacoustics NormMUSIC", "NormMUSIC")):
        method = pra.doa.algorithms[kind](array.centred.T[:2], rate, size, c=343.2, num_src=talkers)
        method.locate_sources(spectra.transpose(0, 2, 1), freq_range=[300.0, 6000.0])
        found[name] = [float(a) for a in np.rad2deg(np.atleast_1d(method.azimuth_recon))]
    return found


def section(data: dict[str, Any]) -> list[str]:
    """The part of docs/numbers.md."""
    lines = ["## Directions of talkers", ""]
    titles = {"recordings": "Recordings of a small circle of four microphones:",
              "rooms": "Simulated rooms, diffuse noise at 10 dB:"}  # fmt: skip
    for key, title in titles.items():
        rows = []
        for name, found in data["results"][key].items():
            for count, r in found["talkers"].items():
                share = "" if found["counted"] is None else f"{found['counted']:.0%}"
                cells = [name, count, f"{r['median_deg']:.1f}", f"{r['mean_deg']:.1f}", f"{r['max_deg']:.1f}"]
                rows.append([*cells, f"{r['missed']:.0%} of {r['of']}", share])
        head = ["method", ">talkers", ">median error, degrees", ">mean", ">worst", ">missed", ">counted right (all)"]
        lines += [title, "", *common.table(head, rows), ""]
    one = data["results"]["recordings"]["srp-phat"]["talkers"]["1"]["median_deg"]
    return [*lines, common.verdict("Median error of one recorded talker (srp-phat)", one, 5.0, unit=" degrees"), "",
            common.provenance(data), ""]  # fmt: skip


if __name__ == "__main__":
    main()
