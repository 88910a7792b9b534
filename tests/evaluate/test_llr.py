"""LLR on processes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from voices import noise_at, voice

from unmuffle.evaluate import llr as module
from unmuffle.evaluate.llr import llr


def test_a_copy_scores_zero_at_any_gain():
    clean = voice()
    assert llr(clean, clean, 16000) == 0.0
    assert llr(clean, 0.2 * clean, 16000) == pytest.approx(0.0, abs=1e-6)


def test_first_order_processes_have_a_closed_form(rng):
    # AR(1) with pole p against AR(1) with pole q: b R b' / a R a' = (1 - 2 p q + q^2) / (1 - p^2)
    p, q = 0.5, 0.9
    x = lfilter([1], [1, -p], rng.standard_normal(80000))
    y = lfilter([1], [1, -q], rng.standard_normal(80000))
    wanted = np.log((1 - 2 * p * q + q * q) / (1 - p * p))
    # 480 windowed samples and 16 free coefficients: the estimate is off by about 2 * 16 / 480
    assert np.mean(module.frames(x, y, 16000)) == pytest.approx(wanted, abs=0.12)


def test_noise_raises_it_and_frames_are_limited(rng):
    clean = voice()
    scores = [llr(clean, noise_at(clean, snr), 16000) for snr in (40, 20, 0)]
    assert scores == sorted(scores)
    assert scores[-1] <= 2.0
    assert module.frames(clean, rng.standard_normal(clean.size), 16000).max() > 2.0


def test_both_silent_frames_cost_nothing():
    clean = voice()
    clean[:8000] = 0.0
    assert np.all(module.frames(clean, clean, 16000)[:60] == 0.0)
