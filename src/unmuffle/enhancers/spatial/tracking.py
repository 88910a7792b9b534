r"""Speech and noise covariances that follow the sound, frame by frame.

With the mask m of the voice, both are weighted means that forget as fast as material of their kind comes in:

.. math:: A_s \leftarrow (1 - (1 - \alpha) m) A_s + m \, x x^H, \quad
          a_s \leftarrow (1 - (1 - \alpha) m) a_s + m, \quad R_s = A_s / a_s,

and alike for the noise with ``1 - m``. So the voice is not forgotten in a long pause, nor the noise in a long
sentence, and the first frames count in full. :math:`\alpha = e^{-\text{hop} / \tau}` with the time constants
``speech_s`` and ``noise_s``.

Given spans: with ``m`` of 1 in marked speech and 0 in marked noise this is the mean over the spans; signals of
which the parts are known (oracle) give theirs to :func:`~unmuffle.signal.covariance.spatial_covariance` itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .algebra import Complex, Real


class Tracker:
    """Recursive covariances; the state is a plain dictionary.

    Args:
        bins, microphones: of a frame.
        keep_speech, keep_noise: the alphas.
    """

    def __init__(self, bins: int, microphones: int, keep_speech: float, keep_noise: float) -> None:
        self.bins, self.microphones = bins, microphones
        self.fade = np.array([1.0 - keep_speech, 1.0 - keep_noise])[:, np.newaxis]

    def begin(self) -> dict[str, Any]:
        """Nothing heard."""
        size = self.microphones
        return {
            "sums": np.zeros((2, self.bins, size, size), np.complex128),
            "weights": np.zeros((2, self.bins)),
        }

    def step(self, frame: Complex, mask: Real, state: dict[str, Any]) -> None:
        """Hear one frame ``(bins, microphones)`` with the mask ``(bins,)`` of the voice."""
        share = np.stack((mask, 1.0 - mask))
        # Silence is no material: it must not push out what is known.
        share *= np.any(frame != 0.0, axis=1)
        keep = 1.0 - self.fade * share
        outer = frame[:, :, np.newaxis] * frame[:, np.newaxis, :].conj()
        state["sums"] *= keep[..., np.newaxis, np.newaxis]
        state["sums"] += share[..., np.newaxis, np.newaxis] * outer
        state["weights"] *= keep
        state["weights"] += share

    def covariances(self, state: dict[str, Any], which: slice = slice(None)) -> tuple[Complex, Complex]:
        """Speech and noise covariances of some bins."""
        weights = np.maximum(state["weights"][:, which], 1e-6)[..., np.newaxis, np.newaxis]
        found = state["sums"][:, which] / weights
        return found[0], found[1]
