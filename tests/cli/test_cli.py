"""The command as a user meets it: results, one clear line for bad input, exit codes, pipes, interruptions."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unmuffle.cli import main


def command(*args, **kwargs):
    """Run the command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "unmuffle", *map(str, args)], capture_output=True, check=False, **kwargs)


@pytest.fixture
def unmuffle(monkeypatch, capsys):
    """Run the command in this process: ``unmuffle("enhance", "x.wav") -> (exit code, stdout, stderr)``."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["unmuffle", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a second of noise in ``talk.wav``."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    soundfile.write("talk.wav", 0.05 * rng.standard_normal(16000), 16000, "PCM_16")
    return tmp_path


def left(folder):
    """Files in the folder, hidden ones included."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_enhance_writes_beside_the_input(unmuffle, folder):
    code, out, err = unmuffle("enhance", "talk.wav")
    assert (code, out) == (0, "")
    assert "talk.wav -> talk.enhanced.wav" in err
    assert soundfile.info("talk.enhanced.wav").frames == 16000
    before, after = soundfile.read("talk.wav")[0], soundfile.read("talk.enhanced.wav")[0]
    assert np.std(after[8000:]) < 0.5 * np.std(before[8000:])


def test_enhance_reports_as_json(unmuffle, folder):
    code, out, _ = unmuffle("enhance", "talk.wav", "-o", "o.flac", "--json", "--method", "wiener", "--set", "floor_db=-9")
    report = json.loads(out)
    assert code == 0
    assert report["output"] == "o.flac"
    assert "floor_db = -9.0" in report["method"]
    assert report["seconds"] == 1.0


