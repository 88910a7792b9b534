"""A microphone array in front of an enhancement: dereverberation, a beam towards somebody, a method behind.

::

    plan = ArrayPlan(array="circle4.toml", direction="auto", beamformer="mvdr", dereverb="wpe")
    enhancer = plan.enhancer(heard_direction("meeting.wav", plan.geometry))
    unmuffle.enhance_file("meeting.wav", "voice.wav", enhancer)

The order is dereverberation (of every channel), beamformer (one channel of several), method (of that one).
Without a beamformer as many channels come out as went in.

``array``
    As :func:`~unmuffle.signal.arrays.parse_array` reads it. The enhancer keeps the positions, not the name of a
    file: what it does, and its key in a cache, depend on no file any more.
``direction``
    ``30`` (azimuth), ``30,10`` (azimuth and elevation) or ``auto``: where the most is heard from. With a direction
    ``mvdr`` takes its steered form; beams that follow masks only (``gev``, ``mwf``, ``mask-mvdr``) take none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..enhancers import params, registry
from ..enhancers.base import Enhancer
from ..enhancers.compose import Chain
from ..errors import InputError, ParameterError
from ..io import open_reader
from ..signal.arrays import ArrayGeometry, parse_array
from ..signal.blocks import Samples
from ..signal.channels import channel_faults
from ..signal.direction import find_directions
from ..signal.steering import check_direction

STEERED = ("delay-and-sum", "superdirective", "gsc", "lcmv", "mvdr")
"""Beamformers that can be given a direction."""

DEFAULT = "mvdr"
LONGEST_S = 120.0
"""So much of a recording is listened to for ``direction = "auto"``."""

Direction = tuple[float, float]
"""Azimuth and elevation in degrees."""


@dataclass(frozen=True)
class ArrayPlan:
    """What is to be done with the channels of an array, before a method and its parameters.

    Raises:
        ParameterError: an array, a direction or a name without meaning, or that do not go together.
    """

    array: str = ""
    direction: str = ""
    beamformer: str = ""
    dereverb: str = ""

    def __post_init__(self) -> None:
        for name, family in ((self.beamformer, "spatial"), (self.dereverb, "dereverb")):
            if name and registry.entry(name).family != family:
                known = ", ".join(n for n, line in registry.REGISTRY.items() if line.family == family)
                what = "beamformer" if family == "spatial" else "dereverberation"
                raise ParameterError(f"{name!r} is no {what}; choose one of {known}")
        if self.array:
            parse_array(self.array)
        if not self.direction:
            return
        if not self.array:
            raise ParameterError("a direction needs an array: where the microphones are (--array)")
        if self.beam not in STEERED:
            raise ParameterError(
                f"{self.beam} follows the voice by masks and takes no direction; choose one of {', '.join(STEERED)}"
            )
        if not self.automatic:
            parse_direction(self.direction)

    @property
    def beam(self) -> str:
        """Name of the beamformer: the default where only an array or a direction is given."""
        return self.beamformer or (DEFAULT if self.array or self.direction else "")

    @property
    def automatic(self) -> bool:
        """Must the direction be heard first?"""
        return self.direction.strip().lower() == "auto"

    @property
    def geometry(self) -> ArrayGeometry:
        """The array.

        Raises:
            ParameterError: none was given.
        """
        if not self.array:
            raise ParameterError("no array was given; name one (--array)")
        return parse_array(self.array)

    def enhancer(
        self, direction: Direction | None = None, behind: Enhancer | None = None, values: dict[str, Any] | None = None
    ) -> Enhancer:
        """Everything in a row.

        Args:
            direction: what was heard, for ``automatic``.
            behind: a method for the single channel.
            values: parameters of the beamformer.
        """
        if not self.automatic and self.direction:
            direction = parse_direction(self.direction)
        stages = [registry.load(self.dereverb)] if self.dereverb else []
        if self.beam:
            stages.append(self._beamformer(direction, dict(values or {})))
        if behind is not None:
            stages.append(behind)
        return stages[0] if len(stages) == 1 else Chain(tuple(stages))

    def _beamformer(self, direction: Direction | None, values: dict[str, Any]) -> Enhancer:
        known = params.parameters(registry.kind(self.beam))
        if self.array and "array" in known:
            values.setdefault("array", self.geometry.to_text())
        if direction is not None:
            values.setdefault("azimuth_deg", direction[0])
            values.setdefault("elevation_deg", direction[1])
            if self.beam == "mvdr":
                values.setdefault("form", "steered")
        return registry.load(self.beam, **values)


def parse_direction(text: str) -> Direction:
    """``30`` or ``30,10``: azimuth and elevation in degrees.

    >>> parse_direction("-30,10")
    (330.0, 10.0)
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ParameterError(f"direction = {text!r}; give an azimuth in degrees, azimuth,elevation, or auto")
    return check_direction(*numbers)


def heard_direction(path: str | os.PathLike[str], array: ArrayGeometry) -> Direction:
    """From where the most is heard in a file (its first two minutes).

    Raises:
        InputError: from nowhere in particular, or the file does not fit the array.
        ParameterError: a pipe, which cannot be read twice.
    """
    if os.fspath(path) == "-":
        raise ParameterError("direction auto listens first: give a file instead of a pipe, or a direction")
    x, rate = _beginning(path, array, LONGEST_S)
    return direction_of(x, rate, array)


def faults(path: str | os.PathLike[str], array: ArrayGeometry | None) -> list[str]:
    """What is wrong with the channels of a file (its first 20 s), as sentences; nothing for a pipe."""
    if os.fspath(path) == "-":
        return []
    x, rate = _beginning(path, array, 20.0)
    return channel_faults(x, rate, array)


def _beginning(path: str | os.PathLike[str], array: ArrayGeometry | None, seconds: float) -> tuple[Samples, int]:
    with open_reader(path) as reader:
        rate, channels = reader.info.sample_rate, reader.info.channels
        if array is not None:
            array.check_channels(channels)
        parts, held = [np.zeros((channels, 0), np.float32)], 0
        for block in reader.blocks(rate):
            parts.append(block)
            held += block.shape[1]
            if held >= seconds * rate:
                break
    return np.concatenate(parts, axis=1), rate


def direction_of(x: Any, sample_rate: int, array: ArrayGeometry) -> Direction:
    """From where the most is heard in ``(microphones, samples)``.

    Raises:
        InputError: from nowhere in particular.
    """
    found = find_directions(x, sample_rate, array, talkers=1).talkers
    if not found:
        raise InputError("no direction can be heard: the sound is silent or comes from everywhere; give one")
    return check_direction(found[0].azimuth_deg, found[0].elevation_deg)
