"""Spectral subtraction: what is subtracted is gone, what is left is the floor."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers.spectral.subtraction import SpectralSubtraction, berouti_alpha, subtraction_gain


def f32(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(("domain", "e"), [("magnitude", 1), ("power", 2)])
@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_identity_of_amplitudes(domain, e, alpha):
    # |S|^e = |Y|^e - alpha |D|^e wherever more than the floor is left
    y2 = np.geomspace(12.0, 1e5, 100)
    gain = subtraction_gain(y2.astype(np.float32), alpha, 0.0, domain)
    left = (gain * np.sqrt(y2)) ** e
    np.testing.assert_allclose(left, y2 ** (e / 2) - alpha, rtol=1e-4)


@pytest.mark.parametrize("domain", ["magnitude", "power"])
def test_the_floor_is_relative_to_the_noise(domain):
    gamma = np.geomspace(0.1, 1.0, 50).astype(np.float32)
    gain = subtraction_gain(gamma, 2.0, 0.05, domain)
    np.testing.assert_allclose(gain**2 * gamma, np.minimum(0.05, gamma), rtol=1e-4)


def test_extremes_are_finite():
    gamma = f32(0.0, 1e-30, 1e-6, 1.0, 1e6)
    for domain in ("magnitude", "power"):
        gain = subtraction_gain(gamma, 4.0, 0.02, domain)
        assert np.isfinite(gain).all()
        assert (gain >= 0).all()
        assert (gain <= 1).all()
        assert gain[-1] == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize(("db", "alpha"), [(-20, 4.75), (-5, 4.75), (0, 4.0), (10, 2.5), (20, 1.0), (40, 1.0)])
def test_berouti(db, alpha):
    assert berouti_alpha(f32(10 ** (db / 10)))[0] == pytest.approx(alpha, abs=1e-5)


def test_over_is_fixed_or_by_snr():
    with pytest.raises(Exception, match="over"):
        SpectralSubtraction(over="never")
