r"""Measures of a room from its impulse response, and of reverberant speech from its parts.

**Decay.** With Schroeder's backward integration the energy that is left after t is
:math:`E(t) = \sum_{u \ge t} h^2(u)`, in decibels relative to E at the direct sound. A line fitted
to a stretch of it and extended to -60 dB is the reverberation time:

=========  ===================  ====================================================
measure    stretch              what it tells
=========  ===================  ====================================================
``edt``    0 to -10 dB          early decay time: what is heard as reverberance
``t20``    -5 to -25 dB         reverberation time, the most robust
``t30``    -5 to -35 dB         reverberation time, wants a response 45 dB clean
=========  ===================  ====================================================

**Energy ratios** (dB), time counted from the direct sound at ``d``:

.. math:: \mathrm{DRR} = 10 \log_{10} \frac{\sum_{|t| \le 2.5\,\mathrm{ms}} h^2}{\sum_{t > 2.5\,\mathrm{ms}} h^2},
          \qquad C_{50} = 10 \log_{10} \frac{\sum_{t < 50\,\mathrm{ms}} h^2}{\sum_{t \ge 50\,\mathrm{ms}} h^2},

C80 with 80 ms (for music), and D50, the early energy over all of it (0 to 1). An exponential decay
that begins with the direct sound has closed forms, which the tests use:
:math:`C_{\tau} = 10 \log_{10}(10^{6 \tau / T_{60}} - 1)`.

**SRR**, the speech-to-reverberation ratio, is the same idea for a signal: energy of the direct (or
early) speech over that of all else in the reverberant or dereverberated signal, in segments (`srr`).

Noise at the end of a measured response bends the decay up and makes T60 longer. So the response
is cut where its smoothed energy meets the noise (the mean of its last tenth), and the energy behind
the cut is completed as if the decay went on; the remaining range is told, and a measure whose stretch
lies less than 10 dB above the noise is NaN.

M. R. Schroeder, "New method of measuring reverberation time", JASA 37, 1965; ISO 3382-1:2009;
A. Lundeby et al., "Uncertainties of measurements in room acoustics", Acustica 81, 1995;
P. A. Naylor, N. D. Gaubitch (eds.), Speech Dereverberation, Springer 2010 (segmental SRR).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, ParameterError, ShapeError
from ..signal.blocks import check_rate
from ._inputs import pair, rate

DIRECT_MS = 2.5
SMOOTHING_MS = 10.0
HEADROOM_DB = 10.0
SRR_RANGE_DB = (-20.0, 50.0)

_Float = NDArray[np.float64]


@dataclass(frozen=True)
class RoomMeasures:
    """What :func:`room_measures` finds; NaN where the response does not reach far enough down.

    Attributes:
        direct_sample: sample of the direct sound.
        edt_s, t20_s, t30_s: decay times in seconds.
        drr_db, c50_db, c80_db: energy ratios in decibels; infinite when nothing follows.
        d50: early energy over all energy, 0 to 1.
        range_db: how far the decay can be followed before it meets the noise.
    """

    direct_sample: int
    edt_s: float
    t20_s: float
    t30_s: float
    drr_db: float
    c50_db: float
    c80_db: float
    d50: float
    range_db: float


def room_measures(response: ArrayLike, sample_rate: int, direct: int | None = None) -> RoomMeasures:
    """All measures of one impulse response ``(samples,)``.

    Args:
        response: as measured or simulated; its level does not matter.
        sample_rate: in Hz.
        direct: sample of the direct sound, if it is known; else the first peak within 6 dB of the
            highest.

    Raises:
        ShapeError, InputError: not one channel, no sample, silent, or not finite.
        ParameterError: ``direct`` lies outside the response.
    """
    h, hertz = _checked(response), check_rate(sample_rate)
    at = find_direct(h) if direct is None else direct
    if not 0 <= at < h.size:
        raise ParameterError(f"direct = {direct}; the response has samples 0 to {h.size - 1}")
    decay_db, range_db = decay_curve(h[at:], hertz)
    return RoomMeasures(
        at,
        decay_time_s(decay_db, hertz, 0.0, -10.0, range_db),
        decay_time_s(decay_db, hertz, -5.0, -25.0, range_db),
        decay_time_s(decay_db, hertz, -5.0, -35.0, range_db),
        drr_db(h, hertz, at),
        clarity_db(h, hertz, 50.0, at),
        clarity_db(h, hertz, 80.0, at),
        definition(h, hertz, 50.0, at),
        range_db,
    )


def find_direct(response: ArrayLike) -> int:
    """Sample of the direct sound: the first local peak that is within 6 dB of the highest."""
    magnitude = np.abs(_checked(response))
    first = int(np.argmax(magnitude >= 0.5 * magnitude.max()))
    while first + 1 < magnitude.size and magnitude[first + 1] > magnitude[first]:
        first += 1
    return first


def decay_curve(response: ArrayLike, sample_rate: int) -> tuple[_Float, float]:
    """Schroeder's curve in dB, from 0 down, and the range over the noise in dB.

    The response must begin at its direct sound. The curve ends where the response meets its noise.
    """
    energy = np.square(_checked(response))
    window = max(1, round(SMOOTHING_MS * 1e-3 * sample_rate))
    floor = float(np.mean(energy[-max(1, energy.size // 10) :]))
    cells = energy.size // window
    end, beyond, range_db = energy.size, 0.0, np.inf
    if cells >= 20:  # long enough to tell decay from noise
        smooth = energy[: cells * window].reshape(cells, window).mean(axis=1)
        start = int(np.argmax(smooth))
        below = np.flatnonzero(smooth[start:] < 2.0 * floor)
        cut = start + int(below[0]) if below.size else cells
        # A response without noise falls on until its end; then its last tenth is decay, not floor,
        # and the smoothed energy is still going down there.
        steady = smooth[int(0.9 * cells) :]
        half = max(1, steady.size // 2)
        if steady[-half:].mean() > 0.5 * steady[:half].mean() and floor > 0.0 and cut < int(0.9 * cells):
            end = max(window, cut * window)
            beyond, range_db = _complete(smooth[start:cut], window, floor)
    left = np.cumsum(energy[:end][::-1])[::-1] + beyond
    curve: _Float = 10.0 * np.log10(np.maximum(left / left[0], 1e-30))
    return curve, range_db


def _complete(smooth: _Float, window: int, floor: float) -> tuple[float, float]:
    """Energy behind the cut if the decay went on, and how far above the noise it began."""
    if smooth.size < 3:
        return 0.0, 0.0
    level = np.log(smooth[smooth.size // 2 :])
    slope = float(np.polyfit(np.arange(level.size), level, 1)[0]) if level.size > 1 else 0.0
    range_db = 10.0 * float(np.log10(smooth[0] / floor))
    if slope >= 0.0:
        return 0.0, range_db
    return float(smooth[-1]) * window * float(np.exp(slope) / (1.0 - np.exp(slope))), range_db


def decay_time_s(decay_db: _Float, sample_rate: int, begin_db: float, end_db: float, range_db: float = np.inf) -> float:
    """Time for 60 dB by a line through the curve from ``begin_db`` to ``end_db``; NaN if out of reach."""
    if range_db < -end_db + HEADROOM_DB or decay_db[-1] > end_db:
        return float("nan")
    begin = int(np.argmax(decay_db <= begin_db))
    end = int(np.argmax(decay_db <= end_db))
    if end - begin < 2:
        return float("nan")
    time = np.arange(begin, end + 1) / sample_rate
    slope = float(np.polyfit(time, decay_db[begin : end + 1], 1)[0])
    return -60.0 / slope if slope < 0.0 else float("nan")


def drr_db(response: ArrayLike, sample_rate: int, direct: int | None = None) -> float:
    """Direct-to-reverberant ratio: 2.5 ms either side of the direct sound over all that follows."""
    h = _checked(response)
    at = find_direct(h) if direct is None else direct
    around = max(1, round(DIRECT_MS * 1e-3 * sample_rate))
    near = h[max(0, at - around) : at + around + 1]
    return _ratio_db(near, h[at + around + 1 :])


def clarity_db(response: ArrayLike, sample_rate: int, early_ms: float = 50.0, direct: int | None = None) -> float:
    """Clarity: energy of the first ``early_ms`` from the direct sound on, over the rest (C50, C80)."""
    h, at, edge = _split(response, sample_rate, early_ms, direct)
    return _ratio_db(h[at:edge], h[edge:])


def definition(response: ArrayLike, sample_rate: int, early_ms: float = 50.0, direct: int | None = None) -> float:
    """Definition: energy of the first ``early_ms`` over all of it, 0 to 1 (D50)."""
    h, at, edge = _split(response, sample_rate, early_ms, direct)
    return float(np.sum(np.square(h[at:edge])) / np.sum(np.square(h[at:])))


def srr(reference: ArrayLike, degraded: ArrayLike, sample_rate: int, *, segment_ms: float = 32.0) -> float:
    r"""Segmental speech-to-reverberation ratio in dB: the mean over the segments with speech.

    .. math:: \mathrm{SRR} = \operatorname{mean}_l \, 10 \log_{10}
              \frac{\sum_{n \in l} s_d^2(n)}{\sum_{n \in l} (s_d(n) - y(n))^2}

    with segments clipped to -20..50 dB. Segments whose direct speech lies more than 40 dB below that
    of the loudest one do not count. Both signals must be aligned and of one level: a change of gain
    counts as reverberation.

    Args:
        reference: the speech as it would arrive without the room (or with its early part only).
        degraded: with the room, or dereverberated.
        sample_rate: in Hz.
        segment_ms: length of a segment.

    Raises:
        ShapeError, InputError: not of one length, shorter than a segment, or silent reference.
        ParameterError: a segment of no length.
    """
    if not segment_ms > 0:
        raise ParameterError(f"segment_ms = {segment_ms}; give a time above 0")
    n = max(1, round(segment_ms * 1e-3 * rate(sample_rate)))
    s, y = pair(reference, degraded, at_least=n)
    count = s.size // n
    speech = np.sum(np.square(s[: count * n]).reshape(count, n), axis=1)
    rest = np.sum(np.square((s - y)[: count * n]).reshape(count, n), axis=1)
    active = speech > 1e-4 * speech.max()
    low, high = SRR_RANGE_DB
    with np.errstate(divide="ignore"):
        ratio = 10.0 * np.log10(speech[active] / rest[active])
    return float(np.mean(np.clip(ratio, low, high)))


def _split(response: ArrayLike, sample_rate: int, early_ms: float, direct: int | None) -> tuple[_Float, int, int]:
    h = _checked(response)
    if not early_ms > 0:
        raise ParameterError(f"early_ms = {early_ms}; give a time above 0")
    at = find_direct(h) if direct is None else direct
    return h, at, at + max(1, round(early_ms * 1e-3 * sample_rate))


def _ratio_db(above: _Float, below: _Float) -> float:
    top, bottom = float(np.sum(np.square(above))), float(np.sum(np.square(below)))
    if not bottom:
        return np.inf
    return 10.0 * float(np.log10(top / bottom)) if top else -np.inf


def _checked(signal: ArrayLike) -> _Float:
    x: NDArray[Any] = np.asarray(signal)
    if x.ndim == 2 and x.shape[0] == 1:
        x = x[0]
    if x.ndim != 1 or not x.size:
        raise ShapeError(f"give one channel of samples, got an array of shape {x.shape}")
    y = x.astype(np.float64)
    if not np.all(np.isfinite(y)):
        raise InputError("the signal holds NaN or infinite samples")
    if not np.any(y):
        raise InputError("the signal is silent: nothing can be measured on it")
    return y
