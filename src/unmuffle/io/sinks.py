"""Where written blocks go: WAV and raw samples (files and pipes), libav encoders, and Vorbis.

A sink takes float32 blocks ``(channels, n)`` at its own rate and knows nothing of names: it writes to the temporary
file, or pipe, that it is given. :mod:`unmuffle.io.writer` chooses and owns it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from typing import Any, BinaryIO, Final

import av
import numpy as np
import soundfile
import soxr

from unmuffle.errors import OutputError
from unmuffle.io.carry import Carrier, add_covers, cover_text
from unmuffle.io.feed import Feed
from unmuffle.io.guard import LIBAV_ERROR, for_libav, for_sndfile
from unmuffle.io.mp4 import FRAGMENT_OPTIONS
from unmuffle.io.probe import flags_of
from unmuffle.io.reader import DEFAULT_LAYOUTS, MANY_PLANES
from unmuffle.io.samples import INTEGER_BITS, Samples, encode, to_integers
from unmuffle.io.vorbis import rewrite_comments
from unmuffle.io.wav import pack_chunk, pack_header


class Sink(ABC):
    """Takes blocks; :meth:`finish` makes the file whole, :meth:`abandon` lets go of it as it is."""

    @abstractmethod
    def write(self, block: Samples) -> None:
        """Take the next block."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is held back and close the file."""

    @abstractmethod
    def abandon(self) -> None:
        """Close without finishing; never raises."""


class WavSink(Sink):
    """WAV, RF64 or headerless samples, into a file or a pipe."""

    def __init__(
        self,
        stream: BinaryIO,
        sample_rate: int,
        channels: int,
        sample_format: str,
        *,
        header: bool = True,
        seekable: bool = True,
        close: bool = True,
        length: int | None = None,
        channel_mask: int = 0,
        chunks_before: list[tuple[bytes, bytes]] | None = None,
        chunks_after: list[tuple[bytes, bytes]] | None = None,
        force_rf64: bool = False,
    ) -> None:
        self._stream, self._format, self._channels = stream, sample_format, channels
        self._header, self._seekable, self._frames, self._close = header, seekable, 0, close
        self._length = length
        before = b"".join(pack_chunk(*chunk) for chunk in chunks_before or [])
        self._after = b"".join(pack_chunk(*chunk) for chunk in chunks_after or [])

        def make(frames: int | None) -> bytes:
            return pack_header(
                sample_rate, channels, sample_format, channel_mask=channel_mask, frames=frames, chunks=before,
                trailing=len(self._after), force_rf64=force_rf64,
            )  # fmt: skip

        self._make: Callable[[int | None], bytes] = make
        if header:
            stream.write(make(length))

    def write(self, block: Samples) -> None:
        """Take the next block."""
        self._stream.write(encode(block, self._format))
        if not self._seekable:
            self._stream.flush()  # whoever listens at the other end of the pipe waits for it
        self._frames += block.shape[1]

    def finish(self) -> None:
        """Write what is held back and close the file."""
        if self._header:
            data = len(encode(np.zeros((self._channels, 1), dtype=np.float32), self._format)) * self._frames
            # Behind samples of unstated length nothing can follow.
            if self._seekable or self._length == self._frames:
                self._stream.write(b"\0" * (data % 2) + self._after)
            if self._seekable:
                self._stream.seek(0)
                self._stream.write(self._make(self._frames))
        self._stream.flush()
        if self._close:
            self._stream.close()

    def abandon(self) -> None:
        """Close as it is."""
        if self._close:
            with suppress(OSError):
                self._stream.close()


class ResamplingSink(Sink):
    """In front of a sink that cannot run at the source's rate; keeps time and the rounded length."""

    def __init__(self, sink: Sink, rate_in: int, rate_out: int, channels: int) -> None:
        self._sink, self._rates, self._channels = sink, (rate_in, rate_out), channels
        self._soxr: Any = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")
        self._taken = self._given = 0

    def write(self, block: Samples) -> None:
        """Take the next block."""
        self._taken += block.shape[1]
        self._pass(self._soxr.resample_chunk(np.ascontiguousarray(block.T)))

    def _pass(self, chunk: Samples) -> None:
        if len(chunk):
            self._given += len(chunk)
            self._sink.write(np.ascontiguousarray(chunk.reshape(-1, self._channels).T))

    def finish(self) -> None:
        """Write what is held back and close the file."""
        rest = self._soxr.resample_chunk(np.zeros((0, self._channels), dtype=np.float32), last=True)
        due = round(Fraction(self._taken * self._rates[1], self._rates[0])) - self._given
        rest = rest.reshape(-1, self._channels)[:due]
        self._pass(np.pad(rest, ((0, max(0, due - len(rest))), (0, 0))))
        self._sink.finish()

    def abandon(self) -> None:
        """Close as it is."""
        self._sink.abandon()


