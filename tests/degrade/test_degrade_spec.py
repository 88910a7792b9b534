"""The language of specs: what it says, what it refuses, and that no text breaks it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmuffle.degrade import (
    BandLimit,
    Clip,
    Codec,
    DcOffset,
    Hum,
    LevelChange,
    MeasuredRoom,
    Noise,
    PacketLoss,
    SimulatedRoom,
    Spec,
)
from unmuffle.degrade.spec import _KEYS, _MAKERS, Material, Range, Step, Words, _Key
from unmuffle.errors import ParameterError

MATERIAL = Material(
    ("n/rain__1.wav", "n/wind__2.wav", "n/rain__3.wav"), ("r/hall.wav",), ("v/a.wav", "v/b.wav")
)


def draw_one(text: str, seed: int = 0) -> object:
    return Spec.parse(text).draw(np.random.default_rng(seed), MATERIAL).steps[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noise:snr=5,color=white", Noise(snr_db=5.0, color="white")),
        ("noise:level=-30,color=pink", Noise(snr_db=None, level_dbfs=-30.0)),
        ("clip", Clip()),
        ("clip:sdr=7, shape=soft", Clip(sdr_db=7.0, shape="soft")),
        ("clip:threshold=-12", Clip(sdr_db=None, threshold_dbfs=-12.0)),
        ("codec:name=mp3,bitrate=16", Codec("mp3", 16.0)),
        ("loss:rate=.8", PacketLoss(0.8, 1 / (1 - 0.8))),
        ("loss:rate=0.1,burst=3,fill=repeat", PacketLoss(0.1, 3.0, fill="repeat")),
        ("band:name=telephone", BandLimit(300.0, 3400.0)),
        ("band:low=100", BandLimit(100.0, 96e3)),
        ("band", BandLimit()),
        ("hum:hz=60,level=-40", Hum(60.0, None, -40.0)),
        ("room:t60=0.5,target=early", SimulatedRoom(0.5, target="early")),
        ("rir", MeasuredRoom("r/hall.wav")),
        ("gain:shape=fixed,range=-6", LevelChange("fixed", -6.0)),
        ("dc:offset=1e-2", DcOffset(0.01)),
    ],
)
def test_text_becomes_damage(text: str, expected: object) -> None:
    assert draw_one(text) == expected


def test_ranges_fill_their_interval() -> None:
    drawn = [draw_one("noise:snr=-5..15,color=pink", seed).snr_db for seed in range(400)]  # type: ignore[attr-defined]
    assert -5 <= min(drawn) < -4
    assert 14 < max(drawn) <= 15
    assert np.mean(drawn) == pytest.approx(5.0, abs=5 * 20 / np.sqrt(12 * 400))


def test_counts_include_both_ends_and_files_differ() -> None:
    counts = set()
    for seed in range(60):
        files = draw_one("noise:count=1..3", seed).files  # type: ignore[attr-defined]
        assert len(set(files)) == len(files)
        counts.add(len(files))
    assert counts == {1, 2, 3}


def test_words_are_all_drawn() -> None:
    drawn = {draw_one("codec:name=opus|mp3|aac,bitrate=16", seed).name for seed in range(60)}  # type: ignore[attr-defined]
    assert drawn == {"opus", "mp3", "aac"}


def test_class_filters_the_recordings() -> None:
    files = {f for seed in range(40) for f in draw_one("noise:class=rain", seed).files}  # type: ignore[attr-defined]
    assert files == {"n/rain__1.wav", "n/rain__3.wav"}
    with pytest.raises(ParameterError, match="there are rain, wind"):
        draw_one("noise:class=music")


def test_same_seed_same_damage() -> None:
    spec = Spec.parse("room:t60=0.2..0.6; noise:snr=-5..15,count=1..2; babble:talkers=1..3")
    first, second = (spec.draw(np.random.default_rng(4), MATERIAL) for _ in range(2))
    assert first == second
    assert first != spec.draw(np.random.default_rng(5), MATERIAL)


def test_a_list_is_joined() -> None:
    assert Spec.parse(["clip:sdr=5", "hum"]) == Spec.parse("clip:sdr=5;hum;")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" ; ;", "empty"),
        ("nois:snr=5", "kinds: noise, babble, room"),
        ("noise:snrr=5", "choose from snr, level, count"),
        ("noise:snr", "has no value"),
        ("noise:snr=", "has no value"),
        ("noise:", "no key ''"),
        ("noise:snr=5,", "no key ''"),
        ("noise:snr=5,snr=6", "twice"),
        ("noise:snr=15..-5", r"write -5\.\.15"),
        ("noise:snr=five", "a number or a range"),
        ("noise:snr=nan", "a number or a range"),
        ("noise:snr=1e999", "must lie in"),
        ("noise:snr=500", "must lie in"),
        ("noise:snr=1..2..3", "a number or a range"),
        ("noise:count=1.5", "whole number"),
        ("noise:count=4", "must lie in 1..3"),
        ("noise:color=blue", "choose from white, pink, brown, speech"),
        ("noise:snr=1,level=-3", "exclude each other"),
        ("noise:class=rain|", "words"),
        ("clip:sdr=5,threshold=-3", "exclude each other"),
        ("codec:name=g729", "choose from opus, mp3"),
        ("room:t60=9", "must lie in 0.1..2"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        Spec.parse(text)


@pytest.mark.parametrize("text", ["noise:snr=5", "rir", "babble"])
def test_missing_material_is_said(text: str) -> None:
    with pytest.raises(ParameterError, match="need"):
        Spec.parse(text).draw(np.random.default_rng(0))


def test_every_kind_can_be_drawn_from_the_middle_of_its_keys() -> None:
    assert set(_KEYS) == set(_MAKERS)
    for kind in _KEYS:
        Spec.parse(kind).draw(np.random.default_rng(0), MATERIAL)


def check_text(text: str) -> None:
    """A spec that its canonical form gives again, or nothing but a ParameterError."""
    try:
        spec = Spec.parse(text)
    except ParameterError:
        return
    assert Spec.parse(str(spec)) == spec


@given(st.text(max_size=60))
def test_any_text_is_a_spec_or_a_parameter_error(text: str) -> None:
    check_text(text)


SIGNS = [*":=,;|-+1 ", "..", ".5", "e9", "nan", "inf", "١", "telephone", "opus", "hard"]
KEYS = sorted({key for keys in _KEYS.values() for key in keys})
fragments = st.sampled_from([*_KEYS, *KEYS, *SIGNS])


@given(st.lists(fragments, max_size=14).map("".join))
def test_near_misses_too(text: str) -> None:
    check_text(text)


def values_of(key: _Key) -> st.SearchStrategy[Range | Words]:
    if key.words is not None:
        word = st.sampled_from(key.words or ("rain", "a-b", "x_1", "0.5"))
        return st.lists(word, min_size=1, max_size=3).map(lambda w: Words(tuple(w)))
    low, high = max(key.low, -1e6), min(key.high, 1e6)
    number = st.integers(int(low), int(high)).map(float) if key.whole else st.floats(low, high)
    return st.tuples(number, number).map(lambda pair: Range(min(pair), max(pair)))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(sorted(_KEYS)))
    keys = _KEYS[kind]
    first = {"noise": ["snr", "count"], "clip": ["sdr", "shape"], "band": ["name"], "hum": ["hz", "snr"]}
    usable = first.get(kind, [k for k in keys if k != "level"])
    chosen = draw(st.lists(st.sampled_from(usable), unique=True))
    return Step(kind, {key: draw(values_of(keys[key])) for key in chosen})


@given(st.lists(steps(), min_size=1, max_size=4))
def test_canonical_form_round_trips(parts: list[Step]) -> None:
    spec = Spec(tuple(parts))
    assert Spec.parse(str(spec)) == spec
