"""What every network of the zoo promises."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from unmuffle.errors import ParameterError  # noqa: E402
from unmuffle.signal.stft import StftSpec  # noqa: E402
from unmuffle.train import nets  # noqa: E402
from unmuffle.train.nets.parts import Meter, erb_bands  # noqa: E402
from unmuffle.train.nets.tiny import BANDS, Tiny  # noqa: E402

SIZES = {
    "dense": {"hidden": 16},
    "mask-lstm": {"hidden": 16},
    "unet": {"channels": 4, "depth": 3},
    "dccrn": {"width": 0.15, "hidden": 16},
    "conv-tasnet": {"N": 32, "B": 16, "H": 24, "X": 3, "R": 2, "Sc": 16},
    "demucs": {"H": 8},
    "wavenet": {"channels": 16, "layers": 5, "stacks": 2, "wide": 32, "narrow": 16},
}
NAMES = sorted(set(nets.NETS) - {"array-mask"})  # that one hears several channels: test_train_beamformer
CAUSAL = [n for n in NAMES if n != "wavenet"]

MILLIONS = {
    # Dense: 321 * 160 + 160; LSTMs: 2 * 4 * 160 * 322; taps: 161 * 401.
    "dense": 0.528,
    # Two LSTMs 8 * 48 * 98, mixes 48 * 24 * 24 + 48 * 49 + 24 * 48 each, context 4 * 96 * 194 + ..., patches, taps.
    "bandwise": 0.192,
    "bandwise-low": 0.192,
    # Two GRUs 6 * 40 * 41, mixes 40 * 16 * 16 + 40 * 42 each, context 3 * 52 * (66 + 54) + 64 * 53, rows, gains.
    "tiny": 0.069,
    # 4 * 256 * (161 + 258) + 4 * 256 * 514 + 257 * 161.
    "mask-lstm": 0.997,
    "r-ced": 0.033,  # as the paper states
    "unet": 0.985,
    "conv-tasnet": 5.1,  # as the paper states
    # The two LSTMs of 384 are half of it; the paper's fifth layer would bring it to 18.9.
    "demucs": 4.70,
    "wavenet": 6.3,  # as the paper states
    "dccrn": 2.77,  # the paper's 3.7 with 257 bins
}


def made(name: str) -> torch.nn.Module:
    torch.manual_seed(4)
    return nets.make(name, SIZES.get(name, {})).eval()


def frames(count: int = 12, channels: int = 1, net: torch.nn.Module | None = None) -> torch.Tensor:
    """Random frames of spectra, or of samples for a network of waveforms."""
    shape = (161, 2) if net is None or net.domain == "spectrum" else (net.frame,)
    return torch.randn(1, channels, count, *shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("name", CAUSAL)
def test_streamed_equals_whole(name: str) -> None:
    net = made(name)
    x = frames(net=net)
    whole, *after = net(x, *net.initial())
    state = net.initial()
    parts = []
    for start in (0, 1, 4, 9):
        stop = {0: 1, 1: 4, 4: 9, 9: 12}[start]
        y, *state = net(x[:, :, start:stop], *state)
        parts.append(y)
    assert torch.max(torch.abs(torch.cat(parts, 2) - whole)) < 1e-5
    for a, b in zip(state, after, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", CAUSAL)
def test_causal(name: str) -> None:
    net = made(name)
    x = frames(net=net)
    assert net.causal
    y = net(x, *net.initial())[0]
    x[:, :, 8:] = 7.0
    assert torch.allclose(net(x, *net.initial())[0][:, :, :8], y[:, :, :8], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_state_keeps_its_shape_and_silence_is_finite(name: str) -> None:
    net = made(name)
    state = net.initial(2, 1)
    assert len(net.state_names()) == len(state)
    x = torch.zeros(2, *frames(5, net=net).shape[1:])
    y, *after = net(x, *state)
    assert y.shape == x.shape
    # A wave network has biases: scaled by its floor, they are what silence sounds like.
    assert y.abs().max() <= (0.0 if net.domain == "spectrum" else 1e-3)
    assert [s.shape for s in after] == [s.shape for s in state]
    assert all(torch.isfinite(s).all() for s in after)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name: str) -> None:
    net = made(name).train()
    net(frames(net=net), *net.initial())[0].square().sum().backward()
    # A bias before a batch norm has no effect by construction.
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # Whether somebody speaks is no part of the sound: scripts/train_tiny.py has a loss for it.
    assert all(n.endswith("bias") or n.startswith("core.voice.") for n in idle)


@pytest.mark.parametrize("name", NAMES)
def test_number_of_weights(name: str) -> None:
    count = sum(p.numel() for p in nets.make(name).parameters()) / 1e6
    assert count == pytest.approx(MILLIONS[name], rel=0.05)


@torch.no_grad()
def test_bidirectional_looks_ahead() -> None:
    net = nets.make("mask-lstm", {"hidden": 8, "bidirectional": True}).eval()
    assert not net.causal
    x = frames()
    y = net(x)[0]
    x[:, :, 8:] = 7.0
    assert not torch.allclose(net(x)[0][:, :, :8], y[:, :, :8], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["r-ced", "unet"])
def test_mapping(name: str) -> None:
    net = nets.make(name, {**SIZES.get(name, {}), "mapping": True}).eval()
    x = frames()
    y = net(x, *net.initial())[0]
    # A real gain, positive, that may amplify: the phase is that of the input.
    gain = (y * x).sum(-1) / x.square().sum(-1)
    assert (gain > 0).all()
    assert torch.allclose(gain.unsqueeze(-1) * x, y, atol=1e-4)


@torch.no_grad()
def test_demucs_is_as_late_as_it_says() -> None:
    net = nets.make("demucs", {"H": 8, "L": 2}).eval()
    assert net.frame == 16
    x = torch.zeros(1, 1, 12, 16)
    x[..., 6, 5] = 1.0
    plain = net(torch.zeros_like(x), *net.initial())[0]
    y = (net(x, *net.initial())[0] - plain).reshape(-1)
    moved = y.abs().nonzero()[:, 0]
    # Nothing before the sample came in; and an output for time t may still use t + latency.
    at = 6 * 16 + 5
    # Nothing before the frame in which it came (its level scales the whole frame) ..
    assert moved.min() >= at - at % net.frame
    # .. and it matters before its own time, less the latency: that is what the latency is good for.
    assert net.latency == 4 + 16
    assert moved.min() - net.latency < at


@torch.no_grad()
def test_conv_tasnet_looks_ahead_if_told() -> None:
    sizes = {**SIZES["conv-tasnet"], "causal": False}
    net = nets.make("conv-tasnet", sizes).eval()
    assert not net.causal
    x = frames(net=net)
    y = net(x)[0]
    x[:, :, 8:] = 0.3
    assert not torch.allclose(net(x)[0][:, :, :8], y[:, :, :8], atol=1e-6)


@torch.no_grad()
def test_conv_tasnet_without_a_mask_is_its_two_transforms() -> None:
    net = nets.make("conv-tasnet", {**SIZES["conv-tasnet"], "N": 32}).eval()
    # Filters that take each sample apart by sign and put it together again, half in each of two frames.
    net.encode.weight.copy_(torch.cat((torch.eye(16), -torch.eye(16))))
    net.decode.weight.copy_(0.5 * torch.cat((torch.eye(16), -torch.eye(16)), 1))
    net.mask.weight.zero_()
    net.mask.bias.fill_(30.0)
    x = frames(20, net=net)
    y = net(x, *net.initial())[0].reshape(-1)
    assert torch.allclose(y[net.latency :], x.reshape(-1)[: -net.latency], atol=1e-5)


def test_live_low_answers_within_8_ms() -> None:
    spec = nets.make("bandwise-low").spec
    at = spec.at(16000)
    assert (at.latency + at.hop) / 16 == 8.0
    assert at.bins == 161


def test_tiny_fits_into_100_kb_of_bytes() -> None:
    assert sum(p.numel() for p in Tiny().parameters()) < 90_000  # scales, biases and the graph take the rest


@pytest.mark.parametrize(("bins", "top"), [(161, 8000.0), (81, 4000.0), (481, 24000.0)])
def test_erb_bands_share_every_bin(bins: int, top: float) -> None:
    shares = erb_bands(bins, top, BANDS)
    assert torch.allclose(shares.sum(1), torch.ones(bins))
    assert (shares >= 0).all()
    assert ((shares > 0).sum(1) <= 2).all()
    weight = shares.sum(0)
    assert (weight > 0.4).all()
    assert weight[-2] > 3 * weight[1]  # wider at the top


@torch.no_grad()
def test_meter_is_the_mean_of_what_there_was() -> None:
    meter = Meter(5)
    x = torch.arange(12.0)[None] ** 1.5
    mean, state = meter(x[:, :7], meter.initial(1))
    rest, _ = meter(x[:, 7:], state)
    both = torch.cat((mean, rest), 1)[0]
    for i in range(12):
        assert float(both[i]) == pytest.approx(float(x[0, max(0, i - 4) : i + 1].mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("tiny", {"context": 0}),
        ("mask-lstm", {"layers": 0}),
        ("r-ced", {"frames": 1}),
        ("unet", {"depth": 9}),
        ("dccrn", {"width": 0.0}),
        ("conv-tasnet", {"L": 15}),
        ("demucs", {"L": 9}),
        ("wavenet", {"layers": 20}),
    ],
)
def test_bad_sizes(name: str, sizes: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        nets.make(name, sizes)


def test_specs_are_specs() -> None:
    assert all(isinstance(nets.make(n, SIZES.get(n, {})).spec, StftSpec) for n in NAMES)
