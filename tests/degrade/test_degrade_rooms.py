"""Rooms: reverberation time by Schroeder, direct sound in place, energy where it belongs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from degrade_signals import RATE, speech_like

from unmuffle.degrade import MeasuredRoom, SimulatedRoom
from unmuffle.degrade.rooms import (
    direct_to_reverberant_db,
    find_direct,
    schroeder_t60_s,
    simulate_response,
)
from unmuffle.errors import InputError, ParameterError
from unmuffle.io import write
from unmuffle.signal.align import find_delay


def test_schroeder_on_a_known_decay(rng: np.random.Generator) -> None:
    for t60 in (0.2, 0.6, 1.5):
        n = int(1.5 * t60 * 48000)
        h = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / 48000 / t60)
        assert schroeder_t60_s(h, 48000) == pytest.approx(t60, rel=0.03)  # scatter of the noise
    assert np.isnan(schroeder_t60_s(np.eye(1, 500)[0], 16000))


@pytest.mark.parametrize(("t60_s", "rate"), [(0.15, 16000), (0.3, 48000), (0.6, 16000), (1.0, 8000)])
def test_t60_of_the_simulated_room(t60_s: float, rate: int) -> None:
    for seed in range(3):
        response, direct, drawn = simulate_response(t60_s, 1.5, rate, np.random.default_rng(seed))
        assert schroeder_t60_s(response, rate) == pytest.approx(t60_s, rel=0.2)
        assert drawn["t60_s"] == pytest.approx(schroeder_t60_s(response, rate))
        # The talker stands a whole number of samples away, so the direct sound is one clean peak.
        assert find_direct(response) == direct
        assert drawn["distance_m"] == pytest.approx(1.5, abs=343 / rate)


def test_an_impulse_stays_where_it_was() -> None:
    x = np.zeros(RATE, np.float32)
    x[5000] = 0.5
    damaged = SimulatedRoom(t60_s=0.4).apply_seeded(x, RATE, 3)
    assert int(np.argmax(np.abs(damaged.noisy))) == 5000
    # The direct sound keeps its energy: nothing of the room comes within 2.5 ms here.
    assert np.sum(damaged.noisy[4960:5041] ** 2) == pytest.approx(0.25, rel=1e-3)
    np.testing.assert_array_equal(damaged.target, x)


def test_early_target_is_the_first_fifty_milliseconds() -> None:
    x = np.zeros(RATE, np.float32)
    x[2000] = 0.5
    dry = SimulatedRoom(t60_s=0.5, target="dry").apply_seeded(x, RATE, 4)
    early = SimulatedRoom(t60_s=0.5, target="early").apply_seeded(x, RATE, 4)
    np.testing.assert_array_equal(dry.noisy, early.noisy)
    edge = 2000 + round(0.05 * RATE)
    np.testing.assert_allclose(early.target[:edge], early.noisy[:edge], atol=1e-6)
    assert np.max(np.abs(early.target[edge:])) < 1e-6
    assert np.max(np.abs(early.noisy[edge:])) > 1e-3


def test_speech_is_aligned(folders: Path, rng: np.random.Generator) -> None:
    clean = speech_like()
    for room in (SimulatedRoom(t60_s=0.3, distance_m=1.0), MeasuredRoom(str(folders / "rooms" / "hall.wav"))):
        damaged = room.apply(clean, RATE, rng)
        assert damaged.noisy.shape == clean.shape
        assert find_delay(clean, damaged.noisy, 800)[0] == 0


def test_measured_room(folders: Path, rng: np.random.Generator) -> None:
    x = np.zeros(RATE, np.float32)
    x[100] = 0.5
    damaged = MeasuredRoom(str(folders / "rooms" / "hall.wav")).apply(x, RATE, rng)
    assert damaged.record["drawn"]["direct_sample"] == 80
    assert damaged.record["drawn"]["t60_s"] == pytest.approx(0.3, rel=0.1)
    assert int(np.argmax(np.abs(damaged.noisy))) == 100


def test_a_response_of_another_rate(folders: Path, rng: np.random.Generator) -> None:
    x = np.zeros(48000, np.float32)
    x[300] = 0.5
    damaged = MeasuredRoom(str(folders / "rooms" / "hall.wav")).apply(x, 48000, rng)
    assert int(np.argmax(np.abs(damaged.noisy))) == 300


def test_direct_sound_before_a_stronger_reflection() -> None:
    h = np.zeros(400)
    h[50], h[49], h[120] = 0.6, 0.4, 1.0
    assert find_direct(h) == 50


def test_direct_to_reverberant_ratio() -> None:
    h = np.zeros(8000)
    h[100], h[141], h[2000] = 1.0, 0.5, 0.1  # 41 samples at 16 kHz are just beyond 2.5 ms
    assert direct_to_reverberant_db(h, 100, RATE) == pytest.approx(10 * np.log10(1 / (0.25 + 0.01)))
    h[141], h[140] = 0.0, 0.5
    assert direct_to_reverberant_db(h, 100, RATE) == pytest.approx(10 * np.log10(1.25 / 0.01))


def test_further_away_is_more_room() -> None:
    # The direct sound falls by 20 dB from 0.3 to 3 m while the room's own sound hardly changes, and
    # the direct sound is what is scaled to one. Some seeds find no place 3 m away: hence 8 dB.
    clean = speech_like()
    energies = []
    for distance in (0.3, 3.0):
        noisy = SimulatedRoom(t60_s=0.5, distance_m=distance).apply_seeded(clean, RATE, 8).noisy
        energies.append(10 * np.log10(np.sum((noisy - clean) ** 2)))
    assert energies[1] > energies[0] + 8


def test_same_seed_same_bytes() -> None:
    clean = speech_like(1.0)
    first, second = (SimulatedRoom().apply_seeded(clean, RATE, 5).noisy for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != SimulatedRoom().apply_seeded(clean, RATE, 6).noisy.tobytes()


@pytest.mark.parametrize("bad", [{"t60_s": 0.01}, {"t60_s": 5.0}, {"distance_m": 0.0}, {"target": "late"}])
def test_bad_parameters(bad: dict) -> None:
    with pytest.raises(ParameterError):
        SimulatedRoom(**bad)


def test_silent_response(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path / "none.wav", np.zeros(100, np.float32), RATE, "PCM_16")
    with pytest.raises(InputError, match="impulse response"):
        MeasuredRoom(str(tmp_path / "none.wav")).apply(speech_like(1.0), RATE, rng)
