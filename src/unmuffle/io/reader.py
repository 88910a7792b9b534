"""Samples out of any media file, block by block.

A :class:`MediaReader` hands out float32 blocks ``(channels, n)`` of a constant length (the last one is shorter) in
memory that does not grow with the file. Three sources hide behind it: our own WAV/raw reader, which also reads from
pipes; libsndfile; and libav for everything else. What they deliver is what the file says, NaN included.
"""

from __future__ import annotations

import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, Final

import av
import numpy as np
import soundfile

from unmuffle.errors import MediaError, NotAudioError, ParameterError, TruncatedError
from unmuffle.io.atomic import is_special
from unmuffle.io.feed import Feed
from unmuffle.io.guard import LIBAV_ERROR, for_sndfile, reading
from unmuffle.io.info import MediaInfo
from unmuffle.io.probe import _probe_sndfile, describe, open_container, open_input, probe, truncated
from unmuffle.io.samples import SAMPLE_BYTES, Samples, decode
from unmuffle.io.wav import WavHeader, read_exactly, read_header

#: Raw sample formats by the names that ffmpeg and sox users know.
RAW_FORMATS: Final = {
    "u8": "PCM_U8", "s8": "PCM_S8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT",
    "f64le": "DOUBLE",
}  # fmt: skip

#: Samples per channel of a block, unless asked otherwise: 1.4 s at 48 kHz.
BLOCK_FRAMES: Final = 65536

# A jump of the time stamps by more than this is a hole in the recording and is filled with silence, so that what
# follows stays in time; smaller ones are jitter of the muxer, larger than the second number broken stamps.
_HOLE_S: Final = (Fraction(1, 10), Fraction(600))


