"""``live`` and ``live-low``: the trained networks that come with unmuffle.

A causal recurrent network on compressed spectra (its design is told in ``unmuffle.train.nets.bandwise``),
one set of weights for all sample rates: full resolution up to 8 kHz, above that the gain of the band's
edge. The delay is 10 ms, and 20 ms with the hop that has to be collected. What it was trained on, its
licence and its scores are in its model card, ``models/live.md`` beside the weights.

``live-low`` is the same idea at 8 ms in all, for hearing aids and musicians: frames of 20 ms every 4 ms,
analysed with a long window and made audible with the last 8 ms of it (asymmetric windows, Mauler & Martin
2007), so that the delay is 4 ms, and 8 ms with the hop that has to be collected. Two and a half times as
many frames take 2.6 times the time.

Streams of short blocks (``stream(..., block_size=160)``, or ``usual_size``) run as machine code where numba is
installed, and so do long files; see :mod:`.native`.

``live`` is better than ``classic`` in PESQ, ESTOI and SI-SDR, and not yet the default: that it will be when it
is better than the small networks that others ship in every measure; its card says how far it is.

It was trained on single voices that are near (their first 50 ms of room are kept, the tail is taken
away): of several talkers none is preferred, music is noise to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..base import Enhancer, Kernel
from .model import Facts, shipped
from .network import NetworkKernel


@dataclass(frozen=True)
class Live(Enhancer):
    """Removes noise and late reverberation from one voice, with a trained network."""

    name: ClassVar[str] = "live"

    def __post_init__(self) -> None:
        """Nothing to check: there are no parameters."""

    @property
    def facts(self) -> Facts:
        """What the network's file says of itself."""
        return shipped(self.name).facts

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The network at this rate."""
        model = shipped(self.name)
        return NetworkKernel(model, model.facts.spec.at(sample_rate), channels)

    def key(self) -> str:
        """Name and digest of the network."""
        return f"neural({self.facts.name},{self.facts.sha256})"


@dataclass(frozen=True)
class LiveLow(Live):
    """Removes noise and late reverberation from one voice, 8 ms late in all, with a trained network."""

    name: ClassVar[str] = "live-low"
