"""Delays that were put in are found again; what has no common signal is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmuffle.errors import DtypeError, NonFiniteError, ParameterError, ShapeError
from unmuffle.signal.align import MIN_CONFIDENCE, align, find_delay


def coloured(rng, size):
    """Speech-like spectrum (-6 dB per octave above 500 Hz at 16 kHz), bursts of 100 ms."""
    from scipy.signal import lfilter

    x = lfilter([1.0], [1.0, -0.82], rng.standard_normal(size))
    return x * (0.05 + (np.arange(size) // 1600 % 3 == 0))


def shifted(x, delay):
    return np.concatenate((np.zeros(max(delay, 0)), x))[max(-delay, 0) :]


@settings(max_examples=25, deadline=None)
@given(delay=st.integers(-800, 800), snr=st.sampled_from([-5.0, 0.0, 20.0]), seed=st.integers(0, 5))
def test_the_inserted_delay_is_found_in_noise(delay, snr, seed):
    rng = np.random.default_rng(seed)
    x = coloured(rng, 16000)
    y = shifted(x, delay)
    y = y + np.std(x) * 10 ** (-snr / 20) * rng.standard_normal(y.size)
    found, confidence = find_delay(x, y, 1000)
    assert found == delay
    assert confidence > MIN_CONFIDENCE


def test_polarity_and_gain_and_dc_do_not_matter(rng):
    x = coloured(rng, 8000)
    assert find_delay(x, 3.0 - 0.01 * shifted(x, 37), 100)[0] == 37


def test_a_periodic_signal_that_is_aligned_stays_so():
    x = np.sin(2 * np.pi * 100 * np.arange(16000) / 16000)
    assert find_delay(x, x, 4000)[0] == 0


def test_align_trims_to_the_shared_samples(rng):
    x = coloured(rng, 9000)
    late = align(x, shifted(x, 123), 500)
    early = align(x, shifted(x, -123), 500)
    assert (late.delay, early.delay) == (123, -123)
    assert np.array_equal(late.reference, x)
    assert np.array_equal(late.reference, late.other)
    assert np.array_equal(early.reference, x[123:])
    assert np.array_equal(early.reference, early.other)


def test_unrelated_noise_is_not_shifted(rng):
    pair = align(rng.standard_normal(20000), rng.standard_normal(20000), 4000)
    # the largest of 8001 normal values is about 4 sigma; 6 would happen once in 60 000 tries
    assert pair.confidence < MIN_CONFIDENCE
    assert pair.delay == 0


def test_long_signals_are_judged_on_their_loudest_stretch(rng):
    x = 1e-4 * rng.standard_normal(1_500_000)
    x[1_200_000:1_300_000] += coloured(rng, 100_000)
    y = shifted(x, 64) + 1e-3 * rng.standard_normal(x.size + 64)
    assert find_delay(x, y, 500)[0] == 64


def test_channels_are_averaged_and_the_pair_keeps_its_channels(rng):
    x = np.stack([coloured(rng, 4000)] * 2)
    pair = align(x, np.pad(x, ((0, 0), (9, 0))), 50)
    assert pair.delay == 9
    assert pair.reference.shape == pair.other.shape == (2, 4000)


@pytest.mark.parametrize("size", [0, 1, 100])
def test_silence_has_no_delay_and_no_confidence(size):
    assert find_delay(np.zeros(size), np.zeros(50), 10) == (0, 0.0)


def test_the_bound_holds(rng):
    x = coloured(rng, 4000)
    assert abs(find_delay(x, shifted(x, 300), 100)[0]) <= 100
    assert find_delay(x, x, 0)[0] == 0


@pytest.mark.parametrize(
    ("x", "bound", "error"),
    [
        (np.zeros(8, np.int16), 5, DtypeError),
        (np.array([0.0, np.nan]), 5, NonFiniteError),
        (np.zeros((2, 2, 2)), 5, ShapeError),
        (np.ones(8), -1, ParameterError),
    ],
)
def test_bad_input_is_named(x, bound, error):
    with pytest.raises(error):
        find_delay(x, np.ones(8), bound)
