r"""``bandgate``: bands that share a few gated averages, for a frame in the least time.

What ``bandwise`` hears and does (its features, its patches, its filter of two taps), but between them nothing that
costs one frame more than a few matrix products. In place of an LSTM there are *gated averages* (minGRU: Feng,
Tung, Ahmed, Bengio & Hajimirsadegh 2024, "Were RNNs all we needed?", without its bounds on the candidate):

.. math:: z_t = \sigma(W_z x_t + b_z), \quad h_t = h_{t-1} + z_t \odot (W_c x_t + b_c - h_{t-1})

The gate hears the input of its layer only, not what the layer remembers. So a whole signal is a chain of averages that
can be worked off in parallel (:func:`averages`), which an accelerator does some ten times faster than an LSTM; and
a frame takes two products and three sums where an LSTM takes an operator with an apparatus of its own. What one layer
cannot know, whether the frame is louder than what it remembers, the next one can.

* **Features** as in ``bandwise``; the level that divides them is a running mean with a time constant of a second,
  corrected for its beginning, so that scaling the input scales the output.
* **Layers**: gated averages, shared by the bands; one dense layer over the bands, shared by the features; one dense
  layer over the features, added to what the layer was given.
* **Output**: a transposed convolution from patches to the four rows of taps of all 161 bins.

Shapes: ``(batch, channels, frames, bins, 2)`` in and out; ``bins`` = 161, 50 Hz apart (8 kHz).
State: see :meth:`Bandgate.initial`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from . import bandwise
from .bandwise import BINS, FEATURES, FLOOR, PATCH, PATCHES, TAPS
from .parts import erb_bands

AVERAGES = "unmuffle::Averages"
"""Operator by which :func:`averages` stands in an exported graph, until the exporter puts in what it means."""


@dataclass(frozen=True)
class BandgateConfig:
    """Sizes of :class:`Bandgate`.

    Attributes:
        bands: that share the averages.
        width: features of a band.
        units: averages of each band in each layer.
        layers: of averages and mixing.
        memory: time constant of the level, in frames.
    """

    bands: int = 16
    width: int = 48
    units: int = 64
    layers: int = 3
    memory: int = 100

    def __post_init__(self) -> None:
        if not (
            4 <= self.bands <= PATCHES
            and self.width >= 4
            and self.units >= 4
            and self.layers >= 1
            and self.memory >= 2
        ):
            raise ParameterError(
                f"{self} makes no network; bands 4..{PATCHES}, width 4, units 4, layers 1, memory 2 or more"
            )


class Layer(nn.Module):
    """Gated averages over time, then a mix over bands and over features, added to what it was given."""

    def __init__(self, bands: int, width: int, units: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, units)
        self.candidate = nn.Linear(width, units)
        self.across = nn.Parameter(torch.eye(bands) + 0.1 * torch.randn(bands, bands) / math.sqrt(bands))
        self.shift = nn.Parameter(torch.zeros(bands, units))
        self.blend = nn.Linear(units, width, bias=False)
        with torch.no_grad():
            # From averages over a frame and a half to some over half a second.
            self.gate.weight.mul_(0.5)
            self.gate.bias.copy_(torch.linspace(1.0, -4.0, units))
            self.blend.weight.mul_(0.5)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` (frames, rows, bands, width); state (rows, bands, units)."""
        h = averages(torch.sigmoid(self.gate(x)), self.candidate(x), state)
        y = torch.relu(torch.matmul(self.across, h) + self.shift)
        return x + self.blend(y), h[-1]


