r"""``meeting``: one voice in a room out of several microphones, in one name.

Three methods in a row (:class:`.compose.Chain`), each for what the others cannot do:

1. ``wpe`` takes the late reverberation off every channel and keeps their delays;
2. a beamformer from masks makes one channel of them, with less noise and an unharmed voice. Dry channels help it:
   echoes that are gone need not fit into its frames;
3. a single-channel method, the post-filter, takes off what the beam lets through.

All three stream; the delays add up. No geometry is needed. One microphone is dereverberated and post-filtered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from . import registry
from .base import Enhancer, Kernel
from .compose import Chain
from .params import param

BEAMFORMERS = ("mvdr", "gev", "mwf", "neural-beamformer")
POSTS = ("none", "classic", "live", "log-mmse", "omlsa")


@dataclass(frozen=True)
class Meeting(Enhancer):
    """One voice in a room: WPE on all microphones, a beamformer from masks, a post-filter."""

    name: ClassVar[str] = "meeting"

    beamformer: str = param("neural-beamformer", "makes one channel of all", choices=BEAMFORMERS)
    post: str = param("classic", "works on that channel", choices=POSTS)
    taps: int = param(10, "of wpe: frames of the past, of each microphone, that predict", low=1, high=25)
    reference: int = param(0, "microphone that the output stands in for", low=0, high=63)

    @property
    def chain(self) -> Chain:
        """The methods in their order."""
        behind = () if self.post == "none" else (registry.load(self.post),)
        beam = registry.load(self.beamformer, reference=self.reference)
        return Chain((registry.load("wpe", taps=self.taps), beam, *behind))

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The chain's."""
        return self.chain.kernel(sample_rate, channels)

    def warm(self) -> None:
        """Every stage."""
        self.chain.warm()

    def key(self) -> str:
        """The chain's: it does the same."""
        return self.chain.key()
