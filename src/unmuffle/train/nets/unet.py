"""``unet``: a convolutional encoder and decoder over frequency, joined by skips at every scale.

After Jansson et al. (ISMIR 2017): magnitudes through stride-2 convolutions of 16, 32, 64, ... channels
and back, skips between equal sizes, a sigmoid mask. There the kernels are 5 x 5, six deep, and stride
along time as well, which needs whole patches of 128 frames; here they stride along frequency only and see
one past frame (2 x 5), so that it streams. ``mapping`` gives magnitudes instead of a mask.

Shapes: ``(batch, 1, frames, 161, 2)`` in and out. State: ``level`` (batch, 2, 99); ``e<i>`` and ``d<i>``,
the past frame of each encoder and decoder layer, (batch, channels, 1, bins at that scale).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import Meter, TimeConv, log_magnitude

BINS = 161
_WIDTH = 5


@dataclass(frozen=True)
class UnetConfig:
    """Sizes of :class:`Unet`: channels of the first layer (each next has twice as many), depth, answer."""

    channels: int = 16
    depth: int = 5
    mapping: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1 or not 1 <= self.depth <= 6:
            raise ParameterError(f"{self} makes no network; channels >= 1, depth 1..6")


class Unet(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = False

    def __init__(self, config: UnetConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or UnetConfig()
        self.meter = Meter()
        self.channels = [1, *(c.channels << i for i in range(c.depth))]
        self.widths = [BINS]
        for _ in range(c.depth):
            self.widths.append((self.widths[-1] - 1) // 2 + 1)
        self.encoder = nn.ModuleList(
            TimeConv(self.channels[i], self.channels[i + 1], (2, _WIDTH), 2, _WIDTH // 2) for i in range(c.depth)
        )
        self.encoder_norms = nn.ModuleList(nn.BatchNorm2d(n) for n in self.channels[1:])
        # The decoder undoes a stride by repeating bins and smoothing: no checkerboard, any width.
        self.decoder = nn.ModuleList()
        self.decoder_norms = nn.ModuleList()
        for i in range(c.depth, 0, -1):
            inputs = self.channels[i] if i == c.depth else 2 * self.channels[i]
            outputs = self.channels[i - 1] if i > 1 else c.channels
            self.decoder.append(TimeConv(inputs, outputs, (2, _WIDTH), 1, _WIDTH // 2))
            self.decoder_norms.append(nn.BatchNorm2d(outputs))
        self.last = nn.Conv2d(c.channels + 1, 1, 1)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        depth = self.config.depth
        return ["level", *(f"e{i}" for i in range(depth)), *(f"d{i}" for i in range(depth))]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        depth = self.config.depth
        state = [self.meter.initial(batch)]
        state += [torch.zeros(batch, self.channels[i], 1, self.widths[i]) for i in range(depth)]
        for i in range(depth, 0, -1):
            inputs = self.channels[i] if i == depth else 2 * self.channels[i]
            state.append(torch.zeros(batch, inputs, 1, self.widths[i - 1]))
        return state

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Spectrum with the network's mask or magnitudes, and new state."""
        depth = self.config.depth
        logs = log_magnitude(spectrum[:, 0])
        mean, level = self.meter(logs.mean(-1), state[0])
        x = (logs - mean.unsqueeze(-1)).unsqueeze(1)
        after = [level]
        y, scales = x, [x]
        for i in range(depth):
            y, past = self.encoder[i](y, state[1 + i])
            y = nn.functional.leaky_relu(self.encoder_norms[i](y), 0.2)
            scales.append(y)
            after.append(past)
        for k, i in enumerate(range(depth, 0, -1)):
            if k:
                y = torch.cat((y, scales[i]), 1)
            y = torch.repeat_interleave(y, 2, 3)[..., : self.widths[i - 1]]
            y, past = self.decoder[k](y, state[1 + depth + k])
            y = torch.relu(self.decoder_norms[k](y))
            after.append(past)
        answer = self.last(torch.cat((y, x), 1))[:, 0]
        if self.config.mapping:
            gain = torch.exp(answer.clamp(max=1.4))  # log magnitudes of speech less those of the input
        else:
            gain = torch.sigmoid(answer + 1.0)
        return (gain[:, None, :, :, None].to(spectrum.dtype) * spectrum, *after)
