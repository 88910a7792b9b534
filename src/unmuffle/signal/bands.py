"""Perceptual bands: ERB and Bark scales, and matrices between bands and rfft bins.

Scales
    *ERB rate* (Glasberg & Moore 1990), the filters of the healthy cochlea, f in Hz:

        E(f) = 21.4 log10(1 + 0.00437 f)          number of filters below f, 0..33.2 up to 8 kHz
        ERB(f) = 24.7 (1 + 0.00437 f)             width of the filter at f, in Hz

    *Bark*, the older critical bands, either as Traunmueller (1990) writes it (the default; with
    his corrections below 2 and above 20.1 Bark; its inverse is closed) or as Zwicker & Terhardt
    (1980) do:

        z(f) = 26.81 f / (1960 + f) - 0.53        z < 2: += 0.15 (2 - z);  z > 20.1: += 0.22 (z - 20.1)
        z(f) = 13 arctan(0.00076 f) + 3.5 arctan((f / 7500)^2)

    The two Bark curves differ by up to about 0.3 Bark between 100 Hz and 15 kHz.

Band matrices
    `band_matrix` gives W of shape ``(bands, bins)`` whose columns sum to one (a *partition of
    unity*): the band energies of a frame add up to the energy of the frame, and equal gains in
    all bands are that gain in all bins. Bands are placed in hertz, from 0 upwards, and never move:
    a 16 kHz and a 48 kHz stream have the same bands up to 8 kHz, whatever their FFT lengths; only
    the topmost, which the Nyquist frequency cuts, has less of itself.

    Triangles (half-overlapping, peak 1 at their centre) give gains without steps and smeared
    energies; rectangles give separate energies and gains with steps, which ring. ``width`` is the
    spacing of centres in scale units; ``min_width_hz`` widens the lowest bands, which would
    otherwise fall between two bins (one bin per band is the least that makes sense: an error says
    when the FFT is too short).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError, ShapeError
from .blocks import check_rate

Scale = Literal["erb", "bark"]
Shape = Literal["triangle", "rectangle"]
BarkFormula = Literal["traunmueller", "zwicker"]

_Array = NDArray[np.float64]


def hz_to_erb_rate(hz: ArrayLike) -> _Array:
    """ERB-rate (number of equivalent rectangular bandwidths below ``hz``)."""
    return 21.4 * np.log10(1.0 + 0.00437 * np.asarray(hz, dtype=np.float64))


def erb_rate_to_hz(erb_rate: ArrayLike) -> _Array:
    """Inverse of `hz_to_erb_rate`."""
    return (np.power(10.0, np.asarray(erb_rate, dtype=np.float64) / 21.4) - 1.0) / 0.00437


def erb_width_hz(hz: ArrayLike) -> _Array:
    """Equivalent rectangular bandwidth of the auditory filter centred at ``hz``, in Hz."""
    return 24.7 * (1.0 + 0.00437 * np.asarray(hz, dtype=np.float64))


def hz_to_bark(hz: ArrayLike, formula: BarkFormula = "traunmueller") -> _Array:
    """Critical-band rate in Bark; see the module docstring for the two formulas."""
    f = np.asarray(hz, dtype=np.float64)
    if formula == "zwicker":
        return 13.0 * np.arctan(0.00076 * f) + 3.5 * np.arctan(np.square(f / 7500.0))
    _check_choice("Bark formula", formula, ("traunmueller", "zwicker"))
    z = 26.81 * f / (1960.0 + f) - 0.53
    return np.where(z < 2.0, z + 0.15 * (2.0 - z), np.where(z > 20.1, z + 0.22 * (z - 20.1), z))


def bark_to_hz(bark: ArrayLike, formula: BarkFormula = "traunmueller") -> _Array:
    """Inverse of `hz_to_bark`: closed for Traunmueller, Newton steps for Zwicker.

    Traunmueller's curve ends at ``-0.53 + 26.81`` Bark (before correction), Zwicker's at 25.9: a
    larger value belongs to no frequency and gives infinity.
    """
    z = np.asarray(bark, dtype=np.float64)
    if formula == "zwicker":
        return _zwicker_inverse(z)
    _check_choice("Bark formula", formula, ("traunmueller", "zwicker"))
    z = np.where(z < 2.0, (z - 0.3) / 0.85, np.where(z > 20.1, (z + 0.22 * 20.1) / 1.22, z))
    room = 26.81 - 0.53 - z
    hz: _Array = np.where(room > 0.0, 1960.0 * (z + 0.53) / np.where(room > 0.0, room, 1.0), np.inf)
    return hz


def bark_width_hz(hz: ArrayLike) -> _Array:
    """Critical bandwidth at ``hz`` in Hz: 25 + 75 (1 + 1.4 (f / 1000)^2)^0.69 (Zwicker & Terhardt)."""
    f = np.asarray(hz, dtype=np.float64)
    return 25.0 + 75.0 * np.power(1.0 + 1.4 * np.square(f / 1000.0), 0.69)


def band_centers_hz(
    max_hz: float, *, scale: Scale = "erb", width: float = 1.0, min_width_hz: float = 100.0
) -> _Array:
    """Band centres from 0 Hz up to the first one at or above ``max_hz``.

    Each centre lies ``width`` scale units above the one before, or ``min_width_hz`` if that is
    more, so that the list for a higher ``max_hz`` begins with the list for a lower one.
    """
    if not (np.isfinite(width) and width > 0.0):
        raise ParameterError(f"band width must be positive (scale units), got {width}")
    if not (np.isfinite(min_width_hz) and min_width_hz > 0.0):
        raise ParameterError(f"min_width_hz must be positive, got {min_width_hz}")
    if not (np.isfinite(max_hz) and max_hz > 0.0):
        raise ParameterError(f"max_hz must be positive, got {max_hz}")
    _check_choice("scale", scale, ("erb", "bark"))
    forward, inverse = (hz_to_erb_rate, erb_rate_to_hz) if scale == "erb" else (hz_to_bark, bark_to_hz)
    centers = [0.0]
    # A tenth of a millihertz forgives rounding where a centre falls exactly on max_hz.
    while centers[-1] < max_hz - 1e-4:
        last = centers[-1]
        centers.append(max(float(inverse(forward(last) + width)), last + min_width_hz))
        if not np.isfinite(centers[-1]):  # beyond the end of the Bark scale
            centers[-1] = max_hz
    return np.array(centers)


def band_matrix(
    sample_rate: int,
    n_fft: int,
    *,
    scale: Scale = "erb",
    width: float = 1.0,
    min_width_hz: float = 100.0,
    shape: Shape = "triangle",
) -> _Array:
    """Weights ``(bands, n_fft // 2 + 1)`` of every rfft bin in every band; columns sum to 1.

    Raises `ParameterError` when the bins are so far apart that a band has none.
    """
    rate = check_rate(sample_rate)
    if n_fft < 2:
        raise ParameterError(f"n_fft must be at least 2, got {n_fft}")
    _check_choice("shape", shape, ("triangle", "rectangle"))
    centers = band_centers_hz(rate / 2.0, scale=scale, width=width, min_width_hz=min_width_hz)
    bins_hz = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    if shape == "triangle":
        position = np.interp(bins_hz, centers, np.arange(centers.size))  # in bands
        weights = np.maximum(0.0, 1.0 - np.abs(position - np.arange(centers.size)[:, np.newaxis]))
    else:
        # Band k reaches from centre k to centre k + 1: the "centres" serve as edges.
        band = np.clip(np.searchsorted(centers, bins_hz, side="right") - 1, 0, centers.size - 2)
        weights = (band == np.arange(centers.size - 1)[:, np.newaxis]).astype(np.float64)
    while weights.shape[0] > 1 and not weights[-1].any():  # the cut one above the last bin
        weights = weights[:-1]
    empty = np.flatnonzero(~weights.any(axis=1))
    if empty.size:
        raise ParameterError(
            f"band {empty[0]} has no bin: bins are {rate / n_fft:.1f} Hz apart; "
            f"raise n_fft above {n_fft} or min_width_hz above {min_width_hz:g}"
        )
    return weights


def band_energies(power: NDArray[np.floating[Any]], matrix: _Array) -> _Array:
    """Sum of ``power`` (..., bins) within each band: (..., bands). The total is kept."""
    _check_last("power", power, matrix.shape[1], "bins")
    return np.asarray(power @ matrix.T, dtype=np.float64)


def band_means(power: NDArray[np.floating[Any]], matrix: _Array) -> _Array:
    """Weighted mean of ``power`` (..., bins) within each band: a flat spectrum stays flat."""
    return np.asarray(band_energies(power, matrix) / matrix.sum(axis=1))


def bin_gains(gains: NDArray[np.floating[Any]], matrix: _Array) -> _Array:
    """Spread band gains (..., bands) over the bins: (..., bins). Equal gains stay equal."""
    _check_last("gains", gains, matrix.shape[0], "bands")
    return np.asarray(gains @ matrix, dtype=np.float64)


def _zwicker_inverse(z: _Array) -> _Array:
    top = 13.0 * np.pi / 2.0 + 3.5 * np.pi / 2.0
    grid = np.concatenate([[0.0], np.geomspace(1e-3, 1e7, 4000)])
    inside = np.clip(z, 0.0, top)
    f = np.interp(inside, hz_to_bark(grid, "zwicker"), grid)
    for _ in range(8):  # the grid is within 0.3 % already: quadratic convergence does the rest
        ratio = f / 7500.0
        slope = 13.0 * 0.00076 / (1.0 + np.square(0.00076 * f))
        slope = slope + 3.5 * 2.0 * ratio / 7500.0 / (1.0 + ratio**4)
        f = np.maximum(f - (hz_to_bark(f, "zwicker") - inside) / slope, 0.0)
    return np.where(z >= top, np.inf, f)


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ParameterError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")


def _check_last(what: str, array: NDArray[np.floating[Any]], count: int, axis: str) -> None:
    if array.ndim == 0 or array.shape[-1] != count:
        raise ShapeError(f"{what} needs {count} {axis} on its last axis, got shape {array.shape}")
