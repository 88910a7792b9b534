"""PESQ is the package's own number at its own rates, and behaves elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from voices import noise_at, voice

from unmuffle.errors import InputError, SampleRateError, ShapeError
from unmuffle.evaluate.pesq import pesq_nb, pesq_wb

pesq_package = pytest.importorskip("pesq")


def test_it_is_the_package_at_8_and_16_khz():
    clean = voice()
    noisy = noise_at(clean, 10)
    assert pesq_wb(clean, noisy, 16000) == pesq_package.pesq(16000, clean, noisy, "wb")
    assert pesq_nb(clean, noisy, 16000) == pesq_package.pesq(16000, clean, noisy, "nb")
    clean, noisy = clean[::2], noisy[::2]
    assert pesq_nb(clean, noisy, 8000) == pesq_package.pesq(8000, clean, noisy, "nb")


def test_the_best_score_is_the_published_ceiling():
    # P.862.2 maps a raw 4.5 to 0.999 + 4 / (1 + exp(-1.3669 * 4.5 + 3.8224)) = 4.644, P.862.1 to
    # 0.999 + 4 / (1 + exp(-1.4945 * 4.5 + 4.6607)) = 4.549
    clean = voice()
    assert pesq_wb(clean, clean, 16000) == pytest.approx(4.644, abs=1e-3)
    assert pesq_nb(clean, clean, 16000) == pytest.approx(4.549, abs=1e-3)


def test_less_noise_scores_higher_at_any_rate():
    clean = voice(48000)
    scores = [pesq_wb(clean, noise_at(clean, snr), 48000) for snr in (0, 15, 30)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] - 0.5


def test_a_long_file_is_the_mean_of_its_parts():
    clean = np.tile(voice(), 12)  # 36 s: two parts of 18 s
    noisy = noise_at(clean, 10)
    half = clean.size // 2
    parts = [pesq_package.pesq(16000, clean[i], noisy[i], "wb") for i in (slice(half), slice(half, None))]
    assert pesq_wb(clean, noisy, 16000) == pytest.approx(np.mean(parts), abs=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025])
def test_wide_band_is_refused_below_16_khz(rate):
    with pytest.raises(SampleRateError, match="pesq_nb"):
        pesq_wb(voice(rate), voice(rate), rate)


def test_nothing_to_score_is_named(rng):
    with pytest.raises(ShapeError, match="at least"):
        pesq_wb(rng.standard_normal(1000), rng.standard_normal(1000), 16000)
    clean = voice()
    with pytest.raises(InputError, match="silent"):
        pesq_wb(clean, np.zeros(clean.size), 16000)
    blip = np.zeros(16000)
    blip[8000:8300] = rng.standard_normal(300)  # 19 ms: shorter than any utterance
    with pytest.raises(InputError, match="No utterances"):
        pesq_wb(blip, blip, 16000)


def test_a_minute_of_short_words_does_not_stop_the_process(rng):
    # 100 utterances: handed over whole they overrun the buffers of the C code (50)
    clean = np.zeros(16000 * 60)
    for start in range(0, clean.size - 4800, 9600):
        clean[start : start + 4800] = 0.1 * rng.standard_normal(4800)
    assert 1.0 < pesq_wb(clean, clean + 0.001 * rng.standard_normal(clean.size), 16000) < 4.65
