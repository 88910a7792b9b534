"""Whole or not at all: exceptions, Ctrl-C, full disks, foreign folders, two at once."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from io_helpers import RATE, copy, make_video, memory_info, noise

from unmuffle.errors import OutputError
from unmuffle.io import atomic, open_writer, probe, read, write
from unmuffle.io.atomic import AtomicFile

SRC = Path(__file__).resolve().parents[2] / "src"
EXTENSIONS = [".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".w64", ".mkv"]


def run(code: str, *args: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-W", "error", "-c", code, *args], capture_output=True, env=environment, timeout=600, **options
    )


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("ext", EXTENSIONS)
def test_an_exception_leaves_no_trace(tmp_path: Path, ext: str, error: type[BaseException]) -> None:
    target = tmp_path / f"a{ext}"
    for before in (None, b"what was there"):
        if before is not None:
            target.write_bytes(before)
        with pytest.raises(error), open_writer(target, memory_info(2)) as writer:
            writer.write(noise(2, 5000))
            assert (target.read_bytes() if before else None) == before
            raise error
        assert list(tmp_path.iterdir()) == ([] if before is None else [target])
        assert before is None or target.read_bytes() == before


def test_ctrl_c_of_a_real_process(tmp_path: Path) -> None:
    target = tmp_path / "a.flac"
    target.write_bytes(b"old")
    code = (
        "import sys, numpy as np\n"
        "from unmuffle.io import *\n"
        "with open_writer(sys.argv[1], MediaInfo('-', 'm', 'pcm', 48000, 1, 'PCM_16')) as w:\n"
        "    print('ready', flush=True)\n"
        "    while True: w.write(np.zeros((1, 4096), np.float32))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=600)
    assert b"KeyboardInterrupt" in stderr
    assert process.returncode != 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.flac"]
    assert target.read_bytes() == b"old"


def test_a_forgotten_writer_cleans_up(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "a.w64", memory_info(1))
    writer.write(noise(1, 100))
    del writer
    assert list(tmp_path.iterdir()) == []


def test_the_destination_appears_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    with open_writer(target, memory_info(1)) as writer:
        writer.write(noise(1, 1000))
        assert not target.exists()
    assert read(target)[0].shape == (1, 1000)
    writer.close()  # again: harmless
    writer.abandon()
    assert target.exists()


def test_two_at_once_end_with_a_whole_file(tmp_path: Path) -> None:
    target, barrier = tmp_path / "a.flac", threading.Barrier(2)
    parts = [np.full((1, 50_000), value, dtype=np.float32) for value in (0.25, -0.25)]

    def work(part: np.ndarray) -> None:
        with open_writer(target, memory_info(1, sample_format="PCM_16")) as writer:
            barrier.wait()
            for start in range(0, 50_000, 1000):
                writer.write(part[:, start : start + 1000])
            barrier.wait()

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    y, _ = read(target)
    assert any(np.array_equal(y, part) for part in parts)
    assert list(tmp_path.iterdir()) == [target]


def test_in_place(tmp_path: Path) -> None:
    for name in ("a.wav", "a.mp4"):
        path = tmp_path / name
        if name == "a.mp4":
            make_video(path)
        else:
            write(path, noise(1, 1000), RATE, "PCM_16")
        before = read(path)[0]
        copy(path, path)
        assert read(path)[0].shape == before.shape


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.wav", tmp_path / "link.wav"
    write(real, noise(1, 10), RATE)
    real.chmod(0o640)
    link.symlink_to(real)
    write(link, noise(1, 20), RATE)
    assert link.is_symlink()
    assert read(real)[0].shape == (1, 20)
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write(tmp_path / "a.wav", noise(1, 10), RATE)
    finally:
        os.umask(old)
    assert (tmp_path / "a.wav").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["with space.wav", "Köln – 東京 – привет.flac", "a'b\"c$d.mp3", "x" * 240 + ".wav", "%d.m4a",
                                  "http:__x.ogg", "a:b.opus", "-.wav", "#?&.mkv"])  # fmt: skip
def test_names(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, noise(1, 5000), RATE)
    assert read(tmp_path / name)[0].shape == (1, 5000)
    copy(tmp_path / name, tmp_path / ("2" + name[1:]))
    assert read(tmp_path / ("2" + name[1:]))[0].shape == (1, 5000)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    for ext in (".wav", ".flac", ".mp3", ".ogg"):
        write(name + ext, noise(1, 5000), RATE)
        assert read(name + ext)[0].shape == (1, 5000)


@pytest.mark.parametrize("ext", EXTENSIONS)
@pytest.mark.parametrize(("place", "hint"), [("nowhere/a", "create the folder"), ("file.txt/a", "folder")])
def test_no_such_folder(tmp_path: Path, ext: str, place: str, hint: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(OutputError, match=hint) as caught:
        write(tmp_path / (place + ext), noise(1, 10), RATE)
    assert "\n" not in str(caught.value)
    assert place in str(caught.value)


def test_a_name_that_names_no_format(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"without extension.*\.wav"):
        write(tmp_path / "clean", noise(1, 10), RATE)
    with pytest.raises(OutputError, match=r"the extension '\.xyz'.*\.webm$"):
        write(tmp_path / "clean.xyz", noise(1, 10), RATE)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_destination(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(OutputError, match="folder"):
        write(tmp_path / "a.wav", noise(1, 10), RATE)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.wav"]


WRITE_UNTIL_ERROR = """
import sys, numpy as np
from unmuffle.io import MediaInfo, open_writer
from unmuffle.errors import OutputError
if len(sys.argv) > 2:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    with open_writer(sys.argv[1], MediaInfo('-', 'm', 'pcm', 48000, 2, 'PCM_16')) as w:
        x = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 65536)).astype(np.float32)
        for _ in range(24): w.write(x)
