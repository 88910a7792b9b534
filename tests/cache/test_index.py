"""What lies in the folder is never run, never believed, and never in the way."""

import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import diskcache
import numpy as np
import pytest
from diskcache.core import MODE_PICKLE

from unmuffle.cache import index
from unmuffle.cache.disk import DiskStore
from unmuffle.cache.index import Entry, Files
from unmuffle.errors import OutputError

SRC = Path(__file__).resolve().parents[2] / "src"
KEY, OTHER = "ab" + "0" * 62, "cd" + "0" * 62


@pytest.fixture
def store(tmp_path):
    """With one entry."""
    made = DiskStore(tmp_path / "cache")
    (tmp_path / "x").write_bytes(b"x" * 1000)
    assert made.keep(KEY, tmp_path / "x", {"n": 1})
    return made


def database(store):
    return closing(sqlite3.connect(store.folder / "cache.db", isolation_level=None, timeout=0))


def sql(store, statement, *values):
    with database(store) as opened:
        return opened.execute(statement, values).fetchall()


def contents(store):
    return sorted(store.folder.glob("*/*"))


def given_back(store, tmp_path, key=KEY):
    """Is the entry there, and its content that of the file it was made of?"""
    out = tmp_path / "out"
    out.unlink(missing_ok=True)
    return store.fetch(key, out) is not None and out.read_bytes() == (tmp_path / "x").read_bytes()


def works(store, tmp_path):
    """Kept, and given back."""
    return store.keep(KEY, tmp_path / "x", {}) and given_back(store, tmp_path)


# -- nothing is run ------------------------------------------------------------------------------


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def plant_value(store, trap):
    sql(store, "UPDATE Cache SET mode = ?, filename = NULL, value = ?", MODE_PICKLE, trap)


def plant_file(store, trap):
    (path,) = contents(store)
    path.write_bytes(trap)
    sql(store, "UPDATE Cache SET mode = ?, value = NULL", MODE_PICKLE)


def plant_key(store, trap):
    sql(store, "UPDATE Cache SET key = ?, raw = 0", trap)


@pytest.mark.parametrize("plant", [plant_value, plant_file, plant_key])
def test_a_planted_pickle_is_removed_and_never_run(tmp_path, store, plant):
    mark = tmp_path / "run"
    plant(store, pickle.dumps(Trap(mark)))
    shutil.copytree(store.folder, tmp_path / "copy")
    with diskcache.Cache(str(tmp_path / "copy")) as plain:  # the trap works: this is what the library does
        assert list(plain) == [KEY] or mark.exists()
        plain.get(KEY)
    assert mark.exists()
    mark.rmdir()

    opened = index.Index(store.folder)
    assert list(opened) == ["" if plant is plant_key else KEY]
    opened.close()
    if plant is not plant_key:  # nobody asks for such a key
        assert store.fetch(KEY, tmp_path / "out") is None
    store.clean()
    assert store.counts.damaged == 1
    assert store.size() == (0, 0)
    assert works(store, tmp_path)
    assert not mark.exists()


def test_nothing_is_pickled():
    files = Files(".")
    for key in (b"key", ("a", 1), 1, None, "\xe4"):
        with pytest.raises(TypeError):
            files.put(key)
    with pytest.raises(AttributeError):
        files.store({"a": 1}, False)
    assert files.get(b"\x80\x04.", 0) == ""
    text = Path(index.__file__).read_text(encoding="utf-8")
    assert "import pickle" not in text


@pytest.mark.parametrize("name", ["../../victim", "/{victim}", "ab/../../../victim", "ab/" + "0" * 30 + ".val\n"])
def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path, store, name):
    victim = tmp_path / "victim"
    victim.write_bytes(b"x" * 1000)  # what the header says
    sql(store, "UPDATE Cache SET filename = ?", name.format(victim=victim))
    assert store.fetch(KEY, tmp_path / "out") is None
    assert store.counts.damaged == 1
    assert store.size() == (0, 0)
    assert victim.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO Settings VALUES ('get', 'a word instead of a method')",
        "INSERT INTO Settings VALUES ('disk_nonsense', 1)",
        "CREATE TRIGGER again AFTER DELETE ON Cache BEGIN INSERT INTO Cache(key) VALUES (random()); END",
        "CREATE VIEW more AS SELECT 1",
    ],
)
def test_settings_and_triggers_of_somebody_else(tmp_path, store, statement):
    sql(store, statement)
    opened = DiskStore(store.folder)
    assert opened.fetch(KEY, tmp_path / "out") is None
    assert opened.counts.damaged == 1
    assert contents(store) == []
    assert works(opened, tmp_path)


