from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

from unmuffle.data import manifest, pool  # noqa: E402
from unmuffle.data.mix import Blend, MixConfig, Mixer  # noqa: E402
from unmuffle.data.pool import Pool  # noqa: E402
from unmuffle.errors import ModelError, ParameterError  # noqa: E402
from unmuffle.train import checkpoint, presets  # noqa: E402
from unmuffle.train.config import TrainConfig  # noqa: E402
from unmuffle.train.finetune import GENTLE, Joined, finetune  # noqa: E402
from unmuffle.train.loop import Trainer  # noqa: E402

RECIPE = TrainConfig(
    net="dense",
    sizes={"hidden": 24, "low_bins": 40, "memory": 20},
    steps=60,
    batch=4,
    epoch_items=80,
    valid_items=12,
    learning_rate=3e-3,
    warmup_steps=5,
    ema=0.9,
    mix=MixConfig(seconds=0.6, snr_high_db=5.0, noise_share=0.0, clean_share=0.0, room_share=0.0),
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """The user's machine: a loud whistle at 2.6 kHz that comes and goes."""
    root = tmp_path_factory.mktemp("own")
    time = np.arange(24000) / 16000
    clips = []
    for k in range(4):
        whistle = np.sin(2 * np.pi * 2600 * time) * (np.sin(2 * np.pi * (3 + k) * time) > 0)
        soundfile.write(root / f"{k}.wav", 0.3 * whistle, 16000)
        clips.append(manifest.Clip(str(root / f"{k}.wav"), "noise", "valid" if k == 3 else "train", category="whistle"))
    pool.pack(clips, root / "pool")
    return Pool(root / "pool")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_pool: Pool) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    Trainer(folder, small_pool, RECIPE).run()
    return folder / "last.pt"


def test_it_learns_the_new_noise_and_keeps_the_old(trained: Path, own: Pool, small_pool: Pool, tmp_path: Path) -> None:
    before = trained.read_bytes()
    recipe = dataclasses.replace(RECIPE, steps=60, learning_rate=2e-3)
    done = finetune(tmp_path, trained, own, small_pool, recipe, forget=0.02)
    assert done.path is not None
    assert done.own_after < 0.95 * done.own_before
    assert done.general_after <= 1.02 * done.general_before
    assert "loss on own recordings" in str(done)
    # What was kept is what was measured.
    assert checkpoint.load(done.path)["recipe"]["sizes"] == dict(RECIPE.sizes)
    assert trained.read_bytes() == before


def test_nothing_is_kept_that_forgets(trained: Path, own: Pool, small_pool: Pool, tmp_path: Path) -> None:
    # A rate that wrecks the network.
    recipe = dataclasses.replace(RECIPE, steps=20, learning_rate=1.0, warmup_steps=0)
    done = finetune(tmp_path, trained, own, small_pool, recipe, own_share=1.0, forget=0.0)
    assert done.path is None
    assert not (tmp_path / "finetuned.pt").exists()
    assert "stays as it was" in str(done)


def test_joined_takes_what_is_missing_from_the_general_pool(own: Pool, small_pool: Pool) -> None:
    both = Joined(own, small_pool, "train")
    assert {e.category for e in both.of("noise", "train")} == {"whistle"}
    assert len(both.of("speech", "train")) == 8
    entry = both.of("noise", "train")[0]
    assert np.array_equal(both.read(entry, 5, 9), own.read(entry, 5, 9))
    voice = both.of("speech", "train")[0]
    assert np.array_equal(both.read(voice), small_pool.read(voice))


def test_blend_draws_by_share_and_is_reproducible(small_pool: Pool) -> None:
    quiet = Mixer(small_pool, MixConfig(seconds=0.3, noise_share=1.0, clean_share=0.0))
    clean = Mixer(small_pool, MixConfig(seconds=0.3, noise_share=0.0, clean_share=1.0))
    blend = Blend((quiet, clean), (1.0, 3.0))
    kinds = [blend.item(0, i).snr_db for i in range(60)]
    # 45 of 60 are expected to be clean, give or take 3.4; four standard deviations.
    assert 31 < kinds.count(np.inf) < 59
    assert np.array_equal(blend.item(0, 7).noisy, blend.item(0, 7).noisy)
    with pytest.raises(ParameterError, match="fit together"):
        Blend((quiet,), (1.0, 2.0))
    with pytest.raises(ParameterError, match="different"):
        Blend((quiet, Mixer(small_pool, MixConfig(seconds=0.5))), (1.0, 1.0))


def test_bad_input(trained: Path, own: Pool, small_pool: Pool, tmp_path: Path, small_tree: Path) -> None:
    with pytest.raises(ParameterError, match="own_share"):
        finetune(tmp_path, trained, own, small_pool, RECIPE, own_share=0.0)
    with pytest.raises(ModelError, match="another network"):
        finetune(tmp_path, trained, own, small_pool, dataclasses.replace(RECIPE, sizes={"hidden": 16}))
    clips = [c for c in manifest.from_folders(noise=[small_tree / "noise"])]
    pool.pack(clips, tmp_path / "p")
    with pytest.raises(ParameterError, match="for validation"):
        finetune(tmp_path / "r", trained, Pool(tmp_path / "p"), small_pool, RECIPE)
    pool.pack(clips, tmp_path / "p8", 8000)
    with pytest.raises(ParameterError, match="8000 Hz"):
        Joined(Pool(tmp_path / "p8"), small_pool, "train")


def test_what_forgets_is_drawn_back_towards_the_start(
    trained: Path, own: Pool, small_pool: Pool, tmp_path: Path
) -> None:
    # Mostly on its own recordings it forgets: all of the way there is too much, a part of it is not.
    recipe = dataclasses.replace(RECIPE, steps=40, learning_rate=2e-3)
    done = finetune(tmp_path, trained, own, small_pool, recipe, own_share=0.7, forget=0.06, forget_pesq=9.0)
    assert done.path is not None
    assert done.way < 1.0
    assert f"{done.way:g} of the way" in str(done)
    assert done.own_after < 0.97 * done.own_before
    assert done.general_after <= 1.06 * done.general_before
    # What was kept is what was measured: weights on the line between the two.
    start, kept, end = (checkpoint.load(f)["averages"] for f in (trained, done.path, tmp_path / "last.pt"))
    for name, value in end.items():
        if value.is_floating_point():
            torch.testing.assert_close(kept[name], start[name] + done.way * (value - start[name]))


def test_a_network_of_large_steps_is_tuned_in_small_ones() -> None:
    """A recipe whose batches came in parts that do not divide those of fine-tuning."""
    large = dataclasses.replace(RECIPE, batch=240, accumulate=30, epoch_items=240)
    recipe = presets.layered(large.to_dict(), GENTLE, {})
    assert (recipe.batch, recipe.accumulate) == (16, 1)
