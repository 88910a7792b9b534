"""Perfect reconstruction, split invariance, and what a bin means."""

import numpy as np
import pytest

from unmuffle.errors import ParameterError, SampleRateError
from unmuffle.signal.stft import StftSpec, StreamingStft

SPECS = [
    StftSpec(),
    StftSpec(32, 8, "hann"),
    StftSpec(32, 16),
    StftSpec(30, 10),
    StftSpec(20, 4, "asymmetric"),
    StftSpec(16, 2, "asymmetric"),
]
RATES = [8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000, 192000]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("rate", RATES)
def test_perfect_reconstruction(spec, rate, rng):
    stft = StreamingStft(spec, rate, channels=2)
    frames = stft.frames
    x = rng.uniform(-1, 1, (2, 12 * frames.size)).astype(np.float32)
    y = stft.inverse(stft.forward(x))
    # float32 arithmetic on values up to 1: a few units of 6e-8 add up over the transform (-120 dB).
    np.testing.assert_allclose(y[:, frames.latency :], x[:, : x.shape[1] - frames.latency], atol=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("size", [1, 77, 160, 511, 4096])
def test_any_split_gives_the_same_bits(spec, size, rng):
    x = rng.uniform(-1, 1, (2, 6000)).astype(np.float32)
    whole = StreamingStft(spec, 16000, 2)
    expected_bins = whole.forward(x)
    expected = whole.inverse(expected_bins)
    split = StreamingStft(spec, 16000, 2)
    bins = [split.forward(x[:, i : i + size]) for i in range(0, 6000, size)]
    np.testing.assert_array_equal(np.concatenate(bins, axis=1), expected_bins)
    np.testing.assert_array_equal(np.concatenate([split.inverse(b) for b in bins], axis=1), expected)


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
def test_bins_are_50_hz_apart_at_every_rate(rate):
    frames = StftSpec().at(rate)
    np.testing.assert_allclose(np.diff(frames.frequencies), 50.0)


def test_power_scale_makes_white_noise_one(rng):
    frames = StftSpec().at(16000)
    x = rng.standard_normal((1, 160 * 4000)).astype(np.float32)
    spectrum, _ = frames.forward(x, np.zeros((1, 160), np.float32))
    power = np.mean(np.abs(spectrum[0, 2:, 1:-1]) ** 2) * frames.power_scale
    # 4000 half-overlapping frames x 159 bins: standard error about 0.2 %.
    assert power == pytest.approx(1.0, abs=0.01)


def test_asymmetric_window_is_as_late_as_its_short_side():
    frames = StftSpec(20, 4, "asymmetric").at(16000)
    assert (frames.size, frames.hop, frames.latency) == (320, 64, 64)  # 8 ms of synthesis, 4 ms hop


@pytest.mark.parametrize(
    "values",
    [
        {"window": "kaiser"},
        {"hop_ms": 0.0},
        {"hop_ms": 7.0},
        {"hop_ms": 20.0},
        {"synthesis_ms": 8.0},
        {"window": "asymmetric", "hop_ms": 4.0, "synthesis_ms": 5.0},
    ],
)
def test_a_frame_that_cannot_be_is_refused(values):
    with pytest.raises(ParameterError):
        StftSpec(**values)


@pytest.mark.parametrize("rate", [0, 7999, 192001, 44100.5, True, "16000", None])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(SampleRateError):
        StftSpec().at(rate)
