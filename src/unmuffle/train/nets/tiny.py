r"""``tiny``: band energies and pitch; a small GRU that all bands share, mixed over bands; gains of 32 bands.

The class of RNNoise. After Valin (MMSP 2018): speech needs no more resolution than the ear has, so the network
sees and scales bands on the ERB scale, and there are few weights (71 000; one byte each when quantised). As in
:mod:`.bandwise` they are spent on what all bands have in common: pairs of bands become 16 rows, through which one
GRU runs in time; a dense layer over the rows for each feature tells them what the others found; and a GRU over all
of them at once, the context, hears who speaks. A recurrence over all bands that is as good takes many times the
weights.

What it hears is told in :mod:`unmuffle.enhancers.neural.bands`, and computed by that very code, in training
as at run time: features need no gradient. For each band the network answers with a gain :math:`g` and the
share :math:`r` of a comb filter that is tuned to the pitch,

.. math:: Y = g \, ((1 - r) X + r P),

:math:`P` the frame one pitch period earlier: bands cannot part the harmonics of a voice from what lies
between them, a comb can (Valin filters with a strength by rule; here it is learned, as the loss sees
:math:`Y`). And, from the context, with one number for the frame: is somebody speaking?

Shapes: samples ``(batch, 1, frames, 160)`` in and out, 160 late. State: that of the analysis, see
:class:`~unmuffle.enhancers.neural.bands.Analysis`, for each item of the batch; ``tail`` (batch, 160) of the
synthesis; ``h0``, ``h1`` ... (1, batch * rows, width), ``h_all`` (1, batch, context). What is exported is
:class:`TinyCore`, features to gains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...enhancers.neural import bands
from ...errors import ParameterError

BANDS = bands.BANDS
ROWS = BANDS // 2
FEATURES = 4
"""Of a band; see :mod:`unmuffle.enhancers.neural.bands`."""
PITCH = bands.FEATURES - FEATURES * BANDS
FEW = 4
"""Features of a row that the context sees."""


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of :class:`Tiny`.

    Attributes:
        width: features of a row, and units of the GRU that the rows share.
        context: units of the GRU that sees all rows.
        blocks: of recurrence and mixing.
    """

    width: int = 40
    context: int = 52
    blocks: int = 2

    def __post_init__(self) -> None:
        if self.width < 4 or self.context < 4 or self.blocks < 1:
            raise ParameterError(f"{self} makes no network; width >= 4, context >= 4, blocks >= 1")


class Block(nn.Module):
    """A GRU in time, shared by the rows; a dense layer over the rows for each feature; one over the features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time = nn.GRU(width, width)
        self.across = nn.Parameter(torch.randn(width, ROWS, ROWS) / math.sqrt(ROWS))
        self.shift = nn.Parameter(torch.zeros(width, 1, 1))
        self.blend = nn.Linear(width, width)
        with torch.no_grad():
            self.blend.weight.mul_(0.3)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` (frames, batch * rows, width), ``h`` (1, batch * rows, width)."""
        frames, rows, width = x.shape
        y, h = self.time(x, h)
        x = x + y
        z = torch.matmul(x.reshape(-1, ROWS, width).permute(2, 0, 1), self.across) + self.shift
        z = torch.relu(z).permute(1, 2, 0).reshape(frames, rows, width)
        return x + self.blend(z), h


