"""The table: its error bound, its ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmuffle.enhancers.spectral.gain import LogTable, amplitude, power


@pytest.mark.parametrize("bits", [4, 8])
def test_the_error_is_bounded_by_half_a_step_times_the_slope(bits):
    table = LogTable(lambda v: v**-0.5, -30, 30, bits)
    v = np.geomspace(2.0**-29.9, 2.0**29.9, 200_001).astype(np.float32)
    error_db = 20 * np.log10(table(v) / v.astype(np.float64) ** -0.5)
    bound = 20 * np.log10(np.e) * 0.5 * 2.0 ** -(bits + 1)
    # 1 % for the second-order term and the rounding of float32
    assert np.abs(error_db).max() < 1.01 * bound


@given(st.floats(min_value=0, max_value=2.0**127, width=32))
def test_any_number_has_an_entry(v):
    table = LogTable(lambda v: v, -10, 10)
    found = float(table(np.array([v], np.float32))[0])
    assert 2.0**-10 <= found <= 2.0**10
    if 2.0**-9 < v < 2.0**9:
        assert found == pytest.approx(v, rel=2.0**-8)


def test_decibels():
    assert amplitude(-20.0) == pytest.approx(0.1)
    assert power(-20.0) == pytest.approx(0.01)
