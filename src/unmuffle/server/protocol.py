"""The wire format of ``/stream``: what a message may look like, and nothing about what is done with it.

Binary message, both ways: 4 bytes sequence number (unsigned, little-endian, counts modulo 2^32), then samples,
interleaved (frame by frame, one sample per channel), little-endian: ``f32le`` in [-1, 1] or ``s16le``. Any number of
samples, also none. Each binary message is answered by exactly one with the same number, or by an error that names it.

Text message: one JSON object with a ``type``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ..engine.options import Options
from ..enhancers.base import UNBOUNDED, Enhancer, Stream
from ..errors import ParameterError, UnboundedLatencyError
from ..io.samples import decode, encode
from ..signal.blocks import Samples, check_rate
from .asked import method_of
from .frames import binary

HEADER: Final = struct.Struct("<I")
MODULUS: Final = 1 << 32
_EMPTY: Final = binary(bytes(HEADER.size))[: -HEADER.size]
_FLOAT: Final = np.dtype("<f4")
MAX_TEXT: Final = 64 << 10
FORMATS: Final = {"f32le": ("FLOAT", 4), "s16le": ("PCM_16", 2)}

#: Close codes (RFC 6455), and what they mean here.
NORMAL, GOING_AWAY, UNSUPPORTED, POLICY, INTERNAL, RESTART, TRY_LATER = 1000, 1001, 1003, 1008, 1011, 1012, 1013


class WireError(ParameterError):
    """A message that is not of the agreed form."""


@dataclass(frozen=True)
class Hello:
    """What a stream is to be: the first message.

    Attributes:
        rate, channels: of the samples.
        format: ``f32le`` or ``s16le``.
        method, params: the enhancer.
        strength_db: most attenuation, ``None`` for the full effect.
        bypass: begin with the input unchanged.
        repair, stereo: as for files.
        block_size: samples (per channel) of every message, if they are all equal; then as many come back.
        block_ms: how long messages are about to be; what the server assumes when it judges its load.
        key: API key, for clients that cannot send headers.
        model: the server's own network file, which ``auto`` and ``model`` mean; never from the client.
    """

    rate: int
    channels: int = 1
    format: str = "f32le"
    method: str = "auto"
    params: Mapping[str, Any] = field(default_factory=dict)
    strength_db: float | None = None
    bypass: bool = False
    repair: tuple[str, ...] = ()
    stereo: str = "linked"
    block_size: int | None = None
    block_ms: float = 10.0
    key: str | None = field(default=None, repr=False)
    model: str | None = field(default=None, repr=False)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * FORMATS[self.format][1]

    @property
    def block_s(self) -> float:
        """Expected length of a message, in seconds."""
        return self.block_size / self.rate if self.block_size else self.block_ms / 1000.0

    def enhancer(self) -> Enhancer:
        """The enhancer that is asked for.

        Raises:
            ParameterError: unknown, or with meaningless parameters.
        """
        options = Options(method_of(self.method, self.params, self.model), {}, repair=self.repair, stereo=self.stereo)
        return options.enhancer(self.channels)

    def stream(self, enhancer: Enhancer) -> Stream:
        """Start the stream.

        Raises:
            UnboundedLatencyError: the method needs the whole signal.
        """
        stream = enhancer.stream(self.rate, self.channels, block_size=self.block_size)
        if stream.latency_samples == UNBOUNDED:
            text = f"method {self.method!r} needs the whole signal and cannot run live; use POST /enhance"
            raise UnboundedLatencyError(text)
        if self.strength_db is not None:
            stream.set_strength(self.strength_db)
        stream.bypass = self.bypass
        return stream


_TYPES: dict[str, tuple[type, ...]] = {
    "rate": (int,), "channels": (int,), "format": (str,), "method": (str,), "params": (dict,),
    "strength": (int, float), "bypass": (bool,), "repair": (list,), "stereo": (str,), "block_size": (int,),
    "block_ms": (int, float), "key": (str,),
}  # fmt: skip


def parse_text(text: str) -> dict[str, Any]:
    """A JSON object with a type.

    Raises:
        WireError: it is none.
    """
    if len(text) > MAX_TEXT:
        raise WireError(f"a text message of {len(text)} characters; the most is {MAX_TEXT}")

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        found = json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a text message that is not JSON: {str(error)[:100]}") from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise WireError('a text message must be a JSON object with a "type"')
    return found


def parse_hello(message: Mapping[str, Any], max_channels: int, model: str | None = None) -> Hello:
    """The first message; ``model`` is the server's own network file.

    Raises:
        WireError, SampleRateError, ParameterError.

    >>> parse_hello({"type": "hello", "rate": 16000}, 8).frame_bytes
    4
    """
    if message["type"] != "hello":
        raise WireError(f'the first message must be of type "hello", not {message["type"][:50]!r}')
    given = {key: value for key, value in message.items() if key != "type" and value is not None}
    for key, value in given.items():
        if key not in _TYPES:
            raise WireError(f"hello has no {key[:50]!r}; it has: {', '.join(_TYPES)}")
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            raise WireError(f"hello: {key} = {str(value)[:50]!r} is not of type {_TYPES[key][-1].__name__}")
    if "rate" not in given:
        raise WireError('hello needs a "rate" in Hz')
    rate = check_rate(given["rate"])
    channels = given.get("channels", 1)
    if not 1 <= channels <= max_channels:
        raise WireError(f"channels = {str(channels)[:20]}; this server takes 1 to {max_channels}")
    form = given.get("format", "f32le")
    if form not in FORMATS:
        raise WireError(f"format {form[:50]!r}; give one of {', '.join(FORMATS)}")
    block_size = given.get("block_size")
    if block_size is not None and not 1 <= block_size <= rate:
        raise WireError(f"block_size = {str(block_size)[:20]}; give 1 to {rate} (a second)")
    block_ms = _finite("block_ms", given.get("block_ms", 10.0))
    if not 0.1 <= block_ms <= 1000:
        raise WireError(f"block_ms = {block_ms!r}; give 0.1 to 1000")
    values = given.get("params", {})
    for key, value in values.items():
        if not isinstance(value, (str, int, float, bool)):
            raise WireError(f"hello: the parameter {key[:50]!r} is no plain value")
    repair = given.get("repair", [])
    if not all(isinstance(stage, str) for stage in repair):
        raise WireError("hello: repair is a list of names")
    return Hello(
        rate, channels, form, given.get("method", "auto"), values, parse_strength(given.get("strength")),
        given.get("bypass", False), tuple(repair), given.get("stereo", "linked"), block_size, block_ms,
        given.get("key"), model,
    )  # fmt: skip


def parse_strength(value: Any) -> float | None:
    """Decibels, or ``None`` (JSON's ``null``) for the full effect.

    Raises:
        WireError.
    """
    if value is None:
        return None
    decibels = _finite("strength", value)
    if decibels < 0:
        raise WireError(f"strength = {value!r} dB; give 0 (unchanged) or more, or null for the full effect")
    return decibels


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WireError(f"{name} = {str(value)[:50]!r} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not np.isfinite(number):
        raise WireError(f"{name} is not a finite number")
    return number


def sequence_of(data: bytes) -> int:
    """The number of a binary message.

    Raises:
        WireError: it is shorter than its header.
    """
    if len(data) < HEADER.size:
        raise WireError(f"a binary message of {len(data)} bytes; the sequence number alone takes {HEADER.size}")
    number: int = HEADER.unpack_from(data)[0]
    return number


def samples_of(data: bytes, hello: Hello) -> Samples:
    """The samples of a binary message, ``(channels, n)``.

    Raises:
        WireError: bytes are left over.
    """
    payload, wide = len(data) - HEADER.size, hello.frame_bytes
    if payload % wide:
        raise WireError(
            f"{payload} bytes of samples; one sample of {hello.channels} channel(s) in {hello.format} takes {wide}"
        )
    if wide == 4 and hello.format == "f32le":  # one channel of floats: as they lie there
        return np.frombuffer(data, _FLOAT, offset=HEADER.size).reshape(1, -1)
    return decode(data[HEADER.size :], FORMATS[hello.format][0], hello.channels)


def rows_of(messages: Sequence[bytes], form: str) -> Samples:
    """The samples of binary messages of one channel and one length, ``(messages, n)``."""
    data = b"".join(messages)
    if form == "f32le":
        return np.frombuffer(data, _FLOAT).reshape(len(messages), -1)[:, 1:]
    wide = np.frombuffer(data, "<i2").reshape(len(messages), -1)[:, HEADER.size // 2 :]
    return wide.astype(np.float32) / np.float32(32768)


def framed_rows(numbers: Sequence[int], samples: Samples, form: str) -> list[bytes]:
    """Messages of one channel each (:func:`packed`, for every row), each with its header of a WebSocket frame."""
    size = HEADER.size + FORMATS[form][1] * samples.shape[1]
    if form != "f32le" or not 126 <= size < 1 << 16:
        return [binary(packed(number, row[np.newaxis], form)) for number, row in zip(numbers, samples, strict=True)]
    rows = np.empty((len(numbers), 2 + samples.shape[1]), _FLOAT)
    words = rows.view("<u4")
    words[:, 0] = int.from_bytes(binary(bytes(size))[:4], "little")
    words[:, 1] = numbers
    rows[:, 2:] = samples
    data, size = rows.tobytes(), size + 4
    return [data[start : start + size] for start in range(0, len(data), size)]


def framed(number: int) -> bytes:
    """A message without samples, with its header of a WebSocket frame."""
    return _EMPTY + HEADER.pack(number)


def packed(number: int, samples: Samples, form: str) -> bytes:
    """A binary message."""
    if form == "f32le" and len(samples) == 1:
        return HEADER.pack(number % MODULUS) + samples.astype(_FLOAT, copy=False).tobytes()
    return HEADER.pack(number % MODULUS) + encode(samples, FORMATS[form][0])
