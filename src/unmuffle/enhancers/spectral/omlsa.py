r"""Optimally modified log-spectral amplitude (Cohen & Berdugo 2001, Cohen 2002).

The estimator of :mod:`.log_mmse` assumes that speech is there. OM-LSA asks how probable that is, and
takes the geometric mean of its gain and the floor by that probability:

.. math:: G = G_{LSA}^{\,p} \; G_{min}^{\,1-p}, \qquad
          p = \left(1 + \frac{q}{1-q} (1 + \xi) e^{-v}\right)^{-1}.

The a-priori probability of absence ``q`` comes from the SNR around the bin, see
:class:`unmuffle.noise.spp.AbsencePrior`: speech is in a bin if it is near it and in the frame as well.

Where the speech is judged absent the gain is constant, so the residual noise has no musical tones,
and the floor may be lower than with other methods. Weak speech sounds are lost if the judgement is wrong.

Cohen's companion for the noise is ``noise = "imcra"``; the default here is the quicker ``mmse-spp``,
which follows moving noise better.

I. Cohen, B. Berdugo, "Speech enhancement for non-stationary noise environments", Signal Process. 81,
2001; I. Cohen, "Optimal speech enhancement under signal presence uncertainty using log-spectral
amplitude estimator", IEEE Signal Process. Lett. 9(4), 2002.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...noise.spp import AbsencePrior, conditional
from ...signal.stft import Frames
from ..params import param
from .gain import Array, amplitude, scalar
from .log_mmse import log_mmse_gain
from .scene import Scene
from .suppressor import SpectralSuppressor


@dataclass(frozen=True)
class Omlsa(SpectralSuppressor):
    """OM-LSA: log-spectral amplitude, weighted by the probability that speech is present."""

    name: ClassVar[str] = "omlsa"
    floor_db: float = param(-18.0, "smallest gain", low=-80.0, high=0.0)
    absence_max: float = param(0.95, "largest a-priori probability of absence", low=0.0, high=0.999)

    def gain(self, xi: Array, gamma: Array) -> Array:
        """The gain where speech is present."""
        return log_mmse_gain(xi, gamma)

    @property
    def prior(self) -> AbsencePrior:
        """How the probability of absence is formed."""
        return AbsencePrior(highest=self.absence_max)

    def begin(self, frames: Frames) -> Any:
        """What the probability of absence remembers."""
        return self.prior.init(frames, 1)

    def suppress(self, scene: Scene, frames: Frames, state: Any) -> Array:
        """The gains, weighted by presence."""
        prior, absence = self.prior, np.empty_like(scene.xi)
        for i in range(len(absence)):
            absence[i] = prior.step(scene.xi[i : i + 1], state)[0]
        p = conditional(scene.gamma, scene.xi, absence)
        gain = self.gain(scene.xi, scene.gamma) if scene.gain is None else scene.gain
        # G = floor (G_LSA / floor)^p
        least = amplitude(self.floor_db)
        gain = np.log(np.maximum(gain, scalar(1e-6)))
        gain -= np.float32(math.log(least))
        gain *= p
        np.exp(gain, out=gain)
        gain *= np.float32(least)
        return gain
