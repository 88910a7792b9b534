"""Microphone arrays: where the microphones are, as a value that can be named, written and read.

Coordinates are metres, right-handed, ``x`` to the right, ``y`` to the front, ``z`` up. Directions are
given as the array sees them:

**azimuth**
    degrees anticlockwise from ``+x`` when looked at from above: ``+x`` is 0, ``+y`` 90, ``-x`` 180.
**elevation**
    degrees up from the ``x, y`` plane: the horizon is 0, straight above is 90.

So a talker stands in the direction ``(cos el cos az, cos el sin az, sin el)`` from the centre of the
array, which is the mean of its microphones. A line lies along ``x`` and has its broadside at 90; it
cannot tell front from back, nor up from down. A flat array cannot tell up from down.

Channel ``i`` of a recording is microphone ``i``. The order matters and cannot be checked from outside:
a wrong one turns the picture or breaks it.

As text an array is a preset (``respeaker-4mic``), a preset with its measures (``circle:4:0.05``), a list
of positions (``0,0,0; 0.05,0,0``) or the name of a TOML file::

    name = "desk"
    positions_m = [[-0.05, 0, 0], [0.05, 0, 0], [0, 0.05, 0.02]]

or ``preset = "circle"``, ``microphones = 4``, ``radius_m = 0.05``.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError, ShapeError, UnknownParameterError
from .blocks import MAX_CHANNELS
from .toml import from_toml

Position = tuple[float, float, float]

LARGEST_M = 30.0
"""Beyond this extent the numbers are taken for centimetres or millimetres, and refused."""

CLOSEST_M = 0.0005
"""Two microphones nearer to each other than half a millimetre are taken for a typing error."""


@dataclass(frozen=True)
class ArrayGeometry:
    """The positions of the microphones, in metres; hashable, and equal when the positions are.

    Attributes:
        positions_m: one ``(x, y, z)`` a microphone, in the order of the channels.
        name: for messages and pictures.

    Raises:
        ParameterError: no or too many microphones, not three finite numbers each, two in one place, or
            measures that cannot be metres.
    """

    positions_m: tuple[Position, ...]
    name: str = "array"

    def __post_init__(self) -> None:
        places = tuple(_position(p, i) for i, p in enumerate(self.positions_m))
        object.__setattr__(self, "positions_m", places)
        if not 1 <= len(places) <= MAX_CHANNELS:
            raise ParameterError(f"an array has 1 to {MAX_CHANNELS} microphones, got {len(places)}")
        distances = self.distances
        extent = float(distances.max())
        if extent > LARGEST_M:
            raise ParameterError(
                f"the microphones of {self.name!r} are up to {extent:g} m apart; positions are in metres"
            )
        close = np.argwhere(np.triu(distances < CLOSEST_M, 1))
        if len(close):
            first, second = (int(i) for i in close[0])
            raise ParameterError(
                f"microphones {first} and {second} of {self.name!r} are at the same place {places[first]}; "
                "give each its own position"
            )

    def __len__(self) -> int:
        return len(self.positions_m)

    @property
    def positions(self) -> NDArray[np.float64]:
        """``(microphones, 3)`` in metres, as given."""
        return np.array(self.positions_m, np.float64)

    @property
    def centred(self) -> NDArray[np.float64]:
        """``(microphones, 3)`` in metres, with the mean at the origin."""
        places = self.positions
        centred: NDArray[np.float64] = places - places.mean(axis=0)
        return centred

    @property
    def distances(self) -> NDArray[np.float64]:
        """``(microphones, microphones)`` in metres."""
        places = self.positions
        apart: NDArray[np.float64] = np.linalg.norm(places[:, None] - places[None, :], axis=-1)
        return apart

    @property
    def dimensions(self) -> int:
        """0 for one microphone, 1 for a line, 2 for a flat array, 3 for one in space."""
        if len(self) == 1:
            return 0
        spread = np.linalg.svd(self.centred, compute_uv=False)
        return int(np.sum(spread > 1e-3 * spread[0]))

    def check_channels(self, channels: int) -> None:
        """Raise :class:`ShapeError` unless a recording of so many channels is one of this array."""
        if channels != len(self):
            raise ShapeError(
                f"the recording has {channels} channel(s), but the array {self.name!r} has {len(self)} "
                "microphone(s); choose the array that made it, or the channels that belong to it"
            )

    def subset(self, channels: list[int]) -> ArrayGeometry:
        """The array of some of its microphones, in the order given."""
        for channel in channels:
            if not 0 <= channel < len(self):
                raise ParameterError(f"{self.name!r} has microphones 0 to {len(self) - 1}, not {channel}")
        return ArrayGeometry(tuple(self.positions_m[c] for c in channels), self.name)

    def to_text(self) -> str:
        """The positions as :func:`parse_array` reads them: complete, on one line, free of any file."""
        return "; ".join(",".join(f"{v:.9g}" for v in place) for place in self.positions_m)

    def to_toml(self) -> str:
        """The array as TOML; :func:`parse_toml` reads it back."""
        import json

        rows = ",\n".join(f"  [{x!r}, {y!r}, {z!r}]" for x, y, z in self.positions_m)
        return f"name = {json.dumps(self.name, ensure_ascii=False)}\npositions_m = [\n{rows},\n]\n"


def _position(value: Any, index: int) -> Position:
    try:
        numbers = [float(v) for v in value]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(math.isfinite(v) for v in numbers) or isinstance(value, str):
        raise ParameterError(f"the position of microphone {index} is {value!r}; give three numbers: x, y, z in metres")
    return (numbers[0], numbers[1], numbers[2])


# -- presets -----------------------------------------------------------------------------------------


def line(microphones: int = 4, spacing_m: float = 0.05) -> ArrayGeometry:
    """Equally spaced along ``x``, the first at the far left; broadside at azimuth 90."""
    count, spacing = _count(microphones), _length("spacing_m", spacing_m)
    start = -spacing * (count - 1) / 2
    return ArrayGeometry(tuple((start + spacing * i, 0.0, 0.0) for i in range(count)), f"line:{count}:{spacing:g}")


def circle(microphones: int = 4, radius_m: float = 0.05) -> ArrayGeometry:
    """Equally spaced on a flat circle, the first at azimuth 0, going anticlockwise."""
    count, radius = _count(microphones), _length("radius_m", radius_m)
    angles = 2 * np.pi * np.arange(count) / count
    places = tuple((float(radius * np.cos(a)), float(radius * np.sin(a)), 0.0) for a in angles)
    return ArrayGeometry(places, f"circle:{count}:{radius:g}")


def square(side_m: float = 0.06) -> ArrayGeometry:
    """Four at the corners of a flat square, the first at azimuth 45, going anticlockwise."""
    half = _length("side_m", side_m) / 2
    places = ((half, half, 0.0), (-half, half, 0.0), (-half, -half, 0.0), (half, -half, 0.0))
    return ArrayGeometry(places, f"square:{2 * half:g}")


def phone() -> ArrayGeometry:
    """A phone held upright: the first microphone at its lower edge, the second 14 cm above on its back.

    ``y`` points out of the screen, towards the talker.
    """
    return ArrayGeometry(((0.0, 0.0, -0.07), (0.0, -0.008, 0.07)), "phone")


def respeaker_4mic() -> ArrayGeometry:
    """ReSpeaker USB 4-mic array: a flat circle of 32 mm radius, the first microphone at azimuth 45.

    The radius and the anticlockwise order are the maker's (`odas.cfg` of respeaker/usb_4_mic_array).
    Where azimuth 0 lies on the device is a matter of agreement: 45 for the first raw channel is the
    one of the recordings of BrownsugarZeer/Multi_SSL, of which those with one talker gave the offset
    and those with two and three talkers confirm the sense of rotation. In the maker's own file the first
    microphone is at 180: subtract 135 from azimuths given in that frame.
    """
    half = 0.032 / math.sqrt(2.0)
    places = ((half, half, 0.0), (-half, half, 0.0), (-half, -half, 0.0), (half, -half, 0.0))
    return ArrayGeometry(places, "respeaker-4mic")


def line_8() -> ArrayGeometry:
    """Eight microphones, 12 cm apart, in a line along ``x``; broadside at azimuth 90."""
    return ArrayGeometry(line(8, 0.12).positions_m, "line-8")


PRESETS: dict[str, Callable[..., ArrayGeometry]] = {
    "line": line,
    "circle": circle,
    "square": square,
    "phone": phone,
    "respeaker-4mic": respeaker_4mic,
    "line-8": line_8,
}


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CHANNELS:
        raise ParameterError(f"microphones = {value!r}; give a whole number from 1 to {MAX_CHANNELS}")
    return value


def _length(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not CLOSEST_M <= value <= LARGEST_M:
        raise ParameterError(f"{name} = {value!r}; give metres, {CLOSEST_M:g} to {LARGEST_M:g}")
    return float(value)


# -- reading -----------------------------------------------------------------------------------------


def parse_array(text: str | ArrayGeometry) -> ArrayGeometry:
    """An array from text: a preset, a preset with measures, positions, or the name of a TOML file.

    >>> len(parse_array("respeaker-4mic")), len(parse_array("line:3:0.05")), len(parse_array("0,0,0; 0.1,0,0"))
    (4, 3, 2)

    Raises:
        ParameterError: none of these; the message names the nearest preset, or the key that is wrong.
    """
    if isinstance(text, ArrayGeometry):
        return text
    if text.endswith(".toml"):
        return read_array(text)
    name, *measures = text.strip().split(":")
    if name in PRESETS:
        return _preset_of_text(name, measures)
    if "," in text:
        places = tuple(tuple(part.split(",")) for part in text.split(";") if part.strip())
        return ArrayGeometry(places, "positions")  # type: ignore[arg-type] # checked and converted there
    near = difflib.get_close_matches(name, PRESETS, 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ParameterError(
        f"no array is called {text!r}{hint}; the presets are {', '.join(PRESETS)}; "
        "positions are written as '0,0,0; 0.05,0,0', and a file's name ends in .toml"
    )


def _preset_of_text(name: str, measures: list[str]) -> ArrayGeometry:
    fields = _fields(name)
    if len(measures) > len(fields):
        raise ParameterError(f"{':'.join([name, *measures])!r}: {name} takes {', '.join(fields) or 'no measures'}")
    values: dict[str, Any] = {}
    for field, raw in zip(fields, measures, strict=False):
        try:
            values[field] = int(raw) if field == "microphones" else float(raw)
        except ValueError:
            raise ParameterError(f"{field} = {raw!r} in {name!r} is not a number") from None
    return PRESETS[name](**values)


def _fields(name: str) -> list[str]:
    from inspect import signature

    return list(signature(PRESETS[name]).parameters)


def read_array(path: str | os.PathLike[str]) -> ArrayGeometry:
    """An array from a TOML file.

    Raises:
        ParameterError: the file cannot be read or says something that has no meaning.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"the array file {str(path)!r} cannot be read: {reason}") from None
    try:
        return parse_toml(text, Path(path).stem)
    except ParameterError as error:
        raise type(error)(f"{str(path)!r}: {error}") from None


def parse_toml(text: str, name: str = "array") -> ArrayGeometry:
    """An array from TOML text: ``positions_m``, or ``preset`` and its measures; and a ``name``."""
    table: Mapping[str, Any] = from_toml(text)
    preset = table.get("preset")
    if preset is not None and preset not in PRESETS:
        near = difflib.get_close_matches(str(preset), PRESETS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ParameterError(f"preset = {preset!r} is unknown{hint}; the presets are {', '.join(PRESETS)}")
    known = ["name", "positions_m"] if preset is None else ["name", "preset", *_fields(preset)]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, [*known, "preset"], 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UnknownParameterError(f"an array has no key {key!r}{hint}; here it has: {', '.join(known)}")
    title = table.get("name", name)
    if not isinstance(title, str):
        raise ParameterError(f"name = {title!r} is not text")
    if preset is not None:
        made = PRESETS[preset](**{k: v for k, v in table.items() if k not in ("name", "preset")})
        return ArrayGeometry(made.positions_m, title)
    places = table.get("positions_m")
    if not isinstance(places, list):
        raise ParameterError("an array needs positions_m = [[x, y, z], ...] in metres, or a preset")
    return ArrayGeometry(tuple(places), title)
