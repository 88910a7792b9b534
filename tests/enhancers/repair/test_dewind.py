"""Wind goes down, what lies above 500 Hz stays, a voice without wind stays."""

import numpy as np
import pytest

from unmuffle import load
from unmuffle.enhancers.base import run_offline


def wind(rate, seconds, seed=0):
    """Gusts of noise that falls with f^-2.6 in power above 25 Hz, and faster above 250 Hz."""
    rng = np.random.default_rng(seed)
    n = int(rate * seconds)
    f = np.fft.rfftfreq(n, 1 / rate)
    shape = (f > 8) / np.maximum(f, 25) ** 1.3 / (1 + (f / 250) ** 4)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * shape, n)
    x *= 0.2 + 0.8 * np.sin(2 * np.pi * 0.7 * np.arange(n) / rate + seed) ** 2
    return x / np.std(x)


def voice(rate, seconds, pitch=140.0):
    t = np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.05 * np.sin(2 * np.pi * 3 * t))) / rate
    x = sum(np.cos(k * phase) / (1 + ((k * pitch - 600) / 300) ** 2) for k in range(1, 25))
    return x * (np.sin(2 * np.pi * 1.3 * t) > -0.4) / np.std(x)


def band(x, rate, low, high):
    spectrum = np.abs(np.fft.rfft(x * np.hanning(x.shape[-1]))) ** 2
    f = np.fft.rfftfreq(x.shape[-1], 1 / rate)
    return 10 * np.log10(np.sum(spectrum[..., (f >= low) & (f < high)]))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_wind_alone(rate, channels):
    x = np.stack([0.1 * wind(rate, 4, c) for c in range(channels)]).astype(np.float32)
    y = run_offline(load("dewind"), x, rate)[:, rate:]
    x = x[:, rate:]
    assert band(y, rate, 20, 300) - band(x, rate, 20, 300) < -20.0


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("loud", [0.05, 0.5])
def test_voice_in_wind(channels, loud):
    rate = 16000
    clean = np.stack([0.1 * voice(rate, 5)] * channels)
    x = clean + np.stack([loud * wind(rate, 5, c) for c in range(channels)])
    y = run_offline(load("dewind"), x.astype(np.float32), rate)
    # Above 500 Hz: untouched, as loud as it was and the same samples but for rounding.
    assert abs(band(y, rate, 500, 8000) - band(x, rate, 500, 8000)) < 0.1
    assert band(y - x, rate, 550, 8000) - band(x, rate, 550, 8000) < -35.0
    assert np.sum((x - clean) ** 2) / np.sum((y - clean) ** 2) > 5.0  # 7 dB


def test_voice_without_wind_stays():
    rate = 16000
    for pitch in (85.0, 140.0, 250.0):
        x = (0.1 * voice(rate, 4, pitch)).astype(np.float32)
        y = run_offline(load("dewind"), x, rate)
        assert 10 * np.log10(np.sum(x**2) / np.sum((x - y) ** 2)) > 20.0


def test_movement_does_not_click():
    # A steady tone above 500 Hz while wind comes and goes: nothing may appear around the tone.
    rate = 16000
    t = np.arange(6 * rate) / rate
    tone = 0.1 * np.sin(2 * np.pi * 2000 * t)
    x = (tone + 0.3 * wind(rate, 6)).astype(np.float32)
    y = run_offline(load("dewind"), x, rate)
    level = band(tone, rate, 1900, 2100)
    assert band(y, rate, 600, 1900) < max(band(x, rate, 600, 1900) + 0.5, level - 70.0)
    assert band(y, rate, 2100, 8000) < level - 70.0


def test_one_gain_for_all_channels():
    rate = 16000
    one = 0.1 * wind(rate, 3, 0)
    x = np.stack((one, 0.5 * one)).astype(np.float32)  # also: copies do not count as coherent sound
    y = run_offline(load("dewind"), x, rate)
    np.testing.assert_allclose(y[1], 0.5 * y[0], atol=1e-6)
    assert band(y[0, rate:], rate, 20, 300) - band(x[0, rate:], rate, 20, 300) < -20.0
