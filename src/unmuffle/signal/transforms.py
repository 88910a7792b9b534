r"""Real Fourier and cosine transforms of frames along the last axis, without the detour.

``scipy.fft`` finds out at every call which library is to do the work, which axes are meant and what is to be converted;
for a frame of some hundred samples that takes twice as long as the transform, and its import takes 25 MB. The compiled
functions behind it take arrays as they are (:mod:`.compiled`). They are tried out when this module is loaded, and used
only if they do what the definition says; else the documented functions are, which give the same result, later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import compiled


class Transforms(NamedTuple):
    """The three transforms, all along the last axis, and a length that they like."""

    rfft: Callable[[Any], Any]
    irfft: Callable[[Any, int], Any]
    dct1: Callable[[Any], Any]
    fast_length: Callable[[int], int]


def documented() -> Transforms:
    """The transforms by ``scipy.fft``."""
    from scipy import fft

    return Transforms(
        lambda x: fft.rfft(x, axis=-1),
        lambda spectrum, size: fft.irfft(spectrum, size, axis=-1),
        lambda x: fft.dct(x, type=1, axis=-1),
        lambda size: int(fft.next_fast_len(size, real=True)),
    )


def direct(kernel: Any) -> Transforms | None:
    """The transforms by scipy's compiled module, or ``None`` if it does not do what is expected of it."""
    try:
        r2c, c2r, dct, good_size = kernel.r2c, kernel.c2r, kernel.dct, kernel.good_size

        def rfft(x: Any) -> Any:
            return r2c(x, (x.ndim - 1,), True, 0, None, 1)

        def irfft(spectrum: Any, size: int) -> Any:
            return c2r(spectrum, (spectrum.ndim - 1,), size, False, 2, None, 1)

        def dct1(x: Any) -> Any:
            return dct(x, 1, (x.ndim - 1,), 0, None, 1, False)

        def fast_length(size: int) -> int:
            return int(good_size(size, True))

        found = Transforms(rfft, irfft, dct1, fast_length)
        return found if _right(found) else None
    except Exception:  # whatever has changed in there: the documented way is open
        return None


def _right(found: Transforms) -> bool:
    """Do they what the definitions say, at both widths?"""
    n = np.arange(30)
    turns = np.exp(-2j * np.pi * np.outer(n, np.arange(16)) / 30)
    # Type I: the ends count once, what lies between twice.
    weights = np.where((n == 0) | (n == 29), 1.0, 2.0)[:, None] * np.cos(np.pi * np.outer(n, n) / 29)
    for real, complex_, tolerance in ((np.float32, np.complex64, 1e-5), (np.float64, np.complex128, 1e-13)):
        x = np.sin(np.arange(120.0) ** 2).astype(real).reshape(2, 2, 30)
        for y in (x, x[0], x[0, 0]):
            spectrum = found.rfft(y)
            pairs = (
                (spectrum, (y @ turns).astype(complex_)),
                (found.irfft(spectrum, 30), y),
                (found.dct1(y), (y @ weights).astype(real)),
            )
            for a, b in pairs:
                if a.dtype != b.dtype or a.shape != b.shape or np.max(np.abs(a - b)) > tolerance * 30:
                    return False
    lengths = [found.fast_length(k) for k in (1, 16, 17, 241, 1023)]
    return lengths == [1, 16, 18, 243, 1024]


def kernel() -> Any:
    """scipy's compiled module; ``None`` if it is nowhere where it was in some version (from 1.18 on the first)."""
    names = ("scipy.fft._duccfft.pyduccfft", "scipy.fft._pocketfft.pypocketfft")
    return next((found for found in map(compiled.module, names) if found is not None), None)


_transforms = direct(kernel()) or documented()

irfft = _transforms.irfft
"""``irfft(spectrum, size)``: complex64 gives float32, complex128 float64; the input is not changed."""
dct1 = _transforms.dct1
"""``dct1(x)``: the cosine transform of type I, ``y_k = x_0 + (-1)^k x_{N-1} + 2 sum x_n cos(pi k n / (N-1))``."""
fast_length = _transforms.fast_length
"""``fast_length(n)``: the smallest length of at least ``n`` whose transform is quick (factors of 2, 3 and 5)."""
_whole = _transforms.rfft


def rfft(x: Any, size: int | None = None) -> Any:
    """Spectrum of real frames: float32 gives complex64, float64 complex128; the input is not changed.

    Args:
        x: ``(..., samples)``.
        size: of the transform, with zeros added or samples left out; by default as many as there are.
    """
    if size is not None and size != x.shape[-1]:
        kept = min(size, x.shape[-1])
        padded = np.zeros((*x.shape[:-1], size), x.dtype)
        padded[..., :kept] = x[..., :kept]
        x = padded
    return _whole(x)
