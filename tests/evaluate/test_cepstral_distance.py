"""Cepstra of known poles, and the distance they make."""

from __future__ import annotations

import numpy as np
import pytest
from voices import noise_at, voice

from unmuffle.evaluate.cepstral_distance import cepstral_distance, cepstrum
from unmuffle.evaluate.spectral_distortion import spectral_distortion


def test_the_cepstrum_of_poles_is_the_power_sum():
    # 1 / prod(1 - p_i z^-1) has c_n = sum_i p_i^n / n
    poles = np.array([0.8, -0.3, 0.6 + 0.5j, 0.6 - 0.5j])
    a = np.real(np.poly(poles))[None, :]
    n = np.arange(1, 13)
    assert cepstrum(a, 12)[0] == pytest.approx(np.real((poles[:, None] ** n).sum(axis=0)) / n)


def test_a_copy_scores_zero_at_any_gain():
    clean = voice()
    assert cepstral_distance(clean, clean, 16000) == 0.0
    assert cepstral_distance(clean, 0.3 * clean, 16000) == pytest.approx(0.0, abs=1e-6)


def test_noise_raises_it_up_to_the_limit():
    clean = voice()
    scores = [cepstral_distance(clean, noise_at(clean, snr), 16000) for snr in (40, 20, 0)]
    assert scores == sorted(scores)
    assert scores[-1] <= 10.0


def test_parseval_ties_it_to_the_spectral_distortion(rng):
    # Both are the same norm of the log envelope; the cepstrum is cut after 16 of its terms, so it is the smaller one,
    # and envelopes of order 16 fitted to noise have little beyond (10 %).
    from scipy.signal import lfilter

    x = rng.standard_normal(32000)
    y = lfilter([1], [1, -0.6], x)
    cd, sd = cepstral_distance(x, y, 16000), spectral_distortion(x, y, 16000)
    assert 0.85 * sd < cd < sd
