"""What the web page asks for: its files, both sides to listen to, scores. No browser here."""

import re
import time

import httpx
import numpy as np
import pytest
from server_helpers import PATIENCE, running, speech

from unmuffle import enhance
from unmuffle.io import read, write

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as made:
        yield made


def finished(client, path, data):
    """A job that is done: its view, and its result."""
    job = client.post(path, content=data)
    assert job.status_code == 202, job.text
    number = job.json()["id"]
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        view = client.get(f"/jobs/{number}").json()
        if view["status"] not in ("queued", "running"):
            break
        time.sleep(0.05)
    result = client.get(f"/jobs/{number}/result")
    client.delete(f"/jobs/{number}")
    return view, result


# -- the files of the page -----------------------------------------------------------------------------


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    for word in ("unsafe", "http:", "https:", "*", "data:"):
        assert word not in policy
    nonce = re.search(r"'nonce-([\w-]{20,})'", policy)[1]
    assert f'content="{nonce}"' in page.text
    assert "{{" not in page.text
    assert nonce not in client.get("/").text  # a new one each time
    assert not re.search(r'(?:src|href)="(?!/|#)', page.text)
    assert not re.search(r"<(?:script|style)[^>]*>[^<]", page.text)  # nothing inline


def test_parts_have_their_type_and_are_cached_by_digest(client):
    kinds = {
        "app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
        "sample.flac": "audio/flac", "vendor/LICENSE": "text/plain; charset=utf-8", "vendor/wavesurfer.js": "text/javascript; charset=utf-8",
    }  # fmt: skip
    for name, kind in kinds.items():
        first = client.get(f"/page/{name}")
        assert (first.status_code, first.headers["content-type"]) == (200, kind)
        assert first.headers["x-content-type-options"] == "nosniff"
        assert first.headers["cache-control"] == "no-cache"
        again = client.get(f"/page/{name}", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(f"/page/{name}", headers={"if-none-match": '"other"'}).status_code == 200
    assert client.head("/").status_code == 200


@pytest.mark.parametrize("path", ["nothing.js", "../static.py", "%2e%2e/static.py", "", "vendor", "vendor/", "index.html", "/etc/passwd"])
def test_nothing_else_is_there(client, path):
    assert client.get(f"/page/{path}").status_code == 404


def test_scripts_name_each_other_and_nothing_else():
    from unmuffle.server.static import FOLDER, Page

    names = set(Page().names)
    for path in FOLDER.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for wanted in re.findall(r"""from '\./([^']+)'|['"]/page/([^'"]+)['"]""", text):
            assert (wanted[0] or wanted[1]) in names, path.name
        assert not re.findall(r"https?://(?!\S*\$)", re.sub(r"^\s*//.*$", "", text, flags=re.M)), path.name
    assert "BSD 3-Clause" in (FOLDER / "vendor" / "LICENSE").read_text()


def test_the_page_needs_no_key_but_what_it_asks_for_does(tmp_path):
    with running(tmp_path, keys=["alice:correct-horse-battery"]) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        assert client.get("/").status_code == 200
        assert client.get("/page/app.js").status_code == 200
        for path in ("/about", "/methods"):
            assert client.get(path).status_code == 401
        assert client.post("/listen", content=b"x").status_code == 401
        about = client.get("/about", headers={"x-api-key": "correct-horse-battery"}).json()
    assert about["limits"]["upload_bytes"] == 2 << 30
    assert about["limits"]["listen_s"] == 300.0


# -- both sides to listen to ---------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "rate", "method"), [(1, 16000, "wiener"), (2, 44100, "dehum"), (1, 8000, "wpe-batch")])
def test_listening_gives_before_and_after_exactly(client, tmp_path, channels, rate, method):
    write(tmp_path / "talk.wav", speech(2.3, rate, channels), rate, "PCM_24")
    x, _ = read(tmp_path / "talk.wav")
    view, result = finished(client, f"/listen?method={method}&strength=6&filename=talk.wav", (tmp_path / "talk.wav").read_bytes())
    (tmp_path / "both.wav").write_bytes(result.content)
    both, found = read(tmp_path / "both.wav")
    assert (found, both.shape) == (rate, (2 * channels, x.shape[1]))
    assert np.array_equal(both[:channels], x)
    assert np.array_equal(both[channels:], np.atleast_2d(enhance(x, rate, method)))  # at its full effect
    said = view["result"]
    assert said["complete"] is True
    assert (said["channels"], said["sample_rate"]) == (channels, rate)
    assert said["seconds"] == said["duration_s"] == x.shape[1] / rate


@pytest.mark.parametrize(("method", "extra"), [("wiener", 0), ("identity", 1)])
def test_a_long_recording_is_heard_in_part_and_the_part_is_exact(monkeypatch, tmp_path, method, extra):
    from unmuffle.io import probe
    from unmuffle.server import listening
    from unmuffle.server.asked import Asked

    monkeypatch.setattr(listening, "LISTEN_S", 1.5)
    x = speech(4.0, 16000, 2)
    write(tmp_path / "talk.wav", x, 16000, "FLOAT")
    told = []
    asked = Asked(method=method)

    def listen(name):
        path = str(tmp_path / name)
        return listening.listen(path, probe(path), tmp_path, asked, lambda *p: told.append(p))

    said = listen("talk.wav")
    both, _ = read(said["path"])
    assert both.shape == (4, 24000)
    assert np.array_equal(both[:2], x[:, :24000])
    assert np.array_equal(both[2:], enhance(x, 16000, method)[:, :24000])
    assert (said["complete"], said["seconds"], said["duration_s"]) == (False, 1.5, 4.0)
    assert told[-1][1] == 1.5
    # One sample more than is heard, or none.
    write(tmp_path / "edge.wav", x[:, : 24000 + extra], 16000, "FLOAT")
    assert listen("edge.wav")["complete"] is (extra == 0)


def test_many_channels_shorten_the_excerpt():
    from unmuffle.io import MediaInfo
    from unmuffle.server.listening import LISTEN_SAMPLES, excerpt_frames

    for rate, channels in ((8000, 1), (48000, 1), (48000, 2), (192000, 8)):
        info = MediaInfo("-", "wav", "pcm", rate, channels, "FLOAT")
        assert excerpt_frames(info) * channels <= LISTEN_SAMPLES
        assert excerpt_frames(info) <= 300 * rate
    assert excerpt_frames(MediaInfo("-", "wav", "pcm", 48000, 1, "FLOAT")) == 300 * 48000


def test_listening_is_refused_as_enhancing_is(client):
    assert client.post("/listen?method=nonsense", content=b"x").status_code == 422
    assert client.post("/listen", content=b"").status_code == 400
    view, result = finished(client, "/listen", b"no sound at all" * 100)
    assert view["status"] == "failed"
    assert result.status_code == 415
    assert client.post("/listen?filename=big.wav", content=b"0" * 3_000_001).status_code == 413


# -- scores ------------------------------------------------------------------------------------------------


def wav(tmp_path, x, rate=16000):
    write(tmp_path / "x.wav", x, rate, "FLOAT")
    return (tmp_path / "x.wav").read_bytes()


def test_scores_are_those_of_the_library(client, tmp_path):
    from unmuffle.quality.figures import measure
    from unmuffle.signal.levels import rms_dbfs

    x = speech(3.0, 16000, 2)
    found = client.post("/scores?filename=x.wav", content=wav(tmp_path, x)).json()
    figures = measure(x, 16000)
    assert found["noise_dbfs"] == pytest.approx(figures.noise_dbfs, abs=1e-9)
    assert found["rms_dbfs"] == pytest.approx(rms_dbfs(x), abs=1e-9)
    assert (found["seconds"], found["channels"], found["sample_rate"]) == (3.0, 2, 16000)
    if found["dnsmos"] is None:
        assert "pip install" in found["dnsmos_missing"]
    else:
        assert all(1.0 <= found["dnsmos"][key] <= 5.0 for key in ("sig", "bak", "ovrl", "p808"))


def test_noise_of_a_known_level_is_found(monkeypatch):
    from unmuffle.server import scores as module
    from unmuffle.server.scores import scores

    monkeypatch.setattr(module, "_dnsmos", lambda *_: (None, None))  # seconds, for another test
    for rate in (8000, 16000, 48000):
        noise = 1e-2 * np.random.default_rng(rate).standard_normal((1, 3 * rate)).astype(np.float32)
        assert scores(noise, rate)["noise_dbfs"] == pytest.approx(-40.0, abs=1.0)


def test_what_has_no_score_is_null(client, tmp_path):
    silent = client.post("/scores", content=wav(tmp_path, np.zeros((1, 16000), np.float32))).json()
    assert (silent["loudness_lufs"], silent["rms_dbfs"], silent["dnsmos"]) == (None, None, None)
    short = client.post("/scores", content=wav(tmp_path, speech(0.01))).json()
    assert (short["noise_dbfs"], short["clipped_share"]) == (None, None)
    assert short["rms_dbfs"] < 0


def test_scores_have_limits(client, tmp_path):
    from unmuffle.server.scores import SCORES_S

    long = client.post("/scores", content=wav(tmp_path, np.zeros((1, int(8000 * (SCORES_S - 1))), np.float32), 8000))
    assert long.status_code in (200, 413)  # the test server's own limit of bytes comes first
    assert client.post("/scores?method=wiener", content=b"x").status_code == 422
    assert client.post("/scores", content=b"").status_code == 400
    assert client.post("/scores", content=b"no sound" * 100).status_code == 415


def test_scores_stop_at_two_minutes(tmp_path, monkeypatch):
    from unmuffle.io import probe
    from unmuffle.server import scores, worker
    from unmuffle.server.asked import Asked
    from unmuffle.server.faults import Fault

    monkeypatch.setattr(scores, "SCORES_S", 1.0)
    write(tmp_path / "x.wav", speech(2.0), 16000)
    path = str(tmp_path / "x.wav")
    with pytest.raises(Fault, match="more than 1 s"):
        worker.score(path, probe(path), Asked(), lambda *_: None)
