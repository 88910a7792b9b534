"""Recipes that come with the package, one TOML file each, and how a user's own settings are laid over them.

``unmuffle train --preset NAME --config FILE --set KEY=VALUE``: each later one wins, key by key, also within the
tables ``[sizes]``, ``[mix]`` and ``[loss]``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ...enhancers import params
from ...errors import MediaNotFoundError, ParameterError, UnknownMethodError
from ..config import TrainConfig, from_dict

TABLES = ("sizes", "mix", "loss")


def names() -> list[str]:
    """All presets."""
    folder = resources.files(__name__)
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def table(name: str) -> dict[str, Any]:
    """A preset as nested tables.

    Raises:
        UnknownMethodError: no preset has that name.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnknownMethodError(f"no preset is called {name!r}{hint}; there are: {', '.join(known)}")
    return params.from_toml((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))


def read(path: str | Path) -> dict[str, Any]:
    """A recipe file as nested tables.

    Raises:
        MediaNotFoundError: there is no such file.
        ParameterError: it is no TOML.
    """
    source = Path(path)
    if not source.is_file():
        raise MediaNotFoundError(f"{source}: no such recipe")
    try:
        return params.from_toml(source.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ParameterError) as error:
        raise ParameterError(f"{source}: {error}") from None


def assigned(texts: Sequence[str]) -> dict[str, Any]:
    """``["steps=500", "mix.seconds=2", "sizes.hidden=64"]`` as nested tables.

    A value is read as TOML; what is none (a bare word) is text.

    >>> assigned(["net=live", "mix.seconds=2", "bf16=false"])
    {'net': 'live', 'mix': {'seconds': 2}, 'bf16': False}
    """
    out: dict[str, Any] = {}
    for text in texts:
        key, equals, raw = text.partition("=")
        path = [part.strip() for part in key.split(".")]
        if not equals or not all(path) or len(path) > 2 or (len(path) == 2 and path[0] not in TABLES):
            raise ParameterError(
                f"{text!r} is not of the form key=value, or table.key=value with a table of {', '.join(TABLES)}"
            )
        try:
            value = params.from_toml(f"x = {raw.strip()}")["x"]
        except ParameterError:
            value = raw.strip()
        if len(path) == 1:
            out[path[0]] = value
        else:
            inner = out.setdefault(path[0], {})
            if not isinstance(inner, dict):
                raise ParameterError(f"{path[0]} is set as a whole and in parts: {text!r}")
            inner[path[1]] = value
    return out


def layered(*layers: Mapping[str, Any]) -> TrainConfig:
    """One recipe out of several tables, of which each later one wins.

    Naming another ``net`` than the layers below drops their ``sizes``, which are those of another network.
    """
    out: dict[str, Any] = {}
    for layer in layers:
        if "net" in layer and layer["net"] != out.get("net", layer["net"]):
            out.pop("sizes", None)
        for key, value in layer.items():
            if key in TABLES and isinstance(value, Mapping) and isinstance(out.get(key, {}), Mapping):
                out[key] = {**out.get(key, {}), **value}
            else:
                out[key] = value
    return from_dict(out)
