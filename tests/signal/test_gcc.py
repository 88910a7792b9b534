"""Delays between microphones: exact for noise, robust in a little noise, honest when there is none."""

import numpy as np
import pytest

from unmuffle.errors import ParameterError, ShapeError
from unmuffle.signal.fractional import delayed
from unmuffle.signal.gcc import gcc_phat

RATE = 16000


def noise(seed, n=16000):
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("delay", [0.0, 0.25, -3.4, 7.5, -7.9, 15.0])
def test_delay_of_white_noise_to_a_twentieth_of_a_sample(delay):
    x = noise(0)
    found = gcc_phat(x, delayed(x, delay), RATE, 1e-3)
    assert found.seconds * RATE == pytest.approx(delay, abs=0.05)
    assert 0.6 < found.peak <= 1.0  # the delay moves sound out of the frame, and the last 7 % of the band fade


def test_noise_of_the_microphones_moves_it_little():
    x = noise(0)
    found = gcc_phat(x + 0.5 * noise(1), delayed(x, 4.3) + 0.5 * noise(2), RATE, 1e-3)
    assert found.seconds * RATE == pytest.approx(4.3, abs=0.15)


def test_opposite_polarity_is_negative():
    x = noise(0)
    found = gcc_phat(x, -delayed(x, 2.0), RATE, 1e-3)
    assert found.seconds * RATE == pytest.approx(2.0, abs=0.05)
    assert found.peak < -0.6


@pytest.mark.parametrize("pair", [(np.zeros(4000), np.zeros(4000)), (noise(0), np.zeros(16000)), (np.ones(9), np.ones(9)), (np.ones(1), np.ones(1))])
def test_nothing_in_common(pair):
    found = gcc_phat(*pair, RATE, 1e-3)
    assert np.isfinite(found.seconds)
    assert abs(found.peak) <= 1.0
    assert abs(gcc_phat(noise(0), noise(1), RATE, 1e-3).peak) < 0.1


def test_what_cannot_be_is_named():
    with pytest.raises(ShapeError, match="same stretch"):
        gcc_phat(noise(0), noise(0, 99), RATE, 1e-3)
    for bad in (0.0, 2.0, float("nan")):
        with pytest.raises(ParameterError, match="longest_s"):
            gcc_phat(noise(0), noise(0), RATE, bad)
