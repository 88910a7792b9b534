r"""The WAV family: RIFF, its 64-bit form RF64, and headers for pipes.

A WAV file is ``RIFF size WAVE`` and then chunks ``id size payload`` (padded to even length), of which ``fmt`` says
what the numbers are and ``data`` holds them. We parse it ourselves because three things depend on it that no
library offers together: reading from a pipe, telling a truncated file from a streamed one, and carrying the other
chunks (``LIST``, ``bext``, ``iXML``, ``id3``, ``cue`` ...) over byte by byte.

- Sizes are 32 bits. A program that writes into a pipe cannot know them and writes 0 or values near :math:`2^{32}`
  (ffmpeg 0xFFFFFFFF, sox 0x7FFFF000+): such a file lasts until its end. Any other size that is more than what is
  there means that the file was cut.
- Beyond 4 GiB the file is RF64 (EBU Tech 3306): the 32-bit fields hold 0xFFFFFFFF and a ``ds64`` chunk the truth. We
  reserve its 28 bytes as ``JUNK`` and decide when the length is known.
- More than two channels need ``WAVE_FORMAT_EXTENSIBLE``, which also holds the mask of loudspeakers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from unmuffle.errors import NotAudioError
from unmuffle.io.samples import SAMPLE_BYTES

#: Largest value of a 32-bit size field; longer files become RF64.
RIFF_LIMIT: Final = 0xFFFFFFFF

# From here on a size is a sign for "not known".
_UNKNOWN: Final = 0x7FFFF000
_PCM, _IEEE, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_FORMATS: Final = {
    (_PCM, 8): "PCM_U8", (_PCM, 16): "PCM_16", (_PCM, 24): "PCM_24", (_PCM, 32): "PCM_32",
    (_IEEE, 32): "FLOAT", (_IEEE, 64): "DOUBLE",
}  # fmt: skip
# What describes the samples or pads the file is written anew; everything else is carried over.
_OWN_CHUNKS: Final = frozenset(
    {b"fmt ", b"data", b"fact", b"ds64", b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"levl"}
)
#: Payload that is kept in memory while chunks are carried over; a longer chunk is left out.
_CHUNK_LIMIT: Final = 64 << 20
# Masks of WAVE_FORMAT_EXTENSIBLE for the layouts that files carry, by libav's names.
LAYOUT_MASKS: Final = {
    "mono": 0x4, "stereo": 0x3, "2.1": 0xB, "3.0": 0x7, "3.0(back)": 0x103, "4.0": 0x107, "quad": 0x33,
    "quad(side)": 0x603, "3.1": 0xF, "5.0": 0x37, "5.0(side)": 0x607, "4.1": 0x10F, "5.1": 0x3F, "5.1(side)": 0x60F,
    "6.0": 0x707, "6.1": 0x70F, "6.1(back)": 0x13F, "7.0": 0x637, "7.1": 0x63F, "7.1(wide)": 0xFF,
    "7.1(wide-side)": 0x6CF,
}  # fmt: skip


@dataclass(frozen=True)
class WavHeader:
    """What stands before the samples of a WAV file."""

    sample_rate: int
    channels: int
    sample_format: str
    channel_mask: int
    data_bytes: int | None
    """Length the header promises; None when it was written into a pipe and says nothing."""
    rf64: bool
    chunks: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """The foreign chunks met before the samples."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * SAMPLE_BYTES[self.sample_format]

    @property
    def layout(self) -> str | None:
        """libav's name of the loudspeaker layout, if the mask is a known one."""
        return next((name for name, mask in LAYOUT_MASKS.items() if mask == self.channel_mask), None)