class TinyCore(nn.Module):
    """Features ``(batch, frames, 130)`` to ``(batch, frames, 65)``: gains, comb shares and voice, 0 to 1."""

    domain = "features"

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = c = config
        self.pairs = nn.Conv1d(FEATURES + PITCH, c.width, 4, 2, 1)
        self.place = nn.Parameter(0.3 * torch.randn(ROWS, c.width))
        self.blocks = nn.ModuleList(Block(c.width) for _ in range(c.blocks))
        self.few = nn.Linear(c.width, FEW)
        self.context = nn.GRU(ROWS * FEW + PITCH, c.context)
        self.tell = nn.Linear(c.context, ROWS * FEW)
        self.widen = nn.Linear(FEW, c.width)
        self.voice = nn.Linear(c.context, 1)
        self.out = nn.Linear(c.width, 4)  # two gains, two shares
        with torch.no_grad():  # begin as a wire
            self.out.weight.mul_(0.3)
            self.out.bias.copy_(torch.tensor([2.0, 2.0, -2.0, -2.0]))

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return [*(f"h{i}" for i in range(self.config.blocks)), "h_all"]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        c = self.config
        return [*(torch.zeros(1, batch * ROWS, c.width) for _ in range(c.blocks)), torch.zeros(1, batch, c.context)]

    def logits(self, features: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """What the outputs are before the sigmoid, and the new state."""
        width, batch = self.config.width, state[-1].shape[1]
        timely = features.transpose(0, 1)  # (frames, batch, 130)
        pitch = timely[..., FEATURES * BANDS :]
        shapes = timely[..., : FEATURES * BANDS].reshape(-1, FEATURES, BANDS)
        everywhere = pitch.reshape(-1, PITCH, 1).expand(-1, -1, BANDS)
        first = torch.relu(self.pairs(torch.cat((shapes, everywhere), 1))).transpose(1, 2)
        x = (first + self.place).reshape(-1, batch * ROWS, width)
        after = []
        for i, block in enumerate(self.blocks):
            x, h = block(x, state[i])
            after.append(h)
            if i == 0:
                known = torch.cat((self.few(x).reshape(-1, batch, ROWS * FEW), pitch), -1)
                seen, h_all = self.context(known, state[-1])
                told = torch.relu(self.tell(seen)).reshape(-1, batch * ROWS, FEW)
                x = x + self.widen(told)
        y = self.out(torch.relu(x.reshape(-1, ROWS, width) + first))
        # (frames * batch, rows, gain or share, which of the pair) to all gains, then all shares.
        y = y.reshape(-1, ROWS, 2, 2).transpose(1, 2).reshape(-1, batch, 2 * BANDS)
        return (torch.cat((y, self.voice(seen)), -1).transpose(0, 1), *after, h_all)

    def forward(self, features: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Outputs and new state."""
        y, *after = self.logits(features, *state)
        return (torch.sigmoid(y), *after)


def apply(outputs: Tensor, spectrum: Tensor, comb: Tensor) -> Tensor:
    """Gains and comb shares on spectra.

    Args:
        outputs: of :class:`TinyCore`, ``(batch, frames, 65)``.
        spectrum, comb: ``(batch, frames, 161, 2)``.
    """
    spread = torch.from_numpy(bands.SPREAD).to(outputs.device)
    gain, share = (v @ spread for v in outputs.float()[..., : 2 * BANDS].split(BANDS, -1))
    return (gain * (1.0 - share)).unsqueeze(-1) * spectrum + (gain * share).unsqueeze(-1) * comb


class Tiny(nn.Module):
    """The network with its analysis and synthesis; see the module's text."""

    domain = "wave"
    spec = bands.SPEC
    sample_rate = bands.RATE
    frame = latency = 160
    causal = True
    linked = False

    synthesis: Tensor

    def __init__(self, config: TinyConfig | None = None) -> None:
        super().__init__()
        self.config = config or TinyConfig()
        self.core = TinyCore(self.config)
        frames = self.spec.at(self.sample_rate)
        self._analysis = bands.Analysis(frames, 1)
        self.register_buffer("synthesis", torch.from_numpy(frames.synthesis.copy()), persistent=False)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return [*self._analysis.initial(), "tail", *self.core.state_names()]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        one = [torch.from_numpy(s) for s in self._analysis.initial().values()]
        heard = [s.expand(batch, *s.shape).clone() for s in one]
        return [*heard, torch.zeros(batch, self.frame), *self.core.initial(batch)]

    def forward(self, samples: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Enhanced samples and new state."""
        batch, _, count, _ = samples.shape
        device = samples.device
        names = list(self._analysis.initial())
        held = [s.detach().cpu().numpy() for s in state[: len(names)]]
        x = samples.detach().float().cpu().numpy().reshape(batch, 1, count * self.frame)
        heard, after = [], []
        for i in range(batch):
            one, new = self._analysis.step(x[i], {n: s[i] for n, s in zip(names, held, strict=True)})
            heard.append(one)
            after.append(new)

        def tensor(parts: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack(parts)).to(device)

        features = tensor([h.features for h in heard])
        spectrum, comb = (
            torch.view_as_real(tensor(s)) for s in ([h.spectrum[0] for h in heard], [h.comb[0] for h in heard])
        )
        outputs, *hidden = self.core(features, *state[len(names) + 1 :])
        y = torch.fft.irfft(torch.view_as_complex(apply(outputs, spectrum, comb)), 2 * self.frame) * self.synthesis
        rest = torch.cat((state[len(names)].unsqueeze(1), y[:, :, self.frame :]), 1)
        out = y[:, :, : self.frame] + rest[:, :-1]
        kept = [tensor([a[n] for a in after]) for n in names]
        return (out.unsqueeze(1), *kept, rest[:, -1], *hidden)

    def streaming(self) -> nn.Module:
        """What is exported: features to gains."""
        return self.core