def test_a_folder_is_mirrored_and_resumed(unmuffle, folder):
    for name in ("in/a.wav", "in/deep er/ü.flac"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(name, np.zeros(800), 16000)
    Path("in/broken.wav").write_bytes(b"RIFF nothing")
    code, _, err = unmuffle("enhance", "in", "-o", "out")
    assert code == 1
    assert "failed: in/broken.wav" in err
    assert "2 done, 1 failed" in err
    assert sorted(p.as_posix() for p in Path("out").rglob("*.*")) == ["out/a.wav", "out/deep er/ü.flac"]
    code, out, _ = unmuffle("enhance", "in", "-o", "out", "--resume", "--json")
    result = json.loads(out)
    assert code == 1
    assert [r.get("skipped", False) for r in result["results"]] == [True, True, False]
    code, out, _ = unmuffle("enhance", "in", "-o", "out", "--dry-run", "--json")
    assert len(json.loads(out)["planned"]) == 3
    assert not Path("out/broken.wav").exists()


def test_jobs_run_side_by_side(unmuffle, folder):
    shutil.copy("talk.wav", "other.wav")
    code, _, err = unmuffle("enhance", "talk.wav", "other.wav", "-o", "out", "--jobs", "2")
    assert code == 0, err
    assert left(folder / "out") == ["other.wav", "talk.wav"]


def test_settings_are_checked_before_the_first_file(unmuffle, folder):
    code, _, err = unmuffle("enhance", "talk.wav", "--method", "wiener", "--set", "floor=3")
    assert code == 2
    assert "did you mean 'floor_db'" in err
    assert left(folder) == ["talk.wav"]


def test_a_config_file_names_everything(unmuffle, folder):
    Path("recipe.toml").write_text('method = "wiener"\nfloor_db = -9.0\n', encoding="utf-8")
    code, out, _ = unmuffle("enhance", "talk.wav", "--config", "recipe.toml", "--json")
    assert code == 0
    assert "floor_db = -9.0" in json.loads(out)["method"]


BAD = [
    (["enhance", "nowhere.wav"], 3, "does not exist"),
    (["enhance", "empty.wav"], 3, "empty.wav"),
    (["enhance", "text.wav"], 3, "text.wav"),
    (["enhance", "cut.wav"], 3, "--allow-truncated|allow_truncated|truncated"),
    (["enhance", "nan.wav"], 3, "nan.wav.*NaN|nan.wav.*nan"),
    (["enhance", "silent_movie.mp4"], 3, "silent_movie.mp4.*no audio|silent_movie.mp4"),
    (["enhance", "talk.wav", "-o", "talk.wav"], 4, "in-place"),
    (["enhance", "talk.wav", "-o", "nowhere.xyz"], 4, "nowhere.xyz"),
    (["enhance", "talk.wav", "-o", "talk.wav/x.wav"], 4, "talk.wav"),
    (["enhance", "talk.wav", "--method", "log-mmze"], 2, "did you mean 'log-mmse'"),
    (["enhance", "talk.wav", "--set", "nonsense"], 2, "key=value"),
    (["enhance", "talk.wav", "--strength", "-3"], 2, "strength"),
    (["enhance", "talk.wav", "--strength", "loud"], 2, "strength"),
    (["enhance", "talk.wav", "--repair", "magic"], 2, "declip"),
    (["enhance", "talk.wav", "--stereo", "both"], 2, "linked"),
    (["enhance", "three.wav", "--stereo", "mid-side"], 3, "three.wav.*2 channels"),
    (["enhance", "talk.wav", "--profile", "5-6"], 2, "span"),
    (["enhance", "talk.wav", "--profile", "0.5-0.5"], 2, "span"),
    (["enhance", "talk.wav", "--profile", "gone.wav"], 3, "gone.wav"),
    (["enhance", "talk.wav", "--config", "gone.toml"], 2, "gone.toml"),
    (["enhance", "talk.wav", "--raw", "s16le"], 2, "--rate"),
    (["enhance", "talk.wav", "--rate", "16000"], 2, "--raw"),
    (["enhance"], 2, "IN"),
    (["enhance", "talk.wav", "--no-such-flag"], 2, "no-such-flag"),
    (["no-such-command"], 2, "no-such-command"),
    (["methods", "nope"], 2, "nope"),
    (["info", "text.wav"], 3, "text.wav"),
    (["analyze", "text.wav"], 3, "text.wav"),
    (["bench", "nope"], 2, "nope"),
    (["degrade", "gone", "out"], 3, "gone"),
    (["degrade", ".", "out", "--spec", "noize:snr=3"], 2, "noise"),
    (["evaluate", "gone", "also_gone"], 3, "gone"),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_bad_input_gives_one_line_and_a_code(unmuffle, folder, args, code, words):
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("This is no sound.\n" * 50, encoding="utf-8")
    Path("cut.wav").write_bytes(Path("talk.wav").read_bytes()[:9000])
    soundfile.write("nan.wav", np.array([0, np.nan, 0], np.float32), 16000, "FLOAT")
    soundfile.write("three.wav", np.zeros((100, 3)), 16000)
    _silent_movie("silent_movie.mp4")
    before = {name: Path(name).read_bytes() for name in left(folder)}
    got, out, err = unmuffle(*args)
    assert got == code, err
    assert re.search(words, err), err
    assert "Traceback" not in err
    assert out == ""
    if err.startswith("unmuffle:"):
        assert err.count("\n") == 1
    assert {name: Path(name).read_bytes() for name in left(folder)} == before


def _silent_movie(path):
    import av

    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))


def test_errors_are_json_when_json_was_asked_for(unmuffle, folder):
    code, out, _ = unmuffle("enhance", "nowhere.wav", "--json")
    assert code == 3
    assert json.loads(out) == {
        "error": "'nowhere.wav' does not exist; check the name and the folder",
        "kind": "MediaNotFoundError",
        "exit_code": 3,
    }