except OutputError as error:
    sys.stdout.buffer.write(str(error).encode())
    sys.exit(7)
"""


@pytest.mark.parametrize("ext", EXTENSIONS)
def test_no_more_room(tmp_path: Path, ext: str) -> None:
    """A limit on the size of files stands for the full disk: the write fails the same way (EFBIG for ENOSPC)."""
    target = tmp_path / f"a{ext}"
    target.write_bytes(b"old")
    result = run(WRITE_UNTIL_ERROR, str(target), "300000")
    assert result.returncode == 7, result.stderr.decode()
    assert str(target) in result.stdout.decode()
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"old"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("ext", [".wav", ".flac", ".mp3", ".ogg", ".mkv"])
def test_full_disk(small_disk: Path, ext: str) -> None:
    result = run(WRITE_UNTIL_ERROR, str(small_disk / f"a{ext}"))
    assert result.returncode == 7, result.stderr.decode()
    assert "free some space" in result.stdout.decode() or ext == ".ogg"  # libsndfile does not say why it failed
    assert list(small_disk.iterdir()) == []


def test_a_folder_one_may_not_write_to() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:  # root may write anywhere: be nobody for a moment
            os.seteuid(65534)
        try:
            with pytest.raises(OutputError, match="may write to"):
                write(folder / "a.wav", noise(1, 10), RATE)
        finally:
            if root:
                os.seteuid(0)
        assert list(folder.iterdir()) == []


def test_dev_null_is_written_into_not_replaced() -> None:
    write("/dev/null", noise(1, 100), RATE)
    assert not Path("/dev/null").is_file()
    with pytest.raises(OutputError, match="device"):
        AtomicFile("/dev/null")


def test_no_warning_and_nothing_left_open(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(2, 5000), RATE)
    code = (
        "import sys, gc\nfrom unmuffle.io import *\n"
        "for ext in ('.wav', '.flac', '.mp3', '.ogg', '.m4a', '.mkv'):\n"
        "    with open_reader(sys.argv[1]) as r, open_writer(sys.argv[1] + ext, r.info) as w:\n"
        "        for b in r.blocks(): w.write(b)\n"
        "    probe(sys.argv[1] + ext); read(sys.argv[1] + ext)\n"
        "try: probe(__file__ if '__file__' in globals() else sys.executable)\n"
        "except Exception: pass\n"
        "gc.collect()\n"
    )
    result = run(code, str(tmp_path / "a.wav"))
    assert result.returncode == 0, result.stderr.decode()
    assert result.stderr == b""
    assert result.stdout == b""
    assert probe(tmp_path / "a.wav.flac").codec == "flac"


def test_an_interruption_at_the_very_beginning_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may come when the temporary file is there, and before anybody has it."""
    monkeypatch.setattr(atomic.os, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AtomicFile(tmp_path / "out.wav")
    monkeypatch.undo()
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def interrupted(handle: int) -> None:
    raise KeyboardInterrupt


def test_a_temporary_name_that_is_taken_stays_with_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda size: "0" * 2 * size)
    (tmp_path / ".out.000000000000.part.wav").write_bytes(b"theirs")
    with pytest.raises(OutputError):
        AtomicFile(tmp_path / "out.wav")
    gc.collect()
    assert (tmp_path / ".out.000000000000.part.wav").read_bytes() == b"theirs"
