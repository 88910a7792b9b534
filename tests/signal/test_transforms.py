"""The quick transforms are the documented ones, and step aside when scipy's inside is not as expected."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import fft

from unmuffle.signal.transforms import dct1, direct, documented, fast_length, irfft, kernel, rfft


@pytest.mark.parametrize("shape", [(2,), (289,), (1, 1, 576), (2, 7, 882), (3, 0, 64)])
def test_they_are_the_documented_ones_bit_for_bit(rng, shape):
    x = rng.standard_normal(shape).astype(np.float32)
    kept = x.copy()
    spectrum = rfft(x)
    if x.size:
        np.testing.assert_array_equal(spectrum, fft.rfft(x))
        np.testing.assert_array_equal(dct1(x), fft.dct(x, type=1))
    assert (spectrum.dtype, spectrum.shape) == (np.complex64, (*shape[:-1], shape[-1] // 2 + 1))
    assert dct1(x).dtype == np.float32
    if shape[-1] % 2 == 0:
        held = spectrum.copy()
        back = irfft(spectrum, shape[-1])
        assert back.dtype == np.float32
        np.testing.assert_allclose(back, x, atol=1e-6)
        np.testing.assert_array_equal(spectrum, held)
    np.testing.assert_array_equal(x, kept)


def test_strided_and_read_only_input(rng):
    x = rng.standard_normal((40, 2)).astype(np.float32).T[:, ::2]
    x.setflags(write=False)
    np.testing.assert_array_equal(rfft(x), fft.rfft(x))
    np.testing.assert_array_equal(irfft(rfft(x), 20), fft.irfft(fft.rfft(x), 20))


@pytest.mark.parametrize("size", [20, 29, 30, 31, 48])
def test_double_precision_and_other_lengths(rng, size):
    x = rng.standard_normal((2, 30))
    np.testing.assert_array_equal(rfft(x, size), fft.rfft(x, size))
    np.testing.assert_array_equal(irfft(rfft(x, size), size), fft.irfft(fft.rfft(x, size), size))
    assert rfft(x, size).dtype == np.complex128


def test_lengths_that_are_quick():
    assert [fast_length(n) for n in range(1, 2000)] == [fft.next_fast_len(n, real=True) for n in range(1, 2000)]


def test_the_quick_way_is_taken_with_this_scipy():
    assert direct(kernel()) is not None


def broken(**changed):
    whole = kernel()
    return SimpleNamespace(**{n: getattr(whole, n) for n in ("r2c", "c2r", "dct", "good_size")} | changed)


@pytest.mark.parametrize(
    "changed",
    [
        None,
        SimpleNamespace(),
        broken(r2c=lambda *a: a[0]),  # another result
        broken(dct=lambda x: x),  # another signature
        broken(c2r=lambda x, *a: 2 * broken().c2r(x, *a)),
        broken(good_size=lambda n, real: n),
    ],
)
def test_an_inside_that_has_changed_is_left_alone(changed):
    assert direct(changed) is None


def test_the_documented_way_does_the_same(rng):
    x = rng.standard_normal((1, 3, 64)).astype(np.float32)
    way = documented()
    np.testing.assert_array_equal(rfft(x), way.rfft(x))
    np.testing.assert_array_equal(dct1(x), way.dct1(x))
    np.testing.assert_array_equal(irfft(rfft(x), 64), way.irfft(rfft(x), 64))
    assert way.fast_length(241) == fast_length(241)
