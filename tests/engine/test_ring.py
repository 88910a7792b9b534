"""The ring: what was written can be read by its number, or the reader is told."""

import sys
import threading
import time

import numpy as np
import pytest

from unmuffle.engine.ring import Ring
from unmuffle.errors import ParameterError


def test_reads_equal_a_plain_array_for_any_split(rng):
    signal = rng.standard_normal((2, 5000)).astype(np.float32)
    ring, written = Ring(2, 257), 0
    while written < signal.shape[1]:
        n = int(rng.integers(0, 300))
        ring.write(signal[:, written : written + n])
        written = min(written + n, signal.shape[1])
        assert ring.written == written
        for _ in range(5):
            start = int(rng.integers(max(0, written - 300), written + 5))
            out = np.empty((2, int(rng.integers(0, 280))), np.float32)
            there = start >= written - 257 and start + out.shape[1] <= written and out.shape[1] <= 257
            assert ring.read(start, out) == there
            if there:
                np.testing.assert_array_equal(out, signal[:, start : start + out.shape[1]])


def test_before_the_beginning_is_silence():
    ring = Ring(1, 10)
    ring.write(np.ones((1, 4), np.float32))
    out = np.full((1, 5), 7, np.float32)
    assert ring.read(-3, out)
    assert out.tolist() == [[0, 0, 0, 1, 1]]
    assert ring.read(-9, out)
    assert not out.any()


def test_skipping_keeps_the_numbers():
    ring = Ring(1, 10)
    ring.write(np.ones((1, 3), np.float32))
    ring.skip(2)
    ring.write(np.full((1, 2), 5, np.float32))
    out = np.empty((1, 2), np.float32)
    assert ring.read(5, out)
    assert out.tolist() == [[5, 5]]


def test_a_ring_without_room_is_refused():
    with pytest.raises(ParameterError, match="capacity = 0"):
        Ring(1, 0)


def test_a_reader_beside_the_writer_never_gets_a_torn_block():
    """Each sample carries its number; whatever ``read`` calls good must be the numbers asked for."""
    ring, span = Ring(1, 1000), 16_000
    numbers = np.arange(span, dtype=np.float32)[None]
    stop, wrong, good = threading.Event(), [], 0

    def write():
        while not stop.is_set():
            for i in range(0, span, 160):
                ring.write(numbers[:, i : i + 160])

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        out, until = np.empty((1, 100), np.float32), time.monotonic() + 180.0
        while good < 2000 and time.monotonic() < until:
            start = ring.written - 990
            if start >= 0 and ring.read(start, out):
                good += 1
                if not np.array_equal(out[0], np.arange(start, start + 100) % span):
                    wrong.append(start)
    finally:
        stop.set()
        writer.join()
        sys.setswitchinterval(before)
    assert not wrong
    assert good > 100
