"""A webhook that answers, refuses, is slow, is not there: alerts arrive or are counted, and nobody waits for them."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from unmuffle.errors import ParameterError
from unmuffle.quality import alerts
from unmuffle.quality.alerts import Alert, Webhook

PATIENCE = 180.0


class Receiver:
    """A little HTTP server; ``answers`` are the status codes of the next requests, then 200."""

    def __init__(self):
        self.got, self.answers, self.paths = [], [], []
        self.open = threading.Event()  # answers wait for it
        self.open.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.paths.append(self.path)
                outer.open.wait(PATIENCE)
                code = outer.answers.pop(0) if outer.answers else 200
                if code == 200:
                    outer.got.append((json.loads(body), dict(self.headers)))
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def until(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


ALERT = Alert("drift", "snr_db", "lower than usual", details={"now": 3.5, "odd": float("nan"), "what": object})


def test_an_alert_arrives_as_json(receiver):
    hook = Webhook(receiver.url, timeout_s=PATIENCE, headers={"Authorization": "Bearer x"})
    assert hook.send(ALERT)
    until(lambda: hook.sent)
    body, headers = receiver.got[0]
    assert {k: body[k] for k in ("kind", "subject", "message", "severity", "repeats")} == {
        "kind": "drift", "subject": "snr_db", "message": "lower than usual", "severity": "warning", "repeats": 0}
    assert body["details"]["now"] == 3.5
    assert body["details"]["odd"] == "nan"  # JSON has none
    assert headers["Authorization"] == "Bearer x"
    hook.close()
    assert (hook.sent, hook.failed, hook.dropped) == (1, 0, 0)


def test_it_is_tried_again(receiver):
    receiver.answers = [500, 503]
    hook = Webhook(receiver.url, timeout_s=PATIENCE, pause_s=0.01)
    hook.send(ALERT)
    until(lambda: hook.sent == 1)
    assert len(receiver.paths) == 3
    hook.close()


def test_it_gives_up_and_says_so(receiver, caplog):
    receiver.answers = [500] * 10
    hook = Webhook(receiver.url, timeout_s=PATIENCE, pause_s=0.01, attempts=3)
    hook.send(ALERT)
    until(lambda: hook.failed == 1)
    assert len(receiver.paths) == 3
    assert "could not be delivered" in caplog.text
    hook.close()


def test_a_redirection_is_not_followed(receiver):
    receiver.answers = [302]
    hook = Webhook(receiver.url, timeout_s=PATIENCE, attempts=1)
    hook.send(ALERT)
    until(lambda: hook.failed == 1)
    assert receiver.paths == ["/hook"]
    hook.close()


def test_nobody_waits_and_the_queue_is_bounded(receiver):
    receiver.open.clear()
    hook = Webhook(receiver.url, timeout_s=PATIENCE, room=4, quiet_s=0.0)
    assert hook.send(Alert("limit", "first", ""))
    until(lambda: receiver.paths)  # it is on its way, and no answer comes
    taken = [hook.send(Alert("limit", f"figure {i}", "")) for i in range(50)]  # if one waited, this would never end
    assert taken == [True] * 4 + [False] * 46
    assert hook.dropped == 46
    receiver.open.set()
    until(lambda: hook.sent == 5)
    hook.close()


def test_equal_alerts_are_held_back_and_counted(receiver, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(alerts, "time", SimpleNamespace(monotonic=lambda: now))
    hook = Webhook(receiver.url, timeout_s=PATIENCE, quiet_s=0.3)
    assert hook.send(ALERT)
    assert [hook.send(ALERT) for _ in range(5)] == [False] * 5
    assert hook.send(Alert("limit", "snr_db", ""))  # another kind
    now += 0.35
    assert hook.send(ALERT)
    until(lambda: len(receiver.got) == 3)
    assert [body["repeats"] for body, _ in receiver.got] == [0, 0, 5]
    hook.close()


@pytest.mark.parametrize("how", ["nobody", "deaf", "rude"])
def test_a_server_that_does_not_answer_well(how):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    if how == "nobody":
        listener.close()
    elif how == "rude":
        def rude():
            connection, _ = listener.accept()
            connection.sendall(b"hello\r\n\r\n")
            connection.close()

        threading.Thread(target=rude, daemon=True).start()
    hook = Webhook(f"http://127.0.0.1:{port}/", timeout_s=0.2, attempts=1)
    hook.send(ALERT)
    until(lambda: hook.failed == 1)
    hook.close(PATIENCE)
    assert not hook._thread.is_alive()
    listener.close()


def test_closing_delivers_what_waits_and_does_not_hang(receiver):
    receiver.answers = [500] * 100
    hook = Webhook(receiver.url, timeout_s=PATIENCE, pause_s=60.0, quiet_s=0.0)
    for i in range(3):
        hook.send(Alert("limit", str(i), ""))
    until(lambda: receiver.paths)
    hook.close(PATIENCE)
    assert not hook._thread.is_alive()
    assert not hook.send(ALERT)


def test_wrong_addresses_are_named():
    for url in ("", "ftp://x/", "file:///etc/passwd", "https://", "example.org"):
        with pytest.raises(ParameterError, match="webhook"):
            Webhook(url)
    with pytest.raises(ParameterError, match="attempts"):
        Webhook("http://localhost/", attempts=0)
    with pytest.raises(ParameterError, match="kind"):
        Alert("panic", "x", "y")
