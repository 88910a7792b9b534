"""A signal that a library swallowed is not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmuffle.cli import common, stopping

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    stopping._asked.clear()


@posix
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_the_next_progress_stops_what_went_on(handlers: None, number: int, raised: type[BaseException]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stopping.install()
    for bar in (common.progress_bar, common.count_bar):
        with bar("files", True) as update:
            update(0, 2)  # nobody has asked
            with suppress(raised):  # as a library does it
                os.kill(os.getpid(), number)
            with pytest.raises(raised) as caught:
                update(1, 2)
        if raised is SystemExit:
            assert caught.value.code == 128 + number
        stopping.install()  # the next command begins anew
        stopping.check()


@posix
def test_an_ignored_ctrl_c_stays_ignored(handlers: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopping.install()
    os.kill(os.getpid(), signal.SIGINT)
    stopping.check()


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("several", [False, True])
def test_a_swallowed_signal_ends_the_command(tmp_path: Path, number: int, code: int, several: bool) -> None:
    for name in ("a.wav", "b.wav")[: 1 + several]:
        soundfile.write(tmp_path / name, np.zeros(16_000 * 5, np.float32), 16_000)
    program = (
        "import os, signal\n"
        "from unmuffle.io import sinks, writer\n"
        "from unmuffle.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "old = writer.MediaWriter.write\n"
        "def write(self, block):\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "    except BaseException:\n"
        "        pass\n"
        "    return old(self, block)\n"
        "writer.MediaWriter.write = write\n"
        "main.run()\n"
    )
    words = ["enhance", *sorted(str(p) for p in tmp_path.glob("*.wav")), "-o", str(tmp_path / "out" / "c.wav")]
    if several:
        words[-1] = str(tmp_path / "out")
    words += ["-m", "log-mmse"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_code_given_as_text_gives_the_exit_code(tmp_path: Path, number: int, code: int) -> None:
    # As while a module with dataclasses is loaded; the interpreter then ended itself by the signal.
    (tmp_path / "program.py").write_text(
        "from unmuffle.cli import main, stopping\n"
        f"def app(**options): exec('import os; os.kill(os.getpid(), {int(number)})')\n"
        "main.app = app\n"
        "main.run()\n"
    )
    done = subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@posix
def test_ctrl_c_while_the_program_is_loaded(tmp_path: Path) -> None:
    # The last module that is loaded is one that asks to stop, in the middle of a class made from text.
    (tmp_path / "program.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'unmuffle.cli.train': exec('import os; os.kill(os.getpid(), 2)')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from unmuffle.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-m", "program"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "unmuffle: interrupted; nothing had begun\n"
