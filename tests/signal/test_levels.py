"""Levels against closed forms, a literal P.56 loop, and pyloudnorm's own reference."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.errors import DtypeError, InputError, NonFiniteError, ShapeError
from unmuffle.signal import levels

RATE = 16000


def sine(hz: float, seconds: float, rate: int = RATE, phase: float = 0.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate + phase)


def p56_by_the_letter(x: np.ndarray, rate: int) -> tuple[float, float]:
    """Method B as ITU-T writes it: one sample at a time, one counter per threshold."""
    g = np.exp(-1 / (rate * 0.03))
    hang = int(np.ceil(0.2 * rate))
    c = [2.0**-j for j in range(15, 0, -1)]
    a, h = [0] * len(c), [hang] * len(c)
    p = q = energy = 0.0
    for value in x:
        energy += value * value
        p = g * p + (1 - g) * abs(value)
        q = g * q + (1 - g) * p
        for j, threshold in enumerate(c):
            if q >= threshold:
                a[j] += 1
                h[j] = 0
            elif h[j] < hang:
                a[j] += 1
                h[j] += 1
            else:
                break
    level = [10 * np.log10(energy / n) if n else np.nan for n in a]
    excess = [A - 20 * np.log10(t) - 15.9 for A, t in zip(level, c, strict=True)]
    j = next(j for j, e in enumerate(excess) if e <= 0)
    t = excess[j - 1] / (excess[j - 1] - excess[j])
    active = level[j - 1] + t * (level[j] - level[j - 1])
    return active, 10 ** ((10 * np.log10(energy / len(x)) - active) / 10)


def test_rms_of_sine_and_square() -> None:
    assert levels.rms_dbfs(sine(1000, 1)) == pytest.approx(-3.0103, abs=1e-4)
    assert levels.rms_dbfs(np.ones(10)) == 0.0
    assert levels.rms_dbfs(np.stack([np.ones(100), np.zeros(100)])) == pytest.approx(-3.0103, abs=1e-4)


def test_peak() -> None:
    assert levels.peak_dbfs(np.array([0.1, -0.5, 0.2])) == pytest.approx(-6.0206, abs=1e-4)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(5), np.zeros((2, 800))])
def test_silence_is_minus_infinity(samples: np.ndarray) -> None:
    assert levels.rms_dbfs(samples) == -np.inf
    assert levels.peak_dbfs(samples) == -np.inf
    assert levels.true_peak_dbfs(samples) == -np.inf
    active = levels.active_speech_level(samples, RATE)
    assert (active.level_dbfs, active.activity) == (-np.inf, 0.0)
    assert not levels.active_mask(samples, RATE).any()


def test_true_peak_sees_between_the_samples() -> None:
    # A sine at f_s/4 with a phase of 45 degrees is sampled at +-0.707 only: sample peak -3.01 dB,
    # and the 4x grid hits the very top. The ends ring, hence the slow fade and 0.05 dB.
    x = sine(RATE / 4, 0.5, phase=np.pi / 4) * np.hanning(RATE // 2)
    assert levels.peak_dbfs(x) == pytest.approx(-3.01, abs=0.01)
    assert levels.true_peak_dbfs(x) == pytest.approx(0.0, abs=0.05)


def test_true_peak_never_below_the_sample_peak(rng: np.random.Generator) -> None:
    for _ in range(5):
        x = rng.uniform(-1, 1, (2, 500))
        assert levels.true_peak_dbfs(x) >= levels.peak_dbfs(x)


def test_constants_are_those_of_the_recommendation() -> None:
    assert (levels.P56_MARGIN_DB, levels.P56_HANGOVER_S, levels.P56_TIME_CONSTANT_S) == (15.9, 0.2, 0.03)


def test_p56_on_known_bursts() -> None:
    # +-A square bursts of 1 s every 4 s. The envelope rises as 1 - e^-u (1 + u) and falls as
    # e^-u (1 + u) with u = t / 0.03 s, so the active time under threshold c is known: burst minus
    # rise, plus fall, plus 0.2 s of hangover. Solve A - C = 15.9 dB for it.
    rate, amplitude, on, period, bursts = 8000, 0.3, 1.0, 4.0, 5
    x = np.zeros(int(rate * period * bursts))
    for k in range(bursts):
        start = int(k * period * rate)
        x[start : start + int(on * rate)] = amplitude * (-1.0) ** np.arange(int(on * rate))

    u = np.linspace(0, 12, 200_001)
    fall = np.exp(-u) * (1 + u)

    def active_seconds(c: float) -> float:
        rise_s = 0.03 * np.interp(c, 1 - fall, u)
        fall_s = 0.03 * np.interp(-c, -fall, u)
        return on - rise_s + fall_s + 0.2

    grid = np.geomspace(0.05, 0.6, 20_000)  # threshold over amplitude
    level = np.array([10 * np.log10(on / active_seconds(c)) for c in grid])
    best = np.argmin(np.abs(level - 20 * np.log10(grid) - 15.9))
    expected_activity = active_seconds(grid[best]) / period

    found = levels.active_speech_level(x, rate)
    # The octave ladder of thresholds is interpolated linearly: some hundredths of a decibel.
    assert found.activity == pytest.approx(expected_activity, rel=0.01)
    assert found.level_dbfs == pytest.approx(20 * np.log10(amplitude) + level[best], abs=0.05)
    assert levels.active_mask(x, rate).mean() == pytest.approx(expected_activity, rel=0.01)


def test_p56_equals_the_literal_loop(rng: np.random.Generator) -> None:
    syllables = np.repeat(rng.uniform(0, 1, 60) ** 3, 800)
    x = (0.2 * syllables * rng.standard_normal(48000)).astype(np.float32).astype(float)
    expected = p56_by_the_letter(x, RATE)
    found = levels.active_speech_level(x, RATE)
    assert (found.level_dbfs, found.activity) == pytest.approx(expected, abs=1e-9)


def test_p56_ignores_added_silence() -> None:
    # Five more seconds of nothing leave the active level alone, where RMS falls by 10 log10(6).
    speech = np.concatenate([sine(300, 0.5), np.zeros(int(0.5 * RATE))] * 2) * 0.2
    longer = np.concatenate([speech, np.zeros(10 * RATE)])
    before, after = (levels.active_speech_level(x, RATE).level_dbfs for x in (speech, longer))
    assert after == pytest.approx(before, abs=0.3)
    assert levels.rms_dbfs(longer) < levels.rms_dbfs(speech) - 7


def test_p56_follows_the_gain_far_down() -> None:
    x = np.concatenate([sine(300, 1.0), np.zeros(RATE)]) * 0.5
    reference = levels.active_speech_level(x, RATE).level_dbfs
    for down_db in (6.0206, 30.0, 60.0, 100.0):
        level = levels.active_speech_level(x * 10 ** (-down_db / 20), RATE).level_dbfs
        # Not a multiple of the ladder's step: linear interpolation moves by up to 0.1 dB.
        assert level == pytest.approx(reference - down_db, abs=0.1)


def test_active_part_has_the_active_level() -> None:
    x = np.concatenate([sine(200, 1.0), np.zeros(2 * RATE), sine(200, 1.0)]) * 0.1
    mask = levels.active_mask(x, RATE)
    power = 10 * np.log10(np.sum(x[mask] ** 2) / mask.sum())
    # 0.2 dB: the level is interpolated between thresholds 6 dB apart, the mask is cut at one.
    assert levels.active_speech_level(x, RATE).level_dbfs == pytest.approx(power, abs=0.2)


def test_two_equal_channels_are_one() -> None:
    x = sine(500, 0.7) * 0.3
    assert levels.active_speech_level(np.stack([x, x]), RATE) == levels.active_speech_level(x, RATE)


def test_very_short_signals_have_a_finite_level() -> None:
    for n in (1, 2, 17):
        assert np.isfinite(levels.active_speech_level(np.full(n, 0.5), RATE).level_dbfs)


def test_loudness_of_the_calibration_tone() -> None:
    # BS.1770-4: a 997 Hz sine at 0 dBFS (peak) in one channel reads -3.01 LUFS.
    assert levels.loudness_lufs(sine(997, 5, 48000), 48000) == pytest.approx(-3.01, abs=0.05)
    assert levels.loudness_lufs(np.zeros(48000), 48000) == -np.inf


def test_loudness_needs_a_block() -> None:
    with pytest.raises(InputError, match=r"0\.4 s"):
        levels.loudness_lufs(np.ones(100), RATE)


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (np.zeros(5, dtype=np.int16), DtypeError),
        (np.zeros((2, 3, 4)), ShapeError),
        (np.zeros((0, 4)), ShapeError),
        (np.array([0.0, np.nan]), NonFiniteError),
    ],
)
def test_bad_arrays(samples: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error):
        levels.rms_dbfs(samples)


def test_the_input_is_left_alone(rng: np.random.Generator) -> None:
    x = rng.standard_normal(1000)
    copy = x.copy()
    levels.active_mask(x, RATE)
    levels.true_peak_dbfs(x)
    np.testing.assert_array_equal(x, copy)
