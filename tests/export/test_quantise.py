from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from unmuffle.enhancers.neural.model import Model, load  # noqa: E402
from unmuffle.errors import ModelError, ParameterError  # noqa: E402
from unmuffle.export import graph, quantise  # noqa: E402
from unmuffle.train import nets  # noqa: E402

FACTS = {"name": "n", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = nets.make("dense", {"hidden": 48, "memory": 20}).eval()
    path = tmp_path_factory.mktemp("float") / "n.onnx"
    path.write_bytes(graph.to_bytes(net, FACTS))
    return path


def pairs(count: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    time = np.arange(32000) / 16000
    out = []
    for k in range(count):
        f = 120 + 40 * k
        voice = sum(np.sin(2 * np.pi * h * f * time) / h for h in range(1, 25)) * np.sin(2 * np.pi * 1.5 * time) ** 2
        clean = (0.1 * voice).astype(np.float32)
        out.append(((clean + 0.02 * rng.standard_normal(32000)).astype(np.float32), clean))
    return out


@pytest.mark.parametrize("recipe", quantise.RECIPES)
def test_weights_are_within_half_a_step(source: Path, recipe: str) -> None:
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(source)).graph.initializer}
    after_graph = onnx.load_from_string(quantise.to_int8(source.read_bytes(), recipe)).graph
    after = {t.name: onnx.numpy_helper.to_array(t) for t in after_graph.initializer}
    changed = [n for n in before if n not in after]
    # Two dense layers, and W and R of two LSTMs.
    dense = [n for n in changed if before[n].ndim == 2]
    recurrent = [n for n in changed if before[n].ndim == 3]
    assert len(dense) == 2
    assert len(recurrent) == (4 if recipe == "all" else 0)
    for name in changed:
        axis = next(n for n in after_graph.node if name in n.output).attribute[0].i
        scale = after[f"{name}.scale"].reshape([-1 if i == axis else 1 for i in range(before[name].ndim)])
        whole = after[f"{name}.int8"]
        assert whole.dtype == np.int8
        assert np.max(np.abs(whole * scale - before[name]) / scale) <= 0.5 + 1e-4
        # A scale for each output of the layer, all of which use the whole range.
        assert scale.size in (48, 4 * 48, 4 * 80 + 81)
        others = tuple(i for i in range(whole.ndim) if i != axis)
        assert (np.abs(whole.astype(int)).max(axis=others) == 127).all()


def test_a_quarter_of_the_size_and_nearly_the_same_output(source: Path, rng: np.random.Generator) -> None:
    content = quantise.to_int8(source.read_bytes())
    # Weights are most of the file; the graph and the metadata stay.
    assert len(content) < 0.45 * source.stat().st_size
    small, big = Model(content, "small"), load(source)
    assert small.facts.sha256 != big.facts.sha256
    x = rng.standard_normal((1, 50, 2, 161)).astype(np.float32)
    a, _ = small.run(x, small.initial())
    b, _ = big.run(x, big.initial())
    assert 10 * np.log10(np.sum((a - b) ** 2) / np.sum(b**2)) < -30
    # One frame at a time is still the same: nothing depends on the size of a call.
    state = small.initial()
    parts = []
    for i in range(50):
        y, state = small.run(x[:, i : i + 1], state)
        parts.append(y)
    assert np.max(np.abs(np.concatenate(parts, 1) - a)) < 1e-5


def test_accepted_when_nothing_is_lost(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    target = tmp_path / "small.onnx"
    taken = quantise.quantise(source, target, pairs())
    assert taken.recipe == "all"
    assert taken.good
    assert target.read_bytes() == taken.content
    assert load(target).facts.name == "n"
    assert "PESQ" in str(taken)


def test_refused_when_too_much_is_lost(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    target = tmp_path / "small.onnx"
    target.write_bytes(b"precious")
    # A limit that nothing can keep: it would have to gain half a PESQ point.
    monkeypatch.setattr(quantise, "PESQ_LOSS", -0.5)
    with pytest.raises(ModelError, match=r"loses too much.*all: \d+ kB, PESQ .*dense: \d+ kB, PESQ "):
        quantise.quantise(source, target, pairs(1))
    assert target.read_bytes() == b"precious"


def test_bad_input(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no pairs"):
        quantise.quantise(source, tmp_path / "x.onnx", [])
    with pytest.raises(ParameterError, match="recipe"):
        quantise.to_int8(source.read_bytes(), "some")


@pytest.mark.parametrize("recipe", quantise.RECIPES)
def test_parameters_that_the_graph_packs_itself(recipe: str) -> None:
    net = nets.make("bandwise", {"bands": 8, "width": 32}).eval()
    content = graph.to_bytes(net, FACTS)
    stored = onnx.load_from_string(quantise.to_int8(content, recipe)).graph.initializer
    small = {t.name.removesuffix(".int8").removeprefix("net.") for t in stored if t.name.endswith(".int8")}
    recurrent = {n for n in dict(net.named_parameters()) if ".time.weight" in n}
    assert (recurrent <= small) == (recipe == "all")
    assert {"blocks.0.blend.weight", "context.give.weight", "patch.weight", "taps.weight"} <= small
    a, b = (Model(c, "memory.onnx") for c in (content, quantise.to_int8(content, recipe)))
    x = 0.1 * np.random.default_rng(0).standard_normal((1, 20, 2, 161)).astype(np.float32)
    wanted, given = a.run(x, a.initial())[0], b.run(x, b.initial())[0]
    assert 10 * np.log10(np.sum((given - wanted) ** 2) / np.sum(wanted**2)) < -25


def test_a_matrix_for_each_feature_has_a_scale_for_each() -> None:
    torch.manual_seed(1)
    content = graph.to_bytes(nets.make("tiny", {"width": 16, "context": 12}).eval(), FACTS)
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(content).graph.initializer}
    after_graph = onnx.load_from_string(quantise.to_int8(content)).graph
    after = {t.name: onnx.numpy_helper.to_array(t) for t in after_graph.initializer}
    mixes = [n for n, w in before.items() if w.shape == (16, 16, 16) and n not in after]
    assert len(mixes) == 2  # of two blocks: 16 features, 16 rows to 16 rows
    for name in mixes:
        scale, whole = after[f"{name}.scale"], after[f"{name}.int8"]
        assert np.max(np.abs(whole * scale[:, None, None] - before[name]) / scale[:, None, None]) <= 0.5 + 1e-4
        assert (np.abs(whole.astype(int)).max(axis=(1, 2)) == 127).all()
