"""A method that fails in every way there is; the stream must not show it: no gap, no click, no shift in time."""

import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest

from unmuffle.enhancers.base import Enhancer, StepKernel, run_offline
from unmuffle.enhancers.compose import AtRate, Identity
from unmuffle.enhancers.registry import load
from unmuffle.errors import ParameterError, UnboundedLatencyError
from unmuffle.quality.fallback import Guarded

RATE = 16000


@dataclass(frozen=True)
class Faulty(Enhancer):
    """Halves and delays, until a sample arrives on which it does what ``fault`` says; from ``to`` on it is well again."""

    name: ClassVar[str] = "faulty"
    fault: str = ""
    start: int = 16000
    stop: int = 1 << 40
    delay: int = 100
    step: int = 160
    clock: Any = field(default=None, compare=False)

    def kernel(self, sample_rate, channels):
        if self.fault == "reset" and self.clock and self.clock.get("dead"):
            raise RuntimeError("cannot be made again")
        return _Faulty(self, channels)


class _Faulty(StepKernel):
    seen = 0  # of the stream, not of this kernel: a new kernel does not begin a new signal

    def __init__(self, faulty, channels):
        super().__init__(channels, faulty.step, faulty.delay)
        self.f = faulty

    def init(self):
        return np.zeros((self.channels, self.f.delay), np.float32)

    def finish(self):
        if self.f.fault == "finish":
            raise RuntimeError("at the end")
        return super().finish()

    def push(self, x):
        y = super().push(x)
        if self.f.fault == "stall" and _Faulty.seen >= self.f.start:
            return y[:, :0]
        if self.f.fault == "shape" and _Faulty.seen >= self.f.start:
            return y[:, 0]
        return y

    def step(self, x, state):
        joined = np.concatenate((state, x), axis=1)
        y = 0.5 * joined[:, : x.shape[1]]
        _Faulty.seen += x.shape[1]
        if self.f.start <= _Faulty.seen < self.f.stop:
            if self.f.fault == "raise":
                raise RuntimeError("out of memory")
            if self.f.fault == "nan":
                y[:, 7] = np.nan
            if self.f.fault == "inf":
                y[:, -1] = np.inf
            if self.f.fault == "slow":
                self.f.clock["now"] += 3 * x.shape[1] / RATE
        return y, joined[:, x.shape[1] :]


@pytest.fixture(autouse=True)
def _new():
    _Faulty.seen = 0


@pytest.fixture
def tone():
    t = np.arange(3 * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * 220 * t) + 0.1 * np.sin(2 * np.pi * 1100 * t)).astype(np.float32)


def guarded(fault, told=None, **values):
    clock = {"now": 0.0}
    make = {k: values.pop(k) for k in ("start", "stop", "delay", "step") if k in values}
    values.setdefault("spare", Identity())
    values.setdefault("retries", 0)
    main = Faulty(fault=fault, clock=clock, **make)
    return Guarded(main, notify=None if told is None else told.append, clock=lambda: clock["now"], **values)


def streamed(guard, x, size=160):
    stream = guard.stream(RATE)
    parts = [stream.process(x[i : i + size]) for i in range(0, len(x), size)]
    return np.concatenate((*parts, stream.flush())), stream


FAULTS = ["raise", "nan", "inf", "slow", "stall", "shape"]


@pytest.mark.parametrize("size", [160, 77, 1024, 40000])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_ends_in_the_other_method_without_a_gap(fault, size, tone):
    told = []
    guard = guarded(fault, told, behind_s=0.2)
    if fault == "slow" and size == 40000:
        pytest.skip("one block: there is nothing after it")
    out, stream = streamed(guard, tone, size)
    latency = stream.latency_samples
    assert latency == 100
    assert out.shape == (len(tone) + latency,)
    assert np.isfinite(out).all()
    assert [s.to for s in told] == ["spare"]
    reasons = {"nan": "non-finite", "inf": "non-finite", "slow": "behind"}
    assert told[0].reason == reasons.get(fault, "error")
    late = np.concatenate((np.zeros(latency, np.float32), tone))
    # Before: the method, half of the input. After the fade: the input itself, at the same place.
    before, after = 15800 - min(size, 8000), min(len(tone), round(told[0].at_s * RATE) + size + 1000)
    np.testing.assert_allclose(out[:before], 0.5 * late[:before], atol=1e-6)
    np.testing.assert_allclose(out[after:], late[after:], atol=1e-6)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_switch_does_not_click(fault, tone):
    out, _ = streamed(guarded(fault, behind_s=0.2), tone)
    # A step of the size of the tone (0.5) would show as a second difference of up to 0.5. The tones themselves, the
    # 6 dB that one method is louder, and a fade of 20 ms give less than a tenth of that.
    curve = np.abs(np.diff(out[200:-200], 2))
    steady = np.abs(np.diff(tone, 2)).max()
    assert curve.max() < 1.3 * steady


