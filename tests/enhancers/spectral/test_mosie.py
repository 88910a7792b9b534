"""The parametric estimator: its corners are the known ones, its function is Kummer's."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from unmuffle.enhancers.spectral import log_mmse, mmse_stsa
from unmuffle.enhancers.spectral.mosie import LARGE, correction, mosie_gain

XI, GAMMA = (g.astype(np.float32) for g in np.meshgrid(np.geomspace(1e-6, 1e6, 121), np.geomspace(1e-6, 1e6, 121)))


def test_corner_mmse_stsa():
    ratio = mosie_gain(XI, GAMMA, 1.0, 1.0) / mmse_stsa.mmse_stsa_gain(XI, GAMMA)
    assert np.abs(20 * np.log10(ratio)).max() < 0.01


def test_corner_log_mmse():
    # beta = 0.01 is not quite the logarithm: 0.1 dB
    ratio = mosie_gain(XI, GAMMA, 1.0, 0.01) / log_mmse.log_mmse_gain(XI, GAMMA)
    assert np.abs(20 * np.log10(ratio)).max() < 0.1


@pytest.mark.parametrize(("mu", "beta"), [(0.5, 0.5), (0.3, 1.0), (1.5, 2.0), (0.1, 0.01)])
def test_against_mpmath(mu, beta):
    def exact(v):
        v, m, b = mpmath.mpf(float(v)), mpmath.mpf(mu), mpmath.mpf(beta)
        ratio = mpmath.hyp1f1(m + b / 2, 1, v) / mpmath.hyp1f1(m, 1, v)
        return float((mpmath.gamma(m + b / 2) / mpmath.gamma(m) * ratio) ** (1 / b) / mpmath.sqrt(v))

    v = np.array([1e-9, 1e-3, 0.1, 1.0, 5.0, 30.0, 300.0, 399.0, 401.0, 5000.0])
    with mpmath.workdps(40):
        expected = np.array([exact(u) for u in v])
    # The asymptotic series beyond LARGE leaves out terms in 1/v^2: 1e-3 dB at the seam.
    assert LARGE == 400.0
    assert np.abs(20 * np.log10(correction(v, mu, beta) / expected)).max() < 1e-3


@pytest.mark.parametrize(("mu", "beta"), [(0.5, 0.5), (0.1, 0.01), (2.0, 2.0), (0.7, 0.01)])
def test_table_is_within_a_twentieth_of_a_decibel(mu, beta):
    v = GAMMA.astype(np.float64) * XI / (mu + XI)
    exact = np.minimum(XI / (mu + XI.astype(np.float64)) * correction(v, mu, beta), 1.0)
    gain = mosie_gain(XI, GAMMA, mu, beta)
    assert np.isfinite(gain).all()
    assert np.abs(20 * np.log10(gain / exact)).max() < 0.05
