"""The short way of whole binary messages must not be told from the long way by anything but its speed."""

import random
import struct

import numpy as np
import pytest

pytest.importorskip("websockets")

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from unmuffle.server.frames import LONGEST, Cutter, binary


def packed(opcode, data, fin=True):
    """A frame of a client, by the library."""
    return Frame(opcode, data, fin).serialize(mask=True)


def conversation(rng):
    """Frames, and which of them are whole binary messages that fit."""
    parts, wanted = [], []
    for _ in range(40):
        kind = rng.choice(["binary", "binary", "binary", "text", "ping", "fragments", "long"])
        size = rng.choice([0, 1, 4, 125, 126, 127, 644, 65535])
        data = rng.randbytes(size)
        if kind == "binary":
            parts.append(packed(Opcode.BINARY, data))
            wanted.append(data)
        elif kind == "text":
            parts.append(packed(Opcode.TEXT, b"x" * size))
        elif kind == "ping":
            parts.append(packed(Opcode.PING, data[:100]))
        elif kind == "long":
            parts.append(packed(Opcode.BINARY, rng.randbytes(LONGEST + 1)))
        else:
            parts += [packed(Opcode.BINARY, data, False), packed(Opcode.PING, b"p"), packed(Opcode.CONT, data, True)]
    return parts, wanted


@pytest.mark.parametrize("seed", range(8))
def test_whole_binary_messages_are_told_from_all_else_however_the_bytes_are_cut(seed):
    rng = random.Random(seed)
    parts, wanted = conversation(rng)
    sent = b"".join(parts)
    log = []
    cutter = Cutter(lambda m: log.append(("plain", m)) or True, lambda d: log.append(("other", d)))
    cutter.taking = True
    at = 0
    while at < len(sent):
        step = rng.choice([1, 2, 3, 14, 700, 5000, 70000])
        cutter.feed(sent[at : at + step])
        at += step
    assert [data for kind, data in log if kind == "plain"] == wanted
    # The rest arrives whole and in order: put back together, it is the conversation.
    library = b"".join(data for kind, data in log if kind == "other")
    assert library == b"".join(p for p in parts if not is_plain(p))


def is_plain(part):
    size = part[1] & 127
    size = size if size < 126 else int.from_bytes(part[2:4], "big") if size == 126 else int.from_bytes(part[2:10], "big")
    return part[0] == 0x82 and size <= LONGEST


def test_the_library_accepts_what_it_is_left_with():
    parts, _ = conversation(random.Random(99))
    server = ServerProtocol(state=OPEN, max_size=None)
    cutter = Cutter(lambda m: True, server.receive_data)
    cutter.taking = True
    for part in parts:
        cutter.feed(part)
    assert server.parser_exc is None
    assert server.state is OPEN


@pytest.mark.parametrize("seed", range(4))
def test_who_has_no_room_gets_the_rest_later_and_in_order(seed):
    rng = random.Random(seed)
    parts, _ = conversation(rng)
    log, room = [], [0]

    def plain(message):
        room[0] -= 1
        if room[0] < 0:
            return False
        log.append(packed_plain(message))
        return True

    cutter = Cutter(plain, log.append)
    cutter.taking = True
    for part in parts:
        room[0] = rng.choice([0, 1, 3])
        cutter.feed(part)
        if room[0] < 0:
            cutter.hold(b"")
    for _ in range(len(parts)):
        room[0] = 2
        cutter.feed(b"")
    assert b"".join(log) == b"".join(packed_plain(unpacked(p)) if is_plain(p) else p for p in parts)


def unpacked(part):
    at = 2 + (0 if part[1] & 127 < 126 else 2 if part[1] & 127 == 126 else 8)
    return bytes(b ^ part[at + i % 4] for i, b in enumerate(part[at + 4 :]))


def packed_plain(message):
    return b"<" + message + b">"


def test_nothing_is_taken_before_it_is_asked_for_and_the_change_falls_between_frames():
    taken, other = [], []
    cutter = Cutter(lambda m: taken.append(m) or True, other.append)
    one = packed(Opcode.BINARY, b"a" * 300)
    cutter.feed(one + one[:100])
    cutter.taking = True  # in the middle of the second
    cutter.feed(one[100:] + one)
    assert taken == [b"a" * 300]
    assert b"".join(other) == one + one


