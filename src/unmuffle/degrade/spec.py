"""Damage in one line of text: ``room:t60=0.2..0.6; noise:snr=-5..15,count=1..2``.

::

    spec   = step { ";" step }
    step   = kind [ ":" key "=" value { "," key "=" value } ]
    value  = number | number ".." number | word { "|" word }

A range is drawn from uniformly (whole numbers for counts, both ends included), a list of words with
equal chances, anew for every file. Steps act in the order given. A key left out has the default of
the damage's class.

========  ===========================================================================================
kind      keys
========  ===========================================================================================
noise     snr (dB), level (dBFS), count 1..3, class (of the recordings), color white|pink|brown|speech
babble    snr (dB), talkers
room      t60 (s), distance (m), target dry|early                     simulated (extra ``rooms``)
rir       target dry|early                                            measured (needs a rooms folder)
clip      sdr (dB) or threshold (dBFS), shape hard|soft
codec     name, bitrate (kbit/s)
loss      rate 0..0.9, burst (packets), packet (ms), fill zero|repeat
band      name telephone|4k|8k, or low and high (Hz)
hum       hz, snr (dB), level (dBFS), harmonics
wind      snr (dB), level (dBFS), gust (Hz)
clicks    rate (per second), peak (dB relative to the speech's)
gain      shape steps|drift|fixed, range (dB), every (s)
dc        offset (of full scale)
========  ===========================================================================================

``str(spec)`` is the canonical form; parsing it gives an equal spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ..errors import ParameterError
from .base import Damage, Pipeline
from .clipping import SHAPES as CLIP_SHAPES
from .clipping import Clip
from .codecs import CODECS, Codec
from .disturbances import Clicks, Hum, Wind
from .filters import BANDS, BandLimit
from .gains import SHAPES as GAIN_SHAPES
from .gains import DcOffset, LevelChange
from .noise import COLORS, Babble, Noise
from .packets import FILLS, PacketLoss
from .rooms import TARGETS, MeasuredRoom, SimulatedRoom
from .sources import class_of

Drawn: TypeAlias = "float | int | str"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; equal ends are one number."""

    low: float
    high: float

    def __str__(self) -> str:
        low, high = _number_text(self.low), _number_text(self.high)
        return low if self.low == self.high else f"{low}..{high}"


@dataclass(frozen=True)
class Words:
    """One of several words."""

    choices: tuple[str, ...]

    def __str__(self) -> str:
        return "|".join(self.choices)


@dataclass(frozen=True)
class Material:
    """Recordings that steps may draw from."""

    noises: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    """Speech of others than the one being damaged."""


@dataclass(frozen=True)
class _Key:
    """What a key accepts: numbers within bounds, whole numbers, or words (empty: any word)."""

    low: float = -np.inf
    high: float = np.inf
    whole: bool = False
    words: tuple[str, ...] | None = None


_DB = _Key(-120.0, 120.0)

_KEYS: dict[str, dict[str, _Key]] = {
    "noise": {
        "snr": _DB,
        "level": _DB,
        "count": _Key(1, 3, whole=True),
        "class": _Key(words=()),
        "color": _Key(words=COLORS),
    },
    "babble": {"snr": _DB, "talkers": _Key(1, 100, whole=True)},
    "room": {"t60": _Key(0.1, 2.0), "distance": _Key(0.2, 6.0), "target": _Key(words=TARGETS)},
    "rir": {"target": _Key(words=TARGETS)},
    "clip": {"sdr": _Key(0.1, 80.0), "threshold": _DB, "shape": _Key(words=CLIP_SHAPES)},
    "codec": {"name": _Key(words=tuple(CODECS)), "bitrate": _Key(1.0, 512.0)},
    "loss": {
        "rate": _Key(0.0, 0.9),
        "burst": _Key(1.0, 1e6),
        "packet": _Key(1.0, 1000.0),
        "fill": _Key(words=FILLS),
    },
    "band": {"name": _Key(words=tuple(BANDS)), "low": _Key(0.0, 96e3), "high": _Key(1.0, 96e3)},
    "hum": {"hz": _Key(10.0, 1000.0), "snr": _DB, "level": _DB, "harmonics": _Key(1, 200, whole=True)},
    "wind": {"snr": _DB, "level": _DB, "gust": _Key(0.05, 10.0)},
    "clicks": {"rate": _Key(1e-3, 1000.0), "peak": _DB},
    "gain": {"shape": _Key(words=GAIN_SHAPES), "range": _Key(-100.0, 100.0), "every": _Key(0.02, 1e6)},
    "dc": {"offset": _Key(-1.0, 1.0)},
}

