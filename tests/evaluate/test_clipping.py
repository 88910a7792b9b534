"""Clipping is found on any ceiling, and crests are not mistaken for it."""

from __future__ import annotations

import numpy as np
import pytest
from voices import voice

from unmuffle.evaluate.clipping import clipping


@pytest.mark.parametrize("gain", [1.0, 0.1])
@pytest.mark.parametrize("ceiling", [0.1, 0.2])
def test_the_share_above_the_ceiling_is_found(gain, ceiling):
    x = voice()
    wanted = np.mean(np.abs(x) >= ceiling)
    got = clipping(gain * np.clip(x, -ceiling, ceiling), 16000)
    # runs of one or two samples are not counted
    assert 0.5 * wanted < got <= wanted


def test_a_clipped_sine_has_a_closed_form():
    x = np.sin(2 * np.pi * 100 * np.arange(48000) / 48000)
    # |sin| > 0.5 for two thirds of the time
    assert clipping(np.clip(x, -0.5, 0.5), 48000) == pytest.approx(2 / 3, abs=0.01)
    # only the upper half clipped, at another level than the lower crest
    assert clipping(np.minimum(x, 0.5), 48000) == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(("rate", "hz"), [(8000, 50), (16000, 220), (48000, 50), (48000, 1000)])
def test_a_sine_is_not_clipped(rate, hz):
    assert clipping(0.7 * np.sin(2 * np.pi * hz * np.arange(rate) / rate + 0.3), rate) == 0.0


def test_speech_and_silence_are_not_clipped_and_full_scale_is():
    assert clipping(voice(), 16000) == 0.0
    assert clipping(np.zeros(100), 16000) == 0.0
    assert clipping(np.array([0.0, 1.0, 0.0, -1.0]), 16000) == 0.5
