"""The contract of damage: frozen parameters in, a noisy signal, its target and a record out.

A `Damage` is an immutable set of parameters with units in their names. ``apply`` draws one seed
from the generator it is given; everything random after that comes from this seed, which the record
keeps. So the same generator state gives the same bytes, and the record alone gives them again
(`replay`).

Inside, a damage turns one `Scene` into another. A scene has three signals of one length:

    signal   what the microphone hears so far
    speech   the speech in it, as rooms, filters and gains have left it, without added sounds: the
             yardstick for every SNR, so that two noises in a row do not measure each other
    target   what a perfect enhancer would give back, sample-aligned with ``signal``

Nothing here clips: a mixture may leave [-1, 1]. `Headroom` at the end of a pipeline brings it back,
the target with it.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import __version__
from ..errors import InputError, ParameterError
from ..signal.blocks import Samples, as_block, check_rate

Record = dict[str, Any]
"""What a damage did, in JSON types only."""

_SEED_LIMIT = 2**53  # every JSON reader keeps whole numbers up to here


class Damaged(NamedTuple):
    """What `Damage.apply` gives back."""

    noisy: Samples
    """The damaged signal, of the clean one's shape."""
    target: Samples
    """What an enhancer should make of it, sample-aligned."""
    record: Record
    """What was done; see `replay`."""


@dataclass(frozen=True)
class Scene:
    """Signals on their way through a pipeline, each ``(channels, samples)``."""

    signal: Samples
    speech: Samples
    target: Samples
    sample_rate: int

    def add(self, sound: np.ndarray[Any, Any]) -> Scene:
        """Put a sound on top of the signal."""
        return dataclasses.replace(self, signal=as_block(self.signal + sound))


class Damage(ABC):
    """One way to spoil a recording; subclasses are frozen dataclasses."""

    kind: ClassVar[str]
    """Name in specs and records."""

    def apply(self, clean: Any, sample_rate: int, rng: np.random.Generator) -> Damaged:
        """Damage ``clean``, ``(samples,)`` or ``(channels, samples)``; it is not changed."""
        return self.apply_seeded(clean, sample_rate, int(rng.integers(_SEED_LIMIT)))

    def apply_seeded(self, clean: Any, sample_rate: int, seed: int) -> Damaged:
        """As `apply`, with the seed that a record holds."""
        samples = as_block(clean)
        scene = Scene(samples, samples, samples, check_rate(sample_rate))
        after, record = self.run(scene, seed)
        record = {**record, "sample_rate": scene.sample_rate, "unmuffle": __version__}
        noisy, target = after.signal.copy(), after.target.copy()
        if np.ndim(clean) == 1:
            noisy, target = noisy[0], target[0]
        return Damaged(noisy, target, plain(record))

    def run(self, scene: Scene, seed: int) -> tuple[Scene, Record]:
        """Damage a scene with a given seed, and say what was done."""
        if scene.signal.shape[1] == 0:
            raise InputError(f"{self.kind}: the clean signal is empty; nothing can be damaged")
        after, drawn = self._apply(scene, np.random.default_rng(seed))
        return after, {"damage": self.kind, "parameters": self.parameters(), "seed": seed, "drawn": drawn}

    def parameters(self) -> Record:
        """The fields in JSON types."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @abstractmethod
    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        """Turn the scene into the damaged one; the record holds what was drawn and reached."""


@dataclass(frozen=True)
class Pipeline(Damage):
    """Several damages in a row: ``Pipeline((Room(...), Noise(...)))``."""

    kind: ClassVar[str] = "pipeline"
    steps: tuple[Damage, ...]

    def parameters(self) -> Record:
        """The steps, each with its kind and parameters."""
        return {"steps": [{"damage": s.kind, "parameters": s.parameters()} for s in self.steps]}

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        records = []
        for step in self.steps:
            scene, record = step.run(scene, int(rng.integers(_SEED_LIMIT)))
            records.append(record)
        return scene, {"steps": records}


def plain(value: Any) -> Any:
    """Make JSON types of tuples, numpy numbers and infinities (which become None)."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a record")


def to_json(record: Record) -> str:
    """The record as text; the same record is always the same text."""
    return json.dumps(plain(record), indent=1, sort_keys=True, allow_nan=False) + "\n"


def check_positive(what: str, value: float) -> None:
    """Raise `ParameterError` unless ``value`` is finite and above zero."""
    if not (np.isfinite(value) and value > 0):
        raise ParameterError(f"{what} must be positive, got {value}")


def check_finite(what: str, value: float) -> None:
    """Raise `ParameterError` unless ``value`` is a finite number."""
    if not np.isfinite(value):
        raise ParameterError(f"{what} must be a finite number, got {value}")


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `ParameterError`, naming the choices, unless ``value`` is one of them."""
    if value not in choices:
        raise ParameterError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")


def check_one_level(snr_db: float | None, level_dbfs: float | None) -> None:
    """Raise `ParameterError` unless exactly one way to set the level is given, and finite."""
    if (snr_db is None) == (level_dbfs is None):
        raise ParameterError("give exactly one of snr_db and level_dbfs")
    check_finite("snr_db or level_dbfs", snr_db if snr_db is not None else level_dbfs)  # type: ignore[arg-type]
