"""A crowd of streams on one server: each gets what it would get alone, whatever the others do."""

import json
import signal
from contextlib import ExitStack

import numpy as np
import pytest
from server_helpers import PATIENCE, control, frame, get, opened, running, speech, unframe

from unmuffle.enhancers.registry import load
from unmuffle.io import quantise

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

BLOCK = 160
BLOCKS = 110
KINDS = ["wiener"] * 6 + ["wiener-s16"] * 2 + ["live"] * 3


def seated(server):
    lines = get(f"{server.url}/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("unmuffle_streams_seated ")))


class Member:
    """One stream on the server, and the same one here."""

    def __init__(self, stack, server, kind, seed):
        method, _, short = kind.partition("-")
        self.form = "s16le" if short else "f32le"
        self.ws, ready = stack.enter_context(opened(server, method=method, format=self.form))
        assert ready["type"] == "ready"
        self.exact = method != "live"
        self.twin = load(method).stream(16000)
        self.x = speech(BLOCKS * BLOCK / 16000, seed=seed)
        self.at = self.number = self.sent = 0
        self.got, self.wanted = [], []

    def block(self, size=BLOCK):
        x = self.x[:, self.at : self.at + size]
        self.at += size
        if self.form == "s16le":
            whole = np.round(32767 * x).astype(np.int16)
            return whole, whole.astype(np.float32) / np.float32(32768)
        return x, x

    def send(self, size=BLOCK):
        x, heard = self.block(size)
        self.ws.send(frame(self.sent, x, self.form))
        self.sent += 1
        self.wanted.append(self.twin.process(heard))

    def receive(self):
        answer = self.ws.recv(timeout=PATIENCE)
        assert isinstance(answer, bytes), answer
        number, samples = unframe(answer, 1, self.form)
        assert number == self.number
        self.number += 1
        self.got.append(samples)

    def check(self):
        got, wanted = np.concatenate(self.got, axis=1), np.concatenate(self.wanted, axis=1)
        if self.form == "s16le":
            np.testing.assert_array_equal(got / 32768.0, quantise(wanted, "PCM_16"))
        elif self.exact:
            np.testing.assert_array_equal(got, wanted)
        else:
            assert got.shape == wanted.shape
            assert np.max(np.abs(got - wanted)) < 1e-6


def test_in_a_crowd_each_is_alone(tmp_path):
    """Changes of strength, bypass, a flush, frames of other sizes, NaN, a stream that ends, one that comes late."""
    with running(tmp_path, stream_load=1.0) as server, ExitStack() as stack:
        members = [Member(stack, server, kind, seed) for seed, kind in enumerate(KINDS)]
        most = 0.0
        for k in range(BLOCKS - 10):
            if k == 30:
                members.append(Member(stack, server, "wiener", 50))
            if k == 50:
                gone = members.pop(0)
                gone.ws.close()
                gone.check()
            for i, each in enumerate(members):
                each.send(100 if (i, k) == (3, 55) else BLOCK)
            for each in members:
                each.receive()
            if k == 40:
                most = seated(server)
                assert control(members[1].ws, type="strength", db=6)["db"] == 6
                members[1].twin.set_strength(6.0)
                assert control(members[8].ws, type="bypass", on=True)["on"]
                members[8].twin.bypass = True
            if k == 60:
                bad = members[2]
                nan = np.full((1, BLOCK), np.nan, np.float32)
                bad.ws.send(frame(bad.sent, nan))
                members[4].send()
                assert json.loads(bad.ws.recv(timeout=PATIENCE))["kind"] == "NonFiniteError"
                bad.number += 1
                bad.sent += 1
                members[4].receive()
            if k == 75:
                last = members[5]
                said = control(last.ws, type="flush")
                last.got.append(unframe(last.ws.recv(timeout=PATIENCE), 1, last.form)[1])
                last.wanted.append(last.twin.flush())
                assert said["samples"] == last.got[-1].shape[1]
        for each in members:
            each.check()
            assert control(each.ws, type="stats")["switches"] == 0
        assert most == len(KINDS)  # the one that came last is still looked at
        assert seated(server) > len(KINDS) - 3
    assert "Traceback" not in server.log.read_text()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="a process cannot be stopped here")
def test_frames_that_piled_up_are_worked_off_in_their_seats(tmp_path):
    """A server that was held up makes up for it at the usual price: nobody loses the seat, nothing gets mixed up."""
    with running(tmp_path, stream_load=1.0) as server, ExitStack() as stack:
        members = [Member(stack, server, kind, seed) for seed, kind in enumerate(KINDS)]
        for _ in range(30):
            for each in members:
                each.send()
            for each in members:
                each.receive()
        assert seated(server) == len(KINDS)
        server.process.send_signal(signal.SIGSTOP)
        for k in range(5):
            for each in members:
                each.send()
            if k == 2:  # one in the middle that cannot be used, and one change
                members[1].ws.send(frame(members[1].sent, np.full((1, BLOCK), np.nan, np.float32)))
                members[1].sent += 1
                members[3].ws.send(json.dumps({"type": "strength", "db": 9.0}))
                members[3].twin.set_strength(9.0)
        server.process.send_signal(signal.SIGCONT)
        for i, each in enumerate(members):
            for k in range(5):
                if k == 3 and i == 1:
                    assert json.loads(each.ws.recv(timeout=PATIENCE))["kind"] == "NonFiniteError"
                    each.number += 1
                if k == 3 and i == 3:
                    assert json.loads(each.ws.recv(timeout=PATIENCE)) == {"type": "strength", "db": 9.0}
                each.receive()
        assert seated(server) == len(KINDS) - 2
        for _ in range(30):
            for each in members:
                each.send()
            for each in members:
                each.receive()
        for each in members:
            each.check()
        assert seated(server) == len(KINDS)
    assert "Traceback" not in server.log.read_text()
