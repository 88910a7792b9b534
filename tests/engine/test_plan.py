"""What becomes what."""

import pytest

from unmuffle.engine.plan import Job, plan
from unmuffle.errors import MediaNotFoundError, NotAudioError, OutputError, ParameterError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.wav", "in/deep/b c.mp3", "in/notes.txt", "in/a.enhanced.wav", "in/.hidden.wav", "x.wav", "ü 音.flac"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "options", "expected"),
    [
        (["x.wav"], {}, [("x.wav", "x.enhanced.wav")]),
        (["x.wav"], {"extension": "flac"}, [("x.wav", "x.enhanced.flac")]),
        (["x.wav"], {"output": "y.mp3"}, [("x.wav", "y.mp3")]),
        (["x.wav"], {"output": "in"}, [("x.wav", "in/x.wav")]),
        (["x.wav"], {"output": "new/"}, [("x.wav", "new/x.wav")]),
        (["x.wav"], {"output": "new", "raw": True}, [("x.wav", "new")]),
        (["x.wav"], {"in_place": True}, [("x.wav", "x.wav")]),
        (["x.wav"], {"output": "-"}, [("x.wav", "-")]),
        (["-"], {}, [("-", "-")]),
        (["-"], {"output": "y.wav"}, [("-", "y.wav")]),
        (["ü 音.flac"], {}, [("ü 音.flac", "ü 音.enhanced.flac")]),
        (["in"], {"output": "out"}, [("in/a.wav", "out/a.wav"), ("in/deep/b c.mp3", "out/deep/b c.mp3")]),
        (["in"], {}, [("in/a.wav", "in.enhanced/a.wav"), ("in/deep/b c.mp3", "in.enhanced/deep/b c.mp3")]),
        (["*.wav", "in/a.wav"], {"output": "out"}, [("x.wav", "out/x.wav"), ("in/a.wav", "out/a.wav")]),
        (["in/**/*.mp3"], {"extension": ".wav"}, [("in/deep/b c.mp3", "in/deep/b c.enhanced.wav")]),
    ],
)
def test_plans(tree, inputs, options, expected):
    assert plan(inputs, options.pop("output", None), **options) == [Job(*pair) for pair in expected]


def test_residuals_follow(tree):
    assert plan(["x.wav"], residual="r.wav") == [Job("x.wav", "x.enhanced.wav", "r.wav")]
    assert plan(["x.wav"], "new/", residual="rest/") == [Job("x.wav", "new/x.wav", "rest/x.wav")]
    assert plan(["x.wav"], residual="in") == [Job("x.wav", "x.enhanced.wav", "in/x.wav")]
    jobs = plan(["in"], "out", residual="rest")
    assert [j.residual for j in jobs] == ["rest/a.wav", "rest/deep/b c.mp3"]


@pytest.mark.parametrize(
    ("inputs", "options", "error", "words"),
    [
        ([], {}, ParameterError, "no input"),
        (["nowhere.wav"], {}, MediaNotFoundError, "nowhere.wav"),
        (["*.ogg"], {}, MediaNotFoundError, "no file matches"),
        (["empty"], {}, NotAudioError, "no audio"),
        (["in"], {"output": "x.wav"}, OutputError, "is a file"),
        (["x.wav", "in/a.wav"], {"output": "-"}, ParameterError, "one sound"),
        (["x.wav", "-"], {"output": "out"}, ParameterError, "one sound"),
        (["x.wav"], {"in_place": True, "output": "y.wav"}, ParameterError, "leave out"),
        (["x.wav"], {"extension": "a/b"}, ParameterError, "no extension"),
        (["x.wav", "x.wav"], {"output": "out"}, OutputError, "both become"),
        (["x.wav"], {"output": "new"}, OutputError, r"'new/' for a folder, or 'new\.wav'"),
        (["x.wav"], {"residual": "rest"}, OutputError, r"'rest/' for a folder, or 'rest\.wav'"),
        (["-"], {"output": "new"}, OutputError, r"'new/' for a folder"),
    ],
)
def test_plans_that_cannot_be(tree, inputs, options, error, words):
    with pytest.raises(error, match=words):
        plan(inputs, options.pop("output", None), **options)
