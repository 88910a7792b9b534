"""From a folder of recordings to a network in use, by commands alone; and what goes wrong on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from unmuffle.cli import main  # noqa: E402
from unmuffle.train import checkpoint  # noqa: E402

_path = Path(__file__).resolve().parents[1] / "data" / "conftest.py"
_spec = importlib.util.spec_from_file_location("small_recordings_for_commands", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
small_tree = _module.small_tree

RECIPE = """
net = "dense"
steps = 12
batch = 2
epoch_items = 8
valid_items = 3
warmup_steps = 2
keep = 1
[sizes]
hidden = 16
low_bins = 20
memory = 10
[mix]
seconds = 0.5
"""


@pytest.fixture
def unmuffle(monkeypatch, capsys):
    """Run the command in this process: ``unmuffle("train", ...) -> (exit code, stdout, stderr)``."""
    torch.set_num_threads(1)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["unmuffle", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a small recipe in it."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def manifest(unmuffle, folder, small_tree):
    """A manifest of the small recordings."""
    assert unmuffle("data", "prepare", "folders", small_tree, "-o", "m.jsonl")[0] == 0
    return folder / "m.jsonl"


def weights(place):
    state = checkpoint.load(place)
    return {**state["net"], **{f"average {k}": v for k, v in state["averages"].items()}}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_from_recordings_to_a_network_in_use(unmuffle, folder, manifest):
    code, out, err = unmuffle("train", "--config", "small.toml", "--data", "m.jsonl", "-o", "run", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["steps"], report["finished"], report["net"]) == (12, True, "dense")
    assert "epoch 3, step 12" in err
    assert Path(report["best"]).is_file()
    # The checkpoint says what it was trained on, and so does the file.
    assert checkpoint.load("run/last.pt")["data"]["speech"]["speakers"] == 5
    code, out, _ = unmuffle("export", report["best"], "mine.onnx", "--licence", "MIT", "--json")
    assert code == 0
    assert json.loads(out)["parity"]["torch"] < 1e-4
    rng = np.random.default_rng(0)
    soundfile.write("talk.wav", 0.1 * rng.standard_normal(16000), 16000)
    assert unmuffle("enhance", "talk.wav", "--model", "mine.onnx", "-o", "clean.wav")[0] == 0
    import unmuffle as package

    made = package.load("model", path="mine.onnx")
    assert made.facts.data["noise"]["clips"] == 5
    assert (made.facts.licence, made.facts.recipe["net"]) == ("MIT", "dense")
    x = soundfile.read("talk.wav", dtype="float32")[0]
    y = soundfile.read("clean.wav", dtype="float32")[0]
    assert np.max(np.abs(package.enhance(x, 16000, made) - y)) < 2**-15  # rounded to 16 bits
    code, out, _ = unmuffle("bench", "--model", "mine.onnx", "--seconds", "1", "--json")
    assert code == 0
    assert [r["method"] for r in json.loads(out)["results"]] == ["mine.onnx"]
    code, out, _ = unmuffle("evaluate", "talk.wav", "talk.wav", "--model", "mine.onnx", "--metrics", "si_sdr", "--json")
    assert code == 0
    assert {row["method"] for row in json.loads(out)["rows"]} == {"noisy", "mine"}


KILLED = """
import os, signal, sys
from unmuffle.cli.main import run
from unmuffle.train.loop import Trainer

step = Trainer._train_step

def killed(self, batch):
    if self.step == 26:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch)

