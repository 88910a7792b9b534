r"""Diffuse noise at a microphone array: sound from everywhere, coherent only at low frequencies.

Independent noises ``n(f)``, one a microphone, are mixed with the square root of the coherence matrix,

.. math:: x(f) = \Gamma(f)^{1/2} n(f), \qquad
          \Gamma_{ij}(f) = \mathrm{sinc}(2 f d_{ij} / c),

so that ``E x x^H`` is proportional to ``Gamma`` (Habets, Cohen & Gannot, "Generating nonstationary multisensor
signals under a spatial coherence constraint", JASA 124(5), 2008; the symmetric root treats all microphones alike,
where their Cholesky factor leaves the first one unfiltered). The mixing filters are as long as sound needs to
cross the array, so noise that comes and goes keeps its course in time.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..signal.arrays import ArrayGeometry
from ..signal.steering import TEMPERATURE_C, diffuse_coherence

_GRID = 1025  # frequencies at which the root is taken; it is smooth in between


def make_diffuse(
    noises: NDArray[np.float64], array: ArrayGeometry, sample_rate: int, *, temperature_c: float = TEMPERATURE_C
) -> NDArray[np.float64]:
    """Turn independent noises ``(microphones, samples)`` of equal power into a diffuse field of that power."""
    array.check_channels(noises.shape[0])
    count, n = noises.shape
    if count == 1 or n == 0:
        return noises.copy()
    pad = round(0.05 * sample_rate) + 1  # the filters' length, generously: no wrap-around
    size = scipy.fft.next_fast_len(n + pad, real=True)
    spectra = scipy.fft.rfft(noises, size, axis=-1)
    grid = np.linspace(0.0, sample_rate / 2, _GRID)
    values, vectors = np.linalg.eigh(diffuse_coherence(array, grid, temperature_c=temperature_c))
    root = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ vectors.transpose(0, 2, 1)
    f = scipy.fft.rfftfreq(size, 1.0 / sample_rate)
    mixed = np.zeros_like(spectra)
    for i in range(count):
        for j in range(count):
            mixed[i] += np.interp(f, grid, root[:, i, j]) * spectra[j]
    field: NDArray[np.float64] = scipy.fft.irfft(mixed, size, axis=-1)[:, :n]
    return field
