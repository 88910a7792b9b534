"""Alerts to a webhook: bounded, repeated on failure, and never in the way of the sound.

``send`` puts an alert into a short queue and returns at once; a thread of its own posts it as JSON. When the queue is
full the alert is dropped and counted. One that cannot be delivered is tried again after 1, 2, 4 ... s, a few times.
The same alert (kind and subject) is sent once in ``quiet_s``; what was held back is told with the next one
(``repeats``). Redirections are not followed: the address is where alerts go, and nowhere else.

The body::

    {"kind": "drift", "subject": "snr_db", "message": "...", "severity": "warning",
     "time": "2026-01-31T12:00:00Z", "repeats": 0, "details": {...}}
"""

from __future__ import annotations

import json
import logging
import math
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..errors import ParameterError

_log = logging.getLogger("unmuffle.quality")

KINDS: Final = ("limit", "drift", "fallback", "recovered")
"""What an alert can be about."""

_REMEMBERED = 1000  # pairs of kind and subject; the oldest are forgotten


@dataclass(frozen=True)
class Alert:
    """Something that a person should know.

    Attributes:
        kind: one of :data:`KINDS`.
        subject: what it is about: a figure, a method. With ``kind`` it says which alerts are the same.
        message: in words.
        severity: ``info``, ``warning`` or ``error``.
        details: plain values.
    """

    kind: str
    subject: str
    message: str
    severity: str = "warning"
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ParameterError(f"kind = {self.kind!r}; an alert is one of {', '.join(KINDS)}")


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Webhook:
    """Where alerts go.

    Args:
        url: ``http://`` or ``https://``.
        timeout_s: for one attempt.
        attempts: in all.
        pause_s: after the first failure; doubled after each.
        room: alerts that may wait.
        quiet_s: least time between two equal alerts.
        headers: sent along, such as ``Authorization``.

    Attributes:
        sent, failed, dropped, held_back: counts of alerts.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        attempts: int = 4,
        pause_s: float = 1.0,
        room: int = 64,
        quiet_s: float = 300.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ParameterError(f"webhook {url!r}; give an address that starts with https:// or http://")
        for name, value, low in (("timeout_s", timeout_s, 0), ("attempts", attempts, 0), ("room", room, 0)):
            if not value > low:
                raise ParameterError(f"{name} = {value!r}; give more than {low}")
        self._url = url
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._pause_s = pause_s
        self._quiet_s = quiet_s
        self._headers = {"content-type": "application/json", "user-agent": "unmuffle", **(headers or {})}
        self._opener = build_opener(_NoRedirect)
        self._queue: queue.Queue[bytes | None] = queue.Queue(room)
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.sent = self.failed = self.dropped = self.held_back = 0
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def send(self, alert: Alert) -> bool:
        """Hand over an alert; never waits, never raises. False: it was dropped, or held back."""
        now, same = time.monotonic(), (alert.kind, alert.subject)
        with self._lock:
            last, repeats = self._last.pop(same, (-math.inf, 0))
            if now - last < self._quiet_s or self._closing.is_set():
                self._last[same] = (last, repeats + 1)
                self.held_back += 1
                return False
            try:
                self._queue.put_nowait(_encoded(alert, repeats))
            except queue.Full:
                self.dropped += 1
                return False
            self._last[same] = (now, 0)
            if len(self._last) > _REMEMBERED:
                del self._last[next(iter(self._last))]
        return True

    def close(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits, for at most this long; later alerts are held back."""
        self._closing.set()
        with suppress(queue.Full):  # the thread looks at the flag as well
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                body = self._queue.get(timeout=1.0)
            except queue.Empty:
                if self._closing.is_set():
                    return
                continue
            if body is None:
                return
            self._deliver(body)

    def _deliver(self, body: bytes) -> None:
        for attempt in range(self._attempts):
            # After close there is one attempt for each that waits: the process wants to end.
            if attempt and self._closing.wait(self._pause_s * 2.0 ** (attempt - 1)):
                break
            why = self._post(body)
            if why is None:
                self.sent += 1
                return
        _log.warning("an alert could not be delivered: %s", why)
        self.failed += 1

    def _post(self, body: bytes) -> str | None:
        """One attempt; returns why it failed."""
        try:
            request = Request(self._url, body, self._headers, method="POST")
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(4096)  # so that the connection ends in order; nothing of it is used
            return None
        except (URLError, OSError, ValueError) as error:  # HTTP errors are URLErrors
            return str(error)
        except Exception as error:  # a server that speaks no HTTP
            return repr(error)


def _encoded(alert: Alert, repeats: int) -> bytes:
    return json.dumps(
        {
            "kind": alert.kind,
            "subject": alert.subject,
            "message": alert.message,
            "severity": alert.severity,
            "time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "repeats": repeats,
            "details": {k: v if _plain(v) else str(v) for k, v in alert.details.items()},
        },
        ensure_ascii=False,
    ).encode()


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
