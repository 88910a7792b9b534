"""Media files through an enhancer: block by block, in constant memory, whole or not at all."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..enhancers.base import Enhancer, Stream, aligned
from ..enhancers.registry import load
from ..errors import InputError, MediaNotFoundError, NonFiniteError, OutputError, ParameterError, UnmuffleError
from ..io import MediaInfo, MediaReader, MediaWriter, has_long_index, open_reader, open_writer, quantise
from ..noise.profile import NoiseProfile, profile_from
from ..signal.blocks import Fifo, Samples
from ..signal.compiled import keep_large_apart, release
from ..signal.stft import StftSpec
from .options import Options

BLOCK_S = 1.0
"""Seconds of sound in memory at a time."""

SHORT_BLOCK_S = 0.1
"""The same beside the index of a long video, which takes 100 MB by itself."""

_USUAL_RATE = 48_000

CEILING_DBTP = -1.0
"""True peak that a loudness-normalised file does not exceed (EBU R128)."""

COMPANDED = ("LOSSY", "ULAW", "ALAW")
"""Sample formats without an even grid: there, output and residual add up to the input only nearly."""

Progress = Callable[[float, "float | None"], None]
"""Called with the seconds done and the seconds in all (``None``: unknown, as in a pipe)."""


@dataclass(frozen=True)
class Report:
    """What was done to a file.

    Attributes:
        source, output: names, ``-`` for pipes.
        method: the enhancer's key: name and every parameter.
        sample_rate, channels, seconds: of the sound that was written (an array method writes fewer
            channels than it reads).
        elapsed_s: time it took.
        latency_ms: delay that was compensated.
        clipped: samples that lay beyond full scale of the output's integer format and stopped there.
        notes: what is not as in the source (a container that cannot hold its format, for example).
    """

    source: str
    output: str
    method: str
    sample_rate: int
    channels: int
    seconds: float
    elapsed_s: float
    latency_ms: float
    clipped: int
    notes: list[str] = field(default_factory=list)

    @property
    def real_time_factor(self) -> float:
        """Time taken per second of sound."""
        return self.elapsed_s / self.seconds if self.seconds else math.nan


def enhance_file(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    method: str | Enhancer = "auto",
    *,
    strength_db: float = math.inf,
    repair: Iterable[str] = (),
    stereo: str = "linked",
    profile: NoiseProfile | tuple[float, float] | str | os.PathLike[str] | None = None,
    loudness_lufs: float | None = None,
    residual: str | os.PathLike[str] | None = None,
    in_place: bool = False,
    allow_truncated: bool = False,
    raw_format: str | None = None,
    raw_rate: int | None = None,
    raw_channels: int | None = None,
    progress: Progress | None = None,
    **params: Any,
) -> Report:
    """Enhance the sound of a media file; everything else in it stays as it is.

    The output keeps rate, channels, sample format, length and tags, and a video its picture and
    subtitles, untouched. It is written under a temporary name and renamed when it is whole.

    Args:
        source, output: files, or ``-`` for standard input and output (WAV, or raw with ``raw_format``).
            The extension of ``output`` chooses another format if it differs.
        method, strength_db, repair, stereo, loudness_lufs, params: as in :func:`unmuffle.enhance`.
        profile: where the noise is alone: ``(start_s, stop_s)`` in the source, or another file of noise.
        residual: also write what was removed; ``output + residual = source``, sample by sample, in the
            output's sample format (lossy formats excepted).
        in_place: allow ``output`` to be ``source``.
        allow_truncated: use what is there of a file that was cut off.
        raw_format, raw_rate, raw_channels: ``s16le`` or ``f32le`` samples without a header.
        progress: called after each block.

    Raises:
        MediaError: the source cannot be read or the output cannot be written; nothing was changed.
        InputError: the sound cannot be used (NaN, rate, channels).
        ParameterError: an unknown method, parameter or value.
    """
    started = time.perf_counter()
    source, output = os.fspath(source), os.fspath(output)
    _check_names(source, output, residual, in_place, loudness_lufs)

    def reader() -> MediaReader:
        return open_reader(
            source,
            sample_rate=raw_rate,
            channels=raw_channels,
            raw_format=raw_format,
            allow_truncated=allow_truncated,
        )

    # A compiler is loaded, has done its work and has given its memory back before a long file's index takes as much.
    Options(method, params, repair=tuple(repair)).enhancer(1).warm()
    long = has_long_index(source)
    if long:
        _settle(Options(method, params, repair=tuple(repair)))
    heard = [0.0]  # seconds before the block that is being worked on
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(reader())
            if long:
                release()  # of what only the building of the index needed
            info: MediaInfo = opened.info
            total = None if info.frames is None else info.frames / info.sample_rate
            found = _profile(profile, source, info)
            options = Options(method, params, strength_db, tuple(repair), stereo, found, loudness_lufs)
            enhancer = options.enhancer(info.channels)
            # A compiler beside a long index would be too much memory.
            expected = None if long or not info.frames else info.frames
            stream = enhancer.stream(info.sample_rate, info.channels, usual_size=expected)
            stream.set_strength(strength_db)
            latency_ms, made = stream.latency_ms, stream.channels_out
            frames = max(1, round((SHORT_BLOCK_S if long else BLOCK_S) * info.sample_rate))
            offset, share, gain = 0.0, 1.0, 1.0
            if loudness_lufs is not None:
                # The loudness is known only after the last sample: a first pass measures, a second writes.
                offset = share = 0.5
                with reader() as first:
                    measured = _counted(first.blocks(frames), info, total, progress, heard, 0.0, share)
                    gain = _loudness_gain(aligned(stream, measured), info.sample_rate, made, loudness_lufs)
            # Given the reader itself, the writer of a video takes the picture from the same pass over the file.
            writer = stack.enter_context(
                open_writer(output, opened, channels=made, length=info.frames, raw_format=raw_format)
            )
            if long:
                release()  # and of what only opening them needed
            taken = None
            if residual is not None:
                taken = stack.enter_context(_open_residual(residual, info, made, writer.sample_format))
            kept = Fifo(made)
            blocks = _counted(opened.blocks(frames), info, total, progress, heard, offset, share)
            if taken is not None:
                blocks = _kept(blocks, stream, kept)
            enhanced = aligned(stream, blocks)
            if loudness_lufs is not None:
                limiter = load("limiter", ceiling_dbtp=CEILING_DBTP).stream(info.sample_rate, made)
                enhanced = aligned(limiter, (b * np.float32(gain) for b in enhanced))
            for out in enhanced:
                if taken is not None:
                    if writer.sample_format not in COMPANDED:
                        out = quantise(out, writer.sample_format)
                    taken.write(kept.pop(out.shape[1]) - out)
                writer.write(out)
            written = writer.frames_written
        except NonFiniteError as error:
            # A block-relative place means nothing to whoever has the file.
            raise NonFiniteError(f"{source!r}, in the block from {heard[0]:.3f} s on: {error}") from None
        except InputError as error:
            raise type(error)(f"{source!r}: {error}") from None
    if progress is not None:
        progress(written / info.sample_rate, written / info.sample_rate)
    return Report(
        source,
        output,
        enhancer.key(),
        info.sample_rate,
        made,
        written / info.sample_rate,
        time.perf_counter() - started,
        latency_ms,
        writer.clipped,
        list(writer.notes),
    )


def _settle(options: Options) -> None:
    """Run a method for a moment, and give back the memory that only the loading of networks and libraries took."""
    keep_large_apart()
    silence = np.zeros((2, round(SHORT_BLOCK_S * _USUAL_RATE)), np.float32)
    with suppress(UnmuffleError):  # it wants other channels, say: whoever enhances the file is told why
        options.enhancer(len(silence)).stream(_USUAL_RATE, len(silence)).process(silence)
    gc.collect()
    release()


def _check_names(
    source: str,
    output: str,
    residual: str | os.PathLike[str] | None,
    in_place: bool,
    loudness: float | None,
) -> None:
    if source != "-" and not os.path.lexists(source):
        raise MediaNotFoundError(f"{source!r} does not exist; check the name and the folder")
    names = [output] if residual is None else [output, os.fspath(residual)]
    if len(names) == 2 and (names[0] == names[1] or os.path.realpath(names[0]) == os.path.realpath(names[1])):
        raise ParameterError(f"{output!r} cannot be both the output and the residual; give two names")
    for name in names:
        same = name != "-" and source != "-" and os.path.exists(name) and os.path.samefile(name, source)
        if same and not (in_place and name == output):
            raise OutputError(f"{name!r} is the input itself; choose another name, or allow it with --in-place")
    if loudness is not None and source == "-":
        raise ParameterError("loudness needs to hear everything before it writes: give a file instead of a pipe")
    if loudness is not None and residual is not None:
        raise ParameterError(
            "a residual completes the output only at an unchanged level: set the loudness in a second run"
        )


def _open_residual(
    path: str | os.PathLike[str], info: MediaInfo, channels: int, sample_format: str
) -> MediaWriter:
    """A writer for what is removed: in the output's sample format, without picture, cover and tags."""
    like = replace(info, path="-", has_video=False, has_cover=False, audio_tracks=1)
    exact = None if sample_format in COMPANDED else sample_format
    return open_writer(path, like, channels=channels, length=info.frames, sample_format=exact)


