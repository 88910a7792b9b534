"""``r-ced``: a light convolutional network of ten layers without any recurrence.

Convolutions along frequency over the magnitudes of the present and the seven frames before it, the
number of filters growing to the middle and falling again while nothing is downsampled: the redundant
convolutional encoder-decoder of Park & Lee (Interspeech 2017). Filters 12-16-20-24-32-24-20-16-12-1,
widths 13-11-9-7-7-7-9-11-13-129 there, with skips from layer i to layer 10 - i. About 33 000 weights.
The answer is a gain here (magnitude mapping of the paper: ``mapping = true``).

Shapes: ``(batch, 1, frames, 161, 2)`` in and out. State: ``past`` (batch, 1, 7, 161) log magnitudes,
``level`` (batch, 2, 99) of the meter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import LOG_FLOOR, Meter, log_magnitude

BINS = 161
FILTERS = (12, 16, 20, 24, 32, 24, 20, 16, 12)
WIDTHS = (13, 11, 9, 7, 7, 7, 9, 11, 13)
LAST_WIDTH = 129


@dataclass(frozen=True)
class RcedConfig:
    """Sizes of :class:`Rced`: frames that it sees, and whether it gives magnitudes or a gain."""

    frames: int = 8
    mapping: bool = False

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ParameterError(f"frames = {self.frames}; give 2 or more")


class Rced(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = False

    def __init__(self, config: RcedConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or RcedConfig()
        self.meter = Meter()
        sizes = (c.frames, *FILTERS)
        self.layers = nn.ModuleList(
            nn.Conv1d(sizes[i], sizes[i + 1], WIDTHS[i], padding=WIDTHS[i] // 2) for i in range(len(FILTERS))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in FILTERS)
        self.last = nn.Conv1d(FILTERS[-1], 1, LAST_WIDTH, padding=LAST_WIDTH // 2)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return ["past", "level"]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame: silence."""
        return [torch.zeros(batch, self.config.frames - 1, BINS), self.meter.initial(batch)]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Spectrum with the network's gain or magnitudes, and new state."""
        n = self.config.frames
        batch, count = spectrum.shape[0], spectrum.shape[2]
        logs = log_magnitude(spectrum[:, 0])
        mean, level = self.meter(logs.mean(-1), state[1])
        x = logs - mean.unsqueeze(-1)
        seen = torch.cat((state[0], x), 1)
        past = seen[:, 1 - n :]
        stacked = torch.stack([seen[:, i : i + count] for i in range(n)], 2).reshape(batch * count, n, BINS)
        y = stacked
        kept: list[Tensor] = []
        last = len(FILTERS) - 1
        for i, (conv, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            y = norm(torch.relu(conv(y)))
            if i < last - i:
                kept.append(y)
            elif i > last - i:
                y = y + kept[last - i]
        answer = self.last(y).reshape(batch, count, BINS)
        if self.config.mapping:
            # Log magnitudes of speech, relative to the level; the phase is the noisy one.
            gain = torch.exp((x + answer).clamp(max=8.0) - x).clamp(max=4.0)
        else:
            gain = torch.sigmoid(answer + 1.0)
        quiet = (spectrum[:, 0].square().sum(-1) > LOG_FLOOR * 1e-4).to(gain.dtype)
        return ((gain * quiet)[:, None, :, :, None].to(spectrum.dtype) * spectrum, past, level)
