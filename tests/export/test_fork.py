"""Two graphs in one file: which of them runs, and that weights are there once."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from unmuffle.enhancers.neural.model import Model  # noqa: E402
from unmuffle.export import graph  # noqa: E402
from unmuffle.export.cost import macs_per_second  # noqa: E402
from unmuffle.export.fork import alone, fork, walk  # noqa: E402
from unmuffle.train import nets  # noqa: E402
from unmuffle.train.recover import from_model  # noqa: E402

FACTS = {"name": "n", "licence": "MIT", "data": {}, "recipe": {"net": "bandgate", "sizes": {}}, "scores": {}}


def plus(value: float, own: float = 0.0) -> onnx.ModelProto:
    """y = x + common + own, ``value`` of it from a weight that two of them share."""
    weights = [helper.make_tensor("common", TensorProto.FLOAT, [], [value])]
    nodes = [helper.make_node("Add", ["x", "common"], ["y" if not own else "t"])]
    if own:
        weights.append(helper.make_tensor("own", TensorProto.FLOAT, [], [own]))
        nodes.append(helper.make_node("Add", ["t", "own"], ["y"]))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in ("x", "y")]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_size_of_the_input_chooses() -> None:
    import onnxruntime

    both = fork(plus(1.0, own=10.0), plus(1.0), "x", 3)
    onnx.checker.check_model(both)
    assert [t.name for t in both.graph.initializer] == ["common", "own", "size_alone"]
    session = onnxruntime.InferenceSession(both.SerializeToString(), providers=["CPUExecutionProvider"])
    for count, expected in ((1, 1.0), (3, 11.0), (4, 1.0)):
        (y,) = session.run(None, {"x": np.zeros(count, np.float32)})
        assert y.tolist() == [expected] * count


def test_one_branch_for_the_whole() -> None:
    import onnxruntime

    both = fork(plus(1.0, own=10.0), plus(1.0), "x", 3)
    assert [n.op_type for n in walk(both.graph)] == ["Shape", "ReduceProd", "Equal", "If", "Add", "Add", "Add"]
    assert alone(both.graph)
    assert not alone(both.graph)
    session = onnxruntime.InferenceSession(both.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros(5, np.float32)})[0].tolist() == [11.0] * 5


def file(sizes: dict[str, int]) -> tuple[torch.nn.Module, bytes]:
    torch.manual_seed(5)
    net = nets.make("bandgate", sizes).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
    return net, graph.to_bytes(net, {**FACTS, "recipe": {"net": "bandgate", "sizes": sizes}})


def test_weights_are_in_the_file_once() -> None:
    net, content = file({})
    weights = {t.name: t for t in onnx.load_from_string(content).graph.initializer}
    for name, value in net.named_parameters():
        assert np.array_equal(onnx.numpy_helper.to_array(weights[f"net.{name}"]), value.detach().numpy())
    # What is no weight: two graphs of some hundred operators, and the matrices of features and filter.
    assert len(content) < 4 * sum(p.numel() for p in net.parameters()) + 80_000


def test_both_graphs_are_one_network() -> None:
    """Frames of one stream alone, among others, and all at once; one and two channels."""
    net, content = file({"bands": 8, "width": 12, "units": 20, "layers": 2})
    model = Model(content, "memory.onnx")
    rng = np.random.default_rng(0)
    for channels in (1, 2):
        x = rng.standard_normal((channels, 12, 2, 161)).astype(np.float32)
        whole, after = model.run(x, model.initial(channels))
        with torch.no_grad():
            given = torch.from_numpy(x).transpose(2, 3).unsqueeze(0)
            wanted = net(given, *net.initial(1, channels))[0][0].transpose(2, 3).numpy()
        assert np.max(np.abs(whole - wanted)) < 1e-5
        state, parts = model.initial(channels), []
        for i in range(12):
            y, state = model.run(x[:, i : i + 1], state)
            parts.append(y)
        assert np.max(np.abs(np.concatenate(parts, axis=1) - whole)) < 1e-5
        for name, value in after.items():
            assert np.max(np.abs(state[name] - value)) < 1e-5
        lane, state = model.lane(channels), model.initial(channels)
        for i in range(12):
            lane.given[...] = x[:, i : i + 1]
            state = lane.run(state)
            assert np.max(np.abs(lane.answer - whole[:, i : i + 1])) < 1e-5


def test_a_stream_of_single_frames_is_left_with_their_graph() -> None:
    _, content = file({"bands": 8})
    model = Model(content, "memory.onnx")
    assert model.facts.alone
    model.lane(1)
    with pytest.raises(Exception, match="(?i)invalid dimensions|expected"):  # other lengths are no longer known to it
        model._single.run(None, {"spectrum": np.zeros((1, 2, 2, 161), np.float32), **model.initial()})


def test_what_a_frame_costs_is_counted_in_its_own_graph() -> None:
    bands, width, units, layers = 8, 12, 20, 2
    _, content = file({"bands": bands, "width": width, "units": units, "layers": layers})
    clues = 161 * (5 * 12 + 3 * 5 + 5 * 3 + 2 * 5) + 5 * 2
    patches = 40 * width * 5 * 9 + bands * 40 * width
    mixing = layers * (2 * bands * width * units + bands * bands * units + bands * units * width)
    ends = width * 40 * bands + width * 40 * 4 * 8 + 161 * 2 * 8
    expected = 100 * (clues + patches + mixing + ends)
    assert macs_per_second(Model(content, "m"), content) == pytest.approx(expected, rel=0.02)


def test_weights_come_back_to_learn_on(tmp_path) -> None:  # type: ignore[no-untyped-def]
    net, content = file({"bands": 8})
    (tmp_path / "m.onnx").write_bytes(content)
    back, _ = from_model(Model(content, "m"), tmp_path / "m.onnx")
    for key, value in net.state_dict().items():
        assert torch.equal(back.state_dict()[key], value), key
