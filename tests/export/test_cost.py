from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from unmuffle.enhancers.neural.model import Model  # noqa: E402
from unmuffle.export import graph  # noqa: E402
from unmuffle.export.cost import macs_per_second  # noqa: E402
from unmuffle.train import nets  # noqa: E402

FACTS = {"name": "n", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}}


def counted(name: str, sizes: dict[str, object]) -> float:
    torch.manual_seed(0)
    content = graph.to_bytes(nets.make(name, sizes).eval(), FACTS)
    return macs_per_second(Model(content, "memory.onnx"), content)


def test_recurrent_and_dense_layers() -> None:
    h = 24
    # 100 frames a second; two LSTMs, and the layer of the mask.
    assert counted("mask-lstm", {"hidden": h}) == pytest.approx(100 * (4 * h * (161 + h) + 4 * h * 2 * h + h * 161))


def test_both_directions_count_twice() -> None:
    h = 16
    sizes = {"hidden": h, "layers": 1, "bidirectional": True}
    assert counted("mask-lstm", sizes) == pytest.approx(100 * (2 * 4 * h * (161 + h) + 2 * h * 161))


def test_convolutions() -> None:
    from unmuffle.train.nets.rced import FILTERS, LAST_WIDTH, WIDTHS

    frames = 8
    products = sum(o * i * w for o, i, w in zip(FILTERS, (frames, *FILTERS), WIDTHS, strict=False))
    products += FILTERS[-1] * LAST_WIDTH
    # Each of 161 bins, with zeros beyond the edges counted too; 2 % for how the frames are gathered.
    assert counted("r-ced", {}) == pytest.approx(100 * 161 * products, rel=0.02)
