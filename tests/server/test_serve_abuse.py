"""Clients that mean ill, or are broken: slow, silent, deaf, half-closed, hostile. The server outlives them."""

import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from server_helpers import (
    PATIENCE,
    ROOT,
    Running,
    control,
    dial,
    exchange,
    frame,
    get,
    heard,
    opened,
    post,
    running,
    speech,
    until,
)  # fmt: skip

from unmuffle.io import write

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")
pytest.importorskip("websockets")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server with short time-outs: for clients that are slow on purpose. (Others are slow when the machine is busy.)"""
    times = {"hello_timeout_s": 1.0, "idle_timeout_s": 1.5, "header_timeout_s": 1.0, "body_timeout_s": 1.0, "send_timeout_s": 1.5}
    with running(tmp_path_factory.mktemp("impatient"), **times, max_message_bytes=100_000) as made:
        yield made
        assert "Traceback" not in made.log.read_text()


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """A server that waits."""
    with running(tmp_path_factory.mktemp("patient"), max_message_bytes=100_000) as made:
        yield made
        assert "Traceback" not in made.log.read_text()


def answers(server):
    return get(f"{server.url}/healthz").status_code == 200


def handshake(server):
    """A WebSocket by hand, past its handshake."""
    sock = server.raw()
    sock.sendall(
        b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    assert b" 101 " in head
    return sock


def masked(payload, opcode=2):
    """A client's frame (RFC 6455) with a mask of zeros."""
    n = len(payload)
    size = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n)
    return bytes([0x80 | opcode]) + size + b"\0\0\0\0" + payload


def closes(sock):
    """Does the server end this connection? (What it still says is read and dropped.)"""
    sock.settimeout(PATIENCE)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_a_header_that_never_ends(impatient):
    for begin in (b"", b"G", b"GET /healthz HTTP/1.1\r\nX: ", b"\r\n"):
        with impatient.raw() as sock:
            sock.sendall(begin)
            assert closes(sock)
    with impatient.raw() as sock:  # a byte now and then does not help
        sock.sendall(b"GET /healthz HTTP/1.1\r\n")
        drip(sock)


def drip(sock):
    """Send a byte now and then, until the server has had enough."""
    end = time.monotonic() + PATIENCE
    with pytest.raises(OSError):
        while time.monotonic() < end:
            sock.sendall(b"x")
            time.sleep(0.1)


def test_a_header_without_measure(impatient):
    with impatient.raw() as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\n")
        try:
            for i in range(200):
                sock.sendall(b"x%d: " % i + b"y" * 1000 + b"\r\n")
            head = sock.recv(4096)
            assert b" 431 " in head
        except OSError:
            pass  # cut off while sending
        assert closes(sock)
    assert answers(impatient)


def test_a_body_that_never_ends(impatient):
    with impatient.raw() as sock:
        sock.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        head = sock.recv(4096)
        assert b" 408 " in head
        assert closes(sock)
    with impatient.raw() as sock:  # fast enough for the time-out, but slower than the least rate
        sock.sendall(b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        drip(sock)
    assert until(lambda: not impatient.folders())
    assert until(lambda: get(f"{impatient.url}/readyz").json()["files"] == 0)


def test_requests_that_are_none(impatient):
    draw = random.Random(5)
    for raw in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 5000, bytes(draw.randbytes(3000)),
                b"POST /enhance HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
                b"POST /enhance HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"GET /healthz HTTP/1.1\r\nbad header\r\n\r\n"):  # fmt: skip
        with impatient.raw() as sock:
            sock.sendall(raw)
            assert closes(sock)
    assert answers(impatient)


def test_an_upload_whose_sender_goes_away(patient):
    with patient.raw() as sock:
        sock.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000)
    with patient.raw() as sock:  # half-closed: nothing more will come, but an answer could still be read
        sock.sendall(b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 5000)
        sock.shutdown(socket.SHUT_WR)
        assert closes(sock)
    assert until(lambda: not patient.folders())
    assert until(lambda: get(f"{patient.url}/readyz").json()["files"] == 0)


