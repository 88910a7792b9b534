"""Block sizes: the smallest delay that leaves room, and when to change."""

import pytest

from unmuffle.enhancers.registry import load
from unmuffle.errors import ParameterError
from unmuffle.live import blocks


class Clock:
    """Each block takes a fixed time plus a share of its length."""

    def __init__(self, fixed_s):
        self.now, self.fixed = 0.0, fixed_s

    def __call__(self):
        self.now += self.fixed / 2  # a block reads it twice; what lies between two blocks is not counted
        return self.now


def test_a_quick_machine_takes_the_smallest_delay():
    found = blocks.choose(load("log-mmse"), 48000, clock=Clock(0.0))
    every = [
        blocks.delay_with(load("log-mmse"), 48000, 1, blocks.block_of(ms, 48000))
        for ms in blocks.SIZES_MS
        if ms >= blocks.LEAST_MS
    ]
    assert found.delay_samples == min(every)
    assert found.load == 0.0


def test_a_slow_machine_takes_larger_blocks_and_a_hopeless_one_the_largest():
    quick, slow, hopeless = (blocks.choose(load("identity"), 16000, clock=Clock(s)).block for s in (0.0, 0.012, 9.9))
    assert quick == 128  # 8 ms
    assert slow >= 16000 * 0.006 / blocks.ROOM * 0.99  # 6 ms of work within half of the block
    assert hopeless == 1280  # 80 ms


def test_blocks_that_fit_the_step_do_not_wait():
    """12 ms steps: a block of 12 ms waits for nothing, one of 10 ms for up to 10 ms more."""
    method = load("classic")
    step = method.stream(48000)._kernel.granularity
    fits = blocks.delay_with(method, 48000, 1, step) - 3 * step
    beside = blocks.delay_with(method, 48000, 1, step - 96) - 3 * (step - 96)
    assert fits == method.stream(48000).latency_samples
    assert beside > fits


@pytest.mark.parametrize("ms", [0.5, 201.0, float("nan")])
def test_sizes_without_meaning(ms):
    with pytest.raises(ParameterError, match="give 1 to 200"):
        blocks.block_of(ms, 48000)


def test_three_bad_blocks_in_ten_seconds_are_trouble():
    watch = blocks.Watch()
    assert not watch.troubled(2, 0.0)
    assert not watch.troubled(2, 9.0)
    assert watch.troubled(3, 9.5)
    watch = blocks.Watch(seen=100)
    assert not watch.troubled(102, 0.0)
    assert not watch.troubled(104, 11.0)
    assert watch.troubled(105, 12.0)
