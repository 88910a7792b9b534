from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.data.mix import MixConfig, Mixture  # noqa: E402
from unmuffle.data.pool import Pool  # noqa: E402
from unmuffle.errors import ModelError, ParameterError  # noqa: E402
from unmuffle.train import checkpoint  # noqa: E402
from unmuffle.train.config import TrainConfig  # noqa: E402
from unmuffle.train.loop import LOG_COLUMNS, Trainer, batches, learning_rate, load_net  # noqa: E402

RECIPE = TrainConfig(
    net="dense",
    sizes={"hidden": 16, "low_bins": 20, "memory": 10},
    steps=8,
    batch=2,
    epoch_items=8,
    valid_items=3,
    warmup_steps=2,
    keep=1,
    mix=MixConfig(seconds=0.5),
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.load(folder / "last.pt")
    return {**state["net"], **{"average " + k: v for k, v in state["averages"].items()}}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, small_pool: Pool) -> Path:
    """A run from beginning to end."""
    folder = tmp_path_factory.mktemp("straight")
    Trainer(folder, small_pool, RECIPE).run()
    return folder


def test_parts_of_a_batch_add_up_to_it(tmp_path: Path, small_pool: Pool) -> None:
    """In the memory of one mixture a step, the weights of two; and a run stopped in between ends with the same bits."""
    whole = replace(RECIPE, bf16=False)
    parts = replace(whole, accumulate=2)
    for name, recipe in (("whole", whole), ("parts", parts)):
        Trainer(tmp_path / name, small_pool, recipe).run()
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.allclose(value, two[key], atol=1e-5), key
    Trainer(tmp_path / "halves", small_pool, parts).run(max_steps=3)
    last = Trainer(tmp_path / "halves", small_pool)
    assert last.step == 3
    assert not last.finished
    last.run()
    assert same(weights(tmp_path / "halves"), two)


