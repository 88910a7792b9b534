"""The networks that can be trained, one file each, and their literal table.

Every network is a ``torch.nn.Module`` made from a frozen dataclass of sizes. It states its STFT
(``spec``, ``sample_rate``), whether it is ``causal``, and whether its gains are ``linked`` over any
number of channels or it knows a single one. It takes ``(batch, channels, frames, bins, 2)`` and its
state tensors, and returns the enhanced spectrum and the new state, in the order of
``state_names()``; ``initial(batch, channels)`` is the state before the first frame.

Networks of waveforms (``domain = "wave"``) take ``(batch, 1, frames, frame)`` samples instead, and say by
how many samples their output is late (``latency``); their ``spec`` is only that of the loss.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from torch import Tensor, nn

from ...errors import UnknownMethodError, UnknownParameterError
from ...signal.stft import StftSpec
from ..stft import Stft


class Net(Protocol):
    """What a trainable network offers beyond ``nn.Module``."""

    domain: str
    spec: StftSpec
    sample_rate: int
    frame: int
    latency: int
    causal: bool
    linked: bool

    def state_names(self) -> list[str]:
        """Names of the state tensors, in order."""

    def initial(self, batch: int = 1, channels: int = 1) -> list[Tensor]:
        """The state before the first frame."""

    def __call__(self, spectrum: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Enhanced spectrum and new state."""


NETS: dict[str, tuple[str, str, str]] = {
    "bandwise": (".bandwise", "Bandwise", "BandwiseConfig"),
    "bandwise-low": (".bandwise", "BandwiseLow", "BandwiseConfig"),
    "dense": (".dense", "Dense", "DenseConfig"),
    "tiny": (".tiny", "Tiny", "TinyConfig"),
    "mask-lstm": (".mask_lstm", "MaskLstm", "MaskLstmConfig"),
    "r-ced": (".rced", "Rced", "RcedConfig"),
    "unet": (".unet", "Unet", "UnetConfig"),
    "dccrn": (".dccrn", "Dccrn", "DccrnConfig"),
    "conv-tasnet": (".conv_tasnet", "ConvTasNet", "ConvTasNetConfig"),
    "demucs": (".demucs", "Demucs", "DemucsConfig"),
    "array-mask": (".array_mask", "ArrayMask", "ArrayMaskConfig"),
    "wavenet": (".wavenet", "Wavenet", "WavenetConfig"),
}
"""Name -> (module, class of the network, class of its sizes)."""


def make(name: str, sizes: Mapping[str, Any] | None = None) -> nn.Module:
    """Make a network with fresh weights.

    Raises:
        UnknownMethodError: no network has that name.
        UnknownParameterError: it has no such size.
    """
    if name not in NETS:
        near = difflib.get_close_matches(name, NETS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise UnknownMethodError(f"no network is called {name!r}{hint}; there are: {', '.join(NETS)}")
    module, net, config = NETS[name]
    found = import_module(module, __package__)
    kind = getattr(found, config)
    known = [f.name for f in dataclasses.fields(kind)]
    for key in sizes or {}:
        if key not in known:
            raise UnknownParameterError(f"network {name!r} has no size {key!r}; it has: {', '.join(known)}")
    return cast(nn.Module, getattr(found, net)(kind(**(sizes or {}))))


def through(net: Net, stft: Stft, x: Tensor) -> Tensor:
    """A network on whole waveforms ``(batch, samples)``, aligned with them."""
    batch, n = x.shape
    initial = [s.to(x.device) for s in net.initial(batch)]
    if net.domain == "spectrum":
        out = net(stft(x).unsqueeze(1), *initial)[0]
        return stft.inverse(out[:, 0].float(), n)
    count = -(-(n + net.latency) // net.frame)
    frames = nn.functional.pad(x, (0, count * net.frame - n)).reshape(batch, 1, count, net.frame)
    out = net(frames, *initial)[0]
    return out.float().reshape(batch, -1)[:, net.latency : net.latency + n]
