"""The live door of the server: added latency of one stream, and how many fit on a core.

    OMP_NUM_THREADS=1 python bench/server.py [METHOD ...] [--block-ms 10] [--seconds 20] [--no-save]

A server in one process, all clients in a second one (this), on loopback. The client writes frames by hand, with
one system call each way, so that it measures the server and not a client library. It needs a core of its own: some
15 us for each frame there and back.

*latency*: one stream, one frame each block length; round trip as the client sees it, and that minus the method's own
time for such a block (measured in this process), which is what the server adds.

*streams*: a live stream more as long as the server admits it, all of them fed in real time, ``stream_load`` at 1 core.
Then four fifths of them for some seconds: round trip of all frames, and processor time of the server. Processor time
is what other programs on the machine disturb least; round trips mean something only where two cores are free.
"""

from __future__ import annotations

import common  # first: one thread

import argparse  # isort: skip
import heapq
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

RATE = 16_000
SETTINGS = {"late_share": 1.0, "workers": 1, "drain_s": 0.5, "idle_timeout_s": 60.0}
CODE = """
import json, sys
from unmuffle.server.config import ServerConfig
from unmuffle.server.run import serve
serve(ServerConfig(port=0, **json.loads(sys.argv[1])), told=lambda url: print(url, flush=True))
"""