def test_settings_in_the_database_do_not_count(tmp_path, store):
    sql(store, "UPDATE Settings SET value = 'nonsense'")
    assert works(DiskStore(store.folder), tmp_path)


def test_the_database_of_another_program_is_left_alone(tmp_path):
    folder = tmp_path / "other"
    with diskcache.Cache(str(folder)) as other:
        other["key"] = "theirs"
    with pytest.raises(OutputError, match="another program"):
        DiskStore(folder)
    with diskcache.Cache(str(folder)) as other:
        assert other["key"] == "theirs"


# -- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_a_database_with_random_damage(tmp_path, store, seed):
    """Some bytes are others, or the end is missing: found, or the entry is as it was; and on it goes."""
    rng = np.random.default_rng(seed)
    for number in range(40):
        store.keep(f"{number:064x}", tmp_path / "x", {})
    path = store.folder / "cache.db"
    data = bytearray(path.read_bytes())
    if seed % 3 == 0:
        del data[rng.integers(len(data)) :]
    else:
        for at in rng.integers(len(data), size=100 * (seed % 3)):
            data[at] = rng.integers(256)
    path.write_bytes(data)
    for opened in (store, DiskStore(store.folder)):
        if opened.fetch(KEY, tmp_path / "out") is not None:
            assert (tmp_path / "out").read_bytes() == b"x" * 1000
        assert works(opened, tmp_path) or works(opened, tmp_path)  # damage may show only when room is made
        opened.clean()
    assert works(DiskStore(store.folder), tmp_path)


def test_everything_overwritten_while_it_is_open(tmp_path, store):
    for path in [*contents(store), *store.folder.iterdir()]:
        if path.is_file():
            path.write_bytes(b"rubbish")
    for suffix in ("-journal", "-wal", "-shm"):
        Path(f"{store.folder / 'cache.db'}{suffix}").write_bytes(b"rubbish")
    assert store.fetch(KEY, tmp_path / "out") is None
    assert store.counts.damaged == 1
    assert contents(store) == []  # also what nobody would find any more
    assert works(store, tmp_path)


def test_the_folder_is_removed_while_it_is_open(tmp_path, store):
    shutil.rmtree(store.folder)
    assert store.fetch(KEY, tmp_path / "out") is None
    assert works(store, tmp_path)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    (store.folder / "cache.db").unlink()
    assert store.fetch(KEY, tmp_path / "out") is None
    assert works(store, tmp_path)
    assert (store.counts.damaged, store.counts.failed) == (0, 0)


def test_a_folder_that_becomes_a_file(tmp_path, store):
    shutil.rmtree(store.folder)
    store.folder.write_text("")
    assert store.fetch(KEY, tmp_path / "out") is None
    assert not store.keep(KEY, tmp_path / "x", {})
    assert store.size() == (0, 0)
    assert store.counts.failed == 3


def test_an_entry_that_was_replaced_meanwhile_stays(tmp_path, store):
    (path,) = contents(store)
    old = Entry(f"{path.parent.name}/{path.name}", None)
    assert works(store, tmp_path)
    store._damaged(KEY, old)
    assert store.counts.damaged == 0
    assert given_back(store, tmp_path)


