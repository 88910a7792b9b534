"""Machine code without its packages, and memory that is given back."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from unmuffle.signal.compiled import _clean_areas, module, release


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_not_there_is_none():
    assert module("scipy.signal._no_such_module") is None
    assert module("no_such_package.thing") is None
    assert module("scipy.fft") is None or sys.modules["scipy.fft"]  # a package is no compiled module


def test_the_same_code_whether_its_package_comes_before_or_after():
    fresh(
        "import sys; from unmuffle.signal.compiled import module\n"
        "alone = module('scipy.signal._sosfilt')\n"
        "assert alone is not None and 'scipy.signal' not in sys.modules\n"
        "from scipy.signal import sosfilt\n"
        "import numpy as np\n"
        "assert sosfilt(np.array([[1.0, 0, 0, 1, -0.5, 0]]), np.ones(3)).tolist() == [1.0, 1.5, 1.75]\n"
        "assert module('scipy.signal._sosfilt') is not None\n"
    )


def test_no_streaming_method_brings_scipy_signal_or_scipy_fft_along():
    """They take 50 and 25 MB: a quarter of what a command on a recording of ten hours may have."""
    told = fresh(
        "import sys, numpy as np, unmuffle\n"
        "from unmuffle.enhancers import registry\n"
        "x = np.random.default_rng(0).standard_normal((1, 8000)).astype('f') * 0.1\n"
        "for name in ('classic', 'wiener', 'dewind', 'dehum', 'low-cut', 'agc', 'limiter', 'live', 'kalman-fast'):\n"
        "    try:\n"
        "        method = registry.load(name)\n"
        "    except unmuffle.errors.MissingExtraError:\n"
        "        continue\n"
        "    method.warm()\n"
        "    stream = method.stream(48000)\n"
        "    stream.process(x); stream.flush()\n"
        "    for heavy in ('scipy.signal', 'scipy.fft'):\n"
        "        assert heavy not in sys.modules, (name, heavy)\n"
        "print('all')\n"
    )
    assert told == "all\n"


def test_only_unchanged_libraries_are_given_back():
    table = """\
7f00-8f00 r--p 00000000 08:01 1    /usr/lib/libone.so.1
Rss:                  12 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
8f00-9f00 r-xp 00001000 08:01 1    /usr/lib/a path/libone.so.1
Anonymous:             0 kB
9f00-af00 r--p 00002000 08:01 1    /usr/lib/libone.so.1
Anonymous:             4 kB
af00-bf00 rw-p 00003000 08:01 1    /usr/lib/libone.so.1
Anonymous:             0 kB
bf00-cf00 rw-p 00000000 00:00 0
Anonymous:             0 kB
cf00-df00 r--s 00000000 08:01 2    /data/recording.wav
Anonymous:             0 kB
"""
    assert list(_clean_areas(table)) == [(0x7F00, 0x1000), (0x8F00, 0x1000)]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="no /proc here")
def test_memory_is_given_back_and_everything_goes_on():
    told = fresh(
        "import numpy as np, scipy.linalg, scipy.signal\n"
        "from unmuffle.signal.compiled import release\n"
        "def resident():\n"
        "    return int(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])\n"
        "x = np.random.default_rng(0).standard_normal((64, 64))\n"
        "before = scipy.linalg.svdvals(x), scipy.signal.lfilter([1.0], [1.0, -0.5], x)\n"
        "held = resident(); release(); less = held - resident()\n"
        "after = scipy.linalg.svdvals(x), scipy.signal.lfilter([1.0], [1.0, -0.5], x)\n"
        "assert all(np.array_equal(a, b) for a, b in zip(before, after))\n"
        "print(less)\n"
    )
    assert int(told) > 5000  # kB


def test_it_may_be_called_anywhere(monkeypatch):
    release()
    monkeypatch.setattr(sys, "platform", "win32")
    release()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that keeps them")
@pytest.mark.parametrize(("apart", "given_back"), [(False, False), (True, True)])
def test_large_blocks_go_back_when_they_are_freed(apart: bool, given_back: bool) -> None:
    """After one of 30 MB was freed glibc keeps the next below what came after it; unless it is told not to."""
    told = fresh(
        "import ctypes\n"
        "from unmuffle.signal.compiled import keep_large_apart\n"
        "c = ctypes.CDLL(None)\n"
        "c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        f"if {apart}: keep_large_apart()\n"
        "c.free(c.malloc(30 << 20))\n"
        "block = c.malloc(20 << 20); ctypes.memset(block, 1, 20 << 20)\n"
        "behind = [c.malloc(100 << 10) for _ in range(20)]\n"
        "before = resident(); c.free(block); print((before - resident()) >> 20)\n"
    )
    assert (int(told) >= 18) == given_back
