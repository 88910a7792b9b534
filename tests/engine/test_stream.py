"""The stream beside a device: exact, never late without saying so, never silent without a reason.

Time is simulated: the test calls ``exchange`` as a device would and ``work`` when the worker would
get its turn, so that every case repeats to the sample. Threads have tests of their own at the end.
"""

import threading
import time
import tracemalloc
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from unmuffle.engine.stream import CALM_S, DECLICK_S, RETURN_S, LiveStream
from unmuffle.enhancers.base import Enhancer, StepKernel, run_offline
from unmuffle.enhancers.compose import AtRate, Chain
from unmuffle.enhancers.registry import load
from unmuffle.errors import ParameterError, UnboundedLatencyError

RATE = 16000


def speech(rng, seconds, channels=1, rate=RATE):
    """Noise with a syllable's envelope: something for every method to do."""
    n = round(seconds * rate)
    envelope = 0.02 + 0.3 * np.clip(np.sin(2 * np.pi * 3 * np.arange(n) / rate), 0, None)
    return (envelope * rng.standard_normal((channels, n))).astype(np.float32)


def drive(live, signal, sizes, works=lambda i: True, outputs=None):
    """Send a signal through in blocks of ``sizes`` (repeated); ``works(i)``: the worker's turn after block i?"""
    out = np.full((signal.shape[1], outputs or live.outputs), np.nan, np.float32)
    at = i = 0
    while at < signal.shape[1]:
        n = min(sizes[i % len(sizes)], signal.shape[1] - at)
        live.exchange(np.ascontiguousarray(signal[:, at : at + n].T), out[at : at + n])
        if not live.inline and works(i):
            live.work()
        at += n
        i += 1
    return out.T


class _Sum(StepKernel):
    def __init__(self, channels):
        super().__init__(channels)
        self.outputs = (1,)

    def init(self):
        return ()

    def step(self, x, state):
        return x.sum(axis=0, keepdims=True), state


@dataclass(frozen=True)
class Sum(Enhancer):
    """All channels added, standing in for the second."""

    name: ClassVar[str] = "sum"

    def kernel(self, sample_rate, channels):
        return _Sum(channels)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("outputs", [None, 2])
def test_one_channel_out_of_several(rng, inline, outputs):
    x = speech(rng, 1.0, 4)
    live = LiveStream(Sum(), RATE, inputs=4, outputs=outputs, block=160, inline=inline, clock=stopped)
    out = drive(live, x, [160])
    assert live.made == 1
    for channel in out:
        np.testing.assert_allclose(channel[live.delay_samples :], x.sum(axis=0)[: 16000 - live.delay_samples], atol=1e-6)
    # When nobody works, the microphone that the output stands in for is heard.
    late = LiveStream(Sum(), RATE, inputs=4, block=160, clock=stopped)
    heard = drive(late, x, [160], works=lambda i: False)
    assert_same(heard, delayed(x[1:2], 0), late.delay_samples)


def stopped():
    """A clock for runs in which no time passes: nothing depends on how busy the machine is."""
    return 0.0


def delayed(x, delay):
    return np.concatenate((np.zeros((len(x), delay), np.float32), x), axis=1)[:, : x.shape[1]]


def assert_same(out, expected, delay):
    """Equal after the delay to the sample. Before it lies what the method makes of the time before the signal."""
    assert out.shape == expected.shape
    np.testing.assert_array_equal(out[:, delay:], expected[:, : out.shape[1] - delay])
    assert np.isfinite(out).all()


def assert_clean(live):
    counts = live.counts
    assert (counts.late, counts.faults, counts.failures, counts.misfits, counts.skipped_samples) == (0, 0, 0, 0, 0)


# -- right and constant --------------------------------------------------------------------------

METHODS = ["identity", "classic", "log-mmse", "declick", "dewind"]


@pytest.mark.parametrize("inline", [False, True], ids=["worker", "inline"])
@pytest.mark.parametrize("name", METHODS)
def test_a_fixed_block_gives_the_offline_result_after_the_delay(rng, name, inline):
    x = speech(rng, 1.0)
    live = LiveStream(load(name), RATE, block=160, inline=inline, clock=stopped)
    out = drive(live, x, [160])
    expected = run_offline(load(name), x, RATE)
    assert_same(out, expected, live.delay_samples)
    assert_clean(live)
    assert live.delay_samples == live.stream.block_latency_samples + (0 if inline else 160)


