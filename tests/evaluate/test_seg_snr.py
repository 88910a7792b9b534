"""Segmental SNR: its closed forms, its limits, its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from voices import noise_at, voice

from unmuffle.evaluate.seg_snr import fwseg_snr, seg_snr


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.2])
def test_a_gain_has_the_same_snr_in_every_frame(rng, gain):
    s = rng.standard_normal(16000)
    assert seg_snr(s, gain * s, 16000) == pytest.approx(-20 * np.log10(abs(1 - gain)), abs=1e-6)


def test_the_limits_hold(rng):
    s = rng.standard_normal(16000)
    assert seg_snr(s, s, 16000) == 35.0
    assert fwseg_snr(s, s, 16000) == pytest.approx(35.0)
    assert seg_snr(s, s + 50 * s, 16000) == -10.0


def test_half_the_frames_perfect_gives_the_mean_of_the_limits():
    s = np.random.default_rng(0).standard_normal(160000)
    y = s.copy()
    y[80000:] *= -50.0
    # the frames across the border are neither: 3 of 1332
    assert seg_snr(s, y, 16000) == pytest.approx((35 - 10) / 2, abs=0.1)


def test_the_weighted_form_ignores_gain_and_falls_with_noise():
    clean = voice()
    noisy = noise_at(clean, 10)
    assert fwseg_snr(clean, 0.1 * noisy, 16000) == pytest.approx(fwseg_snr(clean, noisy, 16000), abs=1e-3)
    scores = [fwseg_snr(clean, noise_at(clean, snr), 16000) for snr in (-5, 10, 25)]
    assert scores == sorted(scores)
