"""What every request passes first: origin, key, limits, counting. In the end, headers that keep browsers careful.

Origins. A web page may send requests to any address that its visitor can reach, ``127.0.0.1`` included; browsers say
where the page came from. With ``origins`` set, pages from elsewhere are refused with 403. Without, a server on a
loopback address accepts all (its answers can still not be read by foreign pages, as no CORS header is sent), and one on
any other address only its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import static
from .faults import Fault
from .keys import key_of

if TYPE_CHECKING:
    from .state import State

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPEN = ("/healthz", "/readyz")
"""Answered without a key and without limits: they say nothing, and must work when all else is busy."""

_ROUTES = (
    "enhance", "jobs", "listen", "scores", "stream", "healthz", "readyz", "metrics", "methods", "about", "openapi.json",
    "asyncapi.json",
)  # fmt: skip
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def is_open(path: str) -> bool:
    """Is this address answered without a key? The page is: it asks for one."""
    return path in OPEN or path == "/" or path.startswith(static.PREFIX)


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: Any, state: State) -> None:
        self._app = app
        self._state = state
        state.guard = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self._state
        headers = dict(scope["headers"])
        cors = self._cors(headers)
        status = 500

        async def answering(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = list(message.get("headers", []))
                named = {name for name, _ in given}
                message["headers"] = [*given, *((k, v) for k, v in _HEADERS if k not in named), *cors]
                if status >= 400 and scope["method"] not in ("GET", "HEAD"):
                    message["headers"].append((b"connection", b"close"))  # the rest of a body is not wanted
            await send(message)

        if is_open(scope["path"]):
            await self._app(scope, receive, answering)
            return
        state.requests += 1
        try:
            try:
                self._check_origin(headers)
                if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers and cors:
                    await answering({"type": "http.response.start", "status": 204, "headers": _PREFLIGHT})
                    await answering({"type": "http.response.body", "body": b""})
                    return
                self._admit(scope, headers)
                if state.requests > state.config.max_requests:
                    text = f"{state.config.max_requests} requests are being answered; try later"
                    raise Fault(503, "Busy", text, state.config.retry_after_s)
            except Fault as fault:
                await self.answer(fault, answering)
                return
            await self._app(scope, receive, answering)
        finally:
            state.requests -= 1
            first = scope["path"].split("/")[1] if "/" in scope["path"] else ""
            route = first if first in _ROUTES else "other"
            state.metrics.requests.labels(route, str(status)).inc()

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            self._check_origin(headers)
            if self._state.config.keys and key_of(headers) is None:
                scope["unmuffle.owner"] = None  # the key may come with the hello
            else:
                self._admit(scope, headers)
            if self._state.draining:
                raise self._state.shutting_down()
            if len(self._state.sessions) >= 2 * self._state.config.max_streams:
                text = f"{len(self._state.sessions)} connections are open; try later"
                raise Fault(503, "Busy", text, self._state.config.retry_after_s)
            if scope["path"] != "/stream":
                raise Fault(404, "NotFound", "streams are at /stream")
        except Fault as fault:
            await receive()
            await self.answer(fault, send, "websocket.http.response")
            return
        await self._app(scope, receive, send)

    async def answer(self, fault: Fault, send: Send, kind: str = "http.response") -> None:
        """Answer with a fault."""
        self._state.metrics.errors.labels(fault.kind).inc()
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in fault.headers().items()]
        body = fault.encoded()
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": f"{kind}.start", "status": fault.status, "headers": headers})
        await send({"type": f"{kind}.body", "body": body})

    # -- who -------------------------------------------------------------------------------------

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        scope["unmuffle.owner"] = self._owner(key_of(headers))
        self._state.limits.request(self._counted(scope))

    def _owner(self, key: str | None) -> str:
        """The name behind a key; "" on a server without keys."""
        keys = self._state.config.keys
        if not keys:
            return ""
        owner = keys.owner(key)
        if owner is None:
            text = "this server wants an API key: send it as  Authorization: Bearer KEY"
            raise Fault(401, "NoKey" if key is None else "WrongKey", text)
        return owner

    @staticmethod
    def _counted(scope: Scope) -> str:
        """Whose limits count: the key's, or without keys the address's."""
        client = scope.get("client")
        return scope.get("unmuffle.owner") or (client[0] if client else "")

    def owner_of_stream(self, scope: Scope, key: str | None) -> str:
        """Who a stream belongs to; the key comes with the hello if it did not come with the handshake.

        Raises:
            Fault: 401 or 429.
        """
        if scope.get("unmuffle.owner") is None:
            scope["unmuffle.owner"] = self._owner(key)
            self._state.limits.request(self._counted(scope))
        return self._counted(scope)

    # -- where from ------------------------------------------------------------------------------

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1")
        config = self._state.config
        if not origin or origin in config.origins or "*" in config.origins:
            return
        if config.loopback and not config.origins:
            return
        if urlsplit(origin).netloc == headers.get(b"host", b"").decode("latin-1"):
            return
        raise Fault(403, "ForeignOrigin", "pages of this origin may not use this server; see --origin")

    def _cors(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        origin = headers.get(b"origin", b"").decode("latin-1")
        config = self._state.config
        if not origin or not (origin in config.origins or "*" in config.origins):
            return []
        exposed = b"content-disposition, retry-after, location, x-unmuffle-method, x-unmuffle-latency-ms"
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"vary", b"origin"),
            (b"access-control-expose-headers", exposed),
        ]


_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, x-api-key, content-type, content-disposition"),
    (b"access-control-max-age", b"600"),
]
