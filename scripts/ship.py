"""Makes a shipped file of ``live`` or ``live-low`` from a checkpoint, and the figures in its model card.

    python scripts/ship.py live RUN/last.pt [OTHER/last.pt ...] --data DATA --level 0.99 [--dnsmos]

Weights of several runs that began with the same weights are averaged (Wortsman et al. 2022, "Model soups").

``--level`` is what clean held-out speech loses in dB: losses that do not hear the level (SI-SDR, STOI, disturbance) and
those that fear noise let it sink. The filter's taps are raised by as much, so that clean speech keeps its level.

``DATA`` holds ``dev16`` and ``dev48`` with ``clean``, ``noisy`` and ``peers.csv``. The prose of the card is written by
hand; what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->`` (file, curve, scores) is replaced. The development
sets are measured once and last; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import csv
import re
import tempfile
from pathlib import Path

import torch
from shipping import DATA, METRICS, PARTS, measured, rows

from unmuffle.enhancers import registry
from unmuffle.enhancers.neural.model import load
from unmuffle.enhancers.neural.network import NeuralEnhancer
from unmuffle.export.graph import export
from unmuffle.train import checkpoint

MODELS = Path(__file__).parents[1] / "src" / "unmuffle" / "models"
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
    options.add_argument("name", choices=("live", "live-low"))
    options.add_argument("checkpoint", type=Path, nargs="+", help="the first one's recipe and curve are told")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--level", type=float, default=0.0, help="dB by which the output is raised")
    options.add_argument("--dnsmos", action="store_true", help="as well (slow; needs speechmos)")
    options.add_argument("--limit", type=int, help="this many pairs of each set, for a trial")
    options.add_argument("--target", type=Path, default=MODELS, help="folder of the file and its card")
    args = options.parse_args()
    state, *others = (checkpoint.load(path) for path in args.checkpoint)
    for name, value in state["averages"].items():
        if value.dtype.is_floating_point:
            value.copy_(torch.stack([value, *(other["averages"][name] for other in others)]).mean(0))
    for name in ("taps.weight", "taps.bias"):  # the output is linear in them
        state["averages"][name] *= 10.0 ** (args.level / 20.0)
    with tempfile.TemporaryDirectory() as folder:
        trial, raised = Path(folder) / "trial.onnx", Path(folder) / "raised.pt"
        checkpoint.save(raised, {k: v for k, v in state.items() if k != "format"})
        export(raised, trial, name=args.name, licence="MIT", data=DATA)
        measures = {
            who: {p: measured(e, args.data / p, dnsmos=args.dnsmos, limit=args.limit) for p in PARTS}
            for who, e in (("classic", registry.load("classic")), (args.name, NeuralEnhancer(str(trial))))
        }
        rounded = {part: {k: round(v, 3) for k, v in found.items()} for part, found in measures[args.name].items()}
        target = args.target / f"{args.name}.onnx"
        target.unlink(missing_ok=True)
        export(raised, target, name=args.name, licence="MIT", data=DATA, scores=rounded)
    facts = load(target).facts
    weights = sum(v.numel() for v in state["averages"].values())
    size = target.stat().st_size / 1e6
    digest = f"sha256 (of the file with these digits blanked) `{facts.sha256}`"
    curve = list(csv.DictReader((args.checkpoint[0].parent / "log.csv").open(encoding="utf-8")))
    blocks = {
        "file": "| | |\n|---|---|\n"
        f"| file | `{args.name}.onnx`, {size:.2f} MB, {digest} |\n| weights | {weights}, float32 |",
        "curve": ", ".join(f"{float(r['valid_loss']):.3f}" for r in curve) + ".",
        "scores": "| | PESQ-WB | STOI | ESTOI | SI-SDR | DNSMOS OVRL |\n" + "|---" * (len(METRICS) + 1) + "|\n"
        + "\n".join(rows(args.data, RIVALS, measures, args.name)),
    }
    card = args.target / f"{args.name}.md"
    text = card.read_text(encoding="utf-8")
    for name, content in blocks.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, found = re.subn(pattern, lambda m, c=content: f"{m[1]}{c}\n{m[2]}", text, flags=re.DOTALL)
        if not found:
            raise SystemExit(f"{card}: no block <!-- {name} -->")
    card.write_text(text, encoding="utf-8")
    print(f"{target}: {size:.2f} MB, {facts.sha256}")


if __name__ == "__main__":
    main()
