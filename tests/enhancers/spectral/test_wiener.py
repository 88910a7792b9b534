"""Wiener gains: closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmuffle.enhancers.spectral.wiener import ParametricWiener, Wiener, wiener_gain_from_gamma

RATIO = st.floats(min_value=2.0**-20, max_value=1e6, width=32)


def f32(*values):
    return np.array(values, np.float32)


@given(RATIO)
def test_formula(xi):
    assert Wiener().gain(f32(xi), f32(1.0))[0] == pytest.approx(xi / (1 + xi), rel=1e-6)


@given(st.floats(min_value=0, max_value=1e6, width=32))
def test_from_gamma(gamma):
    # (gamma - 1) / gamma, clipped at 0: the sign that tutorials print reversed
    expected = max((gamma - 1) / gamma, 0.0) if gamma > 0 else 0.0
    assert wiener_gain_from_gamma(f32(gamma))[0] == pytest.approx(expected, abs=1e-6)


def test_both_agree_where_xi_is_gamma_minus_one():
    gamma = np.geomspace(1.001, 1e6, 500).astype(np.float32)
    np.testing.assert_allclose(Wiener().gain(gamma - 1, gamma), wiener_gain_from_gamma(gamma), atol=1e-6)


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("mu", [0.5, 1.0, 3.0])
def test_parametric(mu, beta):
    xi = np.geomspace(1e-6, 1e6, 300).astype(np.float32)
    gain = ParametricWiener(mu=mu, beta=beta).gain(xi, xi)
    np.testing.assert_allclose(gain, (xi.astype(float) / (mu + xi.astype(float))) ** beta, rtol=1e-5)