@pytest.mark.parametrize("sizes", [[1, 3, 700, 64, 441], [512], [127, 1], [2000, 5]], ids=str)
@pytest.mark.parametrize("inline", [False, True], ids=["worker", "inline"])
def test_blocks_of_any_size_have_the_same_delay(rng, sizes, inline):
    x = speech(rng, 1.0, 2, 48000)
    method = load("log-mmse")
    live = LiveStream(method, 48000, inputs=2, largest=2000, inline=inline, clock=stopped)
    out = drive(live, x, sizes)
    assert_same(out, run_offline(method, x, 48000), live.delay_samples)
    assert_clean(live)


def test_a_resampled_chain_keeps_its_delay(rng):
    x = speech(rng, 1.0, 1, 44100)
    method = Chain((load("low-cut"), AtRate(load("log-mmse"), 16000)))
    live = LiveStream(method, 44100, block=441)
    out = drive(live, x, [441])
    assert_same(out, run_offline(method, x, 44100), live.delay_samples)
    assert_clean(live)


def test_bypass_and_strength_keep_the_delay(rng):
    x = speech(rng, 1.0)
    live = LiveStream(load("classic"), RATE, block=160)
    live.stream.bypass = True
    np.testing.assert_array_equal(drive(live, x, [160]), delayed(x, live.delay_samples))
    live = LiveStream(load("classic"), RATE, block=160)
    live.stream.set_strength(6.0)
    expected = run_offline(load("classic"), x, RATE, strength_db=6.0)
    assert_same(drive(live, x, [160]), expected, live.delay_samples)


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        (1, 2, lambda x: np.vstack((x, x))),
        (2, 1, lambda x: x.mean(axis=0, keepdims=True)),
        (2, 3, lambda x: np.vstack((x, 0 * x[:1]))),
        (3, 2, lambda x: x[:2]),
    ],
    ids=["one to two", "two to one", "two to three", "three to two"],
)
def test_channels_of_two_devices(rng, inputs, outputs, expected):
    x = speech(rng, 0.1, inputs)
    live = LiveStream(load("identity"), RATE, inputs=inputs, outputs=outputs, block=160, inline=True)
    np.testing.assert_allclose(drive(live, x, [160]), expected(x), rtol=1e-6)


def test_what_was_heard_and_played_can_be_read_back(rng):
    x = speech(rng, 0.5)
    live = LiveStream(load("classic"), RATE, block=160)
    out = drive(live, x, [160])
    back = np.empty((1, 1000), np.float32)
    assert live.played.read(6000, back)
    np.testing.assert_array_equal(back, out[:, 6000:7000])
    assert live.heard.read(6000, back)
    np.testing.assert_array_equal(back, x[:, 6000:7000])


# -- late ----------------------------------------------------------------------------------------


def late_run(rng, missed, block=160, seconds=2.0, name="classic"):
    x = speech(rng, seconds)
    live = LiveStream(load(name), RATE, block=block)
    out = drive(live, x, [block], works=lambda i: i not in missed)
    return live, x, out, run_offline(load(name), x, RATE)


def test_a_late_block_is_the_aligned_input_and_then_all_is_as_before(rng):
    """One turn missed: the next block is dry, 100 ms of calm, 10 ms back; the rest is bit-exact."""
    live, x, out, wet = late_run(rng, {99})
    dry, wet = delayed(x, live.delay_samples), delayed(wet, live.delay_samples)
    assert live.counts.late == 1
    first = 100 * 160
    declicked = first + round(DECLICK_S * RATE)
    # The calm counts good samples, and the block in which it ends is already fading.
    calm = first + 160 + round(CALM_S * RATE) - 160
    back = calm + round(RETURN_S * RATE)
    delay = live.delay_samples
    np.testing.assert_array_equal(out[:, delay:first], wet[:, delay:first])
    np.testing.assert_array_equal(out[:, declicked:calm], dry[:, declicked:calm])
    np.testing.assert_array_equal(out[:, back:], wet[:, back:])
    assert live.counts.dry_samples == calm - first
    assert live.counts.skipped_samples == 0


def test_the_change_to_dry_and_back_does_not_click():
    """A constant through an enhancer that halves it: no step is larger than the ramps' slope allows."""
    x = np.ones((1, 2 * RATE), np.float32)
    live = LiveStream(Halve(), RATE, block=160)
    out = drive(live, x, [160], works=lambda i: i != 50)[0]
    assert live.counts.late == 1
    assert out[160 * 60] == 1.0
    assert out[-1] == 0.5
    slope = 0.5 / min(DECLICK_S * RATE - 1, RETURN_S * RATE - 1)
    assert np.max(np.abs(np.diff(out[live.delay_samples + 1 :]))) <= slope * 1.01


