"""LSD in dB is the gain in dB."""

from __future__ import annotations

import numpy as np
import pytest
from voices import noise_at, voice

from unmuffle.errors import InputError
from unmuffle.evaluate.lsd import lsd
from unmuffle.evaluate.speech_loss import speech_loss


@pytest.mark.parametrize("decibels", [-12.0, -1.0, 0.0, 6.0])
@pytest.mark.parametrize("rate", [8000, 48000])
def test_a_gain_scores_its_decibels(rng, decibels, rate):
    x = rng.standard_normal(rate)
    # the weakest cells of white noise reach the floor at -80 dB: one in a million
    assert lsd(x, x * 10 ** (decibels / 20), rate) == pytest.approx(abs(decibels), abs=1e-3)


def test_silence_is_a_finite_distance(rng):
    x = rng.standard_normal(16000)
    # white noise lies 0 to 20 dB under its loudest cell, the floor 80: about 65 to 75 dB apart
    assert 60.0 < lsd(x, np.zeros(16000), 16000) < 80.0


@pytest.mark.parametrize("metric", [lsd, speech_loss])
def test_a_reference_that_no_frame_hears_is_named(metric):
    x = np.zeros(256)
    x[0] = 1.0  # the window is zero there
    with pytest.raises(InputError, match="every frame"):
        metric(x, np.zeros(256), 8000)


def test_noise_raises_it():
    clean = voice()
    scores = [lsd(clean, noise_at(clean, snr), 16000) for snr in (30, 10, -10)]
    assert scores == sorted(scores)
