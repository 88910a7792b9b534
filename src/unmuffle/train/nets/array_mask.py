r"""``array-mask``: which bins of a microphone array hold the voice, for a beamformer behind it.

The mask is to be learnt *through* the beamformer (:mod:`unmuffle.train.beamformer`), and to serve arrays that it
has never seen. So it sees nothing in which the geometry shows:

* the logarithm of the power, averaged over the microphones, less its mean over the last second;
* the coherence of each microphone with the first, its magnitude only, averaged over the last
  ``memory`` frames and over the microphones: near 1 for one source in one direction, low for noise from
  everywhere (above the frequency where the array is small beside the wavelength). One microphone has 1.

A dense layer, an LSTM, a dense layer with a sigmoid. Output: every channel times the one mask, so that the
mask is ``|enhanced| / |spectrum|``.

Shapes: ``(batch, channels, frames, bins, 2)`` in and out; frames of 64 ms every 16 ms, 513 bins at 16 kHz.
State: ``level`` of the meter, ``past`` (batch, channels, memory - 1, bins, 2), ``h`` and ``c``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from ...signal.stft import StftSpec
from .parts import Meter

BINS = 513
_EPS = 1e-10


@dataclass(frozen=True)
class ArrayMaskConfig:
    """Sizes of :class:`ArrayMask`.

    Attributes:
        hidden: units of the LSTM.
        memory: frames over which the coherence is averaged.
    """

    hidden: int = 128
    memory: int = 9

    def __post_init__(self) -> None:
        if self.hidden < 4 or self.memory < 2:
            raise ParameterError(f"{self} makes no network; hidden >= 4, memory >= 2")


class ArrayMask(nn.Module):
    """The network; see the module's text."""

    domain = "spectrum"
    spec = StftSpec(64.0, 16.0)
    sample_rate = 16_000
    frame = latency = 0  # of waveforms only
    causal = True
    linked = True

    def __init__(self, config: ArrayMaskConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ArrayMaskConfig()
        self.meter = Meter()
        self.encode = nn.Linear(2 * BINS, c.hidden)
        self.lstm = nn.LSTM(c.hidden, c.hidden)
        self.decode = nn.Linear(c.hidden, BINS)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return ["level", "past", "h", "c"]

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        c = self.config
        past = torch.zeros(batch, channels, c.memory - 1, BINS, 2)
        return [self.meter.initial(batch), past, *(torch.zeros(1, batch, c.hidden) for _ in range(2))]

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Masked spectra and new state."""
        mask, *after = self.mask(spectrum, *state)
        return (spectrum * mask[:, None, :, :, None].to(spectrum.dtype), *after)

    def mask(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Mask ``(batch, frames, bins)`` and new state."""
        with torch.no_grad():
            x, level, past = self.features(spectrum, state[0], state[1])
        y = torch.relu(self.encode(x)).transpose(0, 1)
        y, (h, c) = self.lstm(y, (state[2], state[3]))
        mask = torch.sigmoid(self.decode(y)).transpose(0, 1)
        return mask, level, past, h, c

    def features(self, spectrum: Tensor, level: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network sees, ``(batch, frames, 2 * bins)``, and the new level and past."""
        memory, count = self.config.memory, spectrum.shape[2]
        heard = torch.cat((past, spectrum), 2)
        past = heard[:, :, heard.shape[2] - memory + 1 :]
        re, im = heard[..., 0].contiguous(), heard[..., 1].contiguous()
        power = re.square() + im.square()

        def mean(x: Tensor) -> Tensor:  # over the last frames, by slices: running sums would lose precision
            total = x[:, :, :count]
            for i in range(1, memory):
                total = total + x[:, :, i : i + count]
            return total / memory

        own = mean(power)
        joint = mean(re * re[:, :1] + im * im[:, :1]).square() + mean(im * re[:, :1] - re * im[:, :1]).square()
        coherence = ((joint + _EPS * _EPS) / (own * own[:, :1] + _EPS * _EPS)).mean(1)
        logs = torch.log(power[:, :, memory - 1 :].mean(1) + _EPS)
        mean_level, level = self.meter(logs.mean(-1), level)
        return torch.cat((0.5 * (logs - mean_level.unsqueeze(-1)), coherence), -1), level, past