def test_a_request_whose_sender_goes_away_frees_its_worker(patient, tmp_path):
    write(tmp_path / "long.flac", np.zeros((4, 100 * 48000), np.float32), 48000, "PCM_16")
    body = (tmp_path / "long.flac").read_bytes()
    with patient.raw() as sock:
        sock.sendall(b"POST /enhance?repair=declick HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert until(lambda: get(f"{patient.url}/metrics").text.count("unmuffle_file_workers_busy 1.0") == 1)
        workers = patient.children()
        assert len(workers) == 1
    assert until(lambda: not _alive(workers[0]))  # it was ended in the middle: one that is done lives on
    assert until(lambda: get(f"{patient.url}/readyz").json()["files"] == 0)
    assert until(lambda: not patient.folders())


def test_a_download_that_is_not_read(impatient, tmp_path):
    write(tmp_path / "big.wav", np.zeros((2, 30 * 96000), np.float32), 96000, "FLOAT")  # 23 MB, more than buffers hold
    body = (tmp_path / "big.wav").read_bytes()
    post(f"{impatient.url}/enhance", content=b"x")  # there is a worker now, if there was none
    before = impatient.descriptors
    with impatient.raw() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = b"POST /enhance?method=identity HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        sock.sendall(head % len(body) + body)
        assert until(lambda: get(f"{impatient.url}/metrics").text.count("unmuffle_file_places 0.0") == 1)
        assert until(lambda: not impatient.folders())  # given up, and the result with it
        assert until(lambda: impatient.descriptors <= before)


# -- WebSocket -----------------------------------------------------------------------------------------


def test_a_silent_stream_is_ended(impatient):
    from websockets.exceptions import ConnectionClosed

    def ends(ws, sends):
        said = []
        with pytest.raises(ConnectionClosed) as caught:
            if sends:
                ws.send(frame(0, speech(0.1)))  # on a busy machine it comes too late as well
            while True:
                said.append(ws.recv(timeout=PATIENCE))
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "IdleTimeout")
        return said

    with dial(impatient.ws) as ws:  # no hello at all
        assert json.loads(ends(ws, False)[-1])["kind"] == "IdleTimeout"
    with opened(impatient) as (ws, _):
        ends(ws, True)
    assert until(lambda: get(f"{impatient.url}/readyz").json()["streams"] == 0)


def test_a_stream_that_is_not_read(tmp_path):
    with running(tmp_path, send_timeout_s=1.5) as server:
        before = server.descriptors
        with handshake(server) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(masked(json.dumps({"type": "hello", "rate": 192000, "method": "identity"}).encode(), 1))
            block = np.zeros((1, 20000), np.float32)
            with pytest.raises(OSError):
                for i in range(2000):  # 160 MB; the server takes what its and the system's buffers hold, and no more
                    sock.sendall(masked(frame(i, block)))
            assert until(lambda: get(f"{server.url}/readyz").json()["streams"] == 0)
            assert until(lambda: server.descriptors <= before)


def test_a_client_that_was_told_to_go_and_sends_on_is_cut(impatient):
    """It says nothing in time, is told so, and then sends without end: that is dropped, but not without end."""
    with handshake(impatient) as sock:
        sock.sendall(masked(b'{"type": "hello", "rate": 16000}', 1))
        heard = b""
        while b"IdleTimeout" not in heard:
            heard += sock.recv(4096)
        with pytest.raises(OSError):
            for i in range(2000):  # 160 MB
                sock.sendall(masked(frame(i, np.zeros((1, 20000), np.float32))))


def test_a_message_too_large_is_1009(patient):
    from websockets.exceptions import ConnectionClosed

    with opened(patient) as (ws, ready):
        assert ready["max_message_bytes"] == 100_000
        with pytest.raises(ConnectionClosed) as caught:
            ws.send(b"\0" * 100_001)
            ws.recv(timeout=PATIENCE)
        assert caught.value.rcvd.code == 1009
    with handshake(patient) as sock:  # it says 2^62 bytes
        sock.sendall(b"\x82\xff" + struct.pack(">Q", 2**62) + b"\0\0\0\0" + b"x" * 1000)
        assert closes(sock)


def test_frames_of_ill_will(patient):
    draw = random.Random(11)
    hello = masked(b'{"type": "hello", "rate": 16000}', 1)
    hostile = [
        b"\x82\x05hello",  # without a mask
        b"\xf2\x80\0\0\0\0",  # reserved bits
        b"\x83\x80\0\0\0\0",  # an opcode that is none
        b"\x80\x80\0\0\0\0",  # the continuation of nothing
        b"\x89\xfe\x01\x00\0\0\0\0" + b"x" * 256,  # a ping beyond 125 bytes
        masked(b"\xff\xfe\xfd", 1),  # text that is not UTF-8
        masked(b"\x03", 8),  # a close of one byte
        masked(struct.pack(">H", 5), 8),  # a close code that is none
        *(draw.randbytes(draw.randint(1, 400)) for _ in range(20)),
        *(masked(draw.randbytes(draw.randint(0, 300)), draw.choice([1, 2, 9, 10])) for _ in range(20)),
    ]
    for data in hostile:
        for first in (b"", hello):
            with handshake(patient) as sock:
                sock.sendall(first + data)
                sock.shutdown(socket.SHUT_WR)  # half-closed on top
                assert closes(sock)
    assert answers(patient)
    assert until(lambda: get(f"{patient.url}/readyz").json()["streams"] == 0)
    with opened(patient) as (ws, ready):
        assert ready["type"] == "ready"
        assert exchange(ws, 0, speech(0.1)).shape[0] == 1


def test_mistakes_without_end_are_ended(patient):
    from websockets.exceptions import ConnectionClosed

    with opened(patient) as (ws, _):
        kinds = []
        with pytest.raises(ConnectionClosed) as caught:
            for _ in range(200):
                ws.send(b"x")
                kinds.append(heard(ws)["kind"])
        assert caught.value.rcvd.code == 1008
        assert len(kinds) <= 101


