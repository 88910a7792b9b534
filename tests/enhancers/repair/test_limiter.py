"""No value of the waveform above the ceiling, nothing changed below it, no clicks."""

import numpy as np
import pytest

from unmuffle import load
from unmuffle.enhancers.base import run_offline
from unmuffle.signal.levels import true_peak_dbfs


def bursts(rate, seed=0, channels=1):
    rng = np.random.default_rng(seed)
    n = rate
    f = np.fft.rfftfreq(n, 1 / rate)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal((channels, n))) * (f < 0.42 * rate), n)
    envelope = 0.1 + 2.0 * (np.sin(2 * np.pi * 5 * np.arange(n) / rate) > 0.6)
    return (x * envelope).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000])
@pytest.mark.parametrize(("lookahead", "ceiling"), [(1.5, -1.0), (5.0, -6.0)])
def test_no_overs(rate, lookahead, ceiling):
    limiter = load("limiter", lookahead_ms=lookahead, ceiling_dbtp=ceiling, release_ms=30.0)
    y = run_offline(limiter, bursts(rate), rate)
    assert true_peak_dbfs(y) < ceiling + 0.1
    assert np.max(np.abs(y)) <= 10 ** (ceiling / 20)


def test_a_jump_to_20_db_above_the_ceiling():
    rate = 48000
    x = np.zeros(rate, np.float32)
    t = np.arange(rate // 2) / rate
    x[rate // 2 :] = 10 * np.sin(2 * np.pi * 997 * t)
    y = run_offline(load("limiter"), x, rate)
    assert true_peak_dbfs(y) < -0.9
    # and it is used up, not shot below
    assert true_peak_dbfs(y[-rate // 4 :]) > -1.2


def test_below_the_ceiling_nothing_changes():
    x = bursts(16000) * np.float32(0.01)
    np.testing.assert_array_equal(run_offline(load("limiter"), x, 16000), x)


def test_channels_share_one_gain():
    x = bursts(48000, channels=2)
    x[1] *= np.float32(0.01)
    y = run_offline(load("limiter"), x, 48000)
    use = np.abs(x).min(axis=0) > 1e-4
    gains = y[:, use] / x[:, use]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-5)
    assert gains.min() < 0.5


def test_release_takes_its_time():
    rate = 48000
    t = np.arange(2 * rate) / rate
    x = (0.5 * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)
    x[rate : rate + 96] *= 20
    y = run_offline(load("limiter", release_ms=200.0, ceiling_dbtp=-1.0), x, rate)
    # 21 dB of attenuation, released with 10 dB in 200 ms: 200 ms after the burst 11 dB are left.
    start = rate + 96 + int(0.2 * rate)
    piece = slice(start, start + 480)
    left = 20 * np.log10(np.std(x[piece]) / np.std(y[piece]))
    assert left == pytest.approx(20 * np.log10(10 / 10 ** (-1 / 20)) - 10, abs=0.7)
    # Long after it all is as before, bit for bit.
    np.testing.assert_array_equal(y[-rate // 4 :], x[-rate // 4 :])