class _Source(ABC):
    """Where blocks come from; their lengths may vary."""

    @abstractmethod
    def blocks(self, frames: int) -> Iterator[Samples]:
        """All samples, once, in order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""


class MediaReader:
    """An open media file or pipe; made by :func:`open_reader`, used as a context manager."""

    def __init__(self, info: MediaInfo, source: _Source, owned: BinaryIO | None = None) -> None:
        self.info = info
        self.frames_read = 0
        self._source = source
        self._owned = owned
        self._started = False

    def blocks(self, frames: int = BLOCK_FRAMES) -> Iterator[Samples]:
        """Yield ``(channels, frames)`` float32 blocks, the last one shorter; can be called once.

        Raises :class:`~unmuffle.errors.TruncatedError` at the end if the file held less than it promised.
        """
        if frames < 1:
            raise ParameterError(f"a block of {frames} samples is none: use at least 1")
        if self._started:
            raise MediaError(f"{self.info.path!r} has been read already: open it again")
        self._started = True
        return self._rechunked(frames)

    def _rechunked(self, frames: int) -> Iterator[Samples]:
        pending: list[Samples] = []
        held = 0
        source = self._source.blocks(frames)
        while True:
            with reading(self.info.path):
                block = next(source, None)
            if block is None:
                break
            pending.append(block)
            held += block.shape[1]
            if held >= frames:
                joined = np.concatenate(pending, axis=1) if len(pending) > 1 else block
                whole = held - held % frames
                for start in range(0, whole, frames):
                    self.frames_read += frames
                    yield np.ascontiguousarray(joined[:, start : start + frames])
                held -= whole
                pending = [joined[:, whole:].copy()] if held else []
        if held:
            self.frames_read += held
            yield np.concatenate(pending, axis=1)

    def share_feed(self) -> Feed | None:
        """The open container, for a writer that copies its other streams; None if it cannot be shared."""
        source = self._source
        if isinstance(source, _LibavSource) and os.path.isfile(self.info.path) and not source.feed.started:
            return source.feed.share()
        return None

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        self._source.close()
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_reader(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    channels: int | None = None,
    raw_format: str | None = None,
    allow_truncated: bool = False,
) -> MediaReader:
    """Open a media file, or ``-`` for standard input.

    ``raw_format`` (``s16le``, ``f32le`` ...) says that the data has no header; then, and only then, ``sample_rate``
    and ``channels`` (default 1) describe it. Standard input without ``raw_format`` is recognised by its header; WAV
    is read as it comes, other formats if they can be read without seeking. ``allow_truncated`` keeps what is there of
    a file that was cut off, instead of raising :class:`~unmuffle.errors.TruncatedError`.
    """
    name = os.fspath(path)
    if raw_format is None and (sample_rate is not None or channels is not None):
        raise ParameterError(
            "sample_rate and channels describe raw samples only: give raw_format too, or resample after reading"
        )
    if raw_format is not None:
        return _open_raw(name, raw_format, sample_rate, 1 if channels is None else channels)
    if name == "-":
        with reading(name):
            return _open_stream(name, sys.stdin.buffer, allow_truncated, close=False)
    if is_special(name):  # a named pipe, or the shell's <(...)
        with reading(name):
            pipe = open(name, "rb")
            try:
                return _open_stream(name, pipe, allow_truncated, close=True)
            except BaseException:
                pipe.close()
                raise
    info = probe(name, allow_truncated=allow_truncated)
    with reading(name):
        if info.container == "wav" and info.sample_format in SAMPLE_BYTES:
            stream = open(name, "rb")
            try:
                header = read_header(stream, name)
            except NotAudioError:
                stream.close()
            except BaseException:
                stream.close()
                raise
            else:
                return MediaReader(info, _WavSource(stream, header, name, allow_truncated, close=True))
        if _probe_sndfile(name) is not None:
            return MediaReader(info, _SndfileSource(name, info.frames, allow_truncated))
        return MediaReader(info, _LibavSource(Feed(open_container(name), info.audio_index), info))


def _open_raw(name: str, raw_format: str, sample_rate: int | None, channels: int) -> MediaReader:
    sample_format = RAW_FORMATS.get(raw_format)
    if sample_format is None:
        raise ParameterError(f"raw format {raw_format!r} is unknown: use one of {', '.join(RAW_FORMATS)}")
    if sample_rate is None or sample_rate < 1 or channels < 1:
        raise ParameterError(
            f"raw samples need a sample rate and channels (got {sample_rate} Hz, {channels}): they have no header"
        )
    header = WavHeader(sample_rate, channels, sample_format, 0, None, False)
    frames = None
    with reading(name):
        if name != "-" and os.path.isfile(name):
            frames = os.path.getsize(name) // header.frame_bytes
        stream: BinaryIO = sys.stdin.buffer if name == "-" else open(name, "rb")
    info = MediaInfo(
        path=name, container="raw", codec="pcm_" + raw_format, sample_rate=sample_rate, channels=channels,
        sample_format=sample_format, frames=frames, duration_s=None if frames is None else frames / sample_rate,
    )  # fmt: skip
    return MediaReader(info, _WavSource(stream, header, name, True, close=name != "-"))


def _open_stream(name: str, raw: BinaryIO, allow_truncated: bool, *, close: bool) -> MediaReader:
    """A pipe: WAV as it comes, other formats as far as libav reads them without seeking."""
    owned = raw if close else None
    head = read_exactly(raw, 12)
    if not head:
        raise NotAudioError(f"{name!r} (a pipe) is empty: the program before it has written nothing")
    stream = _Rewound(head, raw)
    if head[8:] == b"WAVE":
        header = read_header(stream, name)
        frames = None if header.data_bytes is None else header.data_bytes // header.frame_bytes
        info = MediaInfo(
            path=name, container="wav", codec="pcm", sample_rate=header.sample_rate, channels=header.channels,
            sample_format=header.sample_format, channel_layout=header.layout, frames=frames,
            duration_s=None if frames is None else frames / header.sample_rate,
        )  # fmt: skip
        return MediaReader(info, _WavSource(stream, header, name, allow_truncated, close=False), owned)
    container = open_input(stream, {})
    try:
        info = describe(container, name)
        # To know when the sound begins beside a picture, packets were decoded that cannot be read again.
        if len(container.streams) > 1:
            raise NotAudioError(f"{name!r} (a pipe) holds a video or cover art: give the file by its name instead")
    except BaseException:
        container.close()
        raise
    return MediaReader(info, _LibavSource(Feed(container, info.audio_index), info), owned)


class _Rewound(io.RawIOBase, BinaryIO):  # type: ignore[misc]  # RawIOBase is a BinaryIO in all but name
    """A pipe of which the first bytes were looked at and put back."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        if self._head:
            size = len(self._head) if size < 0 else size
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._rest.read(size)

    def readable(self) -> bool:
        """Yes."""
        return True


