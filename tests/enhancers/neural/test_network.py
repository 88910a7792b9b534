from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unmuffle.enhancers import params
from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.neural.network import NeuralEnhancer
from unmuffle.errors import ModelError, UnknownParameterError

RATES = (8000, 16000, 22050, 24000, 44100, 48000)


def noise(rng: np.random.Generator, n: int, channels: int = 1) -> np.ndarray:
    return (0.1 * rng.standard_normal((channels, n))).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_any_split_gives_the_same(network_file: Path, rng: np.random.Generator, rate: int, channels: int) -> None:
    enhancer = NeuralEnhancer(path=str(network_file))
    x = noise(rng, 9001, channels)
    whole = run_offline(enhancer, x, rate)
    assert whole.shape == x.shape
    for size in (160, 511):
        stream = enhancer.stream(rate, channels)
        parts = [stream.process(x[:, i : i + size]) for i in range(0, 9001, size)]
        parts.append(stream.flush())
        out = np.concatenate(parts, axis=1)[:, stream.latency_samples :]
        # A dense layer over one frame adds in another order than over many.
        assert np.max(np.abs(out - whole)) < 1e-5


@pytest.mark.parametrize("rate", RATES)
def test_latency_is_the_stfts(network_file: Path, rate: int) -> None:
    stream = NeuralEnhancer(path=str(network_file)).stream(rate)
    assert stream.latency_ms == pytest.approx(10.0, abs=0.05)  # hops are whole samples
    # In blocks of the hop nothing more is added: 20 ms in all, the block included.
    blocked = NeuralEnhancer(path=str(network_file)).stream(rate, block_size=stream.latency_samples)
    assert blocked.block_latency_samples == stream.latency_samples


def test_the_same_voice_at_other_rates_is_treated_alike(network_file: Path, rng: np.random.Generator) -> None:
    import soxr

    enhancer = NeuralEnhancer(path=str(network_file))
    # Nothing above 3 kHz, so that every rate holds all of it.
    low = soxr.resample(0.1 * rng.standard_normal(3000), 6000, 48000).astype(np.float32)
    reference = run_offline(enhancer, soxr.resample(low, 48000, 16000).astype(np.float32), 16000)
    for rate in (24000, 48000):
        y = run_offline(enhancer, soxr.resample(low, 48000, rate).astype(np.float32), rate)
        back = soxr.resample(y, rate, 16000)
        n = min(back.size, reference.size)
        error = np.sum((back[:n] - reference[:n]) ** 2) / np.sum(reference[:n] ** 2)
        # The window is sampled at other points, frames start at the same times: a few per mille.
        assert error < 0.01


def test_above_the_band_the_edge_decides(network_file: Path, rng: np.random.Generator) -> None:
    enhancer = NeuralEnhancer(path=str(network_file))
    x = noise(rng, 48000)[0]
    y = run_offline(enhancer, x, 48000)

    def power(signal: np.ndarray, low: float, high: float) -> float:
        spectrum = np.abs(np.fft.rfft(signal)) ** 2
        hertz = np.fft.rfftfreq(signal.size, 1 / 48000)
        return float(spectrum[(hertz >= low) & (hertz < high)].sum())

    edge = power(y, 7000, 8000) / power(x, 7000, 8000)
    top = power(y, 12000, 23000) / power(x, 12000, 23000)
    assert 10 * np.log10(top / edge) == pytest.approx(0.0, abs=1.0)
    assert edge < 0.9  # the random network does something


def test_stereo_is_linked(network_file: Path, rng: np.random.Generator) -> None:
    enhancer = NeuralEnhancer(path=str(network_file))
    x = noise(rng, 8000)
    pair = np.concatenate((x, 0.25 * x))
    y = run_offline(enhancer, pair, 16000)
    assert np.max(np.abs(y[1] - 0.25 * y[0])) < 1e-6


def test_a_network_of_one_channel(single_file: Path, rng: np.random.Generator) -> None:
    enhancer = NeuralEnhancer(path=str(single_file))
    x = noise(rng, 6000)
    mono = run_offline(enhancer, x, 16000)
    # Gain 1/4 on this frame and 1/4 on the last: frames overlap by half and windows add up to one.
    assert np.sum(mono**2) < 0.5 * np.sum(x**2)
    pair = run_offline(enhancer, np.concatenate((x, 0.5 * x)), 16000)
    assert np.max(np.abs(pair[1] - 0.5 * pair[0])) < 1e-6
    # Opposite channels have no mean: silence, not noise blown up.
    opposite = run_offline(enhancer, np.concatenate((x, -x)), 16000)
    assert np.isfinite(opposite).all()
    assert np.max(np.abs(opposite)) <= np.max(np.abs(x)) + 1e-6


def test_silence_and_faint_signals(network_file: Path, rng: np.random.Generator) -> None:
    enhancer = NeuralEnhancer(path=str(network_file))
    assert not run_offline(enhancer, np.zeros(4000, np.float32), 16000).any()
    faint = run_offline(enhancer, 1e-30 * noise(rng, 4000), 16000)
    assert np.isfinite(faint).all()


