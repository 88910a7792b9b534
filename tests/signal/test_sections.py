"""Sections against scipy.signal, which they stand in for, and against what Butterworth filters are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import signal

from unmuffle.errors import ParameterError
from unmuffle.signal import compiled
from unmuffle.signal.sections import direct, documented, filtered, high_pass


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize(("cutoff", "rate"), [(5.0, 192000), (80.0, 16000), (2000.0, 8000)])
def test_the_high_pass_is_butterworths(order, cutoff, rate):
    sections = high_pass(order, cutoff, rate)
    assert sections.shape == ((order + 1) // 2, 6)
    hz = np.array([cutoff / 3, cutoff, (cutoff + rate / 2) / 2, rate / 2])
    _, response = signal.sosfreqz(sections, hz, fs=rate)
    # |H|^2 = 1 / (1 + (W_c / W)^2n) with W = tan(pi f / fs).
    with np.errstate(divide="ignore"):
        ratio = np.tan(np.pi * cutoff / rate) / np.tan(np.pi * hz / rate)
    ratio[-1] = 0.0
    np.testing.assert_allclose(np.abs(response) ** 2, 1 / (1 + ratio ** (2 * order)), rtol=1e-6)
    reference = signal.butter(order, cutoff, "highpass", fs=rate, output="sos")
    _, wanted = signal.sosfreqz(reference, hz, fs=rate)
    np.testing.assert_allclose(response, wanted, rtol=1e-6)
    assert np.all(np.abs(np.roots(sections[-1, 3:])) < 1.0)


@pytest.mark.parametrize(("order", "cutoff"), [(0, 80.0), (2, 0.0), (2, 8000.0), (2, -1.0), (2, float("nan"))])
def test_a_filter_that_cannot_be_is_refused(order, cutoff):
    with pytest.raises(ParameterError, match="cutoff_hz"):
        high_pass(order, cutoff, 16000)


def test_filtering_is_scipys_bit_for_bit_and_changes_nothing_that_was_given(rng):
    sections = np.concatenate((high_pass(4, 80.0, 16000), high_pass(3, 500.0, 16000)))
    x = rng.standard_normal((2, 1000)).astype(np.float32)
    state = rng.standard_normal((len(sections), 2, 2))
    kept = x.copy(), state.copy()
    y, after = filtered(sections, x, state)
    wanted, last = signal.sosfilt(sections, x.astype(np.float64), axis=-1, zi=state)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(after, last)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(state, kept[1])
    documented_y, documented_state = y.copy(), state.transpose(1, 0, 2).copy()
    documented_y[:] = x
    documented(sections, documented_y, documented_state)
    np.testing.assert_array_equal(documented_y, wanted)
    np.testing.assert_array_equal(documented_state.transpose(1, 0, 2), last)


@pytest.mark.parametrize("size", [0, 1])
def test_hardly_any_samples(size):
    sections = high_pass(2, 80.0, 16000)
    y, after = filtered(sections, np.ones((3, size), np.float32), np.zeros((1, 3, 2)))
    assert y.shape == (3, size)
    assert after.shape == (1, 3, 2)
    assert np.any(after) == bool(size)


def test_the_quick_way_is_taken_with_this_scipy():
    assert direct(compiled.module("scipy.signal._sosfilt")) is not None


@pytest.mark.parametrize(
    "kernel", [None, SimpleNamespace(), SimpleNamespace(_sosfilt=lambda s, x, z: None), SimpleNamespace(_sosfilt=len)]
)
def test_an_inside_that_has_changed_is_left_alone(kernel):
    assert direct(kernel) is None
