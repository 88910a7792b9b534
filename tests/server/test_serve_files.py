"""Files over HTTP: a real server, real files, what comes back equals ``enhance_file``."""

import io
import os
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_helpers import PATIENCE, running, speech, until

from unmuffle.engine.files import enhance_file
from unmuffle.io import read, write

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as made:
        yield made


def make_video(path):
    import av

    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for i in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 10 * i, np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        frame = av.AudioFrame.from_ndarray(speech(1.0, 48000, 2), "fltp", "stereo")
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        for stream in (picture, sound):
            container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write(folder / "talk.wav", speech(2.0, 44100, 2), 44100, "PCM_16")
    write(folder / "talk.mp3", speech(2.0, 48000), 48000)
    write(folder / "talk.flac", speech(1.0, 16000), 16000, "PCM_16")
    make_video(folder / "talk.mp4")
    return folder


@pytest.mark.parametrize("name", ["talk.wav", "talk.mp3", "talk.mp4", "talk.flac"])
def test_what_comes_back_is_what_enhance_file_writes(client, files, tmp_path, name):
    suffix = os.path.splitext(name)[1]
    expected = tmp_path / f"expected{suffix}"
    enhance_file(files / name, expected, "wiener", strength_db=12.0, repair=("low-cut",))
    with open(files / name, "rb") as upload:
        form = {"method": "wiener", "strength": "12", "repair": "low-cut"}
        reply = client.post("/enhance", files={"file": (name, upload)}, data=form)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-disposition"] == f'attachment; filename="talk.enhanced{suffix}"'
    got = tmp_path / f"got{suffix}"
    got.write_bytes(reply.content)
    a, rate = read(expected)
    b, other = read(got)
    assert rate == other
    assert np.array_equal(a, b)
    if suffix == ".mp4":
        import av

        with av.open(str(got)) as container:
            assert len(container.streams.video) == 1
    else:
        assert reply.content == expected.read_bytes()


