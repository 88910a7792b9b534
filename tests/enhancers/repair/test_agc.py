"""A talker is brought to the target; noise in pauses is not; the gain keeps its bounds and pace."""

import numpy as np
import pytest

from unmuffle import load
from unmuffle.enhancers.base import run_offline

RATE = 16000


def talker(seconds, dbfs, seed=0, noise_dbfs=-90.0):
    """Bursts of voice-like noise, 0.4 s long, with pauses of 0.3 s; active level ``dbfs``."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    f = np.fft.rfftfreq(n, 1 / RATE)
    shape = (f / 150) ** 2 / (1 + (f / 150) ** 2) / (1 + (f / 700) ** 2)
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * shape, n)
    active = (np.arange(n) / RATE) % 0.7 > 0.3
    x = x / np.std(x) * active * 10 ** (dbfs / 20)
    return (x + rng.standard_normal(n) * 10 ** (noise_dbfs / 20)).astype(np.float32), active


def level(x):
    return 10 * np.log10(np.mean(np.square(x.astype(np.float64))))


@pytest.mark.parametrize("dbfs", [-45.0, -35.0, -23.0, -12.0])
def test_reaches_the_target(dbfs):
    x, active = talker(12, dbfs)
    y = run_offline(load("agc"), x, RATE)
    late = active & (np.arange(len(x)) > 9 * RATE)
    # 1.5 dB: the measure has a high-pass at 80 Hz and judges whole steps, edges of words included.
    assert level(y[late]) == pytest.approx(-23.0, abs=1.5)


def test_gain_has_bounds():
    x, _ = talker(15, -55.0)
    y = run_offline(load("agc", max_boost_db=10.0), x, RATE)
    assert level(y[-3 * RATE :]) - level(x[-3 * RATE :]) == pytest.approx(10.0, abs=0.1)
    x, _ = talker(10, -14.0)
    y = run_offline(load("agc", target_dbfs=-40.0, max_cut_db=6.0), x, RATE)
    assert level(y[-3 * RATE :]) - level(x[-3 * RATE :]) == pytest.approx(-6.0, abs=0.1)


def test_noise_alone_is_left_alone():
    x = (0.003 * np.random.default_rng(0).standard_normal(10 * RATE)).astype(np.float32)
    np.testing.assert_array_equal(run_offline(load("agc"), x, RATE), x)


def test_no_pumping_in_a_long_pause():
    speech, _ = talker(6, -35.0, noise_dbfs=-65.0)
    pause = (10 ** (-65 / 20) * np.random.default_rng(5).standard_normal(8 * RATE)).astype(np.float32)
    y = run_offline(load("agc"), np.concatenate((speech, pause)), RATE)
    start, end = level(y[6 * RATE : 7 * RATE]), level(y[13 * RATE :])
    assert end == pytest.approx(start, abs=0.2)


def test_pace():
    x, _ = talker(8, -45.0)
    y = run_offline(load("agc", rate_db_per_s=3.0), x, RATE)
    use = np.abs(x) > 1e-4
    steps = np.array_split(np.arange(len(x)), 80)  # 100 ms each
    gain = np.array([level(y[s][use[s]]) - level(x[s][use[s]]) if use[s].any() else np.nan for s in steps])
    gain = gain[np.isfinite(gain)]
    assert np.max(np.diff(gain)) < 3.0 * 0.1 * 4 + 0.05  # steps without samples above 1e-4 are left out


def test_peaks_stay_below_full_scale():
    x, _ = talker(10, -40.0)
    x[9 * RATE] = 0.6  # a pop, when the gain is up by 17 dB
    y = run_offline(load("agc"), x, RATE)
    assert np.max(np.abs(y)) < 0.9


def test_a_second_far_quieter_talker_is_found():
    one, _ = talker(6, -15.0)
    two, active = talker(16, -42.0, seed=1)
    y = run_offline(load("agc"), np.concatenate((one, two)), RATE)[6 * RATE :]
    late = active & (np.arange(len(two)) > 12 * RATE)
    assert level(y[late]) == pytest.approx(-23.0, abs=2.0)


def test_channels_share_one_gain():
    x, _ = talker(5, -40.0)
    x = np.stack((x, x * np.float32(0.5)))
    y = run_offline(load("agc"), x, RATE)
    np.testing.assert_array_equal(y[1], y[0] * np.float32(0.5))
