r"""GSC: the generalised sidelobe canceller, MVDR by an unconstrained adaptive filter.

.. math:: y = w_q^H x - h^H u, \qquad u = B^H x, \qquad B^H d = 0, \; w_q = d / d^H d

The upper path passes the voice (delay-and-sum), the blocking matrix B makes signals without it, and the filter h finds
in those what noise the upper path still has. It follows by normalised least mean squares, bin by bin,

.. math:: h \leftarrow h + \mu \, (1 - m) \, \frac{u \, y^*}{p}, \qquad p \leftarrow \alpha p + (1 - \alpha) |u|^2,

held still while the voice is there (mask m): B blocks the direct sound only, the voice's echoes leak through, and a
filter that adapts on them takes the voice away (self-cancellation). A leak of h, as if the microphones
had noise of their own, bounds it. No matrix is inverted: the cheapest adaptive beamformer, and the slowest.

L. Griffiths, C. Jim, "An alternative approach to linearly constrained adaptive beamforming", IEEE Trans. AP 30(1),
1982; O. Hoshuyama, A. Sugiyama, A. Hirano, IEEE Trans. SP 47(10), 1999.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...signal.stft import Frames
from ..masks import Masker, masker
from ..params import param
from .algebra import Complex, Real
from .beamformer import Beamformer, Brain
from .delay_and_sum import delay_and_sum, refuse_residual
from .postfilter import blocking

LEAK = 1e-4
POWER_MEMORY_S = 0.2


@dataclass(frozen=True)
class Gsc(Beamformer):
    """Generalised sidelobe canceller: an adaptive beam without any matrix to invert; needs the geometry."""

    name: ClassVar[str] = "gsc"

    masks: str = param("log-mmse", "where the voice is: a spectral method, vad, or a network file (.onnx)")
    rate: float = param(0.01, "step of the adaptive filter", low=1e-4, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_residual(self)

    def begin(self, frames: Frames, channels: int) -> Brain:
        """Delay-and-sum, blocking matrix and filter."""
        keep = math.exp(-frames.hop / frames.sample_rate / POWER_MEMORY_S)
        canceller = Canceller(self.steering(frames, channels), self.rate, keep)
        return _GscBrain(canceller, masker(self.masks, self.spec, frames.sample_rate, channels))


class _GscBrain(Brain):
    def __init__(self, canceller: Canceller, source: Masker) -> None:
        self.canceller, self.source = canceller, source

    def begin(self) -> Any:
        return {"masks": self.source.begin(), "filter": self.canceller.begin()}

    def masks(self, frames: Complex, state: Any) -> Real | None:
        masks, state["masks"] = self.source.step(frames, state["masks"])
        return masks

    def step(self, frame: Complex, mask: Real | None, state: Any) -> Complex:
        assert mask is not None  # this brain always makes them
        return self.canceller.step(frame, mask, state["filter"])


class Canceller:
    """The running filter for fixed steering ``(bins, M)``; the state is a plain dictionary.

    Args:
        steering: towards the voice.
        rate: mu, the share of the error that a step takes away.
        keep: alpha of the power.
    """

    def __init__(self, steering: Complex, rate: float, keep: float) -> None:
        self.quiescent = delay_and_sum(steering)
        self.block = blocking(steering)
        self.rate, self.keep = rate, keep

    def begin(self) -> dict[str, Any]:
        """Delay-and-sum."""
        bins, _, others = self.block.shape
        return {"filter": np.zeros((bins, others), np.complex128), "power": np.zeros(bins), "frame": 0}

    def step(self, frame: Complex, mask: Real, state: dict[str, Any]) -> Complex:
        """One frame ``(bins, M)`` to ``(bins,)``, and learn from it as far as the mask allows."""
        fixed = np.einsum("km,km->k", self.quiescent.conj(), frame)
        blocked = np.einsum("kmo,km->ko", self.block.conj(), frame)
        out: Complex = fixed - np.einsum("ko,ko->k", state["filter"].conj(), blocked)
        now = np.sum(np.abs(blocked) ** 2, axis=1)
        state["frame"] += 1
        keep = min(self.keep, 1.0 - 1.0 / state["frame"])
        state["power"] = keep * state["power"] + (1.0 - keep) * now
        power = np.maximum(state["power"], now)
        heard = power > 1e-30
        step = np.where(heard, self.rate * (1.0 - mask) / np.where(heard, power, 1.0), 0.0)
        state["filter"] = (1.0 - LEAK * self.rate) * state["filter"] + (step * out.conj())[:, np.newaxis] * blocked
        return out

    def weights(self, state: dict[str, Any]) -> Complex:
        """What the two paths make together, as weights of the microphones: ``(bins, M)``."""
        out: Complex = self.quiescent - np.einsum("kmo,ko->km", self.block, state["filter"])
        return out