# Pairs of keys of which a step may have only one.
_EITHER = {
    "noise": [("snr", "level"), ("class", "color"), ("count", "color")],
    "clip": [("sdr", "threshold")],
    "band": [("name", "low"), ("name", "high")],
    "hum": [("snr", "level")],
    "wind": [("snr", "level")],
}


@dataclass(frozen=True)
class Step:
    """One damage with its ranges not yet drawn."""

    kind: str
    values: Mapping[str, Range | Words] = field(default_factory=dict)

    def __str__(self) -> str:
        keys = ",".join(f"{key}={value}" for key, value in self.values.items())
        return f"{self.kind}:{keys}" if keys else self.kind

    def draw(self, rng: np.random.Generator, material: Material) -> Damage:
        """Draw every range, choose recordings, and make the damage."""
        drawn = {key: _draw(_KEYS[self.kind][key], value, rng) for key, value in self.values.items()}
        return _MAKERS[self.kind](drawn, rng, material)


@dataclass(frozen=True)
class Spec:
    """Steps in order; `Spec.parse` makes one from text."""

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> Spec:
        """Read a spec, or a list of them that are joined; see the module docstring.

        Raises `ParameterError` that names what was not understood and what there is.
        """
        whole = text if isinstance(text, str) else ";".join(text)
        steps = tuple(_parse_step(part) for part in whole.split(";") if part.strip())
        if not steps:
            raise ParameterError(f"the damage spec is empty; write for example noise:snr=5 ({_kinds()})")
        return cls(steps)

    def __str__(self) -> str:
        return "; ".join(map(str, self.steps))

    def draw(self, rng: np.random.Generator, material: Material = Material()) -> Pipeline:
        """Draw every range and make the pipeline."""
        return Pipeline(tuple(step.draw(rng, material) for step in self.steps))


_NUMBER = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER}))?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def _parse_step(text: str) -> Step:
    kind, colon, rest = (part.strip() for part in text.partition(":"))
    if kind not in _KEYS:
        raise ParameterError(f"unknown damage {kind!r}; {_kinds()}")
    values: dict[str, Range | Words] = {}
    for pair in rest.split(",") if colon else []:
        key, equals, value = (part.strip() for part in pair.partition("="))
        keys = _KEYS[kind]
        if key not in keys:
            raise ParameterError(f"{kind} has no key {key!r}; choose from {', '.join(keys)}")
        if not equals or not value:
            raise ParameterError(f"{kind}: {key} has no value; write {key}=...")
        if key in values:
            raise ParameterError(f"{kind}: {key} is given twice; keep one")
        values[key] = _parse_value(f"{kind}: {key}", value, keys[key])
    for one, other in _EITHER.get(kind, []):
        if one in values and other in values:
            raise ParameterError(f"{kind}: {one} and {other} exclude each other; keep one")
    return Step(kind, values)


def _parse_value(name: str, text: str, key: _Key) -> Range | Words:
    if key.words is not None:
        words = tuple(word.strip() for word in text.split("|"))
        for word in words:
            if key.words and word not in key.words:
                raise ParameterError(f"{name} cannot be {word!r}; choose from {', '.join(key.words)}")
            if not _WORD.fullmatch(word):
                raise ParameterError(
                    f"{name} must be words of letters, digits, '_', '.' and '-', got {text!r}"
                )
        return Words(words)
    return parse_range(text, name, key.low, key.high, whole=key.whole)


def parse_range(text: str, name: str, lowest: float, highest: float, *, whole: bool = False) -> Range:
    """A number, or a range such as ``0.2..0.6``, within bounds.

    Raises:
        ParameterError: none of these; the message names what ``name`` may be.
    """
    match = _RANGE.fullmatch(text.strip())
    if not match:
        raise ParameterError(f"{name} must be a number or a range such as 1..5, got {text!r}")
    low = float(match[1])
    high = float(match[2]) if match[2] is not None else low
    if low > high:
        raise ParameterError(f"{name}: the range {text} runs backwards; write {match[2]}..{match[1]}")
    if not (lowest <= low and high <= highest) or not np.isfinite([low, high]).all():
        raise ParameterError(f"{name} must lie in {lowest:g}..{highest:g}, got {text}")
    if whole and not (low.is_integer() and high.is_integer()):
        raise ParameterError(f"{name} must be a whole number, got {text}")
    return Range(low, high)


def _draw(key: _Key, value: Range | Words, rng: np.random.Generator) -> Drawn:
    if isinstance(value, Words):
        return value.choices[int(rng.integers(len(value.choices)))]
    if key.whole:
        return int(rng.integers(int(value.low), int(value.high) + 1))
    if value.low == value.high:
        return value.low
    return float(rng.uniform(value.low, value.high))


