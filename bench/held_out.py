"""Do the networks sound on other voices and noises as they do on the development sets?

    UNMUFFLE_DATA=DATA python bench/held_out.py [--methods classic,live] [--pairs 60]

The pairs of ``dev16`` and ``dev48`` have been looked at often. These are others: voices, noises and music of the
validation part of the training collections (``unmuffle.data.manifest.split_validation``), which no weight was trained
on. One voice and one noise in each pair, at -5, 0, 5, 10 and 15 dB over active speech as in the
development sets, made anew from seeds:

* ``voicebank``: both at 16 kHz, dry, as VoiceBank+DEMAND has them;
* ``wide``: at 48 kHz, with noises that reach up to 24 kHz. The held-out voices end at 8 kHz (the wide-band
  speakers, a few, fell to the training part), so it tests the path at 48 kHz and noise above the band.

Scored at 16 kHz as in ``bench/sound.py``, with 95 % bootstrap intervals. Programs of others are not run here.

Sets are not equally hard. ``classic`` learned nothing from any recording: how much better than it a network is, pair by
pair, is compared between the sets, with the 95 % interval of the difference (Welch).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common
import numpy as np
from hard_noises import Recordings, Signal

SETS = {"voicebank": 16_000, "wide": 48_000}
SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0)
METRICS = {"pesq_wb": 3, "stoi": 3, "estoi": 3, "si_sdr": 2, "dnsmos_ovrl": 3}
LIKE = {"voicebank": "dev16", "wide": "dev48"}
YARDSTICK = "classic"
SECONDS = 5.0


def pairs(recordings: Recordings, rate: int, count: int) -> list[tuple[Signal, Signal]]:
    """Clean and noisy, ``count`` of each."""
    from unmuffle.degrade.snr import at_snr

    # Speakers and kinds of noise in turn: the collection has more of some than of others.
    voices = groups(recordings.of("speech"), "speaker")
    noises = groups(recordings.of("noise") + recordings.of("music"), "category")
    made = []
    for number in range(count):
        rng = np.random.default_rng((11, rate, number))
        clips = voices[number % len(voices)]
        voice = recordings.joined([clips[i] for i in rng.permutation(len(clips))], SECONDS, 0.25, rate)
        clips = noises[number % len(noises)]
        noise = recordings.joined([clips[int(rng.integers(len(clips)))]], SECONDS, rate=rate)
        noise = np.roll(noise, int(rng.integers(len(noise))))
        noisy = voice + at_snr(voice[np.newaxis], noise[np.newaxis], rate, SNRS_DB[number % len(SNRS_DB)])[0]
        level = min(10 ** (rng.uniform(-6, 8) / 20), 0.99 / float(np.max(np.abs(noisy))))
        made.append(((level * voice).astype(np.float32), (level * noisy).astype(np.float32)))
    return made


def development(folder: Path) -> list[tuple[Signal, Signal]]:
    """Clean and noisy of a development set."""
    import soundfile

    names = sorted(path.name for path in (folder / "clean").iterdir())
    return [tuple(soundfile.read(folder / part / n, dtype="float32")[0] for part in ("clean", "noisy")) for n in names]


def difference(here: Any, there: Any) -> list[float]:
    """Means of both, their difference, and half of its 95 % interval: different pairs, different spreads (Welch)."""
    a, b = np.asarray(here), np.asarray(there)
    spread = 1.96 * float(np.sqrt(a.var(ddof=1) / a.size + b.var(ddof=1) / b.size))
    return [float(a.mean()), float(b.mean()), float(a.mean() - b.mean()), spread]


def groups(clips: list[Any], key: str) -> list[list[Any]]:
    """Clips of one value each, in the order of the values."""
    found: dict[str, list[Any]] = {}
    for clip in clips:
        found.setdefault(getattr(clip, key), []).append(clip)
    return [found[name] for name in sorted(found)]


def score(clean: Signal, other: Signal, rate: int) -> list[float]:
    """All measures at 16 kHz."""
    from unmuffle.evaluate.dnsmos import dnsmos
    from unmuffle.evaluate.pesq import pesq_wb
    from unmuffle.evaluate.si_sdr import si_sdr
    from unmuffle.evaluate.stoi import estoi, stoi
    from unmuffle.signal.resample import convert

    s, y = (x if rate == 16_000 else convert(x, rate, 16_000) for x in (clean, other))
    return [*(f(s, y, 16_000) for f in (pesq_wb, stoi, estoi, si_sdr)), float(dnsmos(y, 16_000).ovrl)]


def main() -> None:
    """Measure and write the result."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default=os.environ.get("UNMUFFLE_DATA"))
    options.add_argument("--methods", default="classic,tiny,live,live-low")
    options.add_argument("--pairs", type=int, default=60)
    args = options.parse_args()
    if not args.data:
        options.error("no recordings: give --data DATA or set UNMUFFLE_DATA")
    from unmuffle import load
    from unmuffle.enhancers.base import run_offline
    from unmuffle.evaluate.bootstrap import mean_interval

    before, recordings = common.load_average(), Recordings(Path(args.data))
    results: dict[str, Any] = {"pairs": args.pairs, "methods": args.methods.split(","), "sets": {}}
    for name, rate in SETS.items():
        made, theirs = pairs(recordings, rate, args.pairs), development(Path(args.data) / LIKE[name])
        means, lead, yardstick = {}, {}, []
        for method in ("", *sorted(results["methods"], key=lambda m: m != YARDSTICK)):
            enhancer = load(method) if method else None
            scores = [
                np.transpose([score(s, run_offline(enhancer, x, rate) if enhancer else x, rate) for s, x in some])
                for some in ([made, theirs] if method else [made])
            ]
            columns = zip(METRICS, scores[0], strict=True)
            means[method] = {m: list(mean_interval(values.tolist())[:3]) for m, values in columns}
            print(name, method or "unprocessed", {m: round(v[0], 3) for m, v in means[method].items()}, flush=True)
            if method == YARDSTICK:
                yardstick = scores
            elif method and yardstick:
                ahead = [s - y for s, y in zip(scores, yardstick, strict=True)]
                lead[method] = {m: difference(*values) for m, *values in zip(METRICS, *ahead, strict=True)}
        results["sets"][name], results.setdefault("lead", {})[name] = means, lead
    packages = ("pesq", "pystoi", "onnxruntime", "speechmos")
    common.save("held_out", packages, results, load_before=before)


