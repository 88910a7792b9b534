"""Machine code: who makes it, where it is kept, and what happens where that does not work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile

from unmuffle import load
from unmuffle.enhancers import compiling
from unmuffle.enhancers.base import Enhancer, StepKernel
from unmuffle.enhancers.registry import from_toml
from unmuffle.noise import NoiseProfile

# -- the whole way, in an empty folder -------------------------------------------------------------

FIRST = """
import json, sys, numpy as np
from unmuffle import load
from unmuffle.enhancers import compiling

children, made, run = [], [], compiling.subprocess.run

def watched(*words, **options):
    children.append(run(*words, **options).returncode)

class Counter(compiling.event.Listener):
    def on_start(self, what):
        pass

    def on_end(self, what):
        made.extend(what.data["dispatcher"].signatures)

compiling.subprocess.run = watched
compiling.event.register("numba:compile", Counter())
method = load("kalman-subband")
method.warm()
method.stream(48000, 2).process(np.ones((2, 48000), np.float32))
hits = sum(sum(one.stats.cache_hits.values()) for one in compiling._OURS)
print(json.dumps({"children": children, "made": len(made), "hits": hits}))
"""


def start(code_folder, words, **options):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(code_folder)}
    return subprocess.Popen([sys.executable, *words], env=environment, **options)


def told(process):
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return json.loads(out)


def test_another_process_compiles_and_only_the_first_time(tmp_path, folder, children, monkeypatch):
    """Two at once into an empty folder, then one more: none compiles, and only the first two start a process."""
    first = [start(folder, ["-c", FIRST], stdout=subprocess.PIPE) for _ in range(2)]
    assert [told(each) for each in first] == 2 * [{"children": [0], "made": 0, "hits": 1}]
    assert told(start(folder, ["-c", FIRST], stdout=subprocess.PIPE)) == {"children": [], "made": 0, "hits": 1}

    # Files of the user with names of modules, where the process is started, are not what it imports.
    (tmp_path / "here").mkdir()
    for name in ("numpy", "numba", "json", "unmuffle"):
        (tmp_path / "here" / f"{name}.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path / "here")
    compiling._elsewhere(load("kalman-subband"))
    assert [done.returncode for _, _, done in children] == [0]


MEASURED = """
import sys
sys.frozen = {frozen}
from unmuffle.cli.main import run
try:
    run()
finally:
    import resource
    status = open("/proc/self/status").read()
    own = int(status.partition("VmHWM:")[2].split()[0])
    open({note!r}, "w").write(f"{{own}} {{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}}")
"""
"""A command that notes its peak of resident memory and that of its largest child, in KiB. It has to do so itself: to
others, a process seems as large as the one that started it was."""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory in other ways")
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("name", ["kalman", "kalman-ukf"])
def test_the_first_command_on_a_machine_stays_below_200_mb(tmp_path, name, apart):
    """With another process that compiles, and where there can be none."""
    noise = np.random.default_rng(0).standard_normal((48000 * 12, 2)) * 0.1
    soundfile.write(tmp_path / "in.wav", noise, 48000)
    code = MEASURED.format(frozen=not apart, note=str(tmp_path / "peaks"))
    words = ["-c", code, "enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "-m", name, "-q"]
    assert start(tmp_path / "code", words).wait() == 0
    own, child = (1024 * int(kib) / 1e6 for kib in (tmp_path / "peaks").read_text().split())
    assert 50.0 < own < 200.0
    assert child < 200.0
    assert (child > 50.0) == apart


def runs(process):
    """Is it there, and more than an entry that nobody has asked for?"""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="no such /proc here")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_while_another_process_compiles(tmp_path, number, code):
    """Both end at once, with the code and the one line of any other moment."""
    soundfile.write(tmp_path / "in.wav", np.zeros(16000), 16000)
    words = ["-m", "unmuffle", "enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "-m", "kalman"]
    process = start(tmp_path / "code", words, stderr=subprocess.PIPE)
    found, deadline = "", time.monotonic() + 300
    while not found:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
        found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    child = Path("/proc", found.split()[0])
    while b"fill(text)" not in (child / "cmdline").read_bytes():  # not a copy of its parent any more
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    while runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not (tmp_path / "out.wav").exists()


# -- a method that compiles fast, and that no other interpreter knows ------------------------------


def double(x):
    return 2.0 * x


class _Kernel(StepKernel):
    def __init__(self, function, channels):
        super().__init__(channels, 1, 0)
        self.function = function

    def init(self):
        return None

    def step(self, x, state):
        return self.function(x).astype(np.float32), state


class Doubler(Enhancer):
    name: ClassVar[str] = "doubler"
    function: ClassVar

    def kernel(self, sample_rate, channels):
        return _Kernel(self.function, channels)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for machine code."""
    monkeypatch.setattr(compiling.numba.config, "CACHE_DIR", str(tmp_path / "code"))
    return tmp_path / "code"


