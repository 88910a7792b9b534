"""Every registered enhancer against every promise of the design (numbers are the promises' there).

Methods that need several channels are in ``test_channels.py``.
"""

from __future__ import annotations

import gc
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signals import DAMAGE, bundled, lag, level_db, si_sdr, speech

from unmuffle.enhancers import registry
from unmuffle.enhancers.base import UNBOUNDED, run_offline
from unmuffle.errors import DtypeError, MissingExtraError, NonFiniteError, ShapeError

RATES = [8000, 16000, 22050, 44100, 48000]


def every(condition=lambda entry: True):
    entries = {name: registry.entry(name) for name in registry.names()}
    return [name for name, entry in entries.items() if entry.channels == 1 and condition(entry)]


@pytest.fixture
def enhancer(name):
    try:
        return registry.load(name)
    except MissingExtraError as error:
        pytest.skip(str(error))


def whole(stream, x):
    return np.concatenate((stream.process(x), stream.flush()), axis=-1)


def tolerance(name):
    # Graphs of networks add in an order that depends on the number of frames; numpy code does not.
    return 1e-5 if registry.entry(name).family == "neural" else 0.0


# -- 1. split invariance ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", every())
@pytest.mark.parametrize("size", [1, 77, 160, 511, 4096])
def test_1_any_split_gives_the_same_samples(name, enhancer, size):
    # One sample at a time costs a Python call a sample: a shorter signal there.
    x = speech(16000, 1.2)[6000 : 6000 + (1600 if size == 1 else 9000)]
    stream = enhancer.stream(16000)
    expected = whole(stream, x)
    parts = [stream.process(x[i : i + size]) for i in range(0, len(x), size)]
    out = np.concatenate((*parts, stream.flush()))
    assert np.abs(out - expected).max() <= tolerance(name)
    assert len(out) == len(x) + max(stream.latency_samples, 0)


@pytest.mark.parametrize("name", every())
@given(cuts=st.lists(st.integers(0, 6000), max_size=12))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_1_random_splits_in_stereo_at_another_rate(name, enhancer, cuts):
    x = np.stack([speech(22050, 1.2)[8000:14000], speech(22050, 1.2, "clean")[6000:12000]])
    stream = enhancer.stream(22050, 2)
    expected = whole(stream, x)
    edges = [0, *sorted(cuts), x.shape[1]]
    parts = [stream.process(x[:, a:b]) for a, b in itertools.pairwise(edges)]
    out = np.concatenate((*parts, stream.flush()), axis=1)
    assert np.abs(out - expected).max() <= tolerance(name)


# -- 2. length and alignment -----------------------------------------------------------------------


@pytest.mark.parametrize("name", every())
@pytest.mark.parametrize("rate", RATES)
def test_2_length_is_kept(name, enhancer, rate):
    hop = rate // 100
    for n in (0, 1, hop - 1, hop, hop + 1, 997, 2503):
        x = speech(rate, 1.2)[-n:] if n else speech(rate, 1.2)[:0]
        assert run_offline(enhancer, x, rate).shape == x.shape


