"""Multi-band subtraction: bands, weights, and what they do to a band."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers.spectral.multiband import Multiband, band_edges
from unmuffle.enhancers.spectral.scene import Scene
from unmuffle.signal.stft import StftSpec


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_bands_are_a_kilohertz_wide(rate):
    frames = StftSpec(32.0, 16.0).at(rate)
    first, delta = band_edges(frames)
    assert len(first) == len(delta)
    assert np.abs(np.diff(frames.frequencies[first]) - 1000.0).max() < 2 * rate / frames.size
    top = min(rate / 2, 8000) - 2000
    for start, d in zip(frames.frequencies[first], delta, strict=True):
        expected = 1.0 if start < 950 else 2.5 if start < top - 50 else 1.5
        assert d == pytest.approx(expected)


def test_formula_in_a_steady_scene():
    frames = StftSpec(32.0, 16.0).at(16000)
    method = Multiband()
    noise = np.ones((5, frames.bins), np.float32)
    power = np.full_like(noise, 1000.0)  # 30 dB: alpha = 1 in every band
    gain = method.suppress(Scene(power, noise, power, power, None), frames, method.begin(frames))
    first, delta = band_edges(frames)
    # From the third frame on, the average over frames has nothing but the steady power in it.
    np.testing.assert_allclose(gain[2:, first + 1], np.sqrt(1 - delta / 1000.0)[None].repeat(3, 0), rtol=1e-4)
    weak = np.full_like(noise, 1.0)  # 0 dB: alpha = 4, nothing is left but the floor
    gain = method.suppress(Scene(weak, noise, weak, weak, None), frames, method.begin(frames))
    np.testing.assert_allclose(gain[2:], np.sqrt(0.002), rtol=1e-4)
