"""Streams side by side: what each gets is what it would get alone, to the last bit."""

import numpy as np
import pytest

from unmuffle.enhancers.base import alone, together
from unmuffle.enhancers.registry import load
from unmuffle.errors import NonFiniteError, ShapeError
from unmuffle.quality.fallback import Guarded

RATE = 16000
METHODS = {
    "log-mmse": {},
    "wiener": {},
    "mosie": {"over_db": 2.0},
    "mmse-stsa": {"snr": "ml"},
    "omlsa": {},  # with memory of its own: one after the other, and the same all the same
    "classic": {},
    "spectral-subtraction": {},
    "identity": {},
}


def sounds(count, seconds=1.5, rate=RATE):
    rng = np.random.default_rng(3)
    t = np.arange(round(seconds * rate)) / rate
    tones = [np.sin(2 * np.pi * (150 + 40 * k) * t) * (np.sin(2 * np.pi * (1 + 0.3 * k) * t) > 0) for k in range(count)]
    return [(0.1 * tone + 0.03 * rng.standard_normal(len(t))).astype(np.float32) for tone in tones]


def run(streams, signals, sizes, fixed=False):
    """All streams, in steps; a stream joins when the others are under way, and one pauses now and then."""
    at, parts = [0] * len(streams), [[] for _ in streams]
    turn = 0
    while any(at[i] < len(signals[i]) for i in range(len(streams))):
        chosen = [i for i in range(len(streams)) if at[i] < len(signals[i]) and turn >= 7 * i and (turn + i) % 5]
        works = [streams[i].processing(signals[i][at[i] : at[i] + sizes[i]], fixed=fixed) for i in chosen]
        for i, y in zip(chosen, together(works), strict=True):
            assert isinstance(y, np.ndarray), y
            parts[i].append(y)
            at[i] += sizes[i]
        turn += 1
    return [np.concatenate(p) for p in parts]


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_together_is_alone_bit_for_bit(method, guarded):
    enhancer = load(method, **METHODS[method])
    if guarded:
        enhancer = Guarded(enhancer, load("identity"))
    signals = sounds(5)
    sizes = [160, 160, 77, 512, 3000]
    mine = [enhancer.stream(RATE) for _ in signals]
    mine[1].set_strength(9.0)
    got = run(mine, signals, sizes)
    for i, x in enumerate(signals):
        stream = enhancer.stream(RATE)
        if i == 1:
            stream.set_strength(9.0)
        np.testing.assert_array_equal(got[i], stream.process(x))


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_rates_and_fixed_blocks(rate):
    enhancer = load("log-mmse")
    signals = [x[: len(x) // (rate // 100) * (rate // 100)] for x in sounds(4, 1.0, rate)]
    block = rate // 100
    got = run([enhancer.stream(rate, block_size=block) for _ in signals], signals, [block] * 4, fixed=True)
    for x, y in zip(signals, got, strict=True):
        stream = enhancer.stream(rate, block_size=block)
        np.testing.assert_array_equal(
            y, np.concatenate([stream.process_block(x[i : i + block]) for i in range(0, len(x), block)])
        )


def test_different_methods_parameters_and_rates_do_not_mix():
    enhancers = [load("log-mmse"), load("log-mmse", floor_db=-30.0), load("wiener"), load("log-mmse")]
    rates = [RATE, RATE, RATE, 8000]
    signals = sounds(4)
    got = run([e.stream(r) for e, r in zip(enhancers, rates, strict=True)], signals, [512] * 4)
    for enhancer, rate, x, y in zip(enhancers, rates, signals, got, strict=True):
        np.testing.assert_array_equal(y, enhancer.stream(rate).process(x))


def test_steps_are_really_taken_in_one_call(monkeypatch):
    from unmuffle.enhancers.spectral.suppressor import _SuppressorKernel

    rows = []
    real = _SuppressorKernel.step_rows
    monkeypatch.setattr(
        _SuppressorKernel,
        "step_rows",
        lambda self, spectrum, state, arrays: rows.append(len(spectrum)) or real(self, spectrum, state, arrays),
    )
    streams = [load("log-mmse").stream(RATE) for _ in range(6)]
    signals = sounds(6)
    for at in range(0, len(signals[0]), 256):
        together([s.processing(x[at : at + 256]) for s, x in zip(streams, signals, strict=True)])
    assert len(rows) > 50
    assert {*rows} == {6}


def test_one_that_cannot_be_used_harms_no_other():
    streams = [load("log-mmse").stream(RATE) for _ in range(3)]
    signals = sounds(3)
    parts = [[], [], []]
    for at in range(0, 16000, 512):
        blocks = [x[at : at + 512] for x in signals]
        if at == 8192:
            bad = blocks[1].copy()
            bad[7] = np.nan
            wrong = np.zeros((3, 512), np.float32)
            first, nan, shape = together(
                [s.processing(b) for s, b in zip(streams, [blocks[0], bad, wrong], strict=True)]
            )
            assert isinstance(nan, NonFiniteError)
            assert isinstance(shape, ShapeError)
            parts[0].append(first)
            for i in (1, 2):  # they have not seen it
                parts[i].append(streams[i].process(blocks[i]))
            continue
        for i, y in enumerate(together([s.processing(b) for s, b in zip(streams, blocks, strict=True)])):
            parts[i].append(y)
    for x, part in zip(signals, parts, strict=True):
        np.testing.assert_array_equal(
            np.concatenate(part), load("log-mmse").stream(RATE).process(x[: sum(map(len, part))])
        )


def test_a_step_that_fails_fails_for_its_own_stream_only(monkeypatch):
    """The shared call is given up, each step is taken alone, and the guard of the one at fault goes to its spare."""
    from unmuffle.enhancers.spectral.suppressor import _SuppressorKernel

    told = [[], [], []]
    guards = [Guarded(load("log-mmse"), load("identity"), notify=t.append, retries=0) for t in told]
    streams = [g.stream(RATE) for g in guards]
    signals = sounds(3)
    rows, bins, broken = _SuppressorKernel.step_rows, _SuppressorKernel.step_bins, []

    def failing_rows(self, spectrum, state, arrays):
        if broken:
            raise MemoryError("out of memory")
        return rows(self, spectrum, state, arrays)

    def failing_bins(self, spectrum, state):
        if broken and state is broken[0]:
            raise MemoryError("out of memory")
        return bins(self, spectrum, state)

    monkeypatch.setattr(_SuppressorKernel, "step_rows", failing_rows)
    monkeypatch.setattr(_SuppressorKernel, "step_bins", failing_bins)
    parts = [[], [], []]
    for at in range(0, 16000, 512):
        if at == 8192:
            broken.append(streams[1]._kernel._branches["main"].kernel._state[1])
        for i, y in enumerate(
            together([s.processing(x[at : at + 512]) for s, x in zip(streams, signals, strict=True)])
        ):
            assert np.isfinite(y).all()
            parts[i].append(y)
    assert [[s.to for s in t] for t in told] == [[], ["spare"], []]
    broken.clear()
    for i in (0, 2):
        expected = (
            Guarded(load("log-mmse"), load("identity")).stream(RATE).process(signals[i][: sum(map(len, parts[i]))])
        )
        np.testing.assert_array_equal(np.concatenate(parts[i]), expected)


def test_a_snapshot_taken_between_is_whole():
    a, b = (load("wiener").stream(RATE) for _ in range(2))
    x, other = sounds(2)
    for at in range(0, 8192, 512):
        together([a.processing(x[at : at + 512]), b.processing(other[at : at + 512])])
    fresh = load("wiener").stream(RATE)
    fresh.restore(a.state())
    together([a.processing(other[:512]), b.processing(x[:512])])  # what comes after must not reach it
    wanted = load("wiener").stream(RATE)
    wanted.process(x[:8192])
    np.testing.assert_array_equal(fresh.process(x[8192:12288]), wanted.process(x[8192:12288]))


def test_alone_carries_out_what_is_handed_out():
    x = sounds(1)[0]
    stream = load("log-mmse").stream(RATE)
    np.testing.assert_array_equal(alone(stream.processing(x)), load("log-mmse").stream(RATE).process(x))
