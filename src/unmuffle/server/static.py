"""The web page: a handful of files, read once, sent with headers that let them load nothing from anywhere else.

Scripts, styles and pictures come from this server only (Content-Security-Policy ``default-src 'self'``). The one inline
style sheet is that of the waveform library; it is let in by a nonce, new with every answer, so the page itself is never
cached, while its parts are, until their digest changes.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from .faults import Fault

FOLDER = Path(__file__).with_name("page")
PREFIX = "/page/"
"""Where the parts of the page are."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".flac": "audio/flac",
    "": "text/plain; charset=utf-8",  # the licence
}
_SAMPLE = Path(__file__).parents[1] / "assets" / "demo_noisy.flac"
"""A recording for people who have none at hand: the bundled one."""

_NONCE = "{{nonce}}"

_COMMON = {
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}


def policy(nonce: str) -> str:
    """The Content-Security-Policy of the page.

    >>> policy("abc").split("; ")[0]
    "default-src 'self'"
    """
    return "; ".join((
        "default-src 'self'",
        f"style-src 'self' 'nonce-{nonce}'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ))  # fmt: skip


class Page:
    """All files of the page, in memory."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: dict[str, tuple[bytes, str, str]] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in _KINDS and not path.name.startswith("."):
                self._add(path.relative_to(folder).as_posix(), path)
        self._add("sample.flac", _SAMPLE)
        self._index = self._files.pop("index.html")[0].decode("utf-8")

    def _add(self, name: str, path: Path) -> None:
        data = path.read_bytes()
        self._files[name] = (data, _KINDS[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"')

    @property
    def names(self) -> list[str]:
        """Of the parts, as they follow :data:`PREFIX`."""
        return list(self._files)

    def index(self) -> Response:
        """The page itself."""
        nonce = secrets.token_urlsafe(16)
        headers = {**_COMMON, "content-security-policy": policy(nonce), "cache-control": "no-store"}
        return Response(self._index.replace(_NONCE, nonce), 200, headers, _KINDS[".html"])

    def part(self, name: str, request: Request) -> Response:
        """One of its files, or 304 for a browser that has it.

        Raises:
            Fault: 404.
        """
        found = self._files.get(name)
        if found is None:
            raise Fault(404, "NotFound", "there is nothing at this address")
        data, kind, tag = found
        headers: dict[str, Any] = {**_COMMON, "etag": tag, "cache-control": "no-cache"}
        known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
        if tag in known:
            return Response(None, 304, headers)
        return Response(data, 200, headers, kind)
