"""Smoothing in the cepstrum: what stays, what goes, what is averaged."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers.spectral.cepstrum import CepstralSmoother
from unmuffle.signal.stft import StftSpec


@pytest.fixture(params=[8000, 16000, 48000])
def frames(request):
    return StftSpec(32.0, 16.0).at(request.param)


def test_a_steady_spectrum_passes_unchanged(frames, rng):
    smoother = CepstralSmoother(frames)
    logs = np.repeat(rng.standard_normal((1, frames.bins)).astype(np.float32) * 3, 6, 0)
    np.testing.assert_allclose(smoother.smooth(logs, logs, smoother.begin()), logs, atol=2e-5)


def test_random_peaks_are_averaged(frames, rng):
    smoother = CepstralSmoother(frames)
    logs = np.log(rng.exponential(size=(600, frames.bins))).astype(np.float32)
    out = smoother.smooth(logs, logs, smoother.begin())[50:]
    # Recursive averaging with a leaves (1 - a) / (1 + a) of the variance: 0.042 for 192 ms at a hop of
    # 16 ms; the envelope (at 8 kHz, one coefficient in 26) is left nearly as it is.
    keep = np.exp(-16 / 192)
    assert out.var(axis=0).mean() < 3.6 * (1 - keep) / (1 + keep) * logs.var()
    # The mean of ln P over an exponential P is -0.577, and smoothing keeps means.
    assert out.mean() == pytest.approx(-0.577, abs=0.03)


def test_harmonics_come_at_once_and_random_peaks_do_not(rng):
    frames = StftSpec(32.0, 16.0).at(16000)
    smoother = CepstralSmoother(frames)
    comb = 3.0 * np.cos(2 * np.pi * frames.frequencies / 125.0)
    scatter = 3.0 * np.sqrt(0.5) * rng.standard_normal(frames.bins)
    before = np.zeros((20, frames.bins))
    shares = []
    for shape in (comb, scatter):
        logs = np.concatenate((before, shape[None])).astype(np.float32)
        out = smoother.smooth(logs, logs, smoother.begin())[-1]
        shares.append(np.dot(out, shape) / np.dot(shape, shape))
    assert shares[0] > 0.7
    assert shares[1] < 0.3


def test_frames_may_come_in_any_groups(rng):
    frames = StftSpec(32.0, 16.0).at(16000)
    smoother = CepstralSmoother(frames)
    logs = rng.standard_normal((30, frames.bins)).astype(np.float32)
    whole = smoother.smooth(logs, logs, smoother.begin())
    state = smoother.begin()
    parts = [smoother.smooth(p, p, state) for p in (logs[:1], logs[1:8], logs[8:9], logs[9:])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
