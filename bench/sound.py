"""How do the methods sound beside their rivals? Standard scores on real recordings.

    UNMUFFLE_DATA=DATA python bench/sound.py
    python bench/sound.py --data DATA [--methods log-mmse,omlsa] [--limit 4] [--workers 2]

``DATA`` holds ``dev16`` and ``dev48``, each with ``clean`` and ``noisy`` (pairs of one name) and
``peers.csv``: the scores that other programs got on the same pairs, one line per program and file. Every
denoising method of the registry runs with its defaults; none was tuned on these files. Outputs are scored
at 16 kHz as they come, without looking for a delay: a method that is not aligned pays for it. PESQ-WB, STOI,
ESTOI, SI-SDR, COVL, DNSMOS OVRL; means over files with 95 % bootstrap intervals.

The rivals' scores are read, not made here. That both were scored alike is checked with the unprocessed
files, which are in both: ``check`` in the result is the largest difference between the two in any file.

Rows are kept in ``runs/bench/sound.jsonl``; a run that was stopped goes on there. A row is used again only
while the code that can change it is the same.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common

SETS = {"dev16": "60 pairs at 16 kHz", "dev48": "13 pairs at 48 kHz, scored at 16 kHz"}
METRICS = {"pesq_wb": 3, "stoi": 3, "estoi": 3, "si_sdr": 2, "covl": 3, "dnsmos_ovrl": 3}
TITLES = {
    "pesq_wb": "PESQ-WB",
    "stoi": "STOI",
    "estoi": "ESTOI",
    "si_sdr": "SI-SDR (dB)",
    "covl": "COVL",
    "dnsmos_ovrl": "DNSMOS OVRL",
}
PEER_COLUMNS = {"sisdr": "si_sdr", "ovrl": "dnsmos_ovrl"}
PASSES = (("pesq_wb", "stoi", "estoi", "si_sdr", "covl"), ("dnsmos_ovrl",))
"""DNSMOS takes longer than all others together, so that it comes in a second pass over the methods."""
BINNED = ("si_sdr", "pesq_wb", "estoi")
FAMILIES = ("spectral", "kalman", "neural")
PEERS = {
    "deepfilternet3": "DeepFilterNet 3",
    "deepfilternet2": "DeepFilterNet 2",
    "ulunas": "UL-UNAS",
    "gtcrn_dns3": "GTCRN (DNS3)",
    "gtcrn_vctk": "GTCRN (VCTK)",
    "dtln": "DTLN",
    "rnnoise": "RNNoise",
    "fastenhancer_t16": "FastEnhancer T, 16 kHz",
    "fastenhancer_t48": "FastEnhancer T, 48 kHz",
    "fastenhancer_b48": "FastEnhancer B, 48 kHz",
    "fastenhancer_s48": "FastEnhancer S, 48 kHz",
    "webrtc_ns2": "WebRTC NS (level 2)",
    "speexdsp": "SpeexDSP",
    "sox_noisered": "SoX noisered",
    "ffmpeg_afftdn": "FFmpeg afftdn",
    "noisereduce_nonstat": "noisereduce (non-stationary)",
    "pra_wiener": "pyroomacoustics Wiener",
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default=os.environ.get("UNMUFFLE_DATA"))
    options.add_argument("--methods", help="comma-separated; default: all that denoise")
    options.add_argument("--limit", type=int, help="this many pairs of each set (a trial; writes sound-trial.json)")
    options.add_argument("--quick", action="store_true", help="without DNSMOS")
    options.add_argument("--add", action="store_true", help="keep the other methods of the earlier result, and say so")
    options.add_argument("--workers", type=int, default=1)
    args = options.parse_args()
    if not args.data:
        options.error("no recordings: give --data DATA or set UNMUFFLE_DATA")
    from unmuffle.enhancers import registry

    before = common.load_average()
    names = args.methods.split(",") if args.methods else denoisers()
    passes = PASSES[:1] if args.quick else PASSES
    results: dict[str, Any] = {"default": registry.DEFAULT, "methods": names, "sets": {}}
    for part in SETS:
        results["sets"][part] = one_set(Path(args.data) / part, part, names, args.limit, args.workers, passes)
    packages = ("pesq", "pystoi", "onnxruntime", "speechmos", "numba")
    note = join(results, common.RESULTS / "sound.json") if args.add and not args.limit else ""
    common.save("sound-trial" if args.limit else "sound", packages, results, load_before=before, note=note)


def join(results: dict[str, Any], path: Path) -> str:
    """Put the methods of an earlier result that were not measured now beside those that were; say which."""
    earlier = json.loads(path.read_text(encoding="utf-8"))
    new = results["methods"]
    kept = [name for name in earlier["results"]["methods"] if name not in new]
    results["methods"] = [*kept, *new]
    for part, got in results["sets"].items():
        old = earlier["results"]["sets"][part]
        got["means"] = {**{name: old["means"][name] for name in kept}, **got["means"]}
        for snr, cells in got["bins"].items():
            got["bins"][snr] = {**cells, **{name: old["bins"][snr][name] for name in kept}}
        got["verdicts"] = {**{k: v for k, v in old["verdicts"].items() if k in kept}, **got["verdicts"]}
    return f"Of this run: {', '.join(new)}; the other methods of {earlier['date']}, commit {earlier['commit']}."


def denoisers() -> list[str]:
    """Registered methods of the families that remove noise, and that can be made here without parameters."""
    from unmuffle.enhancers import registry
    from unmuffle.errors import UnmuffleError

    found = []
    for name in registry.names():
        if registry.entry(name).family in FAMILIES:
            try:
                registry.load(name)
                found.append(name)
            except UnmuffleError as error:
                print(f"left out: {error}")
    return found


def code(family: str) -> str:
    """Digest of the sources (and weights) that the output of a method of this family depends on."""
    package = common.ROOT / "src" / "unmuffle"
    digest = hashlib.sha256()
    folders = [package / "signal", package / "noise", package / "enhancers" / family]
    if family == "neural":
        folders.append(package / "models")
    files = [p for folder in folders for p in folder.rglob("*") if p.suffix in (".py", ".onnx", ".npz")]
    files += [p for p in (package / "enhancers").glob("*.py") if p.name != "registry.py"]  # it only names methods
    for path in sorted(set(files)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def one_set(
    folder: Path, part: str, names: list[str], limit: int | None, workers: int, passes: tuple[tuple[str, ...], ...]
) -> dict[str, Any]:
    """Score a set with every method; the table of it."""
    from unmuffle.cli.evaluate import Enhance
    from unmuffle.enhancers import registry
    from unmuffle.evaluate import evaluate_pairs, find_pairs

    pairs = find_pairs(folder / "clean", folder / "noisy").pairs[:limit]
    peers = read_peers(folder / "peers.csv", {pair.name for pair in pairs})
    rows = []
    for name, metrics in ((name, metrics) for metrics in passes for name in ["noisy", *names]):
        begun = time.perf_counter()
        made = None if name == "noisy" else registry.load(name)
        config = {} if made is None else {"key": made.key(), "code": code(registry.entry(name).family)}
        got = evaluate_pairs(
            pairs,
            enhance=None if made is None else Enhance(made),
            label=name,
            config=config,
            metrics=metrics,
            score_rate=16000,
            max_delay_s=0.0,
            results=common.SCRATCH / "sound.jsonl",
            workers=workers,
        )
        failed = [row for row in got if row.error]
        for row in failed:
            print(f"failed: {name}: {row.file}: {row.error}", file=sys.stderr)
        rows += got
        took = time.perf_counter() - begun
        print(f"{part} {name}: {' '.join(metrics)}: {len(failed)} of {len(got)} failed, {took:.0f} s", flush=True)
    own: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row.error is None:
            own.setdefault((row.method, row.file), dict.fromkeys(METRICS, math.nan)).update(row.values)
    bins = {pair.name: pair.tags.get("snr_db") for pair in pairs}
    result = {
        "files": len(pairs),
        "errors": sum(row.error is not None for row in rows),
        "means": {name: means({f: v for (m, f), v in own.items() if m == name}) for name in ["noisy", *names]},
        "peers": {peer: means(files) for peer, files in peers.items() if peer != "noisy"},
        "bins": by_snr(own, peers, names, bins),
        "check": largest_difference(own, peers.get("noisy", {})),
        "verdicts": {name: verdicts(own, peers, name) for name in judged(own, names, registry.DEFAULT)},
    }
    return result


Scores = dict[str, dict[str, float]]


def read_peers(path: Path, wanted: set[str]) -> dict[str, Scores]:
    """Program -> file -> metric -> score."""
    found: dict[str, Scores] = defaultdict(dict)
    with open(path, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["file"] in wanted:
                cells = {PEER_COLUMNS.get(k, k): v for k, v in row.items() if k not in ("peer", "file")}
                found[row["peer"]][row["file"]] = {k: float(v) if v else math.nan for k, v in cells.items()}
    return dict(found)


def means(files: Scores) -> dict[str, list[float]]:
    """Metric -> [mean, low, high, count] over the files."""
    from unmuffle.evaluate import mean_interval

    return {m: list(mean_interval([values[m] for values in files.values()])) for m in METRICS}


def by_snr(own: dict[tuple[str, str], Any], peers: dict[str, Scores], names: list[str], bins: Any) -> dict[str, Any]:
    """SNR -> method or program -> metric -> mean."""
    contestants = {name: {f: v for (m, f), v in own.items() if m == name} for name in ["noisy", *names]}
    contestants |= {f"peer:{peer}": files for peer, files in peers.items() if peer != "noisy"}
    out: dict[str, Any] = {}
    for snr in sorted({v for v in bins.values() if v is not None}):
        files = [name for name, value in bins.items() if value == snr]
        out[f"{snr:g}"] = {"files": len(files)} | {
            who: {m: _mean([scores[f][m] for f in files if f in scores]) for m in BINNED}
            for who, scores in contestants.items()
        }
    return out


def _mean(values: list[float]) -> float:
    good = [v for v in values if math.isfinite(v)]
    return sum(good) / len(good) if good else math.nan


def largest_difference(own: dict[tuple[str, str], Any], noisy: Scores) -> dict[str, float]:
    """Of the unprocessed files: how far our scores and those beside the rivals lie apart at most."""
    out = {}
    for m in METRICS:
        gaps = [abs(own["noisy", f][m] - v[m]) for f, v in noisy.items() if ("noisy", f) in own]
        out[m] = max((g for g in gaps if math.isfinite(g)), default=math.nan)
    return out


def judged(own: dict[tuple[str, str], Any], names: list[str], default: str) -> list[str]:
    """The methods that are held against each rival: the default, and the best by PESQ if that is another one."""
    found = {name: _mean([v["pesq_wb"] for (m, _), v in own.items() if m == name]) for name in names}
    best = max(found, key=lambda name: found[name] if math.isfinite(found[name]) else -math.inf)
    return list(dict.fromkeys([*([default] if default in names else []), best]))


def verdicts(own: dict[tuple[str, str], Any], peers: dict[str, Scores], name: str) -> dict[str, Any]:
    """Program -> metric -> [mean difference, low, high] of the method against it, file by file."""
    from unmuffle.evaluate import mean_interval

    out: dict[str, Any] = {}
    for peer, files in peers.items():
        out[peer] = {}
        for m in METRICS:
            shared = [own[name, f][m] - v[m] for f, v in files.items() if (name, f) in own]
            out[peer][m] = list(mean_interval(shared))[:3]
    return out


# -- the page -----------------------------------------------------------------------------------


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    lines = [
        "## Sound",
        "",
        "All methods with their defaults beside other programs, on the same files. Our outputs were scored as they "
        "come, without alignment. These sets are for measuring only; settings are chosen and networks trained on "
        "other recordings. The rivals' scores were made earlier from the same noisy files, with the same metric "
        "packages and also without alignment, and are read from the set's `peers.csv`; here they are only averaged. "
        "± is half the 95 % bootstrap interval of the mean over files. Names in *italics* are rivals.",
        "",
    ]
    for part, about in SETS.items():
        if part in found["sets"]:
            lines += _set_lines(part, about, found["sets"][part], found["default"])
    return [*lines, *tried(), common.provenance(data), ""]


NETWORKS = (
    ("`dense`: two wide recurrences over all bands, 528 thousand weights, 104 minutes of half one", 1.564, 0.645, 7.5),
    ("`bandwise`: a recurrence that 24 bands share, 192 thousand weights, 75 minutes of a core", 1.790, 0.683, 9.8),
    ("the same, 108 minutes more, with whispers, singing and a little SI-SDR", 1.869, 0.709, 11.5),
    ("bands merged into 16, 86 minutes more, losses that listen, no clue in the top band", 1.891, 0.719, 11.8),
    ("90 minutes more, on voices freed of the noise that they were recorded with", 1.892, 0.722, 11.9),
    ("two hours more, breath at the microphone, rumble, alarms, DNSMOS", 1.857, 0.723, 12.3),
    ("two and a half hours more on slower cores, a third tap, steady tones", 1.887, 0.723, 12.3),
    ("three hours more, what is usual in each bin, lower SNRs, DNSMOS", 1.877, 0.729, 12.7),
    ("9 minutes of an accelerator, 6595 steps of 96 mixtures: `live`", 1.888, 0.738, 13.1),
    ("24 bands, width 32, 4 ms steps, 12 minutes of an accelerator and some of a core", 1.701, 0.680, 9.7),
    ("`live` at 4 ms steps, patches that see a tone alike, 85 minutes of a core", 1.830, 0.712, 11.6),
    ("the ninth `live` at 4 ms steps, what is usual in each bin, 74 minutes of a core: `live-low`", 1.808, 0.728, 12.5),
    ("gains of 32 bands and a comb filter, GRUs over all, 81 thousand weights, 28 minutes", 1.586, 0.660, 8.7),
    ("the same with GRUs that all bands share, 68 thousand weights, 78 minutes", 1.669, 0.678, 9.7),
    ("62 minutes of a core more, losses that listen, DNSMOS", 1.665, 0.684, 10.0),
    ("75 minutes of a core more, whispers and speech without noise: `tiny`", 1.672, 0.685, 9.8),
)
"""Design and recipe, and what it scored on dev16 (PESQ-WB, ESTOI, SI-SDR); more in the cards in src/unmuffle/models."""


def tried() -> list[str]:
    """What was tried for the networks, and what would come next."""
    rows = [[what, f"{pesq:.3f}", f"{estoi:.3f}", f"{sdr:.1f}"] for what, pesq, estoi, sdr in NETWORKS]
    return [
        "### What was tried for the networks, and what would come next",
        "",
        "Scores of dev16. Weights were chosen by the loss on held-out mixtures of training recordings; each recipe "
        "is in the card beside its weights.",
        "",
        *common.table(["design and recipe", ">PESQ-WB", ">ESTOI", ">SI-SDR"], rows),
        "",
        "Two more were trained from fresh weights, side by side on an accelerator (NVIDIA H200, 11.7 minutes for "
        "all three networks, some 6000 s of mixtures a second from 13 cores, 128 mixtures a step): `bandwise` at "
        "width 32 (4889 steps) and at 32 bands, width 64 and three blocks (2614 steps). On 128 held-out mixtures "
        "they came to PESQ 1.829 and 1.849, SI-SDR 10.6 and 10.7 dB, where the 24 bands of width 48, after 22 "
        "thousand small steps, had 1.912 and 11.6 dB: at this size the number of steps counts, not that of the "
        "recordings in each. None of the two is shipped.",
        "",
        "The third row had learned a clue that is none: nearly all noises had passed a resampler's filter on the "
        "way down to 16 kHz and most voices had not, so that whatever lay above 7.6 kHz was speech. Where noise "
        "goes on beyond 8 kHz, as at 48 kHz, that cost 0.15 PESQ and 0.8 dB of dev48 against the same files at 16 "
        "kHz (so it was found). The fourth was trained without it, and with losses that listen: with two thirds of "
        "the operations it is ahead of that row in every measure, on dev48 by 0.24 PESQ and 1.7 dB.",
        "",
        "Half of the training voices have noise of their own less than 40 dB below them. For the fifth row it was "
        "lowered with the weights of the fourth (as `unmuffle data pool --clean-voices live` does). On 48 held-out "
        "mixtures that and 90 minutes more gave 0.013 PESQ, 0.007 ESTOI, 0.3 dB and 0.02 DNSMOS (0.027 PESQ against "
        "voices without noise); on dev16 0.003 STOI, 0.003 ESTOI and 0.2 dB, on dev48 0.004 STOI, 0.3 dB and 0.02 "
        "DNSMOS less. How much of it is due to the voices and how much to the time was not taken apart.",
        "",
        "The curve of the fifth row on held-out mixtures ended with 0.345, 0.344, 0.344 (each after 4096 mixtures): "
        "flat, with the learning rate at its end; that of the first `live-low` with 0.396, 0.394, 0.394, 0.393.",
        "",
        "The sixth row began with a fault that the sets showed: of voices close to the microphone the fifth took "
        "what lies below 60 Hz, breath and pops, for noise, also where there was none. In one voice of dev16 that "
        "is a quarter of the energy, and cost up to 9 dB of SI-SDR. So breath is drawn for three voices in ten "
        "(`pop_share`), cleaning leaves what lies below 75 Hz, and as its counterpart there is rumble "
        "(`rumble_share`; without it, rumble of traffic was left in, as one file of dev16 showed, which fell from "
        "17 to 5 dB). What to draw was decided by these findings; shares, weights and the state that is shipped "
        "were not chosen by the sets. Computed alarms, sirens, bells and engines (`tone_share`) are there for the "
        "few recordings of such, and DNSMOS' own network for what a listener would say (`loss.opinion`; where a "
        "clip is nearly silent its slopes are steep, in 23 clips 25 to 3900 times those of all other losses "
        "together (median 240), and until they were shortened it decided alone: after 40 minutes 0.17 DNSMOS for "
        "0.1 PESQ). The weights of the last two runs, 19 minutes each with seeds of their own, were averaged, which "
        "is better than one of them in all but DNSMOS (on 48 held-out mixtures 2.068 to 2.067 PESQ, 0.711 to 0.710 "
        "ESTOI, 11.92 to 11.87 dB).",
        "",
        "The seventh row began with a question: does a filter that reaches further tell a whistle from a voice? Two "
        "more taps and the phase step over two frames were added to the sixth as zeros. In 74 minutes of two cores "
        "(half as fast as those before) the weights of the third, fourth tap and of the second step grew to 0.21, "
        "0.15 and 0.17 of those of the first; without the last two of them 48 held-out mixtures score the same (0.02 "
        "dB, 0.0005 STOI), without the third tap they lose 0.05 PESQ and 0.03 dB. So it has three; in turns with the "
        "sixth on one machine a file took 5 % longer (4.86 ms for a second of sound, 4.64) and a block of 10 ms no "
        "longer. On those mixtures, with breath, rumble and tones, it has PESQ 1.998 for 1.909, SI-SDR 11.07 for "
        "10.90 dB, STOI 0.823 for 0.822, ESTOI 0.691 for 0.689, DNSMOS 2.61 for 2.65 (which was in the loss for the "
        "last fifth of the steps only); without the third tap 1.951 and 11.04 dB, so that time and averaging gave a "
        "good part of it. Steady tones were added because one file of dev48, two tones at -5 dB over the whole "
        "voice, lets `live` fail by 10 dB against DTLN; in 26 minutes it did not learn them (that file: -0.9 dB, -0.1 "
        "before).",
        "",
        "Two findings began the eighth row. At -5 dB, the edge of what it had been trained on, the seventh took too "
        "much of the voice: on dev16 it had ESTOI 0.52 there and 4.3 dB, RNNoise 0.54, DTLN 0.53 and 5.2 dB, "
        "although both are behind it in the mean. So mixtures go down to -8 dB, and losses that speak for the voice "
        "weigh more (now 0.53 and 5.3 dB). And a band is several bins wide, and has to remember in which of them "
        "a steady tone lies. So each bin is shown with what is usual in it, leaky means over a second of its "
        "magnitude and of its phase step, which for a steady tone is its frequency (`steady`; in turns with the "
        "seventh a file takes 5 % longer, a block of 10 ms no longer). On 48 held-out mixtures the same weights "
        "without these means (set to zero) lose 0.3 dB, 0.005 STOI, 0.007 ESTOI and 0.03 DNSMOS. On 96 held-out "
        "mixtures at -5 to 10 dB the eighth has PESQ 1.925 for 1.898, STOI 0.830 for 0.827, ESTOI 0.709 for 0.702, "
        "SI-SDR 10.2 for 10.0 dB and DNSMOS 2.67 for 2.62; on the 48 with breath, rumble and tones 1.983 for 2.007, "
        "0.824 for 0.821, 0.689 for 0.684, 11.2 for 11.1 dB and 2.66 for 2.62. Neither DTLN nor RNNoise is ahead of "
        "it in any measure by more than the 95 % interval any more; their means still are in three places: RNNoise "
        "in DNSMOS (by 0.03 on dev16, by 0.07 on dev48) and DTLN in SI-SDR on dev48, by 0.9 dB, of which 0.7 are "
        "that one file with two loud tones (0.9 dB for 10.0; -0.9 before). On 24 held-out voices with steady tones "
        "at -5 dB it has 7.8 dB, the seventh 6.7: learned in part.",
        "",
        "For the ninth row the same network went on for 6595 steps of 96 mixtures, 528 hours of them, about as many "
        "as in all rows before together, in 9 minutes of an accelerator (NVIDIA H200), at the same losses and shares "
        "but for a little more SI-SDR, disturbance and tones. On the 96 held-out mixtures it has PESQ 1.932 for "
        "1.925, STOI 0.837 for 0.830, ESTOI 0.716 for 0.709, SI-SDR 10.4 for 10.2 dB and DNSMOS 2.78 for 2.67; with "
        "steady tones at -5 dB 8.8 dB for 7.8. It is ahead of RNNoise in all means of both sets, and of DTLN in all "
        "of dev16; on dev48 DTLN still has 0.016 PESQ, 0.14 COVL and 0.8 dB more (all within the interval), of which "
        "0.04 PESQ and 0.4 dB are that one file with two loud tones (4.8 dB for 10.0). The curve on held-out "
        "mixtures, 1.291 at its start, 1.224 after 3818 steps, 1.206 at its end, still fell a little. Two attempts "
        "to go on from there with 8 mixtures a step on a core, with half of the tones steady and more SI-SDR, were "
        "broken off after some 1000 steps: the 96 mixtures had 1.87 PESQ, at a learning rate of 8e-4 as at 2e-4, for "
        "0.2 dB with steady tones. So was one of 335 steps of 64 (`accumulate`) that began at 6e-4 with an optimiser "
        "that remembered nothing: 1.208 at its start, then 1.233, 1.224, 1.232. With what its optimiser remembered, "
        "at 1.5e-4 falling to nothing, 281 more steps of 64 (42 minutes of a core) give 1.223, 1.214, 1.238, 1.228, "
        "1.230 on 96 mixtures, one in 16 of them heard by DNSMOS: flat. On the mixtures at -5 to 10 dB (whose tones "
        "are drawn in another way since) nothing changes: PESQ 1.891 before and after, STOI 0.833, ESTOI 0.707, "
        "SI-SDR 10.39 and 10.41 dB, DNSMOS 2.78 and 2.77. Nor did 535 steps of 48 from 8e-4 to nothing (31 minutes of "
        "two cores with AMX, an optimiser that remembered nothing) with three times the SI-SDR and twice the "
        "disturbance: on 96 others of that kind PESQ 1.829 and 1.832, STOI 0.800 and 0.799, ESTOI 0.653 and 0.652, "
        "SI-SDR 9.25 and 9.29 dB, DNSMOS 2.58 and 2.54. Nor did another optimiser: 573 steps like those with Muon "
        "(orthogonalised momentum, 0.2 of a matrix's size a step) for all matrices, 31 minutes of the same cores; its "
        "loss on held-out mixtures was higher (0.403 for 0.338 after 480 steps), and on 96 mixtures drawn anew the "
        "shipped weights, those steps with AdamW and these come to PESQ 1.849, 1.855 and 1.855, STOI 0.808, "
        "0.808 and 0.809, ESTOI 0.663, 0.663 and 0.662, SI-SDR 9.25, 9.28 and 9.26 dB, DNSMOS 2.60, 2.57 and 2.59, "
        "the mean of all three weights to 1.857, 0.809, 0.663, 9.30 dB and 2.59: two ways of stepping "
        "end where they began. The leaky means and the biases behind them take fewer "
        "operators since: the same weights in turns, a file takes 4 % less (median of 30 turns on a machine whose "
        "speed swings by more).",
        "",
        "Against the fifth row, on 48 held-out mixtures with breath in four voices of ten (before rumble was "
        "drawn): SI-SDR 12.6 dB for 12.0, ESTOI 0.729 for 0.724, DNSMOS 2.82 for 2.71, PESQ 2.098 for 2.107; on 48 "
        "as they are, the shipped weights: SI-SDR 11.9 dB both, ESTOI 0.711 for 0.712, DNSMOS 2.72 for 2.62, PESQ "
        "2.068 for 2.089. DNSMOS is no measure of its own for a network that was trained by it; read the others "
        "beside it. The same for `live-low` (without rumble) gave it 0.04 DNSMOS for 0.035 PESQ on dev16 (1.795, "
        "0.713 ESTOI, 11.6 dB) and is not shipped.",
        "",
        "At 4 ms steps a tone in the middle of a bin turns by another angle in every patch of bins than in the next, "
        "so that a recurrence shared by patches could not use phases; since the frame before is turned by what "
        "lacks, `live-low` learns at once from where `live` is (loss 0.411 after 512 steps of 8). Its second row "
        "went on from the ninth `live`, with what is usual in each bin, breath, rumble, tones and DNSMOS: 1753 steps "
        "of 8 in 74 minutes; on 96 held-out mixtures PESQ 1.800 for 1.792, STOI 0.824 for 0.811, ESTOI 0.691 for "
        "0.676, SI-SDR 9.8 for 9.0 dB, DNSMOS 2.65 for 2.52 (loss 0.780, 0.725, 0.720 after each 4096 mixtures). 202 "
        "more steps of 32 from there, with what its optimiser remembered, at 3e-4 falling to nothing (42 minutes of a "
        "core), give 0.726, 0.727, 0.735, 0.734: flat, and PESQ 1.808 for 1.815, STOI 0.826 for 0.826, ESTOI 0.695 "
        "for 0.694, SI-SDR 9.8 dB both, DNSMOS 2.66 for 2.65. Not shipped.",
        "",
        "What did not help: a floor under the filter of `live`, 2 % of what it takes away. On 48 held-out mixtures of "
        "the training collections it gave 0.08 PESQ, 0.003 STOI and 0.01 DNSMOS for 0.001 ESTOI; on dev16 nothing in "
        "PESQ and SI-SDR, 0.003 STOI for 0.006 ESTOI and 0.05 DNSMOS. The voices of the training collections have "
        "noise of their own, which a floor resembles. Not shipped. Lowering the output of `live` further where its "
        "gain is low gives DNSMOS for PESQ (0.05 for 0.07 on those mixtures).",
        "",
        "`tiny` began with recurrences over all bands. What `live` showed, that one which all bands share learns more "
        "from little speech, holds at a tenth of the size as well: with fewer weights, on 48 held-out mixtures of the "
        "training collections, PESQ rose from 1.839 to 1.861 (with the noise of the voices lowered: 1.880 to 1.929), "
        "ESTOI from 0.659 to 0.670, SI-SDR from 9.4 to 9.9 dB and DNSMOS from 2.48 to 2.51; part of it may be due to "
        "the cleaned voices and to the time (twice the mixtures, 117 hours heard instead of 213). Its curve ended "
        "with 0.4897, 0.4890, 0.4885, 0.4884. In babble it takes more of the voice than before (11.5 dB, 8.8).",
        "",
        "Its third row went on with the waveform in the loss: STOI, DNSMOS and what else `live` was taught, on "
        "mixtures down to -8 dB; 557 steps of 32 in 62 minutes of a core. On 96 held-out mixtures at -5 to 10 dB it "
        "has PESQ 1.737 for 1.742, STOI 0.789 for 0.791, ESTOI 0.650 for 0.645, SI-SDR 7.8 for 7.3 dB and DNSMOS "
        "2.55 for 2.39; clean voices lose 0.8 dB of level for 1.2. Speech without noise survives better (table of "
        "hard noises: 24 dB for 18, singing 23 for 14; whispers lose 3.9 dB for 5.3, babble takes 8.2 dB of the "
        "voice for 11.5); on the pairs of held-out speakers below PESQ is 0.05 lower than before and DNSMOS 0.10 "
        "higher. It is still behind RNNoise in STOI, ESTOI and DNSMOS. The loss after each 4096 mixtures, 1.597, "
        "1.579, 1.570, 1.569, was nearly flat as its time was up. 17 minutes more with more STOI (0.4) and "
        "disturbance (0.12) made it worse (PESQ 1.729, ESTOI 0.644, SI-SDR 7.2 dB, DNSMOS 2.52). The same for "
        "`live-low`, 64 minutes with more disturbance (0.12) from its shipped weights: PESQ 1.792 for 1.800, ESTOI "
        "0.683 for 0.691, SI-SDR 9.5 for 9.8 dB, DNSMOS 2.62 for 2.65 on those mixtures; the mean of both weights is "
        "no better than the shipped ones (1.801, 0.689, 9.7 dB, 2.65). Not shipped.",
        "",
        "Its fourth row was to keep whispers, of which the third lost 3.9 dB: 955 steps of 32 more in 75 minutes of "
        "a core, with whispers in 12 % of the voices (3 before), 8 % of the mixtures without noise (3), and the "
        "penalty on lost speech 0.35 (0.3). On 96 held-out mixtures PESQ 1.722 for 1.753, STOI 0.793 both, ESTOI "
        "0.655 for 0.654, SI-SDR 7.7 for 7.9 dB, DNSMOS 2.55 for 2.56; in the table of hard noises whispers lose 0.2 "
        "dB, and speech without noise comes out at 32 dB for 24, singing too for 23. Alone, a dryer is lowered by 58 "
        "dB for 72; with typing under the voice PESQ is 0.14 lower. Its loss ended flat (1.340, 1.331, 1.332, "
        "1.336), and so `tiny` is at its end with this recipe.",
        "",
        "Steady tones, each followed with its phase and subtracted, were tried inside of `live`: bins up to 4 kHz, "
        "compared over 50 ms and averaged over a second, in front of all else, with a gate of 49 weights that every "
        "bin shares and that learned for 18 minutes while all others stayed. 24 held-out voices with tones at -5 dB, "
        "half of them exactly steady, came from 10.2 to 13.7 dB and from 2.02 to 2.30 PESQ, 24 with one to three "
        "pure tones from 10.7 to 18.9 dB and from 2.51 to 3.21; the 96 mixtures, in which such tones are rare, "
        "stayed as they were (PESQ 1.880 for 1.878, 10.4 for 10.3 dB), and so did dev16; dev48 lost 0.1 dB, most of "
        "it in that one file: its tones, of a bell, swing by 10 dB several times a second, and are not steady after "
        "all. A file took 19 % longer (median of 30 turns). So it is a repair stage instead, `detone`, for every "
        "method and for those who have such tones (table of hard noises). In front of `live` it did no harm where "
        "there were none: 16 held-out mixtures of usual noises at 5 dB have 11.4 dB for 11.3 and PESQ 1.90 for 1.87.",
        "",
        "Not shipped: the former `tiny` with the losses that listen (STOI 0.3, disturbance 0.05; 2600 steps of 32 from "
        "its weights, 36 minutes of a core). On held-out mixtures PESQ rose from 1.763 to 1.778 and ESTOI from "
        "0.690 to 0.700, and SI-SDR fell from 9.6 to 8.7 dB.",
        "",
        "What the time of a frame is made of (`live`, 16 kHz): in onnxruntime some 110 us of 163, the rest in "
        "transforms, copies and the stream. As one compiled function (`enhancers/neural/native.py`) the network takes "
        "43 us, and the frame 66. Tried before that, and taken out again: a second graph for a single frame, with "
        "matrices for tensors (146 us in all), and a network made for the budget in onnxruntime, three layers of "
        "gated averages (minGRU) shared by 16 bands, 37 thousand weights (90 us in all): after 47 thousand steps of 32 "
        "mixtures of 2 s on an accelerator (10.5 minutes; an error in feeding it mixed up a part of the batches) and "
        "25 minutes of a core it had PESQ 1.82 and SI-SDR 10.9 dB on 24 held-out mixtures, where `live` has 1.96 and "
        "12.1.",
        "",
        "Next: more minutes of an accelerator at a high rate (there the curve had not ended), a wider network as a "
        "teacher, or more speech. On new mixtures of the very voices and noises that it was trained on, the sixth "
        "row gained 0.60 PESQ, 0.057 STOI and 6.8 dB over the input, on mixtures of others 0.45, 0.044 and 7.1 dB "
        "(64 each): it does not know its recordings by heart, and has not learned even these to the end.",
        "",
    ]


def _set_lines(part: str, about: str, got: dict[str, Any], default: str) -> list[str]:
    lines = [f"### {part}: {about}", ""]
    entries = [(name, name == default, m) for name, m in got["means"].items() if name != "noisy"]
    named = [(f"**`{n}`**" if mine else f"`{n}`", m) for n, mine, m in entries]
    named += [(f"*{PEERS.get(p, p)}*", m) for p, m in got["peers"].items()]
    named.sort(key=lambda item: -(item[1]["pesq_wb"][0] or 0.0))
    named.append(("unprocessed", got["means"]["noisy"]))
    rows = [[who, *(_cell(m[k], places) for k, places in METRICS.items())] for who, m in named]
    lines += common.table(["method", *(f">{TITLES[m]}" for m in METRICS)], rows)
    check = ", ".join(f"{TITLES[m]} {v:.2g}" for m, v in got["check"].items() if v is not None)
    lines += [
        "",
        f"{got['files']} files, {got['errors']} failures. The unprocessed files are in `peers.csv` too; the largest "
        f"difference in any one file between that score and ours: {check}.",
        "",
    ]
    lines += [f"Means per SNR of the noisy file (number of files), {', '.join(TITLES[m] for m in BINNED)}:", ""]
    bins = got["bins"]
    head = ["method", *(f">{snr} dB ({bins[snr]['files']})" for snr in bins)]
    order = [k for k in next(iter(bins.values())) if k != "files"]
    rows = []
    for who in order:
        shown = f"*{PEERS.get(who[5:], who[5:])}*" if who.startswith("peer:") else f"`{who}`"
        shown = "unprocessed" if who == "noisy" else f"**{shown}**" if who == default else shown
        rows.append([shown, *(_triple(bins[snr][who]) for snr in bins)])
    lines += [*common.table(head, rows), ""]
    lines += [
        "Verdicts: mean difference to each rival over the files, ± half its 95 % interval. A difference counts as "
        "ahead or behind when the interval does not hold 0, else as level.",
        "",
    ]
    for name, against in got["verdicts"].items():
        why = "the default" if name == default else "ours"
        rows = []
        for peer, cells in sorted(against.items(), key=lambda item: -(item[1]["pesq_wb"][0] or 0.0)):
            who = "unprocessed" if peer == "noisy" else f"*{PEERS.get(peer, peer)}*"
            rows.append([who, *(_ahead(m, cells[m]) for m in METRICS)])
        lines += common.table([f"`{name}` ({why}) against", *(TITLES[m] for m in METRICS)], rows)
        words = [_ahead(m, c[m]).split()[0] for c in against.values() for m in METRICS]
        counts = ", ".join(f"{words.count(w)} {w}" for w in ("ahead", "level", "behind"))
        lines += ["", f"`{name}`, of {len(words)} comparisons: {counts}.", ""]
    return lines


def _cell(cell: list[float], places: int) -> str:
    mean, low, high, _ = cell
    if mean is None:
        return "-"
    return f"{mean:.{places}f}" + ("" if low is None else f" ± {(high - low) / 2:.{places}f}")


def _triple(cell: dict[str, float]) -> str:
    return " / ".join("-" if cell[m] is None else f"{cell[m]:.{2 if m != 'si_sdr' else 1}f}" for m in BINNED)


def _ahead(metric: str, cell: list[float]) -> str:
    mean, low, high = cell
    if mean is None or low is None:
        return "unknown"
    word = "ahead" if low > 0 else "behind" if high < 0 else "level"
    places = METRICS[metric]
    return f"{word} {mean:+.{places}f} ± {(high - low) / 2:.{places}f}"


if __name__ == "__main__":
    main()
