"""MMSE-SPP against the equations and constants of Gerkmann & Hendriks 2012."""

from __future__ import annotations

import math

import numpy as np
import pytest
from noise_helpers import FRAMES, power_of, white
from scipy.integrate import quad
from scipy.optimize import brentq

from unmuffle.noise.base import smoothing
from unmuffle.noise.mmse_spp import STUCK, MmseSpp, compensation
from unmuffle.signal.stft import StftSpec

PAPER = StftSpec(32, 16).at(16000)


def test_constants_of_the_paper():
    method = MmseSpp()
    assert method.prior_snr_db == 15.0
    assert STUCK == 0.99
    # 0.8 and 0.9 a frame of 16 ms; time constants are given to four digits.
    assert smoothing(method.smoothing_s, PAPER) == pytest.approx(0.8, abs=1e-4)
    assert smoothing(method.stuck_s, PAPER) == pytest.approx(0.9, abs=1e-4)


def test_one_step_is_the_papers(rng):
    # From a common state, one step must agree with the equations to float32 rounding.
    method = MmseSpp(compensate=False)
    power = power_of(white(rng, 3), PAPER)
    power[0, 60:, 100:] *= 1000  # so that bins get stuck, and the cap matters
    state = method.init(PAPER, 1)
    xi = 10**1.5
    capped = 0
    for i in range(power.shape[1]):
        noise = state["noise"][0].astype(float)
        absence = state["absence"][0].astype(float)
        done = state["startup"]["done"]
        got = method.step(power[:, i], state)[0]
        if not done:
            continue
        row = power[0, i].astype(float)
        presence = 1 / (1 + (1 + xi) * np.exp(-row / noise * xi / (1 + xi)))
        mean = 0.9 * (1 - absence) + 0.1 * presence
        stuck = mean > 0.99
        sure = np.abs(mean - 0.99) > 1e-5  # rounding decides the others
        presence = np.where(stuck, np.minimum(presence, 0.99), presence)
        capped += int((stuck & (presence == 0.99)).sum())
        want = 0.8 * noise + 0.2 * (presence * noise + (1 - presence) * row)
        np.testing.assert_allclose(got[sure], want[sure], rtol=2e-4)
    assert capped > 50  # the cap was exercised


def closed_form_bias(prior_snr_db):
    """Where the paper's recursion comes to rest in noise: E{(1 - p)(P - r)} = 0, P exponential."""
    xi = 10 ** (prior_snr_db / 10)

    def drift(r):
        def integrand(g):
            return math.exp(-g) * (g - r) / (1 + math.exp(min(g / r * xi / (1 + xi), 700)) / (1 + xi))

        return quad(integrand, 0, 60, limit=200)[0]

    return brentq(drift, 0.3, 1.0)


def test_bias_of_the_paper_and_its_removal(rng):
    # The paper's estimator rests at 0.79 (-1.0 dB) in noise; the fluctuation of the estimate, which
    # the closed form leaves out, is worth about 0.1 dB. With compensation nothing is left.
    expected = 10 * math.log10(closed_form_bias(15.0))
    assert expected == pytest.approx(-1.0, abs=0.15)
    power = power_of(white(rng, 20))
    for compensate, bias in ((False, expected), (True, 0.0)):
        noise = MmseSpp(compensate=compensate).track(power, FRAMES)[0, 100:, 1:-1]
        assert 10 * math.log10(noise.mean() * FRAMES.power_scale) + 40 == pytest.approx(bias, abs=0.25)


@pytest.mark.parametrize("prior", [10.0, 15.0, 20.0])
def test_compensation_is_the_integral(prior):
    xi = 10 ** (prior / 10)

    def absent(g):
        return math.exp(-g) / (1 + math.exp(g * xi / (1 + xi)) / (1 + xi))

    top = quad(absent, 0, 60)[0]
    bottom = quad(lambda g: g * absent(g), 0, 60)[0]
    assert compensation(prior) == pytest.approx(top / bottom, rel=1e-3)  # a sum of 40001 terms
