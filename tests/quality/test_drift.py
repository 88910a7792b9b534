"""Drift is told soon, calm is left alone, outliers are not drift."""

import math

import numpy as np
import pytest

from unmuffle.errors import MediaNotFoundError, ParameterError
from unmuffle.quality.drift import Baseline, DriftWatch, Usual, stability_index
from unmuffle.quality.figures import Figures


def windows(values, name="snr_db"):
    return [Figures(10.0, **{name: float(v)}) for v in values]


@pytest.fixture
def calm(rng):
    return rng.normal(20.0, 2.0, 300)


def alarm_after(watch, values, name="snr_db"):
    for i, row in enumerate(windows(values, name), 1):
        found = watch.update(row)
        if found:
            return i, found[0]
    return None, None


def test_a_baseline_knows_median_and_spread_whatever_the_outliers(calm):
    usual = Baseline.of(windows([*calm, *([500.0] * 20)])).figures["snr_db"]
    assert usual.median == pytest.approx(20.0, abs=0.5)
    assert usual.spread == pytest.approx(2.0, rel=0.2)
    assert usual.count == 320


@pytest.mark.parametrize(("shift", "soonest", "latest"), [(1.0, 8, 90), (2.0, 5, 20), (4.0, 4, 8)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_is_told_in_the_time_that_theory_gives(calm, shift, soonest, latest, sign):
    """A CUSUM climbs by (shift - allowance) a window: threshold / (shift - 0.5) windows on average."""
    delays = []
    for seed in range(20):
        x = np.random.default_rng(seed).normal(20.0 + 2.0 * shift * sign, 2.0, 300)
        n, found = alarm_after(DriftWatch(Baseline.of(windows(calm))), x)
        assert found.figure == "snr_db"
        assert found.direction == ("up" if sign > 0 else "down")
        assert found.now == pytest.approx(20.0 + 2.0 * shift * sign, abs=3.0)
        assert found.usual == pytest.approx(20.0, abs=0.5)
        delays.append(n)
    expected = 14.0 / (shift - 0.5) if shift < 4 else 14.0 / 3.2  # the clip limits what one window can say
    assert np.mean(delays) == pytest.approx(expected, rel=0.45)
    assert soonest <= min(delays)
    assert max(delays) <= latest


def test_calm_gives_hardly_an_alarm(calm):
    """Both directions of Gaussian figures, allowance 0.5, threshold 14: fewer than one in tens of thousands of windows."""
    baseline = Baseline({"snr_db": Usual(20.0, 2.0, 300)})
    alarms = 0
    for seed in range(5):
        watch = DriftWatch(baseline)
        x = np.random.default_rng(100 + seed).normal(20.0, 2.0, 4000)
        alarms += sum(len(watch.update(row)) for row in windows(x))
    assert alarms == 0


def test_one_outlier_is_no_drift_and_missing_figures_say_nothing(calm):
    watch = DriftWatch(Baseline.of(windows(calm)))
    assert watch.update(Figures(10.0, snr_db=1e6)) == []
    assert 0 < watch.levels()["snr_db"] < 0.5
    for _ in range(100):
        assert watch.update(Figures(10.0)) == []  # NaN
        assert watch.update(Figures(10.0, snr_db=math.inf)) == []


def test_what_lasts_is_told_again(calm):
    watch = DriftWatch(Baseline.of(windows(calm)))
    alarms = [bool(watch.update(row)) for row in windows([10.0] * 40)]
    assert sum(alarms) >= 5


def test_a_baseline_goes_to_a_file_and_back(tmp_path, calm):
    baseline = Baseline.of(windows(calm) + windows(calm / 100, "artefacts"))
    baseline.write(tmp_path / "usual.json")
    assert Baseline.read(tmp_path / "usual.json") == baseline
    for text in ("", "[]", '{"figures": 3}', '{"figures": {"snr_db": {"median": 1}}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ParameterError, match="no baseline"):
            Baseline.read(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_text('{"figures": {"snr_db": {"median": 1, "spread": 0, "count": 30}}}')
    with pytest.raises(ParameterError, match="makes no sense"):
        Baseline.read(tmp_path / "bad.json")
    with pytest.raises(MediaNotFoundError):
        Baseline.read(tmp_path / "none.json")


def test_too_few_windows_make_no_baseline(calm):
    with pytest.raises(ParameterError, match="20 or more"):
        Baseline.of(windows(calm[:19]))
    with pytest.raises(ParameterError, match="allowance"):
        DriftWatch(Baseline.of(windows(calm)), allowance=0)
    steady = Baseline.of(windows([3.0] * 30)).figures["snr_db"]
    assert steady.spread == 0.5  # dB: a rounding is no drift


def test_stability_index(rng):
    a, b = rng.normal(size=20000), rng.normal(size=20000)
    assert stability_index(a, b) < 0.01
    # Closed form for a shift of d spreads with fine bins: the symmetrised divergence d^2.
    assert stability_index(a, b + 0.5, 50) == pytest.approx(0.25, rel=0.15)
    assert stability_index(a, 2 * b) > 0.25
    assert np.isfinite(stability_index(a, np.full(100, 1e9)))
    small = [stability_index(rng.normal(size=200), rng.normal(size=50)) for _ in range(50)]
    assert np.mean(small) == pytest.approx(9 * (1 / 200 + 1 / 50), rel=0.4)
    with pytest.raises(ParameterError, match="bins"):
        stability_index([1.0, 2.0], [1.0])


def test_the_example_in_the_docstring():
    import doctest

    from unmuffle.quality import drift

    assert doctest.testmod(drift).failed == 0
