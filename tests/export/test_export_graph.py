from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from unmuffle.enhancers.neural.model import Model, load  # noqa: E402
from unmuffle.errors import ModelError, OutputError  # noqa: E402
from unmuffle.export import graph  # noqa: E402
from unmuffle.train import checkpoint, nets, parity  # noqa: E402
from unmuffle.train.config import TrainConfig  # noqa: E402
from unmuffle.train.nets import forms  # noqa: E402

FACTS = {"name": "n", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}}
SIZES = {
    "dense": {"hidden": 16, "memory": 12, "low_bins": 30},
    "mask-lstm": {"hidden": 16, "layers": 2},
    "unet": {"channels": 4, "depth": 3},
    "dccrn": {"width": 0.15, "hidden": 16},
    "conv-tasnet": {"N": 32, "B": 16, "H": 24, "X": 3, "R": 2, "Sc": 16},
    "demucs": {"H": 8},
    "wavenet": {"channels": 16, "layers": 5, "stacks": 2, "wide": 32, "narrow": 16},
}


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(2)
    net = nets.make(name, SIZES.get(name, {})).eval()
    if name.startswith("dense"):
        with torch.no_grad():
            net.decode.weight.mul_(10)
    return net


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    net = network("dense")
    averages = {k: v * 0.9 for k, v in net.state_dict().items()}
    recipe = TrainConfig(net="dense", sizes=SIZES["dense"]).to_dict()
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"recipe": recipe, "net": net.state_dict(), "averages": averages, "step": 123})
    return path


@pytest.mark.parametrize("name", sorted(nets.NETS))
def test_every_network_exports_and_streams(name: str) -> None:
    net = network(name)
    model = Model(graph.to_bytes(net, FACTS), "memory.onnx")
    found = parity.prove(net, model)
    assert found.torch < 1e-5
    assert found.streamed < 1e-5
    assert found.size_bytes == 4 * sum(p.numel() for p in net.parameters())
    assert "PyTorch against ONNX" in str(found)


def test_a_network_that_looks_ahead_runs_whole(rng: np.random.Generator, tmp_path: Path) -> None:
    from unmuffle.enhancers.base import UNBOUNDED, run_offline
    from unmuffle.enhancers.neural.network import NeuralEnhancer

    torch.manual_seed(0)
    net = nets.make("mask-lstm", {"hidden": 16, "bidirectional": True}).eval()
    path = tmp_path / "both.onnx"
    path.write_bytes(graph.to_bytes(net, FACTS))
    model = load(path)
    assert not model.facts.causal
    assert parity.prove(net, model).torch < 1e-5
    enhancer = NeuralEnhancer(path=str(path))
    assert enhancer.stream(16000).latency_samples == UNBOUNDED
    x = (0.1 * rng.standard_normal((2, 9000))).astype(np.float32)
    y = run_offline(enhancer, x, 16000)
    assert y.shape == x.shape
    # A mask in [0, 1] of a wire-like network: what comes out is aligned with what went in.
    lag = np.argmax(np.correlate(y[0, 2000:6000], x[0, 2000:6000], "full")) - 3999
    assert lag == 0


@torch.no_grad()
def test_a_checkpoint_becomes_a_file(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    model = graph.export(saved, target, licence="CC BY 4.0", data={"speech": "x"}, scores={"pesq": 1.5})
    facts = load(target).facts
    assert facts.sha256 == model.facts.sha256
    assert (facts.name, facts.licence, facts.data, facts.scores) == (
        "dense",
        "CC BY 4.0",
        {"speech": "x"},
        {"pesq": 1.5},
    )
    assert facts.recipe["steps_done"] == 123
    assert facts.recipe["sizes"]["hidden"] == 16
    # The averaged weights are in it, not the last ones.
    net = network("dense")
    net.load_state_dict({k: v * 0.9 for k, v in net.state_dict().items()})
    x = torch.randn(1, 5, 2, 161)
    form = net.streaming()
    wanted = form(x, *form.initial(1))[0].numpy()
    given, _ = load(target).run(x.numpy(), model.initial())
    assert np.max(np.abs(given - wanted)) < 1e-5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "m.onnx"]


def test_a_plain_export_equals_the_arranged_one() -> None:
    net = network("dense")
    plain = forms.Planar(net).eval()
    x = torch.randn(2, 6, 2, 161)
    with torch.no_grad():
        a = plain(x, *plain.initial(2))[0]
        form = net.streaming()
        b = form(x, *form.initial(2))[0]
    assert torch.max(torch.abs(a - b)) < 1e-5


