"""Meters: levels of known signals, and how the held peak falls."""

import numpy as np
import pytest

from unmuffle.engine.meter import FALL_DB_S, FLOOR_DBFS, HOLD_S, Meter, mean_level


def test_a_sine_reads_its_level():
    x = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(4800) / 48000)).astype(np.float32)[None]
    level = Meter().read(x, 0.1)
    assert level.rms_dbfs == pytest.approx(-9.03, abs=0.01)  # 20 log10(0.5) - 3.01
    assert level.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert not level.clipped


def test_silence_nothing_and_full_scale():
    meter = Meter()
    assert meter.read(np.zeros((1, 10), np.float32), 0.1).rms_dbfs == FLOOR_DBFS
    assert meter.read(np.zeros((1, 0), np.float32), 0.1).peak_dbfs == FLOOR_DBFS
    assert meter.read(np.ones((2, 10), np.float32), 0.1).clipped
    assert mean_level(np.zeros((1, 0), np.float32)) == FLOOR_DBFS


def test_the_peak_is_held_and_then_falls():
    meter, quiet = Meter(), np.full((1, 480), 0.001, np.float32)
    meter.read(np.ones((1, 480), np.float32), 0.1)
    shown = [meter.read(quiet, 0.1).held_dbfs for _ in range(40)]
    held = round(HOLD_S / 0.1)
    assert shown[: held - 1] == [0.0] * (held - 1)
    falling = np.diff(shown[held + 1 : held + 10])
    np.testing.assert_allclose(falling, -FALL_DB_S * 0.1, atol=1e-9)
    assert meter.read(np.ones((1, 1), np.float32), 0.1).held_dbfs == 0.0