@pytest.mark.parametrize("seed", range(5))
def test_any_pattern_of_lateness_stays_aligned(seed):
    """Whatever the worker does, each sample is a mix of the enhanced and the input one of its own time."""
    rng = np.random.default_rng(seed)
    x = speech(rng, 3.0)
    sizes = [int(n) for n in rng.integers(1, 900, 50)]
    missed = {int(i) for start in rng.integers(0, 100, 4) for i in range(start, start + int(rng.integers(1, 8)))}
    live = LiveStream(load("log-mmse"), RATE, largest=900)
    out = drive(live, x, sizes, works=lambda i: i not in missed)
    wet = delayed(run_offline(load("log-mmse"), x, RATE), live.delay_samples)
    dry = delayed(x, live.delay_samples)
    assert live.counts.late > 0
    # The ramp that takes a step off may leave the band between the two, by no more than the step.
    outside = np.maximum(out - np.maximum(wet, dry), np.minimum(wet, dry) - out)
    assert outside[:, live.delay_samples :].max() <= np.abs(wet - dry)[:, live.delay_samples :].max()
    exact = ((out == wet) | (out == dry))[:, live.delay_samples :]
    changes = live.counts.late + 1
    assert (~exact).sum() <= changes * round((DECLICK_S + RETURN_S) * RATE)
    np.testing.assert_array_equal(out[:, -2000:], wet[:, -2000:])


def test_a_worker_that_stops_for_good_leaves_the_aligned_input(rng):
    x = speech(rng, 5.0)
    live = LiveStream(load("classic"), RATE, block=160)
    out = drive(live, x, [160], works=lambda i: i < 20)
    dry = delayed(x, live.delay_samples)
    np.testing.assert_array_equal(out[:, RATE:], dry[:, RATE:])
    assert live.counts.late == 500 - 21


def test_a_worker_far_behind_leaves_out_what_it_missed_and_returns_aligned(rng):
    """Two seconds away: more than its patience. What it did not see stays unchanged; then it is in place again."""
    x = speech(rng, 6.0)
    live = LiveStream(load("identity"), RATE, block=160)
    out = drive(live, x, [160], works=lambda i: not 100 <= i < 300)
    assert live.counts.skipped_samples > RATE
    np.testing.assert_array_equal(out, delayed(x, live.delay_samples))  # identity: aligned everywhere
    live = LiveStream(load("classic"), RATE, block=160)
    out = drive(live, x, [160], works=lambda i: not 100 <= i < 300)
    dry = delayed(x, live.delay_samples)
    np.testing.assert_array_equal(out[:, 120 * 160 : 300 * 160], dry[:, 120 * 160 : 300 * 160])
    # Enhanced again: less of the noise between the syllables than in the input.
    pause = np.sin(2 * np.pi * 3 * (np.arange(x.shape[1]) - live.delay_samples) / RATE) < -0.5
    pause[:-RATE] = False
    assert np.mean(out[:, pause] ** 2) < 0.7 * np.mean(dry[:, pause] ** 2)
    # ... and aligned: the correlation with the input peaks at the delay, not beside it.
    tail, lags = out[0, -RATE:], range(-40, 41)
    scores = [float(np.dot(tail[100:-100], dry[0, -RATE + 100 + lag : len(dry[0]) - 100 + lag])) for lag in lags]
    assert lags[int(np.argmax(scores))] == 0


def test_inline_overload_passes_the_input_instead_of_stopping_the_device(rng):
    """A method that takes three times as long as the sound: most blocks go by unchanged, in place."""
    slow = Slow(0.003)
    live = LiveStream(slow, RATE, block=16, inline=True, clock=lambda: slow.spent[0])  # 1 ms blocks
    x = speech(rng, 0.2)
    out = drive(live, x, [16])
    assert slow.spent[0] <= 0.2 + 2 * 0.001 + DECLICK_S + 0.003  # as long as the sound, a lead and the last block
    np.testing.assert_array_equal(out, delayed(x, live.delay_samples))
    assert live.counts.late > 0
    assert live.load.p50 > 1


