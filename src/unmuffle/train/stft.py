"""The torch twin of :mod:`unmuffle.signal.stft`: the same frames, the same windows, with gradients.

A spectrum is real, shape ``(..., frames, bins, 2)``, real and imaginary part last: that is what
exported networks take, and mixed precision and optimisers know no complex numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..signal.stft import Frames


class Stft(nn.Module):
    """Analysis and synthesis of whole signals.

    ``forward`` equals ``Frames.forward`` started with silence, ``inverse`` equals ``Frames.inverse``
    with its delay taken off.

    Args:
        frames: of ``StftSpec.at(sample_rate)``.
    """

    analysis: Tensor
    synthesis: Tensor

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self.frames = frames
        self.register_buffer("analysis", torch.from_numpy(frames.analysis.copy()), persistent=False)
        self.register_buffer("synthesis", torch.from_numpy(frames.synthesis.copy()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Samples ``(..., n)`` to ``(..., frames, bins, 2)``: enough frames to give all samples back."""
        f = self.frames
        count = -(-(x.shape[-1] + f.latency) // f.hop)
        right = count * f.hop - x.shape[-1]
        padded = nn.functional.pad(x, (f.size - f.hop, right))
        # Joined pieces instead of `unfold`, whose gradient is ten times slower.
        parts = f.size // f.hop
        pieces = padded.reshape(*x.shape[:-1], count + parts - 1, f.hop)
        windowed = torch.cat([pieces[..., i : i + count, :] for i in range(parts)], -1) * self.analysis
        return torch.view_as_real(torch.fft.rfft(windowed))

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """``(..., frames, bins, 2)`` to ``(..., length)`` samples, aligned with the input of ``forward``."""
        f = self.frames
        frames = torch.fft.irfft(torch.view_as_complex(spectrum.contiguous()), f.size) * self.synthesis
        parts = f.size // f.hop
        count = frames.shape[-2]
        pieces = frames.reshape(*frames.shape[:-1], parts, f.hop)
        total = sum(
            nn.functional.pad(pieces[..., i, :], (0, 0, i, parts - 1 - i)) for i in range(parts - 1, -1, -1)
        )
        assert isinstance(total, Tensor)  # a sum over one part or more
        # Row r of `total` holds the samples from (r + 1 - parts) * hop on.
        flat = total.reshape(*total.shape[:-2], (count + parts - 1) * f.hop)
        start = f.size - f.hop
        return flat[..., start : start + length]


def magnitude(spectrum: Tensor, eps: float = 1e-12) -> Tensor:
    """``|X|`` of ``(..., 2)``, with a gradient at zero."""
    return torch.sqrt(spectrum.square().sum(-1) + eps)
