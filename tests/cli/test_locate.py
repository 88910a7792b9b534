"""``unmuffle locate``: a table, JSON and a picture; every mistake is one line."""

import json
import sys

import numpy as np
import pytest

from unmuffle.cli import main
from unmuffle.io import write


@pytest.fixture
def locate(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["unmuffle", "locate", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def recording(tmp_path):
    """Noise with pauses from azimuth 90: the second of four microphones on a circle hears it first."""
    rate, radius, c = 16000, 0.06, 343.2
    x = np.random.default_rng(0).standard_normal(2 * rate) * (np.sin(np.arange(2 * rate) / 900) > 0)
    f = np.fft.rfftfreq(x.size, 1 / rate)
    lead = np.array([0.0, radius, 0.0, -radius]) / c
    heard = np.fft.irfft(np.fft.rfft(x) * np.exp(2j * np.pi * f * lead[:, None]), x.size)
    heard += 0.003 * np.random.default_rng(1).standard_normal(heard.shape)
    path = tmp_path / "four.wav"
    write(path, 0.1 * heard.astype(np.float32), rate, "PCM_24")
    return path


def test_table_json_and_picture(locate, recording, tmp_path):
    code, out, _ = locate(recording, "--array", "circle:4:0.06")
    assert code == 0
    assert "90.0°" in out or "89." in out
    code, out, _ = locate(recording, "--array", "circle:4:0.06", "--json", "--track", "--picture", tmp_path / "p.png")
    found = json.loads(out)
    assert code == 0
    assert [t["azimuth_deg"] for t in found["talkers"]] == pytest.approx([90.0], abs=2.0)
    assert found["track"][-1]["tracks"][0]["azimuth_deg"] == pytest.approx(90.0, abs=3.0)
    assert "half a wavelength" in found["notes"][0]
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_a_line_says_what_it_cannot_know(locate, tmp_path):
    write(tmp_path / "two.wav", np.zeros((2, 8000), np.float32), 16000)
    code, out, _ = locate(tmp_path / "two.wav", "--array", "line:2:0.1")
    assert code == 0
    assert "no direction" in out
    assert "two sides" in out


def test_mistakes(locate, recording, tmp_path):
    (tmp_path / "a.toml").write_text('preset = "cricle"')
    for args, exit_code, words in [
        (["--array", "line-8"], 3, "has 4 channel"),
        (["--array", "cirle"], 2, "did you mean"),
        (["--array", tmp_path / "a.toml"], 2, "did you mean 'circle'"),
        (["--array", "circle:4", "--method", "musik"], 2, "srp-phat, music"),
        (["--array", "circle:4", "--talkers", "9"], 2, "1 to 8"),
        (["--array", "circle:4", "--temperature", "300"], 2, "Celsius"),
        (["--array", "circle:4", "--picture", "x.jpg"], 2, "PNG"),
    ]:
        code, _, err = locate(recording, *args)
        assert (code, words in err) == (exit_code, True), err
    write(tmp_path / "mono.wav", np.zeros(8000, np.float32), 16000)
    code, _, err = locate(tmp_path / "mono.wav", "--array", "0,0,0")
    assert code == 2
    assert "one microphone" in err
