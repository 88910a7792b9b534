"""Making enhancers by name, and parameters that are checked, parsed and written."""

import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmuffle.enhancers import params, registry
from unmuffle.enhancers.base import Enhancer
from unmuffle.enhancers.compose import AtRate, Chain, Identity, MidSide, PerChannel
from unmuffle.enhancers.params import param
from unmuffle.errors import (
    MissingExtraError,
    ParameterError,
    UnknownMethodError,
    UnknownParameterError,
    UnmuffleError,
)


@dataclass(frozen=True)
class Knobs(Enhancer):
    name: ClassVar[str] = "knobs"
    floor_db: float = param(-12.0, "floor", low=-80.0, high=0.0)
    order: int = param(4, "order", low=1)
    shape: str = param("round", "shape", choices=("round", "square"))
    fast: bool = param(False, "speed")

    def kernel(self, sample_rate, channels):
        return Identity().kernel(sample_rate, channels)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"flor_db": -3.0}, UnknownParameterError, "did you mean 'floor_db'"),
        ({"floor_db": 3.0}, ParameterError, "-80 to 0"),
        ({"floor_db": float("nan")}, ParameterError, "NaN"),
        ({"floor_db": "low"}, ParameterError, "must be float"),
        ({"floor_db": True}, ParameterError, "must be float"),
        ({"order": 0}, ParameterError, "at least 1"),
        ({"order": 2.0}, ParameterError, "must be int"),
        ({"shape": "squar"}, ParameterError, "did you mean 'square'"),
        ({"fast": 1}, ParameterError, "must be bool"),
    ],
)
def test_bad_parameters_name_the_way_out(values, error, words):
    with pytest.raises(error, match=words):
        params.build(Knobs, values)


def test_whole_numbers_are_floats_where_floats_are_meant():
    made = params.build(Knobs, {"floor_db": -6})
    assert made == Knobs(floor_db=-6.0)
    assert isinstance(made.floor_db, float)


def test_parse_reads_the_fields_types():
    got = params.parse(Knobs, ["floor_db=-3", "order = 7", "shape=square", "fast=yes"])
    assert got == {"floor_db": -3.0, "order": 7, "shape": "square", "fast": True}


@given(st.lists(st.text(max_size=20), max_size=4))
def test_parse_never_fails_in_an_unnamed_way(texts):
    try:
        params.build(Knobs, params.parse(Knobs, texts))
    except UnmuffleError as error:
        assert str(error)


@given(st.sampled_from(["floor_db", "order", "shape", "fast"]), st.text(max_size=12))
def test_parse_of_a_known_key_never_fails_in_an_unnamed_way(key, raw):
    try:
        params.build(Knobs, params.parse(Knobs, [f"{key}={raw}"]))
    except ParameterError as error:
        assert key in str(error)


@pytest.mark.parametrize("name", registry.names())
def test_every_method_survives_toml(name):
    try:
        made = registry.load(name)
    except MissingExtraError:
        pytest.skip(f"{name} needs an extra")
    assert registry.from_toml(made.to_toml()) == made
    assert registry.from_dict(made.to_dict()) == made
    assert hash(registry.from_toml(made.to_toml())) == hash(made)
    assert type(made).__doc__
    for field in params.parameters(type(made)).values():
        assert field.metadata["help"]


def test_compositions_survive_as_dictionaries():
    inner = Identity()
    for made in (Chain((inner, inner)), AtRate(inner, 8000, -6.0), PerChannel(inner), MidSide(Chain((inner,)))):
        assert registry.from_dict(made.to_dict()) == made
    assert registry.from_toml(Chain((inner, inner)).to_toml()) == Chain((inner, inner))


@given(st.text(max_size=60))
def test_toml_never_fails_in_an_unnamed_way(text):
    try:
        registry.from_toml(text)
    except UnmuffleError as error:
        assert str(error)


@pytest.mark.parametrize(
    "text",
    ["method = 3", 'method = "chain"\nstages = 3', 'method = "at-rate"', 'method = "chain"\nextra = 1', "x = ["],
)
def test_broken_toml_is_named(text):
    with pytest.raises(ParameterError):
        registry.from_toml(text)


def test_a_misspelt_method_is_recognised():
    with pytest.raises(UnknownMethodError, match="did you mean 'identity'"):
        registry.load("identiti")


def test_a_missing_extra_names_the_install_line(monkeypatch):
    entry = registry.Entry("unmuffle_no_such_package:Thing", "x", "test", extra="kalman")
    monkeypatch.setitem(registry.REGISTRY, "elsewhere", entry)
    with pytest.raises(MissingExtraError, match=r"pip install 'unmuffle\[kalman\]'"):
        registry.load("elsewhere")


def test_third_parties_may_add_and_may_not_shadow(monkeypatch):
    def points(name):
        return lambda group: [metadata.EntryPoint(name, f"{__name__}:Knobs", group)]

    for name in ("knobs", "identity"):
        registry._third_party.cache_clear()
        monkeypatch.setattr(metadata, "entry_points", points(name))
        if name == "knobs":
            assert registry.load("knobs", order=2) == Knobs(order=2)
            assert "knobs" in registry.names()
        else:
            with pytest.raises(ParameterError, match="one of ours"):
                registry.names()
    registry._third_party.cache_clear()


def test_heavy_parts_of_scipy_stay_out_of_memory():
    # scipy.signal is 50 MB; with it no Kalman filter would run on a ten-hour recording in 200 MB.
    code = """
import sys
import unmuffle.cli.main, unmuffle.engine.files
from unmuffle.enhancers import registry
from unmuffle.errors import MissingExtraError
for name in registry.names():
    if registry.entry(name).family in ("spectral", "kalman"):
        try:
            registry.load(name).stream(16000)
        except MissingExtraError:
            continue
        assert "scipy.signal" not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
