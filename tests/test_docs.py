"""What the documents show exists and runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def snippets():
    for page in PAGES:
        for i, code in enumerate(blocks(page, "python")):
            yield pytest.param(page, code, id=f"{page.stem}-{i}")


@pytest.mark.parametrize(("page", "code"), list(snippets()))
def test_python_in_the_docs_runs(page, code, tmp_path, monkeypatch):
    import numpy as np

    from unmuffle.io import write

    monkeypatch.chdir(tmp_path)
    noise = 0.05 * np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    write("talk.wav", noise, 16000)
    _video(tmp_path / "interview.mp4")
    exec(compile(code, str(page), "exec"), {"block": np.zeros((2, 480), np.float32), "__name__": "docs"})


def _video(path):
    """A second of picture and sound."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for i in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 10 * i, np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        rng = np.random.default_rng(0)
        frame = av.AudioFrame.from_ndarray(0.1 * rng.standard_normal((2, 48000)).astype(np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        for stream in (picture, sound):
            container.mux(stream.encode(None))


def commands():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                for part in line.split("#")[0].split("|"):
                    words = shlex.split(part)
                    if words and Path(words[0]).name == "unmuffle":
                        yield page.stem, words[1:]
        # in tables: a command within backticks
        for found in re.findall(r"`(unmuffle [^`]*)`", text):
            yield page.stem, shlex.split(found.replace("\\|", "|").split("|")[0])[1:]


def test_every_command_in_the_docs_exists_with_its_options():
    import typer

    from unmuffle.cli.main import app

    group = typer.main.get_command(app)
    shown = 0
    for page, words in commands():
        if not words or words[0] not in group.commands:
            assert words in ([], ["--help"], ["--version"]), f"{page}: no command {words}"
            continue
        command, rest = group.commands[words[0]], words[1:]
        if hasattr(command, "commands"):  # a group, such as `unmuffle data`
            if not rest or rest[0].startswith(("-", "[")):  # the generated page shows groups alone
                continue
            assert rest[0] in command.commands, f"{page}: unmuffle {words[0]} has no command {rest[0]}"
            command, rest = command.commands[rest[0]], rest[1:]
        known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--help"}
        for word in rest:
            if re.match(r"--?[a-zA-Z]", word):
                assert word.split("=")[0] in known, f"{page}: unmuffle {words[0]} has no {word}"
        shown += 1
    assert shown > 20  # the search itself works


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_generated_pages_are_up_to_date():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_exit_codes_are_documented_as_they_are():
    from unmuffle.cli.common import EXIT_CODES

    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    stated = {int(n) for n in re.findall(r"(?:^|[ ,:])(\d+) (?:done|some|wrong|the|an|a|interrupted)", text)}
    assert set(EXIT_CODES.values()) | {0, 1, 130} == stated


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_examples_run(script, tmp_path):
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


MODULES = sorted(
    str(p.relative_to(ROOT / "src").with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for p in (ROOT / "src").rglob("*.py")
    if ">>> " in p.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_run(name):
    import doctest
    import importlib

    if name.split(".")[1:2] and name.split(".")[1] in ("train", "export", "data"):
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert result.attempted > 0
