"""The log-kurtosis ratio means what its docstring says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import istft, lfilter, stft
from voices import voice

from unmuffle.evaluate.musical_noise import kurtosis, musical_noise


@pytest.mark.parametrize("b", [0.0, 0.5, 1.0, 2.0])
def test_spectral_subtraction_of_strength_b_scores_b(b):
    # exponential P: the moments of max(P - b, 0) are m! e^-b, so the kurtosis grows by e^b exactly
    p = np.random.default_rng(0).exponential(size=(400_000, 8))
    # fourth moments of 3.2 million values, of which e^-b survive: a few percent
    assert math.log(kurtosis(np.maximum(p - b, 0)) / kurtosis(p)) == pytest.approx(b, abs=0.08)


def make(seconds=20, colour=0.0):
    """Speech, then a long pause, and stationary noise over both."""
    clean = np.concatenate([voice(seconds=2.0), np.zeros(16000 * seconds)])
    noise = lfilter([1.0], [1.0, -colour], np.random.default_rng(1).standard_normal(clean.size))
    return clean, clean + 0.02 * noise


def subtract(noisy, strength, floor):
    """Power subtraction on a 16 ms grid with a fixed noise estimate, as in 1979."""
    _, _, spectrum = stft(noisy, nperseg=256, noverlap=192)
    power = np.abs(spectrum) ** 2
    noise = power[:, spectrum.shape[1] // 2 :].mean(axis=1, keepdims=True)
    gain = np.sqrt(np.maximum(1 - strength * noise / np.maximum(power, 1e-30), floor))
    return istft(gain * spectrum, nperseg=256, noverlap=192)[1][: noisy.size]


@pytest.mark.parametrize("colour", [0.0, 0.9])
def test_a_plain_gain_or_filter_is_not_musical(colour):
    clean, noisy = make(colour=colour)
    assert musical_noise(clean, noisy, 0.05 * noisy, 16000) == pytest.approx(0.0, abs=1e-9)
    # 2500 correlated frames of heavy tails: the estimate itself is good to 0.1
    assert musical_noise(clean, noisy, lfilter([1], [1, -0.5], noisy), 16000) == pytest.approx(0.0, abs=0.1)


def test_subtraction_is_musical_and_a_spectral_floor_hides_it():
    clean, noisy = make()
    hard, harder = (musical_noise(clean, noisy, subtract(noisy, b, 0.0), 16000) for b in (1.0, 3.0))
    floored = musical_noise(clean, noisy, subtract(noisy, 3.0, 0.1), 16000)
    assert 0.3 < hard < harder
    assert floored < harder - 1.0


def test_nothing_to_judge_is_nan():
    clean, noisy = make(2)
    assert math.isnan(musical_noise(clean, noisy, clean, 16000))  # mute in the pause
    x = np.random.default_rng(0).standard_normal(16000)
    assert math.isnan(musical_noise(x, x, x, 16000))  # no pause
