"""Smoothing of gains: pauses are smoothed, speech is not touched."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers.spectral.scene import Scene
from unmuffle.enhancers.spectral.smoothing import smoother
from unmuffle.signal.stft import StftSpec

FRAMES = StftSpec(32.0, 16.0).at(16000)


def scene(power):
    return Scene(power, np.ones_like(power), power, power, None)


def test_none():
    assert smoother("none", FRAMES) is None


def test_speech_is_not_touched(rng):
    power = rng.exponential(size=(3, FRAMES.bins)).astype(np.float32)
    gain = rng.uniform(0.7, 1.0, size=power.shape).astype(np.float32)  # passes more than 0.4
    s = smoother("gain", FRAMES)
    np.testing.assert_array_equal(s.smooth(gain.copy(), scene(power), s.begin()), gain)


def test_pauses_are_averaged_along_frequency():
    power = np.ones((1, FRAMES.bins), np.float32)
    gain = np.full_like(power, 0.1)
    gain[0, 100] = 1.0
    s = smoother("gain", FRAMES)
    out = s.smooth(gain.copy(), scene(power), s.begin())[0]
    share = float(np.mean(gain**2))
    half = round((1 - share / 0.4) * round(300 * FRAMES.size / 16000))
    assert half >= 5
    expected = np.full(FRAMES.bins, 0.1)
    expected[100 - half : 100 + half + 1] += 0.9 / (2 * half + 1)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_silence_is_not_divided_by():
    power = np.zeros((2, FRAMES.bins), np.float32)
    gain = np.full_like(power, 0.2)
    s = smoother("gain", FRAMES)
    np.testing.assert_array_equal(s.smooth(gain.copy(), scene(power), s.begin()), gain)


@pytest.mark.parametrize("name", ["gain", "cepstral"])
def test_a_flat_gain_stays(name):
    power = np.ones((10, FRAMES.bins), np.float32)
    gain = np.full_like(power, 0.2)
    s = smoother(name, FRAMES)
    np.testing.assert_allclose(s.smooth(gain.copy(), scene(power), s.begin()), 0.2, rtol=1e-5)


def test_cepstral_takes_the_flicker_out(rng):
    gain = np.exp(rng.uniform(-2, 0, size=(300, FRAMES.bins))).astype(np.float32)
    s = smoother("cepstral", FRAMES)
    out = s.smooth(gain.copy(), scene(np.ones_like(gain)), s.begin())
    assert np.log(out[50:]).std(axis=0).mean() < 0.4 * np.log(gain).std()
