"""Trains the shipped network ``tiny``: mixtures and their features once, then many quick epochs.

    python scripts/train_tiny.py DATA/manifest.csv RUN [--steps 4000] [--seed 0] ...

``RUN`` gets ``pool`` (recordings, decoded once), ``train`` and ``valid`` (mixtures, rendered once), features
beside them, ``last.pt`` (averaged weights, as ``unmuffle.export`` takes them) and ``log.csv``. A second run in the
same folder finds what is there. Validation speakers and noises are split off the training recordings.

The general trainer can train ``tiny`` too, but computes the features of each mixture anew in each step; here a step
on two minutes of sound takes 1.4 s on one core.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unmuffle.data import manifest, pool
from unmuffle.data.mix import MixConfig, Mixer, Mixture
from unmuffle.data.render import FACTS, Rendered, render
from unmuffle.enhancers.neural import bands
from unmuffle.errors import InputError
from unmuffle.train import checkpoint, losses, nets
from unmuffle.train.config import TrainConfig
from unmuffle.train.nets.tiny import BANDS, Tiny, TinyConfig, TinyCore, apply
from unmuffle.train.perceptual import Disturbance, Stoi
from unmuffle.train.stft import Stft

VALID_ITEMS = 160
EPOCH_ITEMS = 1024
SOUND = ("si_sdr", "pesq", "estoi")
COLUMNS = ("step", "hours_heard", "processor_minutes", "rate", "train_loss", "valid_loss", *SOUND)


def main() -> None:
    """Prepare and train."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("manifest", help="manifest.csv of a collection")
    options.add_argument("run", type=Path, help="folder for everything that is made")
    options.add_argument("--name", default="tiny", help="of this run within the folder")
    options.add_argument("--hours", type=float, default=27.3, help="of mixtures")
    options.add_argument("--steps", type=int, default=4000)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rate", type=float, default=2e-3, help="largest learning rate")
    options.add_argument("--width", type=int, default=TinyConfig.width)
    options.add_argument("--context", type=int, default=TinyConfig.context)
    options.add_argument("--blocks", type=int, default=TinyConfig.blocks)
    options.add_argument("--gain-loss", type=float, default=0.1)
    options.add_argument("--voice-loss", type=float, default=0.03)
    options.add_argument("--over", type=float, default=0.1, help="weight of over-suppression")
    options.add_argument("--width-power", type=float, default=0.3, help="weight of a band: its width to this power")
    options.add_argument("--exact", action="store_true", help="loss over bins (slow), not bands; the last two need it")
    options.add_argument("--stoi-loss", type=float, default=0.0)
    options.add_argument("--disturbance-loss", type=float, default=0.0)
    options.add_argument("--report-minutes", type=float, default=5.0, help="between two lines of the log")
    options.add_argument("--start", type=Path, help="weights to begin with (last.pt of another run)")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    epochs = max(1, round(args.hours * 3600 / 4 / EPOCH_ITEMS))
    train, valid = prepare(args.manifest, args.run, epochs)
    fit(args, train, valid)


# -- mixtures and features -----------------------------------------------------------------------


@dataclasses.dataclass
class Part:
    """Mixtures with what is computed of them once: item i is row i everywhere."""

    mixtures: Rendered
    features: NDArray[np.float16]
    lags: NDArray[np.float32]
    sums: NDArray[np.float16]
    """Per band: means of X X, P P, X P, S S, X S, P S (noisy, one period earlier, target), as signed roots."""


def prepare(table: str, run: Path, epochs: int) -> tuple[Part, Part]:
    """Training and validation part; what is there already is used."""
    home = run / "pool"
    if not (home / pool.INDEX).is_file():
        clips = manifest.split_validation(manifest.from_csv(table))
        print(manifest.summary(clips), flush=True)
        print("not decoded:", pool.pack(clips, home), flush=True)
    packed = pool.Pool(home)
    # Whispers and singing must survive; where a converter's filter ends must not tell voice from noise.
    config = MixConfig(
        seconds=4.0, snr_low_db=-7.0, snr_high_db=20.0, whisper_share=0.03, song_share=0.03, edge_share=0.6, seed=5
    )
    made = []
    for split, rounds, items in (("train", epochs, EPOCH_ITEMS), ("valid", 1, VALID_ITEMS)):
        folder = run / split
        if not (folder / "rendered.json").is_file():
            render(Mixer(packed, config, split), folder, rounds, items)
        made.append(heard(Rendered(folder), folder))
    return made[0], made[1]


