"""Train the mask network of ``neural-beamformer`` on simulated rooms, and export it.

    python bench/train_array_mask.py --speech FOLDER --noise FOLDER --rooms 60 --minutes 20 --out FOLDER

Rooms as in ``array_scenes.py`` but with five microphones at random places within 20 x 20 x 4 cm, of which each
batch uses two to five: the network shall know no geometry. SNR -5 to 10 dB, share of the interferer 0.1 to 0.9,
noise with random slopes. A tenth of the speech files, and of the rooms, is left out for validation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import common  # noqa: F401 # isort: skip # sets one thread: before numpy
import array_scenes as sim
import numpy as np
import torch
from scipy.signal import fftconvolve

from unmuffle.enhancers.neural.model import Model
from unmuffle.export.graph import to_bytes
from unmuffle.signal.arrays import ArrayGeometry
from unmuffle.train import beamformer
from unmuffle.train.nets.array_mask import ArrayMask, ArrayMaskConfig

MICROPHONES = 5
SECONDS = 3.0
TAKES = 5


def scattered(rng: np.random.Generator) -> ArrayGeometry:
    """Microphones at random places, 1 cm or more apart."""
    while True:
        places = rng.uniform([-0.1, -0.1, -0.02], [0.1, 0.1, 0.02], (MICROPHONES, 3)) * rng.uniform(0.4, 1.0)
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(MICROPHONES)
        if apart.min() > 0.01:
            return ArrayGeometry(tuple(map(tuple, places.tolist())), "scattered")


class Draw:
    """Batches by number, mixed from voices and noises that were put into their rooms beforehand."""

    def __init__(self, seed: int, rooms: list, voices: list, noises: list, takes: int, batch: int) -> None:
        self.seed, self.batch = seed, batch
        self.places = []
        rng = np.random.default_rng((seed, 1))
        n = int(SECONDS * sim.RATE)
        for place in rooms:
            talks = [sim.talk(rng, voices, n) for _ in range(takes)]
            others = [sim.excerpt(rng, noises, n) for _ in range(takes)]
            others[0] = 0.05 * rng.standard_normal(n).astype(np.float32)
            early = sim.early_part(place.talker)
            signals = [_heard(t, early) for t in talks], [_heard(t, place.talker) for t in talks]
            noise = [_heard(o, place.interferer) for o in others]
            self.places.append((*signals, noise, sim.diffuse(rng, place.array, n).astype(np.float16)))

    def __call__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.seed, 2, number))
        count = int(rng.choice([2, 3, 4, 4, 4, 5]))
        heard, target = [], []
        for _ in range(self.batch):
            early, voice, noise, around = self.places[rng.integers(len(self.places))]
            picked = rng.permutation(MICROPHONES)[:count]
            take = int(rng.integers(len(voice)))
            e, s = early[take][picked].astype(np.float32), voice[take][picked].astype(np.float32)
            v = noise[rng.integers(len(noise))][picked].astype(np.float32)
            d = np.roll(around[picked].astype(np.float32), int(rng.integers(around.shape[1])), axis=1)
            d = d + float(rng.uniform(0.0, 0.9)) * np.roll(d, 1, axis=1)  # from white to low-pass
            level = np.mean(s**2) * 10 ** (-rng.uniform(-5.0, 10.0) / 10)
            share = rng.uniform(0.1, 0.9)
            v = v * np.sqrt(share * level / max(np.mean(v**2), 1e-12))
            d = d * np.sqrt((1 - share) * level / np.mean(d**2))
            gain = 0.1 * 10 ** rng.uniform(-1.0, 0.5) / np.sqrt(np.mean((s + v + d) ** 2))
            heard.append(gain * (s + v + d))
            target.append(gain * e)
        return tuple(torch.from_numpy(np.stack(x).astype(np.float32)) for x in (heard, target))


def _heard(dry: np.ndarray, responses: np.ndarray) -> np.ndarray:
    return fftconvolve(dry[None], responses, axes=1)[:, : dry.size].astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--rooms", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    files = sorted(args.speech.iterdir())
    files = [files[i] for i in rng.permutation(len(files))[: args.rooms * TAKES]]
    voices = [sim.recording(p) for p in files]
    others = sorted(args.noise.iterdir())
    noises = [sim.recording(others[i]) for i in rng.permutation(len(others))[: args.rooms * TAKES]]
    rooms = [sim.room(rng, scattered(rng)) for _ in range(args.rooms)]
    print(f"{len(voices)} voices, {len(noises)} noises, {len(rooms)} rooms", flush=True)
    kept, held = len(voices) // 10, max(1, len(rooms) // 10)
    draw = Draw(args.seed, rooms[held:], voices[kept:], noises, TAKES, args.batch)
    check = Draw(args.seed + 1, rooms[:held], voices[:kept], noises, TAKES, args.batch)
    print("the rooms are full", flush=True)
    net = ArrayMask(ArrayMaskConfig(args.hidden))
    recipe = beamformer.BeamformerRecipe(minutes=args.minutes, seed=args.seed)
    facts = beamformer.train(net, draw, recipe, lambda line: print(line, flush=True))
    net.eval()
    stft = beamformer.Stft(net.spec.at(net.sample_rate))
    with torch.no_grad():
        scores = [beamformer.loss(net, stft, *check(i), 0.0)[1] for i in range(20)]
    valid = float(np.mean([s[0] for s in scores]))
    print(f"validation SI-SDR {valid:.2f} dB after {facts['steps']} steps", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), args.out / "array-mask.pt")
    content = to_bytes(net, {
        "name": "array-mask", "licence": "MIT",
        "data": {"speech": len(voices) - kept, "noise": len(noises), "rooms": len(rooms) - held},
        "recipe": {**recipe.to_dict(), "steps_done": facts["steps"], "batch": args.batch, "hidden": args.hidden},
        "scores": {"validation_si_sdr_db": round(valid, 2)},
    })  # fmt: skip
    Model(content, "array-mask")
    (args.out / "array-mask.onnx").write_bytes(content)
    (args.out / "facts.json").write_text(json.dumps({**facts, "validation_si_sdr_db": valid}))


if __name__ == "__main__":
    main()
