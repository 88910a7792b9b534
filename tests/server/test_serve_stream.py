"""Live streams over WebSocket: a real server, and samples that are exactly those of the library."""

import json
import random
import threading
import time

import numpy as np
import pytest
from server_helpers import PATIENCE, control, dial, exchange, frame, get, opened, running, speech, unframe, until

from unmuffle.enhancers.registry import load
from unmuffle.io import quantise

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")


def flush(ws, channels, form="f32le"):
    said = control(ws, type="flush")
    assert said["type"] == "flushed"
    _, tail = unframe(ws.recv(timeout=PATIENCE), channels, form)
    assert tail.shape[1] == said["samples"]
    return tail


def random_cuts(n, seed):
    draw = random.Random(seed)
    at, cuts = 0, []
    while at < n:
        size = draw.choice([0, 1, 7, 77, 160, 441, 511, 4096, 9000])
        cuts.append((at, min(n, at + size)))
        at += size
    return cuts


@pytest.mark.parametrize(
    ("method", "rate", "channels", "values"),
    [
        ("log-mmse", 16000, 1, {}), ("wiener", 48000, 2, {"params": {"hop_ms": 16.0}}), ("omlsa", 44100, 1, {}),
        ("dehum", 16000, 3, {}), ("identity", 8000, 1, {}), ("low-cut+wiener", 16000, 2, {"stereo": "independent"}),
    ],
)  # fmt: skip
def test_samples_are_those_of_the_library(server, method, rate, channels, values):
    x = speech(1.5, rate, channels)
    with opened(server, rate=rate, channels=channels, method=method, **values) as (ws, ready):
        assert ready["type"] == "ready", ready
        parts = [exchange(ws, i, x[:, a:b]) for i, (a, b) in enumerate(random_cuts(x.shape[1], 3))]
        got = np.concatenate([*parts, flush(ws, channels)], axis=1)
    from unmuffle.engine.options import Options
    from unmuffle.server.asked import method_of

    enhancer = Options(method_of(method, values.get("params", {})), stereo=values.get("stereo", "linked"))
    stream = enhancer.enhancer(channels).stream(rate, channels)
    assert ready["latency_samples"] == stream.latency_samples
    expected = np.concatenate([np.atleast_2d(stream.process(x)), np.atleast_2d(stream.flush())], axis=1)
    assert np.array_equal(got, expected)


def test_16_bit_samples_are_the_library_s_rounded(server):
    x = quantise(speech(1.0, 16000, 2), "PCM_16")
    sent = np.rint(x * 32768).astype(np.int16)
    with opened(server, channels=2, format="s16le", method="wiener") as (ws, _):
        parts = [exchange(ws, i, sent[:, a : a + 777], "s16le") for i, a in enumerate(range(0, 16000, 777))]
        got = np.concatenate([*parts, flush(ws, 2, "s16le")], axis=1)
    stream = load("wiener").stream(16000, 2)
    expected = np.concatenate([stream.process(x), stream.flush()], axis=1)
    assert np.array_equal(got / 32768.0, quantise(expected, "PCM_16"))


def test_blocks_of_one_size_come_back_whole(server):
    x = speech(1.0)
    with opened(server, method="wiener", block_size=100) as (ws, ready):
        got = np.concatenate([exchange(ws, i, x[:, a : a + 100]) for i, a in enumerate(range(0, 16000, 100))], axis=1)
        wrong = exchange(ws, 200, x[:, :99])
        assert (wrong["kind"], wrong["seq"]) == ("ShapeError", 200)
    stream = load("wiener").stream(16000, 1, block_size=100)
    assert ready["latency_samples"] == stream.block_latency_samples
    expected = np.concatenate([stream.process_block(x[:, a : a + 100]) for a in range(0, 16000, 100)], axis=1)
    assert np.array_equal(got, expected)