def _pick(files: Sequence[str], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """``count`` different files, or with repetition where there are fewer."""
    chosen = rng.choice(len(files), size=count, replace=count > len(files))
    return tuple(files[int(i)] for i in chosen)


def _levels(drawn: Mapping[str, Drawn]) -> dict[str, Any]:
    """A level in dBFS displaces the default SNR."""
    if "level" in drawn:
        return {"snr_db": None, "level_dbfs": drawn["level"]}
    return {"snr_db": drawn["snr"]} if "snr" in drawn else {}


def _named(drawn: Mapping[str, Drawn], **fields: str) -> dict[str, Any]:
    """Constructor arguments from drawn keys: ``field="key"``, those that were given."""
    return {name: drawn[key] for name, key in fields.items() if key in drawn}


def _make_noise(drawn: Mapping[str, Drawn], rng: np.random.Generator, material: Material) -> Damage:
    if "color" in drawn:
        return Noise(color=str(drawn["color"]), **_levels(drawn))
    files: Sequence[str] = material.noises
    if not files:
        raise ParameterError("noise needs a folder of recordings, or color=white|pink|brown|speech")
    if "class" in drawn:
        files = [f for f in files if class_of(f) == drawn["class"]]
        if not files:
            classes = ", ".join(sorted({class_of(f) for f in material.noises})[:40])
            raise ParameterError(f"no noise recording of class {drawn['class']!r}; there are {classes}")
    return Noise(files=_pick(files, int(drawn.get("count", 1)), rng), **_levels(drawn))


def _make_babble(drawn: Mapping[str, Drawn], rng: np.random.Generator, material: Material) -> Damage:
    if not material.voices:
        raise ParameterError("babble needs speech of other speakers; put more speakers into the clean folder")
    files = _pick(material.voices, int(drawn.get("talkers", 4)), rng)
    return Babble(files=files, **_named(drawn, snr_db="snr"))


def _make_rir(drawn: Mapping[str, Drawn], rng: np.random.Generator, material: Material) -> Damage:
    if not material.rooms:
        raise ParameterError("rir needs a folder of measured room impulse responses; room simulates one")
    return MeasuredRoom(file=_pick(material.rooms, 1, rng)[0], **_named(drawn, target="target"))


def _make_clip(drawn: Mapping[str, Drawn], rng: np.random.Generator, material: Material) -> Damage:
    how = _named(drawn, sdr_db="sdr", shape="shape")
    if "threshold" in drawn:
        how.update(sdr_db=None, threshold_dbfs=drawn["threshold"])
    return Clip(**how)


def _make_loss(drawn: Mapping[str, Drawn], rng: np.random.Generator, material: Material) -> Damage:
    how = _named(drawn, loss_rate="rate", mean_burst_packets="burst", packet_ms="packet", fill="fill")
    if "burst" not in drawn and "rate" in drawn:  # the default burst is too short for heavy losses
        how["mean_burst_packets"] = max(2.0, 1.0 / (1.0 - float(drawn["rate"])))
    return PacketLoss(**how)


def _make_band(drawn: Mapping[str, Drawn], rng: np.random.Generator, material: Material) -> Damage:
    if "name" in drawn:
        low, high = BANDS[str(drawn["name"])]
        return BandLimit(low, high)
    if "low" not in drawn and "high" not in drawn:
        return BandLimit()
    return BandLimit(float(drawn.get("low", 0.0)), float(drawn.get("high", 96e3)))


def _simple(cls: Callable[..., Damage], **fields: str) -> _Maker:
    return lambda drawn, rng, material: cls(**_named(drawn, **fields))


_Maker: TypeAlias = Callable[[Mapping[str, Drawn], np.random.Generator, Material], Damage]

_MAKERS: dict[str, _Maker] = {
    "noise": _make_noise,
    "babble": _make_babble,
    "room": _simple(SimulatedRoom, t60_s="t60", distance_m="distance", target="target"),
    "rir": _make_rir,
    "clip": _make_clip,
    "codec": _simple(Codec, name="name", bitrate_kbps="bitrate"),
    "loss": _make_loss,
    "band": _make_band,
    "hum": lambda drawn, rng, material: Hum(
        **_levels(drawn), **_named(drawn, frequency_hz="hz", harmonics="harmonics")
    ),
    "wind": lambda drawn, rng, material: Wind(**_levels(drawn), **_named(drawn, gust_hz="gust")),
    "clicks": _simple(Clicks, rate_hz="rate", peak_db="peak"),
    "gain": _simple(LevelChange, shape="shape", range_db="range", every_s="every"),
    "dc": _simple(DcOffset, offset="offset"),
}


def _kinds() -> str:
    return f"kinds: {', '.join(_KEYS)}"


def _number_text(x: float) -> str:
    return str(int(x)) if x.is_integer() and abs(x) < 1e15 else repr(x)
