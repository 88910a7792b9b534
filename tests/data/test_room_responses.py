from __future__ import annotations

import numpy as np
import pytest

from unmuffle.data import rooms
from unmuffle.errors import ParameterError

RATE = 16_000


@pytest.mark.parametrize("ratio_db", [-3.0, 5.0, 15.0])
def test_direct_to_reverberant_ratio(rng: np.random.Generator, ratio_db: float) -> None:
    h = rooms.simulate(rng, RATE, 0.4, ratio_db).astype(np.float64)
    assert h[0] == 1.0
    # By construction; float32 sums.
    assert 10 * np.log10(1.0 / np.sum(h[1:] ** 2)) == pytest.approx(ratio_db, abs=0.01)


@pytest.mark.parametrize("rt60", [0.2, 0.5, 1.0])
def test_decay_time(rng: np.random.Generator, rt60: float) -> None:
    # The upper band decays 1.05 to 2.5 times faster and early reflections are added, so the
    # broad-band figure lies below the nominal one.
    times = [rooms.decay_time(rooms.simulate(rng, RATE, rt60, -15.0), RATE) for _ in range(20)]
    assert 0.5 * rt60 < np.median(times) < 1.1 * rt60


def test_schroeder_on_a_pure_exponential() -> None:
    n = np.arange(RATE)
    h = np.exp(-6.9078 * n / (0.6 * RATE)).astype(np.float32)  # 60 dB in 0.6 s
    assert rooms.decay_time(h, RATE) == pytest.approx(0.6, rel=0.01)
    assert rooms.decay_time(np.zeros(10, np.float32), RATE) == 0.0


def test_early_part_keeps_the_first_50_ms_and_nothing_after_55(rng: np.random.Generator) -> None:
    h = rooms.simulate(rng, RATE, 0.5, 0.0)
    part = rooms.early(h, RATE)
    assert np.array_equal(part[:800], h[:800])
    assert part.size == 880
    assert abs(part[-1]) < 1e-6
    short = h[:500]
    assert np.array_equal(rooms.early(short, RATE), short)


def test_trim_puts_the_direct_sound_at_one_millisecond() -> None:
    h = np.zeros(8000, np.float32)
    h[3000], h[3100], h[2000] = -0.5, 0.2, 0.3
    out = rooms.trim(h, RATE, 0.1)
    assert out.size == 1600
    assert np.argmax(np.abs(out)) == 16
    assert out[16] == 1.0
    assert out[116] == pytest.approx(-0.4)
    at_start = rooms.trim(h[3000:], RATE, 0.1)
    assert at_start[0] == 1.0


def test_bad_times(rng: np.random.Generator) -> None:
    for rt60 in (0.0, -1.0, 5.0):
        with pytest.raises(ParameterError, match="rt60_s"):
            rooms.simulate(rng, RATE, rt60, 0.0)
