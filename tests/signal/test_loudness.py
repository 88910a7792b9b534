"""The loudness meter against the numbers printed in BS.1770, EBU Tech 3341, and pyloudnorm."""

import numpy as np
import pytest

from unmuffle.errors import ShapeError
from unmuffle.signal.levels import true_peak_dbfs
from unmuffle.signal.loudness import LoudnessMeter, TruePeak, k_weighting


def sine(rate, seconds, dbfs, hz=1000.0):
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hz / rate * np.arange(int(rate * seconds)))).astype(
        np.float32
    )


def speechlike(rate, seconds, seed=0):
    """Noise with speech's slope and a syllable rhythm, with pauses."""
    rng = np.random.default_rng(seed)
    n = int(rate * seconds)
    f = np.fft.rfftfreq(n, 1 / rate)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) / (1 + (f / 500) ** 2) ** 0.5, n)
    t = np.arange(n) / rate
    x *= np.maximum(0, np.sin(2 * np.pi * 2 * t)) * (np.sin(2 * np.pi * 0.2 * t) > -0.5)
    return (0.3 * x / np.std(x)).astype(np.float32) * 0.5


def test_filter_at_48_khz_is_the_printed_one():
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585]
    high_pass = [1, -2, 1, 1, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48000), [shelf, high_pass], atol=1e-8)


@pytest.mark.parametrize("rate", [22050, 48000])
def test_ebu_tech_3341_cases_1_to_3(rate):
    # Stereo sine of 1 kHz; the document allows 0.1 LU.
    def measured(*parts):
        meter = LoudnessMeter(rate, 2)
        for seconds, level in parts:
            x = sine(rate, seconds, level)
            meter.push(np.stack((x, x)))
        return meter.integrated()

    assert measured((5, -23.0)) == pytest.approx(-23.0, abs=0.1)
    assert measured((5, -33.0)) == pytest.approx(-33.0, abs=0.1)
    assert measured((3, -36.0), (20, -23.0), (3, -36.0)) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (22050, 1), (48000, 5), (192000, 1)])
def test_agrees_with_pyloudnorm(rate, channels):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    x = np.stack([speechlike(rate, 6, c) for c in range(channels)])
    meter = LoudnessMeter(rate, channels)
    meter.push(x)
    # The library's own filters are an approximation of the standard's; 0.1 LU is what EBU allows.
    other = pyloudnorm.Meter(rate).integrated_loudness(x.T.astype(np.float64))
    assert meter.integrated() == pytest.approx(other, abs=0.1)
    if rate == 48000:  # its class "DeMan" has the filters of the standard
        exact = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(x.T.astype(np.float64))
        assert meter.integrated() == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 96000, 192000])
def test_a_sine_reads_the_same_at_any_rate(rate):
    meter = LoudnessMeter(rate)
    meter.push(sine(rate, 3, 0.0, 997.0))
    # The bilinear transform bends the edge of the shelf, at 8 kHz (where speech ends at 4 kHz) by 0.2 dB.
    assert meter.integrated() == pytest.approx(-3.01, abs=0.25 if rate == 8000 else 0.06)


def test_any_split_and_pauses():
    rate = 22050  # 100 ms are 2205 samples; blocks do not fit them
    x = np.concatenate((np.zeros(rate, np.float32), speechlike(rate, 3), np.zeros(3 * rate, np.float32)))
    whole, parts = LoudnessMeter(rate), LoudnessMeter(rate)
    whole.push(x)
    for i in range(0, len(x), 777):
        parts.push(x[i : i + 777])
    assert parts.integrated() == pytest.approx(whole.integrated(), abs=1e-6)
    assert parts.true_peak_db() == whole.true_peak_db()
    only = LoudnessMeter(rate)
    only.push(x[rate : 4 * rate])
    # Silence is gated away; blocks at the edges of the speech are half silent and count a little.
    assert whole.integrated() == pytest.approx(only.integrated(), abs=0.3)


def test_short_and_silent_signals():
    meter = LoudnessMeter(48000)
    assert meter.integrated() == -np.inf
    assert meter.true_peak_db() == -np.inf
    meter.push(np.zeros(100_000, np.float32))
    assert meter.integrated() == -np.inf
    meter.reset()
    meter.push(sine(48000, 0.25, 0.0, 997.0))
    assert meter.integrated() == pytest.approx(-3.01, abs=0.1)
    with pytest.raises(ShapeError):
        meter.push(np.zeros((2, 10), np.float32))


def test_memory_does_not_grow():
    meter = LoudnessMeter(8000)
    x = speechlike(8000, 10)
    sizes = []
    for _ in range(20):
        meter.push(x)
        sizes.append(
            sum(v.nbytes for v in vars(meter).values() if isinstance(v, np.ndarray)) + len(meter._steps)
        )
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("rate", [16000, 48000, 96000])
def test_true_peak(rate):
    # Sampled at 45 degrees, a sine at a quarter of the rate shows only 0.707 of its peak.
    x = np.sin(np.pi / 2 * np.arange(2000) + np.pi / 4).astype(np.float32) * np.float32(0.5)
    x *= np.hanning(2000).astype(np.float32)
    meter = LoudnessMeter(rate)
    meter.push(x)
    # -6.02 dB, less the grid's 0.17 dB at most.
    assert -6.02 - 0.18 < meter.true_peak_db() < -5.9
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32) * np.float32(0.1)
    meter = LoudnessMeter(16000)
    meter.push(noise)
    assert meter.true_peak_db() == pytest.approx(true_peak_dbfs(noise), abs=0.05)


def test_true_peak_stream_is_late_by_its_delay():
    x = np.zeros((1, 200), np.float32)
    x[0, 50] = 1.0
    out = TruePeak(48000, 1).push(x)
    assert int(np.argmax(out)) == 50 + TruePeak.delay
    assert out[50 + TruePeak.delay] == 1.0
