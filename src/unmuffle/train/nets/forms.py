"""The form in which a network runs outside of training: as a file's graph has its axes.

A network may bring one of its own, ``streaming()``: the same computation arranged for single frames. Others are taken
as they are, between two changes of axes.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from . import Net


class _Form(nn.Module):
    """A network of one batch item: the axis of the batch is put in and taken off."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.api = cast(Net, net)

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""
        return self.api.state_names()

    def initial(self, channels: int = 1) -> list[Tensor]:
        """State before the first frame."""
        return self.api.initial(1, channels)


class Flat(_Form):
    """A network of waveforms ``(1, 1, frames, samples)`` as one of ``(1, frames, samples)``."""

    def forward(self, samples: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The network, one axis more and one less."""
        out, *after = self.api(samples.unsqueeze(0), *state)
        return (out[0], *after)


class Planar(_Form):
    """A network of ``(1, channels, frames, bins, 2)`` as one of ``(channels, frames, 2, bins)``."""

    def forward(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The network between two changes of axes."""
        out, *after = self.api(spectrum.transpose(2, 3).unsqueeze(0), *state)
        return (out[0].transpose(2, 3), *after)


def streaming(net: nn.Module) -> nn.Module:
    """The form of a network that is exported: its own, or itself between changes of axes."""
    made = getattr(net, "streaming", None)
    if made is not None:
        return cast(nn.Module, made()).eval()
    return (Flat(net) if cast(Net, net).domain == "wave" else Planar(net)).eval()
