"""Linear prediction: the all-pole model of short stretches of speech.

A sample is predicted from the p before it; what is left is the residual e:

    A(z) = 1 + a_1 z^-1 + ... + a_p z^-p,      e[n] = x[n] + a_1 x[n-1] + ... + a_p x[n-p]

so that the coefficient array always begins with 1, and the spectral envelope is
``error / |A(e^jw)|^2``. Everything works on ``(..., samples)`` and ``(..., p + 1)``: all frames of
all channels in one call.

*Autocorrelation method* (`lpc_autocorrelation`): windowed frame -> r_0..r_p -> Levinson-Durbin.
Always minimum phase. Biased towards wide peaks by the window; frames should be tapered.
*Burg's method* (`lpc_burg`): minimises forward plus backward error over the reflection
coefficients. No window needed, sharp on short frames; lines of pure sines may split or shift.

Conditioning (both are on by default in `lpc_autocorrelation`)
    White-noise correction multiplies r_0 by ``1 + 10^(dB/10)``, as a noise floor at that level
    would: DC, pure tones and band-limited speech keep a regular matrix. The lag window
    ``exp(-(2 pi B k / f_s)^2 / 2)`` convolves the spectrum with a Gaussian of B Hz, so that a high
    voice's harmonics are not mistaken for formants. Silence (r_0 = 0) gives A(z) = 1 and error 0.

Sign convention of the reflection coefficients: ``k_i`` is the last coefficient of the order-i
predictor; the filter is stable (1/A) exactly if all ``|k_i| < 1``.

References
    Makhoul, "Linear prediction: a tutorial review" (1975); Burg, "Maximum entropy spectral
    analysis" (1967); Tohkura et al. (1978) for the lag window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError, ShapeError
from .transforms import fast_length, irfft, rfft

_Array = NDArray[np.float64]
_AnyFloat = NDArray[np.floating[Any]]


class Lpc(NamedTuple):
    """An all-pole model; leading axes are those of the frames."""

    coefficients: _Array
    """``(..., order + 1)``: 1, a_1, ..., a_p."""
    reflection: _Array
    """``(..., order)``: k_1, ..., k_p."""
    error: _Array
    """``(...)``: power left after prediction (same units as r_0)."""


def autocorrelation(frames: _AnyFloat, order: int) -> _Array:
    """Biased autocorrelation ``r_k = (1/N) sum_n x[n] x[n+k]`` for k = 0..order: ``(..., order + 1)``."""
    x = _frames(frames, order)
    n = x.shape[-1]
    size = fast_length(n + order)
    spectrum = rfft(x, size)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    r: _Array = irfft(power.astype(np.complex128), size)[..., : order + 1] / n
    return r


def lag_window(order: int, sample_rate: float, bandwidth_hz: float = 40.0) -> _Array:
    """Gaussian over the lags that widens every spectral line to ``bandwidth_hz``."""
    if bandwidth_hz < 0.0:
        raise ParameterError(f"bandwidth_hz must not be negative, got {bandwidth_hz}")
    lags = np.arange(order + 1)
    window: _Array = np.exp(-0.5 * np.square(2.0 * np.pi * bandwidth_hz * lags / sample_rate))
    return window


def levinson(r: _AnyFloat) -> Lpc:
    """Solve the Toeplitz normal equations of ``r`` (..., order + 1) by the Levinson-Durbin recursion.

    Where the error falls to zero (silence, a pure line) the recursion stops: later coefficients
    are 0, and the model so far is kept.
    """
    r = np.asarray(r, dtype=np.float64)
    if r.ndim == 0 or r.shape[-1] < 1:
        raise ShapeError(f"levinson needs (..., order + 1) lags, got shape {r.shape}")
    order = r.shape[-1] - 1
    a = np.zeros(r.shape)
    a[..., 0] = 1.0
    k = np.zeros((*r.shape[:-1], order))
    error = r[..., 0].copy()
    # Below this share of r_0 the error is rounding noise, and dividing by it would diverge.
    floor = 1e-13 * np.abs(r[..., 0])
    for i in range(1, order + 1):
        correlation = np.sum(a[..., :i] * r[..., i:0:-1], axis=-1)
        alive = error > floor
        reflection = np.where(alive, -correlation / np.where(alive, error, 1.0), 0.0)
        k[..., i - 1] = reflection
        a[..., 1 : i + 1] += reflection[..., np.newaxis] * a[..., i - 1 :: -1][..., :i]
        error = error * (1.0 - np.square(reflection))
    return Lpc(a, k, np.maximum(error, 0.0))


def lpc_autocorrelation(
    frames: _AnyFloat,
    order: int,
    *,
    sample_rate: float | None = None,
    lag_bandwidth_hz: float = 40.0,
    white_noise_db: float = -60.0,
) -> Lpc:
    """All-pole model of each (already windowed) frame by the autocorrelation method.

    The lag window needs ``sample_rate`` and is left out without it. ``white_noise_db`` is the level
    of the imagined noise floor relative to the frame; ``-inf`` turns it off.
    """
    x, peak = _normalised(_frames(frames, order))
    r = autocorrelation(x, order)
    r[..., 0] *= 1.0 + 10.0 ** (white_noise_db / 10.0)
    if sample_rate is not None:
        r *= lag_window(order, sample_rate, lag_bandwidth_hz)
    model = levinson(r)
    return model._replace(error=model.error * np.square(peak))


def lpc_burg(frames: _AnyFloat, order: int, *, white_noise_db: float = -60.0) -> Lpc:
    """All-pole model of each frame by Burg's method; the frame needs no window.

    The noise floor of ``white_noise_db`` relative to the frame enters the denominator of every
    reflection coefficient: ``|k| < 1`` for DC and pure tones, and ``k`` goes to 0 once all that
    could be predicted is gone, where rounding errors would otherwise be modelled.
    """
    x, peak = _normalised(_frames(frames, order))
    forward = x[..., 1:]
    backward = x[..., :-1]
    a = np.zeros((*x.shape[:-1], order + 1))
    a[..., 0] = 1.0
    k = np.zeros((*x.shape[:-1], order))
    error = np.mean(np.square(x), axis=-1)
    floor = 2.0 * error * 10.0 ** (white_noise_db / 10.0)
    for i in range(1, order + 1):
        denominator = np.sum(np.square(forward) + np.square(backward), axis=-1)
        denominator = denominator + floor * forward.shape[-1]
        alive = denominator > 0.0
        numerator = -2.0 * np.sum(forward * backward, axis=-1)
        reflection = np.where(alive, numerator / np.where(alive, denominator, 1.0), 0.0)
        k[..., i - 1] = reflection
        by = reflection[..., np.newaxis]
        a[..., 1 : i + 1] += by * a[..., i - 1 :: -1][..., :i]
        error = error * (1.0 - np.square(reflection))
        forward, backward = (forward + by * backward)[..., 1:], (backward + by * forward)[..., :-1]
    return Lpc(a, k, error * np.square(peak))


def lpc_to_reflection(coefficients: _AnyFloat) -> _Array:
    """Step-down recursion: ``(..., p + 1)`` predictor to ``(..., p)`` reflection coefficients.

    Once some ``|k| >= 1`` the filter is not stable and the remaining, lower orders are of no
    meaning; where ``|k| = 1`` exactly they are given as 0.
    """
    a = _predictor(coefficients).copy()
    order = a.shape[-1] - 1
    k = np.zeros((*a.shape[:-1], order))
    for i in range(order, 0, -1):
        reflection = a[..., i].copy()
        k[..., i - 1] = reflection
        room = 1.0 - np.square(reflection)
        regular = room != 0.0
        lower = a[..., 1:i] - reflection[..., np.newaxis] * a[..., i - 1 : 0 : -1]
        scale = np.where(regular, 1.0 / np.where(regular, room, 1.0), 0.0)
        a[..., 1:i] = lower * scale[..., np.newaxis]
    return k


def reflection_to_lpc(reflection: _AnyFloat) -> _Array:
    """Step-up recursion: ``(..., p)`` reflection coefficients to the ``(..., p + 1)`` predictor."""
    k = np.asarray(reflection, dtype=np.float64)
    if k.ndim == 0:
        raise ShapeError("reflection_to_lpc needs (..., order) coefficients, got a scalar")
    order = k.shape[-1]
    a = np.zeros((*k.shape[:-1], order + 1))
    a[..., 0] = 1.0
    for i in range(1, order + 1):
        a[..., 1 : i + 1] += k[..., i - 1 : i] * a[..., i - 1 :: -1][..., :i]
    return a


def is_stable(coefficients: _AnyFloat) -> NDArray[np.bool_]:
    """Whether 1/A(z) is stable: every reflection coefficient strictly between -1 and 1."""
    stable: NDArray[np.bool_] = np.all(np.abs(lpc_to_reflection(coefficients)) < 1.0, axis=-1)
    return stable


def lpc_envelope(coefficients: _AnyFloat, error: _AnyFloat | float, n_fft: int) -> _Array:
    """Power spectrum ``error / |A|^2`` of the model on the rfft grid: ``(..., n_fft // 2 + 1)``.

    Its mean over the whole circle is the power of the modelled process.
    """
    a = _predictor(coefficients)
    if n_fft < a.shape[-1]:
        raise ParameterError(f"n_fft = {n_fft} is shorter than the {a.shape[-1]} coefficients")
    response = rfft(a, n_fft)
    power = np.square(response.real) + np.square(response.imag)
    envelope: _Array = np.asarray(error, dtype=np.float64)[..., np.newaxis] / power
    return envelope


def _frames(frames: _AnyFloat, order: int) -> _Array:
    x = np.asarray(frames, dtype=np.float64)
    if order < 0:
        raise ParameterError(f"order must not be negative, got {order}")
    if x.ndim == 0 or x.shape[-1] <= order:
        raise ShapeError(f"order {order} needs frames of more than {order} samples, got shape {x.shape}")
    return x


def _normalised(x: _Array) -> tuple[_Array, _Array]:
    """Frames of peak 1 and their peaks: squares of very quiet frames would underflow."""
    peak = np.max(np.abs(x), axis=-1)
    return x / np.where(peak > 0.0, peak, 1.0)[..., np.newaxis], peak


def _predictor(coefficients: _AnyFloat) -> _Array:
    a = np.asarray(coefficients, dtype=np.float64)
    if a.ndim == 0 or a.shape[-1] < 1:
        raise ShapeError(f"need (..., order + 1) coefficients, got shape {a.shape}")
    if not np.all(a[..., 0] == 1.0):
        raise ParameterError("predictor coefficients must begin with 1; divide them by the first")
    return a