def test_a_raw_body_and_options_in_the_address(client, files, tmp_path):
    expected = tmp_path / "expected.flac"
    enhance_file(files / "talk.wav", expected, "log-mmse", stereo="independent", loudness_lufs=-20.0, profile=(0.0, 0.3))
    body = (files / "talk.wav").read_bytes()
    options = {"method": "log-mmse", "stereo": "independent", "loudness": "-20", "profile": "0-0.3", "to": "flac"}
    reply = client.post("/enhance", params={**options, "filename": "my talk.wav"}, content=body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "audio/flac"
    assert reply.headers["content-disposition"] == 'attachment; filename="my talk.enhanced.flac"'
    assert reply.content == expected.read_bytes()


def test_a_body_without_a_name_keeps_its_kind(client, files):
    for name, kind in (("talk.flac", "audio/flac"), ("talk.mp3", "audio/mpeg"), ("talk.mp4", "video/mp4")):
        reply = client.post("/enhance", content=(files / name).read_bytes())
        assert (reply.status_code, reply.headers["content-type"]) == (200, kind)


def test_the_same_request_gives_the_same_bytes_and_leaves_nothing_behind(client, server, files):
    body = (files / "talk.wav").read_bytes()
    first, second = (client.post("/enhance", content=body).content for _ in range(2))
    assert first == second
    assert until(lambda: not server.folders())


@pytest.mark.parametrize(
    ("options", "content", "status", "kind"),
    [
        ({"method": "nope"}, None, 422, "UnknownMethodError"),
        ({"strength": "-3"}, None, 422, "ParameterError"),
        ({"set": "nope=1"}, None, 422, "UnknownParameterError"),
        ({"profile": "/etc/passwd"}, None, 422, "ParameterError"),
        ({"to": "exe"}, None, 422, "ParameterError"),
        ({"output": "/tmp/x.wav"}, None, 422, "ParameterError"),
        ({"profile": "500-600"}, None, 422, "ParameterError"),
        ({}, b"this is no media file at all", 415, "NotAudioError"),
        ({}, b"", 400, "EmptyUpload"),
    ],
)
def test_errors_are_json_with_their_code(client, server, files, options, content, status, kind):
    body = (files / "talk.wav").read_bytes() if content is None else content
    reply = client.post("/enhance", params=options, content=body)
    assert (reply.status_code, reply.json()["kind"]) == (status, kind), reply.text
    assert str(server.spool) not in reply.text
    assert until(lambda: not server.folders())


def test_a_damaged_file_is_named_without_our_path(client, server, files):
    body = (files / "talk.wav").read_bytes()[:5000]
    reply = client.post("/enhance", files={"file": ("x/../interview.wav", body)})
    assert (reply.status_code, reply.json()["kind"]) == (422, "TruncatedError")
    assert "'interview.wav'" in reply.json()["error"]
    assert str(server.spool) not in reply.text
    assert client.post("/enhance", params={"allow_truncated": "true"}, content=body).status_code == 200


def test_too_large_is_413_announced_or_not(client, server):
    reply = client.post("/enhance", content=b"x" * 4_000_000)
    assert (reply.status_code, reply.json()["kind"]) == (413, "UploadTooLarge")

    def unannounced():
        for _ in range(40):
            yield b"x" * 100_000

    reply = client.post("/enhance", content=unannounced())
    assert (reply.status_code, reply.json()["kind"]) == (413, "UploadTooLarge")
    reply = client.post("/enhance", files={"file": ("a.wav", b"x" * 4_000_000)})
    assert reply.status_code == 413
    assert until(lambda: not server.folders())


def test_a_media_bomb_is_refused(client, files, tmp_path):
    # Ten minutes of silence are a few kilobytes of flac; the server takes two.
    bomb = tmp_path / "bomb.flac"
    write(bomb, np.zeros((1, 600 * 8000), np.float32), 8000, "PCM_16")
    body = bomb.read_bytes()
    assert len(body) < 200_000
    reply = client.post("/enhance", content=body)
    assert (reply.status_code, reply.json()["kind"]) == (413, "TooLong")
    # The same with a header that says "length unknown" (36 bits of STREAMINFO): found while decoding.
    at = body.index(b"fLaC") + 4 + 4 + 13
    lying = body[:at] + bytes([body[at] & 0xF0, 0, 0, 0, 0]) + body[at + 5 :]
    reply = client.post("/enhance", content=lying)
    assert (reply.status_code, reply.json()["kind"]) == (413, "TooLong")
    # Methods that hold the whole signal have a limit of their own.
    write(bomb, np.zeros((1, 30 * 8000), np.float32), 8000, "PCM_16")
    assert client.post("/enhance", content=bomb.read_bytes()).status_code == 200
    reply = client.post("/enhance", params={"method": "loudness"}, content=bomb.read_bytes())
    assert (reply.status_code, reply.json()["kind"]) == (413, "TooLong")
    write(bomb, np.zeros((6, 8000), np.float32), 8000, "PCM_16")
    reply = client.post("/enhance", content=bomb.read_bytes())
    assert (reply.status_code, reply.json()["kind"]) == (413, "TooManyChannels")


def form(*parts, boundary="XX", last=b"--XX--\r\n"):
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts) + last
    return {"content": body, "headers": {"content-type": f"multipart/form-data; boundary={boundary}"}}


def test_broken_forms_are_400(client):
    head = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    for request in (
        form(head + b"abc", last=b""),  # ends early
        form(head + b"abc", head + b"abc"),  # two files
        form(b'Content-Disposition: form-data; name="method"\r\n\r\n\xff\xfe', head + b"abc"),
        form(*[b'Content-Disposition: form-data; name="set"\r\n\r\na=1'] * 70),
        form(b'Content-Disposition: form-data; name="method"\r\n\r\nauto'),  # no file
        form(b"X: " + b"y" * 10_000 + b"\r\n\r\nabc"),  # a header without end
        {"content": b"abc", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"abc", "headers": {"content-type": "multipart/form-data; boundary=XX"}},
        {"content": b"\r\n" * 100, "headers": {"content-type": "multipart/form-data; boundary=" + "X" * 300}},
    ):
        reply = client.post("/enhance", **request)
        assert reply.status_code == 400, reply.text
    reply = client.post("/enhance", **form(b'Content-Disposition: form-data; name="method"\r\n\r\n' + b"a" * 70_000))
    assert (reply.status_code, reply.json()["kind"]) == (413, "FieldsTooLarge")


