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

    The frames of a turn are kept, and every ``turn``-th bin, in turns, takes all of its own in at once: the same
    sums as frame by frame, in a few matrix products.

    Args:
        bins, microphones: of a frame.
        keep_speech, keep_noise: the alphas.
        turn: frames from one update of a bin to its next.
    """

    def __init__(self, bins: int, microphones: int, keep_speech: float, keep_noise: float, turn: int = 1) -> None:
        self.bins, self.microphones, self.turn = bins, microphones, turn
        self.fade = np.array([1.0 - keep_speech, 1.0 - keep_noise])[:, np.newaxis, np.newaxis]

    def begin(self) -> dict[str, Any]:
        """Nothing heard."""
        size = self.microphones
        return {
            "sums": np.zeros((2, self.bins, size, size), np.complex128),
            "weights": np.zeros((2, self.bins)),
            "frames": np.zeros((self.turn, self.bins, size), np.complex128),
            "masks": np.zeros((self.turn, self.bins)),
            "count": 0,
        }

    def step(self, frame: Complex, mask: Real, state: dict[str, Any]) -> None:
        """Hear one frame ``(bins, microphones)`` with the mask ``(bins,)`` of the voice."""
        at = state["count"] % self.turn
        state["frames"][at], state["masks"][at] = frame, mask
        state["count"] += 1
        which = slice(at, None, self.turn)
        if at >= self.bins:  # more turns than bins
            return
        order = (at + 1 + np.arange(self.turn)) % self.turn  # oldest first
        x, m = state["frames"][order, which], state["masks"][order, which]
        share = np.stack((m, 1.0 - m))
        # Silence is no material: it must not push out what is known.
        share *= np.any(x != 0.0, axis=2)
        keep = 1.0 - self.fade * share
        left = np.cumprod(keep[:, ::-1], axis=1)[:, ::-1]  # of what was there before each frame
        after = np.concatenate((left[:, 1:], np.ones_like(left[:, :1])), axis=1)
        weight = share * after
        turned = x.transpose(1, 2, 0)  # (bins, microphones, frames)
        new = (turned * weight.transpose(0, 2, 1)[:, :, np.newaxis]) @ x.transpose(1, 0, 2).conj()
        state["sums"][:, which] = left[:, 0, :, np.newaxis, np.newaxis] * state["sums"][:, which] + new
        state["weights"][:, which] = left[:, 0] * state["weights"][:, which] + weight.sum(axis=1)

    def covariances(self, state: dict[str, Any], which: slice = slice(None)) -> tuple[Complex, Complex]:
        """Speech and noise covariances of some bins, as of their last turn."""
        weights = np.maximum(state["weights"][:, which], 1e-6)[..., np.newaxis, np.newaxis]
        found = state["sums"][:, which] / weights
        return found[0], found[1]
