"""The result has the wished loudness within 0.1 LU, and no true peak above the ceiling."""

import numpy as np
import pytest

from unmuffle import load
from unmuffle.enhancers.base import UNBOUNDED, run_offline
from unmuffle.signal.levels import true_peak_dbfs
from unmuffle.signal.loudness import LoudnessMeter


def syllables(rate, seconds=4.0, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    n = int(rate * seconds)
    f = np.fft.rfftfreq(n, 1 / rate)
    shape = 1 / (1 + (f / 600) ** 2)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal((channels, n))) * shape, n)
    x *= np.maximum(0, np.sin(2 * np.pi * 3 * np.arange(n) / rate)) ** 2
    return (0.05 * x / np.std(x)).astype(np.float32)


def loudness(x, rate):
    meter = LoudnessMeter(rate, x.shape[0])
    meter.push(x)
    return meter.integrated()


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize(("level", "target"), [(1.0, -23.0), (0.03, -23.0), (3.0, -30.0)])
@pytest.mark.parametrize("channels", [1, 2])
def test_within_a_tenth(rate, level, target, channels):
    x = syllables(rate, channels=channels) * np.float32(level)
    y = run_offline(load("loudness", target_lufs=target), x, rate)
    assert loudness(y, rate) == pytest.approx(target, abs=0.1)
    assert true_peak_dbfs(y) < -0.9


def test_against_pyloudnorm():
    pyloudnorm = pytest.importorskip("pyloudnorm")
    y = run_offline(load("loudness", target_lufs=-23.0), syllables(48000)[0], 48000)
    # The default filters of the library are an approximation, 0.04 LU off at 48 kHz.
    assert pyloudnorm.Meter(48000).integrated_loudness(y.astype(np.float64)) == pytest.approx(-23.0, abs=0.1)


def test_peaks_are_limited_and_loudness_made_up():
    x = syllables(48000)
    x[:, 24000] = 0.9  # one click: without a limiter it would fix the gain
    target = loudness(x, 48000) + 4.0
    y = run_offline(load("loudness", target_lufs=round(target, 2)), x, 48000)
    assert loudness(y, 48000) == pytest.approx(target, abs=0.1)
    assert true_peak_dbfs(y) < -0.9


def test_limits_of_gain():
    x = syllables(16000) * np.float32(0.02)
    y = run_offline(load("loudness", target_lufs=-10.0, max_gain_db=12.0), x, 16000)
    assert loudness(y, 16000) - loudness(x, 16000) == pytest.approx(12.0, abs=0.05)
    x = syllables(16000)
    x[0, 100] = 0.95
    y = run_offline(load("loudness", target_lufs=-10.0, max_limiting_db=3.0), x, 16000)
    assert loudness(y, 16000) < -11.0  # a lower loudness rather than more limiting


def test_silence_stays():
    x = np.zeros((2, 30000), np.float32)
    np.testing.assert_array_equal(run_offline(load("loudness"), x, 16000), x)


def test_it_says_that_it_is_not_for_live_use():
    assert load("loudness").stream(16000).latency_samples == UNBOUNDED
