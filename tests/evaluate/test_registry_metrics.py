"""The table of metrics is honest, and any input gives a number or a named error."""

from __future__ import annotations

import importlib.util
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from voices import noise_at, voice

from unmuffle.errors import (
    DtypeError,
    NonFiniteError,
    ParameterError,
    SampleRateError,
    ShapeError,
    UnmuffleError,
)
from unmuffle.evaluate import registry
from unmuffle.evaluate.registry import DEFAULT, METRICS, score, select

PACKAGES = {"pesq": "pesq", "metrics": "pystoi", "dnsmos": "speechmos"}
# only what is installed can be tried; `test_extras_are_known` holds the table itself
NAMES = [n for n, m in METRICS.items() if m.extra is None or importlib.util.find_spec(PACKAGES[m.extra])]
FAST = [n for n in NAMES if not n.startswith("dnsmos")]


@pytest.fixture(scope="module")
def pair():
    clean = np.concatenate([voice(seconds=2.0), np.zeros(8000)])
    return clean, noise_at(clean, 5)


@pytest.mark.parametrize("name", [n for n in NAMES if n in FAST or n == "dnsmos_ovrl"])
def test_scores_lie_in_the_stated_range_and_repeat(name, pair):
    clean, noisy = pair
    metric = METRICS[name]
    before = clean.copy(), noisy.copy()
    first = metric(0.8 * noisy, 16000, reference=clean, noisy=noisy)
    assert metric.range[0] <= first <= metric.range[1]
    assert metric(0.8 * noisy, 16000, reference=clean, noisy=noisy) == pytest.approx(first, abs=1e-9)
    assert np.array_equal(clean, before[0])
    assert np.array_equal(noisy, before[1])


@pytest.mark.parametrize("name", [n for n in FAST if METRICS[n].higher_is_better is not None])
def test_the_stated_direction_is_the_true_one(name):
    clean = np.concatenate([voice(seconds=3.0), np.zeros(8000)])
    noisy = noise_at(clean, 0)
    if name == "srmr":
        tail = np.random.default_rng(0).standard_normal(16000) * np.exp(-np.arange(16000) / 2500)
        good, bad = clean, np.convolve(clean, tail)[: clean.size]
    elif name == "clipping":
        good, bad = clean, np.clip(clean, -0.1, 0.1)
    elif name == "speech_loss":
        good, bad = clean, 0.3 * clean
    elif name in {"csig", "cbak", "covl"}:  # noise in digital pauses puts these at their floor of 1
        good, bad = clean, noisy
    else:
        good, bad = noise_at(clean, 20), noisy
    a, b = (METRICS[name](x, 16000, reference=clean, noisy=noisy) for x in (good, bad))
    assert (a > b) == METRICS[name].higher_is_better


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bad", "rate", "error"),
    [
        (np.ones(16000, np.int16), 16000, DtypeError),
        (np.ones((2, 16000)), 16000, ShapeError),
        (np.ones((1, 1, 9)), 16000, ShapeError),
        (np.zeros(0), 16000, ShapeError),
        (np.full(16000, np.nan), 16000, NonFiniteError),
        (np.full(16000, -np.inf), 16000, NonFiniteError),
        (np.ones(16000), 4000, SampleRateError),
        (np.ones(16000), 400000, SampleRateError),
        (np.full(16000, 30000.0), 16000, UnmuffleError),
    ],
)
def test_bad_input_has_the_same_named_error_everywhere(name, bad, rate, error):
    good = np.asarray(np.random.default_rng(0).standard_normal(16000))
    with pytest.raises(error):
        METRICS[name](bad, rate, reference=good, noisy=good)


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
tame = st.floats(-1.0, 1.0, width=32)


@pytest.mark.parametrize("name", FAST)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_finite_array_gives_a_float_or_a_named_error(name, data):
    rate = data.draw(st.sampled_from([8000, 11025, 16000, 48000, 192000]))
    length = data.draw(st.integers(0, 6) | st.integers(7, 9000))

    def draw():
        if length <= 40 or data.draw(st.booleans()):
            size = min(length, 40)
            return np.resize(data.draw(hnp.arrays(np.float64, size, elements=finite | tame)), length)
        kind = data.draw(st.sampled_from(["noise", "silence", "dc", "impulse", "tiny", "square", "step"]))
        x = np.zeros(length)
        if kind == "noise":
            x = np.random.default_rng(data.draw(st.integers(0, 9))).standard_normal(length)
        elif kind == "dc":
            x += data.draw(tame)
        elif kind == "impulse":
            x[data.draw(st.integers(0, length - 1))] = 1.0
        elif kind == "tiny":
            x = 1e-300 * np.ones(length)
        elif kind == "square":
            x = np.sign(np.sin(np.arange(length) / 3.0))
        elif kind == "step":
            x[length // 2 :] = 1.0
        return x

    reference, noisy, degraded = draw(), draw(), draw()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            value = METRICS[name](degraded, rate, reference=reference, noisy=noisy)
        except UnmuffleError:
            return
    assert isinstance(value, float)
    low, high = METRICS[name].range
    assert math.isnan(value) or low <= value <= high
    if math.isnan(value):
        assert name in {"noise_floor", "musical_noise"}  # the two whose docstrings say so


@pytest.mark.parametrize("x", [np.ones(20000), np.eye(1, 20000, 9000)[0], 1e-8 * np.ones(20000)])
def test_dnsmos_answers_odd_signals(x):
    pytest.importorskip("speechmos")
    assert 0.0 < METRICS["dnsmos_ovrl"](x, 16000) < 6.0


def test_extras_are_known():
    assert {m.extra for m in METRICS.values()} == {None, *PACKAGES}


def test_score_calls_a_shared_function_once(pair):
    pytest.importorskip("pesq")
    calls = []
    original = METRICS["csig"].function

    def counted(*arguments):
        calls.append(1)
        return original(*arguments)

    import dataclasses

    metrics = [dataclasses.replace(METRICS[n], function=counted) for n in ("csig", "cbak", "covl")]
    values, problems = score(metrics, pair[1], 16000, reference=pair[0])
    assert len(calls) == 1
    assert list(values) == ["csig", "cbak", "covl"]
    assert problems == {}


def test_score_reports_what_could_not_be_answered(pair):
    values, problems = score(select(["snr", "srmr", "delta_snr"]), pair[1], 16000, reference=pair[0] * 0)
    assert math.isnan(values["snr"])
    assert "silent" in problems["snr"]
    assert "no noisy signal" in problems["delta_snr"]
    assert values["srmr"] > 0


def test_selection():
    assert [m.name for m in select()] == list(DEFAULT)
    assert [m.name for m in select(["snr", "snr", "stoi"])] == ["snr", "stoi"]
    assert len(select(["all"])) == len(METRICS)
    with pytest.raises(ParameterError, match="pesq_wb"):
        select(["pesk"])
    with pytest.raises(ParameterError, match="at least one"):
        select([])
    with pytest.raises(ParameterError, match="reference"):
        METRICS["snr"](np.ones(9), 16000)


def test_every_metric_states_its_source():
    for metric in METRICS.values():
        module = __import__(metric.function.__module__, fromlist=["_"])
        assert metric.name == next(k for k, v in registry.METRICS.items() if v is metric)
        assert len(module.__doc__) > 400
        assert metric.function.__doc__