@pytest.mark.parametrize(
    "name", ["../../../../etc/passwd", "..\\..\\x.wav", 'a"; filename="b.exe', "x\u2028y.wav", "a%0d%0aSet-Cookie: b=c.wav", "\u202egpj.wav"]
)
def test_file_names_stay_texts(client, server, files, name):
    before = set(os.listdir(server.spool.parent))
    reply = client.post("/enhance", params={"filename": name}, content=(files / "talk.flac").read_bytes())
    assert reply.status_code == 200
    assert "set-cookie" not in reply.headers
    shown = reply.headers["content-disposition"]
    assert "/" not in shown
    assert "\\" not in shown
    assert "etc" not in shown
    assert shown.isascii()
    assert set(os.listdir(server.spool.parent)) == before


def test_the_service_addresses(client, server):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["status"] == "ready"
    methods = {row["name"]: row for row in client.get("/methods").json()["methods"]}
    assert methods["log-mmse"]["available"]
    assert not methods["loudness"]["live"]
    assert client.get("/nothing").json()["kind"] == "NotFound"
    assert client.put("/enhance").json()["kind"] == "WrongVerb"
    assert client.get("/docs").status_code == 404  # it would load scripts from elsewhere
    description = client.get("/openapi.json").json()
    assert {"/enhance", "/jobs", "/jobs/{number}", "/healthz"} <= set(description["paths"])
    assert "stream" in client.get("/asyncapi.json").json()["channels"]


def test_metrics_count(client, files):
    from prometheus_client.parser import text_string_to_metric_families

    def value(name, **labels):
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return 0.0

    before = value("unmuffle_files_audio_seconds_total"), value("unmuffle_errors_total", kind="NotAudioError")
    client.post("/enhance", content=(files / "talk.wav").read_bytes())
    client.post("/enhance", content=b"x")
    assert value("unmuffle_files_audio_seconds_total") == pytest.approx(before[0] + 2.0)
    assert value("unmuffle_errors_total", kind="NotAudioError") == before[1] + 1
    assert value("unmuffle_requests_total", route="enhance", status="200") >= 1


# -- jobs ------------------------------------------------------------------------------------------


def wait(client, job):
    found = {}

    def over():
        found.update(client.get(f"/jobs/{job['id']}").json())
        return found["status"] in ("done", "failed", "cancelled")

    assert until(over)
    return found


def test_a_job_from_submission_to_deletion(client, server, files, tmp_path):
    expected = tmp_path / "expected.wav"
    enhance_file(files / "talk.wav", expected)
    reply = client.post("/jobs", files={"file": ("talk.wav", (files / "talk.wav").read_bytes())})
    assert reply.status_code == 202
    job = reply.json()
    assert reply.headers["location"] == f"/jobs/{job['id']}"
    done = wait(client, job)
    assert (done["status"], done["progress"], done["result"]["seconds"]) == ("done", 1.0, 2.0)
    assert "path" not in done["result"]
    result = client.get(f"/jobs/{job['id']}/result")
    assert result.content == expected.read_bytes()
    assert 'filename="talk.enhanced.wav"' in result.headers["content-disposition"]
    assert client.delete(f"/jobs/{job['id']}").json()["deleted"]
    for verb, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
        assert client.request(verb, f"/jobs/{job['id']}{path}").status_code == 404
    assert until(lambda: not server.folders())


def test_a_failed_job_says_why(client, server):
    job = client.post("/jobs", content=b"no sound").json()
    done = wait(client, job)
    assert (done["status"], done["kind"], done["code"]) == ("failed", "NotAudioError", 415)
    assert client.get(f"/jobs/{job['id']}/result").status_code == 415
    client.delete(f"/jobs/{job['id']}")


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "long.flac"
    write(path, np.zeros((4, 110 * 48000), np.float32), 48000, "PCM_16")  # seconds of work, kilobytes of upload
    return path.read_bytes()


def test_a_job_shows_progress_and_is_cancelled(client, server, long_file):
    job = client.post("/jobs", params={"method": "omlsa", "repair": "declick"}, content=long_file).json()
    url = f"/jobs/{job['id']}"
    assert until(lambda: 0 < client.get(url).json()["progress"] < 1)
    reply = client.get(f"{url}/result")
    assert (reply.status_code, reply.json()["kind"]) == (409, "NotReady")
    assert client.delete(url).json()["status"] == "cancelled"
    assert client.get(url).status_code == 404
    assert until(lambda: not server.folders())
    assert client.get("/readyz").json()["files"] == 0


