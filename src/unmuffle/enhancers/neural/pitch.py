r"""Pitch of each frame, causal, from its STFT: the same at every sample rate.

The bins below 4 kHz, partly whitened (:math:`X |X|^{-1/2}`: formants count less, harmonics more alike), are
transformed back to a signal at 8 kHz. A frame :math:`f` of it (20 ms, Hann-weighted) is correlated with what was
before,

.. math:: c(\tau) = \frac{\sum_n f[n]\, u[n-\tau]}{\sqrt{\sum_n f[n]^2 \sum_n u[n-\tau]^2}},
    \qquad \tau = 2 \dots 16\ \mathrm{ms}

(62.5 to 500 Hz), by FFT. A voice's period lasts: the correlations of the two frames before, each lag with its
neighbours, are added with weights 1/2 and 1/4 before the largest is taken, and longer lags weigh 10 % less per
octave, as twice a period is a period too. A parabola through the neighbours refines the lag.

Channels are summed in products, never in amplitudes: opposite phases do not cancel. Every sum runs over one
frame, so that a lag is the same bits however a signal is cut into calls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...signal.stft import Spectrum, StftSpec
from ...signal.transforms import irfft, rfft

LOW, LONG = 16, 128
"""Shortest and longest lag in samples at 8 kHz."""

LAGS = LONG - LOW + 1
RATE = 8000

_SIZE, _HOP, _POINTS = 160, 80, 320
_KNOWN = LONG + _HOP
"""Samples of the past and of the frame's first half, which are complete."""

_WINDOW = StftSpec().at(RATE).synthesis
_OCTAVE = (1.0 - 0.1 * np.log2(np.arange(LOW, LONG + 1) / LOW)).astype(np.float32)
_PEAK = np.float32(1.2)  # of a periodic sound the quotient is 0.82: only the frame has its window
_EPS = np.float32(1e-9)
_HALF, _QUARTER = np.float32(0.5), np.float32(0.25)

Floats = NDArray[np.float32]
PitchState = tuple[Floats, Floats, Floats]


def initial(channels: int) -> PitchState:
    """The state before the first frame: whitened past, half of the last frame, last correlations."""
    return (
        np.zeros((channels, LONG), np.float32),
        np.zeros((channels, _HOP), np.float32),
        np.zeros((2, LAGS), np.float32),
    )


def track(spectrum: Spectrum, power: Floats, state: PitchState) -> tuple[Floats, Floats, PitchState]:
    """Lags of frames.

    Args:
        spectrum: complex ``(channels, k, 80 or more)``, 50 Hz apart.
        power: ``(k, 80 or more)``, sum over the channels of ``|X|^2``.
        state: from :func:`initial` or the last call.

    Returns:
        Lag in samples at 8 kHz ``(k,)``, correlation at that lag ``(k,)`` (1 for a periodic sound), new state.
    """
    past, half, before = state
    channels, count, _ = spectrum.shape
    white = np.zeros((channels, count, _HOP + 1), np.complex64)
    shrink = 1.0 / np.sqrt(np.sqrt(power[:, 1:_HOP] + _EPS))
    # In parts: a product of complex numbers may round in another way at another place in memory.
    np.multiply(spectrum.real[:, :, 1:_HOP], shrink, out=white.real[:, :, 1:_HOP])
    np.multiply(spectrum.imag[:, :, 1:_HOP], shrink, out=white.imag[:, :, 1:_HOP])
    frame = irfft(white, _SIZE)
    frame *= _WINDOW
    done = frame[:, :, :_HOP].copy()
    done[:, 0] += half
    if count > 1:
        done[:, 1:] += frame[:, :-1, _HOP:]
    joined = np.concatenate((past, done.reshape(channels, count * _HOP)), axis=1)
    both = np.zeros((2, channels, count, _POINTS), np.float32)  # what was before, and the frame
    if count > 1:
        both[0, :, :, :_KNOWN] = np.lib.stride_tricks.sliding_window_view(joined, _KNOWN, axis=1)[:, ::_HOP]
    else:
        both[0, :, 0, :_KNOWN] = joined
    both[0, :, :, _KNOWN : _KNOWN + _HOP] = frame[:, :, _HOP:]
    both[1, :, :, :_SIZE] = frame
    seen, own = rfft(both)
    cross = np.empty((count, seen.shape[-1]), np.complex64)
    cross.real = _summed(seen.real * own.real + seen.imag * own.imag)
    cross.imag = _summed(seen.imag * own.real - seen.real * own.imag)
    numerator = irfft(cross, _POINTS)[:, LAGS - 1 :: -1]
    sums = np.zeros((count, _POINTS + 1))
    np.add.accumulate(_summed(both[0] * both[0]), axis=1, dtype=np.float64, out=sums[:, 1:])
    energy = sums[:, _SIZE + LAGS - 1 : _SIZE - 1 : -1] - sums[:, LAGS - 1 :: -1]
    energy *= np.add.reduce(_summed(frame * frame), axis=1, keepdims=True)
    np.maximum(energy, _EPS, out=energy)
    ratio = (_PEAK * numerator / np.sqrt(energy, out=energy)).astype(np.float32)
    # Of the frame before, and of the one before that (widened once already).
    if count == 1:
        once, twice = _widened(before)[:, np.newaxis]
    else:
        once = _widened(np.concatenate((before[:1], ratio[:-1])))
        twice = _widened(np.concatenate((before[1:], once[:-1])))
    score = (ratio + _HALF * once + _QUARTER * twice) * _OCTAVE
    inner = np.minimum(np.maximum(score.argmax(axis=1), 1), LAGS - 2)
    lag = np.array([_vertex(row[k - 1 : k + 2].tolist(), k) for row, k in zip(score, inner.tolist(), strict=True)])
    strength = ratio[np.arange(count), inner]
    after = joined[:, count * _HOP :], frame[:, -1, _HOP:].copy(), np.concatenate((ratio[-1:], once[-1:]))
    return lag.astype(np.float32), strength, after


def _vertex(near: list[float], at: int) -> float:
    """Lag of the top of the parabola through a value and its neighbours."""
    left, top, right = near
    bend = min(left - 2.0 * top + right, -1e-6)
    return LOW + at + min(max(0.5 * (left - right) / bend, -1.0), 1.0)


def _summed(x: Floats) -> Floats:
    """Sum over the channels."""
    out: Floats = x[0] if len(x) == 1 else x.sum(axis=0)
    return out


def _widened(x: Floats) -> Floats:
    """Each lag gets the largest value among the lags up to two away."""
    padded = np.full((len(x), LAGS + 4), -4.0, np.float32)
    padded[:, 2:-2] = x
    pairs = np.maximum(padded[:, 1:], padded[:, :-1])
    fours = np.maximum(pairs[:, 2:], pairs[:, :-2])
    return np.maximum(fours[:, 1:], fours[:, :-1])
