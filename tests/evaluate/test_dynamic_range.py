"""Dynamic range of signals with two known levels."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.evaluate.dynamic_range import dynamic_range


@pytest.mark.parametrize("decibels", [0.0, 12.0, 60.0])
@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_two_levels_are_that_far_apart(decibels, gain):
    x = np.sin(2 * np.pi * 1000 * np.arange(64000) / 16000)
    x[32000:] *= 10 ** (-decibels / 20)
    assert dynamic_range(gain * x, 16000) == pytest.approx(decibels, abs=1e-5)


def test_silence_ends_at_the_floor():
    x = np.sin(2 * np.pi * 1000 * np.arange(64000) / 16000)
    x[32000:] = 0.0
    assert dynamic_range(x, 16000) == pytest.approx(100 - 10 * np.log10(2), abs=1e-6)
    assert dynamic_range(np.zeros(4000), 16000) == 0.0