def test_noise_appears_within_the_fade_and_not_at_once(rng):
    """From a method that is silent to one that is not: no sample of full level at once."""
    x = (0.1 * rng.standard_normal(3 * RATE)).astype(np.float32)

    @dataclass(frozen=True)
    class Mute(Faulty):
        def kernel(self, sample_rate, channels):
            kernel = _Faulty(self, channels)
            push = kernel.push
            kernel.push = lambda x: 0 * push(x)
            return kernel

    told = []
    guard = Guarded(Mute("raise"), Identity(), notify=told.append, retries=0)
    out, _ = streamed(guard, x)
    first = int(np.flatnonzero(out)[0])
    assert np.abs(out[first : first + 16]).max() < 0.01  # the first millisecond of twenty
    assert np.std(out[first + 400 : first + 2000]) == pytest.approx(0.1, rel=0.1)


def test_the_spare_is_warm_when_it_takes_over(rng):
    """The noise of a spectral method is known at the first sample: it heard the last half second."""
    noise = (0.05 * rng.standard_normal(3 * RATE)).astype(np.float32)
    classic = load("classic")
    told = []
    out, stream = streamed(Guarded(Faulty("raise"), classic, retries=0, notify=told.append), noise)
    latency = stream.latency_samples
    alone = run_offline(classic, noise, RATE)
    at = round(told[0].at_s * RATE) + 400
    got = out[latency:][at : at + 1600]
    level = 20 * np.log10(np.std(got) / np.std(alone[at : at + 1600]))
    assert abs(level) < 2.0  # cold, it would let the noise through: 8 dB more
    assert 20 * np.log10(np.std(got) / 0.05) < -6


def test_a_method_that_is_well_again_comes_back(tone):
    told = []
    guard = guarded("raise", told, start=16000, stop=16001, retries=2, retry_s=0.5, warm_s=0.1)
    out, stream = streamed(guard, tone)
    assert [(s.to, s.reason) for s in told] == [("spare", "error"), ("main", "recovered")]
    assert told[1].at_s == pytest.approx(1.0 + 0.5 + 0.1, abs=0.05)
    late = np.concatenate((np.zeros(stream.latency_samples, np.float32), tone))
    np.testing.assert_allclose(out[30000:], 0.5 * late[30000:], atol=1e-6)
    assert np.abs(np.diff(out[200:-200], 2)).max() < 1.3 * np.abs(np.diff(tone, 2)).max()


def test_a_method_that_stays_ill_is_left_alone_after_its_retries(tone):
    told = []
    guard = guarded("raise", told, retries=2, retry_s=0.2, warm_s=0.05)
    stream = guard.stream(RATE)
    for i in range(0, len(tone), 160):
        stream.process(tone[i : i + 160])
    assert [s.to for s in told] == ["spare"]
    assert stream._kernel.failures == 3


def test_when_the_spare_fails_too_the_input_passes(tone):
    told = []
    out, stream = streamed(guarded("raise", told, spare=Faulty("raise", start=33000, delay=30)), tone)
    assert [s.to for s in told] == ["spare", "dry"]
    late = np.concatenate((np.zeros(stream.latency_samples, np.float32), tone))
    np.testing.assert_array_equal(out[40000:], late[40000:])
    assert np.abs(np.diff(out[200:-200], 2)).max() < 1.3 * np.abs(np.diff(tone, 2)).max()


def test_a_fault_in_the_tail(tone):
    told = []
    out, stream = streamed(guarded("finish", told), tone)
    assert len(out) == len(tone) + stream.latency_samples
    assert [s.to for s in told] == ["spare"]
    again = np.concatenate((stream.process(tone), stream.flush()))  # and the stream can begin anew
    assert len(again) == len(out)


