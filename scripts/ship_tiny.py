"""Makes the shipped file of ``tiny`` and its model card from a checkpoint; every figure in the card is measured here.

    python scripts/ship_tiny.py RUN --data DATA [--name tiny] [--dnsmos]

``RUN`` is the folder that ``train_tiny.py`` filled; ``DATA`` holds ``dev16`` and ``dev48`` with ``clean``, ``noisy``
and ``peers.csv``. Weights become eight-bit ones if that costs less than 0.02 PESQ and 0.002 STOI on 24 held-out
mixtures. The development sets are measured once and last; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from shipping import DATA, PARTS, measured, rows

from unmuffle.data.mix import Mixture
from unmuffle.data.render import Rendered
from unmuffle.enhancers import registry
from unmuffle.enhancers.neural.bands import RATE
from unmuffle.enhancers.neural.model import load
from unmuffle.enhancers.neural.network import NeuralEnhancer
from unmuffle.errors import InputError
from unmuffle.evaluate.stoi import stoi
from unmuffle.export.graph import export
from unmuffle.export.quantise import quantise
from unmuffle.train import checkpoint

MODELS = Path(__file__).parents[1] / "src" / "unmuffle" / "models"
RIVALS = {"noisy": "noisy", "rnnoise": "RNNoise", "dtln": "DTLN", "gtcrn_dns3": "GTCRN"}


def main() -> None:
    """Export, quantise, measure, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--name", default="tiny", help="of the run within RUN")
    options.add_argument("--dnsmos", action="store_true", help="as well (slow; needs speechmos)")
    options.add_argument("--limit", type=int, help="this many pairs of each set, for a trial")
    options.add_argument("--target", type=Path, default=MODELS, help="folder of tiny.onnx and tiny.md")
    args = options.parse_args()
    source = args.run / args.name / "last.pt"
    valid = Rendered(args.run / "valid")
    mixtures = [m for m in (valid.item(0, i) for i in range(48)) if np.isfinite(m.snr_db) and spoken(m)][:24]
    pairs = [(m.noisy, m.target) for m in mixtures]
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "small.onnx"
        export(source, plain, name="tiny", licence="MIT", data=DATA)
        taken = quantise(plain, small, pairs)
        print(taken, flush=True)
        # The frame of the file is that of the weights alone: measure, then write it again with its scores.
        how = {"dnsmos": args.dnsmos, "limit": args.limit}
        scores = {part: measured(NeuralEnhancer(str(small)), args.data / part, **how) for part in PARTS}
        classic = {part: measured(registry.load("classic"), args.data / part, **how) for part in PARTS}
        rounded = {part: {k: round(v, 3) for k, v in found.items()} for part, found in scores.items()}
        export(source, plain, name="tiny", licence="MIT", data=DATA, scores=rounded)
        taken = quantise(plain, args.target / "tiny.onnx", pairs)
    facts = load(args.target / "tiny.onnx").facts
    size = (args.target / "tiny.onnx").stat().st_size
    state = checkpoint.load(source)
    curve = list(csv.DictReader((args.run / args.name / "log.csv").open(encoding="utf-8")))
    card = CARD.format(
        size=size,
        kilobytes=size / 1000,
        digest=facts.sha256,
        weights=sum(v.numel() for k, v in state["averages"].items() if k.startswith("core.")),
        steps=state["step"],
        batch=facts.recipe["batch"],
        seed=facts.recipe["seed"],
        sizes=facts.recipe["sizes"],
        hours=float(curve[-1]["hours_heard"]),
        different=state["script"]["hours"],
        minutes=float(curve[-1]["processor_minutes"]),
        options=" ".join(f"--{k.replace('_', '-')} {v}" for k, v in state["script"].items() if k in SHOWN),
        curve=", ".join(f"{float(r['valid_loss']):.4f}" for r in curve),
        table="\n".join(rows(args.data, RIVALS, {"classic": classic, "tiny": scores}, "tiny")),
        int8=str(taken),
    )
    (args.target / "tiny.md").write_text(card, encoding="utf-8")
    print(card)


def spoken(mixture: Mixture) -> bool:
    """Is there enough speech in it for all measures?"""
    try:
        return stoi(mixture.target, mixture.target, RATE) > 0
    except InputError:
        return False


