r"""``tiny``: band energies, pitch, one dense layer and two small GRUs; gains of 32 bands. The class of RNNoise.

After Valin (MMSP 2018): speech needs no more resolution than the ear has, so the network sees and
scales bands on the ERB scale, and there are few weights (81 000; one byte each when quantised).

What it hears is told in :mod:`unmuffle.enhancers.neural.bands`, and computed by that very code, in training
as at run time: features need no gradient. For each band the network answers with a gain :math:`g` and the
share :math:`r` of a comb filter that is tuned to the pitch,

.. math:: Y = g \, ((1 - r) X + r P),

:math:`P` the frame one pitch period earlier: bands cannot part the harmonics of a voice from what lies
between them, a comb can (Valin filters with a strength by rule; here it is learned, as the loss sees
:math:`Y`). And with one number for the frame: is somebody speaking?

Shapes: samples ``(batch, 1, frames, 160)`` in and out, 160 late. State: that of the analysis, see
:class:`~unmuffle.enhancers.neural.bands.Analysis`, for each item of the batch; ``tail`` (batch, 160) of the
synthesis; ``h0``, ``h1`` (1, batch, hidden). What is exported is :class:`TinyCore`, features to gains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...enhancers.neural import bands
from ...errors import ParameterError

BANDS = bands.BANDS


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of :class:`Tiny`."""

    dense: int = 64
    hidden: int = 76

    def __post_init__(self) -> None:
        if self.dense < 4 or self.hidden < 4:
            raise ParameterError(f"{self} makes no network; dense >= 4, hidden >= 4")


class TinyCore(nn.Module):
    """Features ``(batch, frames, 130)`` to ``(batch, frames, 65)``: gains, comb shares and voice, 0 to 1."""

    domain = "features"

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = c = config
        self.dense = nn.Linear(bands.FEATURES, c.dense)
        self.grus = nn.ModuleList((nn.GRU(c.dense, c.hidden), nn.GRU(c.hidden, c.hidden)))
        self.out = nn.Linear(c.hidden, bands.OUTPUTS)
        with torch.no_grad():  # begin as a wire
            self.out.bias[:BANDS] = 2.0
            self.out.bias[BANDS : 2 * BANDS] = -2.0

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return ["h0", "h1"]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        return [torch.zeros(1, batch, self.config.hidden) for _ in range(2)]

    def logits(self, features: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """What the outputs are before the sigmoid, and the new state."""
        y = torch.tanh(self.dense(features)).transpose(0, 1)
        first, h0 = self.grus[0](y, state[0])
        second, h1 = self.grus[1](first, state[1])
        return self.out(first + second).transpose(0, 1), h0, h1

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
