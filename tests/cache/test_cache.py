"""The same work is done once; nothing damaged is ever given back; two at once do no harm; without it, all goes on."""

import dataclasses
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmuffle.cache import enhance_file, open_cache
from unmuffle.cache.disk import DiskStore
from unmuffle.cache.front import default_folder
from unmuffle.cache.key import code_digest, file_digest, key_of, library_versions
from unmuffle.cache.store import Header
from unmuffle.enhancers.registry import load
from unmuffle.errors import MediaNotFoundError, OutputError, ParameterError

SRC = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def talk(tmp_path, rng):
    path = tmp_path / "talk.wav"
    soundfile.write(path, 0.05 * rng.standard_normal(16000), 16000, "PCM_16")
    return path


@pytest.fixture
def cache(tmp_path):
    return open_cache(tmp_path / "cache")


def files(cache):
    """Contents, and whatever else lies about."""
    return sorted(p for p in cache.folder.rglob("*") if p.is_file() and p.name not in ("cache.db", ".tidied"))


def content(cache):
    (found,) = files(cache)
    return found


def sql(cache, statement, *values):
    with closing(sqlite3.connect(cache.folder / "cache.db", isolation_level=None)) as database:
        return database.execute(statement, values).fetchall()


# -- the key -------------------------------------------------------------------------------------


def test_a_key_tells_everything_apart_that_changes_the_result(tmp_path, cache, talk, rng):
    other = tmp_path / "other.wav"
    soundfile.write(other, 0.05 * rng.standard_normal(16000), 16000, "PCM_16")
    runs = [
        (talk, "a.wav", "wiener", {}),
        (other, "a.wav", "wiener", {}),
        (talk, "a.flac", "wiener", {}),
        (talk, "a.wav", "log-mmse", {}),
        (talk, "a.wav", "wiener", {"smoothing": "none", "floor_db": -9.0}),
        (talk, "a.wav", "wiener", {"strength_db": 6.0}),
        (talk, "a.wav", "wiener", {"repair": ("low-cut",)}),
        (talk, "a.wav", "wiener", {"loudness_lufs": -20.0}),
        (talk, "a.wav", "wiener", {"profile": (0.0, 0.5)}),
        (talk, "a.wav", "wiener", {"profile": str(other)}),
        (talk, "a.wav", "wiener", {"stereo": "independent"}),
        (talk, "a.wav", "wiener", {"extra": {"tenant": "x"}}),
    ]
    for source, name, method, settings in runs:
        assert enhance_file(cache, source, tmp_path / name, method, **settings)[1] == "miss", (name, method, settings)
    for source, name, method, settings in runs:
        assert enhance_file(cache, source, tmp_path / name, method, **settings)[1] == "hit", (name, method, settings)


def test_another_name_or_place_is_the_same_sound(tmp_path, cache, talk):
    enhance_file(cache, talk, tmp_path / "a.wav")
    copy = tmp_path / "sub" / "copy.wav"
    copy.parent.mkdir()
    copy.write_bytes(talk.read_bytes())
    report, state = enhance_file(cache, copy, tmp_path / "b.wav")
    assert state == "hit"
    assert (report.source, report.output) == (str(copy), str(tmp_path / "b.wav"))


def test_version_code_and_libraries_are_part_of_it(monkeypatch):
    import unmuffle.cache.key as module

    settings = {"strength_db": float("inf"), "repair": ("declip",)}
    key = key_of("0" * 64, load("wiener"), settings)
    assert key == key_of("0" * 64, load("wiener"), {**settings, "repair": ["declip"]})
    assert len(key) == 64
    for name, value in (("__version__", "9.9"), ("code_digest", lambda: "x"), ("library_versions", lambda: ("numpy 9",))):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, value)
            assert key_of("0" * 64, load("wiener"), settings) != key
    assert len(code_digest()) == 64
    assert any(name.startswith("numpy ") for name in library_versions())