def test_a_worker_that_is_killed_fails_its_job_and_nothing_else(client, server, long_file, files):
    slow = {"method": "omlsa", "repair": "declick"}
    job = client.post("/jobs", params=slow, content=long_file).json()
    assert until(lambda: 0 < client.get(f"/jobs/{job['id']}").json()["progress"] < 1)
    workers = server.children()
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    done = wait(client, job)
    assert (done["status"], done["kind"]) == ("failed", "WorkerDied")
    assert "SIGKILL" in done["error"]
    assert client.get(f"/jobs/{job['id']}/result").status_code == 500
    assert until(lambda: not server.folders())  # not even half a file
    # A request that waits for its answer gets one, and the next is served by a new worker.
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.post("/enhance", params=slow, content=long_file)))
    thread.start()
    assert until(lambda: "unmuffle_file_workers_busy 1.0" in client.get("/metrics").text)
    assert until(lambda: len(server.children()) == 1)
    os.kill(server.children()[0], signal.SIGKILL)
    thread.join(PATIENCE)
    assert (answers[0].status_code, answers[0].json()["kind"]) == (500, "WorkerDied")
    assert client.post("/enhance", content=(files / "talk.flac").read_bytes()).status_code == 200


def test_results_are_forgotten_after_their_time(tmp_path, files):
    with running(tmp_path, job_ttl_s=1.0, queue=1, max_jobs=2) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        job = client.post("/jobs", content=(files / "talk.flac").read_bytes()).json()
        assert until(lambda: client.get(f"/jobs/{job['id']}").status_code == 404)
        assert until(lambda: not server.folders())


def test_a_full_queue_says_when_to_come_again(tmp_path, long_file, files):
    with running(tmp_path, queue=1) as server, httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        jobs = [client.post("/jobs", params={"repair": "declick"}, content=long_file).json() for _ in range(2)]
        reply = client.post("/enhance", content=(files / "talk.flac").read_bytes())
        assert (reply.status_code, reply.json()["kind"]) == (503, "Busy")
        assert int(reply.headers["retry-after"]) > 0
        assert client.get("/healthz").status_code == 200
        waiting = client.get(f"/jobs/{jobs[1]['id']}").json()
        assert (waiting["status"], waiting["position"]) == ("queued", 0)
        for job in reversed(jobs):
            assert client.delete(f"/jobs/{job['id']}").json()["status"] == "cancelled"
        assert client.post("/enhance", content=(files / "talk.flac").read_bytes()).status_code == 200


# -- keys, origins -----------------------------------------------------------------------------------

ALICE, BOB = "alice-alice-alice-alice", "bob-bob-bob-bob-bob-bob"


def test_two_keys_do_not_see_each_other(tmp_path, files):
    body = (files / "talk.flac").read_bytes()
    keys = [f"alice:{ALICE}", f"bob:{BOB}"]
    with running(tmp_path, keys=keys, key_requests_per_min=60) as server:  # noqa: SIM117
        with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
            alice, bob = {"Authorization": f"Bearer {ALICE}"}, {"X-API-Key": BOB}
            for headers in ({}, {"X-API-Key": "x" * 20}, {"Authorization": f"Basic {ALICE}"}):
                for path in ("/enhance", "/jobs"):
                    reply = client.post(path, content=body, headers=headers)
                    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
                assert client.get("/metrics", headers=headers).status_code == 401
                assert client.get("/methods", headers=headers).status_code == 401
            assert client.get("/healthz").status_code == 200

            def asked(verb, path, headers):
                """The answer, within the limit that this server has."""
                while (reply := client.request(verb, path, headers=headers)).status_code == 429:
                    time.sleep(0.5)
                return reply

            job = client.post("/jobs", content=body, headers=alice).json()
            url = f"/jobs/{job['id']}"
            assert until(lambda: asked("GET", url, alice).json()["status"] == "done")
            for verb, path in (("GET", url), ("GET", f"{url}/result"), ("DELETE", url)):
                reply = asked(verb, path, bob)
                assert (reply.status_code, reply.json()["kind"]) == (404, "NoSuchJob")
            assert asked("GET", f"{url}/result", alice).status_code == 200
            # Alice's limit does not touch Bob. (One a second comes back: she needs to be quicker than that.)
            assert any(client.get("/methods", headers=alice).status_code == 429 for _ in range(1000))
            assert client.get("/methods", headers=bob).status_code == 200