SHOWN = (
    *("hours", "steps", "batch", "rate", "width", "context", "blocks"),
    *("gain_loss", "voice_loss", "over", "width_power", "seed"),
)

CARD = """# Model card: `tiny`

A very small causal network that removes noise from one voice, in real time, at any sample rate; the class of RNNoise.

| | |
|---|---|
| file | `tiny.onnx`, {kilobytes:.1f} kB, sha256 (of the file with these digits blanked) `{digest}` |
| weights | {weights}, stored as 8-bit integers with a scale for each row, used as float32; sizes {sizes} |
| licence of the weights | MIT; the recordings they were trained on have licences of their own, see below |
| delay | 10 ms, and 20 ms with the 10 ms that have to be collected; no look-ahead beyond that |
| rates | 8 to 192 kHz with one set of weights; 32 ERB bands below 8 kHz, above that the gain of the highest |
| design | `unmuffle.train.nets.tiny`: two GRUs shared by all bands, one that sees all; gains, comb filter |

## Training

{steps} steps of {batch} mixtures of 4 s ({hours:.0f} h heard, of {different} h of different mixtures) in
{minutes:.0f} minutes of processor time. AdamW, cosine, averaged weights, seed {seed}. Loss: power-compressed
energies and cross terms of bands after gain and comb filter, gains against the ideal ones, voice activity. Mixtures:
-7 to 20 dB, one to three noises, babble, music, whispers, singing, rooms, equalisers, speed, band limits, converters'
edges, clipping; on voices whose own noise was lowered with `live` (as for `live` itself: half of them had it less than
40 dB below their loud parts). To repeat it:

    unmuffle data pool MANIFEST -o RUN/pool --clean-voices live
    python scripts/train_tiny.py DATA/manifest.csv RUN {options}
    python scripts/ship_tiny.py RUN --data DATA

Loss on held-out speakers and noises in the course of the run: {curve}.

## Recordings

From public repositories; a table with the licence of every file belongs to the collection itself.

- speech, 3.5 h of about 424 labels: speechocean762 (CC BY 4.0), LibriSpeech excerpts (CC BY 4.0), Picovoice
  speech-to-intent benchmark (Apache-2.0), Kathleen and Nathalie (CC0), single words of art4apps, GCompris and
  Smart4Kids (CC BY-SA)
- noise, 2.1 h: OLPC Berklee samples (CC BY 3.0), ESC-10 (CC BY and CC0), Noisekun and Blanket (CC0, CC BY, CC BY-SA),
  MegaGlest (CC BY-SA 3.0), OpenSFX, Minetest and CDDA soundpacks (CC0, CC BY, CC BY-SA mixes), bucklespring (GPL-2.0),
  Sonic Pi (CC0)
- music, 0.4 h: OLPC Berklee samples (CC BY 3.0), Colobot (GPL-3.0), Open Surge (CC BY, CC BY-SA), MegaGlest
  (CC BY-SA 3.0), OpenMusic (CC BY-SA 4.0), UltraStar (CC BY-SA 2.5), Sonic Pi (CC0)
- rooms, 125 responses: web-audio-samples (Apache-2.0), OpenAIR by way of Reverb.js (CC BY-SA 3.0, CC BY 3.0, public
  domain), JSAmbisonics (BSD-3-Clause), audiomentations (MIT), SpeechBrain (Apache-2.0), GeneticReverb (CC BY 4.0; of
  one of its rooms the licence is not stated); and simulated ones

## Scores

Means over the pairs of `dev16` and `dev48` (scored at 16 kHz), speakers and noises not in training, no alignment.

| | PESQ-WB | STOI | ESTOI | SI-SDR | DNSMOS OVRL |
|---|---|---|---|---|---|
{table}

8-bit weights against float32 ones, on 24 mixtures of held-out speakers: {int8}.

## Where it fails

- Bands are as wide as the ear's: between the harmonics of a voice only the comb filter works, so where the pitch is
  not found (two voices at once, music), noise stays or speech goes.
- Late reverberation is lowered little: a band's gain cannot take it out of the speech.
- Babble of other talkers is the same to it as the voice; music was noise in training.
"""

if __name__ == "__main__":
    main()
