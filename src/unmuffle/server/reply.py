"""A finished file on its way to the client, piece by piece; a client that takes nothing loses the connection."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_PIECE = 1 << 18

MEDIA_TYPES = {
    ".wav": "audio/wav", ".rf64": "audio/wav", ".w64": "audio/x-w64", ".caf": "audio/x-caf", ".aif": "audio/aiff",
    ".aiff": "audio/aiff", ".aifc": "audio/aiff", ".au": "audio/basic", ".flac": "audio/flac", ".mp3": "audio/mpeg",
    ".aac": "audio/aac", ".m4a": "audio/mp4", ".m4b": "audio/mp4", ".ogg": "audio/ogg", ".oga": "audio/ogg",
    ".opus": "audio/ogg", ".webm": "video/webm", ".mka": "audio/x-matroska", ".mkv": "video/x-matroska",
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".avi": "video/x-msvideo", ".ts": "video/mp2t",
}  # fmt: skip


class FileReply(Response):
    """Sends a file whole; ``after`` runs in any case, once.

    Args:
        path: the file.
        headers: beside the length.
        timeout_s: for the client to take one piece.
        after: what to do when it has been sent, or cannot be.
    """

    def __init__(self, path: Path, headers: dict[str, str], timeout_s: float, after: Callable[[], Any]) -> None:
        self._file = open(path, "rb")  # held open: a job may be deleted while it is read
        self._size = os.fstat(self._file.fileno()).st_size
        self._timeout_s = timeout_s
        self._after = after
        self.background = None
        self.status_code = 200
        self.body = b""
        extension = path.suffix
        kind = MEDIA_TYPES.get(extension, "application/octet-stream")
        self.init_headers({**headers, "content-type": kind, "content-length": str(self._size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            left = self._size
            while True:
                piece = await asyncio.to_thread(self._file.read, _PIECE)
                left = left - len(piece) if piece else 0
                message = {"type": "http.response.body", "body": piece, "more_body": left > 0}
                try:
                    await asyncio.wait_for(send(message), self._timeout_s)
                except asyncio.TimeoutError:
                    scope.get("extensions", {}).get("unmuffle.abort", {}).get("call", lambda: None)()
                    return
                if left <= 0:
                    return
        finally:
            self._file.close()
            self._after()
