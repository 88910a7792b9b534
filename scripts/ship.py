"""Makes a shipped file of ``live``, ``live-low`` or ``tiny`` from a checkpoint, and the figures in its model card.

    python scripts/ship.py live RUN/last.pt [OTHER/last.pt ...] --data DATA --level 0.99 [--dnsmos]
    python scripts/ship.py tiny RUN/last.pt --data DATA --int8 POOL [--dnsmos]

Weights of several runs that began with the same weights are averaged (Wortsman et al. 2022, "Model soups").

``--level`` is what clean held-out speech loses in dB: losses that do not hear the level (SI-SDR, STOI, disturbance) and
those that fear noise let it sink. The filter's taps are raised by as much, so that clean speech keeps its level.

``--int8`` makes the weights eight-bit ones, if that costs less than 0.02 PESQ and 0.002 STOI on 24 mixtures of the
held-out recordings of a pool (``unmuffle data pool``).

``DATA`` holds ``dev16`` and ``dev48`` with ``clean``, ``noisy`` and ``peers.csv``. The prose of the card is written by
hand; what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` (file, curve, scores) is replaced. The development
sets are measured once and last; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import csv
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from shipping import DATA, METRICS, PARTS, measured, rows

from unmuffle.data.mix import MixConfig, Mixer
from unmuffle.data.pool import Pool
from unmuffle.enhancers import registry
from unmuffle.enhancers.neural.model import load
from unmuffle.enhancers.neural.network import NeuralEnhancer
from unmuffle.errors import InputError
from unmuffle.evaluate.stoi import stoi
from unmuffle.export.graph import export
from unmuffle.export.quantise import quantise
from unmuffle.train import checkpoint
from unmuffle.train.config import from_dict

MODELS = Path(__file__).parents[1] / "src" / "unmuffle" / "models"
Pairs: TypeAlias = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
RIVALS = {
    "noisy": "noisy",
    "rnnoise": "RNNoise",
    "dtln": "DTLN",
    "gtcrn_dns3": "GTCRN",
    "fastenhancer_t16": "FastEnhancer-T",
    "ulunas": "UL-UNAS",
    "deepfilternet3": "DeepFilterNet 3",
}


def main() -> None:
    """Measure, export with the scores, fill in the card."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name", choices=("live", "live-low", "tiny"))
    options.add_argument("checkpoint", type=Path, nargs="+", help="the first one's recipe and curve are told")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--level", type=float, default=0.0, help="dB by which the output is raised")
    options.add_argument("--int8", type=Path, metavar="POOL", help="eight-bit weights, proven on what it holds out")
    options.add_argument("--dnsmos", action="store_true", help="as well (slow; needs speechmos)")
    options.add_argument("--limit", type=int, help="this many pairs of each set, for a trial")
    options.add_argument("--target", type=Path, default=MODELS, help="folder of the file and its card")
    args = options.parse_args()
    state, *others = (checkpoint.load(path) for path in args.checkpoint)
    for name, value in state["averages"].items():
        if value.dtype.is_floating_point:
            value.copy_(torch.stack([value, *(other["averages"][name] for other in others)]).mean(0))
    if args.level:
        for name in ("taps.weight", "taps.bias"):  # the output is linear in them
            state["averages"][name] *= 10.0 ** (args.level / 20.0)
    pairs = held_out(args.int8, from_dict(state["recipe"]).mix) if args.int8 else None
    with tempfile.TemporaryDirectory() as folder:
        trial, raised = Path(folder) / "trial.onnx", Path(folder) / "raised.pt"
        checkpoint.save(raised, {k: v for k, v in state.items() if k != "format"})
        taken = made(raised, trial, args.name, pairs)
        measures = {
            who: {p: measured(e, args.data / p, dnsmos=args.dnsmos, limit=args.limit) for p in PARTS}
            for who, e in (("classic", registry.load("classic")), (args.name, NeuralEnhancer(str(trial))))
        }
        rounded = {part: {k: round(v, 3) for k, v in found.items()} for part, found in measures[args.name].items()}
        target = args.target / f"{args.name}.onnx"
        made(raised, target, args.name, pairs, scores=rounded)
    facts = load(target).facts
    weights = sum(v.numel() for v in state["averages"].values())
    size, depth = target.stat().st_size / 1e6, "eight-bit integers with a scale for each row" if pairs else "float32"
    room = f"{size:.2f} MB" if size > 0.2 else f"{1000.0 * size:.1f} kB"
    digest = f"sha256 (of the file with these digits blanked) `{facts.sha256}`"
    curve = list(csv.DictReader((args.checkpoint[0].parent / "log.csv").open(encoding="utf-8")))
    blocks = {
        "file": "| | |\n|---|---|\n"
        f"| file | `{args.name}.onnx`, {room}, {digest} |\n| weights | {weights}, {depth} |",
        "curve": ", ".join(f"{float(r['valid_loss']):.3f}" for r in curve) + ".",
        "scores": "| | PESQ-WB | STOI | ESTOI | SI-SDR | DNSMOS OVRL |\n" + "|---" * (len(METRICS) + 1) + "|\n"
        + "\n".join(rows(args.data, RIVALS, measures, args.name)),
    }
    if taken:
        blocks["int8"] = f"Eight-bit weights against float32 ones, on {len(pairs or ())} of those mixtures: {taken}."
    card = args.target / f"{args.name}.md"
    text = card.read_text(encoding="utf-8")
    for name, content in blocks.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, found = re.subn(pattern, lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text, flags=re.DOTALL)
        if not found:
            raise SystemExit(f"{card}: no block <!-- {name} -->")
    card.write_text(text, encoding="utf-8")
    print(f"{target}: {room}, {facts.sha256}")


def made(
    source: Path, target: Path, name: str, pairs: Pairs | None, scores: dict[str, dict[str, float]] | None = None
) -> str:
    """Export; with eight-bit weights, and what they cost, if there are pairs to prove them."""
    target.unlink(missing_ok=True)
    if pairs is None:
        export(source, target, name=name, licence="MIT", data=DATA, scores=scores)
        return ""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        export(source, plain, name=name, licence="MIT", data=DATA, scores=scores)
        return str(quantise(plain, target, pairs))


def held_out(home: Path, mix: MixConfig, count: int = 24) -> Pairs:
    """Noisy and clean, of the first mixtures with noise and enough speech for all measures."""
    mixer = Mixer(Pool(home), mix, "valid")
    pairs: Pairs = []
    for i in range(8 * count):
        mixture = mixer.item(0, i)
        if np.isfinite(mixture.snr_db):
            with suppress(InputError):
                stoi(mixture.target, mixture.target, mixer.sample_rate)
                pairs.append((mixture.noisy, mixture.target))
    return pairs[:count]


if __name__ == "__main__":
    main()
