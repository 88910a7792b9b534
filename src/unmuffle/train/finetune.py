"""Fine-tuning: a trained network learns the user's own noise or voice, and forgets nothing.

Half of the mixtures (``own_share``) are made of the user's recordings, the others of the pool the network was trained
on, or one like it; the learning rate is a fraction of the first one. After each epoch the averaged weights are
measured on both, on recordings held out from either. Of all states whose loss on the *general* mixtures is at most
``forget`` (1 %) above that of the network at the start, and whose PESQ there is at most ``forget_pesq`` (0.02) below,
the one with the lowest loss on the *own* ones is kept, as ``finetuned.pt``. A state that forgets too much is drawn
back towards the start: weights half and a quarter of the way between the two are measured as well (Wortsman et al.,
"Robust fine-tuning of zero-shot models", CVPR 2022: what was forgotten comes back sooner than what was learned is
lost). If none is left, nothing is kept: the network as it was is better. (Without the package ``pesq`` the loss alone
decides.)

What is adapted is a checkpoint, or a network file, whose weights are taken out of it (:mod:`.recover`). Of a file,
losses and mixtures are the default ones and not those it was trained with: they all hear the level. With those of
``live`` (STOI, DNSMOS and others that do not) 200 steps of 16 gained less on one's own noise within the same limits
(0.03 PESQ for 0.13, as they had to be drawn back half of the way), and clean speech became a third of a decibel
softer.

The own pool may hold speech or noise alone; what it lacks is taken from the general one.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.manifest import KINDS
from ..data.mix import Blend, Mixer
from ..data.pool import Entry, Pool, summary
from ..errors import ModelError, ParameterError
from . import checkpoint
from .config import TrainConfig
from .loop import Trainer

RESULT = "finetuned.pt"

Weights: TypeAlias = dict[str, Tensor]

GENTLE = {
    "steps": 800,
    "budget_minutes": 0.0,
    "batch": 16,
    "accumulate": 1,
    "epoch_items": 1600,
    "valid_items": 64,
    "learning_rate": 3e-4,
    "final_rate": 0.05,
    "schedule": "cosine",
    "early_stop": 0,
    "warmup_steps": 50,
    "ema": 0.99,
    "compile": False,
    "samples": 0,
    "keep": 1,
}
"""What a recipe for fine-tuning has other than the one the network was trained with."""


WAYS = (1.0, 0.5, 0.25)
"""How far from the start to where training came the weights are that are measured; the first that forgets little enough
is taken."""


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        path: of the checkpoint that was kept; ``None`` if no state was better without forgetting.
        own_before, own_after: loss on held-out own mixtures.
        general_before, general_after: loss on held-out general mixtures.
        pesq_before, pesq_after: wide-band PESQ there; NaN without the package.
        way: how far from the start to where training came the kept weights lie, 0 to 1.
    """

    path: Path | None
    own_before: float
    own_after: float
    general_before: float
    general_after: float
    pesq_before: float = math.nan
    pesq_after: float = math.nan
    way: float = 1.0

    def __str__(self) -> str:
        own = f"own recordings {self.own_before:.4f} -> {self.own_after:.4f}"
        general = f"others {self.general_before:.4f} -> {self.general_after:.4f}"
        if not math.isnan(self.pesq_before):
            general += f" (PESQ {self.pesq_before:.3f} -> {self.pesq_after:.3f})"
        if self.path is None:
            return f"nothing was gained without forgetting; the network stays as it was ({own}, {general})"
        part = "" if self.way == 1.0 else f", {self.way:g} of the way"
        return f"loss on {own}, {general}{part}: {self.path}"


