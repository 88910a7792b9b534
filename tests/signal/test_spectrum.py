"""Spectrum measures on signals whose answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.errors import ParameterError, ShapeError
from unmuffle.signal import spectrum

RATE = 16000


def line(k: int, bins: int = 161) -> np.ndarray:
    power = np.zeros(bins)
    power[k] = 3.0
    return power


def test_a_single_line() -> None:
    p = line(20)  # 20 * 50 Hz
    assert spectrum.centroid_hz(p, RATE) == pytest.approx(1000.0)
    assert spectrum.bandwidth_hz(p, RATE) == pytest.approx(0.0, abs=1e-6)
    assert spectrum.rolloff_hz(p, RATE) == pytest.approx(1000.0)
    assert spectrum.flatness(p) == 0.0


def test_two_equal_lines() -> None:
    p = line(20) + line(60)
    assert spectrum.centroid_hz(p, RATE) == pytest.approx(2000.0)
    assert spectrum.bandwidth_hz(p, RATE) == pytest.approx(1000.0)


def test_a_flat_spectrum() -> None:
    p = np.full((2, 5, 1001), 0.2)
    np.testing.assert_allclose(spectrum.centroid_hz(p, RATE), 4000.0)
    # Standard deviation of a uniform distribution over 8 kHz: 8000 / sqrt(12), plus its discreteness.
    np.testing.assert_allclose(spectrum.bandwidth_hz(p, RATE), 8000 / np.sqrt(12), rtol=2e-3)
    np.testing.assert_allclose(spectrum.rolloff_hz(p, RATE), 7600.0, atol=8.0)
    np.testing.assert_allclose(spectrum.flatness(p), 1.0, rtol=1e-12)


def test_flatness_of_the_periodogram_of_white_noise(rng: np.random.Generator) -> None:
    # Exponentially distributed bins: exp(E ln P) / E P = exp(-Euler gamma) = 0.5615.
    p = np.abs(np.fft.rfft(rng.standard_normal((200, 1024))))[:, 1:-1] ** 2
    assert spectrum.flatness(p).mean() == pytest.approx(np.exp(-np.euler_gamma), abs=0.01)


def test_silence_has_no_shape() -> None:
    p = np.zeros((3, 161))
    for measure in (spectrum.centroid_hz, spectrum.bandwidth_hz, spectrum.rolloff_hz):
        np.testing.assert_array_equal(measure(p, RATE), 0.0)
    np.testing.assert_array_equal(spectrum.flatness(p), 0.0)


@pytest.mark.parametrize("hz", [100.0, 440.0, 3000.0])
def test_zero_crossings_of_a_sine(hz: float) -> None:
    x = np.sin(2 * np.pi * hz * np.arange(RATE) / RATE + 0.1)
    assert spectrum.zero_crossing_rate_hz(x, RATE) == pytest.approx(2 * hz, abs=1.5)


def test_zero_crossings_of_white_noise(rng: np.random.Generator) -> None:
    # Signs are independent: half of all steps change it. Standard error sqrt(1/4/n) of the rate.
    x = rng.standard_normal((2, 40000))
    np.testing.assert_allclose(spectrum.zero_crossing_rate_hz(x, RATE), RATE / 2, rtol=0.025)


def test_zeros_do_not_cross() -> None:
    assert spectrum.zero_crossing_rate_hz(np.zeros(100), RATE) == 0.0
    assert spectrum.zero_crossing_rate_hz(np.array([1.0, 0.0, 0.0, 1.0]), RATE) == 0.0
    assert spectrum.zero_crossing_rate_hz(np.array([1.0, 0.0, -1.0]), 8000) == pytest.approx(4000.0)


def test_magnitude_and_phase_round_trip(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 9)) + 1j * rng.standard_normal((2, 3, 9))
    magnitude, phase = spectrum.magnitude_phase(x)
    np.testing.assert_allclose(spectrum.from_magnitude_phase(magnitude, phase), x, atol=1e-14)
    assert spectrum.magnitude_phase(np.zeros(1, complex)) == (0.0, 0.0)


def test_long_term_spectrum_of_white_noise(rng: np.random.Generator) -> None:
    # Power sigma^2 spread over f_s / 2: a constant density of sigma^2 / (f_s / 2).
    sigma = 0.1
    density = spectrum.long_term_spectrum(sigma * rng.standard_normal(20 * RATE), RATE)
    expected = 10 * np.log10(sigma**2 / (RATE / 2))
    inner = density.level_db_per_hz[2:-2]
    assert inner.mean() == pytest.approx(expected, abs=0.1)
    assert np.abs(inner - expected).max() < 1.5


def test_long_term_spectrum_integrates_to_the_power(rng: np.random.Generator) -> None:
    x = np.stack([0.3 * rng.standard_normal(5 * RATE), 0.5 * np.sin(0.3 * np.arange(5 * RATE))])
    density = spectrum.long_term_spectrum(x, RATE)
    assert density.level_db_per_hz.shape == (2, density.frequencies_hz.size)
    step = density.frequencies_hz[1]
    power = np.sum(10 ** (density.level_db_per_hz / 10), axis=-1) * step
    np.testing.assert_allclose(power, np.mean(x**2, axis=-1), rtol=0.01)


def test_long_term_spectrum_of_silence_and_of_a_scrap() -> None:
    assert np.all(spectrum.long_term_spectrum(np.zeros(4000), RATE).level_db_per_hz == -np.inf)
    assert spectrum.long_term_spectrum(np.ones(10), RATE).frequencies_hz.size == 6


def test_bad_input() -> None:
    with pytest.raises(ParameterError, match="negative"):
        spectrum.centroid_hz(np.array([-1.0, 2.0]), RATE)
    with pytest.raises(ParameterError):
        spectrum.rolloff_hz(np.ones(5), RATE, share=0.0)
    with pytest.raises(ShapeError):
        spectrum.zero_crossing_rate_hz(np.ones(1), RATE)
    with pytest.raises(ShapeError):
        spectrum.long_term_spectrum(np.ones(1), RATE)