@pytest.fixture
def children(monkeypatch):
    """The processes that are started: what ``subprocess.run`` was given, and its answer."""
    found, run = [], subprocess.run

    def watched(words, **options):
        found.append([words, options, None])
        found[-1][-1] = run(words, **options)
        return found[-1][-1]

    monkeypatch.setattr(compiling.subprocess, "run", watched)
    return found


@pytest.fixture
def fresh(monkeypatch, folder):
    """Makes the method as a new process has it: nothing is loaded yet."""

    def make():
        monkeypatch.setattr(compiling, "_OURS", [])
        Doubler.function = staticmethod(compiling.compiled(double))
        return Doubler()

    yield make
    Doubler.function = None


def doubles(method):
    """Does it work, and where from: how often was its code found, how often not?"""
    out = method.stream(16_000).process(np.ones(10, np.float32))
    assert out.tolist() == [2.0] * 10
    stats = method.function.stats
    return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def test_where_the_other_process_fails_this_one_compiles(fresh, children):
    method = fresh()
    compiling.warm(method)
    assert [done.returncode != 0 for _, _, done in children] == [True]  # it knows no such method
    assert doubles(method) == (0, 3)  # refused twice, compiled once
    compiling.warm(method)
    assert len(children) == 1  # it is here: nothing is started
    again = fresh()
    compiling.warm(again)
    assert len(children) == 1  # it is on the disk
    assert doubles(again) == (1, 0)


