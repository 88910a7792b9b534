"""Frames as machine code: the same network, wherever it is used, and the graph wherever it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from unmuffle import enhance_file, load
from unmuffle.enhancers import compiling
from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.neural import native, network
from unmuffle.enhancers.neural.model import Lane, Model, shipped
from unmuffle.enhancers.neural.model import load as load_file
from unmuffle.enhancers.neural.network import NeuralEnhancer
from unmuffle.enhancers.neural.weights import initialisers
from unmuffle.integrations.blocks import Blocks

CLOSE = 3e-7  # a millionth of the input's peak


def noise(seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Noise whose level swings by 50 dB, with a silence in it."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    x = rng.standard_normal(t.size) * 10.0 ** (-2.0 + 1.25 * np.sin(9.0 * t))
    x[t.size // 3 : t.size // 3 + rate // 10] = 0.0
    return (0.3 * x / np.max(np.abs(x))).astype(np.float32)


def test_the_exponential() -> None:
    x = np.concatenate([np.linspace(-30, 30, 20_001), [0.0, -1e30, 1e30]]).astype(np.float32)
    got = np.array([native._falling(v) for v in x])
    wanted = np.exp(-np.clip(x.astype(np.float64), -25, 25))
    assert np.max(np.abs(got / wanted - 1.0)) < 3e-7


def test_the_power() -> None:
    x = np.logspace(-37, 37, 10_001).astype(np.float32)
    got = np.array([native._power(v, np.float32(-0.425)) for v in x])
    wanted = x.astype(np.float64) ** float(np.float32(-0.425))
    assert np.max(np.abs(got / wanted - 1.0)) < 3e-7


def test_the_cell() -> None:
    """What an LSTM remembers, against its definition; gates that are all open or all shut are no trouble."""
    rng = np.random.default_rng(0)
    n = 500
    g = rng.standard_normal((4, n)) * rng.choice((0.3, 3.0, 30.0, 300.0), (4, n))
    before = rng.standard_normal(n) * rng.choice((1e-3, 1.0, 20.0), n)
    i, f, o = (1.0 / (1.0 + np.exp(-np.clip(v, -500, 500))) for v in (g[0], g[1], g[3]))
    cell = f * before + i * np.tanh(g[2])
    given = np.concatenate([g[0], g[1], 2.0 * g[2], g[3]]).astype(np.float32)
    c, h = before.astype(np.float32), np.zeros(n, np.float32)
    native._remember(given, c, h)
    assert np.max(np.abs(c - cell) / (1.0 + np.abs(cell))) < 1e-6
    assert np.max(np.abs(h - o * np.tanh(cell))) < 1e-6


@pytest.mark.parametrize("rows", [1, 7, 640, 4000])
def test_products_in_parts(rows: int) -> None:
    rng = np.random.default_rng(rows)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((rows, 64), (64, 48)))
    out = np.zeros((rows, 48), np.float32)
    native._multiply(a, b, out)
    assert np.allclose(out, a @ b, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("name", ["live", "live-low"])
def test_the_frame_is_the_graph(name: str, channels: int) -> None:
    model = shipped(name)
    lane, state = native.native(model, 20, channels), model.initial(channels)
    assert lane is not None
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((channels, 200, 2, 161)) * 10.0 ** rng.uniform(-4, 1, (1, 200, 1, 1))).astype(np.float32)
    whole, after = model.run(x, state)
    start = 0
    while start < 200:
        count = min(int(rng.choice([1, 1, 2, 3, 8, 13, 20])), 200 - start)
        lane.given[:, :count] = x[:, start : start + count]
        state = lane.run(state, count)
        for i in range(count):
            at, peak = start + i, np.max(np.abs(x[:, max(start + i - 2, 0) : start + i + 1]))
            assert np.max(np.abs(lane.answer[:, i] - whole[:, at])) < 1e-5 * peak
        start += count
    for key, value in after.items():
        assert np.allclose(state[key], value, atol=1e-4), key


@pytest.mark.parametrize(
    ("net", "sizes"),
    [
        ("bandwise", {"bands": 7, "width": 12, "blocks": 3, "context": 9, "memory": 6}),
        ("bandwise", {"bands": 8, "width": 20, "blocks": 1, "context": 0}),
        ("bandwise-low", {"bands": 24, "width": 16, "context": 200, "memory": 250}),
        ("bandwise", {"bands": 4, "width": 4, "blocks": 1, "context": 2000, "memory": 2}),
        ("bandwise", {"bands": 6, "width": 8, "blocks": 1, "context": 4, "memory": 2, "taps": 5, "lags": 2}),
        ("bandwise-low", {"bands": 6, "width": 8, "blocks": 1, "context": 4, "memory": 2, "taps": 1, "lags": 3}),
        ("bandwise", {"bands": 6, "width": 8, "blocks": 2, "context": 4, "memory": 9, "steady": 20}),
        ("bandwise-low", {"bands": 6, "width": 8, "blocks": 1, "context": 0, "taps": 3, "lags": 2, "steady": 2}),
    ],
)
def test_any_sizes(net: str, sizes: dict[str, int]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from unmuffle.export.graph import to_bytes
    from unmuffle.train import nets

    torch.manual_seed(5)
    made = nets.make(net, sizes).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    facts = {"name": "small", "licence": "MIT", "data": {}, "recipe": {"net": net, "sizes": sizes}, "scores": {}}
    model = Model(to_bytes(made, facts), "memory.onnx")
    # Not a number of it is beyond the end: the machine code would not notice.
    code = native._found(model)
    assert code is not None
    for frames, channels in ((1, 1), (2, 1), (5, 3), (16, 2)):
        lane = native.native(model, frames, channels)
        assert isinstance(lane, native.Native)
        size = code.scratch(frames, channels)
        guard = np.full(size + 64, 7.0, np.float32)
        lane._rest = (code.weights, guard, *code.sizes)
        lane.given[...] = np.random.default_rng(0).standard_normal(lane.given.shape)
        lane.run(model.initial(channels), frames)
        assert np.all(guard[size:] == 7.0)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
@pytest.mark.parametrize("name", ["live", "live-low"])
@pytest.mark.parametrize("block_ms", [2.5, 4, 10, 30])
def test_streams_of_short_blocks_are_the_whole(name: str, rate: int, block_ms: float) -> None:
    enhancer, x, size = load(name), noise(1.0, rate), round(rate * block_ms / 1000)
    stream = enhancer.stream(rate, block_size=size)
    assert isinstance(stream._kernel._lane, native.Native)
    y = np.concatenate([stream.process(x[i : i + size]) for i in range(0, x.size, size)] + [stream.flush()])
    whole = run_offline(enhancer, x, rate)
    assert np.max(np.abs(y[stream.latency_samples :][: x.size] - whole)) < CLOSE


@pytest.mark.parametrize("name", ["live", "live-low"])
def test_channels_together(name: str) -> None:
    """A voice at the left and a noise at the right, and a channel that is silent: linked, as the graph does it."""
    enhancer, size = load(name), 480
    x = np.stack([noise(1.0, 48_000), 0.3 * noise(1.0, 48_000, 1), np.zeros(48_000, np.float32)])
    stream = enhancer.stream(48_000, channels=3, block_size=size)
    assert isinstance(stream._kernel._lane, native.Native)
    parts = [stream.process(x[:, i : i + size]) for i in range(0, x.shape[1], size)]
    y = np.concatenate([*parts, stream.flush()], 1)[:, stream.latency_samples :][:, : x.shape[1]]
    assert np.max(np.abs(y - run_offline(enhancer, x, 48_000))) < CLOSE
    assert np.max(np.abs(y[0])) > 1e-3
    assert not np.any(y[2])


@pytest.mark.parametrize("size", [{"block_size": 160}, {"usual_size": 320}])
def test_any_other_blocks_may_come(size: dict[str, int]) -> None:
    x, rng = noise(2.0), np.random.default_rng(1)
    stream = load("live").stream(16_000, **size)
    assert isinstance(stream._kernel._lane, native.Native)
    parts, at = [], 0
    while at < x.size:
        size = int(rng.choice([1, 40, 160, 161, 700, 5000]))
        parts.append(stream.process(x[at : at + size]))
        at += size
    y = np.concatenate([*parts, stream.flush()])[stream.latency_samples :][: x.size]
    assert np.max(np.abs(y - run_offline(load("live"), x, 16_000))) < CLOSE


def test_a_usual_size_changes_neither_delay_nor_state() -> None:
    plain, told = load("live").stream(48_000), load("live").stream(48_000, usual_size=960)
    assert told.block_latency_samples == plain.block_latency_samples
    told.process_block(noise(0.5, 48_000))
    plain.restore(told.state())
    x = noise(0.5, 48_000, 5)
    assert np.max(np.abs(plain.process_block(x) - told.process_block(x))) < CLOSE


def test_programs_that_push_blocks_of_any_size_get_it_too() -> None:
    blocks, x = Blocks("live"), noise(1.0, 48_000)
    y = np.concatenate([blocks.process(x[np.newaxis, i : i + 960], 48_000) for i in range(0, x.size, 960)], axis=1)
    assert isinstance(blocks._stream._kernel._branches["main"].kernel._lane, native.Native)
    late = round(blocks.latency_ms * 48)
    assert np.max(np.abs(y[0, late:] - run_offline(load("live"), x, 48_000)[:-late])) < CLOSE


def test_a_stream_goes_on_elsewhere() -> None:
    """From machine code to the graph and back, by its state."""
    x, size = noise(0.9), 160
    fast = load("live").stream(16_000, block_size=size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling.numba.config, "DISABLE_JIT", True)
        plain = load("live").stream(16_000, block_size=size)
    assert isinstance(plain._kernel._lane, Lane)
    streams, parts = [fast, plain], []
    for i in range(0, x.size, size):
        now = streams[i // size // 10 % 2]
        parts.append(now.process_block(x[i : i + size]))
        if i // size % 10 == 9:
            streams[(i // size // 10 + 1) % 2].restore(now.state())
    whole = run_offline(load("live"), np.concatenate([x, np.zeros(size, np.float32)]), 16_000)
    assert np.max(np.abs(np.concatenate(parts)[size:] - whole[: x.size - size])) < CLOSE


def test_only_where_it_helps() -> None:
    def lane(channels: int = 1, block: int | None = 160) -> object:
        return load("live").stream(16_000, channels, block_size=block)._kernel._lane

    assert isinstance(lane(), native.Native)
    assert isinstance(lane(block=None), Lane)
    assert isinstance(lane(block=16_000), Lane)
    assert isinstance(lane(block=160 * network._LONG), native.Native)
    assert isinstance(lane(channels=2), native.Native)


def test_inside_of_a_chain() -> None:
    from unmuffle.enhancers.compose import Chain

    stream = Chain((load("low-cut"), load("live"))).stream(16_000, block_size=160)
    assert isinstance(stream._kernel.parts[1]._lane, native.Native)


def test_behind_a_guard_and_in_integrations() -> None:
    from unmuffle.integrations.blocks import Blocks

    blocks = Blocks("live", fixed=True)
    blocks.process(np.zeros((1, 480), np.float32), 48_000)
    kernel = blocks._stream._kernel
    assert isinstance(kernel._branches["main"].kernel._lane, native.Native)
    kernel._kernels["main"] = None  # as after a failure: one that is made anew
    assert isinstance(kernel._branch("main", 0).kernel._lane, native.Native)


def test_one_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = native._packed

    def spoilt(*args: object) -> np.ndarray:
        weights = packed(*args)  # type: ignore[arg-type]
        weights[5000] += np.float32(0.05)
        return weights

    monkeypatch.setattr(native, "_packed", spoilt)
    native._found.cache_clear()
    try:
        assert native.native(shipped("live")) is None
        assert isinstance(load("live").stream(16_000, block_size=160)._kernel._lane, Lane)
    finally:
        native._found.cache_clear()


def test_sizes_that_do_not_fit_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = native._packed
    monkeypatch.setattr(native, "_packed", lambda *args: packed(*args)[:-1])
    monkeypatch.setattr(native, "_frames", None)
    native._found.cache_clear()
    try:
        assert native.native(shipped("live")) is None
    finally:
        native._found.cache_clear()


def test_what_cannot_be_compiled_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise compiling.numba.TypingError("as in another version")

    monkeypatch.setattr(compiling, "warm", lambda method: None)
    monkeypatch.setattr(native, "_frames", fails)
    native._found.cache_clear()
    try:
        assert isinstance(load("live").stream(16_000, block_size=160)._kernel._lane, Lane)
    finally:
        native._found.cache_clear()


def test_not_if_numba_is_told_not_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.numba.config, "DISABLE_JIT", True)
    assert isinstance(load("live").stream(16_000, block_size=160)._kernel._lane, Lane)


def test_not_without_numba() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np, unmuffle\n"
        "s = unmuffle.load('live').stream(16000, block_size=160)\n"
        "print(type(s._kernel._lane).__name__, s.process_block(np.zeros(160, np.float32)).size)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Lane", "160"]


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48_000, 1), (48_000, 2)])
@pytest.mark.parametrize("name", ["live", "live-low"])
def test_long_files_get_it(
    name: str, rate: int, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    x = np.stack([noise(2.3, rate, seed) for seed in range(channels)])
    soundfile.write(tmp_path / "in.wav", x.T, rate, subtype="FLOAT")
    graph = run_offline(load(name), x, rate)
    made = []
    assert native.native(shipped(name)) is not None  # from here on nothing is tried out
    monkeypatch.setattr(network, "_LONG", 200)
    monkeypatch.setattr(native, "native", lambda *args, own=native.native: made.append(own(*args)) or made[-1])
    y = run_offline(load(name), x, rate)
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", method=name)
    assert [type(lane) for lane in made] == [native.Native] * 2
    assert 0 < np.max(np.abs(y - graph)) < CLOSE  # two ways
    assert np.max(np.abs(soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)[0].T - y)) < 1e-7


def test_short_files_do_not_load_numba(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "in.wav", noise(1.0), 16_000)
    code = (
        "import sys\nfrom unmuffle import enhance_file\n"
        f"enhance_file({str(tmp_path / 'in.wav')!r}, {str(tmp_path / 'out.wav')!r}, method='live')\n"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_other_networks_stay_with_their_graph(network_file: Path) -> None:
    assert native.native(load_file(network_file)) is None
    assert native.native(shipped("tiny")) is None
    stream = NeuralEnhancer(path=str(network_file)).stream(16_000, block_size=160)
    assert isinstance(stream._kernel._lane, Lane)


def test_eight_bit_weights_stay_with_their_graph() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from unmuffle.export.quantise import to_int8

    assert native.native(Model(to_int8(shipped("live").content), "memory.onnx")) is None


def test_weights_by_name() -> None:
    onnx = pytest.importorskip("onnx")
    content = shipped("live").content
    found = initialisers(content)
    graph = onnx.load_from_string(content).graph
    floats = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer if t.data_type == 1 and t.raw_data}
    assert found.keys() == floats.keys()
    assert all(np.array_equal(found[k], v) for k, v in floats.items())


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_have_no_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(shipped("live").content)
    if seed % 2:
        content = content[: int(rng.integers(1, len(content)))]
    for at in rng.integers(0, min(len(content), 4000 if seed % 3 else len(content)), 30):
        content[at] = int(rng.integers(256))
    try:
        initialisers(bytes(content))
    except ValueError:
        return
