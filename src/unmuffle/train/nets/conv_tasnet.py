r"""``conv-tasnet``: a learned transform, dilated convolutions over its frames, a mask, and back.

Luo & Mesgarani (IEEE/ACM TASLP 27(8), 2019), with the paper's names and its best sizes: N = 512 filters
of L = 16 samples (hop L/2), a bottleneck of B = 128, blocks of H = 512 with kernels of P = 3, X = 8 blocks
with dilations 1, 2, .. 128, R = 3 times, Sc = 128 channels in the skip paths. Each block: 1 x 1
convolution, PReLU, norm, depthwise dilated convolution, PReLU, norm, and two 1 x 1 convolutions, one to
the next block (residual) and one to the sum of all (skip).

``causal`` uses past frames only, and normalises with the statistics of all frames so far (cLN); else
frames on both sides, and the statistics of the whole signal (gLN).

A network of waveforms: ``(batch, 1, frames, 8)`` samples in and out. Late by L/2 samples: the
filters of the last hop reach over two. State (causal): ``tail`` and ``held`` of the transform and its
inverse; ``n<i>``, (batch, 1, 3): sum, sum of squares and count of each norm; ``p<i>``: past frames of
each block, (batch, H, 2 * dilation).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec


@dataclass(frozen=True)
class ConvTasNetConfig:
    """The paper's hyper-parameters, by its names."""

    N: int = 512
    L: int = 16
    B: int = 128
    H: int = 512
    P: int = 3
    X: int = 8
    R: int = 3
    Sc: int = 128
    causal: bool = True

    def __post_init__(self) -> None:
        if min(self.N, self.B, self.H, self.X, self.R, self.Sc) < 1 or self.L < 2 or self.L % 2 or self.P % 2 == 0:
            raise ParameterError(f"{self} makes no network; sizes 1 or more, L even, P odd")


class CumulativeNorm(nn.Module):
    """Normalises channels with mean and variance over all channels and frames so far (cLN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.gain = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised frames, and sums (batch, 3, 1) after them."""
        parts = torch.stack((x.mean(1), x.square().mean(1), torch.ones_like(x[:, 0])), 1)
        total = torch.cumsum(parts, 2) + state
        mean = total[:, 0:1] / total[:, 2:3]
        power = total[:, 1:2] / total[:, 2:3]
        # float32 rounding may leave a variance of just below zero for a constant.
        scale = torch.rsqrt((power - mean.square()).clamp(min=0.0) + 1e-8)
        return (x - mean) * scale * self.gain + self.bias, total[:, :, -1:]


class GlobalNorm(nn.Module):
    """Normalises with mean and variance over all channels and frames (gLN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised frames; the state is passed on."""
        mean = x.mean((1, 2), keepdim=True)
        scale = torch.rsqrt((x - mean).square().mean((1, 2), keepdim=True) + 1e-8)
        return (x - mean) * scale * self.gain + self.bias, state


class Block(nn.Module):
    """One dilated block with residual and skip outputs."""

    def __init__(self, config: ConvTasNetConfig, dilation: int, *, last: bool) -> None:
        super().__init__()
        c = config
        norm = CumulativeNorm if c.causal else GlobalNorm
        self.reach = (c.P - 1) * dilation
        self.causal = c.causal
        self.enter = nn.Conv1d(c.B, c.H, 1)
        self.slope1, self.norm1 = nn.PReLU(), norm(c.H)
        self.depth = nn.Conv1d(c.H, c.H, c.P, dilation=dilation, groups=c.H)
        self.slope2, self.norm2 = nn.PReLU(), norm(c.H)
        # Nobody would hear the last block's residual output.
        self.residual = None if last else nn.Conv1d(c.H, c.B, 1)
        self.skip = nn.Conv1d(c.H, c.Sc, 1)

    def forward(self, x: Tensor, n1: Tensor, n2: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        """Residual output, skip output, and the three states."""
        y, n1 = self.norm1(self.slope1(self.enter(x)), n1)
        if self.causal:
            y = torch.cat((past, y), 2)
            past = y[:, :, y.shape[2] - self.reach :]
        else:
            y = nn.functional.pad(y, (self.reach // 2, self.reach // 2))
        y, n2 = self.norm2(self.slope2(self.depth(y)), n2)
        through = x if self.residual is None else x + self.residual(y)
        return through, self.skip(y), n1, n2, past


class ConvTasNet(nn.Module):
    """The network; see the module's text."""

    domain = "wave"
    spec = StftSpec()
    sample_rate = 16_000
    linked = False

    def __init__(self, config: ConvTasNetConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ConvTasNetConfig()
        self.causal = c.causal
        self.frame = c.L // 2
        self.latency = c.L // 2
        norm = CumulativeNorm if c.causal else GlobalNorm
        self.encode = nn.Linear(c.L, c.N, bias=False)
        self.norm = norm(c.N)
        self.enter = nn.Conv1d(c.N, c.B, 1)
        self.blocks = nn.ModuleList(
            Block(c, 1 << i % c.X, last=i == c.R * c.X - 1) for i in range(c.R * c.X)
        )
        self.slope = nn.PReLU()
        self.mask = nn.Conv1d(c.Sc, c.N, 1)
        self.decode = nn.Linear(c.N, c.L, bias=False)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        if not self.causal:
            return []
        names = ["tail", "held", "n"]
        for i in range(len(self.blocks)):
            names += [f"n{i}a", f"n{i}b", f"p{i}"]
        return names

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        if not self.causal:
            return []
        c = self.config
        sums = [torch.zeros(batch, 3, 1)]
        state = [torch.zeros(batch, 1, c.L // 2), torch.zeros(batch, 1, c.L // 2), *sums]
        for _ in range(c.R):
            for x in range(c.X):
                state += [torch.zeros(batch, 3, 1), torch.zeros(batch, 3, 1)]
                state.append(torch.zeros(batch, c.H, (c.P - 1) << x))
        return state

    def forward(self, samples: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Enhanced samples and new state."""
        x = samples[:, 0]
        batch, half = x.shape[0], self.config.L // 2
        empty = torch.zeros(batch, 1, half, dtype=x.dtype, device=x.device)
        tail, held = (state[0], state[1]) if self.causal else (empty, empty)
        seen = torch.cat((tail, x), 1)
        code = torch.relu(self.encode(torch.cat((seen[:, :-1], x), 2)))
        idle = torch.zeros(batch, 3, 1, dtype=x.dtype, device=x.device)
        y, sums = self.norm(code.transpose(1, 2), state[2] if self.causal else idle)
        y = self.enter(y)
        after = [seen[:, -1:], held, sums]
        total: Tensor | None = None
        for i, block in enumerate(self.blocks):
            some = state[3 + 3 * i : 6 + 3 * i] if self.causal else (idle, idle, idle)
            y, skip, *rest = block(y, *some)
            total = skip if total is None else total + skip
            after += rest
        assert total is not None  # there is a block or more
        mask = torch.sigmoid(self.mask(self.slope(total))).transpose(1, 2)
        waves = self.decode(code * mask.to(code.dtype))
        first, second = waves.split([half, half], 2)
        late = torch.cat((held.to(second.dtype), second), 1)
        out = first + late[:, :-1]
        after[1] = late[:, -1:].to(held.dtype)
        return (out.unsqueeze(1), *(after if self.causal else []))
