"""``unmuffle enhance --cache``: the second time is a copy."""

import json
import sys

import numpy as np
import pytest
import soundfile

from unmuffle.cli import main


@pytest.fixture
def unmuffle(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(1)
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, 0.02 * rng.standard_normal(16000), 16000)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["unmuffle", "enhance", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_the_second_time_is_a_copy(unmuffle, tmp_path):
    code, out, _ = unmuffle("a.wav", "-o", "1.wav", "--cache", "--json")
    assert code == 0
    assert json.loads(out)["notes"] == []
    code, out, _ = unmuffle("a.wav", "-o", "2.wav", "--cache", "--json")
    assert json.loads(out)["notes"] == ["taken from the cache"]
    assert (tmp_path / "1.wav").read_bytes() == (tmp_path / "2.wav").read_bytes()
    assert list((tmp_path / "home" / "unmuffle").glob("*/*.val"))


def test_several_files_and_a_folder_of_choice(unmuffle, tmp_path):
    for _ in range(2):
        code, out, _ = unmuffle("a.wav", "b.wav", "-o", "out", "--cache-at", "kept", "--json")
        assert code == 0
    assert [r["notes"] for r in json.loads(out)["results"]] == [["taken from the cache"]] * 2
    assert not (tmp_path / "home").exists()
    code, out, _ = unmuffle("a.wav", "-o", "x.wav", "--residual", "r.wav", "--cache-at", "kept", "--json")
    assert json.loads(out)["notes"] == []  # a residual is not kept


def test_wrong_places(unmuffle, tmp_path):
    assert unmuffle("a.wav", "--cache-at", "a.wav")[0] == 4
    assert unmuffle("a.wav", "--cache-days", "0", "--cache")[0] == 2
    assert not (tmp_path / "a.enhanced.wav").exists()
