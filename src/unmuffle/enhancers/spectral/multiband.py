r"""Multi-band spectral subtraction (Kamath & Loizou 2002).

Real noise is not white: it spoils some bands more than others. So the over-subtraction is chosen
band by band, from the SNR of the band (Berouti's rule of :mod:`.subtraction`), and weighted:

.. math:: |\hat S|^2 = |\bar Y|^2 - \alpha_i \, \delta_i \, \lambda_D, \qquad
          \delta_i = \begin{cases} 1 & f \le 1\,\mathrm{kHz} \\
                     2.5 & \text{between} \\ 1.5 & f > f_s/2 - 2\,\mathrm{kHz} \end{cases}

with a spectral floor of ``beta`` times the noisy power. Low bands hold most of the energy of speech
and are spared. :math:`\bar Y` is the magnitude averaged over neighbouring frames against musical
noise; the paper takes two frames on either side (weights 0.09 0.25 0.32 0.25 0.09), which costs two
frames of latency; here the past half alone is taken.

Bands are 1 kHz wide. Above 16 kHz of sample rate the upper edge stays at 6 kHz, so that the result
does not depend on the rate.

S. Kamath, P. Loizou, "A multi-band spectral subtraction method for enhancing speech corrupted by
colored noise", ICASSP 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from ...signal.stft import Frames
from ..params import param
from .gain import Array, scalar
from .scene import Scene
from .subtraction import berouti_alpha
from .suppressor import SpectralSuppressor

BAND_HZ: Final = 1000.0
LOW_HZ: Final = 1000.0
HIGH_HZ: Final = 2000.0
"""Below half the sample rate."""
WIDE_HZ: Final = 8000.0
"""Half the sample rate is counted as this at most."""
DELTAS: Final = (1.0, 2.5, 1.5)
WEIGHTS: Final = (0.09, 0.25, 0.32)
"""Of the frame two back, the last, and this one; normalised to a sum of 1 when used."""

ONE = scalar(1.0)


def band_edges(frames: Frames) -> tuple[np.ndarray[Any, np.dtype[np.intp]], Array]:
    """First bin of each band, and the weight ``delta`` of each band."""
    half = frames.sample_rate / 2.0
    starts = np.arange(0.0, half - BAND_HZ / 2.0, BAND_HZ)
    edge = min(half, WIDE_HZ) - HIGH_HZ
    centres = starts + BAND_HZ / 2.0
    delta = np.where(centres <= LOW_HZ, DELTAS[0], np.where(centres <= edge, DELTAS[1], DELTAS[2]))
    first = np.ceil(starts * frames.size / frames.sample_rate).astype(np.intp)
    return first, delta.astype(np.float32)


@dataclass(frozen=True)
class Multiband(SpectralSuppressor):
    """Multi-band spectral subtraction: over-subtraction by the SNR of each band."""

    name: ClassVar[str] = "multiband"
    uses_xi: ClassVar[bool] = False
    beta: float = param(0.002, "power left at least, in units of the noisy power", low=0.0, high=1.0)

    def gain(self, xi: Array, gamma: Array) -> Array:
        """Plain power subtraction: the formula where ``alpha`` and ``delta`` are 1."""
        return self._gain(gamma, ONE)

    def _gain(self, gamma: Array, over: Array) -> Array:
        gain = ONE - over / np.maximum(gamma, np.float32(1e-12))
        np.maximum(gain, np.float32(self.beta), out=gain)
        return np.asarray(np.sqrt(gain, out=gain))

    def begin(self, frames: Frames) -> Any:
        """Magnitudes of the last two frames, and the bands."""
        first, delta = band_edges(frames)
        index = np.searchsorted(first, np.arange(frames.bins), side="right") - 1
        return {
            "past": np.zeros((2, frames.bins), np.float32),
            "first": first,
            "delta": delta[index],
            "index": index,
        }

    def suppress(self, scene: Scene, frames: Frames, state: Any) -> Array:
        """The gains, by band."""
        count = scene.power.shape[0]
        magnitude = np.concatenate((state["past"], np.sqrt(scene.power)))
        total = sum(WEIGHTS)
        smooth = magnitude[2:] * np.float32(WEIGHTS[2] / total)
        smooth += magnitude[1 : 1 + count] * np.float32(WEIGHTS[1] / total)
        smooth += magnitude[:count] * np.float32(WEIGHTS[0] / total)
        state["past"] = magnitude[count:].copy()
        np.multiply(smooth, smooth, out=smooth)
        snr = np.add.reduceat(smooth, state["first"], axis=-1)
        snr /= np.add.reduceat(scene.noise, state["first"], axis=-1)
        over = berouti_alpha(snr).take(state["index"], axis=-1)
        over *= state["delta"]
        smooth /= scene.noise
        return self._gain(smooth, over)
