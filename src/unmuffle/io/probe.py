"""What is in this file? Answers come from the header, the first decoded frame, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

import av
import soundfile

from unmuffle.errors import MediaError, MediaNotFoundError, NotAudioError, TruncatedError
from unmuffle.io.aside import aside, shortened
from unmuffle.io.guard import LIBAV_ERROR, for_libav, for_sndfile, reading
from unmuffle.io.info import MediaInfo
from unmuffle.io.integrity import missing_bytes
from unmuffle.io.mp4 import reading_options
from unmuffle.io.wav import read_header

# The demuxers that may look at a file. Left out on purpose: playlists and scripts (hls, concat, dash ...), which open
# further files and network addresses, and picture or text formats, which hold no sound.
DEMUXERS: Final = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,flac,flv,gsm,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,"
    "mpegts,mxf,nut,ogg,oma,rm,tak,truehd,tta,voc,w64,wav,wv,loas,3gp,mp4,webm"
)
# What libsndfile reads better than libav: it knows the exact length, and knows research formats such as SPHERE.
_SNDFILE_FORMATS: Final = frozenset(
    {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "NIST", "VOC", "IRCAM", "PVF", "AVR", "SVX"}
)
_SNDFILE_MAGIC: Final = (b"RIFF", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS", b"NIST", b"Crea")
_STORED: Final = frozenset(
    {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)
_LOSSLESS_CODECS: Final = {"flac", "alac", "wavpack", "tta", "ape", "tak", "mlp", "truehd", "shorten", "wmalossless"}
_PCM_WIDTH: Final = {"u8": "PCM_U8", "s8": "PCM_S8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32",
                     "f32": "FLOAT", "f64": "DOUBLE"}  # fmt: skip
_SNDFILE_CODECS: Final = {"PCM_U8": "pcm_u8", "PCM_S8": "pcm_s8", "PCM_16": "pcm_s16le", "PCM_24": "pcm_s24le",
                          "PCM_32": "pcm_s32le", "FLOAT": "pcm_f32le", "DOUBLE": "pcm_f64le", "ULAW": "pcm_mulaw",
                          "ALAW": "pcm_alaw"}  # fmt: skip


def open_container(path: str) -> Any:
    """A libav input container over a local file; close it. It does not have the packets of :func:`~.aside.aside`."""
    tracks = aside(path)
    file = shortened(path, tracks) if tracks else for_libav(path)
    return open_input(file, {"protocol_whitelist": "file", **reading_options(path)})


def open_input(file: Any, options: Mapping[str, str]) -> Any:
    """A libav input container over a name or a stream, for the kinds of files that are known here."""
    # Tags that are no valid text: from 19 on PyAV replaces what is wrong by itself.
    lenient: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    return av.open(file, "r", container_options={"format_whitelist": DEMUXERS, **options}, **lenient)


def flags_of(stream: Any) -> int:
    """What a stream is for: 1 the default one, 0x400 a cover, and others (libav's ``AV_DISPOSITION``)."""
    flags = stream.disposition
    return int(getattr(flags, "value", flags))  # before 18, PyAV's enumeration is not one of integers


def choose_audio(container: Any) -> Any | None:
    """The track that is meant when nobody says which: the default one, else the first."""
    tracks = [stream for stream in container.streams.audio if stream.codec_context is not None]
    flagged = [stream for stream in tracks if flags_of(stream) & 1]
    return (flagged or tracks or [None])[0]


def is_cover(stream: Any) -> bool:
    """Is this picture stream the cover of a record?"""
    return stream.type == "video" and bool(flags_of(stream) & 0x400)


def check_file(path: str, *, allow_truncated: bool) -> None:
    """The file exists, is a file, is not empty, and is as long as its header says."""
    if not os.path.exists(path):
        raise MediaNotFoundError(f"{path!r} does not exist: check the spelling and the folder")
    if os.path.isdir(path):
        raise IsADirectoryError(path)
    if not os.path.isfile(path):
        raise MediaError(f"{path!r} is a device or a pipe, which can be read only once: use open_reader")
    if os.path.getsize(path) == 0:
        raise NotAudioError(f"{path!r} is empty (0 bytes): record or download it again")
    missing = 0 if allow_truncated else missing_bytes(path)
    if missing:
        raise truncated(path, f"{missing} bytes" if missing > 1 else "its index")


def truncated(path: str, what: str) -> TruncatedError:
    """The error for a file that lacks ``what``."""
    return TruncatedError(
        f"{path!r} is cut off ({what} missing): get it again, or keep what is there with --allow-truncated "
        "(allow_truncated=True)"
    )


def probe(path: str | os.PathLike[str], *, allow_truncated: bool = False) -> MediaInfo:
    """Describe a media file.

    Raises :class:`~unmuffle.errors.MediaNotFoundError`, :class:`~unmuffle.errors.NotAudioError` (no media file, or no
    audio track) or :class:`~unmuffle.errors.TruncatedError` (unless ``allow_truncated``).
    """
    name = os.fspath(path)
    with reading(name):
        check_file(name, allow_truncated=allow_truncated)
        from_sndfile = _probe_sndfile(name)
        try:
            from_libav = _probe_libav(name)
        except (NotAudioError, LIBAV_ERROR, ValueError):
            if from_sndfile is None:
                raise
            return from_sndfile
        if from_sndfile is None:
            return from_libav
        # Exact numbers from one, tags, layout and cover from the other.
        return MediaInfo(
            path=name, container=from_sndfile.container, codec=from_libav.codec,
            sample_rate=from_sndfile.sample_rate, channels=from_sndfile.channels,
            sample_format=from_sndfile.sample_format,
            channel_layout=from_libav.channel_layout if from_libav.channels == from_sndfile.channels else None,
            frames=from_sndfile.frames, duration_s=from_sndfile.duration_s, bit_rate=from_libav.bit_rate,
            tags=from_libav.tags, has_cover=from_libav.has_cover, audio_index=from_libav.audio_index,
        )  # fmt: skip


def _probe_sndfile(path: str) -> MediaInfo | None:
    """What libsndfile says, when it is the better reader of this file."""
    with open(path, "rb") as stream:
        head = stream.read(12)
        if not head.startswith(_SNDFILE_MAGIC):
            return None
        if head[:4] in (b"RIFF", b"RF64") and head[8:] != b"WAVE":
            return None  # AVI
        if head[8:] == b"WAVE":
            stream.seek(0)
            try:
                header = read_header(stream, path)
            except NotAudioError:
                pass  # a WAV file with something else than PCM inside: libsndfile may know it
            else:
                there = os.path.getsize(path) - stream.tell()
                frames = min(header.data_bytes if header.data_bytes is not None else there, there) // header.frame_bytes
                return MediaInfo(
                    path=path, container="wav", codec=_SNDFILE_CODECS[header.sample_format],
                    sample_rate=header.sample_rate, channels=header.channels, sample_format=header.sample_format,
                    channel_layout=header.layout, frames=frames, duration_s=frames / header.sample_rate,
                )  # fmt: skip
    try:
        facts = soundfile.info(for_sndfile(path))
    except (soundfile.SoundFileError, RuntimeError):
        return None
    if facts.format == "OGG":
        if facts.subtype != "VORBIS":
            return None
    elif facts.format not in _SNDFILE_FORMATS:
        return None
    if facts.samplerate <= 0 or facts.channels <= 0 or not 0 <= facts.frames < 1 << 62:
        return None
    return MediaInfo(
        path=path, container=facts.format.lower(),
        codec=_SNDFILE_CODECS.get(facts.subtype, "vorbis" if facts.format == "OGG" else facts.subtype.lower()),
        sample_rate=facts.samplerate, channels=facts.channels,
        sample_format=facts.subtype if facts.subtype in _STORED else "LOSSY",
        frames=facts.frames, duration_s=facts.frames / facts.samplerate,
    )  # fmt: skip


def _probe_libav(path: str) -> MediaInfo:
    with open_container(path) as container:
        return describe(container, path)


def describe(container: Any, path: str) -> MediaInfo:
    """What libav says about an open container; it decodes up to the first sample."""
    stream = choose_audio(container)
    if stream is None:
        found = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise NotAudioError(f"{path!r} has no audio track (it holds: {found}): choose a file with sound")
    context = stream.codec_context
    if not context.sample_rate or not context.layout.nb_channels:
        raise NotAudioError(f"{path!r} has an audio track of unknown kind: convert it to wav first")
    covers = [s for s in container.streams.video if is_cover(s)]
    rate: int = context.sample_rate
    duration = None
    if stream.duration is not None and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration = container.duration / 1e6
    has_video = len(covers) < len(container.streams.video)
    # Ogg keeps its tags with the track; beside a picture a track's tags are its own affair.
    tags = {**container.metadata, **({} if has_video else stream.metadata)}
    sample_format = _stored_format(context)
    return MediaInfo(
        path=path, container=container.format.name, codec=context.name, sample_rate=rate,
        channels=context.layout.nb_channels, sample_format=sample_format, channel_layout=_known(context.layout.name),
        duration_s=duration, bit_rate=context.bit_rate or (not has_video and container.bit_rate) or None,
        tags=MappingProxyType(tags), has_video=has_video, has_cover=bool(covers),
        audio_tracks=len(container.streams.audio), audio_index=stream.index, start_s=_start(container, stream),
    )  # fmt: skip


def _known(layout: str) -> str | None:
    """A layout with loudspeakers in it, not just "3 channels"."""
    return None if "channels" in layout else layout


def _stored_format(context: Any) -> str:
    name: str = context.codec.canonical_name if hasattr(context.codec, "canonical_name") else context.name
    if name.startswith("pcm_"):
        if name in ("pcm_mulaw", "pcm_alaw"):
            return "ULAW" if name == "pcm_mulaw" else "ALAW"
        return _PCM_WIDTH.get(name[4:].split("_")[0].removesuffix("le").removesuffix("be"), "PCM_32")
    if name in _LOSSLESS_CODECS:
        kind = context.format.name if context.format else "s16"
        if kind.startswith(("s16", "u8")):
            return "PCM_16"
        bits = getattr(context, "bits_per_coded_sample", 0) or 24
        return "FLOAT" if kind.startswith("flt") else ("PCM_24" if bits <= 24 else "PCM_32")
    return "LOSSY"


def _start(container: Any, stream: Any) -> Fraction:
    """Time of the first sample that is heard, on the container's clock.

    Encoder priming is not heard: libav drops it and moves the time stamp on, which is why we decode.
    """
    if len(container.streams) == 1 and not container.streams.video:
        return Fraction(0)  # without a picture nothing is late
    decoded = first_frame_time(container, stream)
    if decoded is None:
        return Fraction(0)
    # Matroska counts milliseconds: a rest of one tick is rounding, not delay.
    return Fraction(0) if abs(decoded) <= Fraction(1, 1000) else decoded


def first_frame_time(container: Any, stream: Any) -> Fraction | None:
    """Time stamp of the first decoded frame, or None; moves the container on by up to 200 packets."""
    for count, packet in enumerate(container.demux(stream)):
        try:
            for frame in packet.decode():
                if frame.samples:
                    base = frame.time_base or stream.time_base
                    return Fraction(frame.pts * base) if frame.pts is not None and base else None
        except LIBAV_ERROR:
            continue
        if count > 200:
            break
    return None
