"""``unmuffle qa`` as a pipeline meets it: exit codes, table, JSON, JUnit, page."""

import json
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import soundfile

from unmuffle.cli import main


@pytest.fixture
def unmuffle(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    noise = 0.02 * rng.standard_normal(32000)
    word = np.zeros(32000)
    word[8000:16000] = 0.2 * np.sin(np.arange(8000) / 5) * np.hanning(8000)
    soundfile.write("noisy.wav", word + noise, 16000)
    soundfile.write("good.wav", word + 0.1 * noise, 16000)
    soundfile.write("bad.wav", noise, 16000)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["unmuffle", "qa", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_pass_and_fail(unmuffle):
    code, out, _ = unmuffle("noisy.wav", "good.wav")
    assert code == 0
    assert "passed: 1 of 1 files pass" in out
    assert "reduction_db" in out
    code, out, _ = unmuffle("noisy.wav", "bad.wav")
    assert code == 1
    assert "FAILED" in out
    assert "is below 3" in out


def test_reports(unmuffle, tmp_path):
    code, out, _ = unmuffle("noisy.wav", "bad.wav", "--json", "--junit", "qa.xml", "--html", "qa.html", "--pictures", 0)
    assert code == 1
    found = json.loads(out)
    assert found["passed"] is False
    assert {c["name"] for c in found["files"][0]["checks"]} >= {"reduction_db", "clipping"}
    assert ET.parse("qa.xml").getroot().get("tests") == str(len(found["files"][0]["checks"]))
    assert "Quality report" in (tmp_path / "qa.html").read_text()


def test_limits(unmuffle, tmp_path):
    (tmp_path / "limits.toml").write_text("[limits]\nreduction_db = { min = 40.0 }\n")
    assert unmuffle("noisy.wav", "good.wav", "--limits", "limits.toml")[0] == 1
    (tmp_path / "limits.toml").write_text("[limits]\nreduction_db = { min = 10.0 }\n")
    assert unmuffle("noisy.wav", "good.wav", "--limits", "limits.toml")[0] == 0


def test_wrong_use(unmuffle, tmp_path):
    assert unmuffle("a", "b", "c", "d")[0] == 2
    assert unmuffle("nothing.wav")[0] == 3
    assert unmuffle("noisy.wav", "good.wav", "--per", "week")[0] == 2
    code, _, err = unmuffle("noisy.wav", "good.wav", "--html", tmp_path / "no" / "qa.html", "--pictures", 0)
    assert code == 4
    assert "could not be written" in err
