"""Several streams in one call of the network: each gets what it would get alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unmuffle.enhancers.base import together
from unmuffle.enhancers.neural.live import Live
from unmuffle.enhancers.neural.model import Model, load
from unmuffle.enhancers.neural.network import NeuralEnhancer
from unmuffle.errors import ModelError

CLOSE = 1e-6  # of the input: sums over many rows are added up in another order
"""Of the largest sample: a product of many rows is added up in another order than one of few."""


@pytest.fixture(scope="module", params=["small", "far", "steady", "shipped"])
def enhancer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NeuralEnhancer | Live:
    if request.param == "shipped":
        return Live()
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from unmuffle.export.graph import to_bytes
    from unmuffle.train.nets.bandwise import Bandwise, BandwiseConfig

    torch.manual_seed(5)
    reach = {"small": {}, "far": {"taps": 4, "lags": 2}, "steady": {"steady": 5}}[request.param]
    net = Bandwise(BandwiseConfig(bands=8, width=12, blocks=2, context=0, memory=6, **reach)).eval()
    with torch.no_grad():
        net.taps.weight.mul_(5)
    path = tmp_path_factory.mktemp("streams") / "bandwise.onnx"
    facts = {"name": "small", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}}
    path.write_bytes(to_bytes(net, facts))
    return NeuralEnhancer(path=str(path))


def sounds(count: int, rate: int, seconds: float = 0.6) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    t = np.arange(round(seconds * rate)) / rate
    return [
        ((0.2 * np.sin(2 * np.pi * (150 + 40 * k) * t) + 0.1 * rng.standard_normal(len(t))) * 0.5**k).astype(np.float32)
        for k in range(count)
    ]


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_side_by_side_is_alone(enhancer, rate: int) -> None:
    """Streams come late and pause; their levels are a factor of 16 apart, so that a mix-up of rows would be seen."""
    signals, hop = sounds(5, rate), rate // 100
    streams = [enhancer.stream(rate) for _ in signals]
    assert all(s.shares for s in streams)
    at, parts, turn = [0] * 5, [[] for _ in signals], 0
    while any(a < len(x) for a, x in zip(at, signals, strict=True)):
        chosen = [i for i in range(5) if at[i] < len(signals[i]) and turn >= 7 * i and (turn + i) % 5]
        works = [streams[i].processing(signals[i][at[i] : at[i] + hop]) for i in chosen]
        for i, y in zip(chosen, together(works), strict=True):
            assert isinstance(y, np.ndarray), y
            parts[i].append(y)
            at[i] += hop
        turn += 1
    for x, part in zip(signals, parts, strict=True):
        wanted = enhancer.stream(rate).process(x)
        assert np.max(np.abs(np.concatenate(part) - wanted)) <= CLOSE * np.max(np.abs(x))


def test_it_is_one_call(enhancer, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    real = Model.run_streams
    monkeypatch.setattr(Model, "run_streams", lambda self, x, states: rows.append(x.shape[1]) or real(self, x, states))
    signals = sounds(4, 16000, 0.2)
    streams = [enhancer.stream(16000) for _ in signals]
    for start in range(0, 3200, 160):
        together([s.processing(x[start : start + 160]) for s, x in zip(streams, signals, strict=True)])
    assert rows == [4] * 19  # the first frame, which makes its state, each takes for itself


def test_a_stream_goes_on_alone_where_it_was(enhancer) -> None:
    x, other = sounds(2, 16000)
    stream, beside = enhancer.stream(16000), enhancer.stream(16000)
    parts = []
    for k, start in enumerate(range(0, len(x), 160)):
        if k // 10 % 2:
            parts.append(stream.process(x[start : start + 160]))
        else:
            works = [s.processing(y[start : start + 160]) for s, y in ((stream, x), (beside, other))]
            parts.append(together(works)[0])
        if k == 25:
            saved = stream.state()
            stream.process(other[:1600])  # what happens after a copy does not reach it
            stream.restore(saved)
    wanted = enhancer.stream(16000).process(x)
    assert np.max(np.abs(np.concatenate(parts) - wanted)) <= CLOSE * np.max(np.abs(x))


def test_what_cannot_be_side_by_side_stays_alone(enhancer, network_file: Path) -> None:
    assert not enhancer.stream(16000, 2).shares  # a pair shares its gains
    old = NeuralEnhancer(path=str(network_file))  # a file without an axis for streams
    assert not old.facts.streams
    assert not old.stream(16000).shares
    x = sounds(3, 16000, 0.2)
    streams = [old.stream(16000) for _ in x]
    for y, each in zip(together([s.processing(a) for s, a in zip(streams, x, strict=True)]), x, strict=True):
        np.testing.assert_array_equal(y, old.stream(16000).process(each))


@pytest.mark.parametrize("axes", ['{"h0": 1}', "[1]", "3", "{"])
def test_axes_that_are_none(axes: str, network_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from test_network_file import altered

    with pytest.raises(ModelError, match=r"unmuffle\.streams"):
        load(altered(network_file, tmp_path / "axes.onnx", {"streams": axes}))
