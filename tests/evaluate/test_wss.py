"""WSS: zero for a copy, blind to gain, and the slope of a tilt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from voices import noise_at, voice

from unmuffle.evaluate import wss as module
from unmuffle.evaluate.wss import critical_bands, wss


def test_a_copy_scores_zero_at_any_gain(rng):
    x = rng.standard_normal(16000)
    assert wss(x, x, 16000) == 0.0
    assert wss(x, 0.1 * x, 16000) == pytest.approx(0.0, abs=1e-12)


def test_a_tilt_costs_its_slope_squared(rng):
    # A tilt of constant slope in every band pair would cost exactly slope^2, whatever the weights. A first-order
    # filter is no constant slope: the score lies between the smallest and the largest squared slope it has.
    x = rng.standard_normal(64000)
    y = lfilter([1.0, -0.9], [1.0], x)
    filters = critical_bands(16000, 1024)
    response = np.abs(np.fft.rfft([1.0, -0.9], 1024)[:512]) ** 2
    slopes = np.diff(10 * np.log10((filters @ response) / filters.sum(axis=1))) ** 2
    assert slopes.min() < wss(x, y, 16000) < slopes.max()


def test_the_filters_have_equal_area_and_peak_at_their_centres():
    filters = critical_bands(16000, 1024)
    assert filters.shape == (25, 512)
    assert np.argmax(filters[0]) == int(50 / 15.625)
    # peak times width is constant; sampled and cut at -30 dB, so to a few percent
    area = filters.sum(axis=1)
    assert np.ptp(area) / area.mean() < 0.05


def test_weights_follow_the_published_rule_on_one_spectrum():
    # levels with one peak at band 3; the loop of the original, written out
    level = np.array([[0.0, 3.0, 7.0, 9.0, 6.0, 6.0, 8.0, *[1.0] * 18]])
    slope = np.diff(level, axis=1)
    wanted = []
    for i in range(24):
        n = i
        if slope[0, i] > 0:
            while n < 24 and slope[0, n] > 0:
                n += 1
            peak = level[0, n - 1]
        else:
            while n >= 0 and slope[0, n] <= 0:
                n -= 1
            peak = level[0, n + 1]
        wanted.append(20 / (20 + 9.0 - level[0, i]) / (1 + peak - level[0, i]))
    assert module._weights(level, slope)[0] == pytest.approx(wanted)


def test_noise_raises_it():
    clean = voice()
    scores = [wss(clean, noise_at(clean, snr), 16000) for snr in (40, 20, 0)]
    assert scores == sorted(scores)