@pytest.mark.parametrize("name", every())
@pytest.mark.parametrize("rate", RATES)
def test_2_output_is_aligned_with_input(name, enhancer, rate):
    x = speech(rate, 1.2, "clean")
    # A minimum-phase high-pass may move the peak of the correlation by a fraction of a pitch
    # period's shape; a tenth of a millisecond is allowed, a hop would be a hundred times that.
    assert abs(lag(x, run_offline(enhancer, x, rate))) <= max(1, rate // 10000)


# -- 3. latency ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every(lambda e: e.causal))
@pytest.mark.parametrize("rate", RATES)
def test_3_declared_latency_is_the_measured_one(name, enhancer, rate):
    x = speech(rate, 1.2, "clean")
    stream = enhancer.stream(rate)
    assert stream.latency_samples >= 0
    assert stream.latency_ms == pytest.approx(1000 * stream.latency_samples / rate)
    assert abs(lag(x, whole(stream, x)) - stream.latency_samples) <= max(1, rate // 10000)


@pytest.mark.parametrize("name", every(lambda e: not e.causal))
def test_3_unbounded_latency_is_declared(name, enhancer):
    assert enhancer.stream(16000).latency_samples == UNBOUNDED


# -- 4. no memory of other files, no influence of other streams -------------------------------------


@pytest.mark.parametrize("name", every())
def test_4_a_second_file_equals_the_first(name, enhancer):
    x = speech(16000, 0.9)
    stream = enhancer.stream(16000)
    first = whole(stream, x)
    other = enhancer.stream(16000)
    other.process(x[::-1].copy())
    np.testing.assert_array_equal(whole(stream, x), first)
    stream.process(x[:4000])
    stream.reset()
    np.testing.assert_array_equal(whole(stream, x), first)
    np.testing.assert_array_equal(whole(registry.load(name).stream(16000), x), first)


@pytest.mark.parametrize("name", every())
def test_4_state_can_be_taken_and_put_back(name, enhancer):
    x = speech(16000, 0.9)
    stream, other = enhancer.stream(16000), enhancer.stream(16000)
    stream.process(x[:9001])
    other.restore(stream.state())
    expected = np.concatenate((stream.process(x[9001:]), stream.flush()))
    np.testing.assert_array_equal(np.concatenate((other.process(x[9001:]), other.flush())), expected)


# -- 5. hostile signals ----------------------------------------------------------------------------


def hostile(n):
    rng = np.random.default_rng(5)
    square = np.sign(np.sin(2 * np.pi * 100 * np.arange(n) / 16000))
    return {
        "silence": np.zeros(n),
        "constant": np.full(n, 0.5),
        "full scale": square,
        "beyond full scale": 30 * square,
        "denormals": np.full(n, 1e-40),
        "tiny noise": 1e-7 * rng.standard_normal(n),
        "one impulse": np.eye(1, n, n // 2)[0],
        "silence, then noise": np.concatenate((np.zeros(n // 2), 0.3 * rng.standard_normal(n - n // 2))),
        "noise, then silence": np.concatenate((0.3 * rng.standard_normal(n // 2), np.zeros(n - n // 2))),
        "pure tone": np.sin(2 * np.pi * 440 * np.arange(n) / 16000),
    }


@pytest.mark.parametrize("name", every())
@pytest.mark.parametrize("case", hostile(2))
def test_5_hostile_signals_give_finite_output(name, enhancer, case):
    x = hostile(8000)[case].astype(np.float32)
    out = run_offline(enhancer, x, 16000)  # warnings are errors in this suite
    assert np.isfinite(out).all()
    if case in ("silence", "denormals"):
        assert np.abs(out).max() <= 1e-6


@pytest.mark.parametrize("name", every())
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.full(800, np.nan, np.float32), NonFiniteError),
        (np.full(800, np.inf, np.float32), NonFiniteError),
        (np.zeros(800, np.int16), DtypeError),
        (np.zeros((2, 800), np.float32), ShapeError),
    ],
)
def test_5_bad_blocks_are_named_and_forgotten(name, enhancer, bad, error):
    x = speech(16000, 0.6)
    stream = enhancer.stream(16000)
    expected = whole(stream, x)
    parts = [stream.process(x[:5000])]
    with pytest.raises(error):
        stream.process(bad)
    parts += [stream.process(x[5000:]), stream.flush()]
    assert np.abs(np.concatenate(parts) - expected).max() <= tolerance(name)


# -- 6. the caller's array -------------------------------------------------------------------------


@pytest.mark.parametrize("name", every())
def test_6_the_callers_array_is_not_changed(name, enhancer):
    x = speech(16000, 0.9).copy()
    kept = x.copy()
    stream = enhancer.stream(16000)
    out = stream.process(x)
    np.testing.assert_array_equal(x, kept)
    out[:] = 7.0  # nor does the stream keep what it gave away
    clean = enhancer.stream(16000)
    clean.process(kept)
    np.testing.assert_array_equal(stream.process(kept), clean.process(kept))


# -- 7. level --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every(lambda e: e.scales))
@pytest.mark.parametrize("db", [-30.0, -12.0, 10.0])
def test_7_louder_in_is_louder_out(name, enhancer, db):
    x = DAMAGE.get(name, lambda x: x)(speech(16000, 1.2))
    reference = run_offline(enhancer, x, 16000)
    scaled = run_offline(enhancer, (x * 10 ** (db / 20)).astype(np.float32), 16000)
    assert level_db(scaled) - level_db(reference) == pytest.approx(db, abs=1.0)


@pytest.mark.parametrize("name", every())
def test_7_clean_speech_passes(name, enhancer):
    x = bundled("clean")[:64000]
    assert si_sdr(x, run_offline(enhancer, x, 16000)) >= registry.entry(name).clean_db


@pytest.mark.parametrize("name", every(lambda e: e.scales))
def test_7_noise_alone_goes_down(name, enhancer):
    rng = np.random.default_rng(6)
    # Pink-like noise of four seconds; the last two count, once the method knows it.
    spectrum = np.fft.rfft(rng.standard_normal(64000)) / np.sqrt(np.arange(1, 32002))
    x = np.fft.irfft(spectrum, 64000)
    x = (0.05 * x / np.std(x)).astype(np.float32)
    out = run_offline(enhancer, x, 16000)
    # "Goes down" is the stated figure; methods that do not treat noise may not raise it (0.1 dB).
    assert level_db(x[32000:]) - level_db(out[32000:]) >= registry.entry(name).noise_db - 0.1


# -- 8. an hour ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", every(lambda e: e.causal))
def test_8_an_hour_does_not_drift(name, enhancer):
    # An hour for all that are fast; whoever takes longer is watched for 45 seconds of machine time.
    import time

    x = bundled("noisy")
    second = len(x) / 16000
    stream = enhancer.stream(16000)
    levels, memory = [], []
    started, heard = time.monotonic(), 0.0
    tracemalloc.start()
    try:
        while heard < 3600 and (time.monotonic() - started < 45 or len(levels) < 8):
            out = np.concatenate([stream.process(x[i : i + 8000]) for i in range(0, len(x), 8000)])
            assert np.isfinite(out).all()
            heard += second
            levels.append(level_db(out))
            gc.collect()
            memory.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Settled after two rounds of the clip: then every round sounds the same and costs the same.
    assert np.ptp(levels[2:]) < 0.5
    # One step does not count: the interpreter's table of strings, a megabyte, is made anew now and then.
    steps = np.diff(memory[2:])
    assert np.sum(steps) - np.max(steps) < 300_000


# -- 9. it helps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every(lambda e: e.gain_db is not None))
def test_9_the_bundled_recording_gets_better(name, enhancer):
    clean = bundled("clean")
    damaged = DAMAGE[name](clean) if name in DAMAGE else bundled("noisy")
    gain = si_sdr(clean, run_offline(enhancer, damaged, 16000)) - si_sdr(clean, damaged)
    assert gain >= registry.entry(name).gain_db


# -- 10. strength ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", every())
def test_10_no_strength_is_the_delayed_input(name, enhancer):
    x = speech(16000, 0.9)
    stream = enhancer.stream(16000)
    stream.set_strength(0.0)
    out = whole(stream, x)
    latency = max(stream.latency_samples, 0)
    np.testing.assert_array_equal(out[latency:], x)
    assert not out[:latency].any()


@pytest.mark.parametrize("name", every())
def test_10_strength_is_continuous_and_the_residual_completes_it(name, enhancer):
    x = speech(16000, 0.9)
    full = run_offline(enhancer, x, 16000)
    previous = x
    for db in (0.0, 3.0, 12.0, 30.0, 90.0):
        out = run_offline(enhancer, x, 16000, strength_db=db)
        share = 10 ** (-db / 20)
        np.testing.assert_allclose(out, full + share * (x - full), atol=2e-6 * max(1, np.abs(full).max()))
        residual = x - out
        np.testing.assert_allclose(out + residual, x, atol=1e-7)
        assert level_db(out - full) <= level_db(previous - full) + 1e-6
        previous = out