class Client:
    """One stream, with the least work on this side."""

    def __init__(self, port: int, method: str, block: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(
            b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._held = b""
        while b"\r\n\r\n" not in self._held:
            self._held += self.sock.recv(4096)
        self._held = self._held.partition(b"\r\n\r\n")[2]
        hello = {"type": "hello", "rate": RATE, "method": method, "block_ms": 1000 * block / RATE}
        self.sock.sendall(self._packed(json.dumps(hello).encode(), 1))
        self.ready: dict[str, Any] = json.loads(self._message())
        self.sock.settimeout(None)  # a socket with a time-out is asked first whether it is ready
        noise = 0.1 * np.random.default_rng(0).standard_normal((16, block))
        self._payloads = [each.astype("<f4").tobytes() for each in noise]
        self._head = self._packed(bytes(4 + len(self._payloads[0])), 2)[: -4 - len(self._payloads[0])]
        self.number = 0
        self.sent: dict[int, float] = {}

    @staticmethod
    def _packed(data: bytes, opcode: int) -> bytes:
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        return bytes([0x80 | opcode]) + size + b"\0\0\0\0" + data  # masked with zeros

    def _message(self) -> bytes:
        while True:
            for _, message in self._parsed():
                return message
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed a stream")
            self._held += data

    def _parsed(self) -> list[tuple[int, bytes]]:
        found = []
        while len(self._held) >= 2:
            size, at = self._held[1], 2
            if size == 126:
                if len(self._held) < 4:
                    break
                size, at = struct.unpack(">H", self._held[2:4])[0], 4
            if len(self._held) < at + size:
                break
            code = self._held[0] & 15
            if code in (1, 2):
                found.append((code, self._held[at : at + size]))
            elif code == 9:  # a server that gets no answer closes
                self.sock.sendall(self._packed(self._held[at : at + size], 10))
            self._held = self._held[at + size :]
        return found

    def send(self) -> None:
        """The next frame."""
        number = self.number
        data = self._head + number.to_bytes(4, "little") + self._payloads[number % 16]
        self.sent[number] = time.perf_counter()
        self.sock.sendall(data)
        self.number = number + 1

    def receive(self) -> list[float]:
        """What has come: round trips."""
        data = self.sock.recv(8192)
        now = time.perf_counter()
        if not data:
            raise ConnectionError("the server closed a stream")
        if not self._held and data[0] == 0x82:  # mostly one answer, whole
            at = 2 if data[1] < 126 else 4
            size = data[1] if at == 2 else data[2] << 8 | data[3]
            if len(data) == at + size:
                return [now - self.sent.pop(int.from_bytes(data[at : at + 4], "little"))]
        self._held += data
        return [now - self.sent.pop(struct.unpack("<I", m[:4])[0]) for code, m in self._parsed() if code == 2]


class Load:
    """Streams that are fed in real time, from one thread."""

    def __init__(self, block_s: float) -> None:
        self._block_s = block_s
        self._poll = select.epoll()
        self._by_file: dict[int, Client] = {}
        self._due: list[tuple[float, int, Client]] = []
        self.clients: list[Client] = []

    def add(self, client: Client) -> None:
        """One more, at a moment of its own within the block."""
        self.clients.append(client)
        self._poll.register(client.sock.fileno(), select.EPOLLIN)
        self._by_file[client.sock.fileno()] = client
        phase = (len(self.clients) * 0.618) % 1.0
        heapq.heappush(self._due, (time.perf_counter() + phase * self._block_s, len(self.clients), client))

    def drop(self, count: int) -> None:
        """Close the last ones."""
        for _ in range(count):
            client = self.clients.pop()
            self._poll.unregister(client.sock.fileno())
            del self._by_file[client.sock.fileno()]
            client.sock.close()
        left = set(map(id, self.clients))
        self._due = [item for item in self._due if id(item[2]) in left]
        heapq.heapify(self._due)

    def run(self, seconds: float) -> tuple[list[float], float]:
        """Feed all; round trips, and by how much this side was late itself (median)."""
        trips: list[float] = []
        late: list[float] = []
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            for _ in range(len(self._due)):  # one each at most: who is late himself must still listen
                due, order, client = self._due[0]
                if due > now:
                    break
                late.append(now - due)
                client.send()
                heapq.heapreplace(self._due, (due + self._block_s, order, client))
                now = time.perf_counter()
            wait = max(0.0, min(self._due[0][0] if self._due else end, end) - time.perf_counter())
            for file, _ in self._poll.poll(wait):
                trips.extend(self._by_file[file].receive())
        return trips, float(np.median(late)) if late else 0.0


def start(**settings: Any) -> tuple[subprocess.Popen[bytes], int]:
    """A server, and its port."""
    environment = {**os.environ, "PYTHONPATH": str(common.ROOT / "src")}
    command = [sys.executable, "-c", CODE, json.dumps({**SETTINGS, **settings})]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert server.stdout is not None
    return server, int(server.stdout.readline().decode().rsplit(":", 1)[1])


def stop(server: subprocess.Popen[bytes]) -> None:
    """End this one server."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def processor_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric(port: int, name: str) -> float:
    """One number of /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise KeyError(name)


def method_ms(method: str, block: int) -> tuple[float, float]:
    """The method's own time for a block: p50 and p99, in milliseconds."""
    from unmuffle.enhancers.registry import load

    stream = load(method).stream(RATE)
    noise = (0.1 * np.random.default_rng(0).standard_normal((2000, block))).astype(np.float32)
    times = []
    for x in noise:
        begun = time.perf_counter()
        stream.process(x)
        times.append(time.perf_counter() - begun)
    p50, p99 = np.percentile(times, (50, 99))
    return 1e3 * float(p50), 1e3 * float(p99)


def latency(method: str, block: int, seconds: float) -> dict[str, float]:
    """One stream alone."""
    server, port = start()
    try:
        load = Load(block / RATE)
        load.add(Client(port, method, block))
        load.run(2.0)
        trips, late = load.run(seconds)
        load.clients[0].sock.sendall(Client._packed(b'{"type": "stats"}', 1))
        time.sleep(0.5)
        p50, p99 = np.percentile(trips, (50, 99))
        own50, own99 = method_ms(method, block)
        return {
            "frames": len(trips), "round_trip_p50_ms": 1e3 * p50, "round_trip_p99_ms": 1e3 * p99,
            "round_trip_max_ms": 1e3 * max(trips), "method_p50_ms": own50, "method_p99_ms": own99,
            "added_p50_ms": 1e3 * p50 - own50, "client_late_ms": 1e3 * late,
        }  # fmt: skip
    finally:
        stop(server)


def streams(method: str, block: int, seconds: float) -> dict[str, Any]:
    """As many as are admitted."""
    server, port = start(stream_load=1.0)
    try:
        load = Load(block / RATE)
        refusal = {}
        while len(load.clients) < 1000:
            client = Client(port, method, block)
            if client.ready["type"] != "ready":
                refusal = client.ready
                client.sock.close()
                break
            load.add(client)
            load.run(0.1 if len(load.clients) % 5 else 0.6)
        admitted = len(load.clients)
        cost = metric(port, "unmuffle_message_cost_seconds")
        load.drop(admitted - max(1, int(0.8 * admitted)))
        for _ in range(10):  # what was left over from the ramp is worked off first
            trips, _ = load.run(1.0)
            if trips and np.median(trips) < block / RATE:
                break
        used, begun = processor_s(server.pid), time.perf_counter()
        trips, late = load.run(seconds)
        share = (processor_s(server.pid) - used) / (time.perf_counter() - begun)
        p50, p99 = np.percentile(trips, (50, 99))
        per_frame = share * seconds / max(1, len(trips))
        expected = len(load.clients) * (seconds / (block / RATE))
        return {
            "processor_us_per_frame": 1e6 * per_frame, "streams_per_core_by_processor_time": block / RATE / per_frame,
            "admitted": admitted, "refusal": refusal.get("error", "none"), "message_cost_us": 1e6 * cost,
            "at_80_percent": {
                "streams": len(load.clients), "server_cores": share, "round_trip_p50_ms": 1e3 * p50,
                "round_trip_p99_ms": 1e3 * p99, "frames_answered": len(trips) / expected, "client_late_ms": 1e3 * late,
            },
        }  # fmt: skip
    finally:
        stop(server)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["log-mmse"])
    parser.add_argument("--block-ms", type=float, nargs="+", default=[10.0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    from unmuffle.enhancers import registry

    before = common.load_average()
    results: list[dict[str, Any]] = []
    for method in options.methods:
        for block_ms in options.block_ms:
            block = round(RATE * block_ms / 1000)
            row: dict[str, Any] = {"method": method, "block_ms": block_ms}
            row["latency"] = latency(method, block, options.seconds)
            row["streams"] = streams(method, block, min(options.seconds, 10.0))
            results.append(row)
            one, many = row["latency"], row["streams"]
            print(f"{method}, {block_ms:g} ms: {json.dumps(row, indent=1)}")
            print(common.verdict("one stream, added p50", one["added_p50_ms"], 2, unit=" ms"))
            print(common.verdict("one stream, round trip p99", one["round_trip_p99_ms"], 10, unit=" ms"))
            wanted = 60 if registry.entry(method).family == "neural" else 200
            print(common.verdict("streams on one core", many["admitted"], wanted, at_most=False))
            p99 = many["at_80_percent"]["round_trip_p99_ms"]
            print(common.verdict("four fifths of them, p99", p99, 20, unit=" ms"), flush=True)
    if not options.no_save:
        packages = ("fastapi", "uvicorn", "websockets", "uvloop")
        common.save("server", packages, results, load_before=before, note=f"{RATE} Hz mono, float32, loopback.")


if __name__ == "__main__":
    main()
