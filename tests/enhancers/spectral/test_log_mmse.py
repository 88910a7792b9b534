"""Log-spectral amplitude estimator against its integral."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import exp1

from unmuffle.enhancers.spectral.log_mmse import correction, log_mmse_gain

GRID = np.meshgrid(np.geomspace(1e-6, 1e6, 241), np.geomspace(1e-6, 1e6, 241))


def test_correction_against_mpmath():
    v = np.array([1e-9, 1e-3, 0.1, 1.0, 5.0, 30.0])
    with mpmath.workdps(30):
        expected = [float(mpmath.exp(mpmath.expint(1, mpmath.mpf(float(u))) / 2)) for u in v]
    np.testing.assert_allclose(correction(v), expected, rtol=1e-12)


def test_gain_against_scipy():
    xi, gamma = (g.astype(np.float32) for g in GRID)
    w = xi.astype(np.float64) / (1 + xi.astype(np.float64))
    exact = np.minimum(w * np.exp(0.5 * exp1(w * gamma)), 1.0)
    error_db = 20 * np.log10(log_mmse_gain(xi, gamma) / exact)
    # The promise is 0.05 dB; half a table step at slope 1/2 is 0.009 dB.
    assert np.abs(error_db).max() < 0.02


@given(
    st.floats(min_value=2.0**-20, max_value=1e6, width=32),
    st.floats(min_value=2.0**-20, max_value=1e6, width=32),
)
def test_gain_is_between_wiener_and_one(xi, gamma):
    gain = float(log_mmse_gain(np.array([xi], np.float32), np.array([gamma], np.float32))[0])
    assert np.isfinite(gain)
    assert xi / (1 + xi) * (1 - 1e-3) <= gain <= 1.0


def test_limits():
    big = np.array([1e6], np.float32)
    assert log_mmse_gain(big, big)[0] == pytest.approx(1.0, abs=1e-5)
    # v large: the Wiener gain
    xi, gamma = np.array([0.5], np.float32), np.array([300.0], np.float32)
    assert log_mmse_gain(xi, gamma)[0] == pytest.approx(1 / 3, rel=1e-5)
    # v -> 0: E1(v) -> -ln v - 0.5772, so G -> sqrt(xi / ((1 + xi) gamma)) e^{-0.2886}
    xi, gamma = np.array([1e-6], np.float32), np.array([1.0], np.float32)
    assert log_mmse_gain(xi, gamma)[0] == pytest.approx(1e-3 * np.exp(-0.5772157 / 2), rel=3e-3)