def heard(mixtures: Rendered, folder: Path) -> Part:
    """Features and lags of all mixtures, computed once."""
    frames = bands.SPEC.at(bands.RATE)
    count = -(-(mixtures.length + frames.latency) // frames.hop)
    size = mixtures.count
    shapes = {
        "features.f16": (size, count, bands.FEATURES),
        "lags.f32": (size, count),
        "sums.f16": (size, count, 6, bands.BANDS),
    }

    def maps(mode: str, *names: str) -> Any:
        kinds = {"f16": "<f2", "f32": "<f4"}
        return [np.memmap(folder / n, kinds[n[-3:]], mode, shape=shapes[n]) for n in names]  # type: ignore[call-overload]

    begun = time.perf_counter()
    if not (folder / "features.done").is_file():
        features, lags = maps("w+", "features.f16", "lags.f32")
        analysis = bands.Analysis(frames, 1)
        for i in range(size):
            x = np.zeros((1, count * frames.hop), np.float32)
            x[0, : mixtures.length] = row(mixtures, i).noisy
            one, _ = analysis.step(x, analysis.initial())
            features[i], lags[i] = one.features, one.lag
            if i % 2048 == 2047:
                print(f"features of {i + 1} of {size}, {time.perf_counter() - begun:.0f} s", flush=True)
        (folder / "features.done").touch()
    if not (folder / "sums.done").is_file():
        (sums,) = maps("w+", "sums.f16")
        part = Part(mixtures, *maps("r", "features.f16", "lags.f32"), sums)
        stft = Stft(frames)
        mean = torch.from_numpy((bands.SPREAD / bands.SPREAD.sum(1, keepdims=True)).T.copy())
        for i in range(0, size, 16):
            b = batch(part, np.arange(i, min(i + 16, size)), stft)
            x, p, s = b.noisy, b.comb, b.target
            found = torch.stack(
                [(u * v).sum(-1) @ mean for u, v in ((x, x), (p, p), (x, p), (s, s), (x, s), (p, s))], 2
            )
            sums[i : i + 16] = (torch.sign(found) * found.abs().sqrt()).numpy()
            if i % 2048 == 0:
                print(f"sums of {i} of {size}, {time.perf_counter() - begun:.0f} s", flush=True)
        (folder / "sums.done").touch()
    return Part(mixtures, *maps("r", *shapes))


def row(mixtures: Rendered, i: int) -> Mixture:
    """A mixture by its number."""
    return mixtures.item(i // mixtures.epoch_items, i % mixtures.epoch_items)


@dataclasses.dataclass
class Batch:
    """All that a step needs. Spectra are ``(batch, frames, 161, 2)``."""

    features: Tensor
    noisy: Tensor
    comb: Tensor
    target: Tensor
    wave: Tensor
    band_hz: Tensor
    gain: Tensor


def batch(part: Part, rows: NDArray[np.int64], stft: Stft) -> Batch:
    """Mixtures of these rows, each brought to an RMS near 1 (as :class:`~unmuffle.train.losses.Combined` does)."""
    frames = stft.frames
    mixtures = [row(part.mixtures, int(i)) for i in rows]
    noisy = np.stack([m.noisy for m in mixtures])
    target = np.stack([m.target for m in mixtures])
    rms = np.sqrt(np.mean(target**2, 1, keepdims=True)) + 0.25 * np.sqrt(np.mean(noisy**2, 1, keepdims=True))
    gain = (1.0 / (rms + 1e-6)).astype(np.float32)
    noisy, target = noisy * gain, target * gain
    # The frame one lag earlier, as bands.Analysis makes it.
    lag = part.lags[rows] * (frames.hop / 80.0)
    count, reach = lag.shape[1], 2 * 130
    joined = np.pad(noisy, ((0, 0), (reach + frames.size - frames.hop, count * frames.hop - noisy.shape[1])))
    whole = np.floor(lag)
    first = reach + np.arange(count) * frames.hop - whole.astype(np.int64)
    pieces = np.lib.stride_tricks.sliding_window_view(joined, frames.size, axis=1)
    earlier = pieces[np.arange(len(rows))[:, np.newaxis], first] * frames.analysis
    angle = torch.from_numpy(lag - whole).unsqueeze(-1) * (-2.0 * math.pi / frames.size * torch.arange(frames.bins))
    comb = torch.fft.rfft(torch.from_numpy(earlier)) * torch.polar(torch.ones_like(angle), angle)
    wave = torch.from_numpy(target)
    band = torch.tensor([m.band_hz for m in mixtures])
    return Batch(
        torch.from_numpy(part.features[rows].astype(np.float32)),
        stft(torch.from_numpy(noisy)),
        torch.view_as_real(comb),
        stft(wave),
        wave,
        band,
        torch.from_numpy(gain),
    )


# -- training ------------------------------------------------------------------------------------


class Loss(nn.Module):
    """Spectrum after the gains, gains against ideal ones, voice, and what hearing makes of it."""

    def __init__(self, args: argparse.Namespace, stft: Stft) -> None:
        super().__init__()
        self.args, self.stft = args, stft
        self.stoi = Stoi(bands.RATE) if args.stoi_loss else None
        self.disturbance = Disturbance(bands.RATE) if args.disturbance_loss else None
        self.shares = torch.from_numpy(bands.SPREAD.T.copy())
        self.width = self.shares.sum(0).pow(args.width_power)

    def quick(self, logits: Tensor, sums: Tensor, band_hz: Tensor) -> Tensor:
        """The loss from the sums of bands alone: no spectra are needed, and a fifth of the arithmetic.

        A band is treated like a bin of :func:`~unmuffle.train.losses.compressed`: its energy after gain and comb,
        and its product with the target, follow from the sums.
        """
        args = self.args
        g, r = torch.sigmoid(logits[..., : 2 * BANDS]).split(BANDS, -1)
        xx, pp, xp, ss, xs, ps = (sums * sums.abs()).unbind(2)
        q = 1.0 - r
        e = (g * g * (q * q * xx + r * r * pp + 2.0 * q * r * xp)).clamp(min=0.0) + 1e-4
        t = ss + 1e-4
        ec, tc = e.pow(0.15), t.pow(0.15)
        short = tc - ec
        error = 0.5 * short.square() + args.over * short.clamp(min=0.0).square()
        error = error + 0.5 * (ec.square() + tc.square() - 2.0 * g * (q * xs + r * ps) * (ec * tc / (e * t).sqrt()))
        weight = (losses.band_weight(self.stft, band_hz) @ self.shares > 0).float() * self.width
        total = ((error.mean(1) * weight).sum(-1) / weight.sum(-1)).mean()
        if args.gain_loss:
            ideal = ((ss + 1e-6) / (xx + 1e-6)).clamp(max=1.0).pow(0.25)  # root of the gain
            miss = (g.clamp(min=1e-6).sqrt() - ideal).square()
            total = total + args.gain_loss * ((miss + 10.0 * miss.square()) * (weight > 0).unsqueeze(1)).mean()
        if args.voice_loss:
            total = total + args.voice_loss * self.voice(logits, (ss * self.shares.sum(0)).sum(-1) / 161.0)
        return total

    @staticmethod
    def voice(logits: Tensor, power: Tensor) -> Tensor:
        """Cross-entropy of the answer to: is the target within 30 dB of its loudest frame?"""
        spoken = (power > 1e-3 * power.amax(1, keepdim=True).clamp(min=1.0)).float()
        return nn.functional.binary_cross_entropy_with_logits(logits[..., -1], spoken)

    def forward(self, logits: Tensor, b: Batch) -> tuple[Tensor, Tensor]:
        """The loss, and the enhanced spectrum."""
        args = self.args
        outputs = torch.sigmoid(logits)
        enhanced = apply(outputs, b.noisy, b.comb)
        weight = losses.band_weight(self.stft, b.band_hz)
        total = losses.compressed(enhanced, b.target, weight, over=args.over)
        target = b.target.square().sum(-1)
        if args.gain_loss:
            wanted, there = (x @ self.shares for x in (target, b.noisy.square().sum(-1)))
            ideal = ((wanted + 1e-6) / (there + 1e-6)).clamp(max=1.0).pow(0.25)  # root of the gain
            found = outputs[..., :BANDS].clamp(min=1e-6).sqrt()
            miss = (found - ideal).square()
            heard = (weight @ self.shares > 0).float().unsqueeze(1)
            total = total + args.gain_loss * ((miss + 10.0 * miss.square()) * heard).mean()
        if args.voice_loss:
            total = total + args.voice_loss * self.voice(logits, target.mean(-1))
        if self.stoi is not None or self.disturbance is not None:
            wave = self.stft.inverse(enhanced, b.wave.shape[1])
            if self.stoi is not None:
                total = total + args.stoi_loss * self.stoi(wave, b.wave)
            if self.disturbance is not None:
                total = total + args.disturbance_loss * self.disturbance(wave, b.wave)
        return total, enhanced


def fit(args: argparse.Namespace, train: Part, valid: Part) -> None:
    """Train; the learning rate falls along a cosine, weights are averaged, a run that was stopped goes on."""
    torch.manual_seed(args.seed)
    folder = args.run / args.name
    folder.mkdir(parents=True, exist_ok=True)
    recipe = TrainConfig(
        net="tiny",
        sizes={"width": args.width, "context": args.context, "blocks": args.blocks},
        batch=args.batch,
        learning_rate=args.rate,
        steps=args.steps,
        seed=args.seed,
        mix=train.mixtures.config,
        bf16=False,
    )
    net = nets.make("tiny", recipe.sizes)
    if args.start:
        net.load_state_dict(checkpoint.load(args.start)["averages"])
    assert isinstance(net, Tiny)
    core = net.core
    stft = Stft(net.spec.at(net.sample_rate))
    loss = Loss(args, stft)
    optimiser = torch.optim.AdamW(core.parameters(), args.rate, weight_decay=1e-4)
    averages = {k: v.clone() for k, v in net.state_dict().items()}
    step, spent, last = 0, 0.0, folder / "last.pt"
    if last.is_file():
        state = checkpoint.load(last)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        averages, step, spent = state["averages"], int(state["step"]), float(state["processor_minutes"])
        print(f"going on from step {step}", flush=True)
    limits, valid_limits = (
        torch.from_numpy(np.fromfile(p.mixtures.folder / FACTS, "<f8").reshape(-1, 4)[:, 2].astype(np.float32))
        for p in (train, valid)
    )
    begun, reported, summed = time.process_time(), time.perf_counter(), []
    per_epoch = train.mixtures.count // args.batch
    while step < args.steps:
        # The order of an epoch depends on its number alone, so that a run that was stopped goes on with it.
        order = np.random.default_rng((args.seed, step // per_epoch)).permutation(train.mixtures.count)
        first = step % per_epoch * args.batch
        rows = np.sort(order[first : first + args.batch])
        fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        rate = args.rate * min(1.0, (step + 1) / 100) * fall
        for group in optimiser.param_groups:
            group["lr"] = rate
        value = score(core, loss, train, rows, limits, stft)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(core.parameters(), 1.0)
        optimiser.step()
        step += 1
        summed.append(float(value.detach()))
        keep = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                averages[k].lerp_(v, 1.0 - keep)
        ended = step == args.steps
        if time.perf_counter() - reported < 60.0 * args.report_minutes and not ended:
            continue
        kept = {k: v.clone() for k, v in net.state_dict().items()}
        net.load_state_dict(averages)
        with torch.no_grad():
            numbers = np.arange(valid.mixtures.count)
            held_out = float(score(core, loss, valid, numbers, valid_limits, stft))
        line = {
            "step": step,
            "hours_heard": step * args.batch * 4 / 3600,
            "processor_minutes": spent + (time.process_time() - begun) / 60,
            "rate": rate,
            "train_loss": float(np.mean(summed)),
            "valid_loss": held_out,
            **(sound(core, valid, stft) if ended else {}),
        }
        net.load_state_dict(kept)
        reported, summed = time.perf_counter(), []
        log(folder / "log.csv", line)
        print(" ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)
        state = {
            "recipe": recipe.to_dict(),
            "net": net.state_dict(),
            "averages": averages,
            "optimiser": optimiser.state_dict(),
            "step": step,
            "processor_minutes": line["processor_minutes"],
            "script": {k: str(v) for k, v in vars(args).items() if k not in ("manifest", "run", "start")},
        }
        checkpoint.save(last, state)


def score(core: TinyCore, loss: Loss, part: Part, rows: NDArray[np.int64], limits: Tensor, stft: Stft) -> Tensor:
    """The loss of some mixtures."""
    if loss.args.exact:
        b = batch(part, rows, stft)
        total: Tensor = loss(core.logits(b.features, *core.initial(len(rows)))[0], b)[0]
        return total
    features = torch.from_numpy(part.features[rows].astype(np.float32))
    sums = torch.from_numpy(part.sums[rows].astype(np.float32))
    return loss.quick(core.logits(features, *core.initial(len(rows)))[0], sums, limits[rows])


@torch.no_grad()
def sound(core: TinyCore, part: Part, stft: Stft, count: int = 48) -> dict[str, float]:
    """SI-SDR, PESQ and ESTOI of the first held-out mixtures."""
    from unmuffle.evaluate.pesq import pesq_wb
    from unmuffle.evaluate.si_sdr import si_sdr
    from unmuffle.evaluate.stoi import estoi

    b = batch(part, np.arange(count), stft)
    wave = stft.inverse(apply(core(b.features, *core.initial(count))[0], b.noisy, b.comb), b.wave.shape[1])
    scores = []
    for i in range(count):
        if math.isfinite(row(part.mixtures, i).snr_db):
            peak = 0.5 / max(float(b.wave[i].abs().max()), 1e-6)
            clean, out = b.wave[i].numpy() * peak, wave[i].numpy() * peak
            with suppress(InputError):  # a word or two are too little for some measures
                scores.append([f(clean, out, bands.RATE) for f in (si_sdr, pesq_wb, estoi)])
    return dict(zip(SOUND, np.mean(scores, axis=0).tolist(), strict=True))


def log(path: Path, line: dict[str, float]) -> None:
    """Append a line to the table of the run."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, COLUMNS)
        if new:
            table.writeheader()
        table.writerow({k: f"{v:.6g}" for k, v in line.items()})


if __name__ == "__main__":
    main()
