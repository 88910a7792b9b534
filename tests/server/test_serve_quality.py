"""A server whose method fails, whose files come twice, whose streams are measured: it goes on, and says so."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile
from server_helpers import CODE, DEFAULTS, PATIENCE, Running, get, opened, post, until

pytest.importorskip("httpx")
pytest.importorskip("websockets")

FAULTY = """
import numpy as np
from dataclasses import dataclass
from typing import ClassVar
from unmuffle.enhancers import registry
from unmuffle.enhancers.base import Enhancer, StepKernel
from unmuffle.enhancers.params import param

@dataclass(frozen=True)
class Faulty(Enhancer):
    '''Passes sound until a sample above 0.9 comes; then it fails.'''
    name: ClassVar[str] = "faulty"
    how: str = param("raise", "how", choices=("raise", "nan"))
    def kernel(self, sample_rate, channels):
        return Kernel(self, channels)

class Kernel(StepKernel):
    def __init__(self, faulty, channels):
        super().__init__(channels, 160, 160)
        self.how, self.broken = faulty.how, False
    def init(self):
        return np.zeros((self.channels, 160), np.float32)
    def step(self, x, state):
        self.broken = self.broken or np.abs(x).max() > 0.9
        joined = np.concatenate((state, x), axis=1)
        if self.broken and self.how == "raise":
            raise MemoryError("out of memory")
        y = joined[:, :x.shape[1]] * (np.nan if self.broken else 0.25)
        return y.astype(np.float32), joined[:, x.shape[1]:]

import sys
sys.modules["faulty"] = sys.modules["__main__"]
registry.REGISTRY["faulty"] = registry.Entry("faulty:Faulty", "fails", "test")
"""


class Hook:
    """A webhook."""

    def __init__(self):
        self.got = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    hook = Hook()
    (folder / "spool").mkdir()
    settings = {**DEFAULTS, "spool_dir": str(folder / "spool"), "cache": str(folder / "cache"), "webhook": hook.url,
                "quality_every_s": 10.0, "max_ahead_s": 60.0}  # fmt: skip
    made = Running(folder, command=[sys.executable, "-c", FAULTY + CODE, json.dumps(settings)])
    made.hook, made.folder = hook, folder
    yield made
    made.stop()
    hook.server.shutdown()
    hook.server.server_close()


def metric(server, name):
    text = get(f"{server.url}/metrics").text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)}


def exchange(stream, number, block):
    """Send a block; returns the samples, and the texts that came before them."""
    stream.send(number.to_bytes(4, "little") + block.astype("<f4").tobytes())
    texts = []
    while True:
        message = stream.recv(timeout=PATIENCE)
        if isinstance(message, bytes):
            return np.frombuffer(message[4:], "<f4"), texts
        texts.append(json.loads(message))


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_a_stream_whose_method_fails_goes_on_and_says_so(server, how, rng):
    x = (0.05 * rng.standard_normal(4 * 16000)).astype(np.float32)
    x[16000] = 0.95
    with opened(server, method="faulty", params={"how": how}) as (stream, ready):
        assert ready["latency_samples"] == 160  # the guard costs none
        out, told = [], []
        for i in range(0, len(x), 160):
            y, texts = exchange(stream, i // 160, x[i : i + 160])
            out.append(y)
            told += texts
        stream.send('{"type": "stats"}')
        stats = json.loads(stream.recv())
        while stats["type"] != "stats":
            told.append(stats)
            stats = json.loads(stream.recv())
    y = np.concatenate(out)
    assert len(y) == len(x)  # no gap
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y[160:15800], 0.25 * x[:15640], atol=1e-6)
    assert 0 < np.std(y[20000:]) < 0.05  # the classical method is at work
    assert told[0]["type"] == "switched"
    assert told[0]["method"] == "classic"
    assert (told[0]["to"], told[0]["reason"]) == ("spare", {"raise": "error", "nan": "non-finite"}[how])
    assert (stats["active"], stats["switches"]) == ("spare", 1)
    found = metric(server, "unmuffle_stream_switches_total")
    assert any('to="spare"' in key and value >= 1 for key, value in found.items())
    assert metric(server, "unmuffle_alerts")['unmuffle_alerts{kind="fallback"}'] >= 1
    assert until(lambda: server.hook.got)  # and the webhook was told
    assert (server.hook.got[0]["kind"], server.hook.got[0]["subject"]) == ("fallback", "faulty")


def test_streams_are_measured(server, rng):
    x = (0.05 * rng.standard_normal(12 * 16000)).astype(np.float32)
    with opened(server, method="classic") as (stream, _):
        for i in range(0, len(x), 3200):
            exchange(stream, i // 3200, x[i : i + 3200])
        stats = {}

        def measured():  # a busy machine measures late
            stream.send('{"type": "stats"}')
            stats.update(json.loads(stream.recv()))
            return stats["quality"]

        assert until(measured)
    assert stats["quality"]["reduction_db"] > 6
    assert stats["quality"]["noise_before_dbfs"] == pytest.approx(-26, abs=1)
    assert stats["quality"]["real_time_factor"] > 0
    assert metric(server, "unmuffle_quality{")['unmuffle_quality{figure="reduction_db"}'] > 6
    assert metric(server, "unmuffle_quality_windows")['unmuffle_quality_windows{state="measured"}'] >= 1


def test_a_file_that_comes_twice_is_enhanced_once(server, tmp_path, rng):
    soundfile.write(tmp_path / "talk.wav", 0.05 * rng.standard_normal(16000), 16000)
    data = (tmp_path / "talk.wav").read_bytes()
    first, second = (post(f"{server.url}/enhance?method=wiener", content=data) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    found = metric(server, "unmuffle_cache_requests_total")
    assert found == {
        'unmuffle_cache_requests_total{state="hit"}': 1.0,
        'unmuffle_cache_requests_total{state="miss"}': 1.0,
    }
    other = post(f"{server.url}/enhance?method=wiener&strength=6", content=data)
    assert other.content != first.content
    # Damage: never given back.
    for path in (server.folder / "cache").glob("*/*.val"):
        path.write_bytes(path.read_bytes()[:-2])
    third = post(f"{server.url}/enhance?method=wiener", content=data)
    assert third.content == first.content
    assert metric(server, "unmuffle_cache_requests_total")['unmuffle_cache_requests_total{state="miss"}'] == 3.0


def test_a_cache_that_cannot_be_used_does_not_stop_the_service(tmp_path, rng):
    (tmp_path / "no").write_text("a file")
    soundfile.write(tmp_path / "talk.wav", 0.05 * rng.standard_normal(16000), 16000)
    made = Running(tmp_path, cache=str(tmp_path / "no"))
    try:
        reply = post(f"{made.url}/enhance", content=(tmp_path / "talk.wav").read_bytes())
        assert reply.status_code == 200
        assert "on without the cache" in made.log.read_text()
    finally:
        made.stop()