def test_a_method_of_somebody_else_is_known_by_its_source(tmp_path, monkeypatch):
    from unmuffle.cache.key import _foreign

    text = "from unmuffle.enhancers.compose import Identity\nclass Mine(Identity):\n    pass\n"
    digests = set()
    for i, more in enumerate(("", "# changed\n")):
        path = tmp_path / f"mine{i}.py"
        path.write_text(text + more)
        monkeypatch.syspath_prepend(tmp_path)
        digests.add(_foreign(__import__(path.stem).Mine))
    assert len(digests) == 2
    assert _foreign(type(load("wiener"))) == ""


# -- hits ----------------------------------------------------------------------------------------


def test_a_hit_is_the_same_file_and_the_same_report(tmp_path, cache, talk):
    first, state = enhance_file(cache, talk, tmp_path / "a.wav", "wiener")
    assert state == "miss"
    seen = []
    second, state = enhance_file(cache, talk, tmp_path / "b.wav", "wiener", progress=lambda *a: seen.append(a))
    assert state == "hit"
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    same = {f.name for f in dataclasses.fields(first)} - {"output", "elapsed_s"}
    assert {n: getattr(first, n) for n in same} == {n: getattr(second, n) for n in same}
    assert seen == [(1.0, 1.0)]
    assert (cache.counts.hits, cache.counts.misses, cache.counts.stored) == (1, 1, 1)
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []  # nothing unfinished beside the output
    os.chmod(tmp_path / "b.wav", 0o640)
    enhance_file(cache, talk, tmp_path / "b.wav", "wiener")
    assert (tmp_path / "b.wav").stat().st_mode & 0o777 == 0o640  # as an ordinary run keeps them


def test_what_is_written_over_later_does_not_reach_the_cache(tmp_path, cache, talk):
    enhance_file(cache, talk, tmp_path / "a.wav")
    want = (tmp_path / "a.wav").read_bytes()
    for name in ("a.wav", "b.wav"):
        with open(tmp_path / name, "r+b" if name == "a.wav" else "a+b") as file:
            file.write(b"scribble")
        assert enhance_file(cache, talk, tmp_path / name)[1] == "hit"
        assert (tmp_path / name).read_bytes() == want


def test_pipes_residuals_and_missing_files_go_the_ordinary_way(tmp_path, cache, talk):
    assert enhance_file(cache, talk, tmp_path / "a.wav", residual=tmp_path / "r.wav")[1] == "off"
    with pytest.raises(MediaNotFoundError):
        enhance_file(cache, tmp_path / "none.wav", tmp_path / "a.wav")
    with pytest.raises(OutputError, match="in-place"):
        enhance_file(cache, talk, talk)
    assert enhance_file(cache, talk, talk, in_place=True)[1] == "miss"
    assert cache.counts.stored == 0  # the source had become another meanwhile
    with pytest.raises(ParameterError):
        enhance_file(cache, talk, tmp_path / "a.wav", "no-such")


