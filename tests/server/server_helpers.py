"""A real server in a process of its own, and a plain client of its streams.

Other programs take the processor away for as long as they like. So what must come is waited for with patience
(:data:`PATIENCE`), the server's own time-outs are long where they are not what is tested, and a client that is told
to come again comes again.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

CODE = """
import json, sys
from unmuffle.server import linger
from unmuffle.server.config import ServerConfig
from unmuffle.server.keys import Keys
from unmuffle.server.run import serve
values = json.loads(sys.argv[1])
keys = Keys.parse(values.pop("keys", []), "test")
values["origins"] = tuple(values.get("origins", ()))
port = values.pop("port", 0)
linger.LINGER_S = values.pop("linger_s")
serve(ServerConfig(port=port, keys=keys, **values), told=lambda url: print(url, flush=True))
"""

PATIENCE = 180.0
"""Seconds that a test waits for what must come; a quiet machine needs a hundredth of it."""

# Other programs on a test machine make frames late and clients slow; that is tested where it is meant.
DEFAULTS = {
    "workers": 1, "late_share": 1.0, "drain_s": 5.0, "behind_s": 0.0, "linger_s": 60.0,
    **{f"{what}_timeout_s": PATIENCE for what in ("hello", "idle", "header", "body", "send")},
}  # fmt: skip


class Running:
    """A server that answers; its standard error is in ``log``."""

    def __init__(self, folder, command=None, **settings):
        self.spool = folder / "spool"
        self.spool.mkdir(exist_ok=True)
        self.log = folder / "log.txt"
        settings = {**DEFAULTS, "spool_dir": str(self.spool), **settings}
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        command = command or [sys.executable, "-c", CODE, json.dumps(settings)]
        self._err = open(self.log, "wb")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._err, env=environment)
        line = self.process.stdout.readline().decode().strip()
        if not line.startswith("http://"):
            self.stop()
            raise RuntimeError(f"no server: {line!r} {self.log.read_text()}")
        self.url = line
        self.port = int(line.rsplit(":", 1)[1])
        self.ws = f"ws://127.0.0.1:{self.port}/stream"

    def stop(self, timeout=PATIENCE):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self._err.close()

    @property
    def descriptors(self):
        """How many sockets and files of its spool it holds. (Libraries open files of their own whenever they like.)"""
        held = 0
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                held += os.readlink(link).startswith(("socket:", str(self.spool)))
            except FileNotFoundError:  # closed meanwhile
                continue
        return held

    def children(self):
        """Worker processes: those whose parent is the server."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            if int(fields[1]) == self.process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return found

    def folders(self):
        """Uploads and results on disk."""
        return [f for root in self.spool.iterdir() for f in root.iterdir() if f.name != "lock"]

    def raw(self, timeout=PATIENCE):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)


@contextmanager
def running(folder, **settings):
    server = Running(folder, **settings)
    try:
        yield server
    finally:
        server.stop()


def until(condition, timeout=PATIENCE):
    """Wait for something; false when it does not come."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def speech(seconds=1.0, rate=16000, channels=1, seed=1):
    """Noise with a rhythm, ``(channels, n)``."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    x = 0.1 * rng.standard_normal((channels, len(t))) * (1.05 + np.sin(2 * np.pi * 3 * t))
    return x.astype(np.float32)


def frame(number, samples, form="f32le"):
    """A binary message, packed without the code under test."""
    flat = np.ascontiguousarray(samples.T)
    data = flat.astype("<f4") if form == "f32le" else flat.astype("<i2")
    return struct.pack("<I", number % 2**32) + data.tobytes()


def unframe(data, channels, form="f32le"):
    kind = "<f4" if form == "f32le" else "<i2"
    return struct.unpack("<I", data[:4])[0], np.frombuffer(data[4:], kind).reshape(-1, channels).T


def get(url, **more):
    import httpx

    return httpx.get(url, timeout=PATIENCE, **more)


def post(url, **more):
    import httpx

    return httpx.post(url, timeout=PATIENCE, **more)


def dial(url, headers=None, **more):
    """A WebSocket."""
    from websockets.sync.client import connect

    return connect(
        url, max_size=None, additional_headers=headers, open_timeout=PATIENCE, close_timeout=PATIENCE, ping_interval=None, **more
    )


@contextmanager
def opened(server, hello=None, headers=None, refusable=False, **values):
    """A stream after its hello; yields the connection and the answer. Without room it comes again, unless ``refusable``."""
    end = time.monotonic() + PATIENCE
    while True:
        with dial(server.ws, headers) as ws:
            ws.send(json.dumps({"type": "hello", "rate": 16000, **values}) if hello is None else hello)
            answer = heard(ws)
            if refusable or answer.get("kind") != "NoCapacity" or time.monotonic() > end:
                yield ws, answer
                return
        time.sleep(0.3)


def heard(ws):
    """The next message of text."""
    return json.loads(ws.recv(timeout=PATIENCE))


def exchange(ws, number, block, form="f32le"):
    """One message there, one back; its samples, or the error."""
    ws.send(frame(number, block, form))
    answer = ws.recv(timeout=PATIENCE)
    if isinstance(answer, str):
        return json.loads(answer)
    got, samples = unframe(answer, block.shape[0], form)
    assert got == number % 2**32
    return samples


def control(ws, **message):
    ws.send(json.dumps(message))
    return heard(ws)
