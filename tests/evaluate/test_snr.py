"""SNR against its closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.errors import InputError, ShapeError
from unmuffle.evaluate.snr import delta_snr, snr


@pytest.mark.parametrize("wanted", [-30.0, -5.0, 0.0, 12.5, 60.0])
def test_noise_mixed_at_an_snr_has_that_snr(rng, wanted):
    s, n = rng.standard_normal(8000), rng.standard_normal(8000)
    n *= np.sqrt(np.sum(s**2) / np.sum(n**2)) * 10 ** (-wanted / 20)
    assert snr(s, s + n, 16000) == pytest.approx(wanted, abs=1e-9)  # float64 rounding only


@pytest.mark.parametrize("gain", [0.5, 0.9, 2.0, -1.0])
def test_a_gain_alone_has_a_closed_form(rng, gain):
    s = rng.standard_normal(4000)
    assert snr(s, gain * s, 16000) == pytest.approx(-20 * np.log10(abs(1 - gain)), abs=1e-9)


def test_the_ends_of_the_scale(rng):
    s = rng.standard_normal(100)
    assert snr(s, s, 16000) == 150.0
    assert snr(s, np.zeros(100), 16000) == 0.0


def test_delta_is_the_noise_that_left(rng):
    s, n = rng.standard_normal(4000), rng.standard_normal(4000)
    assert delta_snr(s, s + n, s + 0.1 * n, 16000) == pytest.approx(20.0, abs=1e-9)


def test_lengths_and_silence_are_named(rng):
    with pytest.raises(ShapeError, match="align"):
        snr(np.ones(10), np.ones(11), 16000)
    with pytest.raises(InputError, match="silent"):
        snr(np.zeros(10), np.ones(10), 16000)