Trainer._train_step = killed
run()
"""


def test_a_killed_run_goes_on_bit_by_bit(unmuffle, folder, manifest):
    words = ["--config", "small.toml", "--data", "m.jsonl", "--set", "steps=80", "--set", "metric=si_sdr"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "train", *words, "-o", "killed"],
        capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert 4 <= checkpoint.load("killed/last.pt")["step"] < 26
    # The same command goes on; --config is read again.
    assert unmuffle("train", *words, "-o", "killed", "--resume", "--quiet")[0] == 0
    assert unmuffle("train", *words, "-o", "straight", "--quiet")[0] == 0
    assert same(weights("killed/last.pt"), weights("straight/last.pt"))
    logs = [Path(name, "log.csv").read_text().splitlines() for name in ("killed", "straight")]
    columns = logs[0][0].split(",")
    exact = [i for i, c in enumerate(columns) if c not in ("minutes", "audio_rate")]  # but for the clock
    assert [[row.split(",")[i] for i in exact] for row in logs[0]] == [
        [row.split(",")[i] for i in exact] for row in logs[1]
    ]


def test_sigterm_saves_and_resume_goes_on(unmuffle, folder, manifest, monkeypatch):
    from unmuffle.train.loop import Trainer

    original = Trainer._train_step

    def step(self, batch):
        if self.step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch)

    words = ["--config", "small.toml", "--data", "m.jsonl"]
    monkeypatch.setattr(Trainer, "_train_step", step)
    before = signal.getsignal(signal.SIGINT)
    code, _, err = unmuffle("train", *words, "-o", "ended")
    assert code == 128 + signal.SIGTERM
    assert "stopped after step 7, saved" in err
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(Trainer, "_train_step", original)
    assert unmuffle("train", "--data", "m.jsonl", "-o", "ended", "--resume", "-q")[0] == 0
    assert unmuffle("train", *words, "-o", "straight", "-q")[0] == 0
    assert same(weights("ended/last.pt"), weights("straight/last.pt"))


def test_a_full_disk_leaves_the_last_checkpoint(unmuffle, folder, manifest):
    words = ["train", "--config", "small.toml", "--data", "m.jsonl", "-o", "run", "-q"]
    assert unmuffle(*words)[0] == 0
    content = Path("run/last.pt").read_bytes()
    # The system refuses larger files, in the middle of writing, as a full disk does (Python ignores the signal).
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, hard))
    try:
        code, _, err = unmuffle(*words, "--resume", "--set", "steps=20")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 4
    assert "last.pt" in err or "best" in err
    assert "intact" in err
    assert Path("run/last.pt").read_bytes() == content
    assert not list(Path("run").glob(".*.part"))
    assert unmuffle(*words, "--resume", "--set", "steps=20")[0] == 0
    assert checkpoint.load("run/last.pt")["step"] == 20


def test_nan_stops_and_names_the_batch(unmuffle, folder, manifest, monkeypatch):
    from unmuffle.data.mix import Mixer, Mixture

    original = Mixer.item

    def item(self, epoch, index):
        m = original(self, epoch, index)
        bad = self.split == "train" and (epoch, index) == (1, 3)
        return Mixture(m.noisy * np.float32(np.nan), m.target, m.band_hz, m.snr_db) if bad else m

    monkeypatch.setattr(Mixer, "item", item)
    code, _, err = unmuffle("train", "--config", "small.toml", "--data", "m.jsonl", "-o", "run", "-q")
    assert code == 6
    assert "loss is nan at step 5 (mixtures 10 to 11)" in err
    assert checkpoint.load("run/last.pt")["step"] == 4
    assert all(bool(torch.isfinite(v).all()) for v in weights("run/last.pt").values())


def test_recordings_that_are_missing_or_broken(unmuffle, folder, small_tree):
    import shutil

    shutil.copytree(small_tree, "rec")
    Path("rec/noise/fan/broken.wav").write_bytes(b"RIFF and nothing more")
    soundfile.write("rec/speech/speaker0/silent.wav", np.zeros(8000), 16000)
    code, out, _ = unmuffle("data", "prepare", "folders", "rec", "-o", "m.jsonl", "--check", "--json")
    report = json.loads(out)
    assert code == 1
    assert {(Path(p["path"]).name, p["what"].split(":")[0]) for p in report["problems"]} == {
        ("broken.wav", "cannot be read"),
        ("silent.wav", "is silent"),
    }
    assert report["clips"] == 20  # the good ones
    assert unmuffle("data", "check", "m.jsonl")[0] == 0
    Path("rec/noise/fan/fana.wav").unlink()
    code, _, err = unmuffle("data", "check", "m.jsonl")
    assert code == 1
    assert "fana.wav: no such file" in err
    words = ["train", "--config", "small.toml", "--data", "m.jsonl", "-o", "run", "--set", "steps=4"]
    code, _, err = unmuffle(*words)
    assert code == 3
    assert "1 of 20 recordings are missing, the first is" in err
    assert "fana.wav" in err
    assert not Path("run").exists()
    assert not list(Path().glob("*.pool-*"))
    code, _, err = unmuffle(*words, "--leave-out")
    assert code == 0
    assert "1 recordings are left out" in err


def test_pools(unmuffle, folder, manifest):
    code, out, _ = unmuffle("data", "pool", "m.jsonl", "-o", "pool", "--json")
    assert code == 0
    assert json.loads(out)["clips"] == 20
    before = Path("pool/speech.i16").stat().st_mtime_ns
    code, _, err = unmuffle("data", "pool", "m.jsonl", "-o", "pool")
    assert (code, Path("pool/speech.i16").stat().st_mtime_ns) == (4, before)
    assert "--force" in err
    assert unmuffle("data", "pool", "m.jsonl", "-o", "pool", "--force", "--clean-voices", "log-mmse")[0] == 0
    code, _, err = unmuffle("data", "pool", "m.jsonl", "-o", "other", "--clean-voices", "nonsense")
    assert code == 2
    assert "nonsense" in err
    words = ["train", "--config", "small.toml", "-o", "run", "-q"]
    assert unmuffle(*words, "--data", "pool", "--set", "steps=4")[0] == 0
    # A run can go on with other recordings; mixtures made ahead of time are a source as well.
    code, out, _ = unmuffle("data", "render", "pool", "-o", "mixed", "--config", "small.toml", "--json")
    assert code == 0
    assert json.loads(out)["count"] == 8
    assert unmuffle(*words, "--data", "m.jsonl", "--mixtures", "mixed", "--resume", "--set", "steps=8")[0] == 0
    assert unmuffle("data", "render", "pool", "-o", "mixed", "--config", "small.toml")[0] == 4
    code, _, err = unmuffle(*words, "--data", "pool", "--mixtures", "mixed", "--resume", "--set", "epoch_items=16")
    assert code == 2
    assert "--set epoch_items=8" in err


def test_packed_once_and_anew_when_something_changes(unmuffle, folder, manifest):
    words = ["train", "--config", "small.toml", "--data", "m.jsonl", "-q", "--set", "steps=4"]
    assert unmuffle(*words, "-o", "a")[0] == 0
    (pool,) = Path().glob("m.pool-*")
    stamp = (pool / "index.json").stat().st_mtime_ns
    assert unmuffle(*words, "-o", "b")[0] == 0
    assert (pool / "index.json").stat().st_mtime_ns == stamp
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[:-1]) + "\n")  # one room less
    assert unmuffle(*words, "-o", "c")[0] == 0
    assert len(list(Path().glob("m.pool-*"))) == 2


def test_one_speaker_and_one_noise(unmuffle, folder):
    rng = np.random.default_rng(0)
    Path("rec/speech").mkdir(parents=True)
    Path("rec/noise").mkdir()
    for k in range(5):
        soundfile.write(f"rec/speech/sentence {k}.wav", 0.1 * rng.standard_normal(9000), 16000)
    soundfile.write("rec/noise/fan.wav", 0.1 * rng.standard_normal(9000), 16000)
    soundfile.write("rec/noise/street.wav", 0.1 * rng.standard_normal(9600), 16000)
    code, out, _ = unmuffle("data", "prepare", "folders", "rec", "-o", "m.jsonl", "--licence", "my own", "--json")
    assert code == 0
    assert "one speaker: 1 of 5 files are held out" in json.loads(out)["notes"][0]
    rows = [json.loads(line) for line in Path("m.jsonl").read_text().splitlines()]
    assert sorted((r["kind"], r["split"]) for r in rows).count(("noise", "valid")) == 1
    assert all(r["licence"] == "my own" for r in rows)
    assert unmuffle("train", "--config", "small.toml", "--data", "m.jsonl", "-o", "r", "-q", "--set", "steps=1")[0] == 0


def test_finetune_from_a_file_and_its_rules(unmuffle, folder, manifest):
    assert unmuffle("train", "--config", "small.toml", "--data", "m.jsonl", "-o", "run", "-q")[0] == 0
    assert unmuffle("export", "run/last.pt", "base.onnx")[0] == 0
    Path("mine/noise/whistle").mkdir(parents=True)
    t = np.arange(24000) / 16000
    for k in range(4):
        whistle = 0.3 * np.sin(2 * np.pi * 2600 * t) * (np.sin(2 * np.pi * (3 + k) * t) > 0)
        soundfile.write(f"mine/noise/whistle/{k}.wav", whistle, 16000)
    assert unmuffle("data", "prepare", "folders", "mine", "-o", "mine.jsonl")[0] == 0
    small = ["--set", "batch=2", "--set", "epoch_items=40", "--set", "valid_items=6", "--set", "mix.seconds=1.0"]
    words = ["finetune", "base.onnx", "--own", "mine.jsonl", "--data", "m.jsonl", *small]
    code, out, err = unmuffle(*words, "-o", "tuned", "--set", "steps=40", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["own_after"] < found["own_before"]
    assert found["general_after"] <= 1.01 * found["general_before"]
    state = checkpoint.load(found["path"])
    assert set(state["data"]) == {"before", "rehearsed", "own"}
    assert unmuffle("export", found["path"], "tuned.onnx")[0] == 0
    # Nothing that exists is trained over; a network's sizes are its own; what forgets is not kept.
    assert unmuffle(*words, "-o", "tuned")[0] == 2
    code, _, err = unmuffle(*words, "-o", "other", "--set", "sizes.hidden=24")
    assert (code, "leave them as they are" in err) == (6, True)
    wreck = ["--set", "learning_rate=1.0", "--set", "warmup_steps=0", "--set", "steps=20", "--own-share", "1.0"]
    code, _, err = unmuffle(*words, "-o", "wrecked", *wreck)
    assert code == 1
    assert "stays as it was" in err
    assert not Path("wrecked/finetuned.pt").exists()
    code, _, err = unmuffle("finetune", "nothing", "--own", "mine.jsonl", "--data", "m.jsonl", "-o", "x")
    assert (code, "no network that comes with unmuffle" in err) == (6, True)


def test_a_run_begins_with_the_weights_of_another(unmuffle, folder, manifest):
    assert unmuffle("train", "--config", "small.toml", "--data", "m.jsonl", "-o", "first", "-q")[0] == 0
    assert unmuffle("export", "first/last.pt", "first.onnx")[0] == 0
    first = checkpoint.load("first/last.pt")
    words = ["train", "--config", "small.toml", "--data", "m.jsonl", "-q", "--set", "learning_rate=1e-9"]
    for source, run in (("first/last.pt", "a"), ("first.onnx", "b")):
        code, _, err = unmuffle(*words, "-o", run, "--initial", source)
        assert code == 0, err
        found = checkpoint.load(f"{run}/last.pt")
        assert found["step"] == first["step"]  # of its own: counted from 0
        for name, value in first["averages"].items():
            torch.testing.assert_close(found["averages"][name], value)
        assert found["data"]["before"] == first["data"]
    # The same words with --resume go on with what was begun.
    assert unmuffle(*words, "-o", "a", "--initial", "nothing.pt", "--resume", "--set", "steps=14")[0] == 0
    resumed = checkpoint.load("a/last.pt")
    assert (resumed["step"], resumed["data"]["before"]) == (14, first["data"])
    for source, text in (
        ("nothing.pt", "nothing.pt"),
        ("nothing", "no network that comes with unmuffle"),
        ("live", "holds another network"),
    ):
        code, _, err = unmuffle(*words, "-o", "c", "--initial", source)
        assert code in (3, 6), err
        assert text in err
        assert err.count("\n") == 1
        assert not Path("c/last.pt").exists()


def test_int8_only_without_loss(unmuffle, folder, manifest, monkeypatch):
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    from unmuffle.export import quantise

    assert unmuffle("train", "--config", "small.toml", "--data", "m.jsonl", "-o", "run", "-q")[0] == 0
    for name in ("clean", "noisy"):
        Path(name).mkdir()
    rng = np.random.default_rng(0)
    time = np.arange(32000) / 16000
    for k in range(2):
        voice = sum(np.sin(2 * np.pi * h * (120 + 40 * k) * time) / h for h in range(1, 25))
        clean = 0.1 * voice * np.sin(2 * np.pi * 1.5 * time) ** 2
        soundfile.write(f"clean/{k}.wav", clean, 16000)
        soundfile.write(f"noisy/{k}.wav", clean + 0.02 * rng.standard_normal(32000), 16000)
    words = ["export", "run/last.pt", "small.onnx", "--int8"]
    code, _, err = unmuffle(*words)
    assert (code, "--pairs" in err) == (2, True)
    code, out, err = unmuffle(*words, "--pairs", "clean", "noisy", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["int8"]["recipe"] == "all"
    assert report["scores"]["pairs"] == 2
    from unmuffle.enhancers.neural.model import load

    assert load("small.onnx").facts.scores["pesq_wb"] == pytest.approx(report["scores"]["pesq_wb"])
    content = Path("small.onnx").read_bytes()
    monkeypatch.setattr(quantise, "PESQ_LOSS", -0.5)  # nothing can keep that
    code, _, err = unmuffle(*words, "--pairs", "clean", "noisy", "--force")
    assert code == 6
    assert "all: " in err
    assert "dense: " in err
    assert Path("small.onnx").read_bytes() == content


def test_bad_input_has_one_line_and_a_code(unmuffle, folder, manifest):
    Path("empty").mkdir()
    Path("text.onnx").write_text("hello")
    Path("text.pt").write_text("hello")
    Path("bad.toml").write_text("steps = ")
    Path("bad.jsonl").write_text('{"path": "x.wav"}\n')
    Path("none.jsonl").write_text("")
    soundfile.write("talk.wav", np.zeros(1600), 16000)
    assert unmuffle("train", "--config", "small.toml", "--data", "m.jsonl", "-o", "run", "-q", "--set", "steps=1")[0] == 0
    kept = Path("run/last.pt").read_bytes()
    Path("there.onnx").write_bytes(b"precious")
    train = ["train", "--data", "m.jsonl", "-o", "new", "--config", "small.toml"]
    for words, code, text in [
        (["data", "prepare", "folders", "empty", "-o", "x.jsonl"], 3, "nothing of a folders collection"),
        (["data", "prepare", "folders", "gone"], 3, "no such folder"),
        (["data", "prepare", "vtck", "empty"], 2, "did you mean 'vctk'"),
        (["data", "prepare", "folders", ".", "--valid", "2"], 2, "--valid"),
        (["data", "check", "gone.jsonl"], 3, "no such manifest"),
        (["data", "check", "bad.jsonl"], 2, "line 1"),
        (["data", "pool", "none.jsonl", "-o", "p"], 2, "the manifest is empty"),
        ([*train, "--data", "empty"], 2, "one pool, or any number of manifests"),
        (["train", "--config", "small.toml", "-o", "new", "--data", "empty"], 3, "is no pool"),
        (["train", "--config", "small.toml", "-o", "new", "--data", "none.jsonl"], 2, "manifest is empty"),
        (["train", "--data", "m.jsonl", "-o", "new"], 2, "--preset or --config"),
        (["train", "--data", "m.jsonl", "-o", "new", "--preset", "lve"], 2, "did you mean 'live'"),
        (["train", "--data", "m.jsonl", "-o", "new", "--config", "bad.toml"], 2, "bad.toml"),
        ([*train, "--set", "stepz=3"], 2, "did you mean 'steps'"),
        ([*train, "--set", "steps"], 2, "key=value"),
        ([*train, "--set", "miks.seconds=3"], 2, "sizes, mix, loss"),
        ([*train, "--set", "sizes.width=3"], 2, "no size 'width'"),
        ([*train, "--set", "metric=mos"], 2, "si_sdr"),
        ([*train, "--device", "tpu"], 2, "auto, cpu, cuda"),
        (["train", "--data", "m.jsonl", "-o", "run", "--preset", "live"], 2, "--resume goes on with it"),
        (["train", "--data", "m.jsonl", "-o", "run", "--preset", "tiny", "--resume"], 6, "use another folder"),
        (["train", "--data", "m.jsonl", "-o", "run", "--resume", "--set", "sizes.hidden=24"], 6, "another folder"),
        (["train", "--data", "m.jsonl", "-o", "small.toml", "--preset", "live"], 2, "is a file"),
        (["export", "gone.pt", "x.onnx"], 3, "no such checkpoint"),
        (["export", "text.pt", "x.onnx"], 6, "no readable checkpoint"),
        (["export", "run/last.pt", "there.onnx"], 4, "--force"),
        (["export", "run/last.pt", "no/such/folder.onnx"], 4, "could not be written"),
        (["enhance", "talk.wav", "--model", "text.onnx"], 6, "no network that onnxruntime can load"),
        (["enhance", "talk.wav", "--model", "run/last.pt"], 6, "unmuffle export"),
        (["enhance", "talk.wav", "--model", "gone.onnx"], 6, "no such network file"),
        (["enhance", "talk.wav", "--model", "x.onnx", "--method", "wiener"], 2, "--model"),
        (["evaluate", "talk.wav", "talk.wav", "--model", "text.onnx"], 6, "onnxruntime"),
        (["bench", "--model", "text.onnx"], 6, "onnxruntime"),
    ]:
        found, _, err = unmuffle(*words)
        assert found == code, (words, err)
        assert text in err, (words, err)
        assert err.count("\n") == 1 or "Usage" in err, err
    assert Path("run/last.pt").read_bytes() == kept
    assert Path("there.onnx").read_bytes() == b"precious"
    assert not Path("new").exists()
    assert not Path("x.onnx").exists()


def test_without_torch_it_says_what_to_install(unmuffle, folder, manifest, monkeypatch):
    for name in ("train", "export"):  # what the package calls by these names comes back afterwards, too
        monkeypatch.setattr(sys.modules["unmuffle"], name, importlib.import_module(f"unmuffle.{name}"))
    for name in [m for m in sys.modules if m.startswith(("unmuffle.train", "unmuffle.export"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    for words in (
        ["train", "--preset", "live", "--data", "m.jsonl", "-o", "r"],
        ["export", "a.pt", "b.onnx"],
        ["finetune", "live", "--own", "m.jsonl", "--data", "m.jsonl", "-o", "r"],
    ):
        code, _, err = unmuffle(*words)
        assert code == 5
        assert "pip install 'unmuffle[train]'" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_devices_by_command(unmuffle, folder, manifest):
    pytest.importorskip("lightning_fabric")
    words = ["train", "--config", "small.toml", "--data", "m.jsonl", "--set", "bf16=false", "-q"]
    assert unmuffle(*words, "-o", "two", "--devices", "2", "--device", "cpu", "--json")[0] == 0
    assert unmuffle(*words, "-o", "one")[0] == 0
    one, two = weights("one/last.pt"), weights("two/last.pt")
    for key, value in one.items():
        # Adam makes full steps of the smallest gradients, so a rounding may move a few weights by 1e-3.
        assert torch.linalg.norm(two[key] - value) <= 1e-2 * torch.linalg.norm(value), key
    losses = [[row.split(",")[4:7] for row in Path(n, "log.csv").read_text().splitlines()[1:]] for n in ("one", "two")]
    assert np.allclose(*(np.array(rows, float) for rows in losses), rtol=1e-4)