_FRAME_DTYPES: Final = {"s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64, "u8": np.uint8}
# Encoders that keep their last samples (this many) to themselves unless more come.
_UNFLUSHED: Final = {"ac3": 256, "mp2": 481}
# Samples per frame for encoders that take any number.
_FREE_FRAME: Final = 4096


class _Rechunker:
    """Blocks of any length in, blocks of one length out: encoders then do the same however they are fed."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._pending: list[Samples] = []
        self._held = 0

    def push(self, block: Samples) -> Iterator[Samples]:
        self._held += block.shape[1]
        if self._held < self._length:
            self._pending.append(block.copy())  # the caller may use its array again
            return
        joined = np.concatenate([*self._pending, block], axis=1)
        whole = self._held - self._held % self._length
        self._pending, self._held = [joined[:, whole:].copy()], self._held - whole
        for start in range(0, whole, self._length):
            yield joined[:, start : start + self._length]

    def rest(self) -> Samples | None:
        return np.concatenate(self._pending, axis=1) if self._held else None


class LibavSink(Sink):
    """An encoder and a container of libav; beside a picture also the other streams of the source."""

    def __init__(
        self,
        target: str,
        muxer: str,
        encoder: str,
        sample_rate: int,
        channels: int,
        *,
        layout: str | None,
        bits: int | None = None,
        bit_rate: int | None = None,
        tags: Mapping[str, str] | None = None,
        source: str | None = None,
        carry: bool = False,
        cover: bool = False,
        audio_index: int = 0,
        start_s: Fraction = Fraction(0),
        brand: str | None = None,
        feed: Feed | None = None,
        fragments: bool = False,
        notes: list[str],
    ) -> None:
        self._channels, self._bits, self._rate = channels, bits, sample_rate
        self._packets = 0
        self._position = round(start_s * sample_rate)
        self._start = self._position
        # ADTS, MPEG-TS and AVI have no way to say "drop the first 1024 samples", nor has libav's MP4 muxer when the
        # sound begins late: the priming packet is left out instead, which costs the first frame its fade-in.
        self._drop_priming = muxer in ("adts", "mpegts", "avi") or (muxer in ("mp4", "mov") and start_s > 0)
        # Matroska counts milliseconds and rounds our time stamp and the encoder's delay separately.
        self._whole_ms = muxer in ("matroska", "webm") and start_s != 0
        self._shift: int | None = None
        self._carrier: Carrier | None = None
        options: dict[str, str] = {}
        if muxer in ("mp4", "mov"):
            # Edit lists count in this unit: with milliseconds (the default) no track would end on the sample.
            options["movie_timescale"] = str(sample_rate)
            if fragments:
                options.update(FRAGMENT_OPTIONS)
        if brand is not None:
            options["brand"] = brand
        if muxer in ("mp3", "aiff"):
            options["id3v2_version"] = "3"  # what every player reads
        if muxer == "aiff":
            options["write_id3v2"] = "1"
        self._out: Any = av.open(for_libav(target, write=True), "w", format=muxer, container_options=options)
        try:
            self._open(encoder, layout, bit_rate, tags, source, carry, cover, audio_index, feed, notes)
        except BaseException:
            self.abandon()
            raise

    def _open(
        self, encoder: str, layout: str | None, bit_rate: int | None, tags: Mapping[str, str] | None,
        source: str | None, carry: bool, cover: bool, audio_index: int, feed: Feed | None,
        notes: list[str],
    ) -> None:  # fmt: skip
        out = self._out
        out.metadata.update({key: value for key, value in (tags or {}).items() if key.lower() not in MUXER_TAGS})
        pictures: list[Any] = []
        if source is not None and carry:
            self._carrier = Carrier(source, audio_index, feed)
            for stream in self._carrier.streams:
                if stream.index == audio_index:
                    self._audio = self._add_audio(encoder, layout, bit_rate)
                    self._audio.metadata.update(
                        {k: v for k, v in stream.metadata.items() if k.lower() not in MUXER_TAGS}
                    )
                    with suppress(AttributeError, ValueError):
                        self._audio.disposition = flags_of(stream)
                else:
                    self._carrier.add_to(out, stream, notes)
            self._carrier.ready()
            self._carrier.chapters_to(out)
        else:
            self._audio = self._add_audio(encoder, layout, bit_rate)
            if source is not None and cover:
                pictures = add_covers(out, source)
            elif source is not None and out.format.name in ("ogg", "opus"):
                picture = cover_text(source)
                if picture is not None:
                    out.metadata["METADATA_BLOCK_PICTURE"] = picture
        out.start_encoding()
        for packet in pictures:
            out.mux(packet)
        context = self._audio.codec_context
        self._frames = _Rechunker(context.frame_size or _FREE_FRAME)
        self._kind = context.format.name
        self._layout = context.layout
        self._base = Fraction(1, self._rate)

    def _add_audio(self, encoder: str, layout: str | None, bit_rate: int | None) -> Any:
        codec = av.codec.Codec(encoder, "w")
        kinds = [kind.name for kind in codec.audio_formats or []]
        wanted = _wanted_kinds(encoder, self._bits)
        kind = next((k for k in wanted if k in kinds), kinds[0] if kinds else "flt")
        stream = self._out.add_stream(encoder, rate=self._rate)
        context = stream.codec_context
        context.format = kind
        context.layout = _layout_for(encoder, layout, self._channels)
        context.time_base = Fraction(1, self._rate)
        if bit_rate:
            context.bit_rate = bit_rate
        if self._bits is not None and kind.startswith("s32"):
            context.options = {**context.options, "bits_per_raw_sample": str(min(24, self._bits))}
        return stream

    def write(self, block: Samples) -> None:
        """Take the next block."""
        for frame in self._frames.push(block):
            self._encode(frame)

    def _encode(self, samples: Samples) -> None:
        kind = self._kind.removesuffix("p")
        dtype = _FRAME_DTYPES[kind]
        data: Any
        if dtype == np.int16 or dtype == np.int32:
            width = 16 if dtype == np.int16 else 32
            bits = min(self._bits or width, width)
            # libav keeps narrower integers in the upper bits.
            data = (to_integers(samples, bits) << (width - bits)).astype(dtype)
        elif dtype == np.uint8:
            data = (to_integers(samples, 8) + 128).astype(np.uint8)
        else:
            data = samples.astype(dtype)
        packed = not self._kind.endswith("p") or self._channels >= MANY_PLANES  # PyAV then converts in C
        if packed:
            data = data.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(data), format=kind if packed else self._kind, layout=self._layout
        )
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, self._base
        self._position += samples.shape[1]
        self._mux(self._audio.encode(frame))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.pts is not None and packet.time_base:
                now = Fraction(packet.pts * packet.time_base)
                if self._drop_priming and now < self._start * self._base:
                    continue
                padding = not packet.duration or now >= self._position * self._base
                if padding and self._bits is None and packet.size and self._packets > 1:
                    continue  # MP3's end would be misstated with it (but one packet alone is not recognised)
                if self._whole_ms:
                    if self._shift is None:
                        delay = self._start * self._base - now
                        rounded = Fraction(int(delay * 1000 + Fraction(1, 2)), 1000)
                        self._shift = round((delay - rounded) / packet.time_base)
                    packet.pts += self._shift
                    packet.dts += self._shift
                if self._carrier is not None:
                    self._carrier.pump(self._out, now)
            self._out.mux(packet)
            self._packets += 1

    def finish(self) -> None:
        """Write what is held back and close the file."""
        rest = self._frames.rest()
        if rest is not None:
            self._encode(rest)
        delay = _UNFLUSHED.get(self._audio.codec_context.name, 0)
        if delay and self._position > self._start:
            self._encode(np.zeros((self._channels, delay), dtype=np.float32))
        self._mux(self._audio.encode(None))
        if self._carrier is not None:
            self._carrier.pump(self._out, None)
            self._carrier.close()
        self._out.close()

    def abandon(self) -> None:
        """Close as it is."""
        if self._carrier is not None:
            self._carrier.close()
        with suppress(LIBAV_ERROR, OSError, ValueError):
            self._out.close()


#: Set by the muxer itself; a copy of the source's would be wrong.
MUXER_TAGS: Final = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time", "handler_name", "vendor_id",
     "duration", "metadata_block_picture", "_statistics_tags", "_statistics_writing_app", "number_of_bytes",
     "number_of_frames", "bps", "_statistics_writing_date_utc"}
)  # fmt: skip


def _wanted_kinds(encoder: str, bits: int | None) -> tuple[str, ...]:
    """Sample kinds of libav in the order in which they suit the content."""
    if encoder.startswith("pcm_") or bits is not None:
        if bits is not None and bits <= 16:
            return ("s16", "s16p", "u8", "s32", "s32p")
        return ("s32", "s32p", "dbl", "flt", "s16")
    return ("fltp", "flt", "s16", "s16p")


def _layout_for(encoder: str, layout: str | None, channels: int) -> str:
    """The source's loudspeakers where the encoder takes them, else the usual ones for that many channels."""
    accepted = _ACCEPTED.get(encoder)
    if layout is not None and (accepted is None or layout in accepted):
        return layout
    if accepted is not None:
        fitting = [name for name in accepted if av.AudioLayout(name).nb_channels == channels]
        if not fitting:
            raise OutputError(
                f"{encoder} cannot hold {channels} channels: write wav, flac or opus, or mix down to stereo first"
            )
        return fitting[0]
    if encoder.startswith("pcm_") and layout is None and channels > 2:
        return f"{channels}c" if _counts_as_layout(f"{channels}c") else DEFAULT_LAYOUTS.get(channels, f"{channels}c")
    return DEFAULT_LAYOUTS.get(channels, f"{channels}c")


def _counts_as_layout(name: str) -> bool:
    try:
        return bool(av.AudioLayout(name).nb_channels)
    except ValueError:
        return False


# Encoders that take only certain layouts, in the order in which a missing one is filled in.
_ACCEPTED: Final = {
    "libmp3lame": ("mono", "stereo"),
    "mp2": ("mono", "stereo"),
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1(back)", "7.1", "quad", "5.0(side)", "5.1(side)", "6.1",
            "7.1(wide)", "2.1", "3.1", "6.0", "7.0"),
    "ac3": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "3.0(back)", "quad(side)", "quad", "5.0(side)", "2.1",
            "3.1", "4.1", "5.1(side)"),
    "flac": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1", "5.0(side)", "5.1(side)"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
    "alac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1(back)", "7.1(wide)"),
}  # fmt: skip

