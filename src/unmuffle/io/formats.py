"""Which file formats can be written, and what goes into each.

The extension of the destination chooses the container; the source chooses the codec if the container can hold it, so
that a file keeps its kind wherever possible. Otherwise the first codec of the container's row is taken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from unmuffle.errors import OutputError


@dataclass(frozen=True)
class Container:
    """A row of the table: how a container is called, and the audio codecs that we write into it."""

    muxer: str
    """libav's name of the format."""
    codecs: tuple[str, ...]
    """Codec families in order of preference; ``pcm``, ``pcm_be`` and ``vorbis`` are resolved by the writer."""
    picture: bool = False
    """Can it hold a video?"""
    cover: bool = False
    """Can it hold cover art as an attached picture?"""
    brand: str | None = None
    """What an MP4 file calls itself, so that players take it for music."""


_PCM: Final = ("pcm",)
CONTAINERS: Final[dict[str, Container]] = {
    ".wav": Container("wav", _PCM),
    ".rf64": Container("wav", _PCM),
    ".w64": Container("w64", _PCM),
    ".caf": Container("caf", _PCM),
    ".aif": Container("aiff", ("pcm_be",)),
    ".aiff": Container("aiff", ("pcm_be",)),
    ".aifc": Container("aiff", ("pcm_be",)),
    ".au": Container("au", ("pcm_be",)),
    ".flac": Container("flac", ("flac",), cover=True),
    ".mp3": Container("mp3", ("mp3",), cover=True),
    ".aac": Container("adts", ("aac",)),
    ".m4a": Container("mp4", ("aac", "alac"), cover=True, brand="M4A "),
    ".m4b": Container("mp4", ("aac", "alac"), cover=True, brand="M4B "),
    ".ogg": Container("ogg", ("vorbis", "opus", "flac")),
    ".oga": Container("ogg", ("vorbis", "opus", "flac")),
    ".opus": Container("opus", ("opus",)),
    ".webm": Container("webm", ("opus",), picture=True),
    ".mka": Container("matroska", ("aac", "opus", "flac", "mp3", "ac3", "pcm"), cover=True),
    ".mkv": Container("matroska", ("aac", "opus", "flac", "mp3", "ac3", "pcm"), picture=True),
    ".mp4": Container("mp4", ("aac", "mp3", "opus", "flac", "alac", "ac3"), picture=True, cover=True),
    ".m4v": Container("mp4", ("aac", "alac", "ac3"), picture=True, cover=True),
    ".mov": Container("mov", ("aac", "mp3", "alac", "ac3", "pcm"), picture=True, cover=True),
    ".avi": Container("avi", ("mp3", "aac", "ac3", "pcm"), picture=True),
    ".ts": Container("mpegts", ("aac", "mp2", "mp3", "ac3"), picture=True),
    ".raw": Container("raw", _PCM),
    ".pcm": Container("raw", _PCM),
}

#: libav's encoder for each codec family that is not PCM.
ENCODERS: Final = {
    "flac": "flac", "alac": "alac", "mp3": "libmp3lame", "aac": "aac", "opus": "libopus", "ac3": "ac3", "mp2": "mp2",
}  # fmt: skip

#: Families that lose nothing, and the widest sample format of each.
LOSSLESS: Final = {"flac": 24, "alac": 24}

# Readable, but not written: these have no way to state the encoder's delay, so sound would shift with each copy, or
# there is no good encoder.
_READ_ONLY: Final = frozenset(
    {".3gp", ".ac3", ".amr", ".ape", ".dsf", ".dts", ".flv", ".mpg", ".mpeg", ".nist", ".sph", ".tta", ".voc", ".wmv",
     ".wv", ".m2ts", ".mts", ".mxf", ".asf", ".mp2", ".wma", ".eac3", ".tak"}
)  # fmt: skip


def supported_extensions() -> frozenset[str]:
    """Extensions (``.wav``, ``.mp4`` ...) of the files that can be read; those in CONTAINERS can be written too."""
    return frozenset(CONTAINERS) | _READ_ONLY


def container_for(name: str) -> Container:
    """The row for a destination's extension."""
    suffix = os.path.splitext(name)[1].lower()
    try:
        return CONTAINERS[suffix]
    except KeyError:
        what = f"the extension {suffix!r}" if suffix else "a name without extension"
        raise OutputError(
            f"{name!r}: {what} names no format that can be written; use one of {' '.join(sorted(CONTAINERS))}"
        ) from None


def family(codec: str) -> str:
    """``pcm_s16le`` -> ``pcm``, ``mp3float`` -> ``mp3``, ``libopus`` -> ``opus``."""
    if codec.startswith(("pcm", "adpcm")):
        return "pcm"
    for name in ("mp3", "opus", "aac", "vorbis", "ac3", "flac", "alac", "mp2"):
        if name in codec and codec != "eac3":
            return name
    return codec