def _counted(
    blocks: Iterable[Samples],
    info: MediaInfo,
    total: float | None,
    progress: Progress | None,
    heard: list[float],
    offset: float = 0.0,
    share: float = 1.0,
) -> Iterator[Samples]:
    done = 0
    for block in blocks:
        heard[0] = done / info.sample_rate
        yield block
        done += block.shape[1]
        if progress is not None:
            seconds = done / info.sample_rate
            progress(seconds if total is None else offset * total + share * seconds, total)


def _kept(blocks: Iterable[Samples], stream: Stream, kept: Fifo) -> Iterator[Samples]:
    for block in blocks:
        kept.push(stream.dry(block))
        yield block


def _loudness_gain(blocks: Iterable[Samples], sample_rate: int, channels: int, target: float) -> float:
    from ..signal.loudness import LoudnessMeter

    meter = LoudnessMeter(sample_rate, channels)
    for block in blocks:
        meter.push(block)
    found = meter.integrated()
    return 1.0 if not math.isfinite(found) else float(10.0 ** ((target - found) / 20.0))


def _profile(profile: Any, source: str, info: MediaInfo) -> NoiseProfile | None:
    """The noise profile that was asked for: measured, a span of the source, or a whole other file."""
    if profile is None or isinstance(profile, NoiseProfile):
        return profile
    if isinstance(profile, tuple):
        if source == "-":
            raise ParameterError("a noise span needs a file that can be read twice: give a file instead of a pipe")
        start, stop = (float(v) for v in profile)
        return measure_profile(source, start, stop)
    return measure_profile(profile)


