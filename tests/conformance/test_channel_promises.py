"""Methods that turn several channels into fewer, against the promises: whatever the channels hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from signals import lag, level_db, speech

from unmuffle.enhancers import registry
from unmuffle.enhancers.base import UNBOUNDED, run_offline
from unmuffle.errors import MissingExtraError, NonFiniteError, ShapeError

# Methods that need several channels, and those that make use of them.
NAMES = [n for n in registry.names() if registry.entry(n).channels > 1 or registry.entry(n).family == "spatial"]
COUNTS = {"spatial": 4}
RATES = [8000, 16000, 44100]


@pytest.fixture
def enhancer(name):
    try:
        return registry.load(name)
    except MissingExtraError as error:
        pytest.skip(str(error))


def channels(name):
    entry = registry.entry(name)
    return max(entry.channels, COUNTS.get(entry.family, 1))


def sound(name, rate=16000, seconds=1.2):
    """Speech that reaches one microphone after another, softer each time, and noise of each one's own."""
    x = speech(rate, seconds)
    rng = np.random.default_rng(3)
    rows = [0.8**i * np.roll(x, 2 * i) + 1e-3 * rng.standard_normal(x.size) for i in range(channels(name))]
    return np.stack(rows).astype(np.float32)


def whole(stream, x):
    return np.concatenate((stream.process(x), stream.flush()), axis=1)


def standing(stream, x):
    """The input channels that the output stands in for."""
    return stream.dry(x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [77, 160, 4096])
