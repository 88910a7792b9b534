"""Parts that several networks are built of, each with its state in and out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

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
    """Triangles evenly spaced on the ERB-rate scale, ``(bins, count)``; each row adds up to one.

    ERB-rate: 21.4 log10(1 + 0.00437 f) (Glasberg & Moore 1990). Where a band would be narrower than
    a bin, each bin is a band of its own.
    """
    steps = np.diff(np.log10(1.0 + 0.00437 * np.linspace(0.0, top_hz, bins)))
    # Scale the steps, none above one band, so that they add up to all bands.
    low, high = 0.0, (count - 1) / steps.min()
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.minimum(1.0, middle * steps).sum() < count - 1:
            low = middle
        else:
            high = middle
    place = np.concatenate(([0.0], np.cumsum(np.minimum(1.0, high * steps))))
    place *= (count - 1) / place[-1]
    shares = np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(count)[None]))
    return torch.from_numpy((shares / shares.sum(axis=1, keepdims=True)).astype(np.float32))