def read_exactly(stream: BinaryIO, count: int) -> bytes:
    """``count`` bytes, or fewer at the end; pipes hand over less than asked for."""
    parts = []
    while count > 0:
        part = stream.read(min(count, 1 << 20))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_header(stream: BinaryIO, name: str) -> WavHeader:
    """Read up to the first sample; the stream need not be seekable.

    Raises :class:`~unmuffle.errors.NotAudioError` for anything but integer or float samples in a WAV file.
    """
    head = read_exactly(stream, 12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        raise NotAudioError(f"{name!r} does not begin like a WAV file: give its real format")
    rf64 = head[:4] != b"RIFF"
    riff_size, position = struct.unpack("<I", head[4:8])[0], 12
    data64: int | None = None
    kept: list[tuple[bytes, bytes]] = []
    total = 0
    fmt: bytes | None = None
    while True:
        chunk = read_exactly(stream, 8)
        if len(chunk) < 8:
            raise NotAudioError(f"{name!r} is a WAV file without samples (no data chunk): write or download it again")
        identity, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        position += 8
        if identity == b"data":
            break
        position += size + size % 2
        if size + total > _CHUNK_LIMIT and identity in (b"fmt ", b"ds64"):
            raise NotAudioError(f"{name!r} has a broken WAV header ({identity!r} of {size} bytes): write it again")
        if size + total > _CHUNK_LIMIT:
            _skip(stream, size + size % 2)
            continue
        payload = read_exactly(stream, size)
        read_exactly(stream, size % 2)
        if identity == b"fmt ":
            fmt = payload
        elif identity == b"ds64" and len(payload) >= 16:
            data64 = struct.unpack("<Q", payload[8:16])[0]
        elif identity not in _OWN_CHUNKS:
            kept.append((identity, payload))
            total += size
    if fmt is None or len(fmt) < 16:
        raise NotAudioError(f"{name!r} is a WAV file without a description of its samples (no fmt chunk)")
    tag, channels, rate, _, align, bits = struct.unpack("<HHIIHH", fmt[:16])
    mask = 0
    if tag == _EXTENSIBLE and len(fmt) >= 40 and fmt[26:40] == _GUID_TAIL:
        mask, tag = struct.unpack("<IH", fmt[20:26])
    sample_format = _FORMATS.get((tag, bits))
    if sample_format is None or channels == 0 or rate == 0 or align != channels * SAMPLE_BYTES[sample_format]:
        raise NotAudioError(
            f"{name!r} is a WAV file of kind {tag} with {bits} bits and {channels} channels, which is not plain PCM"
        )
    promised: int | None = size
    if rf64 and size == RIFF_LIMIT:
        promised = data64
    elif size >= _UNKNOWN or (size == 0 and not position < riff_size + 8 < _UNKNOWN):
        # Sox's, ffmpeg's and everybody's way of saying "until the end". No samples at all is meant only when the
        # outer size promises other chunks behind them.
        promised = None
    return WavHeader(rate, channels, sample_format, mask, promised, rf64, tuple(kept))


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0:
        part = stream.read(min(count, 1 << 20))
        if not part:
            return
        count -= len(part)


def chunks_after(stream: BinaryIO, header: WavHeader) -> list[tuple[bytes, bytes]]:
    """The foreign chunks behind the samples of a seekable file that stands at its first sample."""
    if header.data_bytes is None:
        return []
    stream.seek(header.data_bytes + header.data_bytes % 2, 1)
    kept: list[tuple[bytes, bytes]] = []
    total = 0
    while len(chunk := read_exactly(stream, 8)) == 8:
        identity, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        if size + total > _CHUNK_LIMIT:
            stream.seek(size + size % 2, 1)
            continue
        payload = read_exactly(stream, size + size % 2)[:size]
        if len(payload) == size and identity not in _OWN_CHUNKS:
            kept.append((identity, payload))
            total += size
    return kept


def pack_chunk(identity: bytes, payload: bytes) -> bytes:
    """A chunk with its size and its padding."""
    return identity + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def pack_header(
    sample_rate: int,
    channels: int,
    sample_format: str,
    *,
    channel_mask: int = 0,
    frames: int | None = None,
    chunks: bytes = b"",
    trailing: int = 0,
    force_rf64: bool = False,
) -> bytes:
    """Everything up to the first sample.

    ``frames=None`` writes sizes of 0xFFFFFFFF, the sign for "until the end" in a pipe. ``chunks`` are packed foreign
    chunks, ``trailing`` the bytes of those that follow the samples. The length of the result does not depend on
    ``frames``, so that the header can be written again over itself when the length is known.
    """
    width = SAMPLE_BYTES[sample_format]
    tag = _IEEE if sample_format in ("FLOAT", "DOUBLE") else _PCM
    align = channels * width
    basic = struct.pack("<HIIHH", channels, sample_rate, min(sample_rate * align, RIFF_LIMIT), align, 8 * width)
    extensible = channels > 2 or channel_mask != 0
    if extensible:
        tail = struct.pack("<HHIH", 22, 8 * width, channel_mask, tag) + _GUID_TAIL
        fmt = struct.pack("<H", _EXTENSIBLE) + basic + tail
    else:
        fmt = struct.pack("<H", tag) + basic + (b"" if tag == _PCM else b"\0\0")
    data = RIFF_LIMIT if frames is None else frames * channels * width
    # Float and extensible formats must state the number of frames.
    fact = pack_chunk(b"fact", struct.pack("<I", min(RIFF_LIMIT if frames is None else frames, RIFF_LIMIT)))
    body = pack_chunk(b"fmt ", fmt) + (fact if extensible or tag == _IEEE else b"") + chunks
    size = 4 + 36 + len(body) + 8 + data + data % 2 + trailing
    if frames is not None and (force_rf64 or size > RIFF_LIMIT):
        ds64 = pack_chunk(b"ds64", struct.pack("<QQQI", size, data, frames, 0))
        unknown = struct.pack("<I", RIFF_LIMIT)
        return b"RF64" + unknown + b"WAVE" + ds64 + body + b"data" + unknown
    junk = pack_chunk(b"JUNK", bytes(28))
    riff = RIFF_LIMIT if frames is None else size
    return b"RIFF" + struct.pack("<I", riff) + b"WAVE" + junk + body + b"data" + struct.pack("<I", data)


#: RIFF INFO names of the tags that other containers spell out.
_INFO: Final = {
    "title": b"INAM", "artist": b"IART", "album": b"IPRD", "date": b"ICRD", "genre": b"IGNR", "comment": b"ICMT",
    "track": b"IPRT", "copyright": b"ICOP", "encoder": b"ISFT", "language": b"ILNG",
}  # fmt: skip


def pack_tags(tags: dict[str, str]) -> bytes:
    """The tags that RIFF has names for, as one LIST chunk (empty when there are none)."""
    entries = b"".join(
        pack_chunk(_INFO[key.lower()], text.encode("utf-8", "replace") + b"\0")
        for key, text in tags.items()
        if key.lower() in _INFO
    )
    return pack_chunk(b"LIST", b"INFO" + entries) if entries else b""
