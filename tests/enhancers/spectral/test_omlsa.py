"""OM-LSA: the gain between floor and log-spectral amplitude."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers.spectral.log_mmse import log_mmse_gain
from unmuffle.enhancers.spectral.omlsa import Omlsa
from unmuffle.enhancers.spectral.scene import Scene
from unmuffle.signal.stft import StftSpec


@pytest.mark.parametrize("level", ["speech", "noise"])
def test_gain_ends(level):
    frames = StftSpec(32.0, 16.0).at(16000)
    method = Omlsa()
    shape = (40, frames.bins)
    xi = np.full(shape, 100.0 if level == "speech" else 1e-3, np.float32)
    gamma = np.full(shape, 101.0 if level == "speech" else 1.0, np.float32)
    gain = method.suppress(Scene(gamma, np.ones(shape, np.float32), gamma, xi, None), frames, method.begin(frames))
    if level == "speech":
        np.testing.assert_allclose(gain, log_mmse_gain(xi, gamma), rtol=1e-3)
    else:
        # Absence at its largest, 0.95: p = 1 / (1 + 19), so a twentieth of the way in decibels.
        lsa_db = 20 * np.log10(log_mmse_gain(xi, gamma)[0, 0])
        expected = method.floor_db + (lsa_db - method.floor_db) / 20
        np.testing.assert_allclose(20 * np.log10(gain[-1]), expected, atol=0.1)