class _WavSource(_Source):
    """Plain samples behind a parsed header (or without one), from a file or a pipe."""

    def __init__(
        self, stream: BinaryIO, header: WavHeader, name: str, allow_truncated: bool, *, close: bool
    ) -> None:
        self._stream, self._header, self._name = stream, header, name
        self._allow_truncated, self._close = allow_truncated, close

    def blocks(self, frames: int) -> Iterator[Samples]:
        header = self._header
        left = header.data_bytes
        # Broken headers may promise 65535 channels: bound the bytes, not the frames.
        step = max(1, min(frames, (16 << 20) // header.frame_bytes)) * header.frame_bytes
        while left is None or left >= header.frame_bytes:
            want = step if left is None else min(step, left)
            data = read_exactly(self._stream, want)
            if len(data) >= header.frame_bytes:
                yield decode(data, header.sample_format, header.channels)
            if left is not None:
                left -= len(data)
            if len(data) < want:
                if left is not None and left > 0 and not self._allow_truncated:
                    raise truncated(self._name, f"{left} bytes")
                return

    def close(self) -> None:
        if self._close:
            self._stream.close()


class _SndfileSource(_Source):
    """What libsndfile decodes."""

    def __init__(self, name: str, frames: int | None, allow_truncated: bool) -> None:
        self._name, self._frames, self._allow_truncated = name, frames, allow_truncated
        self._file = soundfile.SoundFile(for_sndfile(name))

    def blocks(self, frames: int) -> Iterator[Samples]:
        # libsndfile gives nothing of a call in which libFLAC loses its way: one FLAC block at a time, then.
        most = 4096 if self._file.format == "FLAC" else (4 << 20) // self._file.channels
        step = max(1, min(frames, most))
        done = 0
        while True:
            try:
                block = self._file.read(step, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                # libFLAC loses its way where the file was cut: what came before is good.
                if done and self._allow_truncated:
                    return
                if done:
                    raise truncated(self._name, "its end") from error
                raise
            if len(block):
                done += len(block)
                yield np.ascontiguousarray(block.T)
            if len(block) < step:
                break
        if self._frames is not None and done < self._frames and not self._allow_truncated:
            raise truncated(self._name, f"{self._frames - done} samples")

    def close(self) -> None:
        self._file.close()


class _LibavSource(_Source):
    """What libav decodes: priming and padding are dropped by it, holes are filled by us."""

    def __init__(self, feed: Feed, info: MediaInfo) -> None:
        self.feed, self._info, self._open = feed, info, True
        self._stream = feed.container.streams[info.audio_index]
        self._packed: Any = None  # interleaves many channels, see MANY_PLANES
        self._same: Any = None  # resampler for frames that change rate or channels in the middle

    def blocks(self, frames: int) -> Iterator[Samples]:
        heard, failed = 0, 0
        expected: Fraction | None = None
        rate = self._info.sample_rate
        # MP4 says how long the last packet sounds; libav plays its padding too. One packet is held back to cut it.
        trims = "mov" in self.feed.container.format.name
        held: list[Samples] = []
        surplus = 0
        for packet in self.feed.audio():
            try:
                decoded = packet.decode()
            except LIBAV_ERROR:
                # A damaged packet is a short silence, as in every player. Only when nothing at all can be
                # decoded is it an error.
                failed += 1
                continue
            if decoded and trims:
                yield from held
                held, surplus = [], 0
            for frame in decoded:
                base = frame.time_base or self._stream.time_base
                now = None if frame.pts is None or not base else Fraction(frame.pts * base)
                if now is not None and expected is not None and _HOLE_S[0] < now - expected < _HOLE_S[1]:
                    hole = round((now - expected) * rate)
                    heard += hole
                    yield from _silence(self._info.channels, hole)
                for block in self._samples(frame):
                    heard += block.shape[1]
                    if trims:
                        held.append(block)
                    else:
                        yield block
                if now is not None:
                    expected = now + Fraction(frame.samples, frame.sample_rate or rate)
            if held and expected is not None and packet.pts is not None and packet.duration:
                surplus = round((expected - (packet.pts + packet.duration) * packet.time_base) * rate)
        for index, block in enumerate(held):
            last = index == len(held) - 1
            yield block[:, : block.shape[1] - surplus] if last and 0 < surplus < block.shape[1] else block
        if failed and not heard:
            raise NotAudioError(
                f"{self._info.path!r} holds no sound that can be decoded ({failed} damaged packets): get it again"
            )

    def _samples(self, frame: Any) -> Iterator[Samples]:
        info = self._info
        if frame.sample_rate != info.sample_rate or frame.layout.nb_channels != info.channels:
            if self._same is None:
                layout = info.channel_layout or DEFAULT_LAYOUTS.get(info.channels, f"{info.channels}c")
                self._same = av.AudioResampler(format="flt", layout=layout, rate=info.sample_rate)
            frame.pts = None
            for converted in self._same.resample(frame):
                yield frame_samples(converted)
            return
        if frame.format.is_planar and info.channels >= MANY_PLANES:
            if self._packed is None:
                kind = frame.format.name.removesuffix("p")
                self._packed = av.AudioResampler(format=kind, layout=frame.layout, rate=info.sample_rate)
            frame.pts = None
            for converted in self._packed.resample(frame):
                yield frame_samples(converted)
            return
        yield frame_samples(frame)

    def close(self) -> None:
        if self._open:
            self._open = False
            self.feed.release()


def _silence(channels: int, count: int) -> Iterator[Samples]:
    while count > 0:
        part = min(count, BLOCK_FRAMES)
        yield np.zeros((channels, part), dtype=np.float32)
        count -= part


#: From this many channels on PyAV must not touch planar frames: it counts planes up to a null pointer, and libav's
#: array of eight has none behind it (a crash, not an exception). Interleaved frames have one plane.
MANY_PLANES: Final = 8

#: The loudspeakers that n channels mean when a file does not say.
DEFAULT_LAYOUTS: Final = {
    1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
}  # fmt: skip


def frame_samples(frame: Any) -> Samples:
    """A libav frame as ``(channels, n)`` float32."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype == np.uint8:
        data = (data.astype(np.float32) - 128.0) / 128.0
    elif data.dtype.kind == "i":
        data = data.astype(np.float32) / np.float32(2.0 ** (8 * data.dtype.itemsize - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(data, dtype=np.float32, order="C")


__all__ = ["BLOCK_FRAMES", "RAW_FORMATS", "MediaReader", "TruncatedError", "open_reader"]
