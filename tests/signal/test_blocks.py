"""The one door through which samples come in, and the queue behind it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmuffle.errors import DtypeError, NonFiniteError, ParameterError, ShapeError
from unmuffle.signal.blocks import Fifo, as_block

BAD = [
    (np.zeros(4, np.int16), DtypeError, "32768"),
    (np.zeros(4, bool), DtypeError, "bool"),
    (np.zeros(4, complex), DtypeError, "complex"),
    (np.array(["a"]), DtypeError, "floating"),
    (np.array(0.5), ShapeError, "shape"),
    (np.zeros((2, 3, 4), np.float32), ShapeError, "shape"),
    (np.zeros((48000, 2), np.float32), ShapeError, "x.T"),
    (np.zeros((0, 2), np.float32), ShapeError, "channels"),
    (np.array([0.0, np.nan]), NonFiniteError, "sample 1 is nan;"),
    (np.array([[0.0, 0.0], [np.inf, 0.0]], np.float32), NonFiniteError, "sample 0 is 0.0, inf;"),
    (np.array([1e300]), NonFiniteError, "scale"),
]


@pytest.mark.parametrize(("x", "error", "words"), BAD)
def test_bad_samples_are_named(x, error, words):
    with pytest.raises(error, match=words):
        as_block(x)


def test_a_transposed_block_is_recognised():
    with pytest.raises(ShapeError, match=r"x\.T"):
        as_block(np.zeros((160, 2), np.float32), channels=2)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble])
def test_every_float_is_taken_and_left_alone(kind):
    x = np.array([0.5, -0.25], kind)
    kept = x.copy()
    y = as_block(x)
    assert y.dtype == np.float32
    assert y.shape == (1, 2)
    np.testing.assert_array_equal(x, kept)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20), st.integers(0, 9))
def test_a_queue_gives_back_what_it_got_in_order(moves, delay):
    fifo, sent, got = Fifo(1, delay), [], []
    counter = 0
    for push, pop in moves:
        block = np.arange(counter, counter + push, dtype=np.float32)[np.newaxis]
        counter += push
        fifo.push(block)
        sent.extend(block[0])
        got.extend(fifo.pop(min(pop, len(fifo)))[0])
    got.extend(fifo.pop(len(fifo))[0])
    assert got == [0.0] * delay + sent


def test_a_queue_cannot_give_what_it_has_not():
    with pytest.raises(ParameterError, match="3 samples"):
        Fifo(1, 2).pop(3)
