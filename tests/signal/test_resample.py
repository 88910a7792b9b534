"""The streaming resampler against theory and against soxr."""

import numpy as np
import pytest

from unmuffle.signal.resample import StreamingResampler, convert

PAIRS = [
    (48000, 16000),
    (16000, 48000),
    (44100, 16000),
    (16000, 44100),
    (22050, 16000),
    (8000, 16000),
    (8001, 16000),
]


def whole(rate_in, rate_out, x):
    r = StreamingResampler(rate_in, rate_out, x.shape[0])
    tail = np.zeros((x.shape[0], 4 * (r.delay_ticks * rate_in // np.lcm(rate_in, rate_out) + 1)), np.float32)
    return r, np.concatenate((r.process(x), r.process(tail)), axis=1)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_a_sine_stays_a_sine_and_arrives_when_declared(rate_in, rate_out):
    frequency, n = 1000.0, rate_in // 4
    x = np.sin(2 * np.pi * frequency * np.arange(n) / rate_in, dtype=np.float64)[np.newaxis].astype(np.float32)
    r, y = whole(rate_in, rate_out, x)
    m = np.arange(r.delay_samples + 400, int(n * rate_out / rate_in) - 400)
    expected = np.sin(2 * np.pi * frequency * (m - r.delay_samples) / rate_out)
    # Stop band of the filter is -80 dB: images and ripple together stay below 2e-4.
    np.testing.assert_allclose(y[0, m], expected, atol=4e-4)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(48000, 16000), (44100, 16000), (44100, 8000)])
def test_what_lies_above_the_new_band_is_gone(rate_in, rate_out):
    frequency = 0.6 * rate_out  # would alias to 0.4 of the new rate
    x = np.sin(2 * np.pi * frequency * np.arange(rate_in) / rate_in)[np.newaxis].astype(np.float32)
    _, y = whole(rate_in, rate_out, x)
    middle = y[0, 500 : rate_out - 500]
    assert 20 * np.log10(np.sqrt(np.mean(middle**2)) / np.sqrt(0.5)) < -75


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_constant_in_constant_out(rate_in, rate_out):
    r, y = whole(rate_in, rate_out, np.ones((1, rate_in // 2), np.float32))
    np.testing.assert_allclose(y[0, 2 * r.delay_samples + 2 : rate_out // 2 - 2], 1.0, atol=1e-5)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@pytest.mark.parametrize("size", [1, 77, 511])
def test_any_split_gives_the_same_bits(rate_in, rate_out, size, rng):
    x = rng.standard_normal((2, 3000)).astype(np.float32)
    expected = StreamingResampler(rate_in, rate_out, 2).process(x)
    r = StreamingResampler(rate_in, rate_out, 2)
    y = np.concatenate([r.process(x[:, i : i + size]) for i in range(0, 3000, size)], axis=1)
    np.testing.assert_array_equal(y, expected)
    assert expected.shape[1] == -(-3000 * rate_out // rate_in)


def test_agrees_with_soxr_in_the_pass_band(rng):
    from scipy.signal import butter, sosfiltfilt

    x = rng.standard_normal((1, 48000))
    x = sosfiltfilt(butter(8, 5000, fs=48000, output="sos"), x, axis=1).astype(np.float32)
    r, y = whole(48000, 16000, x)
    ours = y[:, r.delay_samples : r.delay_samples + 16000]
    reference = convert(x, 48000, 16000)
    # Both have less than 0.001 dB of ripple below 5 kHz.
    np.testing.assert_allclose(ours[:, 200:-200], reference[:, 200:-200], atol=2e-3)


def test_state_can_be_put_back(rng):
    x = rng.standard_normal((1, 1000)).astype(np.float32)
    r = StreamingResampler(44100, 16000)
    r.process(x)
    saved = r.snapshot()
    first = r.process(x)
    r.restore(saved)
    np.testing.assert_array_equal(r.process(x), first)


def test_convert_keeps_dimensions_and_length():
    assert convert(np.zeros(441, np.float32), 44100, 16000).shape == (160,)
    assert convert(np.zeros((2, 441), np.float32), 44100, 48000).shape == (2, 480)
    assert convert(np.zeros((2, 0), np.float32), 44100, 48000).shape == (2, 0)
