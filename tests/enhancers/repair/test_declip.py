"""Clipped tops are found exactly, rebuilt beyond the level, and nothing else is touched."""

import numpy as np
import pytest
from scipy.signal import lfilter

from unmuffle import load
from unmuffle.enhancers.base import run_offline


def voice(rate, seconds=1.0, pitch=130.0, seed=0):
    """Glottal pulses of 2.5 ms with vibrato through three formants, in syllables."""
    rng = np.random.default_rng(seed)
    n = int(rate * seconds)
    t = np.arange(n) / rate
    turns = np.cumsum(pitch * (1 + 0.02 * np.sin(2 * np.pi * 4 * t))) / rate + rng.uniform()
    x = np.where(turns % 1 < 0.0025 * pitch, 1 - np.cos(2 * np.pi * (turns % 1) / (0.0025 * pitch)), 0.0)
    x = np.diff(x, prepend=0.0) + 1e-4 * rng.standard_normal(n)
    for centre, width in ((500, 80), (1500, 120), (2500, 160)):
        r = np.exp(-np.pi * width / rate)
        x = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * centre / rate), r * r], x)
    x *= 0.05 + np.sin(np.pi * 3 * t) ** 2
    return x / np.max(np.abs(x))


def clipped_to(x, sdr_db):
    low, high = 0.0, 1.0
    for _ in range(40):
        level = (low + high) / 2
        error = x - np.clip(x, -level, level)
        if 10 * np.log10(np.sum(x**2) / max(np.sum(error**2), 1e-20)) < sdr_db:
            low = level
        else:
            high = level
    return np.clip(x, -high, high).astype(np.float32), np.float32(high)


def sdr(x, y):
    return 10 * np.log10(np.sum(x**2) / np.sum((x - y.astype(np.float64)) ** 2))


@pytest.mark.parametrize(("sdr_in", "gain"), [(3.0, 4.0), (7.0, 6.0), (15.0, 8.0)])
def test_consistent_and_better(sdr_in, gain):
    x = voice(16000)
    y, level = clipped_to(x, sdr_in)
    z = run_offline(load("declip"), y, 16000)
    cut = np.abs(y) >= level
    np.testing.assert_array_equal(z[~cut], y[~cut])  # reliable samples: the same bits
    assert np.all(np.abs(z[cut]) >= level)  # tops lie beyond the level,
    assert np.all(np.sign(z[cut]) == np.sign(y[cut]))  # on its side
    assert np.mean(z[cut] > level) + np.mean(z[cut] < -level) > 0.9
    # Floors a few dB below what was measured, 7 to 14 dB.
    assert sdr(x, z) - sdr_in > gain


@pytest.mark.parametrize("rate", [8000, 48000])
def test_other_rates(rate):
    x = voice(rate, 0.6)
    y, _ = clipped_to(x, 8.0)
    assert sdr(x, run_offline(load("declip"), y, rate)) > 12.0


def test_better_than_a_spline():
    from scipy.interpolate import CubicSpline

    x = voice(16000, seed=3)
    y, level = clipped_to(x, 6.0)
    cut = np.abs(y) >= level
    spline = CubicSpline(np.flatnonzero(~cut), y[~cut])(np.arange(len(y)))
    spline = np.where(cut, np.sign(y) * np.maximum(np.sign(y) * spline, level), y)
    assert sdr(x, run_offline(load("declip"), y, 16000)) > sdr(x, spline) + 3.0


def test_clean_input_passes_bit_for_bit():
    x = voice(16000).astype(np.float32)
    for y in (x, np.round(x * 32767).astype(np.float32) / 32768, np.round(x * 60).astype(np.float32) / 32768):
        np.testing.assert_array_equal(run_offline(load("declip"), y, 16000), y)


@pytest.mark.parametrize("hz", [20.0, 50.0, 440.0])
@pytest.mark.parametrize("steps", [3, 30, 300, 32767])
def test_flat_tops_of_quantised_tones_are_not_clipping(hz, steps):
    t = np.arange(16000) / 16000
    x = (np.round(steps * np.sin(2 * np.pi * hz * t)) / 32768).astype(np.float32)
    np.testing.assert_array_equal(run_offline(load("declip"), x, 16000), x)


def test_each_channel_and_each_sign_has_its_own_level():
    x = voice(16000, 0.6)
    one = np.minimum(x, 0.3).astype(np.float32)  # tops only
    two = np.clip(voice(16000, 0.6, 200.0), -0.5, 0.2).astype(np.float32)
    clean = voice(16000, 0.6, 90.0).astype(np.float32)
    z = run_offline(load("declip"), np.stack((one, two, clean)), 16000)
    np.testing.assert_array_equal(z[2], clean)
    np.testing.assert_array_equal(z[0][one < np.float32(0.3)], one[one < np.float32(0.3)])
    assert z[0].max() > 0.4
    assert z[1].max() > 0.25
    assert z[1].min() < -0.55


def test_sixteen_bits_and_a_slightly_rough_top():
    x = voice(16000)
    y, _ = clipped_to(x, 8.0)
    rng = np.random.default_rng(0)
    rough = (np.round(y * 32767 + rng.integers(-1, 2, len(y))) / 32768).astype(np.float32)
    assert sdr(x, run_offline(load("declip"), rough, 16000)) > 13.0


def test_a_level_given_by_hand():
    x = voice(16000)
    y, level = clipped_to(x, 8.0)
    z = run_offline(load("declip", level=float(level)), y, 16000)
    assert sdr(x, z) > 13.0
