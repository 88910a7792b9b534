"""One hour of sound through the worker's thread, as fast as it goes: exact, steady, no larger than before."""

import gc
import os
import time

import numpy as np
import pytest

from unmuffle.engine.stream import LiveStream
from unmuffle.enhancers.registry import load
from unmuffle.live.fake import FakeSound, Script

RATE = 16000


def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def stream_for(seconds, seed=3, method="log-mmse"):
    """Run a device of odd block sizes and compare all that it plays with the offline engine's output.

    The device waits for the worker before each callback, as a machine that is quick enough would make it;
    what is late then is late by our own fault. Returns the live stream, the samples compared, the memory
    (MiB) at a tenth of the way and at the end, and the speed.
    """
    rng = np.random.default_rng(seed)
    loop = (0.1 * rng.standard_normal(7 * RATE + 13)).astype(np.float32)  # no multiple of any block
    sizes = tuple(int(n) for n in rng.integers(16, 1024, 997))
    live = LiveStream(load(method), RATE, largest=1024)
    truth = load(method).stream(RATE)
    total = round(seconds * RATE)
    state = {"fed": 0, "compared": 0, "early": truth.latency_samples, "memory": 0.0, "waiting": np.zeros(0, np.float32)}

    def source(first, n, rate):
        return loop[(first + np.arange(n)) % len(loop), np.newaxis]

    def check(stream):
        """Compare what was played since the last time."""
        n = stream.position - state["fed"]
        x = loop[(state["fed"] + np.arange(n)) % len(loop)]
        state["fed"] += n
        y = truth.process(x)
        y, state["early"] = y[state["early"] :], max(0, state["early"] - len(y))
        expected = state["waiting"] = np.concatenate((state["waiting"], y))
        end = stream.position - live.delay_samples
        m = end - state["compared"]
        if m > 0:
            out = np.empty((1, m), np.float32)
            assert stream.kept.read(state["compared"] + live.delay_samples, out)
            np.testing.assert_array_equal(out[0], expected[:m])
            state["waiting"], state["compared"] = expected[m:], end

    problems = []

    def before():
        stream = sound.streams[0]
        until = time.monotonic() + 60
        while live.waiting_samples and time.monotonic() < until:
            time.sleep(5e-5)
        if stream.calls % 512 == 511 and not problems:
            try:
                check(stream)
            except BaseException as error:  # shown by the test, not by the device's thread
                problems.append(error)
        if not state["memory"] and stream.position > total // 10:
            gc.collect()
            state["memory"] = resident_mib()

    sound = FakeSound(source, Script(speed=0, sizes=sizes, before=before), rate=RATE, keep=1 << 20)
    stream = sound.Stream(
        samplerate=RATE, blocksize=0, channels=(1, 1), callback=lambda i, o, n, clock, status: live.exchange(i, o)
    )
    began = time.perf_counter()
    live.start()
    stream.start()
    while stream.position < total and not problems:
        time.sleep(0.05)
    stream.close()
    live.stop()
    took = time.perf_counter() - began
    if problems:
        raise problems[0]
    check(stream)
    gc.collect()
    return live, state["compared"], state["memory"], resident_mib(), seconds / took


def assert_steady(live, compared, seconds):
    counts = live.counts
    assert (counts.late, counts.dry_samples, counts.skipped_samples, counts.faults, counts.failures) == (0, 0, 0, 0, 0)
    assert compared > seconds * RATE - 2 * live.delay_samples
    assert live.delay_at(1 << 60)[0] == live.delay_samples == live.delay_at(0)[0]  # it never changed


def test_a_minute_is_exact():
    live, compared, *_ = stream_for(60)
    assert_steady(live, compared, 60)


@pytest.mark.slow
def test_an_hour_is_exact_and_takes_no_more_memory():
    live, compared, before, after, speed = stream_for(3600)
    assert_steady(live, compared, 3600)
    assert after - before < 2.0, f"{before:.1f} MiB became {after:.1f} MiB"
    print(f"{speed:.0f}x real time, load p99 {live.load.p99:.1%}, memory {before:.1f} -> {after:.1f} MiB")
