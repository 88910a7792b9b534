r"""Short-time Fourier transform: one specification, streamed with explicit state.

A frame is defined in milliseconds and its bins in hertz, so that one set of parameters (or one
trained network) serves every sample rate: 20 ms frames have bins 50 Hz apart at 8, 16, 24, 44.1
and 48 kHz alike, only their number changes.

Analysis multiplies ``N`` samples with the window ``w_a`` and transforms them; synthesis transforms
back, multiplies with ``w_s`` and overlap-adds with hop ``H``. Both windows are scaled so that

.. math:: \sum_m w_a[n - mH] \, w_s[n - mH] = 1 \quad \text{for all } n,

which makes the pair an identity (perfect reconstruction) when the spectrum is left alone.

Windows
-------
``sqrt-hann``
    The square root of a Hann window on both sides; with 50 % overlap, the standard choice.
``hann``
    Hann for analysis and (scaled) synthesis; wants 75 % overlap.
``asymmetric``
    A long analysis window with a short tail, and a synthesis window that only covers the last
    ``synthesis_ms``: frequency resolution of the long window at the delay of the short one
    (Mauler & Martin, "A low delay, variable resolution, perfect reconstruction spectral
    analysis-synthesis system for speech enhancement", EUSIPCO 2007).

Delay
-----
An output sample is complete once the last synthesis window that covers it has been added, so the
output lags by ``latency = M - H`` samples, ``M`` the length of the synthesis window. Collecting a
hop takes up to another ``H - 1`` samples when the caller's blocks do not fit the hop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from .blocks import Fifo, Samples, as_block, check_channels, check_rate
from .transforms import irfft, rfft

Spectrum = NDArray[np.complex64]
"""complex64, shape ``(channels, frames, bins)``."""

WINDOWS = ("sqrt-hann", "hann", "asymmetric")


@dataclass(frozen=True)
class StftSpec:
    """Frame, hop and window of an STFT, free of any sample rate.

    Attributes:
        window_ms: length of the analysis window in milliseconds.
        hop_ms: step from frame to frame in milliseconds; divides ``window_ms``.
        window: one of :data:`WINDOWS`.
        synthesis_ms: length of the synthesis window (``asymmetric`` only; twice the hop by default).
    """

    window_ms: float = 20.0
    hop_ms: float = 10.0
    window: str = "sqrt-hann"
    synthesis_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise ParameterError(f"window = {self.window!r}; choose one of {', '.join(WINDOWS)}")
        ratio = self.window_ms / self.hop_ms if self.hop_ms > 0 else 0.0
        if not 0.5 <= self.hop_ms <= 500 or ratio < 2 or abs(ratio - round(ratio)) > 1e-6:
            raise ParameterError(
                f"hop_ms = {self.hop_ms} with window_ms = {self.window_ms}; "
                "the window must be a whole multiple (2 or more) of the hop"
            )
        if self.window == "asymmetric":
            parts = self.synthesis_ms / self.hop_ms
            if self.synthesis_ms and abs(parts - 2) > 1e-6:
                raise ParameterError(f"synthesis_ms = {self.synthesis_ms}; it must be twice the hop")
        elif self.synthesis_ms:
            raise ParameterError("synthesis_ms only belongs to window = 'asymmetric'")

    def at(self, sample_rate: int) -> Frames:
        """The frames of this specification at a sample rate (8 to 192 kHz).

        The hop is rounded to whole samples: 441 at 44.1 kHz, 220 (9.977 ms) at 22.05 kHz.
        """
        return _frames(self, check_rate(sample_rate))


@dataclass(frozen=True, eq=False)
class Frames:
    """An :class:`StftSpec` at one sample rate, in samples.

    Attributes:
        sample_rate: in Hz.
        size: samples in a frame and points of its transform, ``N``.
        hop: samples from frame to frame, ``H``.
        bins: ``N // 2 + 1``.
        latency: samples by which resynthesis lags, ``M - H``.
        analysis, synthesis: the windows, ``(N,)`` float32.
        frequencies: centre of each bin in Hz, ``(bins,)`` float64.
    """

    sample_rate: int
    size: int
    hop: int
    latency: int
    analysis: NDArray[np.float32]
    synthesis: NDArray[np.float32]
    frequencies: NDArray[np.float64]

    @property
    def bins(self) -> int:
        """Number of bins, ``size // 2 + 1``."""
        return self.size // 2 + 1

    @property
    def power_scale(self) -> float:
        """Factor from ``|X|^2`` to power: white noise of variance 1 has mean ``|X|^2 * scale = 1``."""
        return float(1.0 / np.sum(self.analysis.astype(np.float64) ** 2))

    def forward(self, x: Samples, history: Samples) -> tuple[Spectrum, Samples]:
        """Transform ``k * hop`` new samples into ``k`` frames.

        Args:
            x: ``(channels, k * hop)``.
            history: the ``size - hop`` samples before ``x``.

        Returns:
            The spectrum ``(channels, k, bins)`` and the new history.
        """
        joined = np.concatenate((history, x), axis=1)
        count = x.shape[1] // self.hop
        if count == 1:
            windowed = joined[:, np.newaxis] * self.analysis
        else:
            view = np.lib.stride_tricks.sliding_window_view(joined, self.size, axis=1)[:, :: self.hop]
            windowed = view * self.analysis
        return rfft(windowed), joined[:, count * self.hop :]

    def inverse(self, spectrum: Spectrum, tail: Samples) -> tuple[Samples, Samples]:
        """Transform ``k`` frames back into ``k * hop`` finished samples.

        Args:
            spectrum: ``(channels, k, bins)``.
            tail: the ``size - hop`` samples that earlier frames began and did not finish.

        Returns:
            Samples ``(channels, k * hop)``, late by :attr:`latency`, and the new tail.
        """
        frames = irfft(spectrum, self.size)
        frames *= self.synthesis
        channels, count, _ = frames.shape
        parts = self.size // self.hop
        skip = self.size - self.hop - self.latency  # the synthesis window is zero there
        if count == 1:  # a stream of short blocks: the same additions, without the loop
            frame = frames[:, 0]
            frame[:, : self.size - self.hop] += tail
            return frame[:, skip : skip + self.hop].copy(), frame[:, self.hop :]
        if parts == 2 and skip == 0:
            out = np.empty((channels, count, self.hop), np.float32)
            np.add(tail, frames[:, 0, : self.hop], out=out[:, 0])
            np.add(frames[:, :-1, self.hop :], frames[:, 1:, : self.hop], out=out[:, 1:])
            return out.reshape(channels, count * self.hop), frames[:, -1, self.hop :].copy()
        # Oldest part first: then a sum carried over from the last call has the same order of
        # additions as within one call, and any split of the signal gives the same bits.
        total = np.zeros((channels, count + parts - 1, self.hop), np.float32)
        total[:, : parts - 1] = tail.reshape(channels, parts - 1, self.hop)
        pieces = frames.reshape(channels, count, parts, self.hop)
        for i in range(parts - 1, -1, -1):
            total[:, i : i + count] += pieces[:, :, i]
        flat = total.reshape(channels, -1)
        done = count * self.hop
        return flat[:, skip : skip + done], flat[:, done:].copy()


