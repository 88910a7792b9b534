"""Parts of the server that need no server: parsing, keys, limits, admission."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmuffle.errors import ParameterError, SampleRateError, UnmuffleError
from unmuffle.io import quantise
from unmuffle.server import protocol
from unmuffle.server.asked import Asked, method_of
from unmuffle.server.config import ServerConfig
from unmuffle.server.faults import Fault, fault_of, storage_full
from unmuffle.server.frames import binary
from unmuffle.server.keys import Keys, Limits, key_of
from unmuffle.server.uploads import disposition, safe_name

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["rate", "channels", "format", "method", "params", "strength", "block_size", "repair", "x"])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.dictionaries(KEYS, JSON, max_size=4).map(lambda d: json.dumps({"type": "hello"} | d)))
def test_any_text_is_a_hello_or_a_named_error(text):
    try:
        hello = protocol.parse_hello(protocol.parse_text(text), 8)
        hello.stream(hello.enhancer())
    except UnmuffleError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000  # of a hostile message, only the beginning is repeated


def test_a_deep_or_huge_text_is_a_named_error():
    for text in ("[" * 60000, '{"type":' + "1" * 60000 + "}", "x" * 100_000, '{"type": NaN}', '"a"', "{}", "\ud800"):
        with pytest.raises(protocol.WireError):
            protocol.parse_text(text)


@pytest.mark.parametrize(
    "bad",
    [
        {}, {"rate": "16000"}, {"rate": True}, {"rate": 16000, "channels": 0}, {"rate": 16000, "channels": 9},
        {"rate": 16000, "format": "mp3"}, {"rate": 16000, "block_size": 0}, {"rate": 16000, "block_size": 16001},
        {"rate": 16000, "strength": -1}, {"rate": 16000, "unknown": 1}, {"rate": 16000, "params": {"a": [1]}},
        {"rate": 16000, "strength": 10**400}, {"rate": 16000, "block_ms": 0},
    ],
)  # fmt: skip
def test_a_wrong_hello_is_refused(bad):
    with pytest.raises(protocol.WireError):
        protocol.parse_hello({"type": "hello", **bad}, 8)
    with pytest.raises(SampleRateError):
        protocol.parse_hello({"type": "hello", "rate": 7999}, 8)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 3), st.integers(0, 50), st.sampled_from(["f32le", "s16le"]))
def test_what_is_packed_is_unpacked(number, channels, n, form):
    hello = protocol.Hello(16000, channels, form)
    x = np.random.default_rng(n).uniform(-1.2, 1.2, (channels, n)).astype(np.float32)
    data = protocol.packed(number, x, form)
    assert protocol.sequence_of(data) == number % 2**32
    expected = x if form == "f32le" else quantise(x, "PCM_16")
    assert np.array_equal(protocol.samples_of(data, hello), expected)
    with pytest.raises(protocol.WireError):
        protocol.samples_of(data + b"\0", hello)


def test_a_message_without_a_number_is_refused():
    with pytest.raises(protocol.WireError):
        protocol.sequence_of(b"abc")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_no_file_name_gets_out_of_its_header_or_folder(text):
    name = safe_name(text)
    assert 0 < len(name) <= 100
    assert not set(name) & set('/\\"\r\n\0;')
    assert name not in (".", "..")
    header = disposition(text, ".wav")
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\x\\talk.wav", "talk.wav"), ("", "audio"), ("..", "audio"), ("/", "audio"),
        ('a"\r\nSet-Cookie: x.wav', "aSet-Cookie_ x.wav"), ("\u202egpj.wav", "gpj.wav"), ("x" * 300 + ".mp3", "x" * 96 + ".mp3"),
    ],
)  # fmt: skip
def test_file_names_of_ill_will(given_name, safe):
    assert safe_name(given_name) == safe


def test_options_are_those_of_the_command():
    asked = Asked.parse([("method", "wiener"), ("set", "hop_ms=8"), ("strength", "12"), ("repair", "declip, dehum"),
                         ("profile", "0-0.5"), ("to", "FLAC"), ("loudness", "-16"), ("allow_truncated", "yes")])  # fmt: skip
    assert asked.values == {"hop_ms": 8.0}
    assert (asked.strength_db, asked.repair, asked.profile) == (12.0, ("declip", "dehum"), (0.0, 0.5))
    assert (asked.extension, asked.loudness_lufs, asked.allow_truncated) == (".flac", -16.0, True)
    assert Asked.parse([("strength", "inf")]).strength_db is None


@pytest.mark.parametrize(
    "pair",
    [
        ("method", "nope"), ("strength", "-1"), ("strength", "nan"), ("repair", "magic"), ("stereo", "wide"),
        ("loudness", "5"), ("profile", "/etc/passwd"), ("profile", "noise.wav"), ("profile", "1-0"), ("to", "exe"),
        ("to", "../x"), ("to", "raw"), ("set", "nope=1"), ("set", "x"), ("config", "x.toml"), ("in_place", "true"),
        ("allow_truncated", "maybe"), ("residual", "/tmp/x.wav"),
    ],
)  # fmt: skip
def test_meaningless_options_are_refused(pair):
    with pytest.raises(ParameterError):
        Asked.parse([pair])
    with pytest.raises(ParameterError):
        Asked.parse([("method", "wiener"), ("method", "wiener")])
    with pytest.raises(ParameterError):
        Asked.parse([("method", "agc"), ("profile", "0-1")])  # it takes none


def test_a_parameter_that_may_hold_a_path_cannot_be_set(monkeypatch):
    from dataclasses import dataclass

    from unmuffle.enhancers import params, registry
    from unmuffle.enhancers.compose import Identity

    @dataclass(frozen=True)
    class Loader(Identity):
        model: str = params.param("", "path of a file")

    monkeypatch.setattr(registry, "kind", lambda name: Loader)
    with pytest.raises(ParameterError, match="cannot be set"):
        method_of("loader", {"model": "/etc/passwd"})


def test_keys_are_found_and_not_shown(tmp_path, monkeypatch):
    secret = "correct-horse-battery"
    path = tmp_path / "keys"
    path.write_text(f"# people\nalice:{secret}\n\nbob: staple-staple-staple \n")
    keys = Keys.load(str(path))
    assert keys.owner(secret) == "alice"
    assert keys.owner("staple-staple-staple") == "bob"
    assert keys.owner(secret + "x") is None
    assert keys.owner(None) is None
    assert secret not in repr(ServerConfig(keys=keys))
    monkeypatch.setenv("UNMUFFLE_API_KEYS", f"carol:{secret}")
    assert Keys.load().owner(secret) == "carol"
    for wrong in (
        "alice",
        "alice:short",
        f"a b:{secret}",
        f"a:{secret}\na:{secret}x",
        f"a:{secret}\nb:{secret}",
        "# none",
    ):
        path.write_text(wrong)
        with pytest.raises(ParameterError) as caught:
            Keys.load(str(path))
        assert secret not in str(caught.value)
    with pytest.raises(ParameterError):
        Keys.load(str(tmp_path / "nothing"))
    assert key_of({b"authorization": b"Bearer abc"}) == key_of({b"x-api-key": b"abc"}) == "abc"
    assert key_of({b"authorization": b"Basic abc"}) is None


def test_requests_are_limited_as_a_bucket_fills():
    limits = Limits(0, 6)
    for _ in range(6):
        limits.request("a", now=100.0)
    with pytest.raises(Fault) as caught:
        limits.request("a", now=100.0)
    # 6 a minute is one in 10 s
    assert caught.value.retry_after_s == pytest.approx(10.0)
    limits.request("b", now=100.0)
    limits.request("a", now=110.1)
    with pytest.raises(Fault):
        limits.request("a", now=110.1)


def test_streams_are_limited_for_each_owner():
    limits = Limits(2, 0)
    limits.open_stream("a")
    limits.open_stream("a")
    with pytest.raises(Fault) as caught:
        limits.open_stream("a")
    assert caught.value.status == 429
    limits.open_stream("b")
    limits.close_stream("a")
    limits.open_stream("a")


def make_capacity(**values):
    from unmuffle.server.capacity import Capacity

    return Capacity(ServerConfig(**values), lambda: 0.0)


def test_streams_are_admitted_until_the_sum_is_full():
    capacity = make_capacity(stream_load=0.5)
    capacity.message_s = 1e-4  # 10 ms blocks: 0.01 of a core
    hello = protocol.Hello(16000)
    loads = [capacity.admit(0.09, hello) for _ in range(5)]
    assert loads == pytest.approx([0.1] * 5)
    with pytest.raises(Fault) as caught:
        capacity.admit(0.09, hello)
    assert (caught.value.status, caught.value.kind) == (503, "NoCapacity")
    assert caught.value.headers()["retry-after"] == "5"
    capacity.release(0.09, hello)
    capacity.admit(0.09, hello)
    with pytest.raises(Fault) as caught:
        capacity.admit(0.6, hello)
    assert caught.value.kind == "TooHeavy"


def test_the_loop_of_light_methods_has_one_core_however_many_may_be_taken():
    capacity = make_capacity(stream_load=3.0)
    capacity.message_s = 1e-4  # 10 ms blocks: 0.01 of a core
    hello = protocol.Hello(16000)
    for _ in range(9):
        capacity.admit(0.089, hello, light=True)
    with pytest.raises(Fault, match="light methods takes 0.89 cores"):
        capacity.admit(0.089, hello, light=True)
    for _ in range(20):  # others have threads
        capacity.admit(0.05, hello)
    for _ in range(9):
        capacity.release(0.089, hello, light=True)
    capacity.admit(0.5, hello, light=True)


def test_what_many_take_together_counts_while_all_send(monkeypatch):
    from unmuffle.server import capacity

    now = {"wall": 0.0, "used": 0.0}
    monkeypatch.setattr(capacity.time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(capacity.time, "process_time", lambda: now["used"])
    one = make_capacity(stream_load=0.5)
    one.message_s = 1e-4  # 10 ms blocks: 0.01 of a core
    hello = protocol.Hello(16000)
    for _ in range(4):
        one.admit(0.09, hello)

    def second(used: float, share: float) -> None:
        now["wall"] += 1.0
        now["used"] += used
        one.observe(round(share * 400), 0)
        one.message_s = 1e-4

    for _ in range(20):
        second(0.01, 0.5)  # half of them are silent: that they take little says nothing
    assert one.admitted == pytest.approx(0.4)
    for _ in range(20):
        second(0.24, 1.0)
    assert one.admitted == pytest.approx(0.24, rel=0.01)
    for _ in range(4):
        one.admit(0.09, hello)  # 8 of 0.06 are 0.48
    with pytest.raises(Fault, match="take 0.48 of 0.5 cores"):
        one.admit(0.09, hello)
    for _ in range(8):
        one.release(0.09, hello)
    assert one.scale == 1.0  # of others nothing is known yet


def test_late_frames_and_a_busy_process_refuse_streams_too():
    capacity = make_capacity()
    hello = protocol.Hello(16000)
    capacity.late = 0.06
    with pytest.raises(Fault, match="late"):
        capacity.admit(0.01, hello)
    capacity.late, capacity.observed = 0.0, 0.95
    with pytest.raises(Fault, match="uses"):
        capacity.admit(0.01, hello)


def test_the_cost_of_a_method_is_its_processor_time(monkeypatch):
    """A method that takes 1 us a sample, on a clock of its own: the load is that, whatever the wall clock says."""
    from unmuffle.server import capacity

    now = 0.0

    class Method:
        shares = False

        def warm(self):
            pass

        def stream(self, rate, channels):
            return self

        def processing(self, x):
            nonlocal now
            now += 1e-6 * x.size
            return x
            yield

    monkeypatch.setattr(capacity.time, "thread_time", lambda: now)
    assert capacity.method_load(Method(), 16000, 1, 0.01) == pytest.approx(0.016)
    assert capacity.method_load(Method(), 48000, 2, 0.01) == pytest.approx(0.096)


def test_the_cost_of_a_real_method_is_found():
    from unmuffle.enhancers.registry import load
    from unmuffle.server.capacity import method_load

    assert method_load(load("log-mmse"), 16000, 1, 0.01) > 0


@pytest.mark.parametrize(
    ("method", "block_s", "seated"),
    [("log-mmse", 0.01, True), ("live", 0.01, True), ("live", 0.05, False), ("identity", 0.01, False)],
)
def test_what_will_have_a_seat_is_measured_in_one(monkeypatch, method, block_s, seated):
    from unmuffle.enhancers.crowd import Crowd
    from unmuffle.enhancers.registry import load
    from unmuffle.quality.fallback import guard_for
    from unmuffle.server.capacity import method_load

    rows, push = [], Crowd.push
    monkeypatch.setattr(Crowd, "push", lambda self, places, x: rows.append(len(places)) or push(self, places, x))
    assert method_load(guard_for(load(method), 16000, 1), 16000, 1, block_s) > 0
    assert set(rows) == ({32} if seated else set())


def test_rows_are_messages():
    rng = np.random.default_rng(0)
    for form, size in (("f32le", 256), ("f32le", 3), ("s16le", 80), ("f32le", 17000)):
        samples = rng.uniform(-1, 1, (3, size)).astype(np.float32)
        numbers = [0, 7, 2**32 - 1]
        framed = protocol.framed_rows(numbers, samples, form)
        assert framed == [
            binary(protocol.packed(n, x[np.newaxis], form)) for n, x in zip(numbers, samples, strict=True)
        ]
        hello = protocol.Hello(16000, format=form)
        messages = [protocol.packed(n, x[np.newaxis], form) for n, x in zip(numbers, samples, strict=True)]
        wanted = np.concatenate([protocol.samples_of(each, hello) for each in messages])
        np.testing.assert_array_equal(protocol.rows_of(messages, form), wanted)
    assert protocol.framed(5) == binary(protocol.packed(5, np.zeros((1, 0), np.float32), "f32le"))


def test_latencies_counted_together_are_those_counted_one_by_one():
    from unmuffle.server.metrics import Latency

    one, all_ = Latency(), Latency()
    took = [0.0001, 0.0005, 0.003, 0.7, 5.0]
    for each in took:
        one.observe(each)
    all_.observe_all(took)
    assert [m.samples for m in one.collect()] == [m.samples for m in all_.collect()]


def test_faults_say_nothing_about_our_insides():
    fault = fault_of(RuntimeError("secret path /srv/x"))
    assert (fault.status, fault.kind) == (500, "InternalError")
    assert "/srv" not in fault.message
    full = OSError(28, "No space left on device")
    assert storage_full(full)
    wrapped = UnmuffleError("x")
    wrapped.__cause__ = full
    assert fault_of(wrapped).status == 503
    assert "\n" not in Fault(400, "X", "a\nb").message


@pytest.mark.parametrize(
    "values",
    [{"port": 70000}, {"port": -1}, {"max_channels": 65}, {"stream_load": 0}, {"stream_load": math.nan},
     {"origins": ("example.org",)}, {"origins": ("https://a/b",)}, {"spool_dir": "/does/not/exist"}, {"drain_s": -1}],
)  # fmt: skip
def test_settings_are_checked(values):
    with pytest.raises(ParameterError):
        ServerConfig(**values)


def test_what_loopback_is():
    assert ServerConfig().loopback
    assert ServerConfig(host="::1").loopback
    assert ServerConfig(host="localhost").loopback
    assert not ServerConfig(host="0.0.0.0").loopback
    assert not ServerConfig(host="example.org").loopback


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    import asyncio

    from unmuffle.server import uploads

    class Full:
        def __init__(self, path, mode): ...
        def write(self, data):
            raise OSError(28, "No space left on device")

        def flush(self): ...
        def close(self): ...

    monkeypatch.setattr(uploads, "open", Full, raising=False)

    async def receive():
        return {"type": "http.request", "body": b"x" * (2 << 20), "more_body": False}

    config = ServerConfig()
    with pytest.raises(Fault) as caught:
        asyncio.run(uploads.receive_upload(uploads.Body(receive, config), {}, tmp_path, config))
    assert (caught.value.status, caught.value.kind) == (503, "StorageFull")


def test_folders_of_a_dead_server_are_removed_those_of_a_living_one_are_not(tmp_path):
    from unmuffle.server.spool import PREFIX, Spool

    dead = tmp_path / f"{PREFIX}dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "f-1").mkdir()
    foreign = tmp_path / "something"
    foreign.mkdir()
    first = Spool(str(tmp_path))
    assert not dead.exists()
    second = Spool(str(tmp_path))
    assert first.root.exists()
    assert foreign.exists()
    assert first.root.stat().st_mode & 0o777 == 0o700
    for spool in (first, second):
        spool.close()
        assert not spool.root.exists()
