"""What ``tiny`` hears: pitch, bands, coherence."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers.neural import bands
from unmuffle.enhancers.neural.bands import BANDS, SPEC, Analysis
from unmuffle.signal.resample import convert

RATES = [8000, 16000, 22050, 44100, 48000]


def heard(x: np.ndarray, rate: int) -> bands.Heard:
    x = np.atleast_2d(x).astype(np.float32)
    analysis = Analysis(SPEC.at(rate), len(x))
    hop = analysis.frames.hop
    return analysis.step(x[:, : x.shape[1] // hop * hop], analysis.initial())[0]


def voice(f0: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    """Harmonics up to 3.8 kHz, 12 dB per octave down, with noise 20 dB below."""
    t = np.arange(int(rate * seconds)) / rate
    x = sum(np.cos(2 * np.pi * k * f0 * t + k * k) / k for k in range(1, int(3800 / f0) + 1))
    x = 0.1 * x / np.std(x)
    return x + 0.01 * np.random.default_rng(0).standard_normal(len(x))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("f0", [70.0, 95.0, 140.0, 210.0])
def test_the_pitch_is_found_at_any_rate(rate: int, f0: float) -> None:
    found = heard(voice(f0, rate), rate)
    hop = SPEC.at(rate).hop
    seconds = found.lag[5:] / 80 * hop / rate
    # A twentieth of the frames may take two periods for one, which is one too.
    assert np.mean(np.abs(seconds * f0 - 1) < 0.02) >= 0.95
    assert found.features[5:, 129].mean() > 0.6


def test_noise_has_no_pitch(rng: np.random.Generator) -> None:
    found = heard(rng.standard_normal(32000), 16000)
    assert found.features[5:, 129].mean() < 0.4
    # The lag was chosen for its likeness, in noise too: coherence is small, not zero.
    assert found.features[5:, 3 * BANDS : 4 * BANDS].mean() < 0.25


def test_one_period_earlier_a_voice_is_the_same() -> None:
    found = heard(voice(100.0, 16000), 16000)
    difference = np.abs(found.comb[0, 5:, :60] - found.spectrum[0, 5:, :60])
    # The noise, 20 dB below, is in both.
    assert np.sum(difference**2) < 0.03 * np.sum(np.abs(found.spectrum[0, 5:, :60]) ** 2)
    assert found.features[5:, 3 * BANDS + 2 : 3 * BANDS + 12].min(axis=0).mean() > 0.8


def test_parts_of_a_sample_are_delayed_too() -> None:
    # 160 / 1.05 Hz: a period of 105 samples at 16 kHz, 52.5 at 8 kHz, 231.5 at 44.1 kHz.
    for rate in (8000, 44100):
        found = heard(voice(160 / 1.05, rate), rate)
        coherence = found.features[5:, 3 * BANDS + 3 : 3 * BANDS + 12]
        assert np.median(coherence) > 0.9


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_split_gives_the_same(rate: int, channels: int, rng: np.random.Generator) -> None:
    x = np.stack([voice(f, rate, 0.6) for f in (120.0, 180.0)][:channels]).astype(np.float32)
    x += 0.05 * rng.standard_normal(x.shape).astype(np.float32)
    analysis = Analysis(SPEC.at(rate), channels)
    hop = analysis.frames.hop
    count = x.shape[1] // hop
    whole, after = analysis.step(x[:, : count * hop], analysis.initial())
    state, parts = analysis.initial(), []
    for a, b in [(0, 1), (1, 2), (2, 3), (3, 10), (10, 11), (11, 40), (40, count)]:
        one, state = analysis.step(x[:, a * hop : b * hop], state)
        parts.append(one)
    # A decision has no tolerance: lags are the same bits.
    np.testing.assert_array_equal(np.concatenate([p.lag for p in parts]), whole.lag)
    np.testing.assert_allclose(np.concatenate([p.features for p in parts]), whole.features, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([p.comb for p in parts], axis=1), whole.comb, atol=1e-5)
    for name, value in after.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("db", [-30.0, 10.0])
def test_the_level_is_not_heard(db: float) -> None:
    x = voice(130.0, 16000)
    quiet = heard(x * 10 ** (db / 20), 16000)
    loud = heard(x, 16000)
    # The constant part has next to no energy: there the floor of the logarithm shows.
    gap = np.abs(quiet.features - loud.features)
    assert gap.max() < 0.2
    assert np.delete(gap, [0, BANDS, 2 * BANDS], axis=1).max() < 0.02


def test_all_rates_hear_alike() -> None:
    x = voice(115.0, 48000, 1.5)
    x *= np.repeat(np.random.default_rng(1).uniform(0.2, 1.0, 15), 4800)
    low = heard(convert(x.astype(np.float32), 48000, 16000), 16000)
    high = heard(x, 48000)
    # Nothing lies above 4 kHz, but the noise, which the resampler's filter cuts at the very top.
    gap = np.abs(low.features - high.features)[5:, [*range(28), *range(32, 60), *range(64, 92)]]
    assert np.median(gap) < 0.02
    assert np.quantile(gap, 0.95) < 0.25


def test_opposite_channels_do_not_cancel() -> None:
    x = voice(120.0, 16000)
    mono, stereo = heard(x, 16000), heard(np.stack((x, -x)), 16000)
    np.testing.assert_allclose(mono.lag, stereo.lag, rtol=1e-5)
    np.testing.assert_allclose(mono.features, stereo.features, atol=1e-4)


def test_silence_is_heard_as_numbers() -> None:
    found = heard(np.zeros(3200), 16000)
    assert np.isfinite(found.features).all()
    assert np.isfinite(found.comb).all()
