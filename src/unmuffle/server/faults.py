"""What goes wrong, as a client sees it: ``{"error": one line, "kind": name}`` and a status code, never a traceback.

====  =====================================================================================
400   not understood: a broken multipart body, a bad header
401   no API key, or a wrong one
403   a page of a foreign origin
404   no such address, or no such job (also: a job of somebody else)
408   the client was too slow
409   the job has no result (yet)
413   too large: bytes, decoded seconds, channels
415   not a media file, or no sound in it
422   understood, but meaningless: parameters, damaged or unusable sound
429   too many requests or streams for this key
500   a fault of ours: a worker that died, an unforeseen exception
501   a part that is not installed on this server
503   no room now (capacity, queue, disk, shutting down); Retry-After says when to try again
504   the file took too long
====  =====================================================================================
"""

from __future__ import annotations

import errno
import json
from typing import Any

from ..errors import (
    InputError,
    MissingExtraError,
    ModelError,
    NotAudioError,
    OutputError,
    ParameterError,
    StreamError,
    TruncatedError,
    UnknownMethodError,
)

_STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (UnknownMethodError, 422),
    (ParameterError, 422),
    (InputError, 422),
    (StreamError, 422),
    (NotAudioError, 415),
    (TruncatedError, 422),
    (OutputError, 422),
    (MissingExtraError, 501),
    (ModelError, 500),
)


class Fault(Exception):
    """An answer that is no success.

    Attributes:
        status: of HTTP.
        kind: a name that programs can rely on.
        retry_after_s: when to try again, or ``None``.
    """

    def __init__(self, status: int, kind: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = " ".join(message.split())
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """What is sent as JSON."""
        made: dict[str, Any] = {"error": self.message, "kind": self.kind}
        if self.retry_after_s is not None:
            made["retry_after_s"] = self.retry_after_s
        return made

    def encoded(self) -> bytes:
        """The body as bytes."""
        return json.dumps(self.body()).encode()

    def headers(self) -> dict[str, str]:
        """Headers that belong to it."""
        found = {"content-type": "application/json"}
        if self.retry_after_s is not None:
            found["retry-after"] = str(max(1, round(self.retry_after_s)))
        if self.status == 401:
            found["www-authenticate"] = "Bearer"
        return found


def storage_full(error: BaseException | None) -> bool:
    """Did a full disk cause this?"""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def fault_of(error: BaseException) -> Fault:
    """The answer to an exception of the library; what is unforeseen says nothing about our insides."""
    if isinstance(error, Fault):
        return error
    if storage_full(error):
        return Fault(503, "StorageFull", "the server has no room for this file now; try again later", 30)
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return Fault(status, type(error).__name__, str(error))
    return Fault(500, "InternalError", "an unforeseen fault in the server; it has been logged there")
