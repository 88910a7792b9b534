from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

torch = pytest.importorskip("torch")

from unmuffle.errors import ParameterError, UnknownMethodError, UnknownParameterError  # noqa: E402
from unmuffle.train import nets  # noqa: E402
from unmuffle.train.nets.bandwise import PATCH, Bandwise, BandwiseConfig, BandwiseLow  # noqa: E402
from unmuffle.train.nets.dense import Dense, DenseConfig  # noqa: E402


def dense() -> torch.nn.Module:
    """With a decoder that matters: fresh weights are almost a wire."""
    torch.manual_seed(3)
    net = Dense(DenseConfig(hidden=16, low_bins=40, memory=6)).eval()
    with torch.no_grad():
        net.decode.weight.mul_(10)
    return net


def bandwise(context: int = 12, kind: type[Bandwise] = Bandwise, **reach: int) -> torch.nn.Module:
    torch.manual_seed(3)
    net = kind(BandwiseConfig(bands=8, width=12, blocks=2, context=context, memory=6, **reach)).eval()
    with torch.no_grad():
        net.taps.weight.mul_(5)
    return net


def low() -> torch.nn.Module:
    return bandwise(kind=BandwiseLow)


KINDS = {
    "dense": dense,
    "bandwise": bandwise,
    "bandwise-no-context": lambda: bandwise(0),
    "bandwise-low": low,
    "bandwise-far": lambda: bandwise(taps=4, lags=2),
    "bandwise-far-low": lambda: bandwise(kind=BandwiseLow, taps=3, lags=4),
    "bandwise-one-tap": lambda: bandwise(taps=1),
    "bandwise-steady": lambda: bandwise(steady=4),
    "bandwise-steady-low": lambda: bandwise(kind=BandwiseLow, lags=3, steady=9),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def net(request: pytest.FixtureRequest) -> torch.nn.Module:
    return request.param()


def frames(channels: int = 1, count: int = 20, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, count, 161, 2, generator=generator)


@torch.no_grad()
def test_streamed_equals_whole(net) -> None:
    x = frames()
    whole = net(x, *net.initial())[0]
    for size in (1, 3, 7):
        state = net.initial()
        parts = []
        for start in range(0, 20, size):
            y, *state = net(x[:, :, start : start + size], *state)
            parts.append(y)
        # Dense layers over one frame and over many add in another order.
        assert torch.max(torch.abs(torch.cat(parts, 2) - whole)) < 1e-5


@torch.no_grad()
def test_causal(net) -> None:
    x = frames()
    y = net(x, *net.initial())[0]
    x[:, :, 12:] = 9.0
    z = net(x, *net.initial())[0]
    assert torch.equal(y[:, :, :12], z[:, :, :12])
    assert not torch.equal(y[:, :, 12:], z[:, :, 12:])


@torch.no_grad()
@pytest.mark.parametrize("gain", [1e-3, 30.0])
def test_the_level_passes_through(net, gain: float) -> None:
    x = frames()
    y = net(x, *net.initial())[0]
    z = net(gain * x, *net.initial())[0] / gain
    # The floor of the meter, 0.01 against a mean magnitude of 0.13 at a gain of 1e-3, is what differs.
    assert torch.max(torch.abs(y - z)) < (0.1 if gain < 1 else 0.02) * torch.max(torch.abs(y))


@torch.no_grad()
def test_channels_share_their_gains(net) -> None:
    x = frames()
    mono = net(x, *net.initial(1, 1))[0]
    pair = net(torch.cat((x, -x), 1), *net.initial(1, 2))[0]
    # A channel and its negative: nothing cancels, both get what one alone gets.
    assert torch.allclose(pair[:, :1], mono, atol=1e-5)
    assert torch.allclose(pair[:, 1:], -mono, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
def test_the_form_for_onnx_is_the_same_network(net, channels: int) -> None:
    x = frames(channels)
    form = net.streaming()
    whole = net(x, *net.initial(1, channels))[0]
    state = form.initial(channels)
    parts = []
    for start in range(0, 20, 4):
        y, *state = form(x[0, :, start : start + 4].transpose(2, 3), *state)
        parts.append(y)
    assert torch.max(torch.abs(torch.cat(parts, 1).transpose(2, 3) - whole[0])) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("lags", [1, 3])
@pytest.mark.parametrize("kind", [Bandwise, BandwiseLow])
def test_a_tone_is_the_same_in_every_patch(kind: type[Bandwise], lags: int) -> None:
    """What the network is shown of two tones a patch apart differs by the patch and by nothing else."""
    net = kind(BandwiseConfig(bands=8, width=12, context=0, memory=6, lags=lags)).eval()
    seen = []
    at = net.spec.at(16_000)
    for k in (20, 20 + PATCH, 20 + 7 * PATCH):
        wave = torch.cos(2 * torch.pi * (k + 0.2) * torch.arange(at.size + lags * at.hop) / at.size)
        window = torch.from_numpy(at.analysis.copy())
        steps = [wave[lag * at.hop :][: at.size] for lag in range(lags + 1)]
        given = torch.stack([torch.view_as_real(torch.fft.rfft(x * window)) for x in steps]).reshape(1, 1, -1, 161, 2)
        taken = []
        net.patch.register_forward_pre_hook(lambda _, args, taken=taken: taken.append(args[0]))
        net(given, *net.initial())
        seen.append(taken[0][-1, :, k - 4 : k + 3])  # without the lowest bin: that of k is at k - 1
    assert seen[0].abs().max() > 0.1
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0], rtol=0.06, atol=0.03 * float(seen[0].abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("steady", [2, 30])
def test_what_is_usual_is_a_leaky_mean(steady: int) -> None:
    net = Bandwise(BandwiseConfig(bands=8, width=12, context=0, memory=6, steady=steady)).eval()
    x = torch.randn(2, 3, 50, 160, dtype=torch.float32)
    usual, _ = net.usual(x, net.initial(2)[2])
    leak = [1.0], [1.0, -(1.0 - 1.0 / steady)]
    wanted = lfilter(*leak, x.numpy(), axis=2) / lfilter(*leak, np.ones(50))[:, None]
    assert np.max(np.abs(usual.numpy() - wanted)) < 1e-5
    # In pieces it is the same, and of what does not change it is that.
    state, parts = net.initial(2)[2], []
    for piece in x.split(7, 2):
        y, (state,) = net.usual(piece, state)
        parts.append(y)
    assert torch.max(torch.abs(torch.cat(parts, 2) - usual)) < 1e-5
    torch.testing.assert_close(net.usual(x[:, :, :1].expand_as(x), net.initial(2)[2])[0], x[:, :, :1].expand_as(x))


@torch.no_grad()
def test_silence_stays_silent_and_finite(net) -> None:
    x = torch.zeros(1, 1, 30, 161, 2)
    y, *state = net(x, *net.initial())
    assert not y.any()
    assert all(torch.isfinite(s).all() for s in state)


@torch.no_grad()
@pytest.mark.parametrize("kind", [Dense, Bandwise])
def test_fresh_weights_are_nearly_a_wire(kind) -> None:
    torch.manual_seed(0)
    net, x = kind(), frames()
    y = net(x, *net.initial())[0]
    assert torch.sum((y - x) ** 2) < 0.1 * torch.sum(x**2)


def test_size_of_the_default() -> None:
    # 321 -> 160, two LSTMs 4 * 160 * (320 + 2), 160 -> 401: each with its biases.
    expected = 321 * 160 + 160 + 2 * 4 * 160 * 322 + 160 * 401 + 401
    assert sum(p.numel() for p in Dense().parameters()) == expected
    assert expected * 4 < 3e6  # bytes: what a model may weigh on disk


def test_gradient_reaches_every_weight(net) -> None:
    net(frames(), *net.initial())[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_making_networks_by_name() -> None:
    assert nets.make("dense", {"hidden": 16}).config.hidden == 16
    with pytest.raises(UnknownMethodError, match="dense"):
        nets.make("dese")
    with pytest.raises(UnknownParameterError, match="hiden"):
        nets.make("dense", {"hiden": 16})
    with pytest.raises(ParameterError, match="hidden"):
        nets.make("dense", {"hidden": 0})
