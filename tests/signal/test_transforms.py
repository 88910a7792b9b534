"""The quick transforms are the documented ones, and step aside when scipy's inside is not as expected."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import fft

from unmuffle.signal import transforms
from unmuffle.signal.transforms import DOCUMENTED, dct1, direct, irfft, rfft


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


def test_the_quick_way_is_taken_with_this_scipy():
    assert direct(transforms._compiled()) is not None


@pytest.mark.parametrize(
    "kernel",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(r2c=lambda *a: a[0], c2r=lambda *a: a[0], dct=lambda *a: a[0]),  # another result
        SimpleNamespace(r2c=lambda x: x, c2r=lambda x: x, dct=lambda x: x),  # another signature
    ],
)
def test_an_inside_that_has_changed_is_left_alone(kernel):
    assert direct(kernel) is None


def test_the_documented_way_does_the_same(rng):
    x = rng.standard_normal((1, 3, 64)).astype(np.float32)
    for ours, theirs, argument in zip((rfft, dct1), (DOCUMENTED[0], DOCUMENTED[2]), (x, x), strict=True):
        np.testing.assert_array_equal(ours(argument), theirs(argument))
    np.testing.assert_array_equal(irfft(rfft(x), 64), DOCUMENTED[1](rfft(x), 64))