class Bandgate(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = True

    def __init__(self, config: BandgateConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or BandgateConfig()
        self.patch = nn.Conv1d(FEATURES, c.width, 2 * PATCH, PATCH, PATCH // 2)
        erb = erb_bands(PATCHES, 8000.0, c.bands)  # each row adds up to one
        self.gather = nn.Linear(PATCHES, c.bands, bias=False)
        self.place = nn.Parameter(0.3 * torch.randn(c.bands, c.width))
        self.layers = nn.ModuleList(Layer(c.bands, c.width, c.units) for _ in range(c.layers))
        self.spread = nn.Linear(c.bands, PATCHES, bias=False)
        # Of each patch the taps of eight bins, two beyond either side: neighbours share them.
        self.taps = nn.ConvTranspose1d(c.width, TAPS, 2 * PATCH, PATCH, PATCH // 2, output_padding=1)
        with torch.no_grad():
            self.gather.weight.copy_((erb / erb.sum(0, keepdim=True)).T)
            self.spread.weight.copy_(erb)
            # Begin as a wire: unit gain on the present frame, nothing from the past one.
            self.taps.weight.mul_(0.2)
            self.taps.bias.zero_()  # type: ignore[union-attr]
            self.taps.bias[0] = 1.0  # type: ignore[index]

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return ["level", "past", *(f"h{i}" for i in range(self.config.layers))]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame.

        ``level`` (batch, 2): the running mean of magnitudes, with a floor, and that of ones; ``past`` (batch, channels,
        1, bins, 2): the frame before; ``h*`` (batch, bands, units).
        """
        c = self.config
        state = [torch.zeros(batch, 2), torch.zeros(batch, channels, 1, BINS, 2)]
        return state + [torch.zeros(batch, c.bands, c.units) for _ in range(c.layers)]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Filtered spectrum and the new state."""
        c = self.config
        level, past = state[0], state[1]
        batch, _, frames = spectrum.shape[:3]
        before = torch.cat((past, spectrum), 2)
        past = before[:, :, -1:]
        before = before[:, :, :-1]
        re, im = spectrum[..., 0].contiguous(), spectrum[..., 1].contiguous()
        pre, pim = before[..., 0].contiguous(), before[..., 1].contiguous()
        clues, mean = bandwise.clues(re, im, pre, pim)
        seen = torch.stack((mean + FLOOR, torch.ones_like(mean)), -1).transpose(0, 1)
        seen = averages(torch.full_like(seen, 1.0 / c.memory), seen, level)
        scale = seen[..., 1] / seen[..., 0]
        features = clues * scale.T[:, None, :, None]
        # Patches: rows of one frame each, time first for the averages.
        rows = features.permute(2, 0, 1, 3).reshape(frames * batch, FEATURES, BINS - 1)
        patches = torch.relu(self.patch(rows))
        x = (self.gather(patches).transpose(1, 2) + self.place).reshape(frames, batch, c.bands, c.width)
        carried = []
        for i, layer in enumerate(self.layers):
            x, h = layer(x, state[2 + i].to(x.dtype))
            carried.append(h)
        wide = self.spread(x.reshape(frames * batch, c.bands, c.width).transpose(1, 2))
        taps = self.taps(torch.relu(wide + patches))
        taps = taps.reshape(frames, batch, TAPS, BINS).permute(2, 1, 0, 3).unsqueeze(2).to(spectrum.dtype)
        a, b, p, q = taps.unbind(0)
        out_re = a * re - b * im + p * pre - q * pim
        out_im = a * im + b * re + p * pim + q * pre
        return (torch.stack((out_re, out_im), -1), seen[-1], past, *carried)

    def streaming(self) -> nn.Module:
        """The same network on the weights of this one, arranged for ONNX Runtime."""
        return BandgateStream(self)


class BandgateStream(nn.Module):
    """:class:`Bandgate` for one or more streams, arranged for ONNX Runtime.

    What :class:`~.bandwise.BandwiseStream` does for its network: linear steps as products with constant matrices,
    powers by logarithm and exponential, no shape that depends on anything but the number of frames, channels and
    streams, and the parameters in the file as they were trained.

    ``forward(spectrum, *state)``: ``spectrum`` is ``(channels, frames, 2, bins)``, and so is the first result. The
    state is that of :meth:`Bandgate.initial` without the axis of the batch, but that ``past`` is
    ``(channels, 1, 2, bins)``. Of ``n`` streams the frames are those of each moment, one of every stream, and then
    those of the next; their states lie side by side along the axes of :attr:`streams`.

    A frame of one channel alone is the case that must be quick, and needs no axes at all: :meth:`alone` is the graph
    for it, with matrices for tensors. An exported file holds both.
    """

    keeps_parameters = True
    own_operators = True

    products: Tensor
    floor: Tensor
    squares: Tensor
    least: Tensor
    powers: Tensor
    meter: Tensor
    filter: Tensor

    def __init__(self, net: Bandgate) -> None:
        super().__init__()
        self.net = net
        for name, value in bandwise.constants().items():
            self.register_buffer(name, value, persistent=False)
        meter = torch.zeros(BINS, 2)
        meter[2:81, 0] = 1.0 / 79.0
        self.register_buffer("meter", meter, persistent=False)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return self.net.state_names()

    @property
    def streams(self) -> dict[str, int]:
        """The axis of each state along which streams lie side by side."""
        return {name: 1 if name == "past" else 0 for name in self.state_names()}

    def initial(self, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        level, _, *rest = self.net.initial(1, channels)
        return [level, torch.zeros(channels, 1, 2, BINS), *(h[0] for h in rest)]

    def alone(self) -> nn.Module:
        """The same for one frame of one channel of one stream."""
        return _Alone(self)

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Filtered spectrum and the new state."""
        net, c = self.net, self.net.config
        channels, streams = spectrum.shape[0], state[0].shape[0]
        seen = torch.cat((state[1], spectrum), 1)
        both = torch.cat((spectrum, seen[:, :-streams]), 2)
        steps = bandwise.shown(self, spectrum, both)
        now = torch.matmul(steps[:, 0], self.meter).reshape(-1, streams, 2)
        now = now + torch.tensor([FLOOR, 1.0])
        means = averages(torch.ones_like(now) / c.memory, now, state[0])
        mean, known = means.reshape(-1, 1, 2).split([1, 1], -1)
        # A column of zeros in front of the filters: the lowest bin is there and counts for nothing.
        kernel = torch.cat((torch.zeros(c.width, FEATURES, 1), net.patch.weight), 2)
        features = (steps * (known / mean)).reshape(-1, FEATURES, BINS)
        patches = torch.relu(nn.functional.conv1d(features, kernel, net.patch.bias, PATCH, PATCH // 2))
        x = torch.matmul(net.gather.weight, patches.transpose(1, 2)) + net.place
        carried = []
        for layer, h in zip(net.layers, state[2:], strict=True):
            assert isinstance(layer, Layer)  # ModuleList knows only Module
            rows = x.reshape(-1, streams * c.bands, c.width)  # of a moment, and then of the next
            y = averages(torch.sigmoid(layer.gate(rows)), layer.candidate(rows), h)
            carried.append(y[-1])
            y = torch.relu(torch.matmul(layer.across, y.reshape(-1, c.bands, c.units)) + layer.shift)
            x = x + torch.matmul(y, layer.blend.weight.T)
        wide = torch.relu(torch.matmul(x.transpose(1, 2), net.spread.weight.T) + patches)
        taps = self.net.taps(wide).reshape(-1, 2, 2, 1, BINS)
        out = (taps * both.reshape(channels, -1, 2, 1, 2, BINS)).reshape(channels, -1, 2 * TAPS, BINS)
        return (torch.matmul(self.filter, out), means[-1], seen[:, -streams:], *carried)


class _Alone(nn.Module):
    """One frame of one channel: see :class:`BandgateStream`."""

    def __init__(self, form: BandgateStream) -> None:
        super().__init__()
        self.net = form.net  # first: then its parameters have the names that they have in the form
        self.form = form

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The same tensors as those of the form, for one frame."""
        form, net, c = self.form, self.net, self.net.config
        both = torch.cat((spectrum, state[1]), 2)
        steps = bandwise.shown_alone(form, spectrum, both)
        first = torch.zeros(1, steps.shape[0])
        first[0, 0] = 1.0 / c.memory
        keep = 1.0 - 1.0 / c.memory
        offset = torch.tensor([[FLOOR, 1.0]]) / (c.memory * keep)
        level = torch.addmm(state[0] + offset, first, torch.mm(steps, form.meter), beta=keep)
        mean, known = level.split([1, 1], 1)
        patches = bandwise.patched(net.patch, steps * (known / mean))
        x = torch.addmm(net.place, net.gather.weight, patches.t())
        carried = []
        for layer, h in zip(net.layers, state[2:], strict=True):
            assert isinstance(layer, Layer)
            z = torch.sigmoid(nn.functional.linear(x, layer.gate.weight, layer.gate.bias))
            new = nn.functional.linear(x, layer.candidate.weight, layer.candidate.bias)
            h = h + z * (new - h)
            carried.append(h)
            y = torch.relu(torch.addmm(layer.shift, layer.across, h))
            x = torch.addmm(x, y, layer.blend.weight.t())
        wide = torch.relu(torch.addmm(patches, x.t(), net.spread.weight.t())).reshape(1, c.width, PATCHES)
        return (bandwise.filtered_alone(form, net.taps(wide), both), level, spectrum, *carried)


def averages(z: Tensor, c: Tensor, h: Tensor) -> Tensor:
    r""":math:`h_t = h_{t-1} + z_t (c_t - h_{t-1})` along the first axis.

    Args:
        z, c: gates from 0 to 1 and candidates, ``(frames, ...)``.
        h: before the first frame, ``(...)``.

    Returns:
        All of them, ``(frames, ...)``.
    """
    return _Averages.apply(z, c, h)  # type: ignore[no-any-return, no-untyped-call]


class _Averages(torch.autograd.Function):
    """With a gradient of its own: the same chain, backwards. In a graph it is one operator (:data:`AVERAGES`)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, c: Tensor, h: Tensor) -> Tensor:
        z, c = z.contiguous(), c.contiguous()
        out = _chain(1.0 - z, z * c, h)
        ctx.save_for_backward(z, c, h, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, c, h, out = ctx.saved_tensors
        keep = 1.0 - z
        # What a value is worth: at its own time, and through all that come after it.
        later = torch.cat((torch.ones_like(keep[:1]), keep[1:].flip(0)))
        worth = _chain(later, grads[0].flip(0), torch.zeros_like(h)).flip(0)
        before = torch.cat((h[None], out[:-1]))
        return worth * (c - before), worth * z, worth[0] * keep[0]

    @staticmethod
    def symbolic(g: Any, z: Any, c: Any, h: Any) -> Any:
        out = g.op(AVERAGES, z, c, h)
        out.setType(z.type())
        return out


def _chain(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """``h_t = a_t h_{t-1} + b_t``, in the way that suits the device."""
    return _doubled(a, b, h) if a.is_cuda else _chained(a, b, h)


def _chained(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """One after the other."""
    out = torch.empty_like(b)
    for t in range(a.shape[0]):
        h = torch.addcmul(b[t], a[t], h, out=out[t])
    return out


def _doubled(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    """All at once, for twice as many frames with each pass: two stretches that follow each other make one."""
    b = torch.cat((b[:1] + a[:1] * h, b[1:]))
    step = 1
    while step < a.shape[0]:
        b = torch.cat((b[:step], b[step:] + a[step:] * b[:-step]))
        a = torch.cat((a[:step], a[step:] * a[:-step]))
        step *= 2
    return b