@lru_cache(maxsize=64)
def _frames(spec: StftSpec, sample_rate: int) -> Frames:
    hop = round(spec.hop_ms * sample_rate / 1000.0)
    parts = round(spec.window_ms / spec.hop_ms)
    size = hop * parts
    if size % 2:  # an odd number of parts of an odd hop: rfft needs an even size to be inverted by `size`
        hop += 1
        size = hop * parts
    analysis = np.zeros(size)
    synthesis = np.zeros(size)
    if spec.window == "asymmetric":
        short = 2 * hop
        rise, fall = _hann(2 * (size - hop)), _hann(short)
        analysis[: size - hop] = np.sqrt(rise[: size - hop])
        analysis[size - hop :] = np.sqrt(fall[hop:])
        product = fall  # what the two windows must multiply to over the last `short` samples
        synthesis[size - short :] = product / analysis[size - short :]
        latency = short - hop
    else:
        shape = _hann(size)
        analysis[:] = shape if spec.window == "hann" else np.sqrt(shape)
        synthesis[:] = analysis
        latency = size - hop
    # Scale the synthesis window so that the products of all overlapping frames add up to one.
    total = (analysis * synthesis).reshape(parts, hop).sum(axis=0)
    if np.min(total) < 1e-6:
        raise ParameterError(f"{spec} cannot be inverted: its windows do not cover every sample")
    synthesis /= np.tile(total, parts)
    return Frames(
        sample_rate,
        size,
        hop,
        latency,
        analysis.astype(np.float32),
        synthesis.astype(np.float32),
        np.arange(size // 2 + 1, dtype=np.float64) * (sample_rate / size),
    )


def _hann(n: int) -> NDArray[np.float64]:
    """Hann window of ``n`` points with half-sample symmetry: no point is zero, so none is lost."""
    return np.asarray(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2)


class StreamingStft:
    """Analysis and synthesis of a stream in blocks of any size.

    ``forward`` returns the frames that are complete, ``inverse`` the samples that are finished;
    leaving the frames alone gives the input back, ``frames.latency`` samples late.

    >>> import numpy as np
    >>> stft = StreamingStft(StftSpec(), sample_rate=16000)
    >>> x = np.random.default_rng(0).standard_normal((1, 1600)).astype(np.float32)
    >>> y = np.concatenate([stft.inverse(stft.forward(b)) for b in np.split(x, 10, axis=1)], axis=1)
    >>> bool(np.max(np.abs(y[:, 160:] - x[:, :-160])) < 1e-6)
    True
    """

    def __init__(self, spec: StftSpec, sample_rate: int, channels: int = 1) -> None:
        self.frames = spec.at(sample_rate)
        self.channels = check_channels(channels)
        self.reset()

    def reset(self) -> None:
        """Forget everything heard so far."""
        held = self.frames.size - self.frames.hop
        self._waiting = Fifo(self.channels)
        self._history: Samples = np.zeros((self.channels, held), np.float32)
        self._tail: Samples = np.zeros((self.channels, held), np.float32)

    def forward(self, block: Samples) -> Spectrum:
        """Take any number of samples, return the frames ``(channels, k, bins)`` they complete."""
        self._waiting.push(as_block(block, self.channels))
        ready = len(self._waiting) // self.frames.hop * self.frames.hop
        if not ready:
            return np.zeros((self.channels, 0, self.frames.bins), np.complex64)
        out, self._history = self.frames.forward(self._waiting.pop(ready), self._history)
        return out

    def inverse(self, spectrum: Spectrum) -> Samples:
        """Take frames ``(channels, k, bins)``, return ``k * hop`` samples."""
        if not spectrum.shape[1]:
            return np.zeros((self.channels, 0), np.float32)
        out, self._tail = self.frames.inverse(spectrum, self._tail)
        return out
