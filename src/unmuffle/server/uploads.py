"""A request's body to a file of ours, in constant memory: raw, or as ``multipart/form-data`` with one file.

The client's file name is only ever a text: its last component, without control characters, goes back into the name of
the download, and its extension says which format the result gets. The file on disk is called by us.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .config import ServerConfig
from .faults import Fault, storage_full

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_WRITE = 1 << 20  # bytes gathered before a thread writes them
_FIELD = 64 << 10  # bytes of all form fields together
_PARTS = 64


class Disconnected(Exception):
    """The client has gone; there is nobody to answer."""


@dataclass
class Upload:
    """What has arrived: the file, what the client calls it, and the form fields beside it."""

    path: Path
    filename: str = "audio"
    bytes: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)


class Body:
    """The pieces of a request's body, with time-outs."""

    def __init__(self, receive: Receive, config: ServerConfig) -> None:
        self._receive = receive
        self._config = config
        self._complete = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """All pieces.

        Raises:
            Fault: 408, the client is too slow.
            Disconnected: it has gone.
        """
        config = self._config
        started, total = time.monotonic(), 0
        while not self._complete:
            try:
                message = await asyncio.wait_for(self._receive(), config.body_timeout_s)
            except asyncio.TimeoutError:
                raise Fault(408, "BodyTimeout", f"nothing came for {config.body_timeout_s:g} s; send faster") from None
            if message["type"] == "http.disconnect":
                self._complete = True
                raise Disconnected
            piece = message.get("body", b"")
            total += len(piece)
            self._complete = not message.get("more_body", False)
            elapsed = time.monotonic() - started
            if elapsed > config.body_timeout_s and total < config.min_upload_bytes_s * elapsed:
                raise Fault(408, "BodyTimeout", f"slower than {config.min_upload_bytes_s:g} bytes/s; send faster")
            if piece:
                yield piece


class _Sink:
    """A file that is written by threads, a megabyte at a time, and never grows beyond its limit."""

    def __init__(self, path: Path, limit: int) -> None:
        self._file = open(path, "xb")
        self._limit = limit
        self._held = bytearray()
        self.bytes = 0

    def take(self, data: bytes | memoryview) -> None:
        """Keep for the next write."""
        self.bytes += len(data)
        if self.bytes > self._limit:
            raise too_large(self._limit)
        self._held += data

    async def settle(self, *, last: bool = False) -> None:
        """Write if there is enough to write."""
        if len(self._held) >= _WRITE or (last and self._held):
            data, self._held = self._held, bytearray()
            await asyncio.to_thread(self._file.write, data)
        if last:
            await asyncio.to_thread(self._file.flush)

    def close(self) -> None:
        """Let go of the file."""
        self._held.clear()
        with suppress(OSError):  # a full disk was reported when writing
            self._file.close()


def too_large(limit: int) -> Fault:
    """The answer to an upload beyond the limit."""
    return Fault(413, "UploadTooLarge", f"more than {limit} bytes; send less, or compressed sound such as flac or opus")


async def receive_upload(body: Body, headers: dict[bytes, bytes], folder: Path, config: ServerConfig) -> Upload:
    """Take in a whole body.

    Raises:
        Fault: 400, 408, 413, 415 or 503.
        Disconnected: the client has gone.
    """
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > config.max_upload_bytes + (2 * _FIELD):
        raise too_large(config.max_upload_bytes)
    kind, _, _ = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    upload = Upload(folder / "upload")
    sink = await asyncio.to_thread(_Sink, upload.path, config.max_upload_bytes)
    try:
        if kind.strip().lower() == "multipart/form-data":
            await _multipart(body, headers[b"content-type"], sink, upload)
        else:
            async for piece in body.pieces():
                sink.take(piece)
                await sink.settle()
            upload.filename = _named_in(headers) or "audio"
        await sink.settle(last=True)
        upload.bytes = sink.bytes
    except OSError as error:
        if storage_full(error):
            raise Fault(503, "StorageFull", "the server has no room for this file now; try again later", 30) from None
        raise
    finally:
        sink.close()
    if not upload.bytes:
        raise Fault(400, "EmptyUpload", "no bytes of a file came; send a media file as the body, or as a form's file")
    return upload


