"""Train the mask network of ``neural-beamformer`` on simulated rooms, and export it.

    python bench/train_array_mask.py --data MANIFEST.csv --rooms 100 --steps 6000 --out FOLDER

Rooms are drawn as in ``array_scenes.py``, but with five microphones at random places within 20 x 20 x 4 cm, of which
each batch uses two to five: the network shall know no geometry. SNR -5 to 10 dB, share of the interferer 0.1 to 0.9,
noise with random slopes. Interferers are noises and music. About a tenth of the speakers, of the recordings of noise
and of the rooms is left out for validation. The table is a ``manifest.csv`` (`unmuffle.data.manifest.from_csv`); one
without a time or steps of its own trains for 20 minutes of the clock.
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

from unmuffle.data import manifest
from unmuffle.data.manifest import Clip
from unmuffle.degrade.array_rooms import RoomScene, early_responses, random_scene, room_responses
from unmuffle.degrade.diffuse import make_diffuse
from unmuffle.enhancers.neural.model import Model
from unmuffle.export.graph import to_bytes
from unmuffle.train import beamformer
from unmuffle.train.nets.array_mask import ArrayMask, ArrayMaskConfig

MICROPHONES = 5
SECONDS = 3.0
TAKES = 5
SHORTEST_S = 1.5
"""Least length of a clip of speech: shorter ones are single words."""


def scattered(rng: np.random.Generator) -> RoomScene:
    """A room with microphones at random places, 1 cm or more apart."""
    while True:
        places = rng.uniform([-0.1, -0.1, -0.02], [0.1, 0.1, 0.02], (MICROPHONES, 3)) * rng.uniform(0.4, 1.0)
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(MICROPHONES)
        if apart.min() > 0.01:
            break
    text = "; ".join(",".join(f"{v:.4f}" for v in place) for place in places)
    t60_s = float(rng.uniform(0.15, 0.7))
    return random_scene(rng, array=text, t60_s=t60_s, apart_deg=20.0, sample_rate=sim.RATE)


class Draw:
    """Batches by number, mixed from voices and noises that were put into their rooms beforehand."""

    def __init__(self, seed: int, rooms: list, voices: list, noises: list, takes: int, batch: int) -> None:
        self.seed, self.batch = seed, batch
        self.places = []
        rng = np.random.default_rng((seed, 1))
        n = int(SECONDS * sim.RATE)
        for scene in rooms:
            responses, arrivals, _ = room_responses(scene)
            responses = responses / np.sqrt(np.sum(responses**2, axis=(1, 2), keepdims=True))
            early = early_responses(responses, arrivals, sim.RATE)[0]
            talks = [sim.talk(rng, voices, n) for _ in range(takes)]
            others = [sim.excerpt(rng, noises, n) for _ in range(takes)]
            others[0] = 0.05 * rng.standard_normal(n).astype(np.float32)
            signals = [_heard(t, early) for t in talks], [_heard(t, responses[0]) for t in talks]
            noise = [_heard(o, responses[1]) for o in others]
            around = make_diffuse(rng.standard_normal((MICROPHONES, n)), scene.geometry, sim.RATE)
            self.places.append((*signals, noise, around.astype(np.float16)))

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


def _evenly(clips: list[Clip]) -> list[Clip]:
    """One clip of each speaker, then a second one of each that has any, and so on."""
    seen: dict[str, int] = {}
    turns = []
    for clip in clips:
        seen[clip.speaker] = seen.get(clip.speaker, 0) + 1
        turns.append(seen[clip.speaker])
    return [clips[i] for i in np.argsort(turns, kind="stable")]


def _heard(dry: np.ndarray, responses: np.ndarray) -> np.ndarray:
    return fftconvolve(dry[None], responses, axes=1)[:, : dry.size].astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="manifest.csv of the recordings")
    parser.add_argument("--rooms", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=20.0, help="at most so long, by the clock")
    parser.add_argument("--steps", type=int, default=0, help="at most so many; 0: as many as the time allows")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    clips, _ = manifest.hold_out(manifest.from_csv(args.data), 0.1, args.seed)
    clips = [clips[i] for i in rng.permutation(len(clips))]
    count = args.rooms * TAKES
    voices, noises = [], []
    for split in ("train", "valid"):
        part = [c for c in clips if c.split == split and c.duration_s >= SHORTEST_S]
        voices.append([sim.recording(Path(c.path)) for c in _evenly([c for c in part if c.kind == "speech"])[:count]])
        others = [c for c in clips if c.split == split and c.kind in ("noise", "music")]
        noises.append([sim.recording(Path(c.path)) for c in others[:count]])
    rooms = [scattered(rng) for _ in range(args.rooms)]
    print(f"{len(voices[0])} voices, {len(noises[0])} noises, {len(rooms)} rooms", flush=True)
    last = max(1, len(rooms) // 10)
    draw = Draw(args.seed, rooms[last:], voices[0], noises[0], TAKES, args.batch)
    check = Draw(args.seed + 1, rooms[:last], voices[1], noises[1], TAKES, args.batch)
    print("the rooms are full", flush=True)
    net = ArrayMask(ArrayMaskConfig(args.hidden))
    recipe = beamformer.BeamformerRecipe(minutes=args.minutes, steps=args.steps, seed=args.seed)
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
        "data": {"speech": len(voices[0]), "noise": len(noises[0]), "rooms": len(rooms) - last},
        "recipe": {**recipe.to_dict(), "steps_done": facts["steps"], "batch": args.batch, "hidden": args.hidden},
        "scores": {"validation_si_sdr_db": round(valid, 2)},
    })  # fmt: skip
    Model(content, "array-mask")
    (args.out / "array-mask.onnx").write_bytes(content)
    (args.out / "facts.json").write_text(json.dumps({**facts, "validation_si_sdr_db": valid}))


if __name__ == "__main__":
    main()
