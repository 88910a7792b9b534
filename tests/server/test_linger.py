"""An early answer arrives, whatever the client is still sending."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest
from server_helpers import running, until

from unmuffle.server import linger
from unmuffle.server.linger import Lingering


def answered(sock):
    """Wait until an answer has begun to arrive, without taking any of it."""
    sock.setblocking(True)
    return sock.recv(1, socket.MSG_PEEK) != b""


def rest(sock):
    """All that comes until the other side ends."""
    parts = []
    while True:
        piece = sock.recv(65536)
        if not piece:
            return b"".join(parts)
        parts.append(piece)


def header(line, length, *more):
    return "\r\n".join([line, "host: x", f"content-length: {length}", *more, "", ""]).encode()


def kind(answer):
    head, body = answer.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), json.loads(body)["kind"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("PATCH /stream HTTP/1.1", (404, "NotFound")),
        ("PUT /enhance HTTP/1.1", (405, "WrongVerb")),
        ("POST /enhance?strength=-3 HTTP/1.1", (422, "ParameterError")),
        ("POST /jobs?method=no-such-method HTTP/1.1", (422, "UnknownMethodError")),
    ],
)
@pytest.mark.parametrize("size", [1, 300_000])
def test_a_refusal_before_the_body_arrives(server, line, expected, size):
    with server.raw() as sock:
        sock.sendall(header(line, size))
        assert answered(sock)  # the server has said no and closed its half
        sock.sendall(b"x" * size)
        time.sleep(0.1)  # a reset would have come by now, and have taken the answer along
        assert kind(rest(sock)) == expected


def test_a_refusal_amid_a_long_upload_arrives(server):
    size = 8_000_000  # the limit is 3 MB; the buffers of a loopback socket hold less
    with server.raw() as sock:
        sock.sendall(header("POST /enhance HTTP/1.1", size))
        sock.sendall(b"x" * size)
        assert kind(rest(sock)) == (413, "UploadTooLarge")


def test_a_refusal_of_what_is_no_http_arrives(server):
    with server.raw() as sock:
        sock.sendall(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
        assert answered(sock)
        sock.sendall(b"x" * 100_000)
        time.sleep(0.1)
        assert kind(rest(sock)) == (400, "BadRequest")


def test_a_whole_request_is_answered_and_closed(server):
    with server.raw() as sock:
        sock.sendall(header("PATCH /stream HTTP/1.1", 3) + b"abc")
        assert kind(rest(sock))[0] == 404


def test_what_follows_a_refused_request_is_not_carried_out(server):
    with server.raw() as sock:
        sock.sendall(header("PATCH /stream HTTP/1.1", 3))
        assert answered(sock)
        sock.sendall(b"abc" + header("POST /jobs HTTP/1.1", 3) + b"abc" + header("GET /healthz HTTP/1.1", 0))
        assert rest(sock).count(b"HTTP/1.1") == 1


def test_a_client_that_sends_for_ever_is_cut(server):
    before = server.descriptors
    with server.raw() as sock:
        sock.sendall(header("PATCH /stream HTTP/1.1", 1 << 40))
        with pytest.raises(OSError):  # broken pipe or reset, after the limit of bytes or of time
            while True:
                sock.sendall(b"x" * 65536)
                time.sleep(0.001)
        assert until(lambda: server.descriptors <= before)


def test_a_client_that_sends_nothing_more_is_closed(tmp_path):
    with running(tmp_path, linger_s=0.5) as server:
        before = server.descriptors
        with server.raw() as sock:
            sock.sendall(header("PATCH /stream HTTP/1.1", 5, "expect: 100-continue"))
            assert kind(rest(sock))[0] == 404  # and no "100 Continue" before
            assert until(lambda: server.descriptors <= before)


class Transport:
    """Counts what is asked of it."""

    def __init__(self):
        self.calls = []

    def is_closing(self):
        return "close" in self.calls

    def can_write_eof(self):
        return True

    def __getattr__(self, name):
        return lambda *values: self.calls.append(name)


def test_the_two_steps(monkeypatch):
    async def scene():
        whole = False
        bare = Transport()
        made = Lingering(bare, lambda: not whole)
        made.write(b"answer")
        made.close()
        assert bare.calls == ["write", "write_eof", "resume_reading"]
        assert made.is_closing()
        made.write(b"too late")
        made.dropped(10)
        assert "close" not in bare.calls
        whole = True
        made.dropped(10)
        assert bare.calls[-1] == "close"
        assert bare.calls.count("write") == 1

        bare = Transport()
        Lingering(bare, lambda: False).close()  # nothing is unread
        assert bare.calls == ["close"]

        bare = Transport()
        made = Lingering(bare, lambda: True)
        made.close()
        made.close()  # asked again, as when the server stops
        assert bare.calls[-1] == "close"

        bare = Transport()
        made = Lingering(bare, lambda: True)
        made.close()
        made.dropped(linger.LINGER_BYTES + 1)
        assert bare.calls[-1] == "close"

        monkeypatch.setattr(linger, "LINGER_S", 0.05)
        bare = Transport()
        Lingering(bare, lambda: True).close()
        await asyncio.sleep(0.5)
        assert bare.calls[-1] == "close"

        bare = Transport()
        made = Lingering(bare, lambda: True)
        made.close()
        made.abort()
        assert bare.calls[-1] == "abort"

    asyncio.run(scene())