def test_more_reserve_while_it_runs_costs_a_block_of_delay_and_no_click(rng):
    x = speech(rng, 2.0)
    live = LiveStream(load("classic"), RATE, block=192)
    before = live.delay_samples
    out = drive(live, x[:, : 192 * 60], [192])
    assert live.lengthen(192)
    assert not live.lengthen(192)  # one after the other
    assert live.delay_samples == before  # from the next block on
    out = np.concatenate((out, drive(live, x[:, 192 * 60 :], [192])), axis=1)
    assert live.delay_samples == before + 192
    assert_clean(live)
    wet, at, ramp = run_offline(load("classic"), x, RATE), 192 * 60, round(DECLICK_S * RATE)
    np.testing.assert_array_equal(out[:, before:at], wet[:, : at - before])
    np.testing.assert_array_equal(out[:, at + ramp :], wet[:, at + ramp - before - 192 : -before - 192])
    assert live.delay_at(at - 1) == (before, at)
    assert live.delay_at(at)[0] == before + 192
    # Two turns may be missed now, one after another.
    live = LiveStream(load("classic"), RATE, block=192)
    live.lengthen(192)
    drive(live, x, [192], works=lambda i: i % 2 == 1)
    assert_clean(live)


def test_the_reserve_has_an_end():
    live = LiveStream(load("identity"), RATE, block=1600)
    drive(live, np.zeros((1, 1600), np.float32), [1600])
    assert live.lengthen(1600)
    drive(live, np.zeros((1, 1600), np.float32), [1600])
    assert live.lengthen(1600)
    drive(live, np.zeros((1, 1600), np.float32), [1600])
    assert not live.lengthen(1600)  # 0.2 s are given
    assert not live.lengthen(0)


def test_more_reserve_does_not_click():
    n = np.arange(RATE)
    x = (0.5 * np.sin(2 * np.pi * 100 * n / RATE)).astype(np.float32)[None]
    live = LiveStream(Halve(), RATE, block=72)  # 0.45 of the sine's period: the worst there is
    out = drive(live, x[:, : 72 * 100], [72])
    live.lengthen(72)
    out = np.concatenate((out, drive(live, x[:, 72 * 100 :], [72])), axis=1)[0]
    steepest = 0.25 * 2 * np.pi * 100 / RATE
    ramp = 0.5 / (DECLICK_S * RATE - 1)
    assert np.max(np.abs(np.diff(out[200:]))) < 1.05 * (steepest + ramp)


# -- what can go wrong ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Halve(Enhancer):
    """Half of the input, at once."""

    name: ClassVar[str] = "halve"

    def kernel(self, sample_rate, channels):
        return _Kernel(channels, lambda x: x * np.float32(0.5))


@dataclass(frozen=True)
class Slow(Enhancer):
    """The input, after some time of thinking, on a clock of its own."""

    seconds: float = 0.01
    spent: list = field(default_factory=lambda: [0.0], compare=False, repr=False)
    name: ClassVar[str] = "slow"

    def __post_init__(self):
        pass

    def kernel(self, sample_rate, channels):
        def step(x):
            self.spent[0] += self.seconds
            return x.copy()

        return _Kernel(channels, step)


@dataclass(frozen=True)
class Breaks(Enhancer):
    """Half of the input, but for some calls, in which it raises or returns NaN."""

    when: tuple[int, ...] = ()
    nan: bool = False
    name: ClassVar[str] = "breaks"

    def __post_init__(self):
        pass

    def kernel(self, sample_rate, channels):
        calls = iter(range(1 << 30))

        def step(x):
            if next(calls) in self.when:
                if self.nan:
                    return x * np.float32(np.nan)
                raise RuntimeError("out of cheese")
            return x * np.float32(0.5)

        return _Kernel(channels, step)


class _Kernel(StepKernel):
    def __init__(self, channels, act):
        super().__init__(channels)
        self._act = act

    def init(self):
        return ()

    def step(self, x, state):
        return self._act(x), state


@pytest.mark.parametrize("nan", [False, True], ids=["raises", "NaN"])
def test_an_enhancer_that_fails_once_is_begun_anew(nan):
    x = np.ones((1, RATE), np.float32)
    live = LiveStream(Breaks((30,), nan), RATE, block=160)
    out = drive(live, x, [160])[0]
    assert live.counts.failures == 1
    assert not live.gave_up
    assert np.isfinite(out).all()
    assert out[160 * 32] == 1.0  # the input, in its place
    assert out[-1] == 0.5
    assert ("out of cheese" in live.last_error) != nan