class _Parts:
    """Callbacks of the multipart parser: one file to the sink, small fields to memory."""

    def __init__(self, sink: _Sink, upload: Upload) -> None:
        self._sink = sink
        self._upload = upload
        self._files = self._parts = self._held = 0
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._name = ""
        self._to_file = False
        self._value = bytearray()
        self.ended = False

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """By the names that the parser knows."""
        names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "end")
        return {"on_headers_finished": self._headers, **{f"on_{n}": getattr(self, f"_{n}") for n in names}}

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise Fault(400, "BadMultipart", f"more than {_PARTS} parts in the form")
        self._disposition, self._value = b"", bytearray()
        self._header = (bytearray(), bytearray())

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def _headers(self) -> None:
        options = _disposition_options(self._disposition)
        self._name = options.get("name", "")
        self._to_file = "filename" in options or self._name == "file"
        if self._to_file:
            self._files += 1
            if self._files > 1:
                raise Fault(400, "BadMultipart", "more than one file in the form; send one a request")
            self._upload.filename = options.get("filename", "audio")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._to_file:
            self._sink.take(memoryview(data)[start:end])
            return
        self._held += end - start
        if self._held > _FIELD:
            raise Fault(413, "FieldsTooLarge", f"the form's fields hold more than {_FIELD} bytes")
        self._value.extend(data[start:end])

    def _part_end(self) -> None:
        if not self._to_file:
            try:
                self._upload.fields.append((self._name, self._value.decode("utf-8")))
            except UnicodeDecodeError:
                raise Fault(400, "BadMultipart", f"the form field {self._name[:50]!r} is not UTF-8") from None

    def _end(self) -> None:
        self.ended = True


async def _multipart(body: Body, content_type: bytes, sink: _Sink, upload: Upload) -> None:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    try:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= 200:
            raise Fault(400, "BadMultipart", "the content type names no boundary (of at most 200 characters)")
        parts = _Parts(sink, upload)
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        async for piece in body.pieces():
            for start in range(0, len(piece), _WRITE):
                parser.write(piece[start : start + _WRITE])
                await sink.settle()
        parser.finalize()
    except FormParserError as error:
        raise Fault(400, "BadMultipart", f"the form cannot be read: {error}") from None
    if not parts.ended:
        raise Fault(400, "BadMultipart", "the form ends before its last boundary")


def _disposition_options(value: bytes) -> dict[str, str]:
    from python_multipart.multipart import parse_options_header

    try:
        _, found = parse_options_header(value)
    except Exception:
        raise Fault(400, "BadMultipart", "a Content-Disposition that cannot be read") from None
    return {k.decode("latin-1"): v.decode("utf-8", "replace") for k, v in found.items()}


def _named_in(headers: dict[bytes, bytes]) -> str | None:
    given = headers.get(b"content-disposition")
    return _disposition_options(given).get("filename") if given else None


def safe_name(text: str) -> str:
    """The last component of a client's file name, as harmless text of at most 100 characters.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\\\a\\\\b.wav"), safe_name('x"\\r\\ny: z.mp3')
    ('passwd', 'b.wav', 'xy_ z.mp3')
    """
    last = re.split(r"[/\\]", text)[-1]
    # Category C: control characters, characters that turn the direction of the text, halves of pairs.
    shown = "".join(c for c in unicodedata.normalize("NFC", last) if not unicodedata.category(c).startswith("C"))
    shown = re.sub(r'["\']', "", shown)
    shown = re.sub(r"[<>:|?*;%]", "_", shown).strip(" .")
    stem, extension = os.path.splitext(shown)
    return (stem[: 100 - len(extension[:10])] + extension[:10]).strip(" .") or "audio"


def extension_of(filename: str) -> str | None:
    """The extension of a client's file name if it is one of a media file, with a dot, in small letters."""
    from ..io import supported_extensions

    found = os.path.splitext(safe_name(filename))[1].lower()
    return found if found in supported_extensions() else None


def disposition(filename: str, extension: str) -> str:
    """The ``Content-Disposition`` of a result: ``talk.wav`` becomes ``talk.enhanced.wav``; ASCII only.

    >>> disposition("talk.mp4", ".mp4")
    'attachment; filename="talk.enhanced.mp4"'
    """
    name = os.path.splitext(safe_name(filename))[0] + ".enhanced" + extension
    letters = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    plain = "".join(letters).encode("ascii", "replace").decode("ascii").replace("?", "_")
    plain = re.sub(r'["\\]', "_", plain)
    text = f'attachment; filename="{plain}"'
    return text if plain == name else text + f"; filename*=UTF-8''{quote(name, safe='')}"
