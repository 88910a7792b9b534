"""``mask-lstm``: recurrent layers that estimate a real mask, the plain deep-learning baseline.

Log magnitudes, less their mean over the last second, go through LSTMs; a dense layer with a sigmoid
gives a mask in [0, 1], trained towards the clean spectrum (which makes it phase-sensitive). Sizes
after Erdogan, Hershey, Watanabe & Le Roux (ICASSP 2015): two layers of 256. ``bidirectional`` reads the
signal in both directions and needs all of it.

Shapes: ``(batch, 1, frames, 161, 2)`` in and out. State (causal only): ``level`` (batch, 2, 99) of the
meter, ``h`` and ``c`` (layers, batch, hidden).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import Meter, log_magnitude

BINS = 161


@dataclass(frozen=True)
class MaskLstmConfig:
    """Sizes of :class:`MaskLstm`."""

    hidden: int = 256
    layers: int = 2
    bidirectional: bool = False

    def __post_init__(self) -> None:
        if self.hidden < 4 or self.layers < 1:
            raise ParameterError(f"{self} makes no network; hidden >= 4, layers >= 1")


class MaskLstm(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    linked = False

    def __init__(self, config: MaskLstmConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or MaskLstmConfig()
        self.causal = not c.bidirectional
        self.meter = Meter()
        self.lstm = nn.LSTM(BINS, c.hidden, c.layers, bidirectional=c.bidirectional)
        self.mask = nn.Linear(c.hidden * (2 if c.bidirectional else 1), BINS)
        nn.init.constant_(self.mask.bias, 2.0)  # begin by letting most through

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return ["level", "h", "c"] if self.causal else []

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        if not self.causal:
            return []
        c = self.config
        return [self.meter.initial(batch), *(torch.zeros(c.layers, batch, c.hidden) for _ in range(2))]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Masked spectrum and new state."""
        logs = log_magnitude(spectrum[:, 0])
        loud = logs.mean(-1)
        if self.causal:
            mean, level = self.meter(loud, state[0])
        else:
            mean = loud.mean(1, keepdim=True).expand_as(loud)
        x = (logs - mean.unsqueeze(-1)).transpose(0, 1)
        if self.causal:
            y, (h, c) = self.lstm(x, (state[1], state[2]))
            after: tuple[Tensor, ...] = (level, h, c)
        else:
            y, _ = self.lstm(x)
            after = ()
        mask = torch.sigmoid(self.mask(y)).transpose(0, 1)
        return (spectrum * mask[:, None, :, :, None].to(spectrum.dtype), *after)
