"""A stream under watch: aligned windows, bounded work, and alerts for what is wrong."""

import threading
import time

import numpy as np
import pytest

from unmuffle.enhancers.registry import load
from unmuffle.errors import ParameterError
from unmuffle.quality.alerts import Webhook
from unmuffle.quality.aside import Aside
from unmuffle.quality.drift import Baseline, Usual
from unmuffle.quality.fallback import Switch
from unmuffle.quality.figures import measure
from unmuffle.quality.monitor import StreamMonitor, Surveyor

RATE = 8000


@pytest.fixture
def surveyor():
    made = Surveyor(share=1.0)
    yield made
    made.close()


def until(condition, seconds=180.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def play(monitor, x, y, size=80):
    for i in range(0, x.shape[1], size):
        monitor.push(x[:, i : i + size], y[:, i : i + size])


def test_a_window_is_aligned_whatever_the_latency(surveyor, rng):
    """What comes out is the input itself, late: nothing is lost, nothing reduced, to the last decimal."""
    x = (0.05 * rng.standard_normal((2, 25 * RATE))).astype(np.float32)
    late = 1234
    y = 0.5 * np.concatenate((np.zeros((2, late), np.float32), x), axis=1)[:, : x.shape[1]]
    got = []
    monitor = StreamMonitor(surveyor, RATE, late, every_s=12.0, done=got.append)
    monitor.busy_s = 0.0
    for i in range(0, x.shape[1], 77):
        monitor.busy_s += 0.1 * 77 / RATE
        monitor.push(x[:, i : i + 77], y[:, i : i + 77])
    until(lambda: len(got) == 2)
    for found in got:
        assert found.seconds == 10.0
        assert found.reduction_db == pytest.approx(6.0206, abs=1e-3)
        assert found.latency_ms == pytest.approx(1000 * late / RATE)
        assert found.real_time_factor == pytest.approx(0.1, rel=0.02)
    summary = surveyor.summary()
    assert (summary.windows, summary.dropped, summary.failed) == (2, 0, 0)
    assert summary.mean["reduction_db"] == pytest.approx(6.0206, abs=1e-3)


def test_a_real_stream(surveyor, rng):
    stream = load("classic").stream(RATE)
    got = []
    monitor = StreamMonitor(surveyor, RATE, stream.latency_samples, done=got.append)
    x = (0.05 * rng.standard_normal((1, 11 * RATE))).astype(np.float32)
    for i in range(0, x.shape[1], 80):
        monitor.push(x[:, i : i + 80], stream.process(x[:, i : i + 80]))
    until(lambda: got)
    assert got[0].reduction_db > 6


def test_the_stream_never_waits_and_the_work_is_bounded(rng, monkeypatch):
    """Windows of a hundred streams at once, while one is being measured: two wait, the others are dropped and counted."""
    begun, go_on = threading.Event(), threading.Event()

    def held(self, *args, **values):
        begun.set()
        assert go_on.wait(180)
        self.used_s = 0.1
        return measure(*args, **values)

    monkeypatch.setattr(Aside, "measure", held)
    surveyor = Surveyor(share=1e-6, room=2)  # it rests for a million times as long as it worked
    x = (0.05 * rng.standard_normal((1, 10 * RATE))).astype(np.float32)
    play(StreamMonitor(surveyor, RATE, 0), x, x, RATE)
    until(begun.is_set)
    for _ in range(99):  # if one waited for its figures, this would never end
        play(StreamMonitor(surveyor, RATE, 0), x, x, RATE)
    assert surveyor.summary().windows == 0
    assert surveyor.summary().dropped == 97
    go_on.set()
    until(lambda: surveyor.summary().windows == 1)
    surveyor.close()  # and its rest is not waited for
    assert not surveyor._thread.is_alive()
    assert surveyor.summary().windows == 1


def test_limits_and_drift_raise_alerts(rng, caplog):
    x = (0.05 * rng.standard_normal((1, 10 * RATE))).astype(np.float32)
    baseline = Baseline({"reduction_db": Usual(12.0, 1.0, 100)})
    surveyor = Surveyor(baseline, share=1.0, limits={"noise_dbfs": (-90.0, -40.0)}, room=100)
    for _ in range(6):
        play(StreamMonitor(surveyor, RATE, 0), x, x, RATE)
    until(lambda: surveyor.summary().alerts.get("limit") == 6)
    until(lambda: surveyor.summary().alerts.get("drift"))
    assert surveyor.summary().alerts == {"limit": 6, "drift": 1}
    assert set(surveyor.drift()) == {"reduction_db"}
    assert "reduction_db has drifted down" in caplog.text
    assert "noise_dbfs is -26" in caplog.text
    surveyor.close()


def test_a_fallback_is_told():
    told = []

    class Hook(Webhook):
        def send(self, alert):
            told.append(alert)
            return True

    surveyor = Surveyor(webhook=Hook("http://127.0.0.1:9/"))
    surveyor.switched(Switch("spare", "non-finite", "NaN", 3.0), "live")
    surveyor.switched(Switch("main", "recovered", "well", 13.0), "live")
    assert [(a.kind, a.subject, a.severity) for a in told] == [("fallback", "live", "error"), ("recovered", "live", "info")]
    assert surveyor.summary().alerts == {"fallback": 1, "recovered": 1}
    surveyor.close()
    assert not surveyor._thread.is_alive()


def test_an_odd_window_does_not_end_the_watch(rng):
    surveyor = Surveyor(share=1.0)
    nan = np.full((1, 10 * RATE), np.nan, np.float32)
    play(StreamMonitor(surveyor, RATE, 0), nan, nan, RATE)
    until(lambda: surveyor.summary().failed == 1)
    x = (0.05 * rng.standard_normal((1, 10 * RATE))).astype(np.float32)
    play(StreamMonitor(surveyor, RATE, 0), x, x, RATE)
    until(lambda: surveyor.summary().windows == 1)
    surveyor.close()


def test_wrong_settings_are_named(surveyor):
    with pytest.raises(ParameterError, match="share"):
        Surveyor(share=0)
    with pytest.raises(ParameterError, match="no figure"):
        Surveyor(limits={"beauty": (0, 1)})
    with pytest.raises(ParameterError, match="every_s"):
        StreamMonitor(surveyor, RATE, 0, every_s=1.0)
    assert threading.active_count() < 50
