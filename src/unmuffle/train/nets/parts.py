"""Parts that several networks are built of, each with its state in and out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...enhancers.neural import bands

LOG_FLOOR = 1e-10


class Meter(nn.Module):
    """Mean over the last ``memory`` frames, or as many as there were: a level to divide or subtract.

    ``forward(x, state)``: ``x`` (batch, frames), state (batch, 2, memory - 1) of zeros at first, holding
    past values and 1 where there was one; gives the mean (batch, frames) and the new state.
    """

    def __init__(self, memory: int = 100) -> None:
        super().__init__()
        self.memory = memory

    def initial(self, batch: int) -> Tensor:
        """State before the first frame."""
        return torch.zeros(batch, 2, self.memory - 1)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and new state."""
        seen = torch.cat((state, torch.stack((x, torch.ones_like(x)), 1)), 2)
        pooled = nn.functional.avg_pool1d(seen, self.memory, stride=1)
        return pooled[:, 0] / pooled[:, 1], seen[:, :, 1 - self.memory :]


class TimeConv(nn.Module):
    """A 2-D convolution over (frames, bins) that sees the past only.

    ``forward(x, state)``: ``x`` (batch, channels, frames, bins); the state holds the ``past`` frames
    before it, (batch, channels, past, bins), which is what a kernel of ``past + 1`` frames needs.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1, pad: int = 0) -> None:
        super().__init__()
        self.past = kernel[0] - 1
        self.conv = nn.Conv2d(inputs, outputs, kernel, (1, stride), (0, pad))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Convolved frames and new state."""
        seen = torch.cat((state, x), 2)
        return self.conv(seen), seen[:, :, seen.shape[2] - self.past :]


def log_magnitude(spectrum: Tensor) -> Tensor:
    """Natural logarithm of the magnitude of ``(..., 2)``."""
    return 0.5 * torch.log(spectrum.square().sum(-1) + LOG_FLOOR)


def erb_bands(bins: int, top_hz: float, count: int) -> Tensor:
    """Triangles on the ERB-rate scale, ``(bins, count)``: :func:`unmuffle.enhancers.neural.bands.erb_bands`."""
    return torch.from_numpy(bands.erb_bands(bins, top_hz, count))
