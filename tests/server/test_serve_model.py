"""A server with a network file of its own: what ``auto`` and ``model`` then mean, and what clients cannot do."""

from __future__ import annotations

import io
import json
from importlib import resources

import httpx
import numpy as np
import pytest
import soundfile
from server_helpers import PATIENCE, running

import unmuffle
from unmuffle.errors import ModelError, ParameterError
from unmuffle.server.asked import Asked, method_of
from unmuffle.server.protocol import parse_hello

FILE = str(resources.files("unmuffle") / "models" / "live.onnx")


def test_what_the_names_mean():
    made = unmuffle.load("model", path=FILE)
    assert method_of("auto", {}, FILE) == method_of("model", {}, FILE) == made
    assert method_of("log-mmse", {}, FILE) == unmuffle.load("log-mmse")
    assert method_of("low-cut+model", {}, FILE).stages[1] == made
    assert parse_hello({"type": "hello", "rate": 16000}, 8, FILE).enhancer() == made
    assert Asked.parse([("method", "model")], FILE).enhancer(1) == made


@pytest.mark.parametrize("own", [None, FILE])
def test_clients_name_no_files(own):
    for pairs in ([("method", "model"), ("set", f"path={FILE}")], [("model", FILE)]):
        with pytest.raises(ParameterError):
            Asked.parse(pairs, own)
    with pytest.raises(ParameterError):
        parse_hello({"type": "hello", "rate": 16000, "method": "model", "params": {"path": FILE}}, 8, own).enhancer()
    if own is None:
        with pytest.raises(ParameterError, match="no network file of its own"):
            method_of("model", {})


def test_files_go_through_it(tmp_path):
    rng = np.random.default_rng(0)
    x = (0.05 * rng.standard_normal(16000)).astype(np.float32)
    sound = io.BytesIO()
    soundfile.write(sound, x, 16000, format="WAV", subtype="FLOAT")
    with running(tmp_path, model=FILE) as server:
        answer = httpx.post(f"{server.url}/enhance", content=sound.getvalue(), timeout=PATIENCE)
        assert answer.status_code == 200, json.dumps(answer.text)
    y, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert rate == 16000
    # Whole and in the server's blocks: a dense layer over one frame adds in another order than over many.
    assert np.max(np.abs(y - unmuffle.enhance(x, 16000, "model", path=FILE))) < 1e-5


def test_a_broken_file_is_told_at_the_start(tmp_path, monkeypatch):
    from unmuffle.cli.serve import serve

    (tmp_path / "bad.onnx").write_text("hello")
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        serve(model=str(tmp_path / "bad.onnx"), origin=None, keys=None, spool=None)
