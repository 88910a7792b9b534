"""The process: a listening socket, time-outs below the application, and an orderly end.

uvicorn waits for ever for the rest of a header, closes a socket on a client that is still sending, and closes
WebSockets at once when it is asked to stop. All three are put right here: a header has to be whole within
``header_timeout_s`` and 64 KiB; a connection that is to be closed is closed so that an early answer arrives
(:mod:`.linger`), and cut when its client does not take what is left; SIGTERM or Ctrl-C first lets streams and requests
finish.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

from ..errors import ParameterError
from .app import create_app
from .config import ServerConfig
from .frames import Cutter, binary
from .linger import LINGER_BYTES, Lingering
from .session import Session
from .state import State

_log = logging.getLogger("unmuffle.server")

MAX_HEADER = 64 << 10

AT_ONCE = 16
"""Messages of one connection that are answered in one go when they arrive together; then others get their turn."""

SWITCH_S = 0.0002
"""Longest that a thread keeps the interpreter when another waits (Python's default, 5 ms, is half a frame)."""


def _with_abort(scope: Any, transport: asyncio.Transport) -> None:
    scope.setdefault("extensions", {})["unmuffle.abort"] = {"call": transport.abort}


def protocols(config: ServerConfig) -> tuple[type[HttpToolsProtocol], type[WebSocketsSansIOProtocol]]:
    """The protocol classes, with this server's limits."""

    class Http(HttpToolsProtocol):
        """HTTP/1.1, with limits on the header, and a close that lets an early answer arrive."""

        _head = True
        _head_bytes = 0
        _broken = False
        _timer: asyncio.TimerHandle | None = None
        _close: Lingering

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._close = Lingering(transport, self._unread)
            super().connection_made(self._close)  # type: ignore[arg-type]
            self._arm()

        def _unread(self) -> bool:
            """Has the client begun a request that is not whole yet?"""
            return self._broken or not self._head or self._head_bytes > 0

        def _arm(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(config.header_timeout_s, self._late)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            self._timer = None
            if self.transport.is_closing():
                return
            if self.cycle is not None and not self.cycle.response_complete:
                self._arm()  # a request is being answered: what came after it may wait
                return
            self._refuse(408, "HeaderTimeout", f"the header was not whole after {config.header_timeout_s:g} s")

        def _refuse(self, status: int, kind: str, text: str) -> None:
            self._broken = True  # where this request ends is not known
            body = json.dumps({"error": text, "kind": kind}).encode()
            head = f"HTTP/1.1 {status} {kind}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.close()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, "BadRequest", msg)

        def data_received(self, data: bytes) -> None:
            if self._close.waiting:
                if not self._broken:
                    self._follow(data)
                self._close.dropped(len(data))
                return
            if self._head:
                self._arm()
                self._head_bytes += len(data)
            super().data_received(data)
            if self._head and self._head_bytes > MAX_HEADER and not self.transport.is_closing():
                self._refuse(431, "HeaderTooLarge", f"a header of more than {MAX_HEADER} bytes")

        def _follow(self, data: bytes) -> None:
            """Only to see where the request ends."""
            try:
                self.parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self._broken = True

        def handle_websocket_upgrade(self) -> None:
            if self.transport.is_closing():
                return
            self.transport = self._close.bare  # the other protocol has an order of its own for its end
            super().handle_websocket_upgrade()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            _with_abort(self.scope, self.transport)

        def on_headers_complete(self) -> None:
            self._head, self._head_bytes = False, 0
            self._disarm()
            if not self.transport.is_closing():  # else the answer to a request after it could not be sent
                super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._head = True

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

    class WebSocket(WebSocketsSansIOProtocol):
        """WebSocket, with a short way for the frames of streams, and one to cut a client off that does not read."""

        _handshake = True
        _session: Session
        _room = _for_nothing = 0
        _paused = False  # more frames have come than are answered in one go
        _out: list[bytes]
        _cutter: Cutter

        def handle_connect(self, event: Any) -> None:
            super().handle_connect(event)
            if hasattr(self, "scope"):
                _with_abort(self.scope, self.transport)
                self.scope["extensions"]["unmuffle.direct"] = {"call": self._direct, "door": self}

        def _direct(self, session: Session) -> None:
            """From now on the session is asked first for the answer to a binary message."""
            self._session = session
            self._cutter.taking = True

        def data_received(self, data: bytes) -> None:
            if self._handshake:  # given by the HTTP protocol, whole
                self._handshake = False
                self._cutter, self._out = Cutter(self._plain, self._library), []
                super().data_received(data)
                return
            if self.close_sent:  # what the client still sends is dropped, but not without end
                self._for_nothing += len(data)
                if self._for_nothing > LINGER_BYTES:
                    self.transport.abort()
                    return
            if self._paused:
                self._cutter.hold(data)
            else:
                self._feed(data)

        def _feed(self, data: bytes) -> None:
            self._room = AT_ONCE
            self._cutter.feed(data)
            if self._out:
                self._write_out()
            if self._paused:
                self.transport.pause_reading()
                self.loop.call_soon(self._go_on)

        def _go_on(self) -> None:
            """The others have had their turn."""
            self._paused = False
            if self.transport.is_closing():
                return
            self._session.settle()
            self._feed(b"")
            if not self._paused and not self.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()

        def _library(self, data: bytes) -> None:
            if self._cutter.taking:
                self._session.settle()
            self._write_out()
            super().data_received(data)

        def _plain(self, payload: bytes) -> bool:
            if self.conn.state is not OPEN or self.transport.is_closing():
                return True  # what comes after a close counts for nothing
            if self.queue.empty() and self.writable.is_set():
                if not self._room:
                    self._paused = True
                    return False
                self._room -= 1
                answer = self._session.at_once(payload)
                if answer is not None:
                    if answer:
                        self._out.append(binary(answer))
                    return True
            self.refer(payload)
            return True

        def answer(self, payload: bytes) -> None:
            """Send the answer to a message that was taken earlier."""
            self.send_framed(binary(payload))

        def send_framed(self, message: bytes) -> None:
            """Send a binary message that has its header already."""
            if self.conn.state is OPEN and not self.transport.is_closing():
                if self._out:
                    self._write_out()
                self.transport.write(message)

        def refer(self, payload: bytes) -> None:
            """A message for the task of the connection."""
            self._session.settle()
            self._write_out()
            if self.transport.is_closing():
                return
            self.frames, self.curr_msg_data_type = [payload], "bytes"
            super().send_receive_event_to_app()

        def _write_out(self) -> None:
            """Answers of one turn, with one call of the system."""
            if self._out:
                self.transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
                self._out = []

        def send_receive_event_to_app(self) -> None:
            if self.curr_msg_data_type == "text":
                try:
                    b"".join(self.frames).decode()
                except UnicodeDecodeError:  # uvicorn would fill the log with a traceback for each
                    self.frames = []
                    self.conn.send_close(1007)
                    self.handle_parser_exception()
                    return
            super().send_receive_event_to_app()

        async def send(self, message: Any) -> None:
            if self.close_sent and message["type"] == "websocket.send":
                raise ClientDisconnected  # closed by us for want of an answer to pings; uvicorn would call it our fault
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
                self.handshake_complete = True  # refused in order; uvicorn would report a missing handshake

    return Http, WebSocket


class Server(uvicorn.Server):
    """uvicorn's server with an end in two steps: drain, then stop."""

    def __init__(self, config: uvicorn.Config, state: State, told: Callable[[str], None]) -> None:
        super().__init__(config)
        self._unmuffle = state
        self._told = told
        self._asked = 0
        self._drain: asyncio.Task[None] | None = None
        self._closing: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._told(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The first signal lets streams and requests finish, the second does not."""
        self._asked += 1
        if self._asked > 1:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._asked and self._drain is None:
            self._drain = asyncio.create_task(self._end())
        if counter % 10 == 0:
            self._cut_deaf()
        return await super().on_tick(counter)

    async def _end(self) -> None:
        state = self._unmuffle
        _log.info("draining for up to %g s", state.config.drain_s)
        end = time.monotonic() + state.config.drain_s
        await state.drain()
        while not state.idle and time.monotonic() < end:
            await asyncio.sleep(0.05)
        await state.cut()
        self.should_exit = True

    def _cut_deaf(self) -> None:
        """Connections that are being closed, but whose client does not take the rest."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            if connection.transport is not None and connection.transport.is_closing():
                since = self._closing.setdefault(connection, now)
                if now - since > self._unmuffle.config.send_timeout_s:
                    connection.transport.abort()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ParameterError: the address is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError, OverflowError) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise ParameterError(f"cannot listen on {host} port {port}: {text}; choose another --port or --host") from None


def serve(config: ServerConfig, *, told: Callable[[str], None] = lambda url: None, log_level: str = "warning") -> None:
    """Run a server until it is asked to stop; returns after an orderly end.

    Args:
        config: all settings.
        told: called with the address once it answers.
        log_level: ``warning``, ``info`` ...

    Raises:
        ParameterError: the address cannot be used.
    """
    app = create_app(config)
    http, websocket = protocols(config)
    made = uvicorn.Config(
        app,
        http=http,
        ws=websocket,
        lifespan="on",
        ws_max_size=config.max_message_bytes,
        ws_per_message_deflate=False,  # sound does not shrink, and a small message must not grow to a large one
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level=log_level,
        timeout_graceful_shutdown=5,
    )
    server = Server(made, app.state.unmuffle, told)
    sock = listen(config.host, config.port)
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        server.run(sockets=[sock])
    finally:
        sys.setswitchinterval(before)
        sock.close()
