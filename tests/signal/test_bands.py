"""Scales against published values, matrices as partitions of unity."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.errors import ParameterError, ShapeError
from unmuffle.signal import bands


def test_erb_against_glasberg_and_moore() -> None:
    # Their formula at 1 kHz: ERB 132.6 Hz, ERB-rate 15.6 (both as printed in the literature).
    assert bands.erb_width_hz(1000.0) == pytest.approx(132.6, abs=0.1)
    assert bands.hz_to_erb_rate(1000.0) == pytest.approx(15.6, abs=0.05)
    assert bands.hz_to_erb_rate(0.0) == 0.0


def test_erb_rate_counts_bandwidths() -> None:
    # dE/df = 1 / ERB(f) by definition; 21.4 is a rounded 21.33, hence 0.4 %.
    f = np.linspace(50, 15000, 200)
    slope = (bands.hz_to_erb_rate(f + 0.5) - bands.hz_to_erb_rate(f - 0.5)) / 1.0
    np.testing.assert_allclose(slope * bands.erb_width_hz(f), 1.0, rtol=4e-3)


@pytest.mark.parametrize("formula", ["traunmueller", "zwicker"])
def test_bark_against_the_table_of_zwicker(formula: bands.BarkFormula) -> None:
    # Upper edges of critical bands 1..24 (Zwicker 1961). Both formulas claim some tenths of a Bark.
    edges = [100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150]
    edges += [3700, 4400, 5300, 6400, 7700, 9500, 12000, 15500]
    np.testing.assert_allclose(bands.hz_to_bark(edges, formula), np.arange(1, 25), atol=0.25)


def test_bark_width_at_low_and_mid_frequencies() -> None:
    # Zwicker's bands are 100 Hz wide at the bottom and 160 Hz at 1 kHz.
    np.testing.assert_allclose(bands.bark_width_hz([50.0, 1000.0]), [100, 160], rtol=0.03)


@pytest.mark.parametrize("formula", ["traunmueller", "zwicker"])
def test_bark_inverse(formula: bands.BarkFormula) -> None:
    f = np.concatenate([[0.0, 1.0], np.geomspace(10, 40000, 500)])
    there_and_back = bands.bark_to_hz(bands.hz_to_bark(f, formula), formula)
    np.testing.assert_allclose(there_and_back, f, rtol=1e-8, atol=1e-8)
    assert bands.bark_to_hz(60.0, formula) == np.inf


def test_erb_inverse() -> None:
    f = np.concatenate([[0.0], np.geomspace(1, 96000, 500)])
    np.testing.assert_allclose(bands.erb_rate_to_hz(bands.hz_to_erb_rate(f)), f, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 192000])
@pytest.mark.parametrize("shape", ["triangle", "rectangle"])
@pytest.mark.parametrize("scale", ["erb", "bark"])
def test_partition_of_unity(rate: int, shape: bands.Shape, scale: bands.Scale) -> None:
    for n_fft in (rate // 50, rate // 20 + 1, 4096 * -(-rate // 48000)):
        w = bands.band_matrix(rate, n_fft, shape=shape, scale=scale)
        assert w.shape[1] == n_fft // 2 + 1
        assert w.min() >= 0.0
        np.testing.assert_allclose(w.sum(axis=0), 1.0, atol=1e-12)
        assert (w.sum(axis=1) > 0).all()


@pytest.mark.parametrize("shape", ["triangle", "rectangle"])
def test_bands_are_the_same_at_every_rate(shape: bands.Shape) -> None:
    low = bands.band_matrix(16000, 320, shape=shape)
    high = bands.band_matrix(48000, 960, shape=shape)
    # The bins of the wide one up to 8 kHz are those of the narrow one, and so are their weights.
    # (A rectangle's Nyquist bin belongs to the last band there is, so it is left out.)
    narrow = 160 if shape == "rectangle" else 161
    np.testing.assert_array_equal(high[: low.shape[0], :narrow], low[:, :narrow])
    assert not high[low.shape[0] :, :narrow].any()


def test_energy_is_kept_and_flat_stays_flat(rng: np.random.Generator) -> None:
    w = bands.band_matrix(16000, 320)
    power = rng.exponential(size=(2, 7, 161))
    np.testing.assert_allclose(bands.band_energies(power, w).sum(-1), power.sum(-1), rtol=1e-12)
    np.testing.assert_allclose(bands.band_means(np.full((3, 161), 0.7), w), 0.7, rtol=1e-12)
    np.testing.assert_allclose(bands.bin_gains(np.full((3, w.shape[0]), 0.3), w), 0.3, rtol=1e-12)


def test_triangle_gains_are_linear_between_centres() -> None:
    w = bands.band_matrix(48000, 4800)
    centers = bands.band_centers_hz(24000.0)
    gains = np.cos(np.arange(w.shape[0]))
    bins_hz = np.arange(2401) * 10.0
    np.testing.assert_allclose(bands.bin_gains(gains, w), np.interp(bins_hz, centers, gains), atol=1e-12)


def test_centres_respect_both_widths() -> None:
    c = bands.band_centers_hz(8000.0, scale="erb", width=1.0, min_width_hz=100.0)
    steps = np.diff(c)
    erb_steps = np.diff(bands.hz_to_erb_rate(c))
    assert steps.min() == pytest.approx(100.0)
    assert erb_steps.min() == pytest.approx(1.0)
    assert np.all((np.isclose(steps, 100.0)) | (np.isclose(erb_steps, 1.0)))
    assert c[-2] < 8000.0 <= c[-1]


@pytest.mark.parametrize(
    "options",
    [
        {"scale": "mel"},
        {"shape": "gauss"},
        {"width": 0.0},
        {"width": float("nan")},
        {"min_width_hz": -1.0},
        {"n_fft": 64},  # 250 Hz bins cannot fill 100 Hz bands
        {"n_fft": 1},
    ],
)
def test_bad_parameters(options: dict) -> None:
    options = {"sample_rate": 16000, "n_fft": 320, **options}
    with pytest.raises(ParameterError):
        bands.band_matrix(**options)


def test_wrong_count() -> None:
    w = bands.band_matrix(16000, 320)
    with pytest.raises(ShapeError):
        bands.band_energies(np.ones(160), w)
    with pytest.raises(ShapeError):
        bands.bin_gains(np.ones(161), w)
    with pytest.raises(ParameterError, match="traunmueller"):
        bands.hz_to_bark(100.0, "schroeder")  # type: ignore[arg-type]
