"""Samples into a file of the same kind as the one they came from.

:func:`open_writer` takes the description of the source and chooses so that as much as possible stays: container, codec,
sample format, rate, channels and their layout, bit rate, tags, cover, and in a video everything but the sound. The
extension of the destination may ask for another container; what changes for that reason is told in
:attr:`MediaWriter.notes`. Files appear whole or not at all (:mod:`unmuffle.io.atomic`).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from types import TracebackType
from typing import BinaryIO, Final

import av
import numpy as np

from unmuffle.errors import DtypeError, NonFiniteError, OutputError, ParameterError, ShapeError, UnmuffleError
from unmuffle.io import mp4
from unmuffle.io.atomic import AtomicFile, is_special
from unmuffle.io.formats import ENCODERS, LOSSLESS, Container, container_for, family
from unmuffle.io.guard import writing
from unmuffle.io.info import MediaInfo
from unmuffle.io.reader import RAW_FORMATS, MediaReader
from unmuffle.io.samples import INTEGER_BITS, SAMPLE_BYTES, Samples, count_clipped
from unmuffle.io.sinks import LibavSink, ResamplingSink, Sink, SndfileSink, VorbisSink, WavSink
from unmuffle.io.wav import LAYOUT_MASKS, chunks_after, pack_tags, read_header

# Bits per second when the source does not say: transparent for speech, and safe for stereo music.
_DEFAULT_BIT_RATE: Final = 128_000
# What the encoders take, per channel: (least, most).
_BIT_RATES: Final = {
    "opus": (6_000, 256_000), "mp3": (8_000, 320_000), "aac": (8_000, 288_000), "ac3": (32_000, 640_000),
}  # fmt: skip


class MediaWriter:
    """An output file or pipe; made by :func:`open_writer`, used as a context manager.

    Leaving the ``with`` block normally makes the file appear; leaving it by an exception leaves no trace.
    """

    def __init__(
        self, name: str, sink: Sink, channels: int, sample_format: str, notes: list[str], files: list[AtomicFile]
    ) -> None:
        self.name = name
        self.sample_format = sample_format
        """How samples are stored (see :mod:`unmuffle.io.samples`), or ``LOSSY``."""
        self.notes = notes
        """One line for each thing that is not as in the source."""
        self.clipped = 0
        """Samples so far that lay beyond full scale of an integer format and stopped there."""
        self.frames_written = 0
        self._sink: Sink | None = sink
        self._channels = channels
        self._files = files  # the first is the destination, others are interim

    def write(self, block: Samples) -> None:
        """Append ``(channels, n)`` (or, for one channel, ``(n,)``) float samples."""
        if self._sink is None:
            raise OutputError(f"{self.name!r} is closed: open another writer")
        block = np.asarray(block)
        if block.dtype.kind != "f":
            raise DtypeError(f"a block of {block.dtype} cannot be written: convert it to float32 in [-1, 1]")
        block = np.atleast_2d(block).astype(np.float32, copy=False)
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise ShapeError(
                f"a block of shape {block.shape} does not fit {self._channels} channels: write (channels, samples)"
            )
        if self.sample_format not in ("FLOAT", "DOUBLE") and not np.isfinite(block).all():
            raise NonFiniteError(
                f"the block holds NaN or infinity, which {self.name!r} ({self.sample_format}) cannot store: "
                "repair it, or write FLOAT"
            )
        self.clipped += count_clipped(block, self.sample_format)
        with writing(self.name):
            self._sink.write(block)
        self.frames_written += block.shape[1]

    def close(self) -> None:
        """Make the file whole and give it its name; harmless when repeated."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            with writing(self.name):
                sink.finish()
            if self._files:
                self._files[0].commit()
        except BaseException:
            sink.abandon()
            raise
        finally:
            self._discard()

    def abandon(self) -> None:
        """Remove what was written; an existing destination stays as it was."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.abandon()
        self._discard()

    def _discard(self) -> None:
        for file in self._files:
            file.discard()  # harmless for the one that was committed

    def __enter__(self) -> MediaWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def open_writer(
    dst: str | os.PathLike[str],
    like: MediaInfo | MediaReader,
    *,
    channels: int | None = None,
    length: int | None = None,
    sample_format: str | None = None,
    bit_rate: int | None = None,
    raw_format: str | None = None,
) -> MediaWriter:
    """Open ``dst`` (or ``-``: standard output) for samples like those of ``like``.

    ``like`` is the description of the source, or its reader: with the reader, opened but not yet read from, a video is
    read once for both and a long one takes half the memory.
    ``channels``: how many, if not those of the source (whose loudspeaker layout then means nothing).
    ``length``: samples per channel, if known; a WAV header in a pipe then states it. ``sample_format`` and ``bit_rate``
    override the source's. ``raw_format`` (``s16le``, ``f32le`` ...) writes samples without a header. If ``like.path``
    is a file, its tags and cover come along, and its picture if both are videos.
    """
    name = os.fspath(dst)
    reader = like if isinstance(like, MediaReader) else None
    like = like.info if isinstance(like, MediaReader) else like
    if channels is not None and channels != like.channels:
        like = replace(like, channels=channels, channel_layout=None)
    if sample_format is not None and sample_format not in SAMPLE_BYTES:
        raise ParameterError(f"sample format {sample_format!r} is unknown: use one of {', '.join(SAMPLE_BYTES)}")
    if raw_format is not None and raw_format not in RAW_FORMATS:
        raise ParameterError(f"raw format {raw_format!r} is unknown: use one of {', '.join(RAW_FORMATS)}")
    if raw_format is not None:
        sample_format = RAW_FORMATS[raw_format]
    notes: list[str] = []
    if name == "-" or is_special(name):
        stored = sample_format or _pcm_format(like, notes)
        with writing(name):
            stream: BinaryIO = sys.stdout.buffer if name == "-" else open(name, "wb")
            sink: Sink = WavSink(
                stream, like.sample_rate, like.channels, stored, header=raw_format is None, seekable=False,
                close=name != "-", length=length, channel_mask=_mask(like),
            )  # fmt: skip
        return MediaWriter(name, sink, like.channels, stored, notes, [])
    container = Container("raw", ("pcm",)) if raw_format is not None else container_for(name)
    files = [AtomicFile(name)]
    try:
        with writing(name):
            sink, stored = _open_sink(name, files, container, like, reader, length, sample_format, bit_rate, notes)
    except BaseException:
        for file in files:
            file.discard()
        raise
    return MediaWriter(name, sink, like.channels, stored, notes, files)


def _open_sink(
    name: str, files: list[AtomicFile], container: Container, like: MediaInfo, reader: MediaReader | None,
    length: int | None, sample_format: str | None, bit_rate: int | None, notes: list[str],
) -> tuple[Sink, str]:  # fmt: skip
    source = like.path if like.path != "-" and os.path.isfile(like.path) and like.container != "raw" else None
    carry = container.picture and like.has_video and source is not None
    # Looking for a cover opens the file once more, which takes memory where the index is long.
    with_cover = source if like.has_cover else None
    if like.has_video and not carry:
        notes.append("the picture was left out: the output is an audio file")
    codec = _choose_codec(container, like, sample_format, notes)
    target = str(files[0].temporary)
    companded = sample_format is None and like.sample_format in ("ULAW", "ALAW")
    if container.muxer in ("wav", "raw") and not companded:
        stored = sample_format or _pcm_format(like, notes)
        if container.muxer == "wav" and stored == "PCM_S8":
            stored = "PCM_U8"  # WAV knows 8 bits without sign only
        return _wav_sink(name, target, container, like, stored, source), stored
    bits: int | None = None
    stored = "LOSSY"
    if codec in ("pcm", "pcm_be"):
        stored = like.sample_format if companded else sample_format or _pcm_format(like, notes)
        if container.muxer == "w64":
            stored = "PCM_U8" if stored == "PCM_S8" else stored
            return SndfileSink(target, like.sample_rate, like.channels, stored, "W64"), stored
        encoder = _pcm_encoder(stored, big=codec == "pcm_be", container=container)
        bits = INTEGER_BITS.get(stored, 16 if stored in ("ULAW", "ALAW") else None)
    elif codec in LOSSLESS:
        stored = sample_format or _pcm_format(like, notes)
        if INTEGER_BITS.get(stored, 99) > LOSSLESS[codec]:
            notes.append(f"{stored} became PCM_24, the widest that {codec} holds")
            stored = "PCM_24"
        elif stored in ("PCM_U8", "PCM_S8"):
            stored = "PCM_16"
        bits = INTEGER_BITS[stored]
        encoder = ENCODERS[codec]
    elif codec == "vorbis":
        encoder = "vorbis"
    else:
        encoder = ENCODERS[codec]
    rate = _encoder_rate(encoder, like.sample_rate)
    if rate != like.sample_rate:
        notes.append(f"{like.sample_rate} Hz became {rate} Hz: {codec} does not know the former")
    per_second = _bit_rate(codec, like, bit_rate)
    sink: Sink
    if codec == "vorbis":
        interim = AtomicFile(name)
        files.append(interim)
        sink = VorbisSink(
            str(interim.temporary), target, rate, like.channels, bit_rate=per_second, tags=like.tags, source=with_cover
        )
    else:
        seconds = length / like.sample_rate if length is not None else like.duration_s or 0.0
        fragments = container.muxer in ("mp4", "mov") and seconds > mp4.FRAGMENT_HOURS * 3600 and codec != "mp3"
        fragments = fragments and not (carry and source is not None and not mp4.edits_are_simple(source))
        if fragments:
            notes.append(f"written as fragmented MP4, because it is longer than {mp4.FRAGMENT_HOURS:g} hours")
        sink = LibavSink(
            target, container.muxer, encoder, rate, like.channels, layout=like.channel_layout, bits=bits,
            bit_rate=per_second if stored == "LOSSY" else None, tags=like.tags,
            source=source if carry else with_cover, carry=carry,
            cover=container.cover, audio_index=like.audio_index, start_s=like.start_s if carry else Fraction(0),
            brand=container.brand, feed=reader.share_feed() if carry and reader is not None else None,
            fragments=fragments, notes=notes,
        )  # fmt: skip
    if rate != like.sample_rate:
        sink = ResamplingSink(sink, like.sample_rate, rate, like.channels)
    return sink, stored


def _choose_codec(container: Container, like: MediaInfo, sample_format: str | None, notes: list[str]) -> str:
    own = family(like.codec)
    if own == "flac" and container.muxer == "ogg" and like.container != "ogg":
        own = ""  # FLAC inside Ogg is rare: only where it was
    for candidate in (own, "pcm_be" if own == "pcm" else own):
        if candidate in container.codecs:
            return candidate
    chosen = container.codecs[0]
    if like.has_video and container.picture:
        notes.append(f"the sound is {chosen} instead of {like.codec}, which cannot be written there")
    return chosen


def _pcm_format(like: MediaInfo, notes: list[str]) -> str:
    """The source's sample format, or 16 bits for decoded lossy sound."""
    if like.sample_format in SAMPLE_BYTES:
        return like.sample_format
    if like.sample_format != "LOSSY":
        notes.append(f"{like.sample_format} became PCM_16")
    return "PCM_16"