# Nominal kbit/s of a 44.1 kHz stereo stream at Vorbis quality -1 .. 10.
_VORBIS_KBPS: Final = (45, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)


class SndfileSink(Sink):
    """libsndfile, for formats whose length it alone writes exactly (Wave64)."""

    def __init__(self, target: str, sample_rate: int, channels: int, sample_format: str, major: str) -> None:
        self._file = soundfile.SoundFile(
            for_sndfile(target), "w", sample_rate, channels, sample_format, format=major
        )
        self._bits = INTEGER_BITS.get(sample_format, 16 if sample_format in ("ULAW", "ALAW") else None)

    def write(self, block: Samples) -> None:
        """Take the next block."""
        # It keeps the upper bits of 32-bit integers, so that the rounding is ours.
        self._file.write(block.T if self._bits is None else (to_integers(block, self._bits) << (32 - self._bits)).T)

    def finish(self) -> None:
        """Write what is held back and close the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close as it is."""
        with suppress(OSError, RuntimeError):
            self._file.close()


class VorbisSink(Sink):
    """Ogg Vorbis through libsndfile (libav's own encoder is experimental), then tags and cover."""

    def __init__(
        self, interim: str, target: str, sample_rate: int, channels: int, *, bit_rate: int,
        tags: Mapping[str, str] | None, source: str | None,
    ) -> None:  # fmt: skip
        kbps = bit_rate / 1000 * (2 / channels) * (44100 / sample_rate)
        quality = float(np.clip(np.interp(kbps, _VORBIS_KBPS, np.arange(-1, 11)) / 10, 0.0, 1.0))
        self._interim, self._target, self._tags, self._source = interim, target, dict(tags or {}), source
        self._frames = _Rechunker(_FREE_FRAME)
        file = for_sndfile(interim)
        try:
            self._file = soundfile.SoundFile(
                file, "w", sample_rate, channels, "VORBIS", format="OGG", compression_level=1 - quality
            )
        except TypeError:  # soundfile < 0.13 has no say in the quality
            self._file = soundfile.SoundFile(file, "w", sample_rate, channels, "VORBIS", format="OGG")

    def write(self, block: Samples) -> None:
        """Take the next block."""
        # libvorbis keeps a call's samples on the stack: many at once overflow it.
        for frame in self._frames.push(block):
            self._file.write(frame.T)

    def finish(self) -> None:
        """Write what is held back and close the file."""
        rest = self._frames.rest()
        if rest is not None:
            self._file.write(rest.T)
        self._file.close()
        tags = {key: value for key, value in self._tags.items() if key.lower() not in MUXER_TAGS}
        picture = None if self._source is None else cover_text(self._source)
        if picture is not None:
            tags["METADATA_BLOCK_PICTURE"] = picture
        with open(self._interim, "rb") as encoded, open(self._target, "wb") as out:
            rewrite_comments(encoded, out, tags)

    def abandon(self) -> None:
        """Close as it is."""
        with suppress(OSError, RuntimeError):
            self._file.close()