def test_a_graph_that_differs_is_refused() -> None:
    net = network("dense")
    model = Model(graph.to_bytes(net, FACTS), "memory.onnx")
    with torch.no_grad():
        net.decode.bias.add_(0.01)
    with pytest.raises(ModelError, match="differs from the network"):
        parity.prove(net, model)


def test_streams_that_get_the_memory_of_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state whose numbers lie elsewhere than said comes back to its stream while the same ones come, in order."""
    from unmuffle.train.nets.bandwise import BINS, Bandwise, BandwiseConfig, BandwiseStream

    class Mixed(BandwiseStream):
        """Takes the frames of all streams for those of each moment, and says that they are those of each stream."""

        @property
        def streams(self) -> dict[str, int]:
            return {**super().streams, "past": 1}

        def forward(self, spectrum: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
            level, past, *rest = state
            kept = self.net.config.kept
            out, level, past, *rest = super().forward(spectrum, level, past.reshape(spectrum.shape[0], kept, -1, BINS), *rest)
            return (out, level, past.reshape(spectrum.shape[0], -1, 2, BINS), *rest)

    torch.manual_seed(0)
    net = Bandwise(BandwiseConfig(bands=6, width=8, context=0, memory=6, taps=3)).eval()
    with torch.no_grad():
        net.taps.weight.mul_(5)
    parity.prove(net, Model(graph.to_bytes(net, FACTS), "memory.onnx"))
    monkeypatch.setattr(Bandwise, "streaming", lambda self: Mixed(self))
    model = Model(graph.to_bytes(net, FACTS), "memory.onnx")
    with pytest.raises(ModelError, match="differs from the network"):
        parity.prove(net, model)


def test_what_cannot_be_exported(saved: Path, tmp_path: Path) -> None:
    state = checkpoint.load(saved)
    state["recipe"]["sizes"] = {"hidden": 24}
    checkpoint.save(tmp_path / "other.pt", {k: v for k, v in state.items() if k != "format"})
    with pytest.raises(ModelError, match="another network"):
        graph.export(tmp_path / "other.pt", tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(b"precious")
    with pytest.raises(ModelError):
        graph.export(tmp_path / "other.pt", tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"precious"
    with pytest.raises(OutputError, match="could not be written"):
        graph.export(saved, tmp_path / "no" / "such" / "folder.onnx")


def test_a_file_is_renewed_with_its_weights_and_facts(tmp_path: Path) -> None:
    from unmuffle.train.recover import from_model

    net = nets.make("bandwise", {"bands": 6, "width": 8, "context": 12})
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in net.parameters():  # biases too: they are added up on their way through the graph
            parameter.add_(0.1 * torch.randn_like(parameter))
    recipe = TrainConfig(net="bandwise", sizes={"bands": 6, "width": 8, "context": 12}).to_dict()
    old, new = tmp_path / "old.onnx", tmp_path / "new.onnx"
    old.write_bytes(graph.to_bytes(net.eval(), {**FACTS, "recipe": recipe, "scores": {"pesq": 2.0}}))
    # Every parameter is in the file as it was trained, under its name.
    stored = {t.name.removeprefix("net."): t for t in onnx.load(str(old)).graph.initializer}
    for name, value in net.state_dict().items():
        assert np.array_equal(onnx.numpy_helper.to_array(stored[name]), value.numpy())
    model = graph.renew(old, new)
    assert model.facts.scores == {"pesq": 2.0}
    assert new.read_bytes() == old.read_bytes()
    again, _ = from_model(model, new)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in net.state_dict().items())


def test_silence_and_faint_bins_are_treated_alike_in_both_forms() -> None:
    # Where logarithms could part from powers.
    net = nets.make("bandwise", {"bands": 6, "width": 8, "context": 12}).eval()
    x = torch.randn(2, 40, 2, 161)
    x[:, 10:20] = 0.0
    x[:, 20:30] *= 1e-7
    form = net.streaming()
    with torch.no_grad():
        a = forms.Planar(net)(x, *net.initial(1, 2))[0]
        b = form(x, *form.initial(2))[0]
    for part in (slice(0, 10), slice(20, 30), slice(30, 40)):
        assert torch.max(torch.abs(a[:, part] - b[:, part])) < 1e-5 * torch.max(torch.abs(a[:, part]))
    assert not b[:, 11:20].any()
