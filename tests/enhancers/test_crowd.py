"""Streams in a crowd: what each gets is what it would get alone, whoever comes and goes beside it."""

import numpy as np
import pytest

from unmuffle.enhancers.crowd import Crowd
from unmuffle.enhancers.registry import load
from unmuffle.errors import ParameterError
from unmuffle.quality.fallback import Guarded

RATE = 16000


class Sitter:
    """A stream that sits in a crowd at times; one block of each at a time, as a server has them."""

    def __init__(self, enhancer, rate, block, strength=None, fixed=False):
        self.stream = enhancer.stream(rate, block_size=block if fixed else None)
        if strength is not None:
            self.stream.set_strength(strength)
        self.fixed = fixed
        self.core = self.place = None
        self.came, self.made, self.out = [], [], []

    def sit(self, crowds, block):
        self.core = self.stream.core()
        if self.core is None:
            return
        crowd = crowds.setdefault(self.core.kind(), None) or Crowd(self.core, block)
        crowds[self.core.kind()] = crowd
        self.crowd, self.place = crowd, crowd.enter(self.core, self.stream.share)

    def stand(self):
        if self.place is not None:
            self.crowd.leave(self.place, self.core)
            self.note()
            self.place = None

    def note(self):
        wet = np.concatenate([np.zeros((1, 0), np.float32), *self.made], axis=1)
        noted = self.stream.note(np.concatenate([np.zeros((1, 0), np.float32), *self.came], axis=1), wet)
        self.came, self.made = [], []
        return noted

    def alone(self, x):
        self.out.append(self.stream.process_block(x) if self.fixed else self.stream.process(x))


