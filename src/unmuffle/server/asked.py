"""What a client may ask for, checked before any work begins. The options are those of ``unmuffle enhance``.

Nothing here can name a file: a profile is a span of the upload itself, and parameters of a method that are free text
(where a path could hide) cannot be set from outside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..engine.options import Options
from ..enhancers import params, registry
from ..enhancers.base import Enhancer
from ..enhancers.compose import Chain
from ..errors import ParameterError

FIELDS = ("method", "set", "strength", "repair", "stereo", "loudness", "profile", "to", "allow_truncated", "filename")
"""Names of query parameters and form fields."""


@dataclass(frozen=True)
class Asked:
    """Options of one enhancement of a file, as plain values that survive JSON.

    Attributes:
        method: a name, or several joined by ``+``.
        values: parameters of the method.
        strength_db: most attenuation; ``None`` for the full effect.
        repair, stereo, loudness_lufs, profile: as in :func:`unmuffle.enhance_file`.
        extension: of the result, with a dot, or ``None`` for the upload's own.
        allow_truncated: use what is there of a file that was cut off.
        model: the server's own network file, which ``auto`` and ``model`` mean; never from the client.
    """

    method: str = "auto"
    values: Mapping[str, Any] = field(default_factory=dict)
    strength_db: float | None = None
    repair: tuple[str, ...] = ()
    stereo: str = "linked"
    loudness_lufs: float | None = None
    profile: tuple[float, float] | None = None
    extension: str | None = None
    allow_truncated: bool = False
    model: str | None = None

    @classmethod
    def parse(cls, pairs: Sequence[tuple[str, str]], model: str | None = None) -> Asked:
        """From names and texts, as a query or a form holds them; only ``set`` may be repeated.

        Raises:
            ParameterError: an unknown name, or a value without meaning.
        """
        given: dict[str, str] = {}
        assignments: list[str] = []
        for name, text in pairs:
            if name not in FIELDS:
                raise ParameterError(f"there is no option {name[:50]!r}; there are: {', '.join(FIELDS)}")
            if name == "set":
                assignments.append(text)
            elif name in given:
                raise ParameterError(f"the option {name!r} is there twice")
            else:
                given[name] = text
        method = given.get("method", "auto")
        values: dict[str, Any] = {}
        if assignments:
            if "+" in method:
                raise ParameterError("set belongs to one method, not to several joined by +")
            values = dict(params.parse(registry.kind(method), assignments, method))
        asked = cls(
            method=method,
            values=values,
            strength_db=strength(given.get("strength", "full")),
            repair=_words(given.get("repair", "")),
            stereo=given.get("stereo", "linked"),
            loudness_lufs=_number("loudness", given.get("loudness")),
            profile=_span(given.get("profile")),
            extension=_extension(given.get("to")),
            allow_truncated=_yes("allow_truncated", given.get("allow_truncated", "false")),
            model=model,
        )
        asked.enhancer(1 if asked.stereo == "linked" else 2)
        return asked

    def enhancer(self, channels: int) -> Enhancer:
        """The enhancer; all parameters are checked by making it (but for the profile, which needs the sound)."""
        decibels = math.inf if self.strength_db is None else self.strength_db
        made = method_of(self.method, self.values, self.model)
        options = Options(made, {}, decibels, self.repair, self.stereo, None, self.loudness_lufs)
        if self.profile is not None and type(made).with_profile is Enhancer.with_profile:
            made.with_profile(None)  # type: ignore[arg-type]  # says that this method takes none
        return options.enhancer(channels)


def method_of(name: str, values: Mapping[str, Any], model: str | None = None) -> Enhancer:
    """An enhancer by name (or several, joined by ``+``), with parameters that may come from outside.

    ``model`` is the server's own network file: what ``auto`` and ``model`` stand for, if there is one.

    Raises:
        UnknownMethodError, ParameterError.
    """
    if "+" in name:
        if values:
            raise ParameterError("parameters belong to one method, not to several joined by +")
        names = [part.strip() for part in name.split("+")]
        if len(names) > 8:
            raise ParameterError(f"{len(names)} methods in a row; give at most 8")
        return Chain(tuple(method_of(part, {}, model) for part in names))
    if name == registry.MODEL and model is None:
        raise ParameterError("this server has no network file of its own (unmuffle serve --model)")
    if model is not None and name in ("auto", registry.MODEL):
        if values:
            raise ParameterError("this server's own network has no parameters")
        return registry.load(registry.MODEL, path=model)
    if values:
        known = params.parameters(registry.kind(name))
        for key in values:
            free = key in known and isinstance(known[key].default, str) and known[key].metadata["choices"] is None
            # Text without choices may name a file of this machine; positions of microphones do not.
            array = key == "array" and isinstance(values[key], str) and not values[key].strip().endswith(".toml")
            if free and not array:
                raise ParameterError(f"the parameter {key!r} of {name!r} cannot be set through the server")
    return registry.load(name, **values)


def strength(text: str) -> float | None:
    """Decibels, or ``None`` for ``full``.

    >>> strength("12"), strength("full")
    (12.0, None)
    """
    if text.strip().lower() in ("full", "inf", "max"):
        return None
    value = _number("strength", text)
    if value is None or value < 0:
        raise ParameterError(f"strength {text[:50]!r} dB; give 0 (unchanged) to inf, or full")
    return None if math.isinf(value) else value


def _number(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ParameterError(f"{name} {text[:50]!r} is no number")
    return value


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _span(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{0,9})?)s?-(\d{1,9}(?:\.\d{0,9})?)s?", text.strip(), re.ASCII)
    if match is None or not float(match[1]) < float(match[2]):
        raise ParameterError(f"profile {text[:50]!r}; give start-stop in seconds, such as 0-0.5")
    return float(match[1]), float(match[2])


def _extension(text: str | None) -> str | None:
    if text is None:
        return None
    from ..io.formats import CONTAINERS

    found = "." + text.strip().lower().lstrip(".")
    if found not in CONTAINERS or found in (".raw", ".pcm"):
        known = " ".join(sorted(name[1:] for name in CONTAINERS if name not in (".raw", ".pcm")))
        raise ParameterError(f"to {text[:20]!r} names no format that can be written; use one of {known}")
    return found


def _yes(name: str, text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if text.lower() not in words:
        raise ParameterError(f"{name} {text[:20]!r} is not true or false")
    return words[text.lower()]
