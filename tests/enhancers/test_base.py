"""The accounting of streams, proven with a dummy that only delays."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmuffle.enhancers.base import (
    UNBOUNDED,
    Enhancer,
    SpectralKernel,
    StepKernel,
    WholeKernel,
    run_offline,
)
from unmuffle.enhancers.compose import AtRate, Chain, Identity, MidSide, PerChannel
from unmuffle.enhancers.params import param
from unmuffle.errors import (
    DtypeError,
    NonFiniteError,
    ParameterError,
    SampleRateError,
    ShapeError,
    StreamError,
    UnboundedLatencyError,
)
from unmuffle.signal.stft import StftSpec


@dataclass(frozen=True)
class Delay(Enhancer):
    """Only delays, in steps: whatever the contract says about counting can be seen on it."""

    name: ClassVar[str] = "delay"
    samples: int = param(37, "delay", low=0)
    granularity: int = param(16, "samples of a step", low=1)

    def kernel(self, sample_rate, channels):
        return _Delay(channels, self.granularity, self.samples)


class _Delay(StepKernel):
    def init(self):
        return np.zeros((self.channels, self.latency_samples), np.float32)

    def step(self, x, state):
        assert x.shape[1] % self.granularity == 0
        assert x.shape[1] > 0
        joined = np.concatenate((state, x), axis=1)
        return joined[:, : x.shape[1]], joined[:, x.shape[1] :]


@dataclass(frozen=True)
class Frames(Enhancer):
    """The STFT left alone."""

    name: ClassVar[str] = "frames"

    def kernel(self, sample_rate, channels):
        return _Frames(StftSpec().at(sample_rate), channels)


class _Frames(SpectralKernel):
    def init_bins(self):
        return ()

    def step_bins(self, spectrum, state):
        return spectrum, state


@dataclass(frozen=True)
class Backwards(Enhancer):
    """Truly needs the future: a new signal with the last sample first, twice turned."""

    name: ClassVar[str] = "backwards"

    def kernel(self, sample_rate, channels):
        return _Backwards(channels)


class _Backwards(WholeKernel):
    def run(self, x):
        return x[:, ::-1].copy()[:, ::-1]


ALL = [
    Identity(),
    Delay(),
    Delay(0, 5),
    Delay(400, 160),
    Frames(),
    Backwards(),
    Chain(()),
    Chain((Delay(), Frames(), Delay(3, 7))),
    Chain((Delay(), Backwards(), Frames())),
    AtRate(Delay()),
    AtRate(Frames(), 8000),
    AtRate(Frames(), 48000),
    AtRate(Chain((Frames(), Delay())), 44100),
    PerChannel(Frames()),
    MidSide(Delay()),
]


@pytest.fixture
def signal(rng):
    return rng.uniform(-0.5, 0.5, (2, 3001)).astype(np.float32)


@pytest.mark.parametrize("enhancer", ALL, ids=lambda e: e.key())
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_what_only_delays_is_the_identity_offline(enhancer, rate, signal):
    # Two resamplers of -80 dB or the rounding of an STFT; all else is exact.
    np.testing.assert_allclose(run_offline(enhancer, signal, rate), signal, atol=1e-5)


@pytest.mark.parametrize("enhancer", ALL, ids=lambda e: e.key())
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_the_declared_latency_is_the_measured_one(enhancer, rate):
    stream = enhancer.stream(rate, 2)
    impulse = np.zeros((2, 2000), np.float32)
    impulse[:, 700] = 1.0
    out = np.concatenate((stream.process(impulse), stream.flush()), axis=1)
    latency = max(stream.latency_samples, 0)
    assert out.shape[1] == 2000 + latency
    assert (np.argmax(np.abs(out), axis=1) == 700 + latency).all()


@pytest.mark.parametrize("enhancer", ALL, ids=lambda e: e.key())
@given(cuts=st.lists(st.integers(0, 900), max_size=8))
@settings(max_examples=15, deadline=None)
def test_any_split_gives_the_same_bits(enhancer, cuts):
    x = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 1200)).astype(np.float32)
    whole = enhancer.stream(22050, 2)
    expected = np.concatenate((whole.process(x), whole.flush()), axis=1)
    split = enhancer.stream(22050, 2)
    edges = [0, *sorted(cuts), 1200]
    parts = [split.process(x[:, a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate((*parts, split.flush()), axis=1), expected)


BOUNDED = [e for e in ALL if e.stream(16000, 2).latency_samples != UNBOUNDED]


@pytest.mark.parametrize("enhancer", BOUNDED, ids=lambda e: e.key())
@pytest.mark.parametrize("size", [1, 48, 77, 160, 480, 511])
@pytest.mark.parametrize("fixed", [True, False])
def test_process_block_is_process_later(enhancer, size, fixed, rng):
    x = rng.uniform(-0.5, 0.5, (2, 2000)).astype(np.float32)
    a = enhancer.stream(44100, 2)
    expected = np.concatenate((a.process(x), a.flush()), axis=1)
    b = enhancer.stream(44100, 2, block_size=size if fixed else None)
    n = 2000 // size * size
    parts = [b.process_block(x[:, i : i + size]) for i in range(0, n, size)]
    assert all(p.shape[1] == size for p in parts)
    extra = b.block_latency_samples - b.latency_samples
    out = np.concatenate((*parts, b.flush()), axis=1)
    assert out.shape[1] == n + b.block_latency_samples
    assert not out[:, :extra].any()
    keep = n - a.latency_samples  # beyond that the shorter signal has ended
    np.testing.assert_array_equal(out[:, extra : extra + keep], expected[:, :keep])


def test_blocks_that_fit_the_step_wait_for_nothing():
    assert Frames().stream(16000, block_size=160).block_latency_samples == 160
    assert Frames().stream(16000, block_size=480).block_latency_samples == 160
    assert Frames().stream(16000, block_size=128).block_latency_samples == 160 + 160 - 32
    assert Frames().stream(16000).block_latency_samples == 160 + 159


def test_blocks_of_changing_size_never_run_dry(rng):
    stream = Frames().stream(16000)
    for n in rng.integers(0, 700, 300):
        assert stream.process_block(np.zeros(n, np.float32)).shape == (n,)


@pytest.mark.parametrize("enhancer", ALL, ids=lambda e: e.key())
def test_a_second_file_equals_the_first(enhancer, signal):
    stream = enhancer.stream(16000, 2)
    first = np.concatenate((stream.process(signal), stream.flush()), axis=1)
    second = np.concatenate((stream.process(signal), stream.flush()), axis=1)
    stream.process(signal[:, :777])
    stream.reset()
    third = np.concatenate((stream.process(signal), stream.flush()), axis=1)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


@pytest.mark.parametrize("enhancer", ALL, ids=lambda e: e.key())
def test_state_can_be_put_back_on_another_stream(enhancer, signal):
    one, other = enhancer.stream(22050, 2), enhancer.stream(22050, 2)
    one.process(signal[:, :999])
    state = one.state()
    rest = np.concatenate((one.process(signal[:, 999:]), one.flush()), axis=1)
    for _ in range(2):  # the state is a copy: it can be used twice
        other.restore(state)
        again = np.concatenate((other.process(signal[:, 999:]), other.flush()), axis=1)
        np.testing.assert_array_equal(again, rest)


def test_foreign_state_is_refused():
    state = Delay().stream(16000).state()
    for stream in (Delay(5).stream(16000), Delay().stream(8000), Delay().stream(16000, 2)):
        with pytest.raises(StreamError, match="another"):
            stream.restore(state)
    with pytest.raises(StreamError):
        Delay().stream(16000).restore({})


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (np.zeros(10, np.int16), DtypeError),
        (np.zeros((10, 2), np.float32), ShapeError),
        (np.zeros((2, 2, 2), np.float32), ShapeError),
        (np.full((2, 10), np.nan, np.float32), NonFiniteError),
        (None, DtypeError),
    ],
)
@pytest.mark.parametrize("method", ["process", "process_block"])
def test_after_bad_input_the_stream_goes_on(block, error, method, signal):
    clean, disturbed = Frames().stream(16000, 2), Frames().stream(16000, 2)
    expected = [getattr(clean, method)(signal[:, :500]), getattr(clean, method)(signal[:, 500:])]
    got = [getattr(disturbed, method)(signal[:, :500])]
    with pytest.raises(error):
        getattr(disturbed, method)(block)
    got.append(getattr(disturbed, method)(signal[:, 500:]))
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_dimension_in_one_dimension_out():
    stream = Frames().stream(16000)
    assert stream.process(np.zeros(400, np.float32)).shape == (320,)
    assert stream.flush().shape == (240,)
    assert stream.process(np.zeros((1, 400), np.float32)).shape == (1, 320)
    assert stream.flush().shape == (1, 240)
    assert run_offline(Frames(), np.zeros(0, np.float32), 16000).shape == (0,)
    assert run_offline(Frames(), np.zeros((3, 0), np.float32), 16000).shape == (3, 0)


def test_what_comes_back_belongs_to_the_caller(signal):
    stream = Delay().stream(16000, 2)
    kept = signal.copy()
    first = stream.process(signal)
    first[:] = 9.0
    np.testing.assert_array_equal(signal, kept)
    assert np.abs(stream.process(signal)).max() <= 0.5
    copied = Identity().stream(16000, 2)
    copied.process(signal)[:] = 9.0
    np.testing.assert_array_equal(signal, kept)


@dataclass(frozen=True)
class Mute(Enhancer):
    """Takes everything away, five samples late: the strongest effect there can be."""

    name: ClassVar[str] = "mute"

    def kernel(self, sample_rate, channels):
        return _Mute(channels, 8, 5)


class _Mute(StepKernel):
    def init(self):
        return ()

    def step(self, x, state):
        return np.zeros_like(x), state


@pytest.mark.parametrize("db", [0.0, 3.0, 6.0, 12.0, 40.0])
def test_strength_limits_the_attenuation(db, signal):
    out = run_offline(Mute(), signal, 16000, strength_db=db)
    np.testing.assert_allclose(out, signal * 10 ** (-db / 20), rtol=1e-6)


def test_no_strength_is_the_delayed_input_bit_for_bit(signal):
    np.testing.assert_array_equal(run_offline(Frames(), signal, 16000, strength_db=0.0), signal)


def test_bypass_keeps_the_latency_and_does_not_click():
    stream = Mute().stream(16000)
    ones = np.ones(1600, np.float32)
    wet = stream.process(ones)
    stream.bypass = True
    assert stream.bypass
    dry = stream.process(ones)
    stream.bypass = False
    back = stream.process(ones)
    assert not wet.any()
    assert dry[-1] == 1.0
    assert back[-1] == 0.0
    # A full swing in 20 ms is a step of 1/320 a sample at 16 kHz.
    assert np.abs(np.diff(np.concatenate((wet, dry, back)))).max() <= 1 / 320 + 1e-6
    assert stream.latency_samples == 5
    stream.bypass = True
    x = np.arange(3200, dtype=np.float32) / 3200
    out = np.concatenate((stream.process(x), stream.flush()))
    np.testing.assert_array_equal(out[805:3205], x[800:])  # settled, and late by the declared 5 samples


@pytest.mark.parametrize("db", [-1.0, float("nan"), -float("inf")])
def test_a_strength_that_cannot_be_is_refused(db):
    with pytest.raises(ParameterError, match="strength"):
        Mute().stream(16000).set_strength(db)


def test_the_two_ways_of_feeding_are_not_mixed(signal):
    stream = Delay().stream(16000, 2)
    stream.process(signal)
    with pytest.raises(StreamError, match="reset"):
        stream.process_block(signal)
    stream.reset()
    stream.process_block(signal)
    with pytest.raises(StreamError, match="reset"):
        stream.process(signal)


def test_an_unbounded_method_is_refused_block_by_block(signal):
    stream = Backwards().stream(16000, 2)
    assert stream.latency_ms == np.inf
    with pytest.raises(UnboundedLatencyError, match="whole signal"):
        stream.process_block(signal)
    with pytest.raises(ParameterError, match="whole signal"):
        AtRate(Backwards()).stream(48000)


def test_a_fixed_block_size_is_kept():
    stream = Delay().stream(16000, block_size=160)
    with pytest.raises(ShapeError, match="160"):
        stream.process_block(np.zeros(80, np.float32))


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"sample_rate": 4000}, SampleRateError),
        ({"sample_rate": 16000, "channels": 0}, ShapeError),
        ({"sample_rate": 16000, "channels": 65}, ShapeError),
        ({"sample_rate": 16000, "block_size": 0}, ParameterError),
        ({"sample_rate": 16000, "block_size": 1.5}, ParameterError),
        ({"sample_rate": 16000, "usual_size": 0}, ParameterError),
        ({"sample_rate": 16000, "usual_size": "20ms"}, ParameterError),
        ({"sample_rate": 16000, "block_size": 160, "usual_size": 160}, ParameterError),
    ],
)
def test_streams_that_cannot_be_are_refused(kwargs, error):
    with pytest.raises(error):
        Delay().stream(**kwargs)


def test_mid_side_needs_two_channels():
    with pytest.raises(ShapeError, match="2 channels"):
        MidSide(Delay()).stream(16000, 1)


def test_a_chain_adds_latencies():
    chain = Chain((Delay(3), Frames(), Delay(4)))
    assert chain.stream(16000).latency_samples == 3 + 160 + 4
    with pytest.raises(ParameterError, match="made of enhancers"):
        Chain(("log-mmse",))
