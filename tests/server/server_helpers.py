"""A real server in a process of its own, and a plain client of its streams."""

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
from unmuffle.server.config import ServerConfig
from unmuffle.server.keys import Keys
from unmuffle.server.run import serve
values = json.loads(sys.argv[1])
keys = Keys.parse(values.pop("keys", []), "test")
values["origins"] = tuple(values.get("origins", ()))
port = values.pop("port", 0)
serve(ServerConfig(port=port, keys=keys, **values), told=lambda url: print(url, flush=True))
"""

# Other programs on a test machine make frames late; that is tested where it is meant.
DEFAULTS = {"workers": 1, "late_share": 1.0, "drain_s": 5.0}


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

    def stop(self, timeout=20):
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
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

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

    def raw(self, timeout=10.0):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)


@contextmanager
def running(folder, **settings):
    server = Running(folder, **settings)
    try:
        yield server
    finally:
        server.stop()


def until(condition, timeout=10.0):
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


@contextmanager
def opened(server, hello=None, headers=None, **values):
    """A stream after its hello; yields the connection and the answer."""
    from websockets.sync.client import connect

    with connect(server.ws, max_size=None, additional_headers=headers, close_timeout=5) as ws:
        ws.send(json.dumps({"type": "hello", "rate": 16000, **values}) if hello is None else hello)
        yield ws, json.loads(ws.recv(timeout=20))


def exchange(ws, number, block, form="f32le"):
    """One message there, one back; its samples, or the error."""
    ws.send(frame(number, block, form))
    answer = ws.recv(timeout=20)
    if isinstance(answer, str):
        return json.loads(answer)
    got, samples = unframe(answer, block.shape[0], form)
    assert got == number % 2**32
    return samples


def control(ws, **message):
    ws.send(json.dumps(message))
    return json.loads(ws.recv(timeout=20))