def finetune(
    folder: str | Path,
    source: str | Path,
    own: Pool,
    general: Pool,
    config: TrainConfig,
    *,
    own_share: float = 0.5,
    forget: float = 0.01,
    forget_pesq: float = 0.02,
    report: Callable[[dict[str, float]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Tuned:
    """Adapt the network of a checkpoint.

    Args:
        folder: of the run.
        source: checkpoint of the network as it is.
        own: the user's recordings, with some in the split ``valid``.
        general: recordings like those it was trained on.
        config: the recipe: network and sizes of the checkpoint, a few epochs, a low learning rate.
        own_share: share of the mixtures that are the user's.
        forget: by how much the loss on general mixtures may rise, as a share of it.
        forget_pesq: by how much the PESQ of general mixtures may fall.
        report, stop: as in :meth:`.Trainer.run`.

    Raises:
        ParameterError: the own pool has nothing to learn from, or a share is out of range.
        ModelError: the checkpoint is of another network, or the folder holds a run.
    """
    if not 0 < own_share <= 1 or forget < 0 or forget_pesq < 0:
        raise ParameterError(
            f"own_share = {own_share}, forget = {forget}, forget_pesq = {forget_pesq}; "
            "give above 0 to 1, 0 or more, and 0 or more"
        )
    if (Path(folder) / "last.pt").exists():
        raise ModelError(f"{folder} holds a run already, and fine-tuning always begins anew; choose another folder")
    mixers = {split: Mixer(Joined(own, general, split), config.mix, split) for split in ("train", "valid")}
    blend = Blend((mixers["train"], Mixer(general, config.mix, "train")), (own_share, 1.0 - own_share))
    trainer = Trainer(folder, general, config, initial=source, mixer=blend)
    before = checkpoint.load(source).get("data", {})
    trainer.data = {"before": before, "rehearsed": summary(general), "own": summary(own)}
    target = Path(folder) / RESULT
    metric = "pesq" if importlib.util.find_spec("pesq") else None

    def measured() -> tuple[float, float, float]:
        others = trainer.validate(metric=metric)
        return trainer.validate(mixers["valid"])["loss"], others["loss"], others.get("pesq", math.nan)

    own_before, general_before, pesq_before = measured()
    start = {k: v.clone() for k, v in trainer.averages.items()}
    best = Tuned(None, own_before, own_before, general_before, general_before, pesq_before, pesq_before)
    per_epoch = config.epoch_items // config.batch
    while not trainer.finished and not (stop is not None and stop()):
        trainer.run(report, max_steps=per_epoch, stop=stop)
        learned = trainer.averages
        for way in WAYS:
            trainer.averages = _between(start, learned, way)
            own_after, general_after, pesq_after = measured()
            kept = general_after <= general_before * (1.0 + forget) and not pesq_after < pesq_before - forget_pesq
            if kept and own_after < best.own_after:
                checkpoint.save(target, trainer.state())
                figures = (own_before, own_after, general_before, general_after, pesq_before, pesq_after)
                best = Tuned(target, *figures, way)
            if kept:
                break
        trainer.averages = learned
    return best


def _between(start: Weights, end: Weights, way: float) -> Weights:
    """``start + way (end - start)``, for all weights; counters are those of the end."""
    if way == 1.0:
        return end
    return {k: torch.lerp(start[k], v, way) if v.is_floating_point() else v for k, v in end.items()}


class Joined:
    """The user's clips, and for each kind of which there are none the general ones."""

    def __init__(self, own: Pool, general: Pool, split: str) -> None:
        if own.sample_rate != general.sample_rate:
            raise ParameterError(f"the own pool has {own.sample_rate} Hz, the general one {general.sample_rate} Hz")
        if not own.of("speech", split) and not own.of("noise", split):
            raise ParameterError(
                f"{own.folder}: no speech and no noise in split {split!r}; hold a few recordings out for validation"
            )
        self.folder = own.folder
        self.sample_rate = own.sample_rate
        self._sources = {kind: own if own.of(kind, split) else general for kind in KINDS}

    def of(self, kind: str, split: str) -> list[Entry]:
        """Clips of a kind and split."""
        return self._sources[kind].of(kind, split)

    def read(self, entry: Entry, start: int = 0, length: int | None = None) -> NDArray[np.float32]:
        """Samples of a clip."""
        return self._sources[entry.kind].read(entry, start, length)
