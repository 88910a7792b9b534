"""STOI and ESTOI are the package's numbers, ordered by noise, and named errors where it guesses."""

from __future__ import annotations

import numpy as np
import pytest
from voices import noise_at, voice

from unmuffle.errors import InputError, ShapeError
from unmuffle.evaluate.stoi import estoi, stoi

pystoi = pytest.importorskip("pystoi")


def test_it_is_the_package_up_to_16_khz():
    for rate in (8000, 16000):
        clean = voice(rate)
        noisy = noise_at(clean, 0)
        assert stoi(clean, noisy, rate) == pystoi.stoi(clean, noisy, rate)
        # pystoi dithers the extended form by 1e-16 from numpy's global generator
        assert estoi(clean, noisy, rate) == pytest.approx(pystoi.stoi(clean, noisy, rate, extended=True), abs=1e-9)


def test_a_perfect_copy_scores_one_and_noise_costs():
    clean = voice(48000)
    assert stoi(clean, clean, 48000) == pytest.approx(1.0, abs=1e-6)
    for metric in (stoi, estoi):
        scores = [metric(clean, noise_at(clean, snr), 48000) for snr in (-10, 0, 10)]
        assert scores == sorted(scores)
        assert scores[0] < scores[-1] - 0.1


def test_a_silent_output_scores_zero():
    clean = voice()
    assert stoi(clean, np.zeros(clean.size), 16000) == 0.0


def test_too_little_speech_is_named():
    clean = voice(seconds=1.0)
    with pytest.raises(ShapeError, match="at least"):
        stoi(clean[:4000], clean[:4000], 16000)
    few = np.zeros(16000)
    few[:2000] = clean[:2000]
    with pytest.raises(InputError, match="active speech"):
        stoi(few, few, 16000)
