"""A-priori SNR: the recursions against their definition, and the means they should have."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers.spectral.apriori import ESTIMATORS, estimator
from unmuffle.enhancers.spectral.log_mmse import log_mmse_gain
from unmuffle.enhancers.spectral.scene import Scene
from unmuffle.signal.stft import StftSpec

FRAMES = StftSpec(32.0, 16.0).at(16000)


def scene(rng, snr_db=-np.inf, count=400):
    shape = (count, FRAMES.bins)
    level = 1.0 + 10 ** (snr_db / 10)
    power = (level * rng.exponential(size=shape)).astype(np.float32)
    noise = np.ones(shape, np.float32)
    return Scene(power, noise, power, power, None)


def run(name, s, dd_ms=790.0, xi_min_db=-25.0):
    e = estimator(name, FRAMES, log_mmse_gain, dd_ms=dd_ms, xi_min_db=xi_min_db)
    e.estimate(s, e.begin())
    return s.xi


def test_decision_directed_is_its_recursion(rng):
    s = scene(rng, 5.0, 60)
    xi = run("dd", s)
    a = np.exp(-16 / 790)
    previous = np.zeros(FRAMES.bins)
    for i in range(60):
        gamma = s.power[i].astype(np.float64)
        expected = np.maximum(a * previous + (1 - a) * np.maximum(gamma - 1, 0), 10**-2.5)
        np.testing.assert_allclose(xi[i], expected, rtol=5e-4)
        gain = log_mmse_gain(xi[i].copy(), s.power[i])
        np.testing.assert_array_equal(s.gain[i], gain)
        previous = gain.astype(np.float64) ** 2 * gamma


def test_maximum_likelihood(rng):
    s = scene(rng)
    np.testing.assert_allclose(run("ml", s), np.maximum(s.gamma - 1, 10**-2.5), rtol=1e-6)


def test_two_steps_catch_up_with_an_onset(rng):
    power = np.ones((40, FRAMES.bins), np.float32)
    power[20:] = 1000.0
    noise = np.ones_like(power)
    xi = {name: run(name, Scene(power, noise, power, power, None)) for name in ("dd", "tsnr", "cepstral")}
    true = 999.0
    # In the first frame of the onset: (1 - a) of it (20 of 999); a Wiener gain of 0.95 squared; and 0.8
    # of the way from -18 to 30 dB, plus the bias of 2 dB, which is 22.5 dB.
    assert xi["dd"][20, 50] == pytest.approx(0.02 * true, rel=0.1)
    assert xi["tsnr"][20, 50] == pytest.approx(0.91 * true, rel=0.05)
    assert 10 * np.log10(xi["cepstral"][20, 50]) == pytest.approx(22.5, abs=0.5)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("snr_db", [10.0, 20.0])
def test_mean_in_steady_speech(rng, name, snr_db):
    xi = run(name, scene(rng, snr_db))[100:]
    # ML is unbiased; the others may be off by 2.5 dB, logarithms being averaged or gains fed back
    # (and squared, in two steps).
    assert 10 * np.log10(xi.mean()) == pytest.approx(snr_db, abs=0.3 if name == "ml" else 2.5)


def test_smooth_in_noise(rng):
    spread = {n: np.std(10 * np.log10(run(n, scene(rng))[100:])) for n in ESTIMATORS}
    assert spread["dd"] < 0.5 * spread["ml"]
    assert spread["cepstral"] < 0.5 * spread["ml"]
    assert spread["tsnr"] < spread["ml"]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_extremes_stay_finite(name):
    power = np.tile(np.array([0.0, 1e-30, 1e-6, 1.0, 1e6], np.float32), (20, 52))[:, : FRAMES.bins]
    power = np.concatenate((power, power[:, ::-1]))
    noise = np.full_like(power, 1e-3)
    gamma = np.minimum(power / noise, np.float32(1e6))
    xi = run(name, Scene(power, noise, gamma, gamma, None))
    assert np.isfinite(xi).all()
    assert (xi >= 10**-2.5 * 0.999).all()
