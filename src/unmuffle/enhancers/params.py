"""Parameters of an enhancer: typed fields with a range, checked when the object is made.

An enhancer is a frozen dataclass. Each of its fields is made with :func:`param`, which keeps the
help text and the allowed range beside the default, so that the command line, the documentation,
the checks and the TOML form all read the same single definition::

    @dataclass(frozen=True)
    class Halver(Enhancer):
        gain_db: float = param(-6.0, "level change", low=-60.0, high=0.0)
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import ParameterError, UnknownParameterError
from ..signal.toml import from_toml as from_toml

T = TypeVar("T")

Scalar = float | int | bool | str


def param(
    default: T,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> T:
    """Declare one parameter of an enhancer: its default, what it does, and what it may be.

    ``low`` and ``high`` are inclusive bounds of a number; ``choices`` are the allowed words.
    The unit belongs into the field's name (``window_ms``, ``floor_db``).
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    value: T = dataclasses.field(default=default, metadata=metadata)
    return value


def parameters(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """The parameters of an enhancer class, by name, in order of definition."""
    return {f.name: f for f in dataclasses.fields(kind) if "help" in f.metadata}


def check(instance: Any) -> None:
    """Raise :class:`ParameterError` if a field is of the wrong type or out of its range.

    Whole numbers given for a float field are turned into floats, nothing else is converted.
    """
    owner = type(instance).__name__
    for name, field in parameters(type(instance)).items():
        value = getattr(instance, name)
        expected = type(field.default)
        if expected is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
            object.__setattr__(instance, name, value)
        if type(value) is not expected:
            raise ParameterError(
                f"{owner}.{name} must be {expected.__name__}, got {value!r} ({type(value).__name__})"
            )
        low, high, choices = (field.metadata[k] for k in ("low", "high", "choices"))
        if isinstance(value, float) and math.isnan(value):
            raise ParameterError(f"{owner}.{name} is NaN; {_range(low, high)}")
        if choices is not None and value not in choices:
            near = difflib.get_close_matches(str(value), choices, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ParameterError(f"{owner}.{name} = {value!r}{hint}; choose one of {', '.join(choices)}")
        if (low is not None and value < low) or (high is not None and value > high):
            raise ParameterError(f"{owner}.{name} = {value!r} is out of range; {_range(low, high)}")


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "give a number"
    if high is None:
        return f"give at least {low:g}"
    if low is None:
        return f"give at most {high:g}"
    return f"give {low:g} to {high:g}"


def build(kind: type[T], values: Mapping[str, Any], name: str | None = None) -> T:
    """Make ``kind`` from a mapping; an unknown key is an error that names the nearest known one."""
    known = parameters(kind)
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            names = ", ".join(known) or "none"
            raise UnknownParameterError(
                f"{name or kind.__name__} has no parameter {key!r}{hint}; it has: {names}"
            )
    return kind(**values)


def parse(kind: type, assignments: list[str], name: str | None = None) -> dict[str, Scalar]:
    """Turn ``["floor_db=-12", "smoothing=none"]`` into values of the fields' types."""
    known = parameters(kind)
    out: dict[str, Scalar] = {}
    for text in assignments:
        key, equals, raw = text.partition("=")
        key, raw = key.strip(), raw.strip()
        if not equals or not key:
            raise ParameterError(f"{text!r} is not of the form key=value")
        if key not in known:
            build(kind, {key: raw}, name)  # raises, with the nearest name
        out[key] = _convert(key, raw, type(known[key].default))
    return out


def _convert(key: str, raw: str, kind: type) -> Scalar:
    if kind is bool:
        words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False}
        words["0"] = False
        if raw.lower() not in words:
            raise ParameterError(f"{key}={raw!r} is not a yes/no value; write true or false")
        return words[raw.lower()]
    if kind in (int, float):
        try:
            return int(raw) if kind is int else float(raw)
        except (ValueError, OverflowError):
            what = "whole number" if kind is int else "number"
            raise ParameterError(f"{key}={raw!r} is not a {what}") from None
    return raw


def values(instance: Any) -> dict[str, Scalar]:
    """The parameters of an enhancer as plain values, in order of definition."""
    return {name: getattr(instance, name) for name in parameters(type(instance))}


def to_toml(table: Mapping[str, Any]) -> str:
    """Write a flat mapping of scalars as TOML (JSON's strings and numbers are TOML's)."""
    lines = []
    for key, value in table.items():
        if isinstance(value, float) and math.isinf(value):
            text = "inf" if value > 0 else "-inf"
        else:
            text = json.dumps(value, ensure_ascii=False)
        lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"
