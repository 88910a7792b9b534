"""The recipes of docs/integrations.md, run as they stand there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
RATE = 48000


def recipe(begin):
    """The one line of the page that begins like that."""
    (line,) = [line for line in TEXT.splitlines() if line.startswith(begin)]
    return line.replace("unmuffle enhance", f"{shlex.quote(sys.executable)} -m unmuffle enhance")


def run(line, folder):
    paths = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=folder, capture_output=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    return done


@pytest.fixture
def folder(tmp_path, rng):
    x = 0.05 * rng.standard_normal(3 * RATE + 123)
    x[RATE : RATE + 10] = 0.9  # to see where the sound is
    soundfile.write(tmp_path / "in.wav", x, RATE, "PCM_16")
    return tmp_path


def check(path, lossy=False):
    y, rate = soundfile.read(path)
    assert rate == RATE
    assert len(y) >= 3 * RATE if lossy else len(y) == 3 * RATE + 123
    assert abs(int(np.argmax(np.abs(y))) - RATE - 5) < (100 if lossy else 20)  # nothing has moved
    assert 20 * np.log10(np.std(y[2 * RATE : 3 * RATE - 2000]) / 0.05) < -6


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@needs("ffmpeg")
def test_ffmpeg_as_wav(folder):
    run("ffmpeg -v error -i in.wav -c:a pcm_s16le in.mov", folder)
    run(recipe("ffmpeg -v error -i in.mov -f wav").replace("out.mp3", "out.flac"), folder)
    check(folder / "out.flac")


@needs("ffmpeg")
def test_ffmpeg_without_a_header(folder):
    line = recipe("ffmpeg -v error -i rtsp://camera/stream").replace("rtsp://camera/stream", "in.wav")
    player = re.search(r"ffplay (.*)$", line).group(0)
    run(line.replace(player, "ffmpeg -v error -f s16le -ar 48000 -ac 1 -i - out.wav"), folder)
    check(folder / "out.wav")


@needs("gst-launch-1.0")
def test_gstreamer_in_a_pipe(folder):
    run(recipe("gst-launch-1.0 -q filesrc"), folder)
    check(folder / "out.wav")


def test_gstreamer_appsink(folder):
    line = f"{shlex.quote(sys.executable)} {ROOT}/examples/gstreamer_appsink.py"
    sink = "wavenc ! filesink location=out.wav"
    done = run(f"{line} 'filesrc location=in.wav ! wavparse' '{sink}'", folder)
    if b"left out" in done.stdout:
        pytest.skip(done.stdout.decode())
    assert b"144123 samples in, 144123 out" in done.stdout
    check(folder / "out.wav")


def test_the_pipe_for_parec_and_pacat(folder):
    x = np.arange(-500, 4301, dtype="<i2")  # ten blocks and one sample, at 48 kHz
    (folder / "x").write_bytes(x.tobytes())
    done = run(f"{shlex.quote(sys.executable)} {ROOT}/examples/pipe.py 48000 identity < x", folder)
    np.testing.assert_array_equal(np.frombuffer(done.stdout, "<i2"), x)
