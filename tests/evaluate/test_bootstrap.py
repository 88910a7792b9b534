"""The interval covers as often as it says, and repeats."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmuffle.errors import ParameterError
from unmuffle.evaluate.bootstrap import mean_interval


def test_it_has_the_width_of_the_standard_error(rng):
    x = rng.standard_normal(400)
    got = mean_interval(list(x))
    se = x.std() / np.sqrt(x.size)
    assert got.mean == pytest.approx(x.mean())
    # 2000 resamples know a 2.5 % quantile to about 4 % of the width
    assert got.high - got.low == pytest.approx(2 * 1.96 * se, rel=0.08)


def test_it_covers_the_truth_about_19_times_in_20(rng):
    # exponential scores, 30 files: the percentile form covers 92 to 94 % there (known for skewed data)
    hits = 0
    for k in range(300):
        got = mean_interval(list(rng.exponential(size=30)), seed=k, resamples=500)
        hits += got.low <= 1.0 <= got.high
    assert 0.87 < hits / 300 < 0.98


def test_same_scores_same_interval():
    assert mean_interval([1.0, 2.0, 5.0]) == mean_interval([1.0, 2.0, 5.0])
    assert mean_interval([1.0, 2.0, 5.0], seed=1).mean == mean_interval([1.0, 2.0, 5.0]).mean


def test_nan_is_left_out_and_few_values_say_so():
    got = mean_interval([1.0, math.nan, 3.0])
    assert (got.mean, got.used) == (2.0, 2)
    one = mean_interval([4.0])
    assert one.mean == 4.0
    assert math.isnan(one.low)
    none = mean_interval([math.nan])
    assert math.isnan(none.mean)
    assert none.used == 0


def test_bad_levels_are_named():
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ParameterError, match="level"):
            mean_interval([1.0, 2.0], level=level)
    with pytest.raises(ParameterError, match="resamples"):
        mean_interval([1.0, 2.0], resamples=0)