# -- damage --------------------------------------------------------------------------------------


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "a bit flipped": lambda c: flip(content(c)),
    "truncated": lambda c: os.truncate(content(c), content(c).stat().st_size - 1),
    "empty": lambda c: os.truncate(content(c), 0),
    "longer": lambda c: content(c).write_bytes(content(c).read_bytes() + b"x"),
    "content gone": lambda c: content(c).unlink(),
    "content a pipe": lambda c: (content(c).unlink(), os.mkfifo(next(c.folder.glob("??")) / ("0" * 30 + ".val")),
                                 sql(c, "UPDATE Cache SET filename = substr(filename, 1, 3) || ?", "0" * 30 + ".val")),
    "header truncated": lambda c: sql(c, "UPDATE Cache SET value = substr(value, 1, 30)"),
    "header of another": lambda c: sql(c, "UPDATE Cache SET value = '{}'"),
    "header odd": lambda c: sql(c, "UPDATE Cache SET value = ?", b"\xff\x00[[["),
    "header no text": lambda c: sql(c, "UPDATE Cache SET value = CAST(? AS TEXT)", b"\xff\x00[[["),
    "header deep": lambda c: sql(c, "UPDATE Cache SET value = ?", "[" * 100_000),
    "header without a time": lambda c: sql(c, "UPDATE Cache SET value = replace(value, '\"made_s\": ', '\"made_s\": \"x\", \"y\": ')"),
    "header gone": lambda c: sql(c, "UPDATE Cache SET value = NULL"),
    "name gone": lambda c: sql(c, "UPDATE Cache SET filename = NULL"),
    "another mode": lambda c: sql(c, "UPDATE Cache SET mode = 3"),
    "database rubbish": lambda c: (c.folder / "cache.db").write_bytes(b"rubbish" * 1000),
    "database empty": lambda c: os.truncate(c.folder / "cache.db", 0),
    "database truncated": lambda c: os.truncate(c.folder / "cache.db", 100),
    "database cut": lambda c: os.truncate(c.folder / "cache.db", 9000),
    "table dropped": lambda c: sql(c, "DROP TABLE Cache"),
    "settings dropped": lambda c: sql(c, "DROP TABLE Settings"),
    "column renamed": lambda c: sql(c, "ALTER TABLE Cache RENAME COLUMN filename TO no"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew_and_never_given_back(tmp_path, cache, talk, damage):
    enhance_file(cache, talk, tmp_path / "a.wav")
    want = (tmp_path / "a.wav").read_bytes()
    DAMAGES[damage](cache)
    assert enhance_file(cache, talk, tmp_path / "b.wav")[1] == "miss"
    assert (tmp_path / "b.wav").read_bytes() == want
    assert cache.counts.damaged == 1
    assert cache.counts.failed == 0
    assert len([p for p in files(cache) if p.is_file()]) == 1 + (damage == "name gone")  # a file without a name is swept later
    assert enhance_file(cache, talk, tmp_path / "c.wav")[1] == "hit"
    assert (tmp_path / "c.wav").read_bytes() == want


def test_an_entry_under_the_wrong_key_is_damaged(tmp_path, cache, talk):
    cache.keep("ab" + "0" * 62, talk, {})
    sql(cache, "UPDATE Cache SET key = ?", "ab" + "1" * 62)
    assert cache.fetch("ab" + "1" * 62, tmp_path / "x") is None
    assert cache.counts.damaged == 1


def test_a_folder_that_cannot_be_used(tmp_path, talk, cache, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be used"):
        open_cache(tmp_path / "file")
    # The disk is full while storing: the result is there, the entry is not.
    import unmuffle.cache.disk as module

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy_hashed", full)
    assert enhance_file(cache, talk, tmp_path / "a.wav")[1] == "miss"
    assert (tmp_path / "a.wav").stat().st_size > 30000
    assert cache.counts.failed == 1
    assert files(cache) == []


def test_headers_that_are_none():
    for line in (b"", b"[]", b"{}", b'{"size": "1", "sha256": "", "facts": {}}', b'{"size":1,"sha256":"0","facts":{}}'):
        assert Header.decoded(line) is None


# -- room and age --------------------------------------------------------------------------------


def put(cache, tmp_path, number, size=10000):
    path = tmp_path / "content"
    path.write_bytes(bytes([number]) * size)
    key = f"{number:02x}" + "0" * 62
    assert cache.keep(key, path, {"n": number})
    return key


def has(cache, key, tmp_path):
    return cache.fetch(key, tmp_path / "out") is not None


def test_the_least_recently_used_go_first(tmp_path):
    cache = DiskStore(tmp_path / "cache", limit_bytes=55_000)
    keys = [put(cache, tmp_path, i) for i in range(5)]
    assert has(cache, keys[0], tmp_path)  # used again
    put(cache, tmp_path, 5)
    # Down to 90 % of the limit: two of 10 kB have gone, the oldest that nobody used.
    assert [has(cache, k, tmp_path) for k in keys] == [True, False, False, True, True]
    assert cache.size() == (4, 40_000)
    assert cache.counts.evicted == 2


def test_what_is_too_large_or_too_old(tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    cache = DiskStore(tmp_path / "cache", limit_bytes=5000, ttl_s=0.3)
    (tmp_path / "large").write_bytes(bytes(5001))
    assert not cache.keep("00" + "0" * 62, tmp_path / "large", {})
    assert cache.counts.skipped == 1
    key = put(cache, tmp_path, 1, 1000)
    assert has(cache, key, tmp_path)
    now += 0.35
    assert not has(cache, key, tmp_path)
    assert files(cache) == []
    put(cache, tmp_path, 2, 1000)
    now += 0.35
    put(cache, tmp_path, 3, 1000)
    assert cache.size()[0] == 1
    for bad in ({"limit_bytes": 0}, {"ttl_s": 0}):
        with pytest.raises(ParameterError):
            DiskStore(tmp_path / "cache", **bad)


def test_what_a_killed_process_left_is_tidied_up(tmp_path):
    cache = DiskStore(tmp_path / "cache")
    key = put(cache, tmp_path, 1)
    kept = content(cache)
    left = [cache.folder / ".0123456789abcdef.part", kept.with_name("0" * 30 + ".val")]
    mine = [kept.with_name("notes.val"), cache.folder / "notes.part"]
    for path in (*left, *mine):
        path.write_bytes(b"left")
        os.utime(path, (1, 1))
    new = kept.with_name("1" * 30 + ".val")
    new.write_bytes(b"being written")
    os.utime(cache.folder / ".tidied", (1, 1))
    DiskStore(cache.folder)
    assert files(cache) == sorted([kept, new, *mine])
    assert has(cache, key, tmp_path)


# -- two at once ---------------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
from unmuffle.cache.disk import DiskStore
cache = DiskStore(sys.argv[1], limit_bytes=3_000_000)
mine, out = Path(sys.argv[2]), Path(sys.argv[2] + ".out")
number = int(sys.argv[3])
bad = 0
for i in range(30):
    key = f"{i % 7:02x}" + "0" * 62
    data = bytes([i % 7, number if i % 2 else 0]) * 100_000
    mine.write_bytes(data)
    cache.keep(key, mine, {})
    for j in range(3):
        key = f"{(i + j) % 7:02x}" + "0" * 62
        if cache.fetch(key, out) is not None:
            got = out.read_bytes()
            bad += len(got) != 200_000 or got[0] != (i + j) % 7 or got != got[:2] * 100_000
print(bad, cache.counts.failed, cache.counts.hits)
"""


@pytest.mark.parametrize("before", [None, b"rubbish" * 1000])
def test_several_processes_at_once(tmp_path, before):
    """Same keys, different contents, eviction going on: every hit is one of the contents, whole."""
    (tmp_path / "cache").mkdir()
    if before is not None:
        (tmp_path / "cache" / "cache.db").write_bytes(before)
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    args = [sys.executable, "-c", WRITER, str(tmp_path / "cache")]
    processes = [
        subprocess.Popen([*args, str(tmp_path / f"w{i}"), str(i)], stdout=subprocess.PIPE, env=environment) for i in range(3)
    ]
    for process in processes:
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        bad, failed, hits = map(int, out.split())
        assert bad == 0
        assert failed == 0
        assert hits > 0


def test_a_writer_that_is_killed_leaves_nothing_that_is_given_back(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    for delay in (0.0, 0.1):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "cache"), str(tmp_path / "w"), "1"],
            stdout=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        end = time.monotonic() + 180
        while not list((tmp_path / "cache").glob("*/*.val")) and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        process.wait()
        cache = DiskStore(tmp_path / "cache")
        for i in range(7):
            if cache.fetch(f"{i:02x}" + "0" * 62, tmp_path / "out") is not None:
                got = (tmp_path / "out").read_bytes()
                assert len(got) == 200_000
                assert got == bytes([i, got[1]]) * 100_000


def test_the_usual_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "unmuffle"
    assert open_cache().folder == tmp_path / "unmuffle"
    assert (tmp_path / "unmuffle").stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "unmuffle"


def test_file_digest_is_sha256(tmp_path):
    import hashlib

    data = np.random.default_rng(0).bytes(3_000_001)
    (tmp_path / "x").write_bytes(data)
    assert file_digest(tmp_path / "x") == hashlib.sha256(data).hexdigest()
