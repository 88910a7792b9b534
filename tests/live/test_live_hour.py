"""One hour of sound through the worker's thread, as fast as it goes: exact, steady, no larger than before."""

import pytest
from live_helpers import HOUR_RATE as RATE
from live_helpers import stream_for


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
    assert after - before < 8.0, f"{before:.1f} MiB became {after:.1f} MiB"
    print(f"{speed:.0f}x real time, load p99 {live.load.p99:.1%}, memory {before:.1f} -> {after:.1f} MiB")
