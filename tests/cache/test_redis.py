"""A real redis-server on a loopback port: kept, found, damaged, full, and gone in the middle."""

import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
import soundfile

from unmuffle.cache import enhance_file, open_cache
from unmuffle.cache.redis import RedisStore
from unmuffle.errors import ParameterError

redis = pytest.importorskip("redis")

PATIENCE = 180.0
"""Seconds for what takes a moment: other programs may hold the processor."""


class Server:
    def __init__(self, folder):
        self.folder = folder
        for _ in range(10):  # another program may take the port before Redis does
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            if self.start():
                return
        raise RuntimeError("redis-server did not start")

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                   "--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru", "--dir", str(self.folder)]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        end = time.monotonic() + PATIENCE
        try:
            while self.process.poll() is None and time.monotonic() < end:
                try:
                    return client.ping() and client.info()["process_id"] == self.process.pid
                except redis.ConnectionError:
                    time.sleep(0.02)
            return False
        finally:
            client.close()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    made = Server(tmp_path_factory.mktemp("redis"))
    yield made
    made.stop()


@pytest.fixture
def client(server):
    made = redis.Redis(port=server.port)
    made.flushall()
    yield made
    made.close()


def patient(server, **values):
    """A cache that waits for Redis, however busy the machine is."""
    return RedisStore(server.url, timeout_s=PATIENCE, **values)


@pytest.fixture
def cache(server, client):
    made = patient(server)
    yield made
    made._client.close()


@pytest.fixture
def talk(tmp_path, rng):
    path = tmp_path / "talk.wav"
    soundfile.write(path, 0.05 * rng.standard_normal(16000), 16000, "PCM_16")
    return path


def test_found_by_another_machine(tmp_path, server, cache, talk):
    first, state = enhance_file(cache, talk, tmp_path / "a.wav", "wiener")
    assert state == "miss"
    other = patient(server)
    second, state = enhance_file(other, talk, tmp_path / "b.wav", "wiener")
    other._client.close()
    assert state == "hit"
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert first.method == second.method
    assert (other.counts.hits, cache.counts.stored) == (1, 1)


def test_entries_have_a_time_to_live(tmp_path, server, client, talk):
    cache = open_cache(server.url, ttl_s=1000.0)
    assert isinstance(cache, RedisStore)
    cache.keep("k", talk, {})
    assert 0 < client.pttl("unmuffle:k") <= 1_000_000
    cache._client.close()
    cache = patient(server, ttl_s=1.0)
    cache.keep("k", talk, {})
    end = time.monotonic() + PATIENCE
    while cache.fetch("k", tmp_path / "x") is not None:
        assert time.monotonic() < end
        time.sleep(0.1)
    cache._client.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "header", "empty", "no line", "wrong kind"])
def test_a_damaged_entry_is_removed_and_made_anew(tmp_path, client, cache, talk, damage):
    enhance_file(cache, talk, tmp_path / "a.wav")
    (key,) = client.keys("unmuffle:*")
    data = bytearray(client.get(key))
    if damage == "flip":
        data[-100] ^= 4
    elif damage == "cut":
        data = data[:-1]
    elif damage == "header":
        data[5] = 0
    elif damage == "empty":
        data = bytearray()
    elif damage == "no line":
        data = bytearray(200_000)
    if damage == "wrong kind":
        client.delete(key)
        client.lpush(key, "x")
        assert enhance_file(cache, talk, tmp_path / "b.wav")[1] == "miss"
        return
    client.set(key, bytes(data))
    assert enhance_file(cache, talk, tmp_path / "b.wav")[1] == "miss"
    assert cache.counts.damaged == 1
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert enhance_file(cache, talk, tmp_path / "c.wav")[1] == "hit"


def test_what_is_too_large_is_not_kept_and_redis_makes_room_itself(tmp_path, server, client, rng):
    cache = patient(server, largest_bytes=5 << 20)
    path = tmp_path / "x"
    path.write_bytes(bytes((5 << 20) + 1))
    assert not cache.keep("large", path, {})
    assert cache.counts.skipped == 1
    path.write_bytes(rng.bytes(4 << 20))
    for i in range(8):  # 32 MB into 20
        cache.keep(f"k{i}", path, {})
    assert 1 <= len(client.keys("unmuffle:*")) <= 4
    assert cache.fetch("k7", tmp_path / "out")
    cache._client.close()


def test_without_redis_the_work_goes_on(tmp_path, server, client, talk, caplog):
    cache = patient(server, pause_s=1e6)
    enhance_file(cache, talk, tmp_path / "a.wav")
    server.stop()
    try:
        assert enhance_file(cache, talk, tmp_path / "b.wav")[1] == "miss"
        assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
        assert cache.counts.failed == 1  # the second command was not even tried
        assert "on without it" in caplog.text
    finally:
        assert server.start()
    cache._silent_until = 0.0  # the pause is over
    assert enhance_file(cache, talk, tmp_path / "c.wav")[1] == "miss"  # it is empty now
    assert enhance_file(cache, talk, tmp_path / "d.wav")[1] == "hit"
    cache._client.close()


def test_a_redis_that_hangs_costs_a_short_time(tmp_path, talk):
    """Somebody accepts the connection and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    cache = RedisStore(f"redis://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.2)
    assert cache.fetch("k", tmp_path / "x") is None  # it comes back at all
    assert not cache.keep("k", talk, {})
    assert np.isfinite(cache._silent_until)
    cache._client.close()
    listener.close()


def test_wrong_addresses_are_named_without_the_password():
    with pytest.raises(ParameterError, match=r"redis://\.\.\.@x") as error:
        open_cache("redis://user:secret@x:port")
    assert "secret" not in str(error.value)
    with pytest.raises(ParameterError, match="time to live"):
        open_cache("redis://x", ttl_s=0.5)