def test_strength_and_bypass_are_those_of_the_library(server):
    x = speech(2.0)
    blocks = [x[:, a : a + 1600] for a in range(0, 32000, 1600)]
    stream = load("wiener").stream(16000, 1)
    stream.set_strength(6.0)
    expected = []
    for i, block in enumerate(blocks):
        if i == 5:
            stream.bypass = True
        if i == 10:
            stream.bypass = False
        if i == 12:
            stream.set_strength(0.0)
        if i == 15:
            stream.set_strength(np.inf)
        expected.append(stream.process(block))
    with opened(server, method="wiener", strength=6) as (ws, ready):
        assert ready["strength"] == 6.0
        got = []
        for i, block in enumerate(blocks):
            if i == 5:
                assert control(ws, type="bypass", on=True) == {"type": "bypass", "on": True}
            if i == 10:
                control(ws, type="bypass", on=False)
            if i == 12:
                assert control(ws, type="strength", db=0)["db"] == 0.0
            if i == 15:
                assert control(ws, type="strength", db=None)["db"] is None
            got.append(exchange(ws, i, block))
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    # By the library's own promise, bypass is the input, delayed (but for the ramps, and what waits for a whole hop).
    whole = np.concatenate(got, axis=1)[0]
    delay = stream.latency_samples
    a, b = 5 * 1600 + 800, 10 * 1600 - 800
    assert np.array_equal(whole[a:b], x[0, a - delay : b - delay])


def test_reset_and_flush_begin_anew(server):
    x = speech(0.5)
    with opened(server, method="wiener") as (ws, _):
        first = exchange(ws, 0, x)
        assert control(ws, type="reset") == {"type": "reset"}
        assert np.array_equal(exchange(ws, 1, x), first)
        flush(ws, 1)
        assert np.array_equal(exchange(ws, 2, x), first)


def test_long_blocks_are_cut_without_a_trace(server):
    x = speech(3.0)
    with opened(server, method="wiener") as (ws, _):
        got = exchange(ws, 0, x)
        bad = x.copy()
        bad[0, -1] = np.nan  # in the last piece: the stream has not seen the first ones either
        assert exchange(ws, 1, bad)["kind"] == "NonFiniteError"
        got = np.concatenate([got, flush(ws, 1)], axis=1)
    stream = load("wiener").stream(16000)
    assert np.array_equal(got[0], np.concatenate([stream.process(x[0]), stream.flush()]))


def test_wrong_frames_are_named_and_the_stream_goes_on(server):
    x = speech(0.5)
    with opened(server, method="wiener", channels=1) as (ws, _):
        first = exchange(ws, 2**32 - 2, x[:, :4000])
        nan = exchange(ws, 2**32 - 1, np.full((1, 10), np.nan, np.float32))
        assert (nan["kind"], nan["seq"]) == ("NonFiniteError", 2**32 - 1)
        ws.send(frame(0, x[:, :10]) + b"\x00")
        assert json.loads(ws.recv())["kind"] == "WireError"
        ws.send(b"ab")
        assert json.loads(ws.recv())["kind"] == "WireError"
        repeated = exchange(ws, 0, x[:, :10])
        assert (repeated["kind"], repeated["seq"]) == ("WireError", 0)
        second = exchange(ws, 5, x[:, 4000:])  # 1 to 4 were lost on the way to the socket
        for text in ("{", "[]", '{"type": "what"}', '{"type": "strength"}', '{"type": "strength", "db": -1}', '{"type": "bypass", "on": 1}', '{"type":"stats","x":1}', ""):
            ws.send(text)
            assert json.loads(ws.recv())["type"] == "error"
        stats = control(ws, type="stats")
    assert np.array_equal(np.concatenate([first, second], axis=1)[0], load("wiener").stream(16000).process(x[0]))
    assert (stats["frames"], stats["lost"], stats["samples_in"]) == (2, 4, 8000)
    assert stats["errors"] == 12
    assert 0 < stats["server_ms"]["p50"] <= stats["server_ms"]["max"]


@pytest.mark.parametrize(
    ("hello", "kind"),
    [
        ("no json", "WireError"), ('{"type": "frame"}', "WireError"), ('{"type": "hello"}', "WireError"), (b"\0\0\0\0", "WireError"),
        ('{"type": "hello", "rate": 96}', "SampleRateError"), ('{"type": "hello", "rate": 16000, "channels": 99}', "WireError"),
        ('{"type": "hello", "rate": 16000, "method": "nope"}', "UnknownMethodError"),
        ('{"type": "hello", "rate": 16000, "method": "loudness"}', "UnboundedLatencyError"),
        ('{"type": "hello", "rate": 16000, "method": "wiener", "params": {"hop_ms": 1e9}}', "ParameterError"),
        ('{"type": "hello", "rate": 16000, "method": "wiener", "params": {"nope": 1}}', "UnknownParameterError"),
        ('{"type": "hello", "rate": 16000, "repair": ["magic"]}', "ParameterError"),
        ("[" * 50_000, "WireError"),
    ],
)  # fmt: skip
def test_a_wrong_hello_is_answered_and_closed(server, hello, kind):
    from websockets.exceptions import ConnectionClosed

    with opened(server, hello=hello) as (ws, answer):
        assert (answer["type"], answer["kind"]) == ("error", kind)
        with pytest.raises(ConnectionClosed) as caught:
            ws.recv(timeout=PATIENCE)
        assert caught.value.rcvd.code == 1008


