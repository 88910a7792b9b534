"""The noise floor is the level that was put into the pauses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from voices import voice

from unmuffle.evaluate.noise_floor import noise_floor


def speech_with_pauses(rate=16000):
    return np.concatenate([voice(rate, 2.0), np.zeros(rate), voice(rate, 2.0, seed=5), np.zeros(rate)])


@pytest.mark.parametrize("level", [-80.0, -40.0, -20.0])
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_it_is_the_level_of_the_noise(rng, level, rate):
    clean = speech_with_pauses(rate)
    noisy = clean + 10 ** (level / 20) * rng.standard_normal(clean.size)
    # about 1.5 s of noise: the power is known to 0.1 dB
    assert noise_floor(clean, noisy, rate) == pytest.approx(level, abs=0.2)


def test_noise_that_stays_under_the_speech_does_not_count(rng):
    clean = speech_with_pauses()
    noise = 0.01 * rng.standard_normal(clean.size) * (clean != 0)
    assert noise_floor(clean, clean + noise, 16000) == -120.0


def test_no_pause_no_number(rng):
    x = rng.standard_normal(16000)
    assert math.isnan(noise_floor(x, x, 16000))
