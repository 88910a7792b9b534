r"""What ``tiny`` hears: 32 bands on the ERB scale, and how much of each is voice.

For each frame (20 ms, every 10 ms, bins up to 8 kHz):

==========  ==========================================================================================
numbers     feature
==========  ==========================================================================================
0 - 31      :math:`L_b`, half the logarithm of the mean :math:`|X|^2` in band b, less the mean level of the
            last second (time constant), not below 8 nepers under it
32 - 63     :math:`L_b` less its own mean of the last second
64 - 95     :math:`L_b` less that of the frame before
96 - 127    coherence of the band with the frame one pitch period earlier,
            :math:`\mathrm{Re} \sum X P^* / \sqrt{\sum |X|^2 \sum |P|^2}`: near 1 in voiced speech
128, 129    the period (its logarithm, -0.5 .. 0.5) and the correlation there, see :mod:`.pitch`
==========  ==========================================================================================

All are free of the level of the signal and of the sample rate: a bin is 50 Hz at any rate, bands without bins
(above 4 kHz at 8 kHz) are empty, what lies above 8 kHz is not heard. Training computes the features with
this code too; they need no gradient.

The second result is :math:`P`, the spectrum of the frame that lies one period earlier: the sum of
:math:`X` and :math:`P` is a comb filter, which keeps harmonics and lowers what lies between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...signal.blocks import Samples
from ...signal.stft import Frames, Spectrum, StftSpec
from ...signal.transforms import rfft
from . import pitch

BINS, BANDS = 161, 32
TOP_HZ = 8000.0
FEATURES = 4 * BANDS + 2
OUTPUTS = 2 * BANDS + 1
"""What a network answers: gains, comb shares, voice."""

SPEC = StftSpec()
RATE = 16_000

_FLOOR = np.float32(1e-10)
_DEPTH = np.float32(8.0)
_QUIET = np.float32(1e-8)  # mean |X|^2 of noise at -102 dBFS: softer frames say nothing of the level
_KEEP = np.float32(np.exp(-1.0 / 100.0))
_TINY = np.float32(1e-20)
_SHARE = np.float32(1.0 / BINS)
_HALF, _THIRD, _SHORTEST = np.float32(0.5), np.float32(1.0 / 3.0), np.float32(1.0 / pitch.LOW)

Floats = NDArray[np.float32]
State = dict[str, Floats]


def erb_bands(bins: int, top_hz: float, count: int) -> Floats:
    """Triangles evenly spaced on the ERB-rate scale, ``(bins, count)``; each row adds up to one.

    ERB-rate: 21.4 log10(1 + 0.00437 f) (Glasberg & Moore 1990). Where a band would be narrower than
    a bin, each bin is a band of its own.
    """
    steps = np.diff(np.log10(1.0 + 0.00437 * np.linspace(0.0, top_hz, bins)))
    # Scale the steps, none above one band, so that they add up to all bands.
    low, high = 0.0, (count - 1) / steps.min()
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.minimum(1.0, middle * steps).sum() < count - 1:
            low = middle
        else:
            high = middle
    place = np.concatenate(([0.0], np.cumsum(np.minimum(1.0, high * steps))))
    place *= (count - 1) / place[-1]
    shares = np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(count)[None]))
    out: Floats = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return out


SPREAD = np.ascontiguousarray(erb_bands(BINS, TOP_HZ, BANDS).T)
"""``(bands, bins)``: values of bands drawn out to the bins by the triangles."""

_MEAN = np.ascontiguousarray((SPREAD / SPREAD.sum(axis=1, keepdims=True)).T)


@dataclass(frozen=True)
class Heard:
    """What :meth:`Analysis.step` gives for ``k`` frames.

    Attributes:
        features: ``(k, 130)``.
        spectrum: ``(channels, k, bins)``, all bins of the rate.
        comb: ``(channels, k, 161 or fewer)``, the spectrum one pitch period earlier.
        lag: pitch period in samples at 8 kHz, ``(k,)``.
    """

    features: Floats
    spectrum: Spectrum
    comb: Spectrum
    lag: Floats


class Analysis:
    """Samples to features, at one sample rate and number of channels.

    Args:
        frames: of :data:`SPEC` at the rate.
        channels: they are heard as one sound.
    """

    def __init__(self, frames: Frames, channels: int) -> None:
        self.frames = frames
        self.channels = channels
        self.known = min(frames.bins, BINS)
        self._scale = np.float32(SPEC.at(RATE).size / frames.size)
        self._stretch = frames.hop / 80.0
        self._reach = int(np.ceil((pitch.LONG + 1) * self._stretch)) + 1
        self._turn = (-2.0 * np.pi / frames.size * np.arange(self.known)).astype(np.float32)

    def initial(self) -> State:
        """The state before the first frame."""
        white, half, correlations = pitch.initial(self.channels)
        return {
            "past": np.zeros((self.channels, self._reach + self.frames.size - self.frames.hop), np.float32),
            "white": white,
            "half": half,
            "correlations": correlations,
            "level": np.zeros(2, np.float32),
            "means": np.zeros(BANDS, np.float32),
            "before": np.zeros((1, BANDS + 1), np.float32),
        }

    def step(self, x: Samples, state: State) -> tuple[Heard, State]:
        """Features of ``(channels, k * hop)`` samples; ``k`` may be any number from 1."""
        frames = self.frames
        count = x.shape[1] // frames.hop
        spectrum, _ = frames.forward(x, state["past"][:, self._reach :])
        rows = spectrum
        if self._scale != 1.0:
            rows = np.zeros((self.channels, count, BINS), np.complex64)
            np.multiply(spectrum.real[:, :, : self.known], self._scale, out=rows.real[:, :, : self.known])
            np.multiply(spectrum.imag[:, :, : self.known], self._scale, out=rows.imag[:, :, : self.known])
        power = _power(rows)
        lag, strength, after = pitch.track(rows, power, (state["white"], state["half"], state["correlations"]))
        joined = np.concatenate((state["past"], x), axis=1)
        comb = self._earlier(joined, lag)
        features, kept = self._features(rows, power, comb, lag, strength, state)
        new = {
            "past": joined[:, count * frames.hop :],
            "white": after[0],
            "half": after[1],
            "correlations": after[2],
            **kept,
        }
        return Heard(features, spectrum, comb, lag), new

    def _earlier(self, joined: Samples, lag: Floats) -> Spectrum:
        """The frames one lag earlier; parts of a sample by turning the phase."""
        frames = self.frames
        delay = lag.astype(np.float64) * self._stretch
        whole = np.floor(delay)
        first = (self._reach - whole).astype(np.int64)
        if len(lag) == 1:
            piece = joined[:, np.newaxis, first[0] : first[0] + frames.size] * frames.analysis
        else:
            first += np.arange(len(lag)) * frames.hop
            piece = joined[:, first[:, np.newaxis] + np.arange(frames.size)] * frames.analysis
        angle = (delay - whole).astype(np.float32)[:, np.newaxis] * self._turn
        turn = np.empty(angle.shape, np.complex64)
        np.cos(angle, out=turn.real)
        np.sin(angle, out=turn.imag)
        out: Spectrum = rfft(piece)[:, :, : self.known] * turn
        return out

    def _features(
        self, rows: Spectrum, power: Floats, comb: Spectrum, lag: Floats, strength: Floats, state: State
    ) -> tuple[Floats, State]:
        known, scale = self.known, self._scale
        products = np.zeros((3, *power.shape), np.float32)
        products[0] = power
        np.multiply(_power(comb), scale * scale, out=products[1, :, :known])
        shared = rows.real[..., :known] * comb.real + rows.imag[..., :known] * comb.imag
        np.multiply(shared[0] if len(shared) == 1 else shared.sum(axis=0), scale, out=products[2, :, :known])
        share, earlier, both = products @ _MEAN
        coherence = both / np.sqrt(share * earlier + _TINY)
        # The level is the mean logarithm of the power, over frames in which there is something.
        total = np.add.reduce(power, axis=1, keepdims=True)
        total *= _SHARE
        there = total / (total + _QUIET)
        weighted = np.concatenate((_HALF * np.log(total + _FLOOR) * there, there), axis=1)
        level, level_state = _running(weighted, state["level"])
        count = np.maximum(level[:, 1:], np.float32(1e-6))
        mean = level[:, :1] / count
        shape = np.maximum(_HALF * np.log(share + _FLOOR), mean - _DEPTH)
        sums, sums_state = _running(shape * there, state["means"])
        # There is no frame before the first: its change is none.
        before = np.concatenate((state["before"][:, :BANDS], shape[:-1]))
        change = shape - before
        change[0] *= state["before"][0, BANDS]
        tone = np.empty((len(lag), 2), np.float32)
        tone[:, 0] = np.log2(lag * _SHORTEST) * _THIRD - _HALF
        tone[:, 1] = strength
        features = np.concatenate((shape - mean, shape - sums / count, change, coherence, tone), axis=1)
        last = np.ones((1, BANDS + 1), np.float32)
        last[0, :BANDS] = shape[-1]
        return features, {"level": level_state, "means": sums_state, "before": last}


def _power(x: Spectrum) -> Floats:
    """Sum over the channels of ``|X|^2``."""
    square = x.real * x.real
    square += x.imag * x.imag
    out: Floats = square[0] if len(x) == 1 else square.sum(axis=0)
    return out


def _running(x: Floats, held: Floats) -> tuple[Floats, Floats]:
    """``y[t] = keep y[t-1] + x[t]`` along the first axis, and the last ``y``."""
    y = np.empty_like(x)
    for t, row in enumerate(x):  # scipy's lfilter saves 1 us a frame, but importing it takes 50 MB
        y[t] = _KEEP * held + row
        held = y[t]
    return y, held
