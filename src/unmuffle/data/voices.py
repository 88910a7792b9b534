"""Whispers, singing and breath, made of ordinary voices.

Corpora of read speech hold little of them, and a network that never heard them takes them for noise. For the first
two the spectral envelope stays, and what excites it is another: source and filter come apart by linear prediction. A
frame of 32 ms gives a predictor and the level of its residual, and anything of unit variance can be sent through it
again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..signal.lpc import lpc_autocorrelation

Signal = NDArray[np.float32]

_FRAME_S = 0.032
_HOP_S = 0.005
_ORDER = 18
_POWER_OF_HANN = 0.375


def whispered(x: Signal, sample_rate: int, rng: np.random.Generator) -> Signal:
    """The envelope without a glottis: noise excites it. Below 500 Hz whispers have little (6 dB per octave).

    Args:
        x: a voice, ``(samples,)``.
        sample_rate: of the voice in Hz.
        rng: of the noise.

    Returns:
        As many samples.
    """
    from scipy.signal import butter, sosfilt

    made = _excited(x, rng.standard_normal(x.size), sample_rate)
    quiet = butter(1, 500, "highpass", fs=sample_rate, output="sos")
    return np.asarray(sosfilt(quiet, made), np.float32)


def sung(x: Signal, sample_rate: int, rng: np.random.Generator, slower: int = 3) -> Signal:
    """Vowels ``slower`` times as long on a scale from 220 to 440 Hz, vibrato of 5.5 Hz and half a semitone.

    A note is half a second. Arguments as of :func:`whispered`; as many samples, so only the first part is heard.
    """
    note = sample_rate // 2
    notes = 220.0 * 2.0 ** (rng.choice((0, 2, 4, 5, 7, 9, 12), x.size // note + 1) / 12.0)
    time = np.arange(x.size) / sample_rate
    pitch = np.repeat(notes, note)[: x.size] * 2.0 ** (0.5 / 12.0 * np.sin(2.0 * np.pi * 5.5 * time))
    source = _cosines(2.0 * np.pi * np.cumsum(pitch) / sample_rate, np.floor(0.475 * sample_rate / pitch))
    return _excited(x, source / max(float(np.std(source)), 1e-9), sample_rate, slower)


def _cosines(phase: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    r""":math:`\sum_{k=1}^{K} \cos k\phi = \sin(K\phi/2) \cos((K+1)\phi/2) / \sin(\phi/2)`, K where phi is 0."""
    half = 0.5 * np.remainder(phase + np.pi, 2.0 * np.pi) - 0.5 * np.pi  # -pi/2 .. pi/2
    below = np.sin(half)
    near = np.abs(below) < 1e-6
    return np.where(near, count, np.sin(count * half) * np.cos((count + 1.0) * half) / np.where(near, 1.0, below))


def breathed(x: Signal, sample_rate: int, rng: np.random.Generator) -> Signal:
    """The voice and the breath that it blows at a close microphone: pops and rumble below 80 Hz, in time with it.

    Bursts of 15 to 120 ms where the voice is loud, and noise that follows its level, together 4 to 30 dB below the
    voice. Arguments as of :func:`whispered`; as many samples.
    """
    from scipy.signal import resample

    rate = 400.0
    count = max(round(x.size * rate / sample_rate), 8)
    edges = np.linspace(0, x.size, count + 1).astype(int)
    power = np.add.reduceat(np.square(x, dtype=np.float64), edges[:-1].clip(max=x.size - 1))
    level = np.sqrt(np.convolve(power, np.hanning(round(0.08 * rate)), "same"))
    if not level.max() > 0:
        return x
    level /= level.max()
    hertz = np.fft.rfftfreq(count, 1.0 / rate)
    top = float(rng.uniform(20.0, 80.0))
    rumble = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * (hertz > 4.0) * (hertz < top), count)
    breath = rumble / max(float(rumble.std()), 1e-9) * level ** float(rng.uniform(0.7, 2.0))
    pops = np.zeros(count)
    for at in rng.choice(count, rng.poisson(2.5 * count / rate), p=level / level.sum()):
        since = np.arange(count - at) / rate
        pitch, decay = float(rng.uniform(8.0, 60.0)), float(rng.uniform(0.015, 0.12))
        wave = np.sin(2.0 * np.pi * (pitch * since + rng.random())) * np.exp(-since / decay)
        pops[at:] += float(np.exp(rng.normal(0.0, 0.7))) * np.minimum(since * rate / 2.0, 1.0) * wave
    breath = float(rng.uniform(0.0, 1.0)) * breath + float(rng.uniform(0.5, 3.0)) * pops
    low = resample(breath.astype(np.float32), x.size)  # in single precision, as all that is long here
    low -= low.mean()
    share = 10.0 ** (-float(rng.uniform(4.0, 30.0)) / 20.0) * np.sqrt(power.sum() / max(np.square(low).sum(), 1e-12))
    return np.asarray(x + share * low, np.float32)


def _excited(x: Signal, source: NDArray[np.float64], sample_rate: int, slower: int = 1) -> Signal:
    """``source`` (unit variance) through the envelopes of ``x``, each held for ``slower`` hops; as many samples."""
    from scipy.signal import lfilter

    hop, size = round(_HOP_S * sample_rate), round(_FRAME_S * sample_rate)
    padded = np.pad(x.astype(np.float64), (size // 2, size))
    step = hop * slower
    count = -(-source.size // step)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count] * np.hanning(size)
    model = lpc_autocorrelation(frames, _ORDER, sample_rate=sample_rate)
    residual = np.sqrt(model.error / _POWER_OF_HANN)
    before = np.concatenate((residual[:1], residual[:-1]))
    ramps = np.linspace(before, residual, step, axis=1).ravel()[: source.size]
    driven = np.pad(ramps * source, (0, count * step - source.size)).reshape(count, step)
    out = np.empty_like(driven)
    state = np.zeros(_ORDER)
    for i, predictor in enumerate(model.coefficients):
        out[i], state = lfilter([1.0], predictor, driven[i], zi=state)
    return out.ravel()[: source.size].astype(np.float32)
