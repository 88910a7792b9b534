"""Several channels in, fewer out, over the wire: the samples are those of the library."""

import io

import numpy as np
import pytest
from server_helpers import PATIENCE, control, frame, opened, speech, unframe

from unmuffle.engine.options import Options
from unmuffle.enhancers.registry import load

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")
pytest.importorskip("websockets")


@pytest.mark.parametrize(
    ("method", "channels", "params"),
    [
        ("phone", 2, {}),
        ("echo-canceller", 3, {"tail_ms": 64.0}),
        ("gev", 4, {}),
        ("delay-and-sum", 4, {"array": "circle:4:0.05", "azimuth_deg": 30.0}),
    ],
)
@pytest.mark.parametrize("form", ["f32le", "s16le"])
def test_a_stream_of_several_channels(server, method, channels, params, form):
    x = np.rint(speech(0.8, 16000, channels) * 32767) / 32768
    stream = load(method, **params).stream(16000, channels)
    with opened(server, method=method, channels=channels, params=params, format=form) as (ws, ready):
        assert ready["type"] == "ready", ready
        made = ready["channels_out"]
        assert (ready["channels"], made) == (channels, stream.channels_out)
        parts = []
        for number, at in enumerate(range(0, x.shape[1], 777)):
            block = x[:, at : at + 777]
            ws.send(frame(number, block if form == "f32le" else block * 32768, form))
            parts.append(unframe(ws.recv(timeout=PATIENCE), made, form)[1])
        said = control(ws, type="flush")
        parts.append(unframe(ws.recv(timeout=PATIENCE), made, form)[1])
        assert parts[-1].shape[1] == said["samples"]
        stats = control(ws, type="stats")
    x = x.astype(np.float32)
    expected = np.concatenate([stream.process(x[:, i : i + 777]) for i in range(0, x.shape[1], 777)] + [stream.flush()], axis=1)
    got = np.concatenate(parts, axis=1)
    if form == "s16le":
        assert np.abs(got / 32768 - expected).max() <= 1 / 32768
    else:
        np.testing.assert_array_equal(got, expected)
    assert stats["samples_in"] == x.shape[1]
    assert stats["samples_out"] == got.shape[1]


def test_an_array_file_of_the_server_is_nobody_s_business(server):
    with opened(server, method="gev", channels=4, params={"array": "/etc/array.toml"}) as (_, answer):
        assert answer["type"] == "error"
        assert "server" in answer["error"]
    with opened(server, method="delay-and-sum", channels=4, params={"array": "line:3:0.05"}) as (_, answer):
        assert answer["type"] == "error"
        assert "4 channel" in answer["error"]


def test_a_file_of_two_channels_comes_back_with_one(server):
    import soundfile

    x = speech(0.5, 16000, 2)
    data = io.BytesIO()
    soundfile.write(data, x.T, 16000, "FLOAT", format="WAV")
    answer = httpx.post(
        f"{server.url}/enhance", params={"method": "phone"}, files={"file": ("x.wav", data.getvalue())}, timeout=PATIENCE
    )
    assert answer.status_code == 200, answer.text
    got, _ = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    from unmuffle.enhancers.base import run_offline

    np.testing.assert_allclose(got, run_offline(Options("phone").enhancer(2), x, 16000)[0], atol=1e-6)
