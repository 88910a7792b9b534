"""Whispers and singing: the envelope of the voice stays, its pitch goes or becomes that of a melody; and breath."""

import numpy as np
import pytest

from unmuffle.data.mix import MixConfig, Mixer
from unmuffle.data.voices import _cosines, breathed, sung, whispered
from unmuffle.signal.lpc import lpc_autocorrelation

RATE = 16000


def vowel(seconds: float = 2.0, f0: float = 120.0) -> np.ndarray:
    """Pulses through two formants (700 and 1800 Hz)."""
    from scipy.signal import lfilter

    x = np.zeros(int(seconds * RATE))
    x[:: round(RATE / f0)] = 1.0
    for hz in (700.0, 1800.0):
        r = 0.97
        x = lfilter([1.0], [1.0, -2 * r * np.cos(2 * np.pi * hz / RATE), r * r], x)
    return (0.1 * x / np.std(x)).astype(np.float32)


def periodicity(x: np.ndarray, f0: float) -> float:
    """Normalised autocorrelation of the whole at a pitch's period."""
    lag = round(RATE / f0)
    return float(np.dot(x[lag:], x[:-lag]) / np.dot(x, x))


def envelope_db(x: np.ndarray) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), 512)[::256] * np.hanning(512)
    power = np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0)
    model = lpc_autocorrelation(np.fft.irfft(power)[None, :512], 12, sample_rate=RATE)
    response = np.fft.rfft(np.asarray(model.coefficients)[0], 512)
    return -20 * np.log10(np.abs(response))


def test_a_whisper_has_the_envelope_and_no_pitch() -> None:
    x = vowel()
    y = whispered(x, RATE, np.random.default_rng(0))
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert periodicity(x, 120.0) > 0.9
    lags = range(RATE // 400, RATE // 70)
    # Each 64 ms for itself: chance correlations over the formants' ringing decay within 2 ms.
    assert max(periodicity(y, RATE / lag) for lag in lags) < 0.35
    power = np.abs(np.fft.rfft(y * np.hanning(y.size))) ** 2
    hz = np.fft.rfftfreq(y.size, 1 / RATE)
    for low, high in ((500, 900), (1600, 2000)):  # the formants stand out of the valley between
        inside = power[(hz > low) & (hz < high)].mean()
        assert inside > 3 * power[(hz > 1150) & (hz < 1350)].mean()
    quiet = power[hz < 150].mean()
    assert quiet < 0.1 * power[(hz > 500) & (hz < 900)].mean()


def test_a_song_has_the_pitch_of_its_notes() -> None:
    x = vowel(3.0)
    y = sung(x, RATE, np.random.default_rng(1))
    assert y.shape == x.shape
    notes = 220.0 * 2.0 ** (np.array((0, 2, 4, 5, 7, 9, 12)) / 12.0)
    for start in range(RATE // 8, y.size - RATE // 2, RATE // 2):
        part = y[start : start + RATE // 50]  # less than a fifth of a swing of the vibrato
        best = max(periodicity(part, f * 2.0 ** (d / 12)) for f in notes for d in np.linspace(-0.5, 0.5, 9))
        assert best > 0.6
    assert periodicity(y, 120.0) < 0.5


def test_a_sum_of_cosines_in_closed_form() -> None:
    rng = np.random.default_rng(4)
    phase = np.concatenate((2.0 * np.pi * np.cumsum(rng.uniform(0.01, 0.03, 5000)), [0.0, 2.0 * np.pi, 40.0 * np.pi]))
    count = rng.integers(1, 40, phase.size).astype(np.float64)
    orders = np.arange(1, 40)[:, np.newaxis]
    wanted = (np.cos(orders * phase) * (orders <= count)).sum(0)
    np.testing.assert_allclose(_cosines(phase, count), wanted, atol=1e-8)


def test_breath_lies_below_the_voice_and_comes_with_it() -> None:
    x = vowel(4.0)
    there = (np.arange(x.size) // RATE) % 2 == 0
    x *= there
    levels = []
    for seed in range(40):
        y = breathed(x, RATE, np.random.default_rng(seed))
        assert y.shape == x.shape
        assert y.dtype == np.float32
        breath = (y - x).astype(np.float64)
        power = np.abs(np.fft.rfft(breath)) ** 2
        hz = np.fft.rfftfreq(breath.size, 1 / RATE)
        assert power[hz > 100].sum() < 0.05 * power.sum()
        assert abs(breath.mean()) < 1e-6
        levels.append(10 * np.log10(np.mean(breath**2) / np.mean(x.astype(np.float64) ** 2)))
        # A burst rings on for a moment after the voice has ended.
        late = ~there & np.roll(~there, RATE // 3)
        assert np.mean(breath[late] ** 2) < 0.1 * np.mean(breath[there] ** 2)
    assert min(levels) < -24
    assert max(levels) > -8
    assert min(levels) > -30.1
    assert max(levels) < -3.9


@pytest.mark.parametrize("make", [whispered, sung, breathed])
def test_silence_stays_silence(make) -> None:
    assert not np.any(make(np.zeros(RATE, np.float32), RATE, np.random.default_rng(0)))
    odd = make(vowel()[:12345], RATE, np.random.default_rng(0))
    assert odd.shape == (12345,)
    assert np.all(np.isfinite(odd))


def test_the_mixer_makes_them_and_no_other_mixture_changes(small_pool) -> None:
    plain = Mixer(small_pool, MixConfig(seconds=1.0, clean_share=1.0, noise_share=0.0, room_share=0.0, eq_share=0.0))
    all_whispers = Mixer(
        small_pool,
        MixConfig(seconds=1.0, clean_share=1.0, noise_share=0.0, room_share=0.0, eq_share=0.0, whisper_share=1.0),
    )
    a, b = plain.item(0, 3), all_whispers.item(0, 3)
    assert np.any(a.target != b.target)
    again = all_whispers.item(0, 3)
    np.testing.assert_array_equal(b.noisy, again.noisy)
    quiet = {"seconds": 1.0, "clean_share": 1.0, "noise_share": 0.0, "room_share": 0.0, "eq_share": 0.0}
    popping = Mixer(small_pool, MixConfig(**quiet, pop_share=1.0)).item(0, 3)
    assert np.any(popping.target != a.target)
    np.testing.assert_array_equal(popping.target, popping.noisy)
