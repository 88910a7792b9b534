"""The Kalman methods as enhancers. What every method promises is checked by the conformance suite."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.signal import lfilter

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.compose import Chain
from unmuffle.enhancers.kalman.ar import Kalman
from unmuffle.enhancers.kalman.extended import KalmanEkf
from unmuffle.enhancers.kalman.fast import KalmanFast
from unmuffle.enhancers.kalman.subband import KalmanSubband
from unmuffle.enhancers.kalman.unscented import KalmanUkf
from unmuffle.enhancers.kalman.variational import KalmanVb
from unmuffle.enhancers.registry import REGISTRY, load
from unmuffle.errors import ParameterError
from unmuffle.noise import profile_from

RATE = 16_000
NAMES = [name for name, entry in REGISTRY.items() if entry.family == "kalman"]
SMALL = {"order": 10, "noise_order": 4, "lag": 9}


def vowels(seconds=4.0, rate=RATE):
    """Pulses and breath through gliding formants, with pauses: speech enough for a model of speech."""
    rng = np.random.default_rng(8)
    n = int(seconds * rate)
    t = np.arange(n) / rate
    phase = np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / rate
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.02 * rng.standard_normal(n)
    x = np.zeros(n)
    for low, high, wide in ((300, 800, 80), (900, 2200, 120), (2400, 2800, 160)):
        mid = (low + high) / 2 + (high - low) / 2 * np.sin(2 * np.pi * 0.9 * t + low)
        step, zi, part = rate // 50, np.zeros(2), np.empty(n)
        radius = np.exp(-np.pi * wide / rate)
        for i in range(0, n, step):
            a = [1, -2 * radius * np.cos(2 * np.pi * mid[i] / rate), radius**2]
            part[i : i + step], zi = lfilter([1 - radius], a, pulses[i : i + step], zi=zi)
        x += part
    x *= (np.sin(2 * np.pi * 0.8 * t - 1.5) > -0.3) * np.minimum(1, t)  # 0.6 s of pause first
    return (0.1 * x / np.std(x)).astype(np.float32)


def noisy(clean, snr_db, colour=(1.0,)):
    rng = np.random.default_rng(9)
    v = lfilter([1.0], colour, rng.standard_normal(len(clean)))
    v *= np.std(clean) / np.std(v) * 10 ** (-snr_db / 20)
    return (clean + v).astype(np.float32)


def si_sdr(clean, x):
    clean, x = clean.astype(float), x.astype(float)
    part = clean * np.dot(clean, x) / np.dot(clean, clean)
    return 10 * np.log10(np.sum(part**2) / np.sum((x - part) ** 2))


CLEAN = vowels()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("colour", [(1.0,), (1.0, -0.5, 0.3)], ids=["white", "coloured"])
@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_noise_is_taken_off(name, colour, snr_db):
    y = noisy(CLEAN, snr_db, colour)
    # A Wiener filter of the same statistics gains 3 to 8 dB at 0 dB, half of it at 10 dB.
    assert si_sdr(CLEAN, run_offline(load(name), y, RATE)) - si_sdr(CLEAN, y) > (2.0 if snr_db == 0 else 1.0)


def test_a_model_of_the_colour_is_worth_its_cost():
    y = noisy(CLEAN, 0.0, (1.0, -0.95))
    profile = profile_from(y - CLEAN, RATE)
    white = si_sdr(CLEAN, run_offline(Kalman(noise_order=0, profile=profile), y, RATE))
    coloured = si_sdr(CLEAN, run_offline(Kalman(noise_order=4, profile=profile), y, RATE))
    assert coloured > white + 2.0


def test_lag_helps_and_counts_as_latency():
    y = noisy(CLEAN, 5.0)
    gains = []
    for lag in (0, 9):
        method = Kalman(order=10, noise_order=0, lag=lag)
        assert method.stream(RATE).latency_samples == 192 + lag  # a hop of 12 ms and the lag
        gains.append(si_sdr(CLEAN, run_offline(method, y, RATE)))
    assert gains[1] > gains[0] + 0.5


@pytest.mark.parametrize(
    "method",
    [
        Kalman(iterations=3, **SMALL),
        Kalman(order=10, noise_order=0, lag=40, iterations=2),
        Kalman(order=4, noise_order=4, lag=200 // 4),
        KalmanVb(trust=0.0, **SMALL),
        KalmanFast(settle=1),
        KalmanEkf(noise_order=0, drift=0.0),
        KalmanUkf(order=4, noise_order=4, lag=3, doubt=0.0),
        KalmanSubband(order=3, lag=2),
    ],
    ids=lambda m: m.name,
)
def test_no_choice_of_parameters_breaks_split_invariance(method):
    x = np.stack([noisy(CLEAN, 5.0)[12000:18000], CLEAN[12000:18000]])
    stream = method.stream(RATE, 2)
    expected = np.concatenate((stream.process(x), stream.flush()), axis=1)
    parts, at = [], 0
    for size in (1, 190, 2, 577, 0, 1920, 3310):
        parts.append(stream.process(x[:, at : at + size]))
        at += size
    out = np.concatenate((*parts, stream.flush()), axis=1)
    np.testing.assert_array_equal(out, expected)
    alone = np.concatenate([run_offline(method, row, RATE)[None] for row in x])
    np.testing.assert_array_equal(expected[:, stream.latency_samples :], alone)  # channels are independent


def test_a_hop_that_never_freezes_is_the_full_filter():
    y = noisy(CLEAN, 5.0)[:16000]
    full, fast = Kalman(**SMALL), KalmanFast(settle=192)
    np.testing.assert_array_equal(run_offline(fast, y, RATE), run_offline(full, y, RATE))
    # At the default the difference is small against the noise that is left (some -10 dB).
    short = run_offline(KalmanFast(), y, RATE) - run_offline(full, y, RATE)
    assert np.mean(short**2) < 0.01 * np.mean(y**2)


def test_full_trust_in_the_tracker_is_the_plain_filter():
    y = noisy(CLEAN, 5.0)[:16000]
    plain = run_offline(Kalman(**SMALL), y, RATE)
    np.testing.assert_allclose(run_offline(KalmanVb(trust=1000.0, **SMALL), y, RATE), plain, atol=5e-3)


@pytest.mark.parametrize("noise", ["vad", "minimum", "mcra", "imcra", "profile"])
def test_any_tracker_may_drive_the_noise(noise):
    y = noisy(CLEAN, 5.0)
    assert si_sdr(CLEAN, run_offline(Kalman(noise=noise, **SMALL), y, RATE)) - si_sdr(CLEAN, y) > 2.0


@pytest.mark.parametrize("kind", [Kalman, KalmanSubband])
def test_a_measured_profile_replaces_the_tracker(kind):
    y = noisy(CLEAN, 0.0)
    method = kind().with_profile(profile_from(y - CLEAN, RATE))
    assert si_sdr(CLEAN, run_offline(method, y, RATE)) - si_sdr(CLEAN, y) > 4.0
    assert method.key() != kind().key()
    assert method.to_dict()["profile"].startswith("sha256:")


@pytest.mark.parametrize("rate", [8000, 44100])
def test_the_band_above_8_khz_passes_with_its_gain(rate):
    rng = np.random.default_rng(4)
    t = np.arange(rate) / rate
    x = (0.1 * np.sin(2 * np.pi * 0.45 * rate * t) + 1e-4 * rng.standard_normal(rate)).astype(np.float32)
    if rate > 16000:  # 19.8 kHz: beside the filter
        out = run_offline(Kalman(high_band_db=-12.0), x, rate)[rate // 2 :]
        assert 20 * np.log10(np.std(out) / np.std(x)) == pytest.approx(-12.0, abs=0.2)
    assert run_offline(KalmanSubband(), x, rate).shape == x.shape


def test_it_follows_other_methods_in_a_chain():
    y = noisy(CLEAN, 0.0)
    first, second = load("wiener"), Kalman()
    chain = Chain((first, second))
    expected = run_offline(second, run_offline(first, y, RATE), RATE)
    out = run_offline(chain, y, RATE)
    latency = first.stream(RATE).latency_samples + second.stream(RATE).latency_samples
    assert chain.stream(RATE).latency_samples == latency
    assert si_sdr(CLEAN, out) - si_sdr(CLEAN, y) > 3.0
    # The same, but for the frames' raster, which begins with the latency of the first stage.
    assert abs(si_sdr(CLEAN, out) - si_sdr(CLEAN, expected)) < 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: Kalman(order=4, noise_order=5),
        lambda: KalmanFast(order=4, noise_order=2),  # lag 9
        lambda: KalmanEkf(lag=10),
        lambda: KalmanSubband(order=2, lag=2),
        lambda: KalmanSubband(window_ms=32.0, hop_ms=20.0),
        lambda: Kalman(noise="vat"),
        lambda: Kalman(profile=0.5),  # type: ignore[arg-type]
    ],
)
def test_parameters_that_do_not_fit_are_refused(make):
    with pytest.raises(ParameterError):
        make()


def harsh(seconds):
    """Silence, steps of 100 dB, full-scale squares, tones, impulses and noise, one second each."""
    rng = np.random.default_rng(11)
    t = np.arange(RATE) / RATE
    kinds = (
        lambda: np.zeros(RATE),
        lambda: np.sign(np.sin(2 * np.pi * 110 * t)),
        lambda: rng.standard_normal(RATE),
        lambda: np.sin(2 * np.pi * rng.uniform(20, 7900) * t),
        lambda: rng.random(RATE) < 1e-3,
        lambda: CLEAN[:RATE],
        lambda: np.full(RATE, 0.9),
        lambda: 1e-38 * rng.standard_normal(RATE),
    )
    for i in range(seconds):
        yield (10 ** rng.uniform(-5, 0) * kinds[i % 8]()).astype(np.float32)


def endure(name, seconds):
    stream = load(name).stream(RATE)
    loudest = 1e-6
    for x in harsh(seconds):
        loudest = max(loudest, float(np.abs(x).max()))
        y = stream.process(x)
        assert np.isfinite(y).all()
        assert np.abs(y).max() < 4 * loudest
    if name == "kalman-subband":
        return
    for cell in stream.state()["kernel"]["state"]["filters"]:
        root = cell.get("now", cell)["root"]
        n = len(root) - 2
        assert (np.diag(root)[:n] >= 0).all()
        assert np.isfinite(root).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_harsh_quarter_minute_stays_finite(name):
    endure(name, 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_harsh_hour_stays_finite(name):
    # The quick ones for an hour; the others, whose recursion is the same, for ten minutes.
    endure(name, 3600 if name in ("kalman-fast", "kalman-subband") else 600)


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_numba_is_not_touched_before_a_kalman_method_is():
    code = "import sys, unmuffle; from unmuffle.enhancers import registry; registry.load('identity')"
    assert python(code + "; print('numba' in sys.modules)").strip() == "False"


def test_without_numba_the_error_names_the_extra():
    code = """
import sys
sys.modules["numba"] = None
from unmuffle import load
from unmuffle.errors import MissingExtraError
try:
    load("kalman")
except MissingExtraError as error:
    print(error.extra, "unmuffle[kalman]" in str(error))
"""
    assert python(code).split() == ["kalman", "True"]


def test_the_window_is_scipys():
    from scipy.signal.windows import hann

    from unmuffle.enhancers.kalman.linear import _hann

    for n in (2, 9, 470, 471):
        np.testing.assert_array_equal(_hann(n), hann(n, sym=False))