def test_any_split_gives_the_same_samples(name, enhancer, size):
    x = sound(name)[:, 4000:13000]
    stream = enhancer.stream(16000, x.shape[0])
    expected = whole(stream, x)
    assert expected.shape == (stream.channels_out, x.shape[1] + max(stream.latency_samples, 0))
    parts = [stream.process(x[:, i : i + size]) for i in range(0, x.shape[1], size)]
    out = np.concatenate((*parts, stream.flush()), axis=1)
    assert np.abs(out - expected).max() <= (1e-5 if "mask" in name or "neural" in name or name == "meeting" else 0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", RATES)
def test_length_is_kept(name, enhancer, rate):
    x = sound(name, rate)
    for n in (0, 1, rate // 100 - 1, 997):
        stream = enhancer.stream(rate, x.shape[0])
        assert run_offline(enhancer, x[:, :n], rate).shape == (stream.channels_out, n)


@pytest.mark.parametrize("name", [n for n in NAMES if registry.entry(n).causal])
def test_declared_latency_is_the_measured_one(name, enhancer):
    x = sound(name)
    if registry.entry(name).family == "echo":
        x[-1] = np.random.default_rng(0).standard_normal(x.shape[1]) * 0.1  # a reference of which nothing is heard
    stream = enhancer.stream(16000, x.shape[0])
    out = whole(stream, x)
    # A beam that learns may choose the first path or another: all of them lie within 8 samples here.
    assert abs(lag(standing(stream, x)[0], out[0]) - stream.latency_samples) <= 8


@pytest.mark.parametrize("name", NAMES)
def test_state_moves_and_a_second_file_equals_the_first(name, enhancer):
    x = sound(name)[:, :9000]
    stream, other = enhancer.stream(16000, x.shape[0]), enhancer.stream(16000, x.shape[0])
    first = whole(stream, x)
    np.testing.assert_array_equal(whole(stream, x), first)
    stream.process(x[:, :5001])
    other.restore(stream.state())
    np.testing.assert_array_equal(whole(other, x[:, 5001:]), whole(stream, x[:, 5001:]))


def spoiled(x):
    rng = np.random.default_rng(5)
    n = x.shape[1]
    one = lambda row: np.concatenate((x[:-1], row[None].astype(np.float32)))  # noqa: E731
    yield "silence", np.zeros_like(x)
    yield "constant", np.full_like(x, 0.5)
    yield "identical channels", np.repeat(x[:1], x.shape[0], axis=0)
    yield "a dead channel", one(np.zeros(n))
    yield "all but one dead", np.concatenate((x[:1], np.zeros_like(x[1:])))
    yield "opposite polarity", one(-x[-1])
    yield "a second late", one(np.roll(x[-1], 16000 % n))
    yield "one a million times softer", one(1e-6 * x[-1])
    yield "beyond full scale", 30 * np.sign(x)
    yield "denormals", np.full_like(x, 1e-40)
    yield "noise, then silence", np.concatenate((0.3 * rng.standard_normal((x.shape[0], n // 2)), np.zeros((x.shape[0], n - n // 2))), axis=1).astype(np.float32)
    yield "impulses", np.repeat(np.eye(1, n, n // 2, dtype=np.float32), x.shape[0], axis=0)


@pytest.mark.parametrize("name", NAMES)
def test_spoiled_channels_give_finite_output(name, enhancer):
    x = sound(name)[:, :8000]
    for case, bad in spoiled(x):
        out = run_offline(enhancer, bad, 16000)  # warnings are errors in this suite
        assert np.isfinite(out).all(), case
        if case in ("silence", "denormals"):
            assert np.abs(out).max() <= 1e-6, case
        # Nothing of bounded input may become much louder than what went in.
        assert np.abs(out).max() <= 10.0 * np.abs(bad).max() + 1e-6, case


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_one_channel_is_named_and_forgotten(name, enhancer):
    x = sound(name)[:, :8000]
    stream = enhancer.stream(16000, x.shape[0])
    expected = whole(stream, x)
    bad = x[:, :100].copy()
    bad[1, 50] = np.nan
    parts = [stream.process(x[:, :5000])]
    with pytest.raises(NonFiniteError, match="sample 50"):
        stream.process(bad)
    with pytest.raises(ShapeError):
        stream.process(x[:1, :100])
    parts += [stream.process(x[:, 5000:]), stream.flush()]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_strength_is_the_channel_that_the_output_stands_in_for(name, enhancer):
    x = sound(name)[:, :8000]
    stream = enhancer.stream(16000, x.shape[0])
    np.testing.assert_array_equal(run_offline(enhancer, x, 16000, strength_db=0.0), standing(stream, x))
    full = run_offline(enhancer, x, 16000)
    share = 10 ** (-12 / 20)
    half = run_offline(enhancer, x, 16000, strength_db=12.0)
    np.testing.assert_allclose(half, full + share * (standing(stream, x) - full), atol=2e-6)


@pytest.mark.parametrize("name", [n for n in NAMES if registry.entry(n).scales])
def test_louder_in_is_louder_out(name, enhancer):
    x = sound(name)
    reference = level_db(run_offline(enhancer, x, 16000))
    for db in (-30.0, 10.0):
        louder = level_db(run_offline(enhancer, (x * 10 ** (db / 20)).astype(np.float32), 16000))
        assert louder - reference == pytest.approx(db, abs=1.0)


# A matrix of 64 x 64 in each of up to a thousand bins: where they are inverted, that takes its time.
QUICK = ("delay-and-sum", "gsc", "echo-canceller", "phone")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES])
def test_sixty_four_channels_are_used_or_refused_by_name(name, enhancer):
    x = np.random.default_rng(1).standard_normal((64, 1600)).astype(np.float32) * 0.01
    try:
        out = run_offline(enhancer, x, 16000)
    except ShapeError as error:
        assert "64" in str(error)
    else:
        assert np.isfinite(out).all()


@pytest.mark.parametrize("name", [n for n in NAMES if registry.entry(n).channels > 1])
def test_too_few_channels_are_refused_by_name(name, enhancer):
    for count in range(1, registry.entry(name).channels):
        with pytest.raises(ShapeError, match=str(count)):
            enhancer.stream(16000, count)


@pytest.mark.parametrize("name", NAMES)
def test_the_callers_array_is_not_changed(name, enhancer):
    x = sound(name)[:, :6000]
    kept = x.copy()
    stream = enhancer.stream(16000, x.shape[0])
    out = stream.process(x)
    np.testing.assert_array_equal(x, kept)
    out[:] = 7.0
    again = enhancer.stream(16000, x.shape[0])
    again.process(kept)
    np.testing.assert_array_equal(stream.process(kept), again.process(kept))


def test_latencies_are_bounded_where_they_are_said_to_be():
    for name, rate in itertools.product(NAMES, RATES):
        entry = registry.entry(name)
        stream = registry.load(name).stream(rate, channels(name))
        assert (stream.latency_samples == UNBOUNDED) == (not entry.causal)
