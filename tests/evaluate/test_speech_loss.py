"""Speech loss counts what is missing and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import firwin, lfilter
from voices import noise_at, voice

from unmuffle.evaluate.speech_loss import speech_loss


@pytest.mark.parametrize("decibels", [0.0, 3.0, 20.0])
def test_an_attenuation_loses_its_decibels(decibels):
    clean = voice()
    assert speech_loss(clean, clean * 10 ** (-decibels / 20), 16000) == pytest.approx(decibels, abs=1e-9)


def test_a_boost_loses_nothing_and_silence_everything():
    clean = voice()
    assert speech_loss(clean, 3 * clean, 16000) == 0.0
    assert speech_loss(clean, np.zeros(clean.size), 16000) == 60.0


def test_half_the_band_of_white_noise_is_three_decibels(rng):
    x = rng.standard_normal(48000)
    low = lfilter(firwin(401, 0.5), 1, np.concatenate((x, np.zeros(200))))[200:]
    assert speech_loss(x, low, 16000) == pytest.approx(10 * np.log10(2), abs=0.15)


def test_added_noise_costs_little_and_does_not_hide_a_loss():
    clean = voice()
    assert speech_loss(clean, noise_at(clean, 10), 16000) < 0.5
    assert speech_loss(clean, noise_at(0.1 * clean, 10), 16000) > 17.0