def test_a_listener_that_fails_does_not_stop_the_sound(tone, caplog):
    def broken(switch):
        raise ValueError("listener")

    guard = Guarded(Faulty("raise"), Identity(), notify=broken, retries=0)
    with caplog.at_level(logging.WARNING, "unmuffle.quality"):
        out, _ = streamed(guard, tone)
    assert np.isfinite(out).all()
    assert "went to identity (error): RuntimeError: out of memory" in caplog.text


@pytest.mark.parametrize("main", [load("classic"), Faulty(), Identity(), AtRate(load("log-mmse"), 8000)], ids=lambda m: m.name)
def test_without_a_fault_it_is_the_method_itself(main, rng):
    x = (0.1 * rng.standard_normal((2, 8000))).astype(np.float32)
    guard = Guarded(main)
    alone = main.stream(RATE, 2)
    stream = guard.stream(RATE, 2)
    late = stream.latency_samples - alone.latency_samples
    assert late >= 0
    want = np.concatenate((alone.process(x), alone.flush()), axis=1)
    for size in (1, 77, 160, 511, 8000):
        got = [stream.process(x[:, i : i + size]) for i in range(0, 8000, size)]
        got = np.concatenate((*got, stream.flush()), axis=1)
        np.testing.assert_allclose(got[:, late:], want, atol=1e-6)
        assert not np.any(got[:, :late])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", [128, 160, 480])
def test_process_block_never_runs_dry(fault, size, tone):
    stream = guarded(fault, behind_s=0.2, spare=load("classic")).stream(RATE, block_size=size)
    out = [stream.process_block(tone[i : i + size]) for i in range(0, len(tone) - size, size)]
    assert {len(b) for b in out} == {size}
    assert np.isfinite(np.concatenate(out)).all()


def test_a_saved_state_goes_on_alike_before_and_after_a_fault(tone):
    for at in (8000, 17600, 24000):
        _Faulty.seen = 0
        first = guarded("raise", retries=1, retry_s=0.3, warm_s=0.1).stream(RATE)
        first.process(tone[:at])
        seen, state = _Faulty.seen, first.state()
        want = np.concatenate((first.process(tone[at:]), first.flush()))
        _Faulty.seen = seen
        second = guarded("raise", retries=1, retry_s=0.3, warm_s=0.1).stream(RATE)
        second.restore(state)
        got = np.concatenate((second.process(tone[at:]), second.flush()))
        np.testing.assert_array_equal(got, want)


def test_bypass_and_strength_go_through_a_fault(tone):
    stream = guarded("raise").stream(RATE)
    stream.set_strength(0)
    out = np.concatenate((stream.process(tone), stream.flush()))
    np.testing.assert_array_equal(out[stream.latency_samples :], tone)


def test_wrong_use_is_named():
    with pytest.raises(ParameterError, match="made of enhancers"):
        Guarded("classic")
    with pytest.raises(ParameterError, match="behind_s"):
        Guarded(Identity(), behind_s=0)
    with pytest.raises(ParameterError, match="warm_s"):
        Guarded(Identity(), warm_s=-1)
    with pytest.raises(ParameterError, match="retries"):
        Guarded(Identity(), retries=-1)
    with pytest.raises(UnboundedLatencyError):
        Guarded(load("wpe-batch")).stream(RATE)
    assert Guarded(Identity()).key() != Guarded(load("classic")).key()


def test_a_method_that_makes_one_channel_of_two_falls_back_to_that_one(rng):
    @dataclass(frozen=True)
    class Second(Faulty):
        def kernel(self, sample_rate, channels):
            kernel = _Second(self, channels)
            kernel.outputs = (1,)
            return kernel

    class _Second(_Faulty):
        def init(self):
            return np.zeros((1, self.f.delay), np.float32)

        def step(self, x, state):
            return super().step(x[1:], state)

    x = (0.1 * rng.standard_normal((2, 3 * RATE))).astype(np.float32)
    told = []
    stream = Guarded(Second("raise"), Identity(), retries=0, notify=told.append).stream(RATE, 2)
    out = np.concatenate([stream.process(x[:, i : i + 160]) for i in range(0, 3 * RATE, 160)], axis=1)
    assert [s.to for s in told] == ["spare"]
    assert out.shape[0] == 1
    np.testing.assert_array_equal(out[0, 20000:], x[1, 19900 : out.shape[1] - 100])