def test_a_new_database_appears_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "cache.db"
    index._place(path)
    first = index.identity(path)
    index._place(path)  # another process was first: its database stays
    assert index.identity(path) == first
    path.unlink()

    def no_links(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    index._place(path)
    assert index._sound(path)
    assert list(tmp_path.iterdir()) == [path]


# -- not to be had -------------------------------------------------------------------------------


def test_a_locked_database_is_done_without(tmp_path, store, monkeypatch):
    monkeypatch.setattr(index, "TIMEOUT_S", 0.1)
    for made in (store, DiskStore(store.folder)):
        made._index = None
        before = contents(store)
        with database(store) as other:
            other.execute("BEGIN EXCLUSIVE")
            begun = time.monotonic()
            os.utime(store.folder / ".tidied", (1, 1))
            late = DiskStore(store.folder)
            for opened in (made, late):
                failed = opened.counts.failed
                assert opened.fetch(KEY, tmp_path / "out") is None
                assert not opened.keep(OTHER, tmp_path / "x", {})
                assert opened.counts.failed == failed + 2
            assert time.monotonic() - begun < 30
        assert contents(store) == before
        assert (made.counts.damaged, late.counts.failed, late.counts.damaged) == (0, 3, 0)
        for opened in (made, late):
            assert given_back(opened, tmp_path)


def test_a_full_disk(tmp_path, store, monkeypatch):
    before = contents(store)

    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(index.Index, "set", full)
        assert not store.keep(OTHER, tmp_path / "x", {})
    assert contents(store) == before
    assert (store.counts.failed, store.counts.damaged) == (1, 0)
    with monkeypatch.context() as patched:
        patched.setattr(index, "_blank", full)  # where a new database is made
        made = DiskStore(store.folder)
        assert not made.keep(OTHER, tmp_path / "x", {})
        assert made.counts.damaged == 0
    assert given_back(store, tmp_path)


# -- room, age and modes -------------------------------------------------------------------------


def test_it_stays_within_its_limit(tmp_path):
    store = DiskStore(tmp_path / "cache", limit_bytes=10_000)
    rng = np.random.default_rng(0)
    for number in range(60):
        (tmp_path / "x").write_bytes(bytes(int(rng.integers(1, 10_001))))
        assert store.keep(f"{number:064x}", tmp_path / "x", {})
        assert given_back(store, tmp_path, f"{number:064x}")  # the newest stays, however large
        assert sum(p.stat().st_size for p in contents(store)) == store.size()[1] <= 10_000
    assert store.counts.evicted == 60 - store.size()[0]


def test_a_reader_may_want_it_fresher_than_its_writer(tmp_path, store, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)
    strict = DiskStore(store.folder, ttl_s=50)
    assert strict.fetch(KEY, tmp_path / "out") is None
    assert (strict.counts.evicted, strict.counts.misses, strict.counts.damaged) == (1, 1, 0)
    assert contents(store) == []


def test_nobody_else_can_read_it(tmp_path):
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            folder.mkdir(mode=0o755)
        store = DiskStore(folder)
        (tmp_path / "x").write_bytes(b"x")
        assert works(store, tmp_path)
        found = [*folder.rglob("*")]
        assert len(found) == 4  # the database, the mark, a folder, a content
        assert all(p.stat().st_mode & 0o077 == 0 for p in found)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_files_of_the_former_layout_are_removed(tmp_path):
    folder = tmp_path / "cache"
    (folder / "ab").mkdir(parents=True)
    former = [f"{KEY}.json", f"{KEY}~{'1' * 64}", ".0123456789abcdef.part"]
    others = ["notes.json", f"{OTHER}.json", f"{KEY}.json.txt", f"{KEY}~{'1' * 63}", ".x.part"]
    for name in (*former, *others):
        (folder / "ab" / name).write_bytes(b"x")
    (folder / f"{KEY}.json").write_bytes(b"x")
    store = DiskStore(folder)
    assert sorted(p.name for p in contents(store)) == sorted(others)
    assert (folder / f"{KEY}.json").exists()
    assert store.counts.damaged == 0


# -- threads and processes -----------------------------------------------------------------------


def test_several_threads(tmp_path, store):
    wrong = []

    def work(number):
        mine, out = tmp_path / f"in{number}", tmp_path / f"out{number}"
        for i in range(20):
            mine.write_bytes(bytes([i]) * 5000)
            if not store.keep(f"{i:064x}", mine, {}):
                wrong.append("not kept")
            # Another thread may have replaced it between two looks: then it is not found.
            if store.fetch(f"{i:064x}", out) is not None and out.read_bytes() != bytes([i]) * 5000:
                wrong.append("not the same")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert (store.counts.failed, store.counts.damaged) == (0, 0)
    assert store.counts.hits > 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files")
def test_nothing_stays_open(tmp_path, store):
    assert given_back(store, tmp_path)
    open_files = []
    for number in os.listdir("/proc/self/fd"):
        try:
            open_files.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    assert not [name for name in open_files if name.startswith(str(store.folder))]


FORKED = """
import os, sys
from pathlib import Path
from unmuffle.cache.disk import DiskStore
folder = Path(sys.argv[1])
store = DiskStore(folder / "cache")
(folder / "y").write_bytes(b"y")
store.keep("ab" + "0" * 62, folder / "y", {})
child = os.fork()
mine = folder / ("child" if child == 0 else "parent")
mine.write_bytes(b"z")
for i in range(30):
    good = store.keep(f"{i:064x}", mine, {}) and store.fetch("ab" + "0" * 62, mine.with_suffix(".out")) is not None
    if not good or store.counts.failed:
        os._exit(3)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_goes_on_with_it(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    subprocess.run([sys.executable, "-c", FORKED, str(tmp_path)], env=environment, check=True, timeout=300)


def test_a_damaged_database_is_replaced_in_one_step(tmp_path, monkeypatch):
    """Where nothing is for a moment, another process makes a database of its own."""
    (tmp_path / index.DBNAME).write_bytes(b"rubbish" * 1000)
    seen, place = [], index._place

    def watched(path, **how):
        seen.append(path.exists())
        place(path, **how)

    monkeypatch.setattr(index, "_place", watched)
    found, damaged = index.open_index(tmp_path)
    found.close()
    assert (seen, damaged) == ([True], True)
    assert list(tmp_path.glob("*.part")) == []
