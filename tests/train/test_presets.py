"""Every preset goes the whole way: recipe, training, export, enhancer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from unmuffle.cli.train import PRESETS  # noqa: E402
from unmuffle.data.pool import Pool  # noqa: E402
from unmuffle.enhancers.base import UNBOUNDED, run_offline  # noqa: E402
from unmuffle.enhancers.registry import load  # noqa: E402
from unmuffle.errors import MediaNotFoundError, ParameterError, UnknownMethodError  # noqa: E402
from unmuffle.export.graph import export  # noqa: E402
from unmuffle.train import config, nets, presets  # noqa: E402
from unmuffle.train.loop import Trainer  # noqa: E402

# Small, so that the test is quick.
SIZES = {
    "dense": {"hidden": 16},
    "bandwise-low": {"width": 8, "context": 8, "bands": 8},
    "bandwise": {"width": 8, "context": 8, "bands": 8},
    "mask-lstm": {"hidden": 16},
    "unet": {"channels": 4, "depth": 3},
    "dccrn": {"width": 0.15, "hidden": 16},
    "conv-tasnet": {"N": 32, "B": 16, "H": 24, "X": 3, "R": 2, "Sc": 16},
    "demucs": {"H": 8},
    "wavenet": {"channels": 16, "layers": 5, "stacks": 2, "wide": 32, "narrow": 16},
}
SHORT = {"steps": 2, "batch": 2, "epoch_items": 4, "valid_items": 2, "keep": 1, "mix": {"seconds": 0.5}}
LOOK_AHEAD = {"mask-blstm", "conv-tasnet-offline", "wavenet"}


@pytest.mark.parametrize("name", presets.names())
def test_from_preset_to_enhancer(name: str, small_pool: Pool, tmp_path: Path, rng: np.random.Generator) -> None:
    torch.set_num_threads(1)
    table = presets.table(name)
    recipe = presets.layered(table, {**SHORT, "sizes": SIZES.get(table["net"], {})})
    Trainer(tmp_path, small_pool, recipe).run()
    export(tmp_path / "last.pt", tmp_path / "m.onnx")
    made = load("model", path=str(tmp_path / "m.onnx"))
    x = (0.1 * rng.standard_normal(4001)).astype(np.float32)
    y = run_offline(made, x, 16000)
    assert y.shape == x.shape
    assert np.isfinite(y).all()
    stream = made.stream(16000)
    assert (stream.latency_samples == UNBOUNDED) == (name in LOOK_AHEAD)
    if name not in LOOK_AHEAD:
        parts = [stream.process(x[i : i + 333]) for i in range(0, x.size, 333)]
        streamed = np.concatenate([*parts, stream.flush()])[stream.latency_samples :]
        assert np.max(np.abs(streamed - y)) < 1e-5


def test_every_network_has_a_preset_and_the_help_names_them() -> None:
    used = {presets.table(name)["net"] for name in presets.names()}
    assert used == set(nets.NETS) - {"array-mask"}  # which hears several channels, and has a script of its own
    assert sorted(PRESETS.replace("; of the literature:", ",").rstrip(".").split(", ")) == presets.names()
    for name in presets.names():
        assert presets.layered(presets.table(name)).steps > 1000


def test_later_layers_win(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("steps = 7\n[mix]\nseconds = 2.0\nsnr_low_db = 3.0\n")
    table = presets.assigned(["mix.seconds=4", "batch=16", "loss.si_sdr=0.1", "bf16=false"])
    recipe = presets.layered(presets.table("mask-blstm"), presets.read(tmp_path / "r.toml"), table)
    assert (recipe.steps, recipe.batch, recipe.bf16) == (7, 16, False)
    assert (recipe.mix.seconds, recipe.mix.snr_low_db, recipe.loss.si_sdr) == (4.0, 3.0, 0.1)
    assert recipe.sizes == {"bidirectional": True}
    # The sizes of one network are none of another.
    assert presets.layered(presets.table("mask-blstm"), {"net": "dense"}).sizes == {}
    assert presets.layered(recipe.to_dict()) == recipe


@pytest.mark.parametrize("text", ["steps", "=3", "a.b.c=3", "miks.seconds=2", "mix.=3"])
def test_assignments_of_another_form(text: str) -> None:
    with pytest.raises(ParameterError, match="key=value"):
        presets.assigned([text])


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownMethodError, match="did you mean 'conv-tasnet'"):
        presets.table("conv-tasnte")
    with pytest.raises(MediaNotFoundError, match="no such recipe"):
        presets.read(tmp_path / "r.toml")
    with pytest.raises(ParameterError, match="in parts"):
        presets.assigned(["mix=3", "mix.seconds=2"])


@pytest.mark.parametrize("metric", config.METRICS)
def test_each_metric_can_be_gone_by(metric: str, small_pool: Pool, tmp_path: Path) -> None:
    if metric in ("estoi", "pesq"):
        pytest.importorskip("pystoi" if metric == "estoi" else "pesq")
    table = {**SHORT, "valid_items": 4, "keep": 2, "metric": metric, "sizes": {"width": 8}, "mix": {"seconds": 1.5}}
    trainer = Trainer(tmp_path, small_pool, presets.layered(presets.table("live"), table))
    trainer.run()
    found = trainer.validate()
    assert np.isfinite(found[metric])
    # The list of the best is in order: losses from below, all else from above.
    best = [value for value, _ in trainer.best]
    assert best == sorted(best)
    assert best[-1] == pytest.approx(found["loss"] if metric == "loss" else -found[metric], rel=0.2)