def _pcm_encoder(stored: str, *, big: bool, container: Container) -> str:
    order = "be" if big else "le"
    table = {
        "PCM_U8": "pcm_u8" if container.muxer in ("wav", "w64") else "pcm_s8", "PCM_S8": "pcm_s8",
        "PCM_16": f"pcm_s16{order}", "PCM_24": f"pcm_s24{order}", "PCM_32": f"pcm_s32{order}",
        "FLOAT": f"pcm_f32{order}", "DOUBLE": f"pcm_f64{order}", "ULAW": "pcm_mulaw", "ALAW": "pcm_alaw",
    }  # fmt: skip
    return table[stored]


def _encoder_rate(encoder: str, rate: int) -> int:
    """The rate itself if the encoder knows it, else the next higher one, else the highest."""
    if encoder == "vorbis" or encoder.startswith("pcm_"):
        return rate
    rates = sorted(av.codec.Codec(encoder, "w").audio_rates or [])
    if not rates or rate in rates:
        return rate
    return next((candidate for candidate in rates if candidate > rate), rates[-1])


def _bit_rate(codec: str, like: MediaInfo, asked: int | None) -> int:
    wanted = asked or (like.bit_rate if like.sample_format == "LOSSY" else None)
    wanted = wanted or max(_DEFAULT_BIT_RATE, 64_000 * like.channels)
    least, most = _BIT_RATES.get(codec, (8_000, 500_000))
    count = 1 if codec in ("mp3", "ac3") else like.channels
    return int(min(max(wanted, least * count), most * count))


def _mask(like: MediaInfo) -> int:
    """Loudspeakers, where it is not plain that they are one or two."""
    return LAYOUT_MASKS.get(like.channel_layout or "", 0) if like.channels > 2 else 0


def _wav_sink(
    name: str, target: str, container: Container, like: MediaInfo, stored: str, source: str | None
) -> WavSink:
    before: list[tuple[bytes, bytes]] = []
    after: list[tuple[bytes, bytes]] = []
    mask = _mask(like)
    if source is not None and like.container == "wav":
        with suppress(UnmuffleError, OSError), open(source, "rb") as stream:
            header = read_header(stream, source)
            before = list(header.chunks)
            mask = header.channel_mask if header.channels == like.channels else 0
            after = chunks_after(stream, header)
    else:
        tags = pack_tags(dict(like.tags))
        before = [(tags[:4], tags[8:])] if tags else []
    out: BinaryIO = open(target, "wb")
    try:
        return WavSink(
            out, like.sample_rate, like.channels, stored, header=container.muxer == "wav", channel_mask=mask,
            chunks_before=before, chunks_after=after, force_rf64=name.lower().endswith(".rf64"),
        )  # fmt: skip
    except BaseException:
        out.close()
        raise
