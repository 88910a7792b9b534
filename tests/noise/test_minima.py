"""Bias of the minimum and variance of smoothed periodograms, against published values and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from noise_helpers import power_of
from scipy.signal import lfilter

from unmuffle.noise.bins import THREE, relative_variance, smooth3
from unmuffle.noise.imcra import GAMMA_0, GAMMA_1, ZETA_0, Imcra, _clean_power, compensation
from unmuffle.noise.minima import mean_factor, minimum_bias
from unmuffle.signal.stft import StftSpec

COHEN = StftSpec(32, 8, "hann").at(16000)  # frames of Cohen 2003


def smoothed(frames, factor, seconds=60):
    x = np.random.default_rng(4).standard_normal(seconds * frames.sample_rate).astype(np.float32)
    power = power_of(x, frames)[0]
    over_bins = smooth3(power, np.empty_like(power))
    s = lfilter([1 - factor], [1, -factor], over_bins.astype(float), axis=0)[300:, 2:-2]
    return s * frames.power_scale


@pytest.mark.parametrize(
    ("spec", "factor"),
    [(StftSpec(), 0.88), (StftSpec(32, 8, "hann"), 0.9), (StftSpec(20, 5), 0.7), (StftSpec(32, 16), 0.0)],
)
def test_variance_of_smoothed_noise(spec, factor):
    # Exact for Gaussian noise; a minute of noise gives the variance to about 2 %.
    frames = spec.at(16000)
    assert relative_variance(frames, factor, THREE) == pytest.approx(smoothed(frames, factor).var(), rel=0.05)


def test_a_raw_periodogram_has_variance_one():
    assert relative_variance(StftSpec().at(16000), 0.0) == pytest.approx(1.0)


def test_bias_of_the_minimum_in_cohens_setting():
    # Cohen 2003 gives B_min = 1.66 for Hann 512 / 128, alpha_s = 0.9, w = 1, D = 120. Simulation must
    # find that, and so must the formula the tracker uses, within 5 % (0.2 dB).
    s = smoothed(COHEN, 0.9)
    minima = np.array([s[i : i + 120].min(axis=0) for i in range(0, len(s) - 120, 40)])
    assert 1 / minima.mean() == pytest.approx(1.66, rel=0.03)
    state = Imcra().init(COHEN, 1)
    assert float(state["rough_power"]) / GAMMA_0 == pytest.approx(1.66, rel=0.05)
    assert float(state["rough_smooth"]) / ZETA_0 == pytest.approx(1.66, rel=0.05)
    assert float(1 - state["fresh"]) == pytest.approx(0.9, abs=1e-3)
    assert float(1 - state["gain"]) == pytest.approx(0.85, abs=1e-3)
    assert float(state["prior"]) == pytest.approx(0.92, abs=1e-3)
    assert state["part"] == 15
    assert state["stored"].shape[0] == 8


def test_bias_of_the_minimum_for_usual_frames():
    frames = StftSpec().at(16000)
    factor = math.exp(-0.01 / 0.0759)
    s = smoothed(frames, factor)
    minima = np.array([s[i : i + 96].min(axis=0) for i in range(0, len(s) - 96, 30)])
    bias = minimum_bias(relative_variance(frames, factor, THREE), 96)
    assert bias == pytest.approx(1 / minima.mean(), rel=0.03)


def test_limits_of_the_bias():
    assert minimum_bias(0.5, 1) == 1.0  # the minimum of one value is that value
    assert minimum_bias(1e-9, 100) == pytest.approx(1.0, abs=1e-6)  # no fluctuation, no bias
    # Raw periodogram: the minimum of D exponentials has mean 1/D (the formula is meant for smoothed
    # power and is exact in this limit by construction, as Q = 2).
    assert minimum_bias(1.0, 10) == pytest.approx(10.0)
    assert mean_factor(1) == 0.0
    assert mean_factor(160) == pytest.approx(0.91)  # Martin 2006, table 5
    assert 0.61 < mean_factor(12) < 0.668
    assert mean_factor(100_000) == 0.94


def test_cohens_compensation():
    # 1.47 in the paper's table, for gamma_1 = 3.
    assert compensation(GAMMA_1) == pytest.approx(1.47, abs=0.005)


def test_gain_approximation():
    from scipy.special import exp1

    v = np.logspace(-3, 1.6, 400).astype(np.float32)[None]
    wiener, gamma = np.full_like(v, 0.5), np.full_like(v, 2.0)
    got = _clean_out(wiener, v, gamma)
    want = 2.0 * (0.5 * np.exp(exp1(v.astype(float)) / 2)) ** 2
    assert np.max(np.abs(10 * np.log10(got / want))) < 0.25


def _clean_out(wiener, v, gamma):
    out = np.empty_like(v)
    _clean_power(wiener, v, gamma, out)
    return out


def test_smooth3():
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    out = smooth3(x, np.empty_like(x))
    np.testing.assert_allclose(out[:, 1:-1], x[:, 1:-1])  # a ramp is kept
    np.testing.assert_allclose(out[:, 0], (x[:, 0] + x[:, 1]) / 2)
    np.testing.assert_allclose(out[:, -1], (x[:, -1] + x[:, -2]) / 2)
    impulse = np.zeros((1, 9), np.float32)
    impulse[0, 4] = 4
    np.testing.assert_array_equal(smooth3(impulse, np.empty_like(impulse))[0, 3:6], [1, 2, 1])
    np.testing.assert_allclose(smooth3(np.ones((3, 2, 7), np.float32), np.empty((3, 2, 7), np.float32)), 1)
