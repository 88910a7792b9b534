"""Amplitude estimator against Bessel functions and against the mean it stands for."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.special import i0e, i1e

from unmuffle.enhancers.spectral.mmse_stsa import correction, mmse_stsa_gain


def test_gain_against_scipy():
    xi, gamma = np.meshgrid(np.geomspace(1e-6, 1e6, 241), np.geomspace(1e-6, 1e6, 241))
    xi, gamma = xi.astype(np.float32), gamma.astype(np.float32)
    v = xi.astype(np.float64) / (1 + xi.astype(np.float64)) * gamma
    exact = np.sqrt(np.pi * v) / (2 * gamma) * ((1 + v) * i0e(v / 2) + v * i1e(v / 2))
    error_db = 20 * np.log10(mmse_stsa_gain(xi, gamma) / np.minimum(exact, 1.0))
    assert np.abs(error_db).max() < 0.02  # promised: 0.05 dB


def test_correction_against_mpmath():
    v = np.array([1e-9, 1e-3, 0.1, 1.0, 5.0, 300.0])

    def exact(u):
        u = mpmath.mpf(float(u))
        bessel = (1 + u) * mpmath.besseli(0, u / 2) + u * mpmath.besseli(1, u / 2)
        return float(mpmath.sqrt(mpmath.pi / u) / 2 * mpmath.exp(-u / 2) * bessel)

    with mpmath.workdps(30):
        expected = [exact(u) for u in v]
    np.testing.assert_allclose(correction(v), expected, rtol=1e-12)


def test_it_is_the_conditional_mean(rng):
    # Complex Gaussian speech and noise: the mean of |S| / |Y| over samples with |Y|^2 near gamma.
    xi, gamma, n = 2.0, 1.5, 2_000_000
    s = np.sqrt(xi / 2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    y = s + np.sqrt(0.5) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    near = np.abs(np.abs(y) ** 2 - gamma) < 0.02 * gamma
    mean = np.mean(np.abs(s[near])) / np.sqrt(gamma)
    gain = mmse_stsa_gain(np.array([xi], np.float32), np.array([gamma], np.float32))[0]
    # About 20 000 samples are near, whose mean is known to about 0.4 %.
    assert mean == pytest.approx(gain, rel=0.015)


def test_limits():
    big = np.array([1e6], np.float32)
    assert mmse_stsa_gain(big, big)[0] == pytest.approx(1.0, abs=1e-5)
    # v -> 0: G -> sqrt(pi xi / (4 (1 + xi) gamma))
    xi, gamma = np.array([1e-6], np.float32), np.array([1.0], np.float32)
    assert mmse_stsa_gain(xi, gamma)[0] == pytest.approx(np.sqrt(np.pi) / 2 * 1e-3, rel=3e-3)