def test_state_and_restore(network_file: Path, rng: np.random.Generator) -> None:
    enhancer = NeuralEnhancer(path=str(network_file))
    x = noise(rng, 6400)
    stream = enhancer.stream(16000)
    stream.process(x[:, :3200])
    saved = stream.state()
    first = stream.process(x[:, 3200:])
    stream.restore(saved)
    assert np.array_equal(stream.process(x[:, 3200:]), first)
    stream.reset()
    again = enhancer.stream(16000)
    assert np.array_equal(stream.process(x), again.process(x))


def test_the_key_names_the_weights_not_the_place(network_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.onnx"
    copy.write_bytes(network_file.read_bytes())
    one, two = NeuralEnhancer(path=str(network_file)), NeuralEnhancer(path=str(copy))
    assert one.key() == two.key()
    assert one.facts.sha256 in one.key()


def test_bad_parameters(network_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no network file"):
        NeuralEnhancer()
    with pytest.raises(ModelError, match="no such network file"):
        NeuralEnhancer(path=str(tmp_path / "none.onnx"))
    with pytest.raises(UnknownParameterError, match="modle"):
        params.build(NeuralEnhancer, {"modle": "x"})
    assert NeuralEnhancer(path=network_file).path == str(network_file)  # type: ignore[arg-type]


def test_loaded_by_name_and_from_toml(network_file: Path, rng: np.random.Generator) -> None:
    import unmuffle
    from unmuffle.enhancers import registry

    made = unmuffle.load("model", path=str(network_file))
    assert made == NeuralEnhancer(path=str(network_file))
    assert registry.from_toml(made.to_toml()) == made
    x = noise(rng, 4000)[0]
    y = unmuffle.enhance(x, 16000, "model", path=str(network_file))
    assert np.array_equal(y, run_offline(made, x, 16000))
    assert "model" not in registry.names()  # without a file it can do nothing
    with pytest.raises(ModelError, match="path=FILE"):
        unmuffle.load("model")


def test_importing_is_light() -> None:
    code = "import sys, unmuffle.enhancers.neural.network; print('onnxruntime' in sys.modules, 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


@pytest.fixture(scope="module")
def wave_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small causal network of waveforms with random weights."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from unmuffle.export.graph import to_bytes
    from unmuffle.train import nets

    torch.manual_seed(1)
    net = nets.make("demucs", {"H": 4, "L": 3}).eval()
    path = tmp_path_factory.mktemp("wave") / "wave.onnx"
    path.write_bytes(to_bytes(net, {"name": "wave", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}}))
    return path


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_network_of_waveforms_streams(wave_file: Path, rng: np.random.Generator, rate: int) -> None:
    enhancer = NeuralEnhancer(path=str(wave_file))
    x = noise(rng, 7001, 2)
    whole = run_offline(enhancer, x, rate)
    assert whole.shape == x.shape
    for size in (160, 511):
        stream = enhancer.stream(rate, 2)
        parts = [stream.process(x[:, i : i + size]) for i in range(0, 7001, size)]
        parts.append(stream.flush())
        out = np.concatenate(parts, axis=1)[:, stream.latency_samples :]
        assert np.max(np.abs(out - whole)) < 1e-5
    # Channels are separate.
    alone = run_offline(enhancer, x[1], rate)
    assert np.max(np.abs(alone - whole[1])) < 1e-6


def test_a_whole_network_of_waveforms(tmp_path: Path, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from unmuffle.enhancers.base import UNBOUNDED
    from unmuffle.export.graph import to_bytes
    from unmuffle.train import nets

    torch.manual_seed(1)
    net = nets.make("wavenet", {"channels": 4, "layers": 3, "stacks": 1, "wide": 8, "narrow": 4}).eval()
    path = tmp_path / "wave.onnx"
    path.write_bytes(to_bytes(net, {"name": "wave", "licence": "MIT", "data": {}, "recipe": {}, "scores": {}}))
    enhancer = NeuralEnhancer(path=str(path))
    assert enhancer.stream(16000).latency_samples == UNBOUNDED
    x = noise(rng, 5003)
    direct = run_offline(enhancer, x, 16000)
    with torch.no_grad():
        padded = torch.nn.functional.pad(torch.from_numpy(x), (0, 5120 - 5003)).reshape(1, 1, 32, 160)
        wanted = net(padded)[0].reshape(1, -1)[:, :5003].numpy()
    assert np.max(np.abs(direct - wanted)) < 1e-5
    # At 48 kHz what lies above the network's band passes: a tone of 12 kHz stays.
    time = np.arange(9600) / 48000
    tone = (0.1 * np.sin(2 * np.pi * 12000 * time)).astype(np.float32)
    y = run_offline(enhancer, tone, 48000)
    assert y.shape == tone.shape
    inner = slice(1000, 8600)
    assert np.sum(y[inner] * tone[inner]) == pytest.approx(np.sum(tone[inner] ** 2), rel=0.02)
