r"""``tiny``: band energies, pitch and two small GRUs; gains for 24 bands. The class of RNNoise.

After Valin (MMSP 2018): speech needs no more resolution than the ear has, so the network sees and
scales bands on the ERB scale, and there are few weights (about 80 000; one byte each when quantised).

Features of a frame, 24 + 24 + 48:

* logarithms of the band energies, less their mean over the last second;
* their change since the last frame;
* the normalised autocorrelation at 48 lags from 2 to 11.4 ms, from the power spectrum compressed
  to :math:`|X|^{0.5}` (which whitens): where it has a peak there is a voice, and how high it is says how
  clearly. All lags instead of one pitch: no decision is taken before the network can take it.

The gains of the bands are drawn out to the bins by the triangles that made the bands.

Shapes: ``(batch, channels, frames, 161, 2)`` in and out, gains linked. State: ``level`` (batch, 2, 99),
``before`` (batch, 1, 24), ``h0``, ``h1`` (1, batch, hidden).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import LOG_FLOOR, Meter, erb_bands

BINS, BANDS, LAGS = 161, 24, 48
_FIRST_LAG_S, _LAG_STEP_S = 2e-3, 2e-4


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of :class:`Tiny`."""

    dense: int = 64
    hidden: int = 80

    def __post_init__(self) -> None:
        if self.dense < 4 or self.hidden < 4:
            raise ParameterError(f"{self} makes no network; dense >= 4, hidden >= 4")


class Tiny(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec()
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = True

    bands: Tensor
    spread: Tensor
    lags: Tensor

    def __init__(self, config: TinyConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or TinyConfig()
        self.meter = Meter()
        shares = erb_bands(BINS, 8000.0, BANDS)
        self.register_buffer("bands", shares / shares.sum(0, keepdim=True), persistent=False)
        self.register_buffer("spread", shares.T.contiguous(), persistent=False)
        lag = _FIRST_LAG_S + _LAG_STEP_S * np.arange(LAGS)
        waves = np.cos(2 * np.pi * 50.0 * np.arange(BINS)[:, None] * lag[None])
        waves[0] *= 0.5
        waves[80:] = 0.0  # voices are periodic below 4 kHz
        self.register_buffer("lags", torch.from_numpy(waves.astype(np.float32)), persistent=False)
        self.dense = nn.Linear(2 * BANDS + LAGS, c.dense)
        self.grus = nn.ModuleList((nn.GRU(c.dense, c.hidden), nn.GRU(c.hidden, c.hidden)))
        self.gains = nn.Linear(c.hidden, BANDS)
        nn.init.constant_(self.gains.bias, 2.0)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return ["level", "before", "h0", "h1"]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        hidden = [torch.zeros(1, batch, self.config.hidden) for _ in range(2)]
        return [self.meter.initial(batch), torch.zeros(batch, 1, BANDS), *hidden]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Scaled spectrum and new state."""
        power = spectrum.square().sum(-1).mean(1)
        logs = 0.5 * torch.log(power @ self.bands + LOG_FLOOR)
        mean, level = self.meter(logs.mean(-1), state[0])
        logs = logs - mean.unsqueeze(-1)
        before = torch.cat((state[1], logs), 1)
        change = logs - before[:, :-1]
        flat = (power + LOG_FLOOR).sqrt().sqrt()
        voiced = (flat @ self.lags) / flat[..., :80].sum(-1, keepdim=True)
        y = torch.tanh(self.dense(torch.cat((logs, change, 4.0 * voiced), -1))).transpose(0, 1)
        first, h0 = self.grus[0](y, state[2])
        second, h1 = self.grus[1](first, state[3])
        gains = torch.sigmoid(self.gains(first + second)).transpose(0, 1)
        gain = (gains.to(power.dtype) @ self.spread)[:, None, :, :, None]
        return (spectrum * gain, level, before[:, -1:], h0, h1)
