from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from unmuffle.data.mix import MixConfig  # noqa: E402
from unmuffle.data.pool import Pool  # noqa: E402
from unmuffle.train import loop, nets  # noqa: E402
from unmuffle.train.config import TrainConfig  # noqa: E402
from unmuffle.train.precision import computes_bfloat16, in_single, wrong_layers  # noqa: E402


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_tile": True, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True}, False),
    ],
)
def test_what_a_processor_says(has: dict[str, bool], wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert computes_bfloat16(torch.device("cpu")) is wanted


def test_where_it_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert computes_bfloat16(torch.device("cpu"))


class WrongOutput(nn.Conv1d):
    """Wrong in bfloat16 alone, as some of oneDNN's convolutions are on processors with AMX."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y.roll(1, 1) if torch.is_autocast_enabled("cpu") else y


class NoNumber(nn.Conv1d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y * torch.inf * 0.0 if torch.is_autocast_enabled("cpu") else y


class _Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        return 0.5 * slope


class WrongGradient(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return _Half.apply(y) if torch.is_autocast_enabled("cpu") else y


class Layers(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.time, self.second = first, nn.BatchNorm1d(6), nn.LSTM(6, 5), second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.norm(self.first(x).float()).permute(2, 0, 1)
        state = rows.new_zeros((1, rows.shape[1], 5))
        return self.second(self.time(rows, (state, state))[0])


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (nn.Conv1d, nn.Linear, []),
        (WrongOutput, nn.Linear, ["first"]),
        (NoNumber, nn.Linear, ["first"]),
        (nn.Conv1d, WrongGradient, ["second"]),
        (WrongOutput, WrongGradient, ["first", "second"]),
    ],
)
def test_wrong_layers_are_found(first, second, wanted: list[str]) -> None:
    torch.manual_seed(1)
    net = Layers(first(4, 6, 3), second(5, 7)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    x = torch.randn(3, 4, 40, generator=torch.Generator().manual_seed(2))
    assert wrong_layers(net, lambda: net(x)) == wanted
    assert net.training
    assert net.time.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_layer_in_single_precision() -> None:
    torch.manual_seed(3)
    net = Layers(WrongOutput(4, 6, 3), nn.Linear(5, 7))
    x = torch.randn(2, 4, 40)
    right = net.first(x)
    names = list(net.state_dict())
    for module in (net.first, net.time):  # plain tensors, and tuples of them
        in_single(module)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net.first(x.bfloat16().float()), net.first(x.bfloat16()))
        assert torch.equal(net.first(x), right)
        rows = torch.randn(9, 2, 6).bfloat16()
        state = torch.zeros(1, 2, 5).bfloat16()
        out, (h, _) = net.time(rows, (state, state))
    assert out.dtype == h.dtype == torch.float32
    assert list(net.state_dict()) == names


RECIPE = TrainConfig(
    net="bandwise",
    sizes={"bands": 8, "width": 16, "blocks": 1, "context": 8, "memory": 10, "steady": 20},
    steps=2,
    batch=2,
    epoch_items=4,
    valid_items=2,
    mix=MixConfig(seconds=0.5),
)


@pytest.mark.parametrize("sizes", [{}, {"taps": 3, "steady": 100}], ids=["plain", "as live"])
def test_bfloat16_does_what_single_precision_does(
    sizes: dict[str, int], tmp_path: Path, small_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whatever this machine computes: wrong layers are found and kept out, or none is wrong."""
    monkeypatch.setattr(loop, "computes_bfloat16", lambda device: True)
    trainer = loop.Trainer(tmp_path / "run", small_pool, replace(RECIPE, sizes=sizes))
    assert trainer.bfloat16
    with torch.no_grad():
        trainer.net.taps.weight.normal_(0.0, 0.2)  # so that what the network sees decides what it gives
        x = 0.1 * torch.randn(2, 8000)
        mixed = trainer.enhance(x)
        single = nets.through(trainer.api, trainer.stft, x)
    assert (mixed - single).norm() < 0.05 * single.norm()


def test_the_log_names_wrong_layers(
    tmp_path: Path, small_pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "computes_bfloat16", lambda device: True)
    monkeypatch.setattr(loop, "wrong_layers", lambda net, run: ["patch", "blocks.0.time"])
    with caplog.at_level(logging.WARNING, "unmuffle.train"):
        trainer = loop.Trainer(tmp_path / "run", small_pool, RECIPE)
    assert "patch, blocks.0.time" in caplog.text
    trainer.run(max_steps=1)
    again = loop.Trainer(tmp_path / "run", small_pool)  # its weights fit
    again.run()
    assert again.finished