def test_pages_of_foreign_origins(tmp_path, server, client):
    foreign = {"Origin": "https://foreign.example"}
    reply = client.get("/methods", headers=foreign)  # loopback: off by default, but nothing says it may be read
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers
    with running(tmp_path, origins=["https://ours.example"]) as strict, httpx.Client(base_url=strict.url, timeout=PATIENCE) as other:
        assert other.get("/methods", headers=foreign).json()["kind"] == "ForeignOrigin"
        assert other.get("/methods").status_code == 200
        assert other.get("/methods", headers={"Origin": strict.url}).status_code == 200  # its own page
        ours = {"Origin": "https://ours.example"}
        reply = other.get("/methods", headers=ours)
        assert reply.headers["access-control-allow-origin"] == ours["Origin"]
        reply = other.options("/enhance", headers={**ours, "Access-Control-Request-Method": "POST"})
        assert (reply.status_code, "POST" in reply.headers["access-control-allow-methods"]) == (204, True)
        reply = other.options("/enhance", headers={**foreign, "Access-Control-Request-Method": "POST"})
        assert reply.status_code == 403


# -- fuzz ----------------------------------------------------------------------------------------------

VERBS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
PATHS = st.sampled_from(["/enhance", "/jobs", "/jobs/x", "/jobs/%2e%2e", "/jobs/x/result", "/metrics", "/stream", "//", "/%00", "/"])
QUERIES = st.dictionaries(
    st.sampled_from(["method", "set", "strength", "to", "profile", "repair", "loudness", "filename", "x", "stereo"]),
    st.text(max_size=20) | st.sampled_from(["wiener", "log-mmse+agc", "hop_ms=1e9", "nan", "-inf", "0-1e9"]),
    max_size=3,
)
KINDS = st.sampled_from(["", "audio/wav", "multipart/form-data; boundary=a", "multipart/form-data; boundary=", "application/json"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VERBS, PATHS, QUERIES, KINDS, st.binary(max_size=300))
def test_no_request_is_answered_with_a_fault_of_ours(client, verb, path, query, kind, body):
    reply = client.request(verb, path, params=query, content=body, headers={"content-type": kind})
    assert reply.status_code < 500, (reply.status_code, reply.text)
    assert "Traceback" not in reply.text
    if reply.status_code >= 400 and verb != "HEAD":
        assert {"error", "kind"} <= set(reply.json())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damaged_file_is_a_fault_of_ours(client, files, data):
    body = bytearray((files / data.draw(st.sampled_from(["talk.flac", "talk.mp3"]))).read_bytes()[:20_000])
    for _ in range(data.draw(st.integers(1, 20))):
        body[data.draw(st.integers(0, min(400, len(body) - 1)))] = data.draw(st.integers(0, 255))
    reply = client.post("/enhance", content=bytes(body))
    assert reply.status_code in (200, 413, 415, 422), reply.text


@pytest.mark.slow
def test_the_description_holds(server):
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    for operation in schema.get_all_operations():
        case_of = operation.ok().as_strategy()

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case_of)
        def one(case):
            response = case.call(base_url=server.url)
            assert response.status_code < 500
            if response.status_code >= 400 and case.method != "HEAD":
                assert {"error", "kind"} <= set(response.json())

        one()


@pytest.mark.slow
def test_a_long_upload_takes_constant_memory(tmp_path):
    def resident(pid):
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    rate = 16000
    sound = io.BytesIO()
    import soundfile

    soundfile.write(sound, np.tile(speech(60.0, rate)[0], 60), rate, format="WAV", subtype="PCM_16")
    body = sound.getvalue()  # an hour, 115 MB
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=10 * PATIENCE) as client:
        pids = [server.process.pid, *server.children()]
        client.post("/enhance", content=body[: 44 + 2 * rate * 60], params={"allow_truncated": "true"})
        before = [resident(pid) for pid in pids]
        reply = client.post("/enhance", content=body)
        assert reply.status_code == 200
        assert soundfile.info(io.BytesIO(reply.content)).frames == 3600 * rate
        grown = [resident(pid) - was for pid, was in zip(pids, before, strict=True)]
        print(f"grown by {grown} kB")
        assert max(grown) < 100_000, grown  # kB, over what a minute takes
