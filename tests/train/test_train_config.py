from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from unmuffle.data.mix import MixConfig
from unmuffle.errors import MediaNotFoundError, ParameterError, UnknownParameterError
from unmuffle.train import config
from unmuffle.train.config import TrainConfig
from unmuffle.train.losses import LossWeights


def test_round_trip(tmp_path: Path) -> None:
    recipe = TrainConfig(
        net="dense",
        sizes={"hidden": 64},
        steps=77,
        batch=4,
        epoch_items=8,
        mix=MixConfig(seconds=1.5),
        loss=LossWeights(l1=0.3),
    )
    path = tmp_path / "r.toml"
    path.write_text(config.to_toml(recipe), encoding="utf-8")
    assert config.load(path) == recipe
    assert config.from_dict(recipe.to_dict()) == recipe


def test_whole_numbers_are_fine_for_floats(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("learning_rate = 1\n[mix]\nseconds = 2\n")
    recipe = config.load(tmp_path / "r.toml")
    assert recipe.learning_rate == 1.0
    assert recipe.mix.seconds == 2.0


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("learning_rat = 1.0", UnknownParameterError, "learning_rate"),
        ("[mix]\nsnr_lo_db = 1.0", UnknownParameterError, "snr_low_db"),
        ("[loss]\nl2 = 1.0", UnknownParameterError, "l1"),
        ("steps = 0", ParameterError, "steps"),
        ("steps = 1.5", ParameterError, "steps"),
        ("bf16 = 1", ParameterError, "bf16"),
        ("batch = 3\nepoch_items = 8", ParameterError, "multiple"),
        ("accumulate = 0", ParameterError, "accumulate"),
        ("opinion_every = 0", ParameterError, "opinion_every"),
        ("batch = 8\naccumulate = 3", ParameterError, "multiple"),
        ("learning_rate = -1.0", ParameterError, "learning_rate"),
        ('schedule = "linear"', ParameterError, "schedule"),
        ("patience = 0", ParameterError, "patience"),
        ("clip_norm = 0.0", ParameterError, "clip_norm"),
        ("mix = 3", ParameterError, "table"),
        ("sizes = 3", ParameterError, "table"),
        ("steps = ", ParameterError, "TOML"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str, kind: type[Exception], word: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(kind, match=word):
        config.load(tmp_path / "r.toml")


def test_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="no such recipe"):
        config.load(tmp_path / "none.toml")
