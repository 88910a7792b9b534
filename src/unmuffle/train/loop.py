"""The training loop: one path from a pool and a recipe to checkpoints.

A run lives in a folder::

    recipe.toml      what is being done
    log.csv          one line an epoch
    last.pt          the newest state, from which ``train`` goes on after any interruption
    best-*.pt        the states with the best validation loss, or another metric
    samples/         a few validation mixtures to listen to: noisy, target, and as of each epoch
    tensorboard/     the log once more, if asked for

Going on is exact: step, optimiser, averages and random state are in the checkpoint, and the
mixtures of a step depend on its number alone. A killed run that is started again ends with the same
weights, bit for bit, as one that was not (on one machine, and unless the clock sets the schedule).

A loss that is not finite stops the run before it touches weights or files.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..data.mix import Mixer, Source
from ..data.pool import Pool, summary
from ..errors import MissingExtraError, ModelError, OutputError, ParameterError
from . import checkpoint, losses, nets
from .config import TrainConfig, from_dict, to_toml
from .crew import Crew
from .losses import Combined, si_sdr
from .measures import MEASURES
from .precision import computes_bfloat16, in_single, wrong_layers
from .stft import Stft

_log = logging.getLogger("unmuffle.train")

Batch = tuple[Tensor, Tensor, Tensor]
"""noisy (batch, samples), target (batch, samples), band in Hz (batch,)."""

LOG_COLUMNS = (
    "epoch",
    "step",
    "minutes",
    "learning_rate",
    "train_loss",
    "valid_loss",
    "valid_si_sdr",
    "audio_rate",
    "valid_metric",
)


class _Mixtures(torch.utils.data.Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Mixtures by number, counted through all epochs."""

    def __init__(self, mixer: Source, epoch_items: int) -> None:
        self.mixer = mixer
        self.epoch_items = epoch_items

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        m = self.mixer.item(number // self.epoch_items, number % self.epoch_items)
        # Beyond the present range of a recording nothing is known: infinity would spoil a mean.
        return torch.from_numpy(m.noisy), torch.from_numpy(m.target), torch.tensor(float(m.band_hz))


class _Numbers:
    """Numbers of the mixtures of some steps: of each batch, the part of one process."""

    def __init__(self, steps: range, batch: int, rank: int, count: int) -> None:
        self.steps, self.batch, self.part = steps, batch, batch // count
        self.offset = rank * self.part

    def __len__(self) -> int:
        return len(self.steps) * self.part

    def __iter__(self) -> Iterator[int]:
        for step in self.steps:
            start = step * self.batch + self.offset
            yield from range(start, start + self.part)


def batches(
    mixer: Source, config: TrainConfig, first_step: int, last_step: int, rank: int = 0, count: int = 1
) -> Iterator[Batch]:
    """The batches of the steps from ``first_step`` to before ``last_step``; of ``count`` processes, that of one.

    With ``accumulate`` above 1 each step has that many, one after another.
    """
    data = _Mixtures(mixer, config.epoch_items)
    loader = torch.utils.data.DataLoader(
        data,
        batch_size=config.batch // count // config.accumulate,
        sampler=cast(Any, _Numbers(range(first_step, last_step), config.batch, rank, count)),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
    )
    yield from loader


def learning_rate(config: TrainConfig, step: int, progress: float, scale: float = 1.0) -> float:
    """Linear warm-up, then half a cosine from 1 to ``final_rate`` as ``progress`` goes from 0 to 1.

    With the schedule ``plateau`` there is no cosine, but ``scale``, which halves from time to time.
    """
    rise = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "plateau":
        return config.learning_rate * rise * scale
    fall = 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return config.learning_rate * rise * (config.final_rate + (1.0 - config.final_rate) * fall)


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Denormal numbers count as zero in this thread meanwhile: training is otherwise ten times slower at its worst.

    The caller's setting comes back, as the switch concerns all arithmetic of the thread, also NumPy's.
    """
    before = float(np.float32(1e-42) * np.float32(1.0)) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class Trainer:
    """A run in a folder.

    Args:
        folder: of the run; made if needed.
        pool: packed recordings.
        config: the recipe; ``None`` takes the one of the checkpoint in the folder.
        device: where the network lives.
        initial: a checkpoint to take the weights from (fine-tuning), when the run is new.
        mixer: where training mixtures come from, if not mixed from the pool: a blend, or rendered ones.
        crew: the processes that share the run; it also knows the device.

    Raises:
        ModelError: the folder holds a run of another network or recipe.
        ParameterError: the pool is of another rate, or a batch cannot be shared evenly.
    """

    def __init__(
        self,
        folder: str | Path,
        pool: Pool,
        config: TrainConfig | None = None,
        *,
        device: str = "cpu",
        initial: str | Path | None = None,
        mixer: Source | None = None,
        crew: Crew | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.crew = crew or Crew(device=device)
        last = self.folder / "last.pt"
        saved = checkpoint.load(last) if last.is_file() else None
        if config is None:
            if saved is None:
                raise ParameterError(f"{self.folder}: no run to go on with, and no recipe to begin one")
            config = from_dict(saved["recipe"])
        if saved is not None:
            theirs = from_dict(saved["recipe"])
            if (theirs.net, dict(theirs.sizes)) != (config.net, dict(config.sizes)):
                raise ModelError(
                    f"{last} holds a {theirs.net!r} network of sizes {dict(theirs.sizes)}, the recipe asks for "
                    f"{config.net!r} {dict(config.sizes)}; use another folder"
                )
        self.config = config
        if config.batch % (self.crew.count * config.accumulate):
            shares = f" with accumulate = {config.accumulate}" if config.accumulate > 1 else ""
            raise ParameterError(f"batch = {config.batch} cannot be shared evenly by {self.crew.count} devices{shares}")
        self.device = self.crew.device
        torch.manual_seed(config.seed)
        self.net = nets.make(config.net, config.sizes).to(self.device)
        self.api = cast(nets.Net, self.net)
        if pool.sample_rate != self.api.sample_rate:
            raise ParameterError(
                f"the pool has {pool.sample_rate} Hz, {config.net!r} is trained at {self.api.sample_rate} Hz; "
                "pack the recordings at that rate"
            )
        self.stft = Stft(self.api.spec.at(pool.sample_rate)).to(self.device)
        self.bfloat16 = config.bf16 and computes_bfloat16(self.device)
        if self.bfloat16:
            self._try_bfloat16()
        self.loss = Combined(self.stft, config.loss, opinion_every=config.opinion_every).to(self.device)
        self.mixer: Source = mixer or Mixer(pool, config.mix, "train")
        self.valid_mixer = Mixer(pool, config.mix, "valid")
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        self.averages = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.data = summary(pool)
        self.step = 0
        self.seconds = 0.0
        self.best: list[tuple[float, str]] = []
        self._sum, self._count = 0.0, 0
        self._lowest, self._waited, self._scale = math.inf, 0, 1.0
        if saved is not None:
            self._restore(saved, last)
        elif initial is not None:
            state = checkpoint.load(initial)
            _fit(self.net, state["averages"], initial)
            self.data = {**self.data, "before": state.get("data", {})}
            self.averages = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        # The same weights, with gradients that are shared.
        self.shared, self.shared_optimiser = self.crew.share(self.net, self.optimiser)

    # -- state -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "recipe": self.config.to_dict(),
            "data": self.data,
            "net": self.net.state_dict(),
            "averages": self.averages,
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "best": [[loss, name] for loss, name in self.best],
            "running": [self._sum, self._count],
            "plateau": [self._lowest, self._waited, self._scale],
        }

    def _restore(self, state: dict[str, Any], source: Path) -> None:
        _fit(self.net, state["net"], source)
        self.averages = {k: v.to(self.device) for k, v in state["averages"].items()}
        if "before" in state.get("data", {}):  # what it began with stays true, whatever pool it goes on with
            self.data = {**self.data, "before": state["data"]["before"]}
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        self.step = int(state["step"])
        self.seconds = float(state["seconds"])
        self.best = [(float(loss), str(name)) for loss, name in state["best"]]
        self._sum, self._count = float(state["running"][0]), int(state["running"][1])
        if "plateau" in state:
            lowest, waited, scale = state["plateau"]
            self._lowest, self._waited, self._scale = float(lowest), int(waited), float(scale)

    def _try_bfloat16(self) -> None:
        """Layers that the device computes wrongly in bfloat16 stay in single precision, and the log says so.

        Tried with the weights that the seed draws: a run that goes on finds the same as when it began.
        """
        noise = torch.randn((2, self.api.sample_rate), generator=torch.Generator().manual_seed(0)).to(self.device)
        with _flushed_denormals():
            wrong = wrong_layers(self.net, lambda: nets.through(self.api, self.stft, 0.1 * noise))
        for name in wrong:
            in_single(self.net.get_submodule(name))
        if wrong and self.crew.first:
            _log.warning(
                "bfloat16 is computed wrongly on this machine (PyTorch %s) in: %s; computed in single precision",
                torch.__version__,
                ", ".join(wrong),
            )

    # -- training --------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Is the run at its end: by steps or clock, or because it gets no better?"""
        c = self.config
        if c.early_stop and self._waited >= c.early_stop:
            return True
        return self.progress >= 1.0 or (c.schedule == "plateau" and self._scale < c.final_rate)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        if self.config.budget_minutes:
            return self.seconds / (60.0 * self.config.budget_minutes)
        return self.step / self.config.steps

    def run(
        self,
        report: Callable[[dict[str, float]], None] | None = None,
        *,
        max_steps: int = 0,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Train to the end of the recipe, or for ``max_steps`` more steps.

        Args:
            report: is called after each step with ``step``, ``progress``, ``loss``, and after each
                epoch with its line of the log.
            max_steps: 0 for no limit.
            stop: is asked after each step; true ends the run there, saved.

        Raises:
            ModelError: the loss or the gradient is not finite; the last checkpoint is intact.
            OutputError: a file could not be written; the last checkpoint is intact.
        """
        with _flushed_denormals():
            self._run(report, max_steps, stop)

    def _run(
        self,
        report: Callable[[dict[str, float]], None] | None,
        max_steps: int,
        stop: Callable[[], bool] | None,
    ) -> None:
        c = self.config
        if self.crew.first:
            with _writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._trim_log()
                (self.folder / "recipe.toml").write_text(to_toml(c), encoding="utf-8")
        if c.compile:
            losses.fuse()
        per_epoch = c.epoch_items // c.batch
        last = self.step + max_steps if max_steps else (1 << 40)
        if not c.budget_minutes:
            last = min(last, c.steps)
        began = time.monotonic()
        saved = began
        share = (self.crew.rank, self.crew.count)
        parts = iter(()) if self.finished else batches(self.mixer, c, self.step, last, *share)
        while step := list(itertools.islice(parts, c.accumulate)):
            value = self._train_step(step)
            now = time.monotonic()
            self.seconds = self.crew.from_first(self.seconds + now - began)
            began = now
            if report is not None:
                report({"step": self.step, "progress": self.progress, "loss": value})
            if self.step % per_epoch == 0:
                line = self._end_epoch()
                if report is not None:
                    report(line)
                saved = began = time.monotonic()
                self.seconds = self.crew.from_first(self.seconds + saved - now)
            elif now - saved > 60.0 * c.save_minutes:
                self.save()
                saved = now
            if self.finished or (stop is not None and self.crew.from_first(float(stop()))):
                break
        self.save()

    def save(self) -> None:
        """Write ``last.pt``."""
        if not self.crew.first:
            return
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(self.folder / "last.pt", self.state())

    def enhance(self, noisy: Tensor) -> Tensor:
        """The network on whole waveforms ``(batch, samples)``."""
        net = self.shared if self.net.training else self.net  # without gradients there is nothing to share
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return nets.through(cast(nets.Net, net), self.stft, noisy)

    def _train_step(self, parts: list[Batch]) -> float:
        """One step on a batch that comes in ``accumulate`` parts: their gradients are averaged."""
        c = self.config
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        value = 0.0
        for number, batch in enumerate(parts, 1):
            noisy, target, band = (t.to(self.device) for t in batch)
            with self.crew.apart(self.shared, number < len(parts)):
                loss = self.loss(self.enhance(noisy), target, noisy, band) / len(parts)
                (share,) = self.crew.mean(float(loss.detach()))
                value += share
                if not math.isfinite(value):
                    raise ModelError(self._diverged("loss", value))
                self.crew.backward(loss)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(c, self.step, self.progress, self._scale)
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), c.clip_norm))
        if not math.isfinite(norm):
            raise ModelError(self._diverged("gradient", norm))
        self.shared_optimiser.step()
        self.step += 1
        # Early averages would remember the random start: let the memory grow with the run.
        decay = min(c.ema, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for name, value_now in self.net.state_dict().items():
                kept = self.averages[name]
                if kept.dtype.is_floating_point:
                    kept.lerp_(value_now, 1.0 - decay)
                else:
                    kept.copy_(value_now)
        self._sum += value
        self._count += 1
        return value

    def _diverged(self, what: str, value: float) -> str:
        first = self.step * self.config.batch
        return (
            f"the {what} is {value} at step {self.step} (mixtures {first} to {first + self.config.batch - 1}); "
            f"stopped. {self.folder / 'last.pt'} holds the last good state: go on from it with a lower learning_rate"
        )

    def _end_epoch(self) -> dict[str, float]:
        c = self.config
        measured = self.validate()
        line = {
            "epoch": float(self.step * c.batch // c.epoch_items),
            "step": float(self.step),
            "minutes": self.seconds / 60.0,
            "learning_rate": learning_rate(c, self.step, self.progress, self._scale),
            "train_loss": self._sum / max(self._count, 1),
            "valid_loss": measured["loss"],
            "valid_si_sdr": measured["si_sdr"],
            "audio_rate": self.step * c.batch * c.mix.seconds / max(self.seconds, 1e-9),
            "valid_metric": measured[c.metric],
        }
        self._sum, self._count = 0.0, 0
        # Losses are to fall, all else is to rise.
        score = measured[c.metric] if c.metric == "loss" else -measured[c.metric]
        self._watch(score)
        if self.crew.first:
            with _writing(self.folder):
                self._log(line)
        self._keep(score)
        self.save()
        return line

    def _trim_log(self) -> None:
        """Take lines out of the log that a killed run wrote after its last checkpoint: they come again."""
        path = self.folder / "log.csv"
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as old:
            table = list(csv.reader(old))
        if not table or "step" not in table[0]:
            return
        at = table[0].index("step")
        kept = [row for row in table[1:] if len(row) > at and float(row[at]) <= self.step]
        if len(kept) < len(table) - 1:
            temporary = path.with_name(".log.csv.part")
            with temporary.open("w", newline="", encoding="utf-8") as out:
                csv.writer(out).writerows([table[0], *kept])
            temporary.replace(path)

    def _log(self, line: dict[str, float]) -> None:
        path = self.folder / "log.csv"
        columns: tuple[str, ...] = LOG_COLUMNS
        if path.exists():
            with path.open(newline="", encoding="utf-8") as old:
                columns = tuple(next(csv.reader(old), ())) or LOG_COLUMNS  # of the version that began the run
        with path.open("a", newline="", encoding="utf-8") as out:
            table = csv.writer(out)
            if not out.tell():
                table.writerow(columns)
            table.writerow([f"{line[k]:.6g}" if k in line else "" for k in columns])

        if self.config.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise MissingExtraError("writing TensorBoard logs", "train") from None
            with SummaryWriter(str(self.folder / "tensorboard")) as board:
                for key in LOG_COLUMNS[2:]:
                    board.add_scalar(key, line[key], int(line["step"]))

    def _watch(self, score: float) -> None:
        """Count epochs without progress; halve the rate when there were too many."""
        if score < self._lowest:
            self._lowest, self._waited = score, 0
            return
        self._waited += 1
        if self._waited % self.config.patience == 0:
            self._scale *= 0.5

    def _write_samples(self, first: int, noisy: Tensor, target: Tensor, estimate: Tensor) -> None:
        """The first few validation mixtures as WAV files."""
        import soundfile

        folder = self.folder / "samples"
        epoch = self.step * self.config.batch // self.config.epoch_items
        with _writing(folder):
            folder.mkdir(exist_ok=True)
            for k in range(first, min(self.config.samples, first + noisy.shape[0])):
                for name, x in (("noisy", noisy), ("target", target), (f"epoch{epoch:04d}", estimate)):
                    samples = x[k - first].clamp(-1.0, 1.0).cpu().numpy()
                    try:
                        soundfile.write(folder / f"{k:02d}-{name}.wav", samples, self.mixer.sample_rate)
                    except (soundfile.LibsndfileError, RuntimeError) as error:
                        raise OSError(None, str(error)) from None

    def _keep(self, score: float) -> None:
        """Keep this state if it is among the best: those of the lowest score."""
        name = f"best-{self.step:07d}.pt"
        ranked = sorted([*self.best, (score, name)])
        self.best = ranked[: self.config.keep]
        if not self.crew.first:
            return
        if (score, name) in self.best:
            checkpoint.save(self.folder / name, self.state())
        for _, old in ranked[self.config.keep :]:
            (self.folder / old).unlink(missing_ok=True)

    # -- validation ------------------------------------------------------------------------------

    def validate(self, mixer: Mixer | None = None, metric: str | None = None) -> dict[str, float]:
        """Loss and SI-SDR of the averaged weights over the validation mixtures, or those of ``mixer``.

        ``metric`` (by default the recipe's) is measured as well: mean over the mixtures with speech and noise.
        """
        c = self.config
        source = mixer or self.valid_mixer
        name = metric or c.metric
        measure = MEASURES.get(name)
        weights = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        self.net.load_state_dict(self.averages)
        self.net.eval()
        total, ratio, clips, score, scored = 0.0, 0.0, 0, 0.0, 0
        part = c.batch // self.crew.count // c.accumulate
        try:
            with torch.no_grad():
                for start in range(self.crew.rank * part, c.valid_items, part * self.crew.count):
                    mixtures = [source.item(0, i) for i in range(start, min(start + part, c.valid_items))]
                    noisy = torch.from_numpy(np.stack([m.noisy for m in mixtures])).to(self.device)
                    target = torch.from_numpy(np.stack([m.target for m in mixtures])).to(self.device)
                    band = torch.tensor([m.band_hz for m in mixtures], device=self.device)
                    estimate = self.enhance(noisy)
                    if start < c.samples and mixer is None and self.folder.is_dir():
                        self._write_samples(start, noisy, target, estimate)
                    total += float(self.loss(estimate, target, noisy, band)) * len(mixtures)
                    mixed = torch.tensor([math.isfinite(m.snr_db) for m in mixtures])
                    if bool(mixed.any()):
                        n = int(mixed.sum())
                        ratio -= float(si_sdr(estimate[mixed], target[mixed])) * n
                        clips += n
                        if measure is not None:
                            both = (estimate[mixed].cpu().numpy(), target[mixed].cpu().numpy())
                            values = measure(*both, source.sample_rate)
                            score += sum(values)
                            scored += len(values)
        finally:
            self.net.load_state_dict(weights)
        total, ratio, clipped, score, counted = self.crew.mean(total, ratio, clips, score, scored)
        total *= self.crew.count  # sums over all parts
        found = {"loss": total / c.valid_items, "si_sdr": ratio / max(clipped, 1e-9)}
        if measure is not None:
            found[name] = score / max(counted, 1e-9)
        return found


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Errors of the system while files are written, as ours."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"{place}: could not be written ({why}); the last checkpoint is intact") from None


def _fit(net: nn.Module, weights: dict[str, Tensor], source: str | Path) -> None:
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"{source} holds another network: {first}") from None


def load_net(path: str | Path) -> tuple[nn.Module, TrainConfig, dict[str, Any]]:
    """The averaged network of a checkpoint, its recipe, and the checkpoint."""
    state = checkpoint.load(path)
    config = from_dict(state["recipe"])
    net = nets.make(config.net, config.sizes)
    _fit(net, state["averages"], path)
    return net.eval(), config, state


def with_values(config: TrainConfig, **values: Any) -> TrainConfig:
    """A recipe with some values changed."""
    return dataclasses.replace(config, **values)
