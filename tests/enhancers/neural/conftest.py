"""Network files with random weights that matter, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

FACTS = {"name": "random", "licence": "MIT", "data": {"speech": "none"}, "recipe": {}, "scores": {}}


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small causal network that changes its input."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from unmuffle.export.graph import to_bytes
    from unmuffle.train.nets.dense import Dense, DenseConfig

    torch.manual_seed(1)
    net = Dense(DenseConfig(hidden=24, memory=20)).eval()
    with torch.no_grad():
        net.decode.weight.mul_(4)
        net.decode.bias[4 * 80 :].mul_(0.5)  # less gain at the upper edge
    path = tmp_path_factory.mktemp("network") / "random.onnx"
    path.write_bytes(to_bytes(net, FACTS))
    return path


@pytest.fixture(scope="session")
def single_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows one channel only: a leaky average of the spectrum, as its own gain."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from torch import Tensor, nn

    from unmuffle.export.graph import to_bytes
    from unmuffle.signal.stft import StftSpec

    class Leaky(nn.Module):
        domain, spec, sample_rate, causal, linked = "spectrum", StftSpec(), 16000, True, False

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.5))

        def state_names(self) -> list[str]:
            return ["before"]

        def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
            return [torch.zeros(batch, channels, 1, 161, 2)]

        def forward(self, spectrum: Tensor, before: Tensor) -> tuple[Tensor, ...]:
            joined = torch.cat((before, spectrum), 2)
            return 0.5 * self.gain * (spectrum + joined[:, :, :-1]), joined[:, :, -1:]

    path = tmp_path_factory.mktemp("single") / "leaky.onnx"
    path.write_bytes(to_bytes(Leaky(), {**FACTS, "name": "leaky"}))
    return path
