"""Spectral distortion against the closed form of a one-pole tilt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from voices import noise_at, voice

from unmuffle.evaluate.spectral_distortion import spectral_distortion


def test_a_one_pole_tilt_has_a_closed_form(rng):
    # ln|1 - p e^-jw|^-2 has the cepstrum p^n / n, so SD = 10/ln10 sqrt(2 sum p^2n / n^2)
    p = 0.7
    n = np.arange(1, 200)
    wanted = 10 / np.log(10) * np.sqrt(2 * np.sum(p ** (2 * n) / n**2))
    x = rng.standard_normal(64000)
    # the same noise under both envelopes: only leakage of the 30 ms window remains, under 3 %
    assert spectral_distortion(x, lfilter([1], [1, -p], x), 16000) == pytest.approx(wanted, rel=0.03)


def test_a_copy_scores_zero_at_any_gain():
    clean = voice()
    assert spectral_distortion(clean, 5 * clean, 16000) == pytest.approx(0.0, abs=1e-6)


def test_pauses_do_not_count():
    clean = voice(seconds=4.0)
    clean[32000:] = 0.0
    worse = clean.copy()
    worse[32500:] = 1e-4 * np.random.default_rng(0).standard_normal(31500)
    # only the frame across the border may differ
    assert spectral_distortion(clean, worse, 16000) < 0.3


def test_noise_raises_it():
    clean = voice()
    scores = [spectral_distortion(clean, noise_at(clean, snr), 16000) for snr in (40, 20, 0)]
    assert scores == sorted(scores)
