"""SNR estimates against closed forms, and presence probabilities against Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest
from noise_helpers import FRAMES
from scipy.integrate import quad

from unmuffle.errors import ParameterError
from unmuffle.noise import snr, spp
from unmuffle.signal.stft import StftSpec


def array(*values):
    return np.array([values], np.float32)


def test_posterior_and_maximum_likelihood():
    gamma = snr.posterior(array(1, 4, 0, 1e20), array(1, 2, 1, 1e-10))
    np.testing.assert_array_equal(gamma, array(1, 2, 0, 1e6))
    np.testing.assert_allclose(snr.maximum_likelihood(gamma, 0.1), array(0.1, 1, 0.1, 999999))


def test_maximum_likelihood_means(rng):
    # gamma of noise alone is exponential: E{max(gamma - 1, 0)} = 1/e. With speech of a-priori SNR xi
    # it is exponential with mean 1 + xi, and E{max(gamma - 1, 0)} = (1 + xi) e^{-1 / (1 + xi)}.
    for xi in (0.0, 1.0, 10.0):
        gamma = ((1 + xi) * rng.exponential(size=(1, 400_000))).astype(np.float32)
        want = (1 + xi) * np.exp(-1 / (1 + xi))
        assert snr.maximum_likelihood(gamma).mean() == pytest.approx(want, rel=0.01)  # 0.3 % error of mean


def test_decision_directed_formula():
    got = snr.decision_directed(array(3, 0.5), array(5, 0), 0.98, 0.003)
    np.testing.assert_allclose(got, array(0.98 * 5 + 0.02 * 2, 0.003), rtol=1e-6)


def test_decision_weight_is_a_time():
    assert snr.decision_weight(StftSpec(32, 8, "hann").at(16000)) == pytest.approx(0.98, abs=1e-3)
    assert snr.decision_weight(FRAMES) == pytest.approx(0.98**1.25, abs=1e-3)


def test_decision_directed_fixed_point():
    # With gamma constant, the Wiener gain makes xi obey xi = a (xi / (1 + xi))^2 gamma + (1 - a)(gamma - 1);
    # run to rest, and check that equation.
    gamma, clean = array(20), array(0)
    for _ in range(3000):
        xi = snr.decision_directed(gamma, clean, 0.98)
        clean = snr.clean_ratio(gamma, snr.wiener(xi))
    rest = float(xi[0, 0])
    assert rest == pytest.approx(0.98 * (rest / (1 + rest)) ** 2 * 20 + 0.02 * 19, rel=1e-5)
    assert 16 < rest < 19  # near gamma - 1, a little below


def test_smoothing_of_the_decision_directed_estimate(rng):
    # Its purpose (Cappe 1994): in noise, xi varies far less than gamma - 1, and stays low.
    clean = np.zeros((1, 200), np.float32)
    seen = []
    for _ in range(400):
        gamma = rng.exponential(size=(1, 200)).astype(np.float32)
        xi = snr.decision_directed(gamma, clean, 0.98)
        clean = snr.clean_ratio(gamma, snr.wiener(xi), clean)
        seen.append(xi)
    tail = np.array(seen[100:])
    assert tail.std() < 0.1  # max(gamma - 1, 0) has 0.8
    assert tail.mean() < 0.05


def test_two_step_removes_the_lag():
    # Speech of gamma = 101 (xi = 100) begins. One frame late, decision-directed has it; two-step has
    # it at once (Plapous 2006, the lag of one frame).
    clean = array(0)
    gamma = array(101)
    first = snr.decision_directed(gamma, clean, 0.98)
    assert 10 * np.log10(100 / first[0, 0]) > 15
    refined = snr.two_step(gamma, first)
    want = (first / (1 + first)) ** 2 * 101
    np.testing.assert_allclose(refined, want, rtol=1e-6)
    assert 10 * np.log10(100 / refined[0, 0]) < 4
    np.testing.assert_allclose(snr.two_step(gamma, first, gain=lambda xi: xi * 0 + 1), 101)


def test_out_is_used_and_inputs_kept():
    gamma, clean, buffer = array(3, 4), array(1, 2), array(0, 0)
    assert snr.decision_directed(gamma, clean, 0.9, out=buffer) is buffer
    assert snr.two_step(gamma, clean, out=buffer) is buffer
    np.testing.assert_array_equal(gamma, array(3, 4))
    np.testing.assert_array_equal(clean, array(1, 2))


# -- presence -----------------------------------------------------------------------------------


def test_fixed_presence_is_bayes():
    gamma = np.linspace(0, 50, 101).astype(np.float32)[None]
    xi = 10**1.5
    want = 1 / (1 + (1 + xi) * np.exp(-gamma.astype(float) * xi / (1 + xi)))
    np.testing.assert_allclose(spp.fixed(gamma), want, atol=1e-6)
    np.testing.assert_allclose(spp.conditional(gamma, gamma * 0 + np.float32(xi), 0.5), want, atol=1e-5)
    assert spp.fixed(array(1e9))[0, 0] == 1.0


def test_fixed_presence_in_noise():
    # Mean of p in noise alone: the integral over the exponential density; 15 dB gives 0.087.
    xi = 10**1.5
    want = quad(lambda g: np.exp(-g) / (1 + (1 + xi) * np.exp(-g * xi / (1 + xi))), 0, 60)[0]
    gamma = np.random.default_rng(1).exponential(size=(1, 200_000)).astype(np.float32)
    assert spp.fixed(gamma).mean() == pytest.approx(want, rel=0.02)


@pytest.mark.parametrize(("q", "p"), [(0.0, 1.0), (1.0, 0.0)])
def test_certain_priors(q, p):
    gamma = array(0, 1, 100, 1e6)
    np.testing.assert_array_equal(spp.conditional(gamma, array(0.01, 1, 10, 1e6), q), p)


def test_absence_prior_extremes():
    prior = spp.AbsencePrior()
    for level, want in ((1e-3, 0.95), (100.0, 0.0)):
        state = prior.init(FRAMES, 2)
        for _ in range(50):
            q = prior.step(np.full((2, FRAMES.bins), level, np.float32), state)
        np.testing.assert_allclose(q, want, atol=1e-6)


def test_absence_prior_map():
    # A steady SNR of -7.5 dB everywhere is half way between -10 and -5 dB for both ranges: 1/2 each.
    # The frame: below its peak's lower limit of 0 dB, by 7.5 dB, half again (no longer rising).
    prior = spp.AbsencePrior()
    state = prior.init(FRAMES, 1)
    for _ in range(400):
        q = prior.step(np.full((1, FRAMES.bins), 10**-0.75, np.float32), state)
    np.testing.assert_allclose(q, 1 - 0.5**3, atol=2e-3)


def test_absence_prior_local(rng):
    # One strong bin in an empty spectrum: absent elsewhere, and not sure there (narrow, but not wide).
    prior = spp.AbsencePrior()
    state = prior.init(FRAMES, 1)
    xi = np.full((1, FRAMES.bins), 1e-3, np.float32)
    xi[0, 80:96] = 50
    for _ in range(50):
        q = prior.step(xi, state)[0]
    assert q[87] < 0.3
    assert (q[:60] == np.float32(0.95)).all()
    assert (q[120:] == np.float32(0.95)).all()


def test_running_means_match_direct_ones(rng):
    first, stop, share = spp._window(50, 7)
    x = rng.random(50)
    total = np.concatenate(([0], np.cumsum(x)))
    direct = [x[max(0, k - 7) : k + 8].mean() for k in range(50)]
    np.testing.assert_allclose((total[stop] - total[first]) * share, direct)


@pytest.mark.parametrize("bad", [{"high_db": -11.0}, {"highest": 1.0}, {"smoothing_s": -1.0}])
def test_bad_absence_prior(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        spp.AbsencePrior(**bad)
