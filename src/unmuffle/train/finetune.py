"""Fine-tuning: a trained network learns the user's own noise or voice, and forgets nothing.

Half of the mixtures (``own_share``) are made of the user's recordings, the others of the pool the network
was trained on, or one like it; the learning rate is a fraction of the first one. After each epoch the
averaged weights are measured on both, on recordings held out from either. Of all states whose loss on the
*general* mixtures is at most ``forget`` (1 %) above that of the network at the start, the one with the
lowest loss on the *own* ones is kept, as ``finetuned.pt``. If there is none, nothing is kept: the network as
it was is better.

The own pool may hold speech or noise alone; what it lacks is taken from the general one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.manifest import KINDS
from ..data.mix import Blend, Mixer
from ..data.pool import Entry, Pool
from ..errors import ParameterError
from . import checkpoint
from .config import TrainConfig
from .loop import Trainer

RESULT = "finetuned.pt"


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        path: of the checkpoint that was kept; ``None`` if no state was better without forgetting.
        own_before, own_after: loss on held-out own mixtures.
        general_before, general_after: loss on held-out general mixtures.
    """

    path: Path | None
    own_before: float
    own_after: float
    general_before: float
    general_after: float

    def __str__(self) -> str:
        own = f"own recordings {self.own_before:.4f} -> {self.own_after:.4f}"
        general = f"others {self.general_before:.4f} -> {self.general_after:.4f}"
        if self.path is None:
            return f"nothing was gained without forgetting; the network stays as it was ({own}, {general})"
        return f"loss on {own}, {general}: {self.path}"


def finetune(
    folder: str | Path,
    source: str | Path,
    own: Pool,
    general: Pool,
    config: TrainConfig,
    *,
    own_share: float = 0.5,
    forget: float = 0.01,
    report: Callable[[dict[str, float]], None] | None = None,
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
        report: as in :meth:`.Trainer.run`.

    Raises:
        ParameterError: the own pool has nothing to learn from, or a share is out of range.
        ModelError: the checkpoint is of another network.
    """
    if not 0 < own_share <= 1 or forget < 0:
        raise ParameterError(f"own_share = {own_share}, forget = {forget}; give above 0 to 1, and 0 or more")
    mixers = {
        split: Mixer(Joined(own, general, split), config.mix, split)
        for split in ("train", "valid")
    }
    blend = Blend((mixers["train"], Mixer(general, config.mix, "train")), (own_share, 1.0 - own_share))
    trainer = Trainer(folder, general, config, initial=source, mixer=blend)
    target = Path(folder) / RESULT
    general_before = trainer.validate()["loss"]
    own_before = trainer.validate(mixers["valid"])["loss"]
    best = Tuned(None, own_before, own_before, general_before, general_before)
    per_epoch = config.epoch_items // config.batch
    while not trainer.finished:
        trainer.run(report, max_steps=per_epoch)
        now = Tuned(
            target,
            own_before,
            trainer.validate(mixers["valid"])["loss"],
            general_before,
            trainer.validate()["loss"],
        )
        if now.general_after <= general_before * (1.0 + forget) and now.own_after < best.own_after:
            checkpoint.save(target, trainer.state())
            best = now
    return best


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
