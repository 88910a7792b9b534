"""What is known about a media file before its samples are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType


@dataclass(frozen=True)
class MediaInfo:
    """A media file, seen through its first (or default) audio track."""

    path: str
    """The file's name, or ``-`` for standard input."""
    container: str
    """Short name of the container: ``wav``, ``flac``, ``mp3``, ``mov,mp4,m4a,3gp,3g2,mj2``, ``matroska,webm`` ..."""
    codec: str
    """libav's name of the audio codec: ``pcm_s16le``, ``flac``, ``aac``, ``opus`` ..."""
    sample_rate: int
    channels: int
    sample_format: str
    """``PCM_16``, ``FLOAT`` ... (see :mod:`unmuffle.io.samples`), ``ULAW``, ``ALAW``, or ``LOSSY``."""
    channel_layout: str | None = None
    """libav's name of the loudspeaker layout (``stereo``, ``5.1(side)`` ...); None when the file does not say."""
    frames: int | None = None
    """Exact number of samples per channel, or None when only reading tells."""
    duration_s: float | None = None
    """Length in seconds as the header states it (exact when ``frames`` is), or None."""
    bit_rate: int | None = None
    """Bits per second of the audio track, for lossy codecs."""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    has_video: bool = False
    """Is there a moving picture? (Cover art is not one.)"""
    has_cover: bool = False
    audio_tracks: int = 1
    audio_index: int = 0
    """Which stream of the container the samples come from."""
    start_s: Fraction = Fraction(0)
    """Where on the container's clock the first sample sounds; it matters beside a picture."""

    @property
    def quality(self) -> str:
        """The stored precision in words: ``PCM_16``, or ``mp3 128k``."""
        if self.sample_format != "LOSSY":
            return self.sample_format
        return f"{self.codec} {round(self.bit_rate / 1000)}k" if self.bit_rate else self.codec
