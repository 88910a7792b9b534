"""How much later one signal is than another, and the pair without that delay.

The estimator is a generalised cross-correlation (Knapp & Carter, "The generalized correlation method for
estimation of time delay", IEEE Trans. ASSP 24(4), 1976) with a soft spectral weight::

    S(f) = Y(f) conj(X(f))          X: reference, Y: other
    R(l) = IFFT[ S(f) / |S(f)|**b ]             b = 0.5
    delay = the integer l, |l| <= max_delay, with the largest |R(l)|

``b = 0`` is the plain correlation: its peak on voiced speech is as wide as a pitch period and noise moves
it by a sample; ``b = 1`` (PHAT) gives every bin the same vote and fails when most bins hold only noise.
One half is sharp to a sample and still led by the bins that carry the speech. ``|R|`` is used so that a
polarity flip does not move the peak.

Trade-offs and limits
    * Whole samples only. A true delay of a fraction of a sample is rounded to the nearest one.
    * The bound matters: a periodic signal (a hum, one vowel) repeats its peak every period. Keep
      ``max_delay`` as small as the system under test allows.
    * Signals longer than ``_LONGEST`` samples (65 s at 16 kHz) are judged on the stretch of the reference
      with the most energy, so memory stays bounded; a delay that drifts within the file is not followed.
    * The confidence is the peak over the root mean square of ``R`` over all lags. White noise against
      white noise gives about 3 to 5 (the largest of many normal values); below ``MIN_CONFIDENCE`` the pair
      shows no common signal and `align` leaves it where it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from ..errors import DtypeError, NonFiniteError, ParameterError, ShapeError

MIN_CONFIDENCE = 6.0
_WEIGHT = 0.5  # b in the formula
_LONGEST = 1 << 20  # samples: 65 s at 16 kHz, 22 s at 48 kHz


class Aligned(NamedTuple):
    """A pair without its delay, both trimmed to what they have in common."""

    reference: NDArray[np.floating]
    other: NDArray[np.floating]
    delay: int  # samples by which `other` was late (negative: early)
    confidence: float


def _mono(x: ArrayLike, name: str) -> NDArray[np.float64]:
    a = np.asarray(x)
    if a.dtype.kind != "f":
        raise DtypeError(f"{name} has dtype {a.dtype}; give floating-point samples in [-1, 1]")
    if a.ndim == 2 and 0 < a.shape[0] <= 64:
        a = a.mean(axis=0)
    if a.ndim != 1:
        raise ShapeError(f"{name} has shape {a.shape}; give (samples,) or (channels, samples)")
    if not np.all(np.isfinite(a)):
        raise NonFiniteError(f"{name} holds NaN or infinity; repair it before aligning")
    return a.astype(np.float64)


def find_delay(reference: ArrayLike, other: ArrayLike, max_delay: int) -> tuple[int, float]:
    """Samples by which ``other`` is later than ``reference``, and the confidence in that number.

    Args:
        reference: ``(samples,)`` or ``(channels, samples)``; channels are averaged.
        other: the signal that may be late (positive result) or early (negative); any length.
        max_delay: largest delay looked for, in samples, either way; 0 or more.

    Returns:
        ``(delay, confidence)``. Confidence is the peak of the weighted correlation over its root mean
        square; above about 6 the delay is real, and ``(0, 0.0)`` means that a signal is empty or
        silent.
    """
    if max_delay < 0:
        raise ParameterError(f"max_delay is {max_delay}; give 0 or more samples")
    x, y = _mono(reference, "reference"), _mono(other, "other")
    if x.size > _LONGEST:
        power = np.add.reduceat(x * x, np.arange(0, x.size, 4096))
        width = _LONGEST // 4096
        total = np.convolve(power, np.ones(width), "valid")
        start = int(np.argmax(total)) * 4096
        x, y = x[start : start + _LONGEST], y[start : start + _LONGEST]
    peaks = [float(np.max(np.abs(v), initial=0.0)) for v in (x, y)]
    if min(peaks) < 1e-9:
        return 0, 0.0
    bound = min(max_delay, max(x.size, y.size) - 1)
    size = fft.next_fast_len(max(x.size, y.size) + bound + 1, real=True)
    cross = fft.rfft(y / peaks[1], size) * np.conj(fft.rfft(x / peaks[0], size))
    cross[0] = 0.0  # a DC offset is no common signal
    magnitude = np.abs(cross)
    floor = float(magnitude.max()) * 1e-12
    if floor == 0.0:
        return 0, 0.0
    r = fft.irfft(cross / np.maximum(magnitude, floor) ** _WEIGHT, size)
    lags = np.concatenate((np.arange(0, bound + 1), np.arange(-bound, 0)))
    score = np.abs(r[lags])
    # the nearest lag wins a tie, so a periodic pair that is aligned stays so
    order = np.argsort(np.abs(lags), kind="stable")
    best = order[int(np.argmax(score[order]))]
    # the background is measured over all lags: within a bound of a few samples there is only the peak itself
    spread = float(np.sqrt(np.mean(r * r)))
    return int(lags[best]), float(score[best] / spread) if spread > 0 else 0.0


def align(reference: ArrayLike, other: ArrayLike, max_delay: int) -> Aligned:
    """Remove the delay between two signals and trim both to the samples that they share.

    A delay whose confidence is below ``MIN_CONFIDENCE`` is not believed: the pair is only trimmed to the
    shorter one and ``delay`` is 0.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal(4000)
    >>> pair = align(x, np.concatenate((np.zeros(25), x)), max_delay=100)
    >>> pair.delay, bool(np.array_equal(pair.reference, pair.other))
    (25, True)
    """
    delay, confidence = find_delay(reference, other, max_delay)
    if confidence < MIN_CONFIDENCE:
        delay = 0
    x, y = np.asarray(reference), np.asarray(other)
    if delay >= 0:
        y = y[..., delay:]
    else:
        x = x[..., -delay:]
    length = min(x.shape[-1], y.shape[-1])
    return Aligned(x[..., :length].copy(), y[..., :length].copy(), delay, confidence)
