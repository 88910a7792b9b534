"""What every spectral method keeps: splits, channels, levels, silence, profiles."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.enhancers import registry
from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.spectral.apriori import ESTIMATORS
from unmuffle.enhancers.spectral.smoothing import SMOOTHERS
from unmuffle.errors import ParameterError, UnknownParameterError
from unmuffle.noise import NoiseProfile, profile_from

METHODS = [name for name, entry in registry.REGISTRY.items() if entry.family == "spectral"]
RATE = 16000


def voice(rng, seconds=2.0, rate=RATE):
    """Syllables: harmonics of a gliding pitch under a moving resonance, with pauses."""
    t = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    total = np.zeros_like(t)
    for h in range(1, 30):
        f = h * pitch
        total += np.cos(h * phase + h) / (1 + ((f - 700 - 300 * np.sin(4 * t)) / 500) ** 2)
    gate = np.clip(3 * np.sin(2 * np.pi * 2.5 * t - 1.5), 0, 1)
    return (0.1 * total * gate).astype(np.float32)


@pytest.fixture
def noisy(rng):
    clean = voice(rng)
    return clean + 0.03 * rng.standard_normal(len(clean)).astype(np.float32)


def level(x):
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-30)


VARIANTS = [
    *({"method": m} for m in METHODS),
    *({"method": "log-mmse", "snr": s} for s in ESTIMATORS),
    *({"method": "wiener", "smoothing": s} for s in SMOOTHERS),
    {"method": "omlsa", "snr": "cepstral", "over_db": 1.0, "window": "hann", "window_ms": 32, "hop_ms": 8},
    {"method": "log-mmse", "window": "asymmetric", "window_ms": 30, "hop_ms": 5},
]


@pytest.mark.parametrize("table", VARIANTS, ids=lambda t: " ".join(map(str, t.values())))
def test_any_split_gives_the_same_bits(table, noisy):
    stream = registry.from_dict(table).stream(RATE)
    expected = np.concatenate((stream.process(noisy), stream.flush()))
    assert len(expected) == len(noisy) + stream.latency_samples
    for size in (77, 160, 1111):
        parts = [stream.process(noisy[i : i + size]) for i in range(0, len(noisy), size)]
        np.testing.assert_array_equal(np.concatenate((*parts, stream.flush())), expected)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_rates_and_state(name, rate, rng):
    x = voice(rng, 0.7, rate) + 0.02 * rng.standard_normal(int(0.7 * rate)).astype(np.float32)
    enhancer = registry.load(name)
    stream, other = enhancer.stream(rate), enhancer.stream(rate)
    stream.process(x[:5001])
    other.restore(stream.state())
    np.testing.assert_array_equal(other.process(x[5001:]), stream.process(x[5001:]))
    np.testing.assert_array_equal(other.flush(), stream.flush())
    assert run_offline(enhancer, x, rate).shape == x.shape


@pytest.mark.parametrize("name", METHODS)
def test_one_gain_serves_all_channels(name, noisy):
    # A source panned 6 dB to the left comes out panned 6 dB to the left: the same samples, scaled.
    out = run_offline(registry.load(name), np.stack((noisy, np.float32(0.5) * noisy)), RATE)
    np.testing.assert_allclose(out[1], 0.5 * out[0], atol=1e-7)
    # And two equal channels come out as one would.
    mono = run_offline(registry.load(name), noisy, RATE)
    twice = run_offline(registry.load(name), np.stack((noisy, noisy)), RATE)
    np.testing.assert_allclose(twice[0], mono, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("db", [-30.0, 10.0])
def test_level_in_is_level_out(name, noisy, db):
    enhancer = registry.load(name)
    reference = run_offline(enhancer, noisy, RATE)
    scaled = run_offline(enhancer, (noisy * 10 ** (db / 20)).astype(np.float32), RATE)
    assert level(scaled) - level(reference) == pytest.approx(db, abs=0.05)  # promised: 1 dB


@pytest.mark.parametrize("name", METHODS)
def test_noise_goes_down_and_clean_speech_stays(name, rng):
    enhancer = registry.load(name)
    noise = 0.05 * rng.standard_normal(3 * RATE).astype(np.float32)
    out = run_offline(enhancer, noise, RATE)
    assert level(out[RATE:]) < level(noise[RATE:]) - 6.0
    clean = voice(rng) + 1e-4 * rng.standard_normal(2 * RATE).astype(np.float32)
    out = run_offline(enhancer, clean, RATE)
    # 10 dB under the speech is what may be lost of it; level within 1 dB.
    assert level(out - clean) < level(clean) - 10.0
    assert level(out) == pytest.approx(level(clean), abs=1.0)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "x",
    [
        np.zeros(4000),
        np.full(4000, 0.5),
        np.full(4000, 1e-40),
        np.full(4000, 1e6),  # 120 dB beyond full scale
        np.eye(1, 4000, 2000)[0],
        np.ones(1),
        np.concatenate((np.zeros(4000), np.random.default_rng(1).standard_normal(4000))),
        np.concatenate((np.random.default_rng(1).standard_normal(4000), np.zeros(4000))),
    ],
    ids=["silence", "dc", "denormals", "huge", "impulse", "one", "start", "stop"],
)
def test_hostile_signals(name, x):
    out = run_offline(registry.load(name), x.astype(np.float32), RATE)
    assert out.shape == x.shape
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1.5 * np.abs(x).max() + 1e-30


@pytest.mark.parametrize("name", METHODS)
def test_a_measured_profile_serves_every_method(name, rng):
    # Noise that comes in bursts defeats a tracker, not a profile.
    noise = 0.05 * rng.standard_normal(3 * RATE).astype(np.float32)
    bursts = noise * (np.sin(2 * np.pi * 1.5 * np.arange(len(noise)) / RATE) > 0)
    profile = profile_from(noise, RATE)
    plain = registry.load(name)
    enhancer = plain.with_profile(profile)
    out = run_offline(enhancer, bursts, RATE)
    tracked = run_offline(plain, bursts, RATE)
    assert level(out) < level(bursts) - 6.0
    assert level(out) < level(tracked) + 0.5
    assert enhancer.key() != plain.key()
    assert enhancer.to_dict()["profile"].startswith("sha256:")
    assert enhancer == plain.with_profile(profile)
    assert hash(enhancer) == hash(plain.with_profile(profile))
    assert plain.profile is None
    other = plain.with_profile(profile_from(2 * noise, RATE))
    assert other.key() != enhancer.key()
    with pytest.raises(UnknownParameterError, match="profile"):
        registry.from_dict(enhancer.to_dict())  # a digest cannot be turned back into a profile


def test_profile_at_another_rate(rng):
    noise = 0.05 * rng.standard_normal(2 * RATE).astype(np.float32)
    enhancer = registry.load("log-mmse").with_profile(profile_from(noise, RATE))
    out = run_offline(enhancer, noise[:12000], 12000)
    assert level(out) < level(noise) - 6.0


def test_wrong_profile():
    with pytest.raises(ParameterError, match="profile"):
        registry.load("wiener").with_profile(np.ones(257))
    assert isinstance(NoiseProfile((1.0, 1.0), (0.0, 8000.0)), NoiseProfile)


@pytest.mark.parametrize("name", METHODS)
def test_parameters_travel_as_toml(name):
    enhancer = registry.load(name, floor_db=-9)
    assert registry.from_toml(enhancer.to_toml()) == enhancer


def test_frames_that_make_no_sense_are_named_at_once():
    with pytest.raises(ParameterError, match="hop_ms"):
        registry.load("wiener", window_ms=30, hop_ms=20)
    with pytest.raises(ParameterError, match="mmse-spp"):
        registry.load("wiener", noise="mmse-sp")


def test_latency_is_window_minus_hop():
    for rate in (8000, 16000, 48000):
        stream = registry.load("log-mmse", window_ms=32, hop_ms=16).stream(rate)
        assert stream.latency_ms == pytest.approx(16.0)


def test_the_floor_is_the_least_gain(rng):
    noise = 0.05 * rng.standard_normal(4 * RATE).astype(np.float32)
    for db in (-6.0, -12.0, -30.0):
        out = run_offline(registry.load("log-mmse", floor_db=db), noise, RATE)
        reduction = level(out[2 * RATE :]) - level(noise[2 * RATE :])
        assert reduction >= db - 0.1
        if db > -15:
            assert reduction == pytest.approx(db, abs=1.0)
