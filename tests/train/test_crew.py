"""Several processes that share each batch do what one does."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from unmuffle.data.mix import MixConfig, Mixer  # noqa: E402
from unmuffle.data.pool import Pool  # noqa: E402
from unmuffle.errors import MissingExtraError, ModelError, ParameterError  # noqa: E402
from unmuffle.train import checkpoint, crew  # noqa: E402
from unmuffle.train.config import TrainConfig, to_toml  # noqa: E402
from unmuffle.train.loop import Trainer, batches  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import crew_work  # noqa: E402

RECIPE = TrainConfig(
    net="dense",
    sizes={"hidden": 16, "low_bins": 20, "memory": 10},
    steps=6,
    batch=4,
    epoch_items=12,
    valid_items=5,
    warmup_steps=2,
    keep=1,
    bf16=False,
    mix=MixConfig(seconds=0.5),
)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.filterwarnings("ignore")  # of the library and of what it starts
def test_two_processes_give_what_one_gives(tmp_path: Path, small_pool: Pool, accumulate: int) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(replace(RECIPE, accumulate=accumulate)), encoding="utf-8")
    arguments = [str(small_pool.folder), str(recipe)]
    steps, loss = crew.launch(crew_work.train, 2, "cpu", str(tmp_path / "two"), *arguments)
    torch.set_num_threads(1)
    alone = Trainer(tmp_path / "one", small_pool, RECIPE)
    alone.run()
    assert steps == alone.step == 6
    one, two = (checkpoint.load(tmp_path / name / "last.pt") for name in ("one", "two"))
    for part in ("net", "averages"):
        for key, value in one[part].items():
            # Sums of single precision in another order, and what six steps make of it.
            assert torch.allclose(value, two[part][key], atol=1e-5), key
    logs = [list(csv.DictReader((tmp_path / n / "log.csv").read_text().splitlines())) for n in ("one", "two")]
    for a, b in zip(*logs, strict=True):
        for key in ("step", "train_loss", "valid_loss", "valid_si_sdr"):
            assert float(a[key]) == pytest.approx(float(b[key]), rel=1e-3), key
    assert loss == pytest.approx(float(logs[0][-1]["valid_loss"]), rel=1e-3)
    # And a run of two can be taken up by one.
    assert Trainer(tmp_path / "two", small_pool).finished


@pytest.mark.filterwarnings("ignore")
def test_a_process_ends_its_threads_before_itself(tmp_path: Path) -> None:
    """One that was left running aborted a process in some of its exits."""
    assert crew.launch(crew_work.leave, 2, "cpu", str(tmp_path / "note")) == 0.5
    for rank in range(2):
        state, *threads = (tmp_path / f"note.{rank}").read_text().split()
        assert state == "left"
        assert not [t for t in threads if "gloo" in t]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_one_process_raises_is_raised(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the loss is nan at step 7"):
        crew.launch(crew_work.fail, 2, "cpu")


def test_the_parts_make_the_batch(small_pool: Pool) -> None:
    mixer = Mixer(small_pool, RECIPE.mix)
    whole = list(batches(mixer, RECIPE, 1, 3))
    parts = [list(batches(mixer, RECIPE, 1, 3, rank, 2)) for rank in range(2)]
    for i, batch in enumerate(whole):
        for k in range(3):
            assert torch.equal(torch.cat([parts[0][i][k], parts[1][i][k]]), batch[k])


def test_alone_everything_is_its_own() -> None:
    one = crew.Crew()
    assert (one.rank, one.count, one.first, one.device.type) == (0, 1, True, "cpu")
    assert one.mean(1.0, 2.0) == [1.0, 2.0]
    assert one.from_first(3.0) == 3.0
    net = torch.nn.Linear(2, 2)
    assert one.share(net, "optimiser") == (net, "optimiser")


def test_what_cannot_be_shared(tmp_path: Path, small_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    three = crew.Crew()
    three.count = 3
    with pytest.raises(ParameterError, match="4 cannot be shared evenly by 3"):
        Trainer(tmp_path, small_pool, RECIPE, crew=three)
    with pytest.raises(ParameterError, match="tpu"):
        crew.launch(crew_work.fail, 2, "tpu")
    with pytest.raises(ParameterError, match="this machine has"):
        crew.launch(crew_work.fail, 64, "cuda")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match="train"):
        crew.launch(crew_work.fail, 2, "cpu")
