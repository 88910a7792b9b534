"""``unmuffle enhance`` with a microphone array: one channel out of several, and one line for each mistake."""

import json
import sys

import numpy as np
import pytest

from unmuffle.cli import main
from unmuffle.io import read, write


@pytest.fixture
def enhance(monkeypatch, capsys, tmp_path):
    rng = np.random.default_rng(0)
    gate = np.repeat(rng.random(20) > 0.4, 1600)
    x = 0.1 * rng.standard_normal(32000) * gate
    f = np.fft.rfftfreq(x.size, 1 / 16000)
    lead = np.array([0.0, 0.05, 0.0, -0.05]) / 343.2  # from azimuth 90
    heard = np.fft.irfft(np.fft.rfft(x) * np.exp(2j * np.pi * f * lead[:, None]), x.size)
    heard += 1e-3 * rng.standard_normal(heard.shape)
    write(tmp_path / "four.wav", heard.astype(np.float32), 16000, "FLOAT")
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["unmuffle", "enhance", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        return ended.value.code, *capsys.readouterr()

    return run


def test_one_channel_towards_a_direction(enhance, tmp_path):
    (tmp_path / "circle4.toml").write_text('preset = "circle"\nmicrophones = 4\nradius_m = 0.05\n')
    code, out, _ = enhance(
        "four.wav", "-o", "out.wav", "--array", "circle4.toml", "--direction", "auto",
        "--beamformer", "mvdr", "--dereverb", "late-reverb", "--json",
    )  # fmt: skip
    report = json.loads(out)
    assert code == 0
    assert report["channels"] == 1
    assert "azimuth_deg = 9" in report["method"] or "azimuth_deg = 89" in report["method"]
    assert read(tmp_path / "out.wav")[0].shape == (1, 32000)


def test_a_method_behind_and_the_residual_of_the_reference(enhance, tmp_path):
    args = ["--array", "circle:4:0.05", "--direction", "90", "--beamformer", "delay-and-sum", "-m", "log-mmse"]
    code, _, _ = enhance("four.wav", "-o", "o.wav", "--residual", "r.wav", *args)
    assert code == 0
    x, out, taken = (read(tmp_path / name)[0] for name in ("four.wav", "o.wav", "r.wav"))
    np.testing.assert_allclose(out + taken, x[:1], atol=1e-6)


def test_without_a_beamformer_all_channels_come_out(enhance, tmp_path):
    code, _, _ = enhance("four.wav", "-o", "o.wav", "--dereverb", "late-reverb")
    assert code == 0
    assert read(tmp_path / "o.wav")[0].shape == (4, 32000)


def test_a_dead_channel_is_told(enhance, tmp_path):
    x, rate = read(tmp_path / "four.wav")
    x[3] = 0.0
    write(tmp_path / "dead.wav", x, rate)
    code, _, err = enhance("dead.wav", "-o", "o.wav", "--beamformer", "gev", "--set", "loading=0.01")
    assert code == 0
    assert "channel 3 is dead" in err


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--direction", "30"], 2, "needs an array"),
        (["--array", "line-8", "--direction", "30"], 3, "has 4 channel"),
        (["--array", "line-8", "--direction", "auto"], 3, "has 4 channel"),
        (["--array", "circle:4", "--direction", "999"], 2, "-360 to 360"),
        (["--array", "circle:4", "--beamformer", "mvdr", "--stereo", "independent"], 2, "--stereo"),
        (["--beamformer", "gev", "--set", "lodaing=1"], 2, "did you mean 'loading'"),
        (["--dereverb", "wpe", "--set", "taps=3"], 2, "--set belongs"),
    ],
)
def test_mistakes(enhance, tmp_path, args, code, words):
    got, _, err = enhance("four.wav", "-o", "o.wav", *args)
    assert (got, words in err) == (code, True), err
    assert not (tmp_path / "o.wav").exists()
