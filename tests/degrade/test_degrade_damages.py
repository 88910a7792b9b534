"""Clipping, packets, filters, hum, wind, clicks, gains: each by its physics."""

from __future__ import annotations

import numpy as np
import pytest
from degrade_signals import RATE, speech_like

from unmuffle.degrade import (
    BandLimit,
    Clicks,
    Clip,
    Damage,
    DcOffset,
    Headroom,
    Hum,
    LevelChange,
    Noise,
    PacketLoss,
    Pipeline,
    Wind,
    active_snr_db,
)
from unmuffle.degrade.filters import BANDS, band_filter
from unmuffle.degrade.packets import draw_losses
from unmuffle.errors import InputError, ParameterError
from unmuffle.signal.spectrum import long_term_spectrum

EVERY: list[Damage] = [
    Noise(),
    Clip(),
    Clip(sdr_db=None, threshold_dbfs=-20.0, shape="soft"),
    PacketLoss(),
    PacketLoss(fill="repeat"),
    BandLimit(),
    Hum(),
    Wind(),
    Clicks(),
    LevelChange(),
    LevelChange(shape="drift"),
    LevelChange(shape="fixed", range_db=-6.0),
    DcOffset(),
    Headroom(peak=0.1),
]


@pytest.mark.parametrize("damage", EVERY, ids=lambda d: f"{d.kind}-{getattr(d, 'shape', '')}")
def test_contract(damage: Damage) -> None:
    for clean in (speech_like(1.0), np.stack([speech_like(1.0), speech_like(1.0, seed=1)])):
        before = clean.copy()
        first = damage.apply(clean, RATE, np.random.default_rng(7))
        second = damage.apply(clean, RATE, np.random.default_rng(7))
        np.testing.assert_array_equal(clean, before)
        assert first.noisy.tobytes() == second.noisy.tobytes()
        assert first.record == second.record
        assert first.noisy.shape == first.target.shape == clean.shape
        assert first.noisy.dtype == first.target.dtype == np.float32
        assert np.isfinite(first.noisy).all()
        assert not np.array_equal(first.noisy, clean)
        assert not np.shares_memory(first.target, clean)
        if damage.kind != "headroom":
            np.testing.assert_array_equal(first.target, clean)


@pytest.mark.parametrize("shape", ["hard", "soft"])
@pytest.mark.parametrize("sdr_db", [1.0, 7.0, 20.0])
def test_clip_reaches_its_sdr(shape: str, sdr_db: float, rng: np.random.Generator) -> None:
    clean = speech_like()
    damaged = Clip(sdr_db=sdr_db, shape=shape).apply(clean, RATE, rng)
    error = damaged.noisy.astype(float) - clean
    assert 10 * np.log10(np.sum(clean.astype(float) ** 2) / np.sum(error**2)) == pytest.approx(
        sdr_db, abs=1e-3
    )
    assert np.max(np.abs(damaged.noisy)) <= damaged.record["drawn"]["threshold"] * 1.0001


def test_clipped_share_of_a_sine(rng: np.random.Generator) -> None:
    # |sin| > sin(60 degrees) a third of the time.
    x = np.sin(2 * np.pi * 101 * np.arange(RATE) / RATE + 0.3).astype(np.float32)
    damaged = Clip(sdr_db=None, threshold_dbfs=20 * np.log10(np.sin(np.pi / 3))).apply(x, RATE, rng)
    assert damaged.record["drawn"]["clipped_share"] == pytest.approx(1 / 3, abs=0.005)
    untouched = np.abs(x) < np.sin(np.pi / 3)
    np.testing.assert_array_equal(damaged.noisy[untouched], x[untouched])


def test_silence_cannot_be_clipped_to_an_sdr(rng: np.random.Generator) -> None:
    with pytest.raises(InputError):
        Clip().apply(np.zeros(100, np.float32), RATE, rng)


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 2.0), (0.3, 5.0), (0.05, 1 / 0.95)])
def test_loss_statistics(rate: float, burst: float) -> None:
    lost = draw_losses(200_000, rate, burst, np.random.default_rng(1))
    starts = np.flatnonzero(np.diff(lost.astype(int), prepend=0) == 1)
    # Standard errors: rate about sqrt(2 burst rate / n), mean burst about burst / sqrt(bursts).
    assert lost.mean() == pytest.approx(rate, abs=5 * np.sqrt(2 * burst * rate / 200_000))
    assert lost.sum() / starts.size == pytest.approx(burst, rel=5 / np.sqrt(starts.size))


