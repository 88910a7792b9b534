"""Computed noises: what a beep, a siren, a bell, an engine and a whine have that a voice has not."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.data import noises
from unmuffle.data.mix import MixConfig, Mixer
from unmuffle.errors import ParameterError

RATE = 16000
N = 3 * RATE


def rngs(count: int = 25) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def frames(x: np.ndarray) -> np.ndarray:
    """Power spectra of 64 ms every 32 ms."""
    cut = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), 1024)[::512] * np.hanning(1024)
    return np.abs(np.fft.rfft(cut, axis=1)) ** 2


MAKERS = [
    *(noises.coloured, noises.rumble, noises.tones),
    *(noises._beeps, noises._siren, noises._bell, noises._engine, noises._whine),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("rate", [8000, 48000])
def test_any_length_and_rate(make, rate: int) -> None:
    for seed in range(8):
        for n in (1, 777, rate):
            x = make(n, rate, np.random.default_rng(seed))
            assert x.shape == (n,)
            assert x.dtype == np.float32
            assert np.all(np.isfinite(x))
        assert 0.01 < np.sqrt(np.mean(x**2)) < 30
        np.testing.assert_array_equal(x, make(rate, rate, np.random.default_rng(seed)))


def test_rumble_lies_below_the_voice_and_swells() -> None:
    swells = []
    for rng in rngs():
        x = noises.rumble(N, RATE, rng).astype(np.float64)
        power = np.abs(np.fft.rfft(x)) ** 2
        hz = np.fft.rfftfreq(N, 1 / RATE)
        assert power[hz < 150].sum() > 0.7 * power.sum()
        assert power[hz > 1000].sum() < 0.02 * power.sum()
        level = np.sqrt(np.mean(x[: N // 1600 * 1600].reshape(-1, 1600) ** 2, axis=1))
        swells.append(np.std(np.log(level)))
    assert min(swells) < 0.3
    assert max(swells) > 0.7


def test_a_beep_is_a_few_lines() -> None:
    for rng in rngs():
        power = frames(noises._beeps(N, RATE, rng)).sum(0)
        # Two pitches with six harmonics each at most, six bins of the window a line.
        assert np.sort(power)[::-1][:72].sum() > 0.97 * power.sum()


def test_a_siren_moves_and_a_beep_does_not() -> None:
    def spread(x: np.ndarray) -> float:
        top = frames(x).argmax(1) * RATE / 1024
        return float(np.percentile(top, 95) / np.percentile(top, 5))

    assert np.median([spread(noises._siren(N, RATE, rng)) for rng in rngs()]) > 1.3
    for rng in rngs():
        pitch = np.full(N, float(rng.uniform(300, 3000)))
        assert spread(noises._stack(pitch, RATE, np.ones(1))) == 1.0


def test_a_bell_dies_away_until_it_is_struck_again() -> None:
    found = 0
    for rng in rngs():
        x = noises._bell(N, RATE, rng)
        level = 10 * np.log10(np.mean(x[: N // 160 * 160].reshape(-1, 160).astype(np.float64) ** 2, axis=1) + 1e-12)
        falls = np.mean(np.diff(level) < 0.1)
        assert falls > 0.5
        found += falls > 0.85
    assert found > 5


def test_an_engine_repeats_itself() -> None:
    for rng in rngs():
        x = noises._engine(RATE // 2, RATE, rng).astype(np.float64)
        spectrum = np.abs(np.fft.rfft(x, 2 * x.size)) ** 2
        again = np.fft.irfft(spectrum)
        lags = again[RATE // 230 : RATE // 17] / again[0]
        assert lags.max() > 0.2  # of noise alone it is 0.05


def test_a_whine_stays_where_it_is() -> None:
    loud = 0
    for rng in rngs():
        power = frames(noises._whine(N, RATE, rng))
        top = power.sum(0).argmax()
        # The strongest line, with its neighbours, is there in every frame, and as strong as it was, to some decibels.
        level = 10 * np.log10(power[:, max(top - 2, 0) : top + 3].sum(1))
        assert np.percentile(level, 90) - np.percentile(level, 10) < 12
        loud += np.sort(power.sum(0))[::-1][:36].sum() > 0.9 * power.sum()
    assert loud > 12


def test_half_of_all_tones_are_whines(monkeypatch) -> None:
    made = []
    for name in ("_beeps", "_siren", "_bell", "_engine", "_whine"):
        monkeypatch.setattr(noises, name, lambda n, rate, rng, name=name: made.append(name))
    for rng in rngs(400):
        noises.tones(100, RATE, rng)
    assert 160 < made.count("_whine") < 240
    assert all(30 < made.count(name) < 80 for name in ("_beeps", "_siren", "_bell", "_engine"))


def test_a_stack_is_the_sum_of_its_sines() -> None:
    """The polynomial gives what the sines give, minutes later as well; those too high are left out whole."""
    rng = np.random.default_rng(3)
    n = 60 * RATE
    pitch = 180.0 * 1.3 ** np.sin(np.arange(n) / 5000.0)
    levels = rng.uniform(0.1, 1.0, 60)
    phase = 2.0 * np.pi * np.cumsum(pitch) / RATE
    orders = [k for k in range(1, 61) if k * pitch.max() < 0.48 * RATE]
    assert len(orders) < 60
    wanted = sum(levels[k - 1] * np.sin(k * phase + 2.4 * k * k) for k in orders)
    np.testing.assert_allclose(noises._stack(pitch, RATE, levels), wanted, atol=2e-4)


def test_lines_go_through_their_values() -> None:
    x = noises._lines(np.array([1.0, 3.0, -1.0]), 8)
    np.testing.assert_allclose(x, [1.0, 1.5, 2.0, 2.5, 3.0, 2.0, 1.0, 0.0])
    assert noises._lines(np.array([1.0, 3.0, -1.0]), 7).size == 7


def test_no_harmonic_folds_back() -> None:
    x = noises._stack(np.full(N, 3000.0), RATE, np.ones(40))
    power = np.abs(np.fft.rfft(x * np.hanning(N))) ** 2
    hz = np.fft.rfftfreq(N, 1 / RATE)
    near = np.zeros(hz.size, bool)
    for line in (3000, 6000):
        near |= abs(hz - line) < 5
    assert power[~near].sum() < 1e-6 * power.sum()


def test_slopes_and_hum() -> None:
    hums = 0
    for rng in rngs(60):
        x = noises.coloured(N, RATE, rng)
        power = np.abs(np.fft.rfft(x)) ** 2
        hz = np.fft.rfftfreq(N, 1 / RATE)
        if power[hz > 1000].sum() < 1e-3 * power.sum() and np.sort(power)[::-1][:200].sum() > 0.8 * power.sum():
            hums += 1
            continue
        bands = [10 * np.log10(power[(hz >= f) & (hz < 2 * f)].mean()) for f in (125, 250, 500, 1000, 2000)]
        slopes = np.diff(bands)
        assert slopes.max() - slopes.min() < 3
        assert -9.6 < slopes.mean() < 3.6
    assert 5 < hums < 25


def test_the_mixer_plays_them(small_pool) -> None:
    only = {"music_share": 0.0, "babble_share": 0.0, "synthetic_share": 0.0, "room_share": 0.0, "eq_share": 0.0}
    mixer = Mixer(small_pool, MixConfig(seconds=1.0, noise_share=1.0, clean_share=0.0, **only, tone_share=1.0))
    plain = Mixer(small_pool, MixConfig(seconds=1.0, noise_share=1.0, clean_share=0.0, **only))
    deep = Mixer(small_pool, MixConfig(seconds=1.0, noise_share=1.0, clean_share=0.0, **only, rumble_share=1.0))
    assert np.any(mixer.item(0, 0).noisy != plain.item(0, 0).noisy)
    power = np.abs(np.fft.rfft(deep.item(0, 0).noisy)) ** 2
    assert power[:300].sum() > 0.9 * power.sum()
    with pytest.raises(ParameterError, match="tone_share"):
        MixConfig(tone_share=0.9)