def run(sitters, signals, block, seats, note_every=9):
    """``seats(i, k)``: does stream ``i`` want to sit at block ``k``?"""
    crowds = {}
    for k in range(len(signals[0]) // block):
        rows = {}
        for i, (each, signal) in enumerate(zip(sitters, signals, strict=True)):
            x = signal[k * block : (k + 1) * block]
            if each.place is None and seats(i, k):
                each.sit(crowds, block)
            elif each.place is not None and not seats(i, k):
                each.stand()
            if each.place is None:
                each.alone(x)
            else:
                rows.setdefault(id(each.crowd), []).append((each, x))
        for members in rows.values():
            crowd = members[0][0].crowd
            due, wet, out = crowd.push(np.array([m.place for m, _ in members]), np.stack([x for _, x in members]))
            for each, x in members:
                each.came.append(x[np.newaxis])
            for row, i in enumerate(due):
                members[i][0].made.append(wet[row : row + 1])
                members[i][0].out.append(out[row])
            for each, _ in members:
                if len(each.came) >= note_every:
                    each.note()
    return crowds


def sounds(count, seconds=1.5, rate=RATE):
    rng = np.random.default_rng(3)
    t = np.arange(round(seconds * rate)) / rate
    tones = [np.sin(2 * np.pi * (150 + 40 * k) * t) * (np.sin(2 * np.pi * (1 + 0.3 * k) * t) > 0) for k in range(count)]
    return [(0.1 * tone + 0.03 * rng.standard_normal(len(t))).astype(np.float32) for tone in tones]


def come_and_go(i, k):
    return k > 15 + 3 * i and (k + 5 * i) // 23 % 3 != 2


@pytest.mark.parametrize(("rate", "block"), [(RATE, 160), (RATE, 256), (RATE, 77), (8000, 80), (48000, 480)])
@pytest.mark.parametrize("method", ["log-mmse", "wiener"])
def test_a_seat_changes_no_bit(method, rate, block):
    """Twelve streams, more than there is room for at first; each with a strength of its own."""
    enhancer = Guarded(load(method), load("identity"))
    signals = sounds(12, 1.5, rate)
    strengths = [None, 0.0, 6.0, 20.0] * 3
    sitters = [Sitter(enhancer, rate, block, s) for s in strengths]
    crowds = run(sitters, signals, block, come_and_go)
    assert len(crowds) == 1
    assert all(s.out for s in sitters)
    for x, sitter, strength in zip(signals, sitters, strengths, strict=True):
        wanted = enhancer.stream(rate)
        if strength is not None:
            wanted.set_strength(strength)
        got = np.concatenate(sitter.out)
        np.testing.assert_array_equal(got, wanted.process(x)[: len(got)])
        assert len(got) >= len(x) - sitter.stream.latency_samples - 2 * 1536


@pytest.mark.parametrize("rate", [8000, RATE, 48000])
def test_a_seat_in_a_network(rate):
    enhancer = Guarded(load("live"), load("identity"))
    signals = sounds(5, 1.0, rate)
    sitters = [Sitter(enhancer, rate, rate // 100, s, fixed=True) for s in (None, None, 6.0, 0.0, None)]
    run(sitters, signals, rate // 100, come_and_go)
    for x, sitter, strength in zip(signals, sitters, (None, None, 6.0, 0.0, None), strict=True):
        wanted = enhancer.stream(rate)
        if strength is not None:
            wanted.set_strength(strength)
        # Products of many rows are added up in another order: a millionth of what came in.
        assert np.max(np.abs(np.concatenate(sitter.out) - wanted.process(x))) <= 1e-6 * np.max(np.abs(x))


def test_books_that_were_kept_in_bulk_are_whole():
    """After a time in a seat all that a stream does from memory is as if it had gone by itself."""
    enhancer = Guarded(load("log-mmse"), load("classic"), retries=0)
    signals = sounds(3)
    sitters = [Sitter(enhancer, RATE, 160) for _ in signals]
    run(sitters, signals, 160, lambda i, k: k > 20)
    for x, sitter in zip(signals, sitters, strict=True):
        sitter.stand()
        wanted = enhancer.stream(RATE)
        wanted.process(x)
        for stream in (sitter.stream, wanted):
            stream.set_strength(3.0)  # the dry signal, through a ramp
        np.testing.assert_array_equal(sitter.stream.process(x[:1600]), wanted.process(x[:1600]))
        for stream in (sitter.stream, wanted):  # the past of input and output, for the change to the spare
            kernel = stream._kernel._branches["main"].kernel
            kernel._state[0][:] = np.nan
        np.testing.assert_array_equal(sitter.stream.process(x[:8000]), wanted.process(x[:8000]))
        assert sitter.stream._kernel.active == wanted._kernel.active == "spare"
        np.testing.assert_array_equal(sitter.stream.flush(), wanted.flush())


def test_what_cannot_be_used_goes_to_the_guard():
    """A crowd that makes NaN of one stream: its own books say what comes instead, the others do not notice."""
    told = [[], []]
    guards = [Guarded(load("log-mmse"), load("identity"), notify=t.append, retries=0) for t in told]
    signals = sounds(2)
    sitters = [Sitter(g, RATE, 256) for g in guards]
    seat = lambda i, k: k > 15  # noqa: E731
    run(sitters, [x[: 256 * 40] for x in signals], 256, seat, note_every=1)
    first, second = sitters
    crowd, x = first.crowd, np.stack([s[256 * 40 : 256 * 41] for s in signals])
    crowd._arrays[0][first.place] = np.nan
    due, wet, _ = crowd.push(np.array([first.place, second.place]), x)
    assert due.tolist() == [0, 1]
    assert [bool(np.isfinite(row).all()) for row in wet] == [False, True]
    first.stand()
    instead = first.stream.note(x[:1], wet[:1])
    assert instead.shape[1] >= 256
    assert np.isfinite(instead).all()
    assert [[s.to for s in t] for t in told] == [["spare"], []]


def test_when_a_crowd_fails_no_stream_has_moved(monkeypatch):
    from unmuffle.enhancers.spectral.suppressor import _SuppressorKernel

    enhancer = load("log-mmse")
    signals = sounds(3)
    sitters = [Sitter(enhancer, RATE, 160) for _ in signals]
    run(sitters, [x[: 160 * 60] for x in signals], 160, lambda i, k: k > 15)

    def failing(self, spectrum, state, arrays):
        raise MemoryError("out of memory")

    places, x = np.array([s.place for s in sitters]), np.stack([s[160 * 60 : 160 * 61] for s in signals])
    assert any(sitters[0].crowd._waiting[places] + 160 >= 256)
    with monkeypatch.context() as patched:
        patched.setattr(_SuppressorKernel, "step_rows", failing)
        with pytest.raises(MemoryError):
            sitters[0].crowd.push(places, x)
    for sitter, signal in zip(sitters, signals, strict=True):
        sitter.stand()
        sitter.alone(signal[160 * 60 :])
        got = np.concatenate(sitter.out)
        np.testing.assert_array_equal(got, enhancer.stream(RATE).process(signal)[: len(got)])


def test_a_place_that_was_left_keeps_nothing():
    enhancer = load("log-mmse")
    loud, quiet = sounds(2)
    first, second = Sitter(enhancer, RATE, 256), Sitter(enhancer, RATE, 256)
    crowds = run([first], [10 * loud], 256, lambda i, k: k > 15)
    place = first.place
    first.stand()
    for k in range(20):
        second.alone(quiet[256 * k : 256 * (k + 1)])
    second.sit(crowds, 256)
    assert second.place == place
    run([second], [quiet[256 * 20 :]], 256, lambda i, k: True)
    np.testing.assert_array_equal(np.concatenate(second.out), enhancer.stream(RATE).process(quiet)[: 256 * 93])


@pytest.mark.parametrize(
    ("method", "channels"), [("omlsa", 1), ("identity", 1), ("declip", 1), ("log-mmse", 2), ("classic", 2)]
)
def test_streams_that_have_no_seat(method, channels):
    stream = load(method).stream(RATE, channels)
    assert stream.core() is None
    stream.process(np.stack(sounds(channels)))
    assert stream.core() is None


def test_no_seat_while_something_is_under_way():
    stream = Guarded(load("log-mmse"), load("classic"), retries=0).stream(RATE)
    x = sounds(1)[0]
    assert stream.core() is None  # it does not know its noise yet
    stream.process(x[:8000])
    assert stream.core() is not None
    stream.set_strength(6.0)
    stream.process(x[:160])
    assert stream.core() is None  # the ramp takes 20 ms
    stream.process(x[:1600])
    assert stream.core() is not None
    stream._kernel._branches["main"].kernel._state[0][:] = np.nan
    stream.process(x[:1600])
    assert stream._kernel.active == "spare"
    assert stream.core() is None
    fixed = load("log-mmse").stream(RATE, block_size=160)
    for k in range(40):
        fixed.process_block(x[160 * k : 160 * (k + 1)])
    assert fixed.core() is None  # 10 ms in, 16 ms a step: what comes out waits in a queue of its own


@pytest.mark.parametrize("block", [0, 257])
def test_blocks_that_are_too_long(block):
    stream = load("log-mmse").stream(RATE)
    stream.process(sounds(1)[0])
    with pytest.raises(ParameterError, match="a hop of 256"):
        Crowd(stream.core(), block)