def test_many_streams_at_once_do_not_mix(server):
    failures = []

    def one(seed):
        x = speech(1.0, seed=seed)
        try:
            with opened(server, method="wiener") as (ws, _):
                parts = [exchange(ws, i, x[:, a : a + 400]) for i, a in enumerate(range(0, 16000, 400))]
            expected = load("wiener").stream(16000).process(x[0])
            if not np.array_equal(np.concatenate(parts, axis=1)[0], expected):
                failures.append(seed)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures


def test_a_stream_that_runs_ahead_is_held_back(tmp_path):
    with running(tmp_path, max_ahead_s=0.5) as server, opened(server, method="identity") as (ws, _):
        start = time.monotonic()
        for i in range(20):
            exchange(ws, i, speech(0.1))
        elapsed = time.monotonic() - start
        # 2 s of sound, 0.5 s of it at once, the rest at 1.05 times real time
        assert elapsed > 1.3


def test_streams_are_refused_before_they_stutter(tmp_path):
    from websockets.exceptions import ConnectionClosed

    # What a stream costs depends on the machine; the method that costs least, so that several fit on a slow one too.
    light = {"method": "identity", "refusable": True}
    with running(tmp_path, stream_load=0.1, key_streams=40) as server:
        streams, loads = [], []
        try:
            for _ in range(40):
                manager = opened(server, **light)
                ws, answer = manager.__enter__()
                streams.append(manager)
                if answer["type"] != "ready":
                    break
                loads.append(answer["load"])
            assert (answer["kind"], answer["retry_after_s"]) == ("NoCapacity", 5), answer
            with pytest.raises(ConnectionClosed) as caught:
                ws.recv(timeout=PATIENCE)
            assert caught.value.rcvd.code == 1013
            assert len(loads) > 1
            assert sum(loads) < 0.1 + 1e-4 < sum(loads) + loads[-1] + 2e-4  # as many as fit; they are told rounded
            assert "unmuffle_streams_refused_total" in get(f"{server.url}/metrics").text
            streams.pop(0).__exit__(None, None, None)

            def fits():
                with opened(server, **light) as (_, answer):
                    return answer["type"] == "ready"

            assert until(fits)
            with opened(server, method="omlsa", block_ms=0.2, refusable=True) as (_, answer):
                assert answer["kind"] == "TooHeavy"
        finally:
            for manager in streams:
                manager.__exit__(None, None, None)


def test_keys_and_their_limit_of_streams(tmp_path):
    from websockets.exceptions import InvalidStatus

    key = "alice-alice-alice-alice"
    with running(tmp_path, keys=[f"alice:{key}"], key_streams=1, origins=["https://ours.example"]) as server:
        with opened(server) as (_, answer):
            assert answer["kind"] == "NoKey"
        with opened(server, key="wrong-wrong-wrong-wrong") as (_, answer):
            assert answer["kind"] == "WrongKey"
        with pytest.raises(InvalidStatus) as caught:
            dial(server.ws, {"Authorization": "Bearer wrong"})
        assert caught.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as caught:
            dial(server.ws, {"Authorization": f"Bearer {key}"}, origin="https://foreign.example")
        assert caught.value.response.status_code == 403
        assert json.loads(caught.value.response.body)["kind"] == "ForeignOrigin"
        with opened(server, headers={"Authorization": f"Bearer {key}"}) as (_, answer):
            assert answer["type"] == "ready"
            with opened(server, key=key) as (_, second):
                assert second["kind"] == "TooManyStreams"

        def let_in():  # as soon as the server knows that the first one is over
            with opened(server, key=key) as (ws, answer):
                ws.send('{"type": "bye"}')
                return answer["type"] == "ready"

        assert until(let_in)
