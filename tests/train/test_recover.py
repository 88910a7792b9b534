"""What was exported can be taken back, and learns on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from unmuffle.enhancers.neural.model import load, shipped  # noqa: E402
from unmuffle.errors import ModelError  # noqa: E402
from unmuffle.export import graph, quantise  # noqa: E402
from unmuffle.train import nets, recover  # noqa: E402
from unmuffle.train.config import TrainConfig  # noqa: E402

SIZES = {
    "dense": {"hidden": 16, "memory": 12, "low_bins": 30},
    "mask-lstm": {"hidden": 16, "layers": 2},
    "unet": {"channels": 4, "depth": 3},
    "wavenet": {"channels": 16, "layers": 5, "stacks": 2, "wide": 32, "narrow": 16},
}


def made(name: str, place: Path, sizes: dict[str, object] | None = None) -> torch.nn.Module:
    """A network with weights that all matter, exported."""
    torch.manual_seed(3)
    sizes = SIZES.get(name, {}) if sizes is None else sizes
    net = nets.make(name, sizes).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
    recipe = TrainConfig(net=name, sizes=sizes).to_dict()
    facts = {"name": name, "licence": "MIT", "data": {}, "recipe": recipe, "scores": {}}
    place.write_bytes(graph.to_bytes(net, facts))
    return net


@pytest.mark.parametrize("name", ["dense", "tiny", "mask-lstm", "wavenet"])
def test_all_weights_come_back(name: str, tmp_path: Path) -> None:
    net = made(name, tmp_path / "m.onnx")
    back, config = recover.from_model(load(tmp_path / "m.onnx"), tmp_path / "m.onnx")
    assert config.net == name
    for key, value in net.state_dict().items():
        assert torch.equal(back.state_dict()[key], value), key


@pytest.mark.parametrize("reach", [{}, {"taps": 4, "lags": 2}, {"steady": 7}])
def test_sums_that_were_taken_once_come_back_as_sums(reach: dict[str, int], tmp_path: Path) -> None:
    # `bandwise` adds two of its parameters when it is exported; what comes back does the same with other parts.
    net = made("bandwise", tmp_path / "m.onnx", {"width": 8, "context": 12, "bands": 8, **reach})
    back, _ = recover.from_model(load(tmp_path / "m.onnx"), tmp_path / "m.onnx")
    x = torch.randn(1, 1, 30, 161, 2)
    with torch.no_grad():
        a, b = (n(x, *n.initial())[0] for n in (net, back))
    assert torch.max(torch.abs(a - b)) < 1e-4 * torch.max(torch.abs(a))


def test_both_directions(tmp_path: Path) -> None:
    net = made("mask-lstm", tmp_path / "m.onnx", {"hidden": 16, "bidirectional": True})
    back, _ = recover.from_model(load(tmp_path / "m.onnx"), tmp_path / "m.onnx")
    assert all(torch.equal(back.state_dict()[k], v) for k, v in net.state_dict().items())


def test_eight_bit_weights_are_multiplied_out(tmp_path: Path) -> None:
    net = made("dense", tmp_path / "m.onnx", {"hidden": 48, "memory": 12})
    (tmp_path / "s.onnx").write_bytes(quantise.to_int8((tmp_path / "m.onnx").read_bytes()))
    back, _ = recover.from_model(load(tmp_path / "s.onnx"), tmp_path / "s.onnx")
    weights = net.state_dict()["encode.weight"].numpy()
    rounded = back.state_dict()["encode.weight"].numpy()
    step = np.abs(weights).max(axis=1, keepdims=True) / 127
    assert 0 < np.max(np.abs(rounded - weights) / step) <= 0.5 + 1e-3


def test_the_shipped_network_can_learn_on() -> None:
    model = shipped("live")
    net, config = recover.from_model(model, model.path)
    assert config.net in nets.NETS
    assert sum(p.numel() for p in net.parameters()) > 50_000


def test_what_cannot_be_taken_apart(tmp_path: Path) -> None:
    made("unet", tmp_path / "m.onnx")  # its batch norms are part of its convolutions now
    with pytest.raises(ModelError, match="give the checkpoint"):
        recover.from_model(load(tmp_path / "m.onnx"), tmp_path / "m.onnx")


@pytest.mark.parametrize("recipe", ["{}", "[]", '{"net": "nonsense"}', '{"net": "dense", "sizes": {"x": 1}}'])
def test_files_that_do_not_say_what_they_are(recipe: str, tmp_path: Path) -> None:
    from unmuffle.enhancers.neural.model import BLANK, PREFIX, digest

    made("dense", tmp_path / "m.onnx")
    altered = onnx.load(str(tmp_path / "m.onnx"))
    table = {p.key: p.value for p in altered.metadata_props}
    onnx.helper.set_model_props(altered, {**table, f"{PREFIX}recipe": recipe, f"{PREFIX}sha256": BLANK})
    content = altered.SerializeToString()
    (tmp_path / "a.onnx").write_bytes(content.replace(BLANK.encode(), digest(content, BLANK).encode()))
    with pytest.raises(ModelError, match="give the checkpoint"):
        recover.from_model(load(tmp_path / "a.onnx"), tmp_path / "a.onnx")


def test_weights_of_another_network_are_noticed(tmp_path: Path) -> None:
    made("dense", tmp_path / "m.onnx")
    other = onnx.load(str(tmp_path / "m.onnx"))
    for tensor in other.graph.initializer:
        if tensor.name.endswith("decode.bias"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 0.1, tensor.name))
    (tmp_path / "o.onnx").write_bytes(other.SerializeToString())
    with pytest.raises(ModelError, match="could not be recovered"):
        recover.from_model(load(tmp_path / "m.onnx"), tmp_path / "o.onnx")
