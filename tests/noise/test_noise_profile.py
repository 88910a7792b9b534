"""Profiles: absolute scale, independence of frames and rate, and mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from noise_helpers import level_db, white
from scipy.signal import lfilter, welch

from unmuffle.errors import ParameterError
from unmuffle.noise import NoiseProfile, mean_profile, profile_from
from unmuffle.signal.stft import StftSpec


def test_density_of_white_noise(rng):
    # One-sided density 2 sigma^2 / fs. 10 s of noise: 1000 frames, about 4 % a bin.
    profile = profile_from(white(rng, 10), 16000)
    assert np.mean(profile.psd[1:-1]) == pytest.approx(2e-4 / 16000, rel=0.01)


def test_agrees_with_welch(rng):
    # Same window and hop as ours: the two are the same average, except for Welch's scaling of the
    # bins at 0 and fs/2, which are not doubled there.
    x = lfilter([1, 0.5], [1, -0.8], rng.standard_normal(48000)).astype(np.float32)
    frames = StftSpec().at(16000)
    _, psd = welch(x, 16000, frames.analysis.copy(), frames.size, frames.size - frames.hop, detrend=False)
    np.testing.assert_allclose(profile_from(x, 16000).psd[1:-1], psd[1:-1], rtol=2e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("spec", [StftSpec(), StftSpec(32, 8, "hann"), StftSpec(40, 20)])
def test_holds_at_any_frames_and_rate(rng, rate, spec):
    # Noise of density 1e-8 per Hz, measured at 48 kHz, in the frames of another rate: its variance
    # there is density * rate / 2.
    x = white(rng, 5, 48000, rms=np.sqrt(1e-8 * 24000))
    frames = spec.at(rate)
    noise = profile_from(x, 48000).power(frames)
    assert noise.dtype == np.float32
    assert noise.shape == (frames.bins,)
    assert level_db(noise[None, None], frames)[0] == pytest.approx(10 * np.log10(1e-8 * rate / 2), abs=0.2)


def test_span(rng):
    quiet, loud = white(rng, 1), white(rng, 1, rms=0.1)
    x = np.concatenate((loud, quiet, loud))
    assert np.mean(profile_from(x, 16000, None, 1.0, 2.0).psd) == pytest.approx(2e-4 / 16000, rel=0.05)
    assert np.mean(profile_from(x, 16000, None, 2.0).psd) == pytest.approx(2e-2 / 16000, rel=0.05)


def test_channels_are_averaged(rng):
    x = np.stack((white(rng, 2, rms=0.01), white(rng, 2, rms=0.03)))
    assert np.mean(profile_from(x, 16000).psd) == pytest.approx(2 * 5e-4 / 16000, rel=0.03)


@pytest.mark.parametrize("span", [(-0.1, 0.5), (0.5, 0.5), (0.5, 0.2), (0.0, 9.0), (0.0, np.nan), (0.5, 0.51)])
def test_bad_spans(span):
    with pytest.raises(ParameterError, match="noise span"):
        profile_from(np.zeros(16000, np.float32), 16000, None, *span)


@pytest.mark.parametrize(
    ("psd", "frequencies"),
    [
        ([1.0], [0.0]),
        ([1.0, 2.0], [0.0]),
        ([1.0, -2.0], [0.0, 1.0]),
        ([1.0, np.inf], [0.0, 1.0]),
        ([1.0, 2.0], [1.0, 1.0]),
        ([1.0, 2.0], [-1.0, 1.0]),
    ],
)
def test_bad_profiles(psd, frequencies):
    with pytest.raises(ParameterError, match="noise profile"):
        NoiseProfile(psd, frequencies)


def test_profiles_are_values_and_can_be_averaged():
    a = NoiseProfile((1.0, 3.0), (0.0, 100.0))
    assert a == NoiseProfile([1, 3], np.array([0, 100]))
    assert hash(a) == hash(NoiseProfile([1, 3], [0, 100]))
    assert mean_profile([a, NoiseProfile((3.0, 3.0, 3.0), (0.0, 50.0, 100.0))]).psd == (2.0, 3.0)
    with pytest.raises(ParameterError, match="at least one"):
        mean_profile([])
    silent = NoiseProfile((0.0, 0.0), (0.0, 8000.0)).power(StftSpec().at(16000))
    assert (silent > 0).all()
