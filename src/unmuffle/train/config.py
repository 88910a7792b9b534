"""The recipe of a training run: frozen dataclasses, read from and written to TOML.

::

    net = "bandwise"
    steps = 20000

    [sizes]             # of the network
    width = 48
    [mix]               # how mixtures are made, see data.mix.MixConfig
    snr_low_db = -5.0
    [loss]              # weights, see losses.LossWeights
    spectrum = 1.0

A key that does not exist is an error that names the nearest one. The recipe travels in every
checkpoint and in the exported model.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.mix import MixConfig
from ..enhancers import params
from ..errors import MediaNotFoundError, ParameterError, UnknownParameterError
from .losses import LossWeights

SCHEDULES = ("cosine", "plateau")
METRICS = ("loss", "si_sdr", "estoi", "pesq")


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a run, its data aside.

    Attributes:
        net: name of the network, see :mod:`.nets`.
        sizes: of the network.
        steps: optimiser steps of the whole run; the learning rate follows a cosine over them.
        budget_minutes: if above 0, the cosine follows the clock instead, and the run ends with it
            (such a run cannot be repeated bit by bit, as a slower machine makes fewer steps).
        batch: mixtures a step.
        accumulate: parts in which a batch is computed, one after another, their gradients averaged: large steps in
            little more memory than small ones. What :mod:`.crew` says of parts holds for them as well.
        epoch_items: mixtures between two validations.
        valid_items: mixtures of each validation, always the same ones.
        learning_rate, final_rate: at the end of the warm-up, and as a share of it at the end.
        schedule: "cosine", or "plateau": halve the rate when the validation metric has not improved for
            ``patience`` epochs, and end when it is below its final share.
        patience: see ``schedule``.
        early_stop: epochs without a better validation metric after which the run ends; 0 for never.
        metric: of validation, by which the plateau, the early stop and the best checkpoints are judged:
            "loss", "si_sdr", "estoi" (extra ``[metrics]``) or "pesq" (extra ``[pesq]``).
        warmup_steps: over which the learning rate rises.
        weight_decay: of AdamW.
        clip_norm: largest norm of the gradient.
        ema: decay of the averaged weights, which are the ones that are validated and exported.
        bf16: bfloat16 in filters, dense and recurrent layers, where the device has instructions for it and computes
            them rightly (:mod:`unmuffle.train.precision`).
        compile: fuse the losses with torch.compile (a minute at the start; needs a C++ compiler).
        samples: validation mixtures that are written as WAV files at each epoch, to listen to.
        tensorboard: write TensorBoard logs as well (needs the package ``tensorboard``).
        keep: checkpoints with the best validation metric that are kept.
        save_minutes: between two checkpoints within an epoch.
        workers: processes that make mixtures; 0 makes them in the training process.
        seed: of the weights; that of the mixtures is ``mix.seed``.
        opinion_every: with ``loss.opinion``, of so many mixtures of a batch (of a part of it, if there are parts) one
            is heard, and at least one: it costs more than all other losses together.
        mix: how mixtures are made.
        loss: weights of the parts of the loss.
    """

    net: str = "bandwise"
    sizes: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 20_000
    budget_minutes: float = 0.0
    batch: int = 32
    accumulate: int = 1
    epoch_items: int = 8192
    valid_items: int = 64
    learning_rate: float = 2e-3
    final_rate: float = 0.01
    schedule: str = "cosine"
    patience: int = 3
    early_stop: int = 0
    metric: str = "loss"
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema: float = 0.999
    bf16: bool = True
    compile: bool = False
    samples: int = 0
    tensorboard: bool = False
    keep: int = 3
    save_minutes: float = 3.0
    workers: int = 0
    seed: int = 0
    opinion_every: int = 8
    mix: MixConfig = field(default_factory=MixConfig)
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "epoch_items", "valid_items", "keep", "opinion_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ParameterError(f"{name} = {value!r}; give a whole number, 1 or more")
        if self.epoch_items % self.batch:
            raise ParameterError(f"epoch_items = {self.epoch_items} is no multiple of batch = {self.batch}")
        if self.batch % self.accumulate:
            raise ParameterError(f"batch = {self.batch} is no multiple of accumulate = {self.accumulate}")
        if not 0 < self.learning_rate <= 1 or not 0 <= self.final_rate <= 1 or not 0 <= self.ema < 1:
            raise ParameterError(
                f"learning_rate = {self.learning_rate}, final_rate = {self.final_rate}, ema = {self.ema}; "
                "give above 0 to 1, 0 to 1, 0 to below 1"
            )
        if self.schedule not in SCHEDULES:
            raise ParameterError(f"schedule = {self.schedule!r}; choose one of {', '.join(SCHEDULES)}")
        if self.metric not in METRICS:
            raise ParameterError(f"metric = {self.metric!r}; choose one of {', '.join(METRICS)}")
        if self.patience < 1 or self.early_stop < 0 or not 0 <= self.samples <= self.valid_items:
            raise ParameterError("give patience 1 or more, early_stop 0 or more, samples 0 to valid_items")
        if self.clip_norm <= 0 or self.budget_minutes < 0 or self.workers < 0 or self.warmup_steps < 0:
            raise ParameterError("clip_norm must be above 0; budget_minutes, workers, warmup_steps 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """As plain nested tables."""
        table = dataclasses.asdict(self)
        table["sizes"] = dict(self.sizes)
        return table


def from_dict(table: Mapping[str, Any]) -> TrainConfig:
    """A recipe from nested tables; unknown keys are errors."""
    values = dict(table)
    for name, kind in (("mix", MixConfig), ("loss", LossWeights)):
        if name in values:
            inner = values[name]
            if not isinstance(inner, Mapping):
                raise ParameterError(f"[{name}] must be a table, got {inner!r}")
            values[name] = kind(**_known(kind, inner, f"[{name}]"))
    if not isinstance(values.get("sizes", {}), Mapping):
        raise ParameterError(f"[sizes] must be a table, got {values['sizes']!r}")
    return TrainConfig(**_known(TrainConfig, values, "a recipe"))


def _known(kind: type[Any], values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    out = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UnknownParameterError(f"{owner} has no key {key!r}{hint}; it has: {', '.join(fields)}")
        default = fields[key].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(default, (int, float, str)) and type(value) is not type(default):
            raise ParameterError(f"{owner}: {key} = {value!r} must be {type(default).__name__}")
        out[key] = value
    return out


def load(path: str | Path) -> TrainConfig:
    """Read a recipe from a TOML file."""
    source = Path(path)
    if not source.is_file():
        raise MediaNotFoundError(f"{source}: no such recipe")
    return from_dict(params.from_toml(source.read_text(encoding="utf-8")))


def to_toml(config: TrainConfig) -> str:
    """A recipe as TOML; :func:`load` reads it back."""
    table = config.to_dict()
    inner = {k: table.pop(k) for k in ("sizes", "mix", "loss")}
    text = params.to_toml(table)
    for name, values in inner.items():
        text += f"\n[{name}]\n" + params.to_toml(values)
    return text
