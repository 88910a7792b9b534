"""``demucs``: a U-Net on the waveform with an LSTM in the middle.

Defossez, Synnaeve & Adi (Interspeech 2020): encoder layers of a strided convolution (kernel K = 8,
stride S = 4), ReLU, and a 1 x 1 convolution with a gated linear unit, channels H = 48 doubling from
layer to layer; a causal LSTM of two layers; a decoder of the mirror image, whose outputs are added to,
not joined with, the encoder's. The input is divided by its level, measured on what came so far.

Here without the resampling by 4 around the network (which costs four times the compute), so four
layers instead of five make a frame of 256 samples, 16 ms; and aligned so that every layer sees the past
only: an output frame is done when the next one has come, 256 samples late.

A network of waveforms: ``(batch, 1, frames, 256)`` in and out. State: ``level`` (batch, 2, memory - 1);
``e<i>``, ``d<i>``: what overlaps between frames, (batch, channels, K - S); ``s<i>``: skips that wait,
(batch, channels, lag); ``h``, ``c``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import Meter

_KERNEL, _STRIDE = 8, 4
_FLOOR = 1e-4


@dataclass(frozen=True)
class DemucsConfig:
    """Sizes of :class:`Demucs`: channels of the first layer, layers, frames of the level's memory."""

    H: int = 48
    L: int = 4
    memory: int = 64

    def __post_init__(self) -> None:
        if self.H < 2 or not 1 <= self.L <= 5 or self.memory < 2:
            raise ParameterError(f"{self} makes no network; H >= 2, L 1..5, memory >= 2")


class Demucs(nn.Module):
    """The network; see the module's text."""

    domain = "wave"
    spec = StftSpec()
    sample_rate = 16_000
    causal = True
    linked = False

    def __init__(self, config: DemucsConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or DemucsConfig()
        self.frame = _STRIDE**c.L
        # Each decoder layer withholds K - S outputs of its own rate: in all almost a frame.
        self.latency = sum((_KERNEL - _STRIDE) * _STRIDE**i for i in range(c.L))
        self.channels = [1, *(c.H << i for i in range(c.L))]
        self.meter = Meter(c.memory)
        self.down = nn.ModuleList(
            nn.Conv1d(self.channels[i], self.channels[i + 1], _KERNEL, _STRIDE) for i in range(c.L)
        )
        self.down_gates = nn.ModuleList(nn.Conv1d(n, 2 * n, 1) for n in self.channels[1:])
        top = self.channels[-1]
        self.lstm = nn.LSTM(top, top, 2)
        self.up_gates = nn.ModuleList(nn.Conv1d(n, 2 * n, 1) for n in self.channels[:0:-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(self.channels[i], self.channels[i - 1], _KERNEL, _STRIDE) for i in range(c.L, 0, -1)
        )

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        count = self.config.L
        names = ["level", *(f"e{i}" for i in range(count)), *(f"d{i}" for i in range(count))]
        return [*names, *(f"s{i}" for i in range(1, count)), "h", "c"]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        count, extra = self.config.L, _KERNEL - _STRIDE
        state = [self.meter.initial(batch)]
        state += [torch.zeros(batch, self.channels[i], extra) for i in range(count)]
        state += [torch.zeros(batch, self.channels[i - 1], extra) for i in range(count, 0, -1)]
        # Skips wait until the decoder has caught up with them; the innermost need not.
        state += [torch.zeros(batch, self.channels[i], self._lag(i)) for i in range(count - 1, 0, -1)]
        return state + [torch.zeros(2, batch, self.channels[-1]) for _ in range(2)]

    def _lag(self, layer: int) -> int:
        """Samples, at the rate below ``layer``, by which the decoder's input there lags behind the encoder."""
        count = self.config.L
        lag = 0
        for _ in range(count - layer):
            lag = lag * _STRIDE + (_KERNEL - _STRIDE)
        return lag

    def forward(self, samples: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Enhanced samples and new state."""
        count, extra = self.config.L, _KERNEL - _STRIDE
        x = samples[:, 0]
        batch, frames, size = x.shape
        power, level = self.meter(x.square().mean(-1), state[0])
        scale = torch.sqrt(power + _FLOOR * _FLOOR).unsqueeze(-1)
        y = (x / scale).reshape(batch, 1, frames * size)
        after = [level]
        scales: list[Tensor] = []
        for i in range(count):
            y = torch.cat((state[1 + i].to(y.dtype), y), 2)
            after.append(y[:, :, y.shape[2] - extra :].to(x.dtype))
            y = nn.functional.glu(self.down_gates[i](torch.relu(self.down[i](y))), 1)
            scales.append(y)
        z, (h, c) = self.lstm(y.permute(2, 0, 1), (state[-2], state[-1]))
        y = z.permute(1, 2, 0)
        waiting: list[Tensor] = []
        for k, i in enumerate(range(count, 0, -1)):
            skip = scales[i - 1]
            lag = self._lag(i)
            if lag:
                skip = torch.cat((state[2 * count + k].to(skip.dtype), skip), 2)
                waiting.append(skip[:, :, skip.shape[2] - lag :].to(x.dtype))
                skip = skip[:, :, : skip.shape[2] - lag]
            y = nn.functional.glu(self.up_gates[k](y + skip), 1)
            # The bias belongs to each sample once, not to each of the two kernels that cover it.
            up = self.up[k]
            wide = nn.functional.conv_transpose1d(y, up.weight, None, _STRIDE)
            head = wide[:, :, :extra] + state[1 + count + k].to(wide.dtype)
            wide = torch.cat((head, wide[:, :, extra:]), 2)
            done = wide.shape[2] - extra
            after.append(wide[:, :, done:].to(x.dtype))
            y = wide[:, :, :done] + up.bias[None, :, None]
            if i > 1:
                y = torch.relu(y)
        out = y.reshape(batch, frames, size).to(x.dtype) * scale
        return (out.unsqueeze(1), *after, *waiting, h, c)
