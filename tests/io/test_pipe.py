"""Standard input and output, alone and between ffmpeg and sox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from io_helpers import RATE, noise

from unmuffle.errors import MediaError
from unmuffle.io import probe, quantise, read, write

SRC = Path(__file__).resolve().parents[2] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
COPY = """
import sys
import threading
from unmuffle.errors import UnmuffleError
from unmuffle.io import open_reader, open_writer
raw_in, raw_out, where = sys.argv[1:4]
options = dict(raw_format=raw_in, sample_rate=48000, channels=2) if raw_in else {}
try:
    with open_reader('-', **options) as r, open_writer(where, r.info, raw_format=raw_out or None, length=r.info.frames) as w:
        for b in r.blocks(1000): w.write(b)
except UnmuffleError as error:
    sys.stderr.write(f'{type(error).__name__}: {error}')
    sys.stdout = None
    sys.exit(3)
"""


def command(raw_in: str = "", raw_out: str = "", where: str = "-") -> list[str]:
    return [sys.executable, "-W", "error", "-c", COPY, raw_in, raw_out, where]


def piped(data: bytes, **options: str) -> bytes:
    result = subprocess.run(command(**options), input=data, capture_output=True, env=ENVIRONMENT, timeout=600)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stderr == b""
    return result.stdout


@pytest.mark.parametrize("sample_format", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_to_wav(tmp_path: Path, sample_format: str) -> None:
    x = quantise(noise(2, 5003), sample_format)
    write(tmp_path / "a.wav", x, RATE, sample_format)
    (tmp_path / "b.wav").write_bytes(piped((tmp_path / "a.wav").read_bytes()))
    assert soundfile.info(tmp_path / "b.wav").subtype == sample_format
    assert soundfile.info(tmp_path / "b.wav").frames == 5003  # stated in the header: the length was known
    np.testing.assert_array_equal(read(tmp_path / "b.wav")[0], x)


def test_raw_to_raw_and_to_wav(tmp_path: Path) -> None:
    data = (quantise(noise(2, 3001), "PCM_16") * 32768).astype("<i2").T.tobytes()
    assert piped(data, raw_in="s16le", raw_out="s16le") == data
    floats = np.frombuffer(piped(data, raw_in="s16le", raw_out="f32le"), "<f4")
    np.testing.assert_array_equal(floats * 32768, np.frombuffer(data, "<i2"))
    assert piped(floats.tobytes(), raw_in="f32le", raw_out="s16le") == data
    # The length of raw samples is not known: the header of the WAV file says so, and readers go on to its end.
    (tmp_path / "a.wav").write_bytes(piped(data, raw_in="s16le"))
    y, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 48000
    assert y.tobytes() == data
    np.testing.assert_array_equal((read(tmp_path / "a.wav")[0] * 32768).T.astype("<i2"), y)


@pytest.mark.parametrize("ext", [".flac", ".mp3", ".ogg", ".opus", ".aac"])
def test_other_formats_come_in_through_a_pipe(tmp_path: Path, ext: str) -> None:
    write(tmp_path / f"a{ext}", noise(2, 30_000), RATE)
    (tmp_path / "b.wav").write_bytes(piped((tmp_path / f"a{ext}").read_bytes()))
    x, y = read(tmp_path / f"a{ext}")[0], read(tmp_path / "b.wav")[0]
    # Without seeking the end of MP3 and Vorbis may not be cut: up to a frame or two of padding.
    assert 0 <= y.shape[1] - x.shape[1] <= 2304
    np.testing.assert_allclose(y[:, : x.shape[1] - 3000], np.clip(x, -1, 1)[:, :-3000], atol=1e-3)


def test_into_a_file(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(2, 500), RATE, "PCM_16")
    piped((tmp_path / "a.wav").read_bytes(), where=str(tmp_path / "b.flac"))
    np.testing.assert_array_equal(read(tmp_path / "b.flac")[0], read(tmp_path / "a.wav")[0])


def test_named_pipes(tmp_path: Path) -> None:
    x = quantise(noise(2, 5003), "PCM_16")
    for ext in (".wav", ".flac"):
        write(tmp_path / f"a{ext}", x, RATE, "PCM_16")
        pipe = tmp_path / f"pipe{ext}"
        os.mkfifo(pipe)
        feeder = threading.Thread(target=lambda a=tmp_path / f"a{ext}", b=pipe: b.write_bytes(a.read_bytes()))
        feeder.start()
        y, _ = read(pipe)
        feeder.join()
        np.testing.assert_array_equal(y, x)
        with pytest.raises(MediaError, match="pipe"):
            probe(pipe)
    taken = []
    drain = threading.Thread(target=lambda: taken.append((tmp_path / "pipe.wav").read_bytes()))
    drain.start()
    write(tmp_path / "pipe.wav", x, RATE, "PCM_16")
    drain.join()
    assert taken[0].endswith((x * 32768).astype("<i2").T.tobytes())


@pytest.mark.parametrize(
    ("data", "error"), [(b"", "NotAudioError"), (b"hello world, no sound here" * 50, "NotAudioError")]
)
def test_no_audio_on_standard_input(data: bytes, error: str) -> None:
    result = subprocess.run(command(), input=data, capture_output=True, env=ENVIRONMENT, timeout=600)
    assert result.returncode == 3
    assert result.stderr.decode().startswith(error)


def test_a_wav_pipe_that_breaks_off(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(2, 5000), RATE, "PCM_16")
    data = (tmp_path / "a.wav").read_bytes()[:-1000]
    result = subprocess.run(command(), input=data, capture_output=True, env=ENVIRONMENT, timeout=600)
    assert result.returncode == 3
    assert result.stderr.decode().startswith("TruncatedError")


def test_a_reader_that_stops_is_an_output_error() -> None:
    data = bytes(4 * 2_000_000)
    with subprocess.Popen(
        command(raw_in="s16le"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        def feed() -> None:
            try:
                process.stdin.write(data)  # type: ignore[union-attr]
                process.stdin.close()  # type: ignore[union-attr]
            except BrokenPipeError:
                pass

        thread = threading.Thread(target=feed)
        thread.start()
        process.stdout.read(1000)
        process.stdout.close()
        stderr = process.stderr.read()
        process.wait(timeout=600)
        thread.join()
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
    assert process.returncode == 3, stderr
    assert b"OutputError" in stderr
    assert b"pipe" in stderr


def test_samples_come_out_before_the_input_ends() -> None:
    """A pipe must not be swallowed whole first."""
    with subprocess.Popen(
        command(raw_in="s16le", raw_out="s16le"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(bytes(4 * 10_000))
        process.stdin.flush()
        assert len(process.stdout.read(4 * 5000)) == 4 * 5000  # would hang here otherwise
        process.stdin.close()
        process.stdout.read()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_between_two_ffmpegs(tmp_path: Path) -> None:
    x = quantise(noise(2, 20_011), "PCM_16")
    write(tmp_path / "a.wav", x, RATE, "PCM_16")
    first = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-f", "wav", "-"], stdout=subprocess.PIPE
    )
    middle = subprocess.Popen(command(), stdin=first.stdout, stdout=subprocess.PIPE, env=ENVIRONMENT)
    last = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-"], stdin=middle.stdout, capture_output=True, timeout=600
    )
    for process in (first, middle):
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=600) == 0
    assert last.stderr == b""
    assert last.stdout == (x * 32768).astype("<i2").T.tobytes()


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed")
def test_with_sox(tmp_path: Path) -> None:
    data = (quantise(noise(2, 20_011), "PCM_16") * 32768).astype("<i2").T.tobytes()
    unknown = piped(data, raw_in="s16le")  # a WAV header that does not state its length
    sox = ["sox", "-V1", "-t", "wav", "-", "-t", "raw", "-e", "signed", "-b", "16", "-"]
    result = subprocess.run(sox, input=unknown, capture_output=True, timeout=600)
    assert result.returncode == 0
    assert result.stdout == data
    raw = ["sox", "-V1", "-t", "raw", "-r", "48000", "-c", "2", "-e", "signed", "-b", "16", "-", "-t", "wav", "-"]
    streamed = subprocess.run(raw, input=data, capture_output=True, timeout=600).stdout  # sox's way of not stating it
    assert piped(streamed, raw_out="s16le") == data
