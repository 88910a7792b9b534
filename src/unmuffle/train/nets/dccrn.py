"""``dccrn``: a U-Net of complex convolutions with a complex LSTM in the middle.

Hu et al. (Interspeech 2020): real and imaginary part go through convolutions that multiply as complex
numbers do, (W_r + j W_i)(x_r + j x_i), six layers of 32-64-128-128-256-256 channels (both parts
together), kernels of 5 bins by 2 frames, stride 2 along frequency; two complex LSTMs of 128; a decoder
with skips; and a complex mask in polar form ("E"): its magnitude through tanh, its phase added. Kernels
see the past frame, not the next one as in the paper, so there is no look-ahead. Frames are ours (20 ms,
161 bins instead of 257), which makes the middle smaller: 2.8 M weights instead of 3.7 M.

Shapes: ``(batch, 1, frames, 161, 2)`` in and out. State: ``e<i>``, ``d<i>``: past frames (batch, channels,
1, bins); ``h``, ``c``: (2, 2 batch, hidden) of the two real LSTMs of each complex one, ``h0 c0 h1 c1``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import TimeConv

BINS = 160  # the bin at half the sample rate passes with the gain of the one below it


@dataclass(frozen=True)
class DccrnConfig:
    """Sizes of :class:`Dccrn`: a multiplier of all channels (1 is the paper's) and the LSTMs' units."""

    width: float = 1.0
    hidden: int = 128

    def __post_init__(self) -> None:
        if not 0.05 <= self.width <= 4 or self.hidden < 4:
            raise ParameterError(f"{self} makes no network; width 0.05..4, hidden >= 4")


class ComplexConv(nn.Module):
    """A complex convolution over past and present frames; channels hold real parts, then imaginary ones."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.re = TimeConv(inputs, outputs, (2, 5), stride, 2)
        self.im = TimeConv(inputs, outputs, (2, 5), stride, 2)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Convolved frames and new state."""
        seen = torch.cat((state, x), 2)
        xr, xi = seen.chunk(2, 1)
        re = self.re.conv(xr) - self.im.conv(xi)
        im = self.re.conv(xi) + self.im.conv(xr)
        return torch.cat((re, im), 1), seen[:, :, -1:]


class Dccrn(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = False

    def __init__(self, config: DccrnConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or DccrnConfig()
        # Complex channels, half of what the paper counts.
        self.channels = [1, *(max(2, round(n * c.width)) for n in (16, 32, 64, 64, 128, 128))]
        self.widths = [BINS]
        for _ in self.channels[1:]:
            self.widths.append((self.widths[-1] - 1) // 2 + 1)
        depth = len(self.channels) - 1
        self.encoder = nn.ModuleList(ComplexConv(self.channels[i], self.channels[i + 1], 2) for i in range(depth))
        self.encoder_norms = nn.ModuleList(nn.BatchNorm2d(2 * n) for n in self.channels[1:])
        self.encoder_slopes = nn.ModuleList(nn.PReLU() for _ in range(depth))
        flat = self.channels[-1] * self.widths[-1]
        self.real_lstms = nn.ModuleList((nn.LSTM(flat, c.hidden), nn.LSTM(c.hidden, c.hidden)))
        self.imag_lstms = nn.ModuleList((nn.LSTM(flat, c.hidden), nn.LSTM(c.hidden, c.hidden)))
        self.back_re, self.back_im = nn.Linear(c.hidden, flat), nn.Linear(c.hidden, flat)
        self.decoder = nn.ModuleList()
        self.decoder_norms = nn.ModuleList()
        self.decoder_slopes = nn.ModuleList()
        for i in range(depth, 0, -1):
            outputs = self.channels[i - 1] if i > 1 else 1
            self.decoder.append(ComplexConv(2 * self.channels[i], outputs, 1))
            self.decoder_norms.append(nn.BatchNorm2d(2 * outputs) if i > 1 else nn.Identity())
            self.decoder_slopes.append(nn.PReLU() if i > 1 else nn.Identity())

    @property
    def depth(self) -> int:
        """Layers of the encoder."""
        return len(self.channels) - 1

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        names = [f"e{i}" for i in range(self.depth)] + [f"d{i}" for i in range(self.depth)]
        return [*names, "hr0", "cr0", "hi0", "ci0", "hr1", "cr1", "hi1", "ci1"]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        state = [torch.zeros(batch, 2 * self.channels[i], 1, self.widths[i]) for i in range(self.depth)]
        for i in range(self.depth, 0, -1):
            state.append(torch.zeros(batch, 4 * self.channels[i], 1, self.widths[i - 1]))
        return state + [torch.zeros(1, 2 * batch, self.config.hidden) for _ in range(8)]

    def _complex_lstm(self, x: Tensor, layer: int, state: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """A complex LSTM on (frames, 2 batch, units): real parts first, imaginary parts second in the batch."""
        half = x.shape[1] // 2
        a, (hr, cr) = self.real_lstms[layer](x, (state[0], state[1]))
        b, (hi, ci) = self.imag_lstms[layer](x, (state[2], state[3]))
        re = a[:, :half] - b[:, half:]
        im = a[:, half:] + b[:, :half]
        return torch.cat((re, im), 1), [hr, cr, hi, ci]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Masked spectrum and new state."""
        depth = self.depth
        x = spectrum[:, 0, :, :BINS]
        y = torch.stack((x[..., 0], x[..., 1]), 1)
        after: list[Tensor] = []
        scales: list[Tensor] = []
        for i in range(depth):
            y, past = self.encoder[i](y, state[i])
            y = self.encoder_slopes[i](self.encoder_norms[i](y))
            scales.append(y)
            after.append(past)
        batch, _, count, width = y.shape
        flat = y.reshape(batch, 2, self.channels[-1], count, width).permute(3, 1, 0, 2, 4)
        z = flat.reshape(count, 2 * batch, self.channels[-1] * width)
        held: list[Tensor] = []
        for layer in range(2):
            k = 2 * depth + 4 * layer
            z, some = self._complex_lstm(z, layer, state[k : k + 4])
            held += some
        re, im = z[:, :batch], z[:, batch:]
        z = torch.cat((self.back_re(re) - self.back_im(im), self.back_re(im) + self.back_im(re)), 1)
        z = z.reshape(count, 2, batch, self.channels[-1], width).permute(2, 1, 3, 0, 4)
        y = z.reshape(batch, 2 * self.channels[-1], count, width)
        for k, i in enumerate(range(depth, 0, -1)):
            n = self.channels[i]
            # Keep real parts together and imaginary parts together when joining with the skip.
            a, b = y.split([n, n], 1)
            p, q = scales[i - 1].split([n, n], 1)
            y = torch.repeat_interleave(torch.cat((a, p, b, q), 1), 2, 3)[..., : self.widths[i - 1]]
            y, past = self.decoder[k](y, state[depth + k])
            y = self.decoder_slopes[k](self.decoder_norms[k](y))
            after.append(past)
        mr, mi = y[:, 0], y[:, 1]
        size = torch.sqrt(mr.square() + mi.square() + 1e-8)
        gain = torch.tanh(size) / size
        mr, mi = gain * mr, gain * mi
        mr, mi = torch.cat((mr, mr[..., -1:]), -1), torch.cat((mi, mi[..., -1:]), -1)
        mr, mi = mr.to(spectrum.dtype), mi.to(spectrum.dtype)
        re, im = spectrum[:, 0, ..., 0], spectrum[:, 0, ..., 1]
        out = torch.stack((mr * re - mi * im, mr * im + mi * re), -1).unsqueeze(1)
        return (out, *after, *held)
