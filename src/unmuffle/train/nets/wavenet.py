"""``wavenet``: dilated convolutions from waveform to waveform, looking both ways.

Rethage, Pons & Serra (ICASSP 2018): a 3 x 1 convolution to 128 channels, three stacks of ten layers with
dilations 1, 2, .. 512, each of two gated 3-tap convolutions (tanh times sigmoid), a residual and a skip
output of 128; the sum of the skips through two 3-tap convolutions of 2048 and 256 channels and a 1 x 1 one
to the waveform. It sees 384 ms around a sample and gives no mask but the voice itself (and the noise as
what is left). About 6.3 million weights; it needs the whole signal.

A network of waveforms: ``(batch, 1, frames, 160)`` samples in and out, no state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec


@dataclass(frozen=True)
class WavenetConfig:
    """Sizes of :class:`Wavenet`, the paper's by default."""

    channels: int = 128
    layers: int = 10
    stacks: int = 3
    wide: int = 2048
    narrow: int = 256

    def __post_init__(self) -> None:
        if min(self.channels, self.layers, self.stacks, self.wide, self.narrow) < 1 or self.layers > 12:
            raise ParameterError(f"{self} makes no network; sizes 1 or more, at most 12 layers")


class Wavenet(nn.Module):
    """The network; see the module's text."""

    domain = "wave"
    spec = StftSpec()
    sample_rate = 16_000
    frame, latency = 160, 0
    causal = False
    linked = False

    def __init__(self, config: WavenetConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or WavenetConfig()
        self.enter = nn.Conv1d(1, c.channels, 3, padding=1)
        dilations = [1 << i for _ in range(c.stacks) for i in range(c.layers)]
        self.gates = nn.ModuleList(
            nn.Conv1d(c.channels, 2 * c.channels, 3, dilation=d, padding=d, bias=False) for d in dilations
        )
        self.both = nn.ModuleList(nn.Conv1d(c.channels, 2 * c.channels, 1) for _ in dilations)
        self.wide = nn.Conv1d(c.channels, c.wide, 3, padding=1)
        self.narrow = nn.Conv1d(c.wide, c.narrow, 3, padding=1)
        self.last = nn.Conv1d(c.narrow, 1, 1)

    def state_names(self) -> list[str]:
        """None: it looks ahead."""
        return []

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """None: it looks ahead."""
        return []

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        """Enhanced samples."""
        batch, _, frames, size = samples.shape
        x = samples.reshape(batch, 1, frames * size)
        # The level is taken out and put back; 1e-4 keeps silence silent.
        scale = torch.sqrt(x.square().mean(2, keepdim=True) + 1e-8)
        y = self.enter(x / scale)
        total = torch.zeros_like(y)
        for gate, both in zip(self.gates, self.both, strict=True):
            a, b = gate(y).chunk(2, 1)
            residual, skip = both(torch.tanh(a) * torch.sigmoid(b)).chunk(2, 1)
            y, total = y + residual, total + skip
        z = torch.relu(self.narrow(torch.relu(self.wide(torch.relu(total)))))
        return ((self.last(z) * scale).reshape(batch, 1, frames, size),)