def test_an_enhancer_that_fails_again_and_again_is_left_alone():
    x = np.ones((1, RATE), np.float32)
    live = LiveStream(Breaks(tuple(range(30, 1000))), RATE, block=160)
    out = drive(live, x, [160])[0]
    assert live.gave_up
    assert live.counts.failures == 3
    assert np.isfinite(out).all()
    assert (out[160 * 32 :] == 1.0).all()


def test_nan_from_the_device_is_taken_for_zero(rng):
    x = speech(rng, 1.0)
    bad = x.copy()
    bad[0, 5000:5010] = np.nan
    bad[0, 9000] = np.inf
    live = LiveStream(load("classic"), RATE, block=160)
    out = drive(live, bad, [160])
    zeroed = np.where(np.isfinite(bad), bad, 0)
    assert_same(out, run_offline(load("classic"), zeroed, RATE), live.delay_samples)
    assert live.counts.nonfinite == 2


def test_another_format_is_silence_and_counted():
    live = LiveStream(load("identity"), RATE, block=160, inline=True)
    out = np.full((160, 1), 9, np.float32)
    for wrong in (np.ones((160, 2), np.float32), np.ones((160, 1), np.int16), np.ones((80, 1), np.float32)):
        live.exchange(wrong, out)
        assert not out.any()
        out.fill(9)
    assert live.counts.misfits == 3
    live.exchange(np.ones((160, 1), np.float32), out)
    assert (out == 1).all()
    assert live.heard.written == 640  # the clock went on meanwhile


def test_nothing_that_goes_wrong_reaches_the_driver():
    live = LiveStream(load("identity"), RATE, block=160, inline=True)
    out = np.full((160, 1), 9, np.int16)  # cannot hold floats
    live.exchange(np.ones((160, 1), np.float32), out)
    assert live.counts.faults == 1
    assert not out.any()
    assert "int16" in live.last_error
    live.exchange(None, out)
    assert live.counts.faults == 2


def test_methods_that_need_the_whole_signal_are_refused():
    with pytest.raises(UnboundedLatencyError, match="'wpe-batch' needs the whole signal"):
        LiveStream(load("wpe-batch"), RATE)
    with pytest.raises(ParameterError, match="reserve = 0"):
        LiveStream(load("identity"), RATE, reserve=0)


# -- the rules of a callback ---------------------------------------------------------------------


def test_the_callback_makes_no_arrays(rng):
    """numpy reports its buffers to tracemalloc: a block here is 19 kB, and nothing of that size may appear.

    What is allowed: view objects and numbers, a few hundred bytes, gone again at the end of each call.
    """
    live = LiveStream(load("identity"), 48000, inputs=2, block=2400)
    block, out = speech(rng, 0.05, 2, 48000).T.copy(), np.zeros((2400, 2), np.float32)
    states = {"enhanced": True, "dry": False}
    for _ in range(20):
        live.exchange(block, out)
        live.work()
    seen = {}
    tracemalloc.start()
    try:
        for name, works in states.items():
            live.exchange(block, out)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            live.exchange(block, out)
            seen[name] = tracemalloc.get_traced_memory()[1] - before
            for _ in range(30 if not works else 0):
                live.exchange(block, out)
            live.work()
    finally:
        tracemalloc.stop()
    assert max(seen.values()) < 2500, seen


def test_the_worker_in_its_thread_gives_the_same(rng):
    """A device that waits for the worker as real time would: the thread's output is the offline one."""
    x = speech(rng, 4.0)
    live = LiveStream(load("classic"), RATE, block=160)
    live.start()
    out = np.zeros((x.shape[1], 1), np.float32)
    try:
        for at in range(0, x.shape[1], 160):
            live.exchange(x[:, at : at + 160].T, out[at : at + 160])
            until = time.monotonic() + 180.0
            while live.waiting_samples:
                assert time.monotonic() < until
                time.sleep(1e-4)
    finally:
        live.stop()
    assert_same(out.T, run_offline(load("classic"), x, RATE), live.delay_samples)
    assert_clean(live)
    assert not [t for t in threading.enumerate() if t.name == "unmuffle live"]
    assert 0 < live.load.p50 <= live.load.p99 <= live.load.max


def test_warming_up_leaves_no_trace(rng):
    x = speech(rng, 0.5)
    live = LiveStream(load("classic"), RATE, block=160)
    live.warm_up()
    assert_same(drive(live, x, [160]), run_offline(load("classic"), x, RATE), live.delay_samples)


def test_stopping_twice_and_before_starting_is_harmless():
    live = LiveStream(load("identity"), RATE)
    live.stop()
    live.start()
    live.start()
    live.stop()
    live.stop()
