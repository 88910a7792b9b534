"""Windows measured by another process: the same figures, and no harm when that process is gone."""

import os
import signal
import subprocess

import numpy as np
import pytest

from unmuffle.errors import ShapeError
from unmuffle.quality import aside as aside_module
from unmuffle.quality.aside import Aside
from unmuffle.quality.figures import measure

RATE = 16_000


@pytest.fixture
def aside():
    made = Aside()
    yield made
    made.close()


@pytest.fixture
def window(rng):
    x = (0.05 * rng.standard_normal((1, 10 * RATE))).astype(np.float32)
    return 0.3 * x, x


def test_the_figures_are_those_of_measure(aside, window):
    after, before = window
    here = measure(after, RATE, before, real_time_factor=0.01, latency_ms=10.0)
    there = aside.measure(after, RATE, before, real_time_factor=0.01, latency_ms=10.0)
    assert there.to_dict() == here.to_dict()
    assert there.reduction_db == pytest.approx(-20 * np.log10(0.3), abs=1e-3)
    assert aside.used_s > 0.0


def test_it_is_another_process_and_yields_to_streams(aside, window):
    aside.measure(*window[:1], RATE)
    child = aside._child
    assert child is not None
    assert child.pid != os.getpid()
    if hasattr(os, "getpriority"):
        assert os.getpriority(os.PRIO_PROCESS, child.pid) > os.getpriority(os.PRIO_PROCESS, 0)


def test_its_errors_are_raised_here(aside, window):
    with pytest.raises(ShapeError, match="align them first"):
        aside.measure(window[0], RATE, window[1][:, :-1])
    assert aside.measure(window[0], RATE).seconds == 10.0  # and it goes on


def test_a_child_that_dies_is_replaced(aside, window):
    aside.measure(window[0], RATE)
    first = aside._child
    first.send_signal(signal.SIGTERM)
    first.wait()
    assert aside.measure(window[0], RATE).seconds == 10.0
    assert aside._child.pid != first.pid


def test_one_that_hangs_is_given_up(aside, window, monkeypatch):
    aside.measure(window[0], RATE)
    monkeypatch.setattr(aside_module, "TIMEOUT_S", 0.3)
    first = aside._child
    first.send_signal(signal.SIGSTOP)
    with pytest.raises(RuntimeError, match="ended"):
        aside.measure(window[0], RATE)
    assert first.poll() is not None
    monkeypatch.undo()
    assert aside.measure(window[0], RATE).seconds == 10.0


def test_without_a_process_it_measures_here(aside, window, monkeypatch, caplog):
    def refuse(*args, **values):
        raise OSError("no processes left")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert aside.measure(window[0], RATE).to_dict() == measure(window[0], RATE).to_dict()
    assert aside.used_s > 0.0
    assert "no processes left" in caplog.text
    assert aside._child is None


def test_it_ends_with_us(window):
    aside = Aside()
    aside.measure(window[0], RATE)
    child = aside._child
    aside.close()
    assert child.poll() == 0
    aside.close()  # twice is no error