@pytest.mark.parametrize(
    "bad",
    [
        b"\x82\x05hello",  # a client must mask
        b"\xc2\x85\0\0\0\0hello",  # a bit that no extension has agreed on
        packed(Opcode.BINARY, b"x", False) + packed(Opcode.BINARY, b"y"),  # a new message within another
        b"\x83\x80\0\0\0\0",  # no such opcode
        packed(Opcode.CONT, b"x"),
    ],
    ids=["unmasked", "reserved bit", "message in message", "no opcode", "continuation of nothing"],  # masks are random
)  # fmt: skip
def test_what_breaks_the_rules_is_left_to_the_library_which_says_so(bad):
    server = ServerProtocol(state=OPEN, max_size=1000)
    taken = []
    cutter = Cutter(lambda m: taken.append(m) or True, server.receive_data)
    cutter.taking = True
    cutter.feed(bad)
    assert not taken
    assert server.parser_exc is not None


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_answers_are_what_the_library_would_send(size):
    data = np.random.default_rng(0).bytes(size)
    assert binary(data) == Frame(Opcode.BINARY, data).serialize(mask=False)


def test_a_client_that_sends_in_bursts_gets_every_answer_in_order(server):
    """More frames at a time than are answered in one go, with texts between them: the order is that of the questions."""
    from server_helpers import PATIENCE, frame, opened, speech, unframe

    import unmuffle

    x = speech(2.0)
    with opened(server, method="wiener") as (ws, ready):
        assert ready["type"] == "ready"
        sock = ws.socket
        sent, expected = bytearray(), []
        for i in range(200):
            sent += packed(Opcode.BINARY, frame(i, x[:, 160 * i : 160 * i + 160]))
            expected.append(i)
            if i % 30 == 29:
                sent += packed(Opcode.TEXT, b'{"type": "strength", "db": null}')
                sent += packed(Opcode.PING, struct.pack("<I", i))
                expected.append("strength")
        sock.sendall(sent)
        order, parts = [], []
        while len(order) < len(expected):
            message = ws.recv(timeout=PATIENCE)
            if isinstance(message, str):
                order.append("strength")
            else:
                number, samples = unframe(message, 1)
                order.append(number)
                parts.append(samples)
    assert order == expected
    stream = unmuffle.load("wiener").stream(16000, 1)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), stream.process(x))


def test_a_crowd_gets_what_each_would_get_alone(server):
    """So many streams that their frames are gathered: each its own samples, errors and texts in their place."""
    import json
    from contextlib import ExitStack

    from server_helpers import PATIENCE, control, frame, opened, speech, unframe

    import unmuffle
    from unmuffle.server.turn import CROWD

    count, rounds = CROWD + 4, 60
    signals = [speech(0.01 * rounds, seed=k) for k in range(count)]
    numbers, parts, said = [0] * count, [[] for _ in range(count)], [[] for _ in range(count)]

    def send(k, block):
        links[k].send(frame(numbers[k], block))
        numbers[k] += 1

    with ExitStack() as stack:
        links = []
        for k in range(count):
            ws, ready = stack.enter_context(opened(server, method="log-mmse", **({"block_size": 160} if k == 1 else {})))
            assert ready["type"] == "ready"
            links.append(ws)
        for i in range(rounds):
            due = [1] * count
            for k in range(count):
                block = signals[k][:, 160 * i : 160 * i + 160]
                if k == 2 and i == 20:  # one that cannot be used
                    send(k, np.full_like(block, np.nan))
                    due[k] += 1
                if k == 4:  # two at a time
                    if i % 2:
                        send(k, signals[k][:, 160 * i - 160 : 160 * i])
                    due[k] = 2 * (i % 2)
                if k != 4 or i % 2:
                    send(k, block)
                if k == 3 and i % 10 == 9:  # a text right behind a frame
                    links[k].send('{"type": "bypass", "on": false}')
                    due[k] += 1
            for k, ws in enumerate(links):
                for _ in range(due[k]):
                    message = ws.recv(timeout=PATIENCE)
                    if isinstance(message, str):
                        said[k].append((len(parts[k]), json.loads(message)))
                    else:
                        parts[k].append(unframe(message, 1)[1])
        stats = [control(ws, type="stats") for ws in links]
    for k, x in enumerate(signals):
        stream = unmuffle.load("log-mmse").stream(16000, block_size=160 if k == 1 else None)
        blocks = np.split(x, rounds, axis=1)
        wanted = [(stream.process_block if k == 1 else stream.process)(block) for block in blocks]
        np.testing.assert_array_equal(np.concatenate(parts[k], axis=1), np.concatenate(wanted, axis=1))
    assert [s["frames"] for s in stats] == [rounds] * count
    assert [s["errors"] for s in stats] == [0, 0, 1, *[0] * (count - 3)]
    assert [(at, what["kind"]) for at, what in said[2]] == [(20, "NonFiniteError")]
    assert [(at, what["type"]) for at, what in said[3]] == [(n, "bypass") for n in range(10, 61, 10)]
