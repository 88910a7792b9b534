r"""Figures of a recording without a clean reference: how loud noise and speech are, and what the method did to them.

With :math:`P, Q` the power of input and output in the frames and bins of a 20 ms STFT, and :math:`N` the noise in
the input by minimum statistics (`unmuffle.noise.minimum`):

=====================  ====================================================================================
noise floor            mean of :math:`N` over the window, dB re full scale
reduction              :math:`10 \log_{10} \sum P / \sum Q` over the frames of noise: those whose power is at
                       most twice that of :math:`N`, and 0.3 s away from speech where the window has such
speech level           mean power where `unmuffle.noise.vad.EnergyVad` hears speech, minus the noise floor
SNR                    the difference of the two
artefacts              log-kurtosis ratio in the frames of noise, as in `unmuffle.evaluate.musical_noise`;
                       without the input, against the 6 of Gaussian noise. 0 natural, above 1 chirping
speech lost            :math:`10 \log_{10} \sum P / \sum \min(Q, P)` over the cells of speech in which
                       :math:`P` is 15 dB above :math:`N`: there a good method changes nothing
clipping               share of samples on a ceiling, `unmuffle.evaluate.clipping`
DNSMOS                 predicted opinion, if asked for (extra ``dnsmos``, 0.2 s of a core for a window)
=====================  ====================================================================================

What cannot be told is NaN: reduction and artefacts when the window has less than 0.2 s of noise frames (or the method
mutes them), levels of speech when nobody speaks.

Limits: noise is what lasts, and where it changes, reduction and artefacts are those of its floor. Events (a door, a
shout) stand above the floor and count as speech, so one that is rightly removed looks like lost speech.
`bench/quality.py` measures how far the figures are from those with the clean signal at hand (`docs/numbers.md`). About
60 ms of a core for 10 s at 16 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import NotAudioError, ShapeError
from ..evaluate.clipping import clipping
from ..evaluate.musical_noise import kurtosis
from ..noise.minimum import Minimum
from ..noise.vad import EnergyVad
from ..signal.blocks import Samples, as_block, check_rate
from ..signal.stft import Frames, StftSpec

WINDOW_S: Final = 10.0
"""What files are measured by, and streams at a time: long enough for a pause, short enough to see a change."""

SHORTEST_S: Final = 0.5
"""A window below this says nothing."""

_START_S = 0.1  # that a tracker needs to find its feet
_PAUSE_S = 0.2
_AWAY_S = (0.3, 0.15)
_SURE_DB = 15.0
_GAUSSIAN = 6.0
_LOWEST = 1e-12  # -120 dB
_LIMIT_DB = 60.0

_Power = NDArray[np.float32]


@dataclass(frozen=True)
class Figures:
    """What was measured; NaN where it cannot be told. ``before`` is the unprocessed signal.

    Attributes:
        seconds: of sound.
        speech_share: share of the time in which somebody speaks.
        noise_before_dbfs, noise_dbfs: noise floor before and after.
        speech_before_dbfs, speech_dbfs: speech level before and after.
        snr_before_db, snr_db: speech over noise, before and after.
        reduction_db: by how much the noise floor was lowered.
        speech_lost_db: speech that was taken away (over-suppression); 0 is best.
        artefacts: how tonal the residual noise became; 0 is natural.
        clipping_before, clipping: share of clipped samples.
        dnsmos: predicted overall opinion, 1 to 5.
        real_time_factor: processing time per second of sound.
        latency_ms: of the method.
    """

    seconds: float
    speech_share: float = math.nan
    noise_before_dbfs: float = math.nan
    noise_dbfs: float = math.nan
    speech_before_dbfs: float = math.nan
    speech_dbfs: float = math.nan
    snr_before_db: float = math.nan
    snr_db: float = math.nan
    reduction_db: float = math.nan
    speech_lost_db: float = math.nan
    artefacts: float = math.nan
    clipping_before: float = math.nan
    clipping: float = math.nan
    dnsmos: float = math.nan
    real_time_factor: float = math.nan
    latency_ms: float = math.nan

    def to_dict(self) -> dict[str, float | None]:
        """By name; ``None`` for what cannot be told."""
        return {key: float(value) if math.isfinite(value) else None for key, value in asdict(self).items()}


NAMES: Final = tuple(f.name for f in fields(Figures))
"""Every figure by name."""


def measure(
    after: Any,
    sample_rate: int,
    before: Any = None,
    *,
    dnsmos: bool = False,
    real_time_factor: float = math.nan,
    latency_ms: float = math.nan,
) -> Figures:
    """Figures of a stretch of sound, best about :data:`WINDOW_S` long.

    Args:
        after: the output, ``(samples,)`` or ``(channels, samples)``; channels are averaged.
        sample_rate: in Hz.
        before: the input, aligned with it; ``None`` if there is none.
        dnsmos: predict the opinion too.
        real_time_factor, latency_ms: put beside the rest, if known.

    Raises:
        InputError: the samples cannot be used.
        MissingExtraError: DNSMOS is not installed.
    """
    rate = check_rate(sample_rate)
    y = as_block(after).mean(axis=0, dtype=np.float64)
    x = None if before is None else as_block(before).mean(axis=0, dtype=np.float64)
    if x is not None and x.size != y.size:
        raise ShapeError(f"before has {x.size} samples and after {y.size}; align them first (unmuffle.signal.align)")
    if y.size < SHORTEST_S * rate:
        raise ShapeError(f"{y.size} samples at {rate} Hz say nothing; give {SHORTEST_S:g} s or more")
    given: dict[str, float] = {"real_time_factor": real_time_factor, "latency_ms": latency_ms}
    given["clipping"] = clipping(y, rate)
    if x is not None:
        given["clipping_before"] = clipping(x, rate)
    frames = StftSpec().at(rate)
    start = round(_START_S * rate / frames.hop)
    before = None if x is None else _power(x, frames)
    after = _power(y, frames)
    heard = after if before is None else before
    noise = Minimum().track(heard, frames)[0, start:]
    speaks = EnergyVad().detect(heard, frames)[0, start:]
    given |= _levels(None if before is None else before[0, start:], after[0, start:], noise, speaks, frames)
    if dnsmos and np.any(y):
        from ..evaluate.dnsmos import dnsmos as predict

        given["dnsmos"] = predict(y, rate).ovrl
    return Figures(y.size / rate, **given)


def _power(x: NDArray[np.float64], frames: Frames) -> _Power:
    """``|X|^2`` of whole frames, ``(1, frames, bins)``."""
    whole = x[: x.size - x.size % frames.hop].astype(np.float32)[np.newaxis]
    spectrum, _ = frames.forward(whole, np.zeros((1, frames.size - frames.hop), np.float32))
    power: _Power = spectrum.real**2 + spectrum.imag**2
    return power


def _quiet(heard: _Power, noise: _Power, speaks: NDArray[np.bool_], frames: Frames) -> NDArray[np.bool_]:
    """Frames of noise alone: not above the floor, and away from speech if enough of them are."""
    quiet: NDArray[np.bool_] = heard.sum(axis=1, dtype=np.float64) <= 2.0 * noise.sum(axis=1, dtype=np.float64)
    # Words end softly: what fades below the noise is no longer seen, but is still there after a strong reduction.
    for seconds in _AWAY_S:
        around = round(seconds * frames.sample_rate / frames.hop)
        near = np.convolve(speaks, np.ones(2 * around + 1))[around : around + len(speaks)] > 0.5
        away: NDArray[np.bool_] = quiet & ~near
        if np.count_nonzero(away) * frames.hop >= _PAUSE_S * frames.sample_rate:
            return away
    return quiet


def _levels(
    before: _Power | None, after: _Power, noise: _Power, speaks: NDArray[np.bool_], frames: Frames
) -> dict[str, float]:
    """All that is told by the spectra ``(frames, bins)``; ``noise`` is that of ``before``, or of ``after`` alone."""
    heard = after if before is None else before

    def mean_square(power: _Power) -> float:
        """Of the signal, from the mean power of its bins (all but the first and last stand for two)."""
        mean = power.mean(axis=0, dtype=np.float64)
        total = mean[0] + 2.0 * mean[1:-1].sum() + mean[-1]
        return float(total * frames.power_scale / (2 * (len(mean) - 1)))

    quiet = _quiet(heard, noise, speaks, frames)
    floor = mean_square(noise)
    given = {"speech_share": float(np.mean(speaks))}
    paused = np.count_nonzero(quiet) * frames.hop >= _PAUSE_S * frames.sample_rate
    spoken = np.count_nonzero(speaks) * frames.hop >= _PAUSE_S * frames.sample_rate

    def level(power: float) -> float:
        return 10.0 * math.log10(max(power, _LOWEST))

    def speech(power: _Power, under: float) -> float:
        found = mean_square(power[speaks]) - under if spoken else 0.0
        return level(found) if found > _LOWEST else math.nan

    if before is None:
        given |= {"noise_dbfs": level(floor), "speech_dbfs": speech(after, floor)}
    else:
        given |= {"noise_before_dbfs": level(floor), "speech_before_dbfs": speech(before, floor)}
        given["snr_before_db"] = given["speech_before_dbfs"] - given["noise_before_dbfs"]
        if paused and mean_square(before[quiet]) > _LOWEST:
            kept = mean_square(after[quiet]) / mean_square(before[quiet])
            given["reduction_db"] = min(_LIMIT_DB, -10.0 * math.log10(max(kept, _LOWEST)))
            given["noise_dbfs"] = given["noise_before_dbfs"] - given["reduction_db"]
            given["speech_dbfs"] = speech(after, floor * kept)
    given["snr_db"] = given.get("speech_dbfs", math.nan) - given.get("noise_dbfs", math.nan)
    if paused:
        now = kurtosis(after[quiet].astype(np.float64))
        then = _GAUSSIAN if before is None else kurtosis(before[quiet].astype(np.float64))
        given["artefacts"] = math.log(now / then) if now > 0 and then > 0 else math.nan
    if before is not None and spoken:
        sure = (before > np.float32(10.0 ** (_SURE_DB / 10.0)) * noise) & speaks[:, np.newaxis]
        had = float(np.sum(before[sure], dtype=np.float64))
        left = float(np.sum(np.minimum(before, after)[sure], dtype=np.float64))
        if had > 0.0:
            limit = 10.0 ** (-_LIMIT_DB / 10.0)
            given["speech_lost_db"] = _LIMIT_DB if left <= had * limit else 10.0 * math.log10(had / left)
    return given


# -- files ---------------------------------------------------------------------------------------


def measure_file(after: str, before: str | None = None, *, dnsmos: bool = False) -> list[Figures]:
    """Figures of a file, window by window, in constant memory.

    Args:
        after: the output.
        before: the input, of the same rate and aligned with it; what is longer in one of them is left out.
        dnsmos: predict the opinion too.

    Raises:
        MediaError: a file cannot be read.
        ShapeError: the rates differ.
        NotAudioError: less than half a second of sound.
    """
    from contextlib import ExitStack

    from ..io import open_reader

    with ExitStack() as stack:
        out = stack.enter_context(open_reader(after))
        rate = out.info.sample_rate
        size = round(WINDOW_S * rate)
        windows: Iterator[tuple[Samples, Samples | None]]
        if before is None:
            windows = ((block, None) for block in _windows(out.blocks(size), size))
        else:
            source = stack.enter_context(open_reader(before))
            if source.info.sample_rate != rate:
                raise ShapeError(f"{before!r} has {source.info.sample_rate} Hz, {after!r} {rate}; resample one of them")
            pairs = zip(_windows(out.blocks(size), size), _windows(source.blocks(size), size), strict=False)
            windows = ((a[:, : b.shape[1]], b[:, : a.shape[1]]) for a, b in pairs)
        found = [measure(a, rate, b, dnsmos=dnsmos) for a, b in windows if a.shape[1] >= SHORTEST_S * rate]
    if not found:
        raise NotAudioError(f"{after!r} holds less than {SHORTEST_S:g} s of sound; there is nothing to measure")
    return found


def _windows(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """Blocks of any size as blocks of one size (the last may be shorter)."""
    held: list[Samples] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += block.shape[1]
        if count < size:
            continue
        joined = np.concatenate(held, axis=1)
        whole = count - count % size
        yield from (joined[:, i : i + size] for i in range(0, whole, size))
        held, count = [joined[:, whole:]], count - whole
    if count:
        yield np.concatenate(held, axis=1)


def combine(windows: Iterable[Figures]) -> Figures:
    """One line for many windows: the median of each figure, of those that could be told; shares are averaged.

    Windows that are shorter than the longest by half or more count only if there is no other.
    """
    rows = list(windows)
    longest = max(row.seconds for row in rows)
    rows = [row for row in rows if row.seconds > longest / 2]
    weights = np.array([row.seconds for row in rows])
    given: dict[str, float] = {}
    for name in NAMES[1:]:
        values = np.array([getattr(row, name) for row in rows])
        there = np.isfinite(values)
        if not there.any():
            continue
        if name in ("clipping", "clipping_before", "speech_share"):
            given[name] = float(np.average(values[there], weights=weights[there]))
        else:
            given[name] = float(np.median(values[there]))
    return Figures(float(weights.sum()), **given)