def test_no_step_is_made_of_a_part(tmp_path: Path, small_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second half of a batch gives NaN: neither weights nor files have the first."""
    trainer = Trainer(tmp_path / "run", small_pool, replace(RECIPE, accumulate=2, bf16=False))
    before = {k: v.clone() for k, v in trainer.net.state_dict().items()}
    heard = []

    def enhance(noisy: torch.Tensor) -> torch.Tensor:
        heard.append(noisy)
        return original(noisy) * (1.0 if len(heard) < 2 else float("nan"))

    original = trainer.enhance
    monkeypatch.setattr(trainer, "enhance", enhance)
    with pytest.raises(ModelError, match="mixtures 0 to 1"):
        trainer.run()
    assert [x.shape[0] for x in heard] == [1, 1]
    assert all(torch.equal(v, before[k]) for k, v in trainer.net.state_dict().items())
    assert not (tmp_path / "run" / "last.pt").exists()


def test_a_run_leaves_its_files(straight: Path) -> None:
    names = {p.name for p in straight.iterdir()}
    assert {"recipe.toml", "log.csv", "last.pt"} <= names
    assert len([n for n in names if n.startswith("best-")]) == 1
    rows = list(csv.DictReader((straight / "log.csv").read_text().splitlines()))
    assert list(rows[0]) == list(LOG_COLUMNS)
    assert [float(r["step"]) for r in rows] == [4, 8]
    assert all(np.isfinite(float(v)) for r in rows for v in r.values())


def test_going_on_is_bit_exact(straight: Path, tmp_path: Path, small_pool: Pool) -> None:
    Trainer(tmp_path, small_pool, RECIPE).run(max_steps=3)
    Trainer(tmp_path, small_pool).run(max_steps=2)
    Trainer(tmp_path, small_pool).run()
    assert same(weights(straight), weights(tmp_path))
    assert (straight / "log.csv").read_text().splitlines()[-1].split(",")[4:7] == (
        tmp_path / "log.csv"
    ).read_text().splitlines()[-1].split(",")[4:7]


def test_a_killed_run_goes_on_from_its_last_checkpoint(straight: Path, tmp_path: Path, small_pool: Pool) -> None:
    code = (
        "import os, sys, torch\ntorch.set_num_threads(1)\n"
        "from unmuffle.data.pool import Pool\nfrom unmuffle.train import config\n"
        "from unmuffle.train.loop import Trainer\n"
        "t = Trainer(sys.argv[1], Pool(sys.argv[2]), config.load(sys.argv[3]))\n"
        # Step 4 ends an epoch and saves; the process dies in step 6, without a chance to save again.
        "t.run(lambda d: os._exit(9) if d.get('step') == 6 else None)\n"
    )
    args = [sys.executable, "-c", code, str(tmp_path), str(small_pool.folder), str(straight / "recipe.toml")]
    done = subprocess.run(args, capture_output=True, env={**os.environ}, check=False)
    assert done.returncode == 9, done.stderr.decode()
    assert checkpoint.load(tmp_path / "last.pt")["step"] == 4
    Trainer(tmp_path, small_pool).run()
    assert same(weights(straight), weights(tmp_path))


def test_the_loss_falls(tmp_path: Path, small_pool: Pool) -> None:
    from dataclasses import replace

    values: list[float] = []
    recipe = replace(RECIPE, steps=60, learning_rate=0.01, epoch_items=120)
    Trainer(tmp_path, small_pool, recipe).run(lambda d: values.append(d["loss"]) if "loss" in d else None)
    # Mixtures differ in difficulty, so compare means of twenty.
    assert np.mean(values[-20:]) < 0.8 * np.mean(values[:20])


def test_batches_do_not_depend_on_workers(small_pool: Pool) -> None:
    from dataclasses import replace

    from unmuffle.data.mix import Mixer

    mixer = Mixer(small_pool, RECIPE.mix)
    alone = list(batches(mixer, RECIPE, 2, 5))
    shared = list(batches(mixer, replace(RECIPE, workers=2), 2, 5))
    assert len(alone) == 3
    for a, b in zip(alone, shared, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_nan_stops_before_it_spoils_anything(tmp_path: Path, small_pool: Pool) -> None:
    trainer = Trainer(tmp_path, small_pool, RECIPE)
    trainer.run(max_steps=3)
    before = weights(tmp_path)
    original = trainer.mixer.item

    def poisoned(epoch: int, index: int) -> Mixture:
        m = original(epoch, index)
        # Step 5 takes the mixtures 10 and 11: of the second epoch, places 2 and 3.
        return Mixture(m.noisy * np.float32(np.nan), m.target, m.band_hz, m.snr_db) if (epoch, index) == (1, 3) else m

    trainer.mixer.item = poisoned  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"loss is nan at step 5 \(mixtures 10 to 11\)"):
        trainer.run()
    state = checkpoint.load(tmp_path / "last.pt")
    assert state["step"] == 4  # of the epoch's end
    assert all(torch.isfinite(v).all() for v in weights(tmp_path).values())
    assert not same(before, weights(tmp_path))


def test_another_network_is_refused(straight: Path, small_pool: Pool) -> None:
    from dataclasses import replace

    content = (straight / "last.pt").read_bytes()
    with pytest.raises(ModelError, match="use another folder"):
        Trainer(straight, small_pool, replace(RECIPE, sizes={"hidden": 24}))
    assert (straight / "last.pt").read_bytes() == content


def test_weights_of_another_shape_are_refused(straight: Path, tmp_path: Path, small_pool: Pool) -> None:
    state = checkpoint.load(straight / "last.pt")
    state["averages"]["decode.bias"] = torch.zeros(3)
    checkpoint.save(tmp_path / "bad.pt", {k: v for k, v in state.items() if k != "format"})
    with pytest.raises(ModelError, match="another network"):
        load_net(tmp_path / "bad.pt")


def test_fine_tuning_starts_from_given_weights(straight: Path, tmp_path: Path, small_pool: Pool) -> None:
    trainer = Trainer(tmp_path, small_pool, RECIPE, initial=straight / "last.pt")
    averages = checkpoint.load(straight / "last.pt")["averages"]
    assert all(torch.equal(v, averages[k]) for k, v in trainer.net.state_dict().items())
    assert trainer.step == 0


def test_nothing_to_go_on_with(tmp_path: Path, small_pool: Pool) -> None:
    with pytest.raises(ParameterError, match="no run to go on with"):
        Trainer(tmp_path, small_pool)


def test_a_pool_of_another_rate_is_refused(tmp_path: Path, small_tree: Path) -> None:
    from unmuffle.data import manifest, pool

    clips = manifest.from_folders(speech=[small_tree / "speech"], noise=[small_tree / "noise"])
    pool.pack(clips, tmp_path / "p8", 8000)
    with pytest.raises(ParameterError, match="8000 Hz"):
        Trainer(tmp_path / "run", Pool(tmp_path / "p8"), RECIPE)


def test_learning_rate_curve() -> None:
    recipe = TrainConfig(learning_rate=1e-2, final_rate=0.1, warmup_steps=10)
    assert learning_rate(recipe, 0, 0.0) == pytest.approx(1e-3)
    assert learning_rate(recipe, 9, 0.0) == pytest.approx(1e-2)
    assert learning_rate(recipe, 500, 0.5) == pytest.approx(1e-2 * (0.1 + 0.9 * 0.5))
    assert learning_rate(recipe, 999, 1.0) == pytest.approx(1e-3)
    assert learning_rate(recipe, 999, 2.0) == pytest.approx(1e-3)


def test_plateau_halves_the_rate_and_ends_the_run(tmp_path: Path, small_pool: Pool) -> None:
    from dataclasses import replace

    recipe = replace(RECIPE, schedule="plateau", patience=1, steps=1000, epoch_items=2, final_rate=0.3)
    trainer = Trainer(tmp_path, small_pool, recipe)
    trainer.validate = lambda: {"loss": 1.0, "si_sdr": 0.0}  # type: ignore[method-assign]  # it never gets better
    trainer.run()
    # The first epoch sets the mark, the second halves the rate, the third takes it below 0.3.
    assert trainer.step == 3
    assert trainer.finished
    rates = [float(r["learning_rate"]) for r in csv.DictReader((tmp_path / "log.csv").read_text().splitlines())]
    assert rates == pytest.approx([recipe.learning_rate, recipe.learning_rate, 0.5 * recipe.learning_rate])
    assert Trainer(tmp_path, small_pool).finished  # also after a restart


def test_early_stop(tmp_path: Path, small_pool: Pool) -> None:
    from dataclasses import replace

    trainer = Trainer(tmp_path, small_pool, replace(RECIPE, early_stop=2, steps=1000, epoch_items=2))
    losses = iter([3.0, 2.0, 2.5, 1.0, 1.5, 1.2, 0.1])
    trainer.validate = lambda: {"loss": next(losses), "si_sdr": 0.0}  # type: ignore[method-assign]
    trainer.run()
    assert trainer.step == 6
    best = checkpoint.load(next(tmp_path.glob("best-*.pt")))
    assert best["step"] == 4


def test_listening_samples(tmp_path: Path, small_pool: Pool) -> None:
    from dataclasses import replace

    import soundfile

    Trainer(tmp_path, small_pool, replace(RECIPE, samples=3, steps=4)).run()
    names = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert names == [f"{k:02d}-{n}.wav" for k in range(3) for n in ("epoch0001", "noisy", "target")]
    x, rate = soundfile.read(tmp_path / "samples" / "02-noisy.wav")
    assert (x.size, rate) == (8000, 16000)


def test_tensorboard_that_is_not_installed(
    tmp_path: Path, small_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from unmuffle.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match="train"):
        Trainer(tmp_path, small_pool, replace(RECIPE, tensorboard=True)).run()


def test_training_on_rendered_mixtures(tmp_path: Path, small_pool: Pool) -> None:
    from unmuffle.data.mix import Mixer
    from unmuffle.data.render import Rendered, render

    render(Mixer(small_pool, RECIPE.mix), tmp_path / "mixtures", 2, 8)
    Trainer(tmp_path / "a", small_pool, RECIPE, mixer=Rendered(tmp_path / "mixtures")).run()
    Trainer(tmp_path / "b", small_pool, RECIPE).run()
    a, b = (weights(tmp_path / name) for name in "ab")
    # int16 instead of float32 mixtures, and nothing else: almost the same weights. Measured over the way from
    # the start, not weight by weight: Adam moves one whose gradient is rounding noise by a full step either way.
    start = Trainer(tmp_path / "start", small_pool, RECIPE).net.state_dict()
    apart = sum(float((a[k] - b[k]).square().sum()) for k in start)
    way = sum(float((b[k] - start[k]).square().sum()) for k in start)
    assert apart < 0.05**2 * way  # 0.01 on one machine


def test_the_clock_ends_a_run_with_a_budget(tmp_path: Path, small_pool: Pool) -> None:
    from dataclasses import replace

    trainer = Trainer(tmp_path, small_pool, replace(RECIPE, budget_minutes=1e-9))
    trainer.run()
    assert 1 <= trainer.step < 5  # no machine is that quick
    trainer.run()  # ended: nothing more is done
    assert trainer.step < 5