# -- the page -----------------------------------------------------------------------------------


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    sound = common.result("sound")
    lines = [
        "### Held-out voices and noises",
        "",
        "Are the figures above those of two sets, or of the methods? "
        f"{found['pairs']} pairs each of voices, noises "
        "and music that no network here was trained on (the validation part of the training collections), one voice "
        "and one noise, -5 to 15 dB: `voicebank` at 16 kHz, `wide` at 48 kHz with noises up to 24 kHz (its voices end "
        "at 8 kHz: no wide-band speaker is held out). What matters is the *gain* over the noisy input, which is put "
        "beside that on the development set of the same rate: the sets are not equally hard. Means with 95 % intervals "
        "of the mean; programs of others were not run on them.",
        "",
    ]
    titles = {"pesq_wb": "PESQ-WB", "stoi": "STOI", "estoi": "ESTOI", "si_sdr": "SI-SDR dB", "dnsmos_ovrl": "DNSMOS"}
    for name, means in found["sets"].items():
        rows = []
        for method, values in means.items():
            cells = []
            for metric, places in METRICS.items():
                mean, low, high = values[metric]
                text = f"{mean:.{places}f} ± {(high - low) / 2:.{places}f}"
                gain = mean - means[""][metric][0]
                theirs = gain_on(sound, LIKE[name], method, metric) if method else None
                if theirs is not None:
                    text += f" ({gain:+.{places}f}; {theirs:+.{places}f})"
                cells.append(text)
            rows.append([f"`{method}`" if method else "unprocessed", *cells])
        lines += [f"`{name}` (in brackets: the gain here; on `{LIKE[name]}`):", ""]
        lines += [*common.table(["method", *(f">{titles[m]}" for m in METRICS)], rows), ""]
    rows, within, count = [], 0, 0
    for name, methods in found.get("lead", {}).items():
        for method, values in methods.items():
            cells = []
            for metric, places in METRICS.items():
                here, there, apart, spread = values[metric]
                cells.append(f"{here:.{places}f}; {there:.{places}f} ({apart:+.{places}f} ± {spread:.{places}f})")
                within, count = within + (abs(apart) <= spread), count + 1
            rows.append([f"`{method}`", f"`{name}`; `{LIKE[name]}`", *cells])
    if rows:
        lines += [
            f"What can be gained depends on the set, also for `{YARDSTICK}`, which learned from no recording. How much "
            f"better than `{YARDSTICK}` each network is, pair by pair: here; on the development set (the difference "
            f"with its 95 % interval). {within} of {count} differences lie within their intervals.",
            "",
            *common.table(["method", "sets", *(f">{titles[m]}" for m in METRICS)], rows),
            "",
        ]
    return [*lines, common.provenance(data), ""]


def gain_on(sound: dict[str, Any] | None, part: str, method: str, metric: str) -> float | None:
    """What a method gains on a development set, by the result of ``bench/sound.py``."""
    means = sound["results"]["sets"][part]["means"] if sound else {}
    if method not in means or "noisy" not in means or metric not in means[method]:
        return None
    return float(means[method][metric][0]) - float(means["noisy"][metric][0])


if __name__ == "__main__":
    main()