def test_upgrades_elsewhere_and_without_sense(patient):
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as caught:
        dial(patient.ws.replace("/stream", "/elsewhere"))
    assert caught.value.response.status_code == 404
    assert get(patient.url + "/stream").status_code == 404
    with patient.raw() as sock:
        sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert closes(sock)


def open_and_close(server, count):
    for i in range(count):
        if i % 4 == 0:
            with opened(server, method="identity") as (ws, _):
                exchange(ws, 0, speech(0.01))
        elif i % 4 == 1:
            with handshake(server) as sock:  # gone without a close frame
                sock.sendall(masked(b'{"type": "hello", "rate": 16000}', 1))
        elif i % 4 == 2:
            with server.raw() as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                sock.recv(1000)
        else:
            server.raw().close()


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_opens_and_closes_leave_nothing(patient, count):
    open_and_close(patient, 20)
    assert until(lambda: get(f"{patient.url}/readyz").json()["streams"] == 0)
    before = patient.descriptors  # what is just being closed is in it, and allows the later count as many more
    open_and_close(patient, count)
    assert until(lambda: get(f"{patient.url}/readyz").json()["streams"] == 0)
    assert until(lambda: patient.descriptors <= before + 1), (before, patient.descriptors)


# -- the end -------------------------------------------------------------------------------------------


def test_a_stopping_server_lets_streams_and_jobs_finish(tmp_path):
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    server = Running(tmp_path, drain_s=10 * PATIENCE)
    try:
        with opened(server, method="wiener") as (ws, _):
            first = exchange(ws, 0, speech(0.1))
            write(tmp_path / "talk.flac", speech(20.0), 16000, "PCM_16")
            job = post(server.url + "/jobs", content=(tmp_path / "talk.flac").read_bytes()).json()
            server.process.send_signal(signal.SIGTERM)
            said = heard(ws)
            assert said == {"type": "draining", "seconds": 10 * PATIENCE}
            second = exchange(ws, 1, speech(0.1))  # the stream goes on
            assert first.shape == second.shape
            assert control(ws, type="stats")["frames"] == 2
            assert get(server.url + "/healthz").status_code == 200
            assert get(server.url + "/readyz").status_code == 503
            reply = post(server.url + "/enhance", content=b"x")
            assert (reply.status_code, reply.json()["kind"]) == (503, "ShuttingDown")
            with pytest.raises(InvalidStatus) as caught:
                dial(server.ws)
            assert caught.value.response.status_code == 503
            assert "retry-after" in caught.value.response.headers
            url = f"{server.url}/jobs/{job['id']}"
            assert until(lambda: get(url).json()["status"] == "done")  # and so does the job
            assert get(f"{url}/result").content[:4] == b"fLaC"
            assert server.process.poll() is None
            ws.send('{"type": "bye"}')
            with pytest.raises(ConnectionClosed) as closed:
                ws.recv(timeout=PATIENCE)
            assert closed.value.rcvd.code == 1000
        assert server.process.wait(PATIENCE) == 0
        assert not list(server.spool.iterdir())
    finally:
        server.stop()


def test_a_stream_beyond_the_drain_time_is_told_and_cut(tmp_path):
    from websockets.exceptions import ConnectionClosed

    server = Running(tmp_path, drain_s=0.5)
    try:
        with opened(server) as (ws, _):
            server.process.send_signal(signal.SIGINT)
            kinds = []
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    kinds.append(heard(ws).get("kind"))
            assert kinds[-1] == "ShuttingDown"
            assert closed.value.rcvd.code == 1012
        assert server.process.wait(PATIENCE) == 0
    finally:
        server.stop()


def test_a_killed_server_takes_its_workers_along_and_the_next_one_tidies_up(tmp_path):
    write(tmp_path / "long.flac", np.zeros((4, 100 * 48000), np.float32), 48000, "PCM_16")
    server = Running(tmp_path, drain_s=0.5)
    try:
        post(server.url + "/jobs?repair=declick", content=(tmp_path / "long.flac").read_bytes())
        assert until(lambda: len(server.folders()) == 1)
        assert until(server.children)
        workers = server.children()
        server.process.kill()
        server.process.wait()
        assert until(lambda: not any(os.path.exists(f"/proc/{pid}") and _alive(pid) for pid in workers))
        left = list(server.spool.iterdir())
        assert left
    finally:
        server.stop()
    with running(tmp_path, drain_s=0.5) as second:
        assert not any(folder.exists() for folder in left)
        assert answers(second)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_command_serves_and_says_where(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "UNMUFFLE_API_KEYS": ""}
    command = [sys.executable, "-m", "unmuffle", "serve", "--port", "0", "--workers", "1", "--drain", "1", "--spool", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
    try:
        line = process.stderr.readline().decode()
        assert line.startswith("unmuffle serve: http://127.0.0.1:")
        url = line.split()[2]
        assert get(url + "/healthz").status_code == 200
        port = url.rsplit(":", 1)[1]
        second = subprocess.run([*command[:5], port, *command[6:]], capture_output=True, env=environment, text=True, check=False)
        assert second.returncode == 2
        assert "choose another --port" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()
    assert not list(tmp_path.iterdir())
