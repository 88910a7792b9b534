"""The network of bands at run time: the same as in training, at any rate, channels together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from unmuffle.enhancers.base import run_offline  # noqa: E402
from unmuffle.enhancers.neural.model import BLANK, Model, digest, load  # noqa: E402
from unmuffle.enhancers.neural.network import NeuralEnhancer  # noqa: E402
from unmuffle.enhancers.neural.tiny import voice_activity  # noqa: E402
from unmuffle.errors import ModelError  # noqa: E402
from unmuffle.export.graph import to_bytes  # noqa: E402
from unmuffle.train import nets  # noqa: E402
from unmuffle.train.nets.tiny import BANDS, Tiny  # noqa: E402
from unmuffle.train.stft import Stft  # noqa: E402

FACTS = {"name": "bands", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}}


def net() -> Tiny:
    torch.manual_seed(3)
    made = nets.make("tiny", {"width": 12, "context": 16}).eval()
    assert isinstance(made, Tiny)
    with torch.no_grad():
        made.core.out.weight.mul_(6)
        made.core.out.bias.zero_()  # gains that move, and half of the comb
    return made


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "bands.onnx"
    path.write_bytes(to_bytes(net(), FACTS))
    return path


def speech(rng: np.random.Generator, rate: int = 16000, seconds: float = 0.8) -> np.ndarray:
    t = np.arange(int(rate * seconds)) / rate
    x = sum(np.cos(2 * np.pi * 150 * k * t + k * k) / k for k in range(1, 20)) * (1 + np.sin(2 * np.pi * 3 * t))
    return (0.05 * x + 0.02 * rng.standard_normal(len(t))).astype(np.float32)


def test_run_time_is_what_was_trained(file: Path, rng: np.random.Generator) -> None:
    x = speech(rng)
    made = net()
    with torch.no_grad():
        trained = nets.through(made, Stft(made.spec.at(16000)), torch.from_numpy(x)[None])[0].numpy()
    out = run_offline(NeuralEnhancer(str(file)), x, 16000)
    np.testing.assert_allclose(out, trained, atol=1e-5)
    assert np.std(out - x) > 0.1 * np.std(x)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_any_split_gives_the_same_samples(file: Path, rate: int, rng: np.random.Generator) -> None:
    x = speech(rng, rate, 0.4)
    whole = run_offline(NeuralEnhancer(str(file)), x, rate)
    assert whole.shape == x.shape
    stream = NeuralEnhancer(str(file)).stream(rate)
    parts = [stream.process(x[i : i + 77]) for i in range(0, len(x), 77)]
    out = np.concatenate((*parts, stream.flush()))[stream.latency_samples :]
    np.testing.assert_allclose(out, whole, atol=1e-5)


def test_channels_share_their_gains(file: Path, rng: np.random.Generator) -> None:
    x = speech(rng)
    pair = np.stack((x, -0.5 * x))
    out = run_offline(NeuralEnhancer(str(file)), pair, 16000)
    np.testing.assert_allclose(out[1], -0.5 * out[0], atol=1e-6)
    # Opposite phases are no silence: the pair is heard like one of its channels.
    np.testing.assert_allclose(out[0], run_offline(NeuralEnhancer(str(file)), x, 16000), atol=1e-4)


def test_above_8_khz_the_edge_decides(file: Path, rng: np.random.Generator) -> None:
    x = speech(rng, 48000)
    x += 0.02 * np.sin(2 * np.pi * 12000 * np.arange(len(x)) / 48000).astype(np.float32)
    kernel = NeuralEnhancer(str(file)).kernel(48000, 1)
    y = np.concatenate((kernel.push(x[None]), kernel.finish()), axis=1)[0, kernel.latency_samples :]

    def tone(s: np.ndarray) -> float:
        return float(np.abs(np.mean(s * np.exp(-2j * np.pi * 12000 * np.arange(len(s)) / 48000))))

    gain = tone(y) / tone(x)
    assert 0.0 < gain < 1.0


def test_a_file_made_for_other_frames_is_refused(file: Path) -> None:
    graph = onnx.load(str(file))
    table = {p.key: p.value for p in graph.metadata_props}
    for field, value in (("latency", "80"), ("bins", "42"), ("channels", "linked"), ("window_ms", "32.0")):
        changed = {**table, f"unmuffle.{field}": value, "unmuffle.sha256": BLANK}
        onnx.helper.set_model_props(graph, changed)
        blank = graph.SerializeToString()
        with pytest.raises(ModelError):
            Model(blank.replace(BLANK.encode(), digest(blank, BLANK).encode()), "changed.onnx")


def test_the_file_says_what_it_is(file: Path) -> None:
    facts = load(file).facts
    assert (facts.domain, facts.bins, facts.output) == ("features", 4 * BANDS + 2, "gains")


@pytest.mark.parametrize(("n", "hops"), [(0, 0), (1, 1), (160, 1), (1601, 11)])
def test_voice_is_told_for_each_hop(file: Path, n: int, hops: int, rng: np.random.Generator) -> None:
    found = voice_activity(load(file), rng.standard_normal(n).astype(np.float32), 16000)
    assert found.shape == (hops,)
    assert ((found >= 0) & (found <= 1)).all()


def test_other_networks_do_not_tell_of_voice(network_file: Path) -> None:
    with pytest.raises(ModelError, match="a network of spectrum"):
        voice_activity(load(network_file), np.zeros(160, np.float32), 16000)
