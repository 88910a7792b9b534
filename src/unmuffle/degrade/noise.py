"""Noise and babble at an exact SNR over active speech.

The SNR is that of `unmuffle.degrade.snr`: energy of speech over energy of noise, both summed over
the samples that ITU-T P.56 calls active. It is met to rounding (the record holds what was reached).
A recording longer than the speech is used from a random offset, a shorter one is looped with
crossfades.

Without recordings, `Noise` makes its own, Gaussian and stationary:

    white   equal power per hertz
    pink    power falling as 1/f below 20 Hz..Nyquist: -3 dB per octave
    brown   power falling as 1/f^2: -6 dB per octave
    speech  the long-term spectrum of the speech itself: the hardest stationary masker
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..errors import InputError, ParameterError
from ..signal.blocks import Samples
from ..signal.levels import active_mask, active_speech_level, gain, rms_dbfs
from ..signal.spectrum import long_term_spectrum
from .base import Damage, Record, Scene, check_choice, check_finite, check_one_level
from .snr import absent, at_level, at_snr
from .sources import class_of, fit, load

COLORS = ("white", "pink", "brown", "speech")
MAX_NOISES = 3
_SPREAD_DB = 6.0  # between the loudest and the softest of several noises
_TRIES = 16  # offsets tried when a recording happens to pause while the speech is active


@dataclass(frozen=True)
class Noise(Damage):
    """One to three noise recordings, or a coloured noise, at an SNR or a level.

    Several recordings first get the same RMS, then each a random level within 6 dB; their sum is
    set to ``snr_db`` over active speech, or to ``level_dbfs`` (RMS over the file).
    """

    kind: ClassVar[str] = "noise"
    snr_db: float | None = 5.0
    level_dbfs: float | None = None
    files: tuple[str, ...] = ()
    """Recordings to use; empty: coloured noise."""
    color: str = "pink"
    """Of the noise made when there are no files: white, pink, brown, speech."""

    def __post_init__(self) -> None:
        check_one_level(self.snr_db, self.level_dbfs)
        check_choice("noise color", self.color, COLORS)
        if len(self.files) > MAX_NOISES:
            raise ParameterError(f"at most {MAX_NOISES} noises at a time, got {len(self.files)}")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        if not self.files:
            total = colored_noise(self.color, scene.signal.shape, scene.sample_rate, rng, scene.speech)
            parts: list[Record] = [{"class": self.color}]
        else:
            mask = active_mask(scene.speech, scene.sample_rate)
            total = np.zeros(scene.signal.shape)
            parts = []
            for path in self.files:
                sound, part = _recording(path, scene, mask, rng)
                level = -_SPREAD_DB * float(rng.random()) if len(self.files) > 1 else 0.0
                total += sound * gain(level - rms_dbfs(sound))
                parts.append({**part, "class": class_of(path), "relative_db": level})
        noise, reached = at_level(scene.speech, total, scene.sample_rate, self.snr_db, self.level_dbfs)
        return scene.add(noise), {**reached, "sources": parts}


@dataclass(frozen=True)
class Babble(Damage):
    """Other people talking: each voice at the same active level, their sum at ``snr_db``."""

    kind: ClassVar[str] = "babble"
    files: tuple[str, ...]
    """Speech of other speakers, one file per talker."""
    snr_db: float = 5.0

    def __post_init__(self) -> None:
        check_finite("snr_db", self.snr_db)
        if not self.files:
            raise ParameterError("babble needs at least one file of other speech")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        mask = active_mask(scene.speech, scene.sample_rate)
        total = np.zeros(scene.signal.shape)
        parts = []
        for path in self.files:
            voice, part = _recording(path, scene, mask, rng)
            total += voice * gain(-active_speech_level(voice, scene.sample_rate).level_dbfs)
            parts.append({**part, "class": "babble"})
        noise, reached = at_level(scene.speech, total, scene.sample_rate, self.snr_db, None)
        return scene.add(noise), {**reached, "sources": parts}


def mix_at_snr(
    speech: Any, noise: Any, sample_rate: int, snr_db: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Add a noise of the same length that is already in memory: ``(noisy, scaled noise)``."""
    speech, noise = np.asarray(speech), np.asarray(noise)
    if speech.shape != noise.shape:
        raise InputError(
            f"speech {speech.shape} and noise {noise.shape} differ in shape; cut or loop the noise"
        )
    scaled = at_snr(speech, noise, sample_rate, snr_db).astype(np.float32)
    return (speech + scaled).astype(np.float32), scaled


def colored_noise(
    color: str,
    shape: tuple[int, ...],
    sample_rate: int,
    rng: np.random.Generator,
    speech: Samples | None = None,
) -> NDArray[np.float64]:
    """Gaussian noise ``(channels, samples)`` of unit RMS, shaped by FFT; see the module docstring.

    ``speech`` is needed for the color ``speech`` only.
    """
    check_choice("noise color", color, COLORS)
    n = shape[-1]
    size = scipy.fft.next_fast_len(max(n, 64), real=True)
    white = rng.standard_normal((*shape[:-1], size))
    f = scipy.fft.rfftfreq(size, 1.0 / sample_rate)
    if color == "white":
        response = np.ones_like(f)
    elif color == "speech":
        if speech is None or not np.any(speech):
            raise InputError("speech-shaped noise needs speech to take its spectrum from, got silence")
        density = long_term_spectrum(speech, sample_rate)
        power = np.mean(10.0 ** (np.atleast_2d(density.level_db_per_hz) / 10.0), axis=0)
        response = np.sqrt(np.interp(f, density.frequencies_hz, power))
    else:
        # Flat below 20 Hz: what nobody hears would otherwise hold most of the power.
        response = np.maximum(f, 20.0) ** (-0.5 if color == "pink" else -1.0)
        response[0] = 0.0
    shaped = scipy.fft.irfft(scipy.fft.rfft(white, axis=-1) * response, size, axis=-1)[..., :n]
    unit: NDArray[np.float64] = shaped / np.sqrt(np.mean(np.square(shaped)))
    return unit


def _recording(
    path: str, scene: Scene, mask: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float64], Record]:
    """A stretch of a recording that sounds while the speech is active."""
    channels, n = scene.signal.shape
    source = load(path, scene.sample_rate, channels)
    for _ in range(_TRIES):
        sound, place = fit(source.samples, n, scene.sample_rate, rng)
        if np.any(sound) and not (mask.any() and absent(sound, mask)):
            return sound, {**source.origin, **place}
    raise InputError(f"{path} is silent wherever the speech is active; choose another recording")
