"""Lines of the mains go down by 30 dB and more, a voice's harmonics beside them do not."""

import numpy as np
import pytest

from unmuffle import load
from unmuffle.enhancers.base import run_offline


def hum(rate, seconds, f0, lines=10, drift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * (f0 * t + drift * t**2 / 2)
    return sum(np.cos(k * phase + rng.uniform(0, 6)) / k for k in range(1, lines + 1))


def level(x):
    return 10 * np.log10(np.mean(np.square(x.astype(np.float64))))


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("f0", [50.0, 49.87, 60.0, 60.21])
def test_hum_goes(rate, f0):
    x = (0.03 * hum(rate, 4, f0)).astype(np.float32)
    y = run_offline(load("dehum"), x, rate)
    assert level(y[3 * rate :]) - level(x[3 * rate :]) < -40.0


def test_drift_is_followed():
    rate = 16000
    x = (0.03 * hum(rate, 12, 50.02, drift=0.002)).astype(np.float32)  # 2 mHz a second, fast for a grid
    y = run_offline(load("dehum"), x, rate)
    assert level(y[4 * rate :]) - level(x[4 * rate :]) < -30.0


@pytest.mark.parametrize(("mains", "pitch"), [(50.0, 120.0), (60.0, 107.0)])
def test_voice_beside_the_lines(mains, pitch):
    rate, seconds = 16000, 8
    t = np.arange(rate * seconds) / rate
    # Syllables of harmonics that are not on the comb.
    voice = sum(np.cos(2 * np.pi * pitch * k * t + k) / k for k in (1, 2, 3))
    voice *= 0.2 * (np.sin(2 * np.pi * 1.5 * t) > -0.5)
    x = (voice + 0.03 * hum(rate, seconds, mains)).astype(np.float32)
    y = run_offline(load("dehum"), x, rate)
    late = slice(4 * rate, None)
    window = np.hanning(len(t[late]))

    def line(z, f):
        return 20 * np.log10(np.abs(np.sum(window * z[late] * np.exp(-2j * np.pi * f * t[late]))))

    assert abs(line(y, pitch) - line(voice, pitch)) < 0.5
    # The fundamental, where there is hum alone, goes; so does the sum of all that is not voice, less
    # what the voice's sudden onsets, right beside the lines, disturb the estimates.
    assert line(y, mains) - line(x, mains) < -30.0
    assert level((y - voice)[late]) - level(0.03 * hum(rate, seconds, mains)[late]) < -18.0
    pause = (np.sin(2 * np.pi * 1.5 * t) < -0.6) & (t > 4)
    # In the pauses, hum alone is left to hear.
    assert level(y[pause]) - level(x[pause]) < -20.0


def test_voice_that_crosses_a_line_leaves_no_tail():
    rate = 16000
    t = np.arange(8 * rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 100 * t) * ((t > 5) & (t < 5.3))  # right on the second line
    x = (tone + 0.02 * hum(rate, 8, 50.0)).astype(np.float32)
    y = run_offline(load("dehum"), x, rate)
    inside, after = (t > 5.05) & (t < 5.25), (t > 5.32) & (t < 6)
    assert abs(level(y[inside]) - level(tone[inside])) < 0.5
    assert level(y[after]) - level(tone[inside]) < -40.0


def test_without_hum_nothing_changes():
    rate = 16000
    rng = np.random.default_rng(0)
    t = np.arange(5 * rate) / rate
    noise = 0.1 * rng.standard_normal(5 * rate)
    phase = np.cumsum(2 * np.pi * (100 + 8 * np.sin(2 * np.pi * 3 * t)) / rate)  # a voice around 100 Hz
    voice = sum(0.1 * np.cos(k * phase) for k in range(1, 8))
    for x in (noise, voice, np.full(5 * rate, 0.5), np.zeros(5 * rate)):
        x = x.astype(np.float32)
        np.testing.assert_array_equal(run_offline(load("dehum"), x, rate), x)


def test_hum_that_ends_and_another_that_begins():
    rate = 16000
    x = np.concatenate((0.03 * hum(rate, 3, 50.0), np.zeros(6 * rate), 0.03 * hum(rate, 4, 60.05))).astype(np.float32)
    x += (1e-4 * np.random.default_rng(0).standard_normal(len(x))).astype(np.float32)
    y = run_offline(load("dehum"), x, rate)
    assert level(y[-rate:]) - level(x[-rate:]) < -30.0
    # No ghost of what has ended: half a second later it is gone.
    ghost = slice(int(3.6 * rate), 9 * rate)
    assert level(y[ghost]) - level(0.03 * hum(rate, 3, 50.0)) < -35.0
    assert level(y[5 * rate : 9 * rate]) == pytest.approx(level(x[5 * rate : 9 * rate]), abs=0.5)


def test_mains_can_be_given():
    x = (0.03 * hum(16000, 4, 60.0)).astype(np.float32)
    np.testing.assert_array_equal(run_offline(load("dehum", mains="50", harmonics=2), x, 16000), x)
