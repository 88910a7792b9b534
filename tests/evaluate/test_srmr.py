"""SRMR falls as the room gets longer, and ignores the level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve
from voices import voice

from unmuffle.evaluate import srmr as module
from unmuffle.evaluate.srmr import envelopes, srmr
from unmuffle.signal.bands import erb_width_hz


def room(t60, rate=16000, seed=0):
    """Direct sound and a Gaussian tail of -60 dB after ``t60``, direct-to-reverberant ratio 0 dB."""
    h = np.random.default_rng(seed).standard_normal(int(1.1 * t60 * rate))
    h *= np.exp(-np.log(1000) * np.arange(h.size) / (t60 * rate))
    return np.concatenate(([np.linalg.norm(h)], h)) / np.linalg.norm(h)


def test_it_falls_with_the_reverberation_time():
    # one random room has peaks of its own; the mean over four is the physics
    clean = voice(seconds=8.0)
    scores = [
        np.mean([srmr(fftconvolve(clean, room(t60, seed=k))[: clean.size], 16000) for k in range(4)])
        for t60 in (0.15, 0.4, 0.8, 1.6)
    ]
    assert scores == sorted(scores, reverse=True)
    assert srmr(clean, 16000) > scores[0]


def test_the_level_is_free_and_the_rate_nearly():
    clean = voice(48000, seconds=4.0)
    assert srmr(1e-3 * clean, 48000) == pytest.approx(srmr(clean, 48000), rel=1e-9)
    # the same band-limited recording at two rates; what differs is above 7.2 kHz
    import soxr

    assert srmr(soxr.resample(clean, 48000, 16000), 16000) == pytest.approx(srmr(clean, 48000), rel=1e-6)


@pytest.mark.parametrize("modulation", [4.0, 8.0, 20.0])
def test_the_envelope_of_a_modulated_tone_comes_out(modulation):
    t = np.arange(32000) / 16000
    shape = 1 + 0.8 * np.cos(2 * np.pi * modulation * t)
    center = module.centers_hz()[12]
    band = envelopes(shape * np.sin(2 * np.pi * center * t))[12]
    # a gammatone of order 4 delays by 4 / (2 pi b)
    delay = 4 / (2 * np.pi * 1.019 * float(erb_width_hz(center)))
    late = 1 + 0.8 * np.cos(2 * np.pi * modulation * (t[::16] - delay))
    # the band passes its centre with gain 1, and 20 Hz beside it 1 % less; the edges are left out
    assert band[400:1600] == pytest.approx(late[400:1600], abs=0.03)


def test_modulation_energy_lands_on_its_side():
    # noise carriers modulated at 4 Hz score above 1, at 30 Hz below
    t = np.arange(64000) / 16000
    carrier = np.random.default_rng(0).standard_normal(t.size)
    slow, fast = ((1 + np.cos(2 * np.pi * f * t)) * carrier for f in (4.0, 28.0))
    assert srmr(slow, 16000) > 1.5 > 0.7 > srmr(fast, 16000)


def test_pieces_of_a_long_file_add_up():
    clean = voice(seconds=8.0)
    assert srmr(np.tile(clean, 8), 16000) == pytest.approx(srmr(clean, 16000), rel=0.02)  # the seams
