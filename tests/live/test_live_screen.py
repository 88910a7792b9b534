"""The command in a terminal of its own (a pseudo-terminal): keys, and the terminal afterwards."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from unmuffle.cli.main import run
from unmuffle.io import probe
from unmuffle.live.blocks import Trial
from unmuffle.live.fake import Script, demo_sound

WAIT_S = 180.0
"""Longest wait for the screen to change: other programs may hold the processor."""

PROGRAM = """
import sys
from unmuffle.live import devices
from unmuffle.live.blocks import Trial
from unmuffle.live.fake import Script, demo_sound
def system():
    sound = demo_sound()
    sound.script = Script({script})
    return sound
devices.system = system
from unmuffle.cli.main import run
sys.argv = ["unmuffle", "live", *{words!r}]
run()
"""


class Terminal:
    """``unmuffle live`` with a fake device in a pseudo-terminal."""

    def __init__(self, folder, *words, script="", size=(24, 80), environment=None):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.mark = 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(script=script, words=["--block", "24", *words])],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, cwd=folder, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(environment or {})},
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def _pump(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.seen += os.read(self.master, 65536)

    def press(self, keys):
        """Send keys; ``shows`` looks at what comes after them."""
        self._pump(0)
        self.mark = len(self.seen)
        os.write(self.master, keys)

    def shows(self, pattern):
        until = time.monotonic() + WAIT_S
        while not re.search(pattern, plain(self.seen[self.mark :])):
            assert time.monotonic() < until, f"no {pattern!r} in {plain(self.seen[self.mark :])[-3000:]}"
            ended, length = self.process.poll() is not None, len(self.seen)
            self._pump(0.1)
            assert not ended or len(self.seen) > length, plain(self.seen)  # all that it said has been read

    def ends(self, code):
        until = time.monotonic() + WAIT_S
        while self.process.poll() is None:
            assert time.monotonic() < until
            self._pump(0.1)
        for _ in range(10):
            self._pump(0.05)
        assert self.process.returncode == code, plain(self.seen)[-2000:]

    def is_as_before(self):
        """Modes of the terminal, its own screen, and a visible cursor."""
        assert termios.tcgetattr(self.slave) == self.before
        assert self.seen.count(b"\x1b[?1049h") == self.seen.count(b"\x1b[?1049l") == 1
        assert self.seen.rindex(b"\x1b[?1049l") > self.seen.rindex(b"\x1b[?1049h")
        assert self.seen.rindex(b"\x1b[?25h") > self.seen.rindex(b"\x1b[?25l")
        return plain(self.seen[self.seen.rindex(b"\x1b[?1049l") :])


def plain(data):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))


def test_every_key_does_what_it_says(tmp_path):
    with Terminal(tmp_path) as terminal:
        terminal.shows(r"classic, 16 kHz mono .*ENHANCED")
        terminal.shows(r"-\d+\.\d dB")
        terminal.press(b"b")
        terminal.shows("BYPASS")
        terminal.press(b" ")
        terminal.shows("ENHANCED")
        terminal.press(b"\x1b[B")
        terminal.shows("strength .*at most 40 dB")
        terminal.press(b"--")
        terminal.shows("strength .*at most 24 dB")
        terminal.press(b"\x1b[A")
        terminal.shows("strength .*at most 30 dB")
        terminal.press(b"\t")
        terminal.shows(r"BYPASS[\s\S]*A at most 30 dB")
        terminal.press(b"a")
        terminal.shows("ENHANCED")
        terminal.press(b"r")
        terminal.shows("REC")
        terminal.shows("recording +0:00:0[1-9]")
        terminal.press(b"r")
        terminal.shows("recorded: unmuffle-")
        terminal.press(b"xyz\x1a\x1b[15~")  # no key, and Ctrl-Z: nothing stops
        terminal.shows("ENHANCED")
        terminal.press(b"q")
        terminal.ends(0)
        after = terminal.is_as_before()
    assert re.search(r"0:00:\d\d of sound, \d+ blocks: \d+ late, 0 lost", after)
    files = sorted(tmp_path.iterdir())
    assert [p.name[-10:] for p in files] == ["-input.wav", "output.wav"]
    one, two = (probe(path) for path in files)
    assert one.frames == two.frames > 8000


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (None, 130)],
    ids=["SIGTERM", "SIGHUP", "Ctrl-C"],
)
def test_the_terminal_is_restored_and_the_recording_kept(tmp_path, number, code):
    with Terminal(tmp_path, "--record") as terminal:
        terminal.shows("recording +0:00:0[1-9]")
        if number is None:
            os.killpg(terminal.process.pid, signal.SIGINT)  # what the terminal's driver sends on Ctrl-C
        else:
            terminal.process.send_signal(number)
        terminal.ends(code)
        after = terminal.is_as_before()
    assert "recorded unmuffle-" in after
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".wav", ".wav"]


def test_a_lost_device_restores_the_terminal_and_is_said(tmp_path):
    with Terminal(tmp_path, script="vanish_at=120") as terminal:
        terminal.ends(3)
        after = terminal.is_as_before()
    assert "unmuffle: the sound device has gone ('Fake microphone' to 'Fake loudspeaker')" in after


@pytest.mark.slow
def test_a_driver_that_hangs_does_not_keep_the_terminal(tmp_path):
    """It never comes back from closing and prints without end: neither reaches the user."""
    with Terminal(tmp_path, "--record", script="vanish_at=120, silently=True, hangs=True") as terminal:
        terminal.ends(3)
        after = terminal.is_as_before()
    assert re.search(r"the sound device has not called for \d+ s", after)
    assert "recorded unmuffle-" in after
    assert b"Expression" not in terminal.seen


def test_what_sound_libraries_print_does_not_reach_the_screen(tmp_path):
    noise = "before=lambda: __import__('os').write(2, b'ALSA lib pcm.c: underrun occurred')"
    with Terminal(tmp_path, "--seconds", "1.5", script=noise) as terminal:
        terminal.ends(0)
        terminal.is_as_before()
        assert b"ALSA lib" not in terminal.seen


def test_a_device_that_cannot_be_opened_never_touches_the_terminal(tmp_path):
    with Terminal(tmp_path, script="refuse=True") as terminal:
        terminal.ends(3)
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert b"\x1b[?1049h" not in terminal.seen
        assert "cannot be opened at 16000 Hz" in plain(terminal.seen)


def test_a_small_ascii_window(tmp_path):
    with Terminal(tmp_path, "--ascii", size=(8, 40)) as terminal:
        terminal.shows("microphone #")
        terminal.press(b"q")
        terminal.ends(0)
        terminal.is_as_before()
        assert plain(terminal.seen).isascii()


# -- without a terminal --------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capfd):
    """Run the command in this process, with a fake device and no terminal: exit code, output, errors."""

    def ran(*words, script=None):
        def system():
            sound = demo_sound()
            sound.script = script or Script()
            return sound

        monkeypatch.setattr("unmuffle.live.devices.system", system)
        monkeypatch.setattr("sys.argv", ["unmuffle", "live", *words])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                run()
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return ran


def test_in_a_pipe_there_are_lines_instead_of_a_screen(command, tmp_path):
    code, out, err = command("--seconds", "1", "--record", "--record-to", str(tmp_path / "takes"))
    assert (code, out) == (0, "")
    assert "unmuffle live: classic, Fake microphone -> Fake loudspeaker, 16000 Hz" in err
    assert "recorded " in err
    assert len(list((tmp_path / "takes").iterdir())) == 2


def test_json_tells_what_happened(command):
    _, out, err = command("--seconds", "1", "--json", "--method", "log-mmse", "--strength", "12", "--block", "20")
    told = json.loads(out)
    assert told["method"] == "log-mmse"
    assert told["slots"]["A"] == {"strength_db": 12.0, "bypass": False}
    assert told["block"] == 320
    assert told["counts"]["blocks"] > 0
    assert told["total_ms"] == pytest.approx(told["device_ms"] + told["algorithm_ms"])
    assert not err


def test_measure_and_list_as_json(command):
    told = json.loads(command("--measure", "--json", "--block", "10", script=Script(speed=0, cable=999))[1])
    assert told["delays_samples"] == [999] * 5
    assert told["total_ms"] == pytest.approx(999 / 16 + told["algorithm_ms"])
    listed = json.loads(command("--list", "--json")[1])
    assert [d["name"] for d in listed] == ["Fake microphone", "Fake loudspeaker", "Fake headset"]


def test_measure_takes_larger_blocks_when_some_are_lost(command, monkeypatch):
    monkeypatch.setattr("unmuffle.live.blocks.choose", lambda *_, **__: Trial(160, 0, 0.0))
    code, out, err = command("--measure", script=Script(speed=0, cable=999, overruns_below=600))
    assert code == 0
    assert "the device lost blocks; again with blocks of 40 ms" in err
    assert "62.44" in out  # 999 / 16


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--block", "fast"], 2, "block 'fast' is no number of milliseconds"),
        (["--block", "1000"], 2, "give 1 to 200, or auto"),
        (["--input", "trumpet"], 3, "no input is called 'trumpet'"),
        (["--method", "wpe-batch"], 2, "cannot run live"),
        (["--method", "nonsense"], 2, "no method is called 'nonsense'"),
        (["--channels", "5"], 2, "'Fake microphone' has 2"),
        (["--measure"], 3, "does not hear"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_mistakes_have_a_line_and_a_code(command, words, code, message):
    ended, _, err = command("--seconds", "1", *words, script=Script(speed=0))
    assert ended == code
    assert message in err
    assert "Traceback" not in err
