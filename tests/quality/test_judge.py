"""Verdicts: what passes, what fails, what cannot be told; and the reports that say so."""

import json
import math
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from unmuffle.errors import MediaNotFoundError, MissingExtraError, ParameterError
from unmuffle.quality.judge import ALONE, WITH_CLEAN, WITH_NOISY, Check, judge, read_limits
from unmuffle.quality.report import junit, page

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pairs: ``good`` is nearly clean, ``bad`` is worse than the noisy file."""
    root = tmp_path_factory.mktemp("qa")
    rng = np.random.default_rng(3)
    for name in ("clean", "noisy", "good", "bad"):
        (root / name).mkdir()
    for i in range(2):
        clean = np.zeros(5 * RATE)
        for start in (0.5, 1.2, 2.6, 3.3):
            t = np.arange(int(0.5 * RATE)) / RATE
            pitch = 110 + 20 * rng.random() + 30 * np.sin(3 * t)
            word = sum(np.sin(2 * np.pi * np.cumsum(pitch) / RATE * k) / k for k in range(1, 30)) * np.hanning(len(t)) ** 0.3
            clean[int(start * RATE) : int(start * RATE) + len(t)] = 0.1 * word / np.std(word)
        noise = 0.03 * rng.standard_normal(len(clean))
        soundfile.write(root / "clean" / f"talk{i}.wav", clean, RATE, "FLOAT")
        soundfile.write(root / "noisy" / f"talk{i}.wav", clean + noise, RATE, "FLOAT")
        soundfile.write(root / "good" / f"talk{i}.wav", clean + 0.05 * noise, RATE, "FLOAT")
        worse = np.clip(0.2 * clean + 1.5 * noise, -0.05, 0.05)
        soundfile.write(root / "bad" / f"talk{i}.wav", worse, RATE, "FLOAT")
    return root


def status(judged):
    return {c.name: c.status for c in judged.checks}


def test_good_files_pass_every_usual_limit(folder):
    pytest.importorskip("pesq")
    seen = []
    verdict = judge(folder / "good", folder / "noisy", folder / "clean", progress=lambda *a: seen.append(a))
    assert verdict.passed
    assert [f.name for f in verdict.files] == ["talk0", "talk1"]
    assert status(verdict.files[0]) == dict.fromkeys(WITH_CLEAN, "pass")
    values = {c.name: c.value for c in verdict.files[0].checks}
    assert values["delta_snr"] == pytest.approx(20 * math.log10(1 / 0.05), abs=0.1)  # the noise is down by 26 dB
    assert values["delta_pesq"] > 0.5
    assert seen[-1] == (2, 2)
    assert verdict.files[0].figures.reduction_db == pytest.approx(26, abs=1.5)


def test_bad_files_fail_and_say_why(folder):
    limits = {k: v for k, v in WITH_CLEAN.items() if k not in ("delta_pesq", "delta_stoi")}
    verdict = judge(folder / "bad", folder / "noisy", folder / "clean", limits=limits)
    assert not verdict.passed
    found = status(verdict.files[0])
    assert found["delta_snr"] == found["clipping"] == found["speech_loss"] == "fail"
    why = {c.name: c.why for c in verdict.files[0].checks}
    assert "is below 3" in why["delta_snr"]
    assert "is above 0.01" in why["clipping"]


def test_without_the_clean_files(folder):
    verdict = judge(folder / "good", folder / "noisy")
    assert verdict.passed
    assert status(verdict.files[0]) == dict.fromkeys(WITH_NOISY, "pass")
    assert not judge(folder / "bad" / "talk0.wav", folder / "noisy" / "talk0.wav").passed


def test_alone(folder):
    verdict = judge(folder / "noisy")
    assert list(status(verdict.files[0])) == list(ALONE)
    assert not judge(folder / "bad").passed  # clipped


def test_per_set_it_is_the_mean_that_counts(folder, tmp_path):
    one = tmp_path / "mixed"
    one.mkdir()
    for i, source in enumerate(("good", "bad")):
        (one / f"talk{i}.wav").write_bytes((folder / source / f"talk{i}.wav").read_bytes())
    limits = {"reduction_db": (5.0, math.inf)}
    assert not judge(one, folder / "noisy", limits=limits).passed
    verdict = judge(one, folder / "noisy", limits=limits, per="set")
    assert verdict.passed
    assert verdict.over_all[0].value == pytest.approx(sum(f.checks[0].value for f in verdict.files) / 2)
    assert [f.passed() for f in verdict.files] == [True, False]


def test_what_cannot_be_told_is_unknown_and_fails_only_when_strict(tmp_path):
    tone = 0.1 * np.sin(np.arange(2 * RATE) / 3)
    soundfile.write(tmp_path / "a.wav", tone, RATE, "FLOAT")
    silence = tmp_path / "b.wav"
    soundfile.write(silence, np.zeros(2 * RATE), RATE, "FLOAT")
    verdict = judge(silence, tmp_path / "a.wav", limits={"artefacts": (-9.0, 2.0), "clipping": (0.0, 0.01)})
    assert status(verdict.files[0]) == {"artefacts": "unknown", "clipping": "pass"}
    assert "muted" in verdict.files[0].checks[0].why
    assert verdict.passed
    assert not judge(silence, tmp_path / "a.wav", limits={"artefacts": (-9.0, 2.0)}, strict=True).passed


def test_a_missing_package_is_unknown_or_an_error_if_asked_for(folder, monkeypatch):
    import unmuffle.quality.judge as module

    def gone(metrics):
        for metric in metrics:
            if metric.extra == "pesq":
                raise MissingExtraError("metric pesq_wb", "pesq")

    monkeypatch.setattr(module, "require", gone)
    one = [folder / n / "talk0.wav" for n in ("good", "noisy", "clean")]
    verdict = judge(*one)
    assert status(verdict.files[0])["delta_pesq"] == "unknown"
    assert "pip install" in verdict.files[0].checks[1].why
    assert verdict.passed
    with pytest.raises(MissingExtraError):
        judge(*one, limits={"delta_pesq": (0.5, math.inf)})


def test_a_broken_file_fails_and_the_others_are_judged(folder, tmp_path):
    broken = tmp_path / "enhanced"
    broken.mkdir()
    (broken / "talk0.wav").write_bytes(b"RIFF not sound")
    (broken / "talk1.wav").write_bytes((folder / "good" / "talk1.wav").read_bytes())
    verdict = judge(broken, folder / "noisy")
    assert [f.error is None for f in verdict.files] == [False, True]
    assert not verdict.passed
    assert not judge(broken, folder / "noisy", per="set").passed
    suites = ET.fromstring(junit(verdict))
    assert suites.get("errors") == "1"
    assert "talk0" in page(verdict)


def test_limits_from_a_file(tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text("[limits]\ndelta_snr = { min = 3.0 }\nclipping = { max = 0.01 }\nsnr_db = { min = 1, max = 90 }\n")
    assert read_limits(path) == {"delta_snr": (3.0, math.inf), "clipping": (-math.inf, 0.01), "snr_db": (1.0, 90.0)}
    for text, what in {
        "": "one table",
        "[limits]\n": "one table",
        "[limits]\nx = 3\n": "write",
        "[limits]\nsnr = { least = 3 }\n": "write",
        "[limits]\nsnr = { min = true }\n": "write",
        "[limits]\nbeauty = { min = 3 }\n": "nothing called 'beauty'",
        "[limits]\nsnr = { min = 3, max = 1 }\n": "above max",
        "[limits]\nsnr = { min = nan }\n": "write",
        "limits = [": "TOML",
        "[limits]\nsnr = { min = 3 }\n[more]\n": "one table",
    }.items():
        path.write_text(text)
        with pytest.raises(ParameterError, match=what):
            read_limits(path)
    with pytest.raises(ParameterError, match="cannot be read"):
        read_limits(tmp_path / "none.toml")


def test_a_limit_that_needs_what_is_not_there(folder):
    with pytest.raises(ParameterError, match="needs the clean file"):
        judge(folder / "good", folder / "noisy", limits={"pesq_wb": (1.0, 5.0)})
    with pytest.raises(ParameterError, match="needs the noisy file"):
        judge(folder / "good", limits={"reduction_db": (1.0, 5.0)})
    with pytest.raises(ParameterError, match="needs the noisy file"):
        judge(folder / "good", limits={"delta_dynamic_range": (1.0, 5.0)})
    with pytest.raises(ParameterError, match="per"):
        judge(folder / "good", per="week")
    with pytest.raises(MediaNotFoundError):
        judge(folder / "nothing")


def test_words_of_a_limit():
    assert Check("snr", 1.0, 3.0, math.inf, "fail").wanted == "at least 3"
    assert Check("clipping", 1.0, 0.0, 0.01, "fail").wanted == "at most 0.01"
    assert Check("dynamic_range", 1.0, 10.0, 90.0, "fail").wanted == "10 to 90"
    assert Check("delta_snr", 1.0, 3.0, math.inf, "fail").unit == "dB"
    assert Check("noise_dbfs", 1.0, 3.0, math.inf, "fail").unit == "dBFS"


class Page(HTMLParser):
    """Counts tags and collects the addresses of everything that a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.tags, self.fetched, self.open = {}, [], []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        self.fetched += [v for k, v in attributes if k in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(folder):
    pytest.importorskip("matplotlib")
    verdict = judge(folder / "bad", folder / "noisy")
    text = page(verdict, pictures=1)
    parsed = Page()
    parsed.feed(text)
    assert parsed.open == []
    assert parsed.tags["img"] == 1
    assert all(v.startswith("data:image/png;base64,") for v in parsed.fetched)
    assert "script" not in parsed.tags
    assert len(text) > 50_000  # the picture is inside
    assert page(verdict, pictures=0).count("<img") == 0


def test_names_cannot_break_the_reports(tmp_path):
    odd = tmp_path / "<script>alert(1)</script>&\x01.wav".replace("/", "_")
    soundfile.write(str(odd), 0.1 * np.sin(np.arange(RATE) / 3), RATE, format="WAV")
    verdict = judge(odd)
    assert "<script>" not in page(verdict)
    assert ET.fromstring(junit(verdict)).get("tests") == "2"


def test_junit_counts(folder):
    verdict = judge(folder / "bad", folder / "noisy")
    root = ET.fromstring(junit(verdict))
    assert root.get("tests") == str(2 * len(WITH_NOISY))
    assert int(root.get("failures")) == sum(c.status == "fail" for f in verdict.files for c in f.checks) > 0
    assert len(ET.fromstring(junit(judge(folder / "bad", folder / "noisy", per="set")))) == 1
    assert json.dumps(verdict.to_dict())  # plain values