@given(args=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_argument_gives_a_traceback(unmuffle, folder, args):
    code, _, err = unmuffle("enhance", "--dry-run", *args)
    assert code in (0, 2, 3, 4)
    assert "Traceback" not in err


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("option", ["--set", "--profile", "--strength", "--repair", "--stereo", "--method", "--to"])
def test_no_value_of_an_option_gives_a_traceback(unmuffle, folder, option, text):
    code, _, err = unmuffle("enhance", "--dry-run", "talk.wav", f"{option}={text}")
    assert code in (0, 2)
    assert "Traceback" not in err


# -- pipes -----------------------------------------------------------------------------------------


def test_a_wav_pipe_gives_what_the_file_gives(folder):
    whole = command("enhance", "talk.wav", "-o", "out.wav")
    assert whole.returncode == 0, whole.stderr
    with open("talk.wav", "rb") as file:
        piped = command("enhance", "-", stdin=file)
    assert piped.returncode == 0, piped.stderr
    Path("piped.wav").write_bytes(piped.stdout)
    np.testing.assert_array_equal(
        soundfile.read("piped.wav", dtype="int16")[0], soundfile.read("out.wav", dtype="int16")[0]
    )


@pytest.mark.parametrize(("raw", "kind"), [("s16le", "<i2"), ("f32le", "<f4")])
def test_raw_pipes_keep_their_length(folder, raw, kind):
    x = (0.05 * np.random.default_rng(1).standard_normal((12345, 2))).astype(np.float32)
    data = (x * 32768).astype(kind).tobytes() if raw == "s16le" else x.astype(kind).tobytes()
    done = command("enhance", "-", "--raw", raw, "--rate", 44100, "--channels", 2, input=data)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == len(data)
    assert 0 < np.std(np.frombuffer(done.stdout, kind)) < np.std(np.frombuffer(data, kind))


@pytest.mark.parametrize("data", [b"", b"garbage" * 100, b"RIFF\xff\xff\xff\xffWAVE"])
def test_a_broken_pipe_in_is_named(folder, data):
    done = command("enhance", "-", input=data)
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_leaves_is_named(folder):
    soundfile.write("long.wav", np.zeros(16000 * 60), 16000, "PCM_16")
    script = f"{sys.executable} -m unmuffle enhance long.wav -o - | head -c 1000 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "4", done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


# -- interruptions and full disks ------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_being_stopped_leaves_the_old_file(folder, number, code):
    soundfile.write("long.wav", np.zeros(16000 * 1800), 16000, "PCM_16")
    Path("out.wav").write_bytes(b"precious")
    process = subprocess.Popen(
        [sys.executable, "-m", "unmuffle", "enhance", "long.wav", "-o", "out.wav"], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 300  # a busy machine takes its time to start a program
    while not list(folder.glob(".out*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert number == signal.SIGTERM or b"interrupted" in err
    assert b"Traceback" not in err
    assert Path("out.wav").read_bytes() == b"precious"
    assert left(folder) == ["long.wav", "out.wav", "talk.wav"]


def test_a_full_disk_is_named(folder):
    soundfile.write("long.wav", np.zeros(16000 * 60), 16000, "PCM_16")
    Path("out.wav").write_bytes(b"precious")

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing beyond gives an error, as a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = command("enhance", "long.wav", "-o", "out.wav", preexec_fn=small)
    assert done.returncode == 4, done.stderr
    assert b"Traceback" not in done.stderr
    assert Path("out.wav").read_bytes() == b"precious"
    assert left(folder) == ["long.wav", "out.wav", "talk.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; see the next test")
def test_a_read_only_folder_is_named(unmuffle, folder):
    (folder / "locked").mkdir(mode=0o555)
    code, _, err = unmuffle("enhance", "talk.wav", "-o", "locked/out.wav")
    assert code == 4
    assert "locked" in err


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody may write to")
def test_a_folder_that_nobody_may_write_to_is_named(unmuffle, folder):
    code, _, err = unmuffle("enhance", "talk.wav", "-o", "/proc/out.wav")
    assert code == 4
    assert "/proc/out.wav" in err


def test_two_runs_on_one_output_leave_a_whole_file(folder):
    soundfile.write("long.wav", 0.01 * np.random.default_rng(0).standard_normal(16000 * 20), 16000, "PCM_16")
    runs = [
        subprocess.Popen([sys.executable, "-m", "unmuffle", "enhance", "long.wav", "-o", "out.wav", "-q"])
        for _ in range(2)
    ]
    assert [run.wait(timeout=600) for run in runs] == [0, 0]
    assert soundfile.info("out.wav").frames == 16000 * 20
    assert left(folder) == ["long.wav", "out.wav", "talk.wav"]


# -- the other commands ----------------------------------------------------------------------------


def test_demo_shows_scores_and_leaves_its_files(unmuffle, folder):
    code, out, err = unmuffle("demo", "-o", "here", "--json")
    assert code == 0, err
    result = json.loads(out)
    scores = {s["metric"]: s for s in result["scores"]}
    assert scores["si_sdr"]["after"] > scores["si_sdr"]["before"] + 1
    assert soundfile.info(result["cleaned"]).frames > 0
    if result["picture"]:
        assert Path(result["picture"]).read_bytes().startswith(b"\x89PNG")
    code, out, _ = unmuffle("demo", "-o", "here")  # twice in a row
    assert code == 0
    assert "before" in out


def test_methods_lists_all(unmuffle):
    from unmuffle.enhancers.registry import names

    code, out, _ = unmuffle("methods", "--json")
    assert code == 0
    assert [m["name"] for m in json.loads(out)["methods"]] == names()
    code, out, _ = unmuffle("methods", "log-mmse")
    assert code == 0
    assert "floor_db" in out


def test_info_and_analyze_know_a_sine(unmuffle, folder):
    t = np.arange(48000) / 48000
    soundfile.write("sine.wav", 0.5 * np.sin(2 * np.pi * 1000 * t), 48000, "PCM_24")
    code, out, _ = unmuffle("info", "sine.wav", "--levels", "--json")
    found = json.loads(out)[0]
    assert code == 0
    assert (found["sample_rate"], found["channels"], found["frames"]) == (48000, 1, 48000)
    assert found["peak_dbfs"] == pytest.approx(-6.02, abs=0.01)
    assert found["rms_dbfs"] == pytest.approx(-9.03, abs=0.01)
    code, out, _ = unmuffle("analyze", "sine.wav", "--compare", "talk.wav", "-o", "p.png", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["files"][0]["peak_frequency_hz"] == pytest.approx(1000, abs=20)
    assert result["files"][0]["centroid_hz"] == pytest.approx(1000, abs=20)
    assert result["files"][1]["flatness"] > 0.5
    assert Path(result["picture"]).read_bytes().startswith(b"\x89PNG")


def test_info_of_a_pipe_is_that_of_the_file(folder):
    told = []
    for words in (["talk.wav"], ["-"]):
        with open("talk.wav", "rb") as file:
            done = subprocess.run(
                [sys.executable, "-m", "unmuffle", "info", *words, "--levels", "--json"],
                stdin=file, capture_output=True, check=True,
            )  # fmt: skip
        told.append(json.loads(done.stdout)[0])
    for key in ("sample_rate", "channels", "frames", "sample_format", "peak_dbfs", "loudness_lufs"):
        assert told[0][key] == told[1][key]
    assert told[1]["path"] == "-"


def test_degrade_then_evaluate(unmuffle, folder):
    from unmuffle.cli.demo import bundled

    Path("clean").mkdir()
    shutil.copy(bundled("clean"), "clean/voice_1.flac")
    code, out, err = unmuffle("degrade", "clean", "set", "--spec", "noise:snr=5,color=pink", "--seed", "1", "--json")
    assert code == 0, err
    assert json.loads(out)["pairs"][0]["snr_db"] == pytest.approx(5, abs=0.01)
    args = ("evaluate", "set/clean", "set/noisy", "--method", "log-mmse", "--metrics", "si_sdr,seg_snr", "-o", "res")
    code, out, err = unmuffle(*args, "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert left(folder / "res")
    means = {(r["method"], r["metric"]): r["mean"] for r in rows["summary"] if r["group"] == "all"}
    assert means["log-mmse", "si_sdr"] > means["noisy", "si_sdr"]


def test_bench_measures(unmuffle):
    code, out, _ = unmuffle("bench", "identity", "--seconds", "1", "--json")
    assert code == 0
    row = json.loads(out)["results"][0]
    assert 0 < row["median_ms"] <= row["p99_ms"] <= row["max_ms"]


def test_doctor_is_content(unmuffle):
    code, out, _ = unmuffle("doctor", "--json")
    report = json.loads(out)
    assert code == 0, report
    assert report["healthy"]


@pytest.mark.parametrize("command", ["enhance", "live"])
def test_the_help_names_every_repair_stage(unmuffle, command, monkeypatch):
    from unmuffle.engine.options import REPAIRS

    monkeypatch.setenv("COLUMNS", "300")
    assert ",".join(REPAIRS) in unmuffle(command, "--help")[1]


def test_version_and_help(unmuffle):
    from unmuffle import __version__

    assert unmuffle("--version")[:2] == (0, f"unmuffle {__version__}\n")
    for name in ("enhance", "demo", "methods", "info", "analyze", "evaluate", "degrade", "bench", "doctor"):
        code, out, _ = unmuffle(name, "--help")
        assert code == 0
        assert "--help" in out


def test_the_progress_bar_is_silent_when_not_a_terminal(folder):
    done = command("enhance", "talk.wav", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