@pytest.mark.parametrize(
    "failure",
    [
        PermissionError(13, "no processes here"),
        FileNotFoundError(2, "no interpreter here"),
        BlockingIOError(11, "too many processes"),
        ValueError("embedded null byte"),
        subprocess.TimeoutExpired("python", 300.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_where_no_process_can_be_started_this_one_compiles(fresh, monkeypatch, failure):
    def fails(*words, **options):
        raise failure

    monkeypatch.setattr(compiling.subprocess, "run", fails)
    method = fresh()
    compiling.warm(method)
    assert doubles(method) == (0, 3)


def test_a_process_that_is_killed_or_does_not_end_is_given_up(fresh, monkeypatch, tmp_path):
    for text in ("kill -9 $$", "sleep 100"):
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        monkeypatch.setattr(compiling, "TIMEOUT_S", 0.5)
        compiling._elsewhere(fresh())


@pytest.mark.parametrize("program", ["", "/opt/editor/bin/editor", "/usr/sbin/uwsgi"])
def test_other_programs_than_python_are_not_started(fresh, children, monkeypatch, program):
    monkeypatch.setattr(sys, "executable", program)
    method = fresh()
    compiling.warm(method)
    assert not children
    assert doubles(method) == (0, 3)


def test_a_frozen_program_is_not_started(children, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    compiling._elsewhere(load("kalman"))
    assert not children


def test_without_a_folder_to_keep_it_in_this_one_compiles(fresh, children, monkeypatch):
    real, calls = compiling.numba.njit, []

    def njit(function, **options):
        calls.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **options)

    monkeypatch.setattr(compiling.numba, "njit", njit)
    method = fresh()
    assert len(calls) == 2
    compiling.warm(method)
    assert not children
    doubles(method)
    with compiling._alone():
        pass


def test_no_compiling_at_all_when_numba_is_told_so(fresh, children, monkeypatch):
    monkeypatch.setattr(compiling.numba.config, "DISABLE_JIT", True)
    method = fresh()
    compiling.warm(method)
    assert not children
    assert method.function is double


def test_a_full_disk_is_no_error(fresh, children, monkeypatch):
    def full(*what):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiling.caching.IndexDataCacheFile, "_save_data", full)
    method = fresh()
    compiling.warm(method)
    assert doubles(method) == (0, 3)
    again = fresh()
    assert doubles(again) == (0, 1)


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04K\x01."])
def test_broken_files_are_made_anew(fresh, folder, ending, content):
    assert doubles(fresh()) == (0, 1)
    files = [path for path in folder.rglob("*") if path.suffix == ending]
    assert len(files) == 1
    files[0].write_bytes(content)
    assert doubles(fresh()) == (0, 1)
    assert doubles(fresh()) == (1, 0)


def test_one_process_for_any_number_of_threads(fresh, monkeypatch):
    started = []

    def elsewhere(method):
        started.append(method)
        time.sleep(0.2)
        method.stream(16_000).process(np.ones(10, np.float32))

    method = fresh()
    monkeypatch.setattr(compiling, "_elsewhere", elsewhere)
    threads = [threading.Thread(target=compiling.warm, args=(method,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert started == [method]


def test_only_our_functions_and_this_thread_are_kept_from_compiling(fresh):
    ours, x = fresh().function, np.ones((1, 10), np.float32)
    other = compiling.numba.njit(lambda x: x + 1.0)
    with compiling.event.install_listener("numba:compile", compiling._Watch(refuse=True)):
        other(x)
        with pytest.raises(compiling._Uncompiled):
            ours(x)
        thread = threading.Thread(target=ours, args=(x,))
        thread.start()
        thread.join()
    assert len(ours.signatures) == 1


# -- what the process is told ----------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """What would be run for a method."""

    def ask(method):
        seen = []
        with monkeypatch.context() as patch:
            patch.setattr(compiling.subprocess, "run", lambda words, **options: seen.append((words, options)))
            compiling._elsewhere(method)
        return seen[0]

    return ask


def test_it_is_told_the_method_and_where_modules_are(asked, folder):
    method = load("kalman-vb", order=8, noise_order=3, lag=40)
    words, options = asked(method)
    assert words[:2] == [sys.executable, "-c"]
    assert from_toml(words[3]) == method
    assert words[4:] == sys.path
    assert options["env"]["NUMBA_CACHE_DIR"] == str(folder)
    # Sound may come and go there.
    assert options["stdin"] == options["stdout"] == options["stderr"] == subprocess.DEVNULL


def test_a_noise_profile_makes_no_other_code(asked):
    profile = NoiseProfile(psd=(1e-9, 1e-9), frequencies=(0.0, 8000.0))
    words, _ = asked(load("kalman").with_profile(profile))
    assert from_toml(words[3]) == load("kalman")


def test_isolation_is_handed_on(asked, monkeypatch):
    class Flags:
        isolated = 1

    monkeypatch.setattr(sys, "flags", Flags)
    words, _ = asked(load("kalman"))
    assert words[:3] == [sys.executable, "-I", "-c"]


def test_what_it_does_is_to_compile(folder, monkeypatch):
    ran = []
    monkeypatch.setattr(compiling, "_run", lambda method, refuse: ran.append((method, refuse)))
    monkeypatch.setattr(compiling, "_alone", nullcontext)
    compiling.fill('method = "kalman-fast"\nlag = 3')
    assert ran == [(load("kalman-fast", lag=3), False)]


def test_what_keeps_its_order_keeps_it_inside_of_what_does_not():
    """numba hands options that were left open on to the functions that it compiles on the way."""
    names = {"compiled": compiling.compiled}
    text = """
def exact(x, y):
    return (x + y) - x
exact = compiled(exact)
def both(x, y):
    return exact(x, y), (x + y) - x
both = compiled(both, reorder=True)
"""
    exec(text, names)  # no file, so no code of an earlier run
    inside, free = names["both"](np.float32(1e8), np.float32(1.0))
    assert inside == 0.0  # 1e8 + 1 is 1e8 in single precision
    assert free == 1.0
