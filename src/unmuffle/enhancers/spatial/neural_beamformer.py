r"""Neural beamformer: MVDR from the masks of a network that was trained through it.

A mask that looks right need not make a good beamformer. So the network ``array-mask`` (``models/array-mask.md``) learnt
its masks by what came out behind them, with the gradient taken through the covariances and Souden's solution
(``unmuffle.train.beamformer`` has the formulas). It saw rooms with microphones at random places, and of them only what
no geometry shows in: mean power, and coherence between the microphones. So it runs on any array of two or more.

Here its masks are followed recursively, frame by frame; of a whole recording ``mask-mvdr`` with
``masks = "array-mask"`` makes one beam for all of it. As with every mask, a second talker is a voice too.

J. Heymann, L. Drude, R. Haeb-Umbach, "Neural network based spectral mask estimation for acoustic beamforming",
ICASSP 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..params import param
from .algebra import Complex
from .beamformer import Adaptive
from .mvdr import souden


@dataclass(frozen=True)
class NeuralBeamformer(Adaptive):
    """MVDR beamformer, streaming, from masks of a network trained through it; needs no geometry."""

    name: ClassVar[str] = "neural-beamformer"

    masks: str = param("array-mask", "where the voice is: the shipped network, or one of your own (.onnx)")

    def solve(self, speech: Complex, noise: Complex, steering: Complex | None) -> Complex:
        """:func:`~.mvdr.souden`, as in training."""
        return souden(speech, noise, self.reference, self.loading)