def test_lost_packets_are_where_the_record_says(rng: np.random.Generator) -> None:
    clean = speech_like() + np.float32(0.001)
    damaged = PacketLoss(loss_rate=0.2, packet_ms=20).apply(clean, RATE, rng)
    lost = np.zeros(clean.size // 320, bool)
    lost[damaged.record["drawn"]["lost_packets"]] = True
    packets, before = damaged.noisy.reshape(-1, 320), clean.reshape(-1, 320)
    assert not packets[lost].any()
    np.testing.assert_array_equal(packets[~lost], before[~lost])
    assert damaged.record["drawn"]["loss_rate"] == lost.mean()


def test_repeat_fill_is_the_last_packet_fading() -> None:
    clean = speech_like() + np.float32(0.001)
    for seed in range(20):
        damaged = PacketLoss(loss_rate=0.3, mean_burst_packets=3, fill="repeat").apply_seeded(
            clean, RATE, seed
        )
        lost = damaged.record["drawn"]["lost_packets"]
        if any(i + 1 in lost and i - 1 not in lost and i > 0 for i in lost):
            break
    first = next(i for i in lost if i + 1 in lost and i - 1 not in lost and i > 0)
    packets = damaged.noisy.reshape(-1, 320)
    step = 10 ** (-3 / 20)
    np.testing.assert_allclose(packets[first], step * packets[first - 1], rtol=1e-5)
    np.testing.assert_allclose(packets[first + 1], step**2 * packets[first - 1], rtol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("name", list(BANDS))
def test_band_filter_response(name: str, rate: int) -> None:
    low, high = BANDS[name]
    taps = band_filter(low, high, rate)
    f = np.fft.rfftfreq(1 << 16, 1 / rate)
    response = 20 * np.log10(np.abs(np.fft.rfft(taps, 1 << 16)) + 1e-12)
    assert np.abs(response[(f > low + 110 * (low > 0)) & (f < min(high - 110, rate / 2))]).max() < 0.1
    if high + 210 < rate / 2:
        assert response[f > high + 110].max() < -55
    if low:
        assert response[f < low - 110].max() < -55
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-15)  # linear phase


def test_band_limit_keeps_the_place_of_an_impulse(rng: np.random.Generator) -> None:
    x = np.zeros(4000, np.float32)
    x[1234] = 1.0
    assert int(np.argmax(np.abs(BandLimit().apply(x, RATE, rng).noisy))) == 1234


def test_hum_has_its_lines_and_its_snr(rng: np.random.Generator) -> None:
    clean = speech_like(4.0)
    hum = Hum(frequency_hz=60.0, snr_db=12.0, harmonics=5).apply(clean, RATE, rng).noisy - clean
    assert active_snr_db(clean, hum, RATE) == pytest.approx(12.0, abs=0.01)
    spectrum = np.abs(np.fft.rfft(hum.astype(float)))
    lines = spectrum[[240 * k for k in range(1, 6)]]
    np.testing.assert_allclose(lines / lines[0], 1 / np.arange(1, 6), rtol=1e-3)
    spectrum[[240 * k for k in range(1, 6)]] = 0.0
    assert spectrum.max() < 1e-3 * lines[0]


def test_wind_is_low_and_gusty(rng: np.random.Generator) -> None:
    clean = speech_like(10.0)
    wind = Wind(snr_db=0.0).apply(clean, RATE, rng).noisy - clean
    assert active_snr_db(clean, wind, RATE) == pytest.approx(0.0, abs=0.01)
    f, level = long_term_spectrum(wind, RATE)
    power = 10 ** (level / 10)
    assert power[f < 500].sum() > 0.9 * power.sum()
    short = 10 * np.log10(np.mean(wind.reshape(-1, RATE // 2) ** 2, axis=-1))
    steady = 10 * np.log10(np.mean(rng.standard_normal((20, RATE // 2)) ** 2, axis=-1))
    assert np.std(short) > 5 * np.std(steady)


def test_clicks_are_short_and_as_many_as_said() -> None:
    clean = speech_like(10.0)
    damaged = Clicks(rate_hz=5.0, peak_db=6.0).apply_seeded(clean, RATE, 2)
    clicks = damaged.noisy - clean
    times = damaged.record["drawn"]["clicks_s"]
    assert len(times) == pytest.approx(50, abs=5 * np.sqrt(50))  # Poisson
    assert np.max(np.abs(clicks)) == pytest.approx(2.0 * 0.9976 * np.max(np.abs(clean)), rel=1e-3)
    touched = np.zeros(clean.size, bool)
    for t in times:
        start = round(t * RATE)
        touched[start : start + round(0.0042 * RATE)] = True
    assert np.max(np.abs(clicks[~touched])) == 0.0


def test_gain_follows_the_record() -> None:
    clean = np.full(8 * RATE, 0.1, np.float32)
    damaged = LevelChange(shape="steps", range_db=20.0, every_s=2.0).apply_seeded(clean, RATE, 3)
    gains, times = damaged.record["drawn"]["gains_db"], damaged.record["drawn"]["times_s"]
    level = 20 * np.log10(damaged.noisy / clean)
    edges = [*times, 8.0]
    for gain_db, start, stop in zip(gains, edges[:-1], edges[1:], strict=True):
        stretch = level[round((start + 0.011) * RATE) : round(stop * RATE) - 1]
        np.testing.assert_allclose(stretch, gain_db, atol=1e-3)
    assert np.max(np.abs(np.diff(level))) < 20.0 / (0.01 * RATE) + 1e-3  # ramps, no jumps
    drift = LevelChange(shape="drift", range_db=20.0, every_s=2.0).apply_seeded(clean, RATE, 3)
    assert np.max(np.abs(np.diff(20 * np.log10(drift.noisy)))) < 20.0 * 4 / (2.0 * RATE)
    fixed = LevelChange(shape="fixed", range_db=-6.0206).apply_seeded(clean, RATE, 3)
    np.testing.assert_allclose(fixed.noisy, 0.05, rtol=1e-4)


def test_dc_is_the_mean(rng: np.random.Generator) -> None:
    clean = speech_like()
    noisy = DcOffset(0.05).apply(clean, RATE, rng).noisy
    assert np.mean(noisy.astype(float) - clean) == pytest.approx(0.05, abs=1e-6)


def test_headroom_scales_both_or_neither(rng: np.random.Generator) -> None:
    clean = speech_like()
    loud = Pipeline((Noise(snr_db=-20.0), Headroom())).apply(clean, RATE, rng)
    assert np.max(np.abs(loud.noisy)) == pytest.approx(0.99, abs=1e-4)
    assert active_snr_db(loud.target, loud.noisy - loud.target, RATE) == pytest.approx(-20.0, abs=0.01)
    quiet = Headroom().apply(clean, RATE, rng)
    np.testing.assert_array_equal(quiet.noisy, clean)


BAD: list[tuple[type[Damage], dict]] = [
    (Clip, {"shape": "fuzzy"}),
    (Clip, {"sdr_db": None}),
    (Clip, {"sdr_db": 0.0}),
    (Clip, {"sdr_db": 5.0, "threshold_dbfs": -3.0}),
    (PacketLoss, {"loss_rate": 1.0}),
    (PacketLoss, {"loss_rate": 0.8}),  # bursts of 2 are too short for it
    (PacketLoss, {"packet_ms": 0.0}),
    (PacketLoss, {"fill": "magic"}),
    (BandLimit, {"low_hz": 500.0, "high_hz": 400.0}),
    (BandLimit, {"low_hz": -1.0}),
    (Hum, {"frequency_hz": 0.0}),
    (Hum, {"harmonics": 0}),
    (Hum, {"level_dbfs": -20.0}),
    (Wind, {"gust_hz": 0.0}),
    (Clicks, {"rate_hz": -1.0}),
    (LevelChange, {"shape": "wobble"}),
    (LevelChange, {"every_s": 0.0}),
    (LevelChange, {"range_db": float("inf")}),
    (DcOffset, {"offset": 2.0}),
    (Headroom, {"peak": 0.0}),
]


@pytest.mark.parametrize(("cls", "bad"), BAD)
def test_bad_parameters(cls: type[Damage], bad: dict) -> None:
    with pytest.raises(ParameterError):
        cls(**bad)


def test_band_above_nyquist(rng: np.random.Generator) -> None:
    clean = speech_like(1.0)
    np.testing.assert_array_equal(BandLimit(0.0, 20000.0).apply(clean, RATE, rng).noisy, clean)
    with pytest.raises(ParameterError, match="nothing below"):
        BandLimit(9000.0, 12000.0).apply(clean, RATE, rng)
