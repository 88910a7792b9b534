"""The composite scores are their published linear forms, and their order is sane."""

from __future__ import annotations

import numpy as np
import pytest
from voices import noise_at, voice

pytest.importorskip("pesq")

from unmuffle.evaluate import llr, pesq, seg_snr, wss
from unmuffle.evaluate._frames import lowest_mean
from unmuffle.evaluate.composite import composite


def test_the_coefficients_are_those_of_the_paper():
    clean = voice(seconds=6.0)
    clean = clean + 1e-3 * np.random.default_rng(0).standard_normal(clean.size)
    noisy = noise_at(clean, 25)
    p = pesq.pesq_wb(clean, noisy, 16000)
    a, w = lowest_mean(llr.frames(clean, noisy, 16000)), lowest_mean(wss.frames(clean, noisy, 16000))
    g = np.mean(seg_snr.frames(clean, noisy, 16000))
    got = composite(clean, noisy, 16000)
    wanted = (
        3.093 - 1.029 * a + 0.603 * p - 0.009 * w,
        1.634 + 0.478 * p - 0.007 * w + 0.063 * g,
        1.594 + 0.805 * p - 0.512 * a - 0.007 * w,
    )
    assert all(1.0 < v < 5.0 for v in wanted)  # nothing hidden by the limits
    assert got == pytest.approx(wanted, abs=1e-12)


def test_a_perfect_copy_is_at_the_ceiling_and_noise_at_the_floor():
    clean = voice()
    assert composite(clean, clean, 16000) == (5.0, 5.0, 5.0)  # 5.89, 6.06, 5.33 before the limit
    noise = 0.1 * np.random.default_rng(1).standard_normal(clean.size)
    assert composite(clean, noise, 16000).covl == 1.0


def test_below_16_khz_the_narrow_band_score_takes_its_place():
    clean = voice(8000)
    assert composite(clean, clean, 8000).covl == 5.0
