"""SI-SDR against its closed forms and its invariances."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.errors import InputError
from unmuffle.evaluate.si_sdr import delta_si_sdr, si_sdr


def orthogonal(rng, size=8000):
    s, n = rng.standard_normal(size), rng.standard_normal(size)
    s -= s.mean()
    n -= n.mean()
    n -= s * (n @ s) / (s @ s)
    return s / np.linalg.norm(s), n / np.linalg.norm(n)


@pytest.mark.parametrize("wanted", [-20.0, 0.0, 7.3, 40.0])
@pytest.mark.parametrize("gain", [1.0, 0.01, -5.0])
def test_orthogonal_noise_gives_the_energy_ratio_at_any_gain(rng, wanted, gain):
    s, n = orthogonal(rng)
    y = gain * (s + n * 10 ** (-wanted / 20))
    assert si_sdr(s, y, 16000) == pytest.approx(wanted, abs=1e-8)


def test_it_is_the_formula_of_the_paper_without_mean_removal(rng):
    s, y = rng.standard_normal(500) + 1.0, rng.standard_normal(500) + 0.3
    a = (y @ s) / (s @ s)
    e = y - a * s
    assert si_sdr(s, y, 8000, zero_mean=False) == pytest.approx(10 * np.log10(a * a * (s @ s) / (e @ e)))


def test_a_dc_offset_is_free_with_mean_removal_only(rng):
    s, n = orthogonal(rng)
    y = s + 0.1 * n + 0.01
    assert si_sdr(s, y, 16000) == pytest.approx(20.0, abs=1e-8)
    assert si_sdr(s, y, 16000, zero_mean=False) < 19.0


def test_improvement_and_limits(rng):
    s, n = orthogonal(rng)
    assert delta_si_sdr(s, s + n, s + 0.1 * n, 16000) == pytest.approx(20.0, abs=1e-8)
    assert si_sdr(s, s, 16000) == 150.0
    assert si_sdr(s, n, 16000) < -140.0  # orthogonal: no target at all, rounding aside


@pytest.mark.parametrize("y", [np.zeros(100), np.full(100, 0.5)])
def test_silent_and_constant_outputs_are_named(rng, y):
    with pytest.raises(InputError, match=r"silent|constant"):
        si_sdr(rng.standard_normal(100), y, 16000)