def measure_profile(
    path: str | os.PathLike[str], start_s: float = 0.0, stop_s: float | None = None, *, longest_s: float = 120.0
) -> NoiseProfile:
    """Measure the noise in a span of a file (at most ``longest_s`` of it are kept in memory)."""
    with open_reader(path) as reader:
        rate = reader.info.sample_rate
        if not (math.isfinite(start_s) and start_s >= 0) or (stop_s is not None and not stop_s > start_s):
            raise ParameterError(f"noise span {start_s} to {stop_s} s is empty; give start-stop in seconds")
        first = round(start_s * rate)
        last = first + round(longest_s * rate)
        if stop_s is not None:
            last = min(last, round(stop_s * rate))
        parts, position = [], 0
        for block in reader.blocks(rate):
            part = block[:, max(0, first - position) : max(0, last - position)]
            if part.shape[1]:
                parts.append(part)
            position += block.shape[1]
            if position >= last:
                break
    held = sum(p.shape[1] for p in parts)
    if held < StftSpec().at(rate).size or (stop_s is not None and position < round(stop_s * rate)):
        raise ParameterError(
            f"noise span {start_s:g} to {'the end' if stop_s is None else f'{stop_s:g} s'} does not lie inside "
            f"{Path(path).name!r}, or is shorter than 20 ms"
        )
    return profile_from(np.concatenate(parts, axis=1), rate)
