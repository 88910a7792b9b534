from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unmuffle.enhancers.neural.model import BLANK, FIELDS, PREFIX, digest, load
from unmuffle.errors import ModelError


def altered(source: Path, target: Path, changes: dict[str, str | None]) -> Path:
    """A copy with other metadata, and a digest that fits them."""
    import onnx

    graph = onnx.load(str(source))
    table = {p.key: p.value for p in graph.metadata_props}
    for key, value in changes.items():
        if value is None:
            del table[PREFIX + key]
        else:
            table[PREFIX + key] = value
    fixed = "sha256" not in changes
    if fixed:
        table[PREFIX + "sha256"] = BLANK
    onnx.helper.set_model_props(graph, table)
    content = graph.SerializeToString()
    if fixed:
        content = content.replace(BLANK.encode(), digest(content, BLANK).encode())
    target.write_bytes(content)
    return target


def test_facts(network_file: Path) -> None:
    facts = load(network_file).facts
    assert (facts.name, facts.licence, facts.sample_rate, facts.bins) == ("random", "MIT", 16000, 161)
    assert facts.latency == 160
    assert facts.channels == "linked"
    assert dict(facts.state)["h0"] == (1, 1, 24)
    assert dict(facts.state)["past"] == ("channels", 1, 4, 80)


def test_an_unaltered_copy_loads(network_file: Path, tmp_path: Path) -> None:
    copy = altered(network_file, tmp_path / "copy.onnx", {})
    assert load(copy).facts.name == "random"


def test_loaded_once(network_file: Path) -> None:
    assert load(network_file) is load(str(network_file))


@pytest.mark.parametrize("field", FIELDS)
def test_each_missing_field_is_named(network_file: Path, tmp_path: Path, field: str) -> None:
    changes: dict[str, str | None] = {field: None}
    with pytest.raises(ModelError, match=f"{PREFIX}{field} is missing"):
        load(altered(network_file, tmp_path / "bad.onnx", changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "2"),
        ("name", " "),
        ("licence", ""),
        ("sample_rate", "fast"),
        ("sample_rate", "16000.5"),
        ("sample_rate", "1000"),
        ("sample_rate", "8000"),
        ("window_ms", "nan"),
        ("window_ms", "30.0"),
        ("hop_ms", "0"),
        ("hop_ms", "7"),
        ("window", "triangle"),
        ("synthesis_ms", "20"),
        ("latency", "0"),
        ("bins", "257"),
        ("channels", "many"),
        ("causal", "perhaps"),
        ("domain", "time"),
        ("domain", "wave"),
        ("state", "["),
        ("state", "[1]"),
        ("state", '{"h0": [1, 0]}'),
        ("state", '{"h0": 5}'),
        ("data", "{"),
        ("recipe", "none"),
        ("scores", ""),
        ("sha256", "abc"),
        ("sha256", "f" * 64),
    ],
)
def test_each_wrong_field_is_refused(network_file: Path, tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(altered(network_file, tmp_path / "bad.onnx", {field: value}))
    assert "bad.onnx" in str(caught.value)


def test_state_that_is_not_the_graphs(network_file: Path, tmp_path: Path) -> None:
    shapes = {k: list(v) for k, v in load(network_file).facts.state}
    for change, word in (
        ({**shapes, "extra": [1]}, "no input 'extra'"),
        ({k: v for k, v in shapes.items() if k != "h0"}, "wants an input 'h0'"),
        ({**shapes, "h0": [1, 1, 25]}, "does not run"),
    ):
        with pytest.raises(ModelError, match=word):
            load(altered(network_file, tmp_path / f"{len(change)}{word[:4]}.onnx", {"state": json.dumps(change)}))


def test_files_that_are_no_networks(network_file: Path, tmp_path: Path) -> None:
    import onnx

    with pytest.raises(ModelError, match="no such network file"):
        load(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="folder.onnx"):
        (tmp_path / "folder.onnx").mkdir()
        load(tmp_path / "folder.onnx")
    content = network_file.read_bytes()
    for name, data in (("empty", b""), ("text", b"hello"), ("cut", content[: len(content) // 2])):
        (tmp_path / f"{name}.onnx").write_bytes(data)
        with pytest.raises(ModelError, match="no network that onnxruntime can load"):
            load(tmp_path / f"{name}.onnx")
    one = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    two = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    foreign = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [one], [two]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (tmp_path / "foreign.onnx").write_bytes(foreign.SerializeToString())
    with pytest.raises(ModelError, match="not one of ours"):
        load(tmp_path / "foreign.onnx")


def test_one_flipped_bit_is_noticed(network_file: Path, tmp_path: Path) -> None:
    content = bytearray(network_file.read_bytes())
    content[len(content) // 3] ^= 1  # in the middle of the weights: the graph still loads
    (tmp_path / "flipped.onnx").write_bytes(bytes(content))
    with pytest.raises(ModelError, match="damaged or altered"):
        load(tmp_path / "flipped.onnx")


def test_state_is_not_changed(network_file: Path, rng: np.random.Generator) -> None:
    model = load(network_file)
    state = model.initial()
    x = rng.standard_normal((1, 4, 2, 161)).astype(np.float32)
    first, after = model.run(x, state)
    assert not any(v.any() for v in state.values())
    second, _ = model.run(x, state)
    assert np.array_equal(first, second)
    third, _ = model.run(x, after)
    assert not np.array_equal(first, third)


def test_single_frames_in_bound_memory_are_the_same(network_file: Path, rng: np.random.Generator) -> None:
    model = load(network_file)
    x = rng.standard_normal((2, 8, 2, 161)).astype(np.float32)
    lane, other = model.lane(2), model.lane(2)
    state = held = model.initial(2)
    kept = None
    for i in range(8):
        wanted, state = model.run(x[:, i : i + 1], state)
        lane.given[...] = x[:, i : i + 1]
        held = lane.run(held)
        assert np.array_equal(lane.answer, wanted)
        assert all(np.array_equal(held[k], v) for k, v in state.items())
        if i == 3:
            kept = {k: v.copy() for k, v in held.items()}
    # A state from elsewhere is taken over, and stays as it is; another lane knows nothing of this one.
    assert kept is not None
    before = {k: v.copy() for k, v in kept.items()}
    for way in (lane, other):
        way.given[...] = x[:, 4:5]
        way.run(kept)
        assert all(np.array_equal(kept[k], v) for k, v in before.items())
    assert np.array_equal(lane.answer, other.answer)
