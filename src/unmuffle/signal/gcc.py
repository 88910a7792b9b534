r"""How much later a sound reaches one microphone than another, to a fraction of a sample (GCC-PHAT).

The phase transform gives every frequency the same vote,

.. math:: R(\tau) = \int \frac{Y(f) X^*(f)}{|Y(f) X^*(f)|} e^{j 2 \pi f \tau} df,

summed over frames, so that a reverberant room smears its peak less than that of the plain correlation (Knapp &
Carter, "The generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24(4), 1976). The
peak is read from an eight times finer grid (zero-padded spectrum) and refined by a parabola through three points.

For two recordings of one thing whose delay may be seconds, see :mod:`~unmuffle.signal.align` instead; this one is
for microphones within a few metres, and believes in no delay beyond ``longest_s``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import fft

from ..errors import ParameterError, ShapeError
from .blocks import as_block, check_rate

_FINE = 8  # points of the correlation for one sample
_FRAME_S = 0.064
_FLOOR = 1e-3  # bins this far (in amplitude) under the loudest of a frame are noise of rounding: no vote


class Delay(NamedTuple):
    """A delay between two microphones."""

    seconds: float
    """By which the second signal is later."""
    peak: float
    """Height of the correlation there: near 1 for a single source without echo, 0 without common sound; negative
    when one of the two is connected in opposite polarity."""


def gcc_phat(x: Any, y: Any, sample_rate: int, longest_s: float) -> Delay:
    """Delay of ``y`` behind ``x``, both ``(samples,)``.

    Args:
        x, y: of one length, floating point.
        sample_rate: in Hz.
        longest_s: largest delay that is possible: the distance of the microphones over the speed of sound.

    >>> import numpy as np
    >>> from unmuffle.signal.fractional import delayed
    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> round(gcc_phat(noise, delayed(noise, 2.4), 16000, 1e-3).seconds * 16000, 1)
    2.4
    """
    rate = check_rate(sample_rate)
    a, b = as_block(np.asarray(x, np.float32), 1)[0], as_block(np.asarray(y, np.float32), 1)[0]
    if a.shape != b.shape:
        raise ShapeError(f"the two signals have {a.size} and {b.size} samples; give the same stretch of both")
    if not 0.0 < longest_s <= 1.0:
        raise ParameterError(f"longest_s = {longest_s!r}; give seconds above 0, at most 1")
    size = fft.next_fast_len(round((_FRAME_S + 2 * longest_s) * rate), real=True)
    span = min(a.size, size - 2 * int(longest_s * rate))
    if span < 2:
        return Delay(0.0, 0.0)
    starts = range(0, max(1, a.size - span + 1), max(1, span // 2))
    window = np.hanning(span + 2)[1:-1]
    frames = np.stack([np.stack((a[s : s + span], b[s : s + span])) for s in starts]).astype(np.float64) * window
    spectra = fft.rfft(frames, size, axis=-1)
    cross = spectra[:, 1] * spectra[:, 0].conj()
    magnitude = np.abs(cross)
    loudest = magnitude.max(axis=1, keepdims=True)
    heard = magnitude > np.maximum(loudest * _FLOOR**2, 1e-30)
    heard[:, 0] = False  # a DC offset is no sound
    if not heard.any():
        return Delay(0.0, 0.0)
    total = np.where(heard, cross / np.where(heard, magnitude, 1.0), 0.0).sum(axis=0)
    fine = fft.irfft(total, _FINE * size) * (_FINE * size / (2.0 * float(heard.sum())))
    reach = int(np.ceil(longest_s * rate * _FINE))
    lags = np.arange(-reach, reach + 1)
    around = fine[lags]
    best = int(np.argmax(np.abs(around)))
    shift = 0.0
    if 0 < best < lags.size - 1:
        left, middle, right = (float(around[best + i]) for i in (-1, 0, 1))
        bend = left - 2.0 * middle + right
        shift = 0.5 * (left - right) / bend if bend != 0.0 else 0.0
    seconds = float(lags[best] + np.clip(shift, -0.5, 0.5)) / (_FINE * rate)
    return Delay(seconds, float(np.clip(around[best], -1.0, 1.0)))
