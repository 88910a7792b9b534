r"""Temporal smoothing in the cepstrum: keep what speech is made of, average the rest.

The cepstrum of a log spectrum :math:`\ln A(k, l)` sorts it by how quickly it changes along frequency:

.. math:: c(q, l) = \frac1N \sum_{k=0}^{N-1} \ln A(k, l) \, e^{2 \pi i k q / N},

``q`` being a time ("quefrency"). The envelope of speech lives in the lowest few coefficients, the
harmonics of a voice in a single peak at the pitch period, and the isolated random peaks that are heard
as musical noise are spread evenly over all the others. So each coefficient is averaged recursively,

.. math:: \bar c(q, l) = a(q, l) \, \bar c(q, l-1) + (1 - a(q, l)) \, c(q, l),

quickly for the envelope, hardly at the pitch peak where there is one, slowly elsewhere; then the way
back. Where a pitch has been for some time, ``a`` stays a little lower, so that the harmonics may
decay when it goes.

The log spectrum is real and even, and so is the cepstrum: half of each says it all, and a cosine
transform (DCT-I) leads there and back.

Times below are time constants; the published per-frame factors were converted at a hop of 16 ms.

C. Breithaupt, T. Gerkmann, R. Martin, "Cepstral smoothing of spectral filter gains for speech
enhancement without musical noise", IEEE Signal Process. Lett. 14(12), 2007; the same, "A novel a
priori SNR estimation approach based on selective cepstro-temporal smoothing", ICASSP 2008.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ...signal.stft import Frames
from ...signal.transforms import dct1
from .gain import Array, scalar

ENVELOPE_S: Final = (0.000_15, 0.5e-3)
"""Quefrencies up to which coefficients count as coarse and as fine envelope."""
ENVELOPE_MS: Final = (10.0, 23.0)
"""Their time constants."""
REST_MS: Final = 192.0
"""Time constant of all else."""
PITCH_HZ: Final = (70.0, 300.0)
"""Where a pitch is looked for."""
PITCH_THRESHOLD: Final = 0.2
"""Cepstral peak above which a frame counts as voiced."""
PITCH_MS: Final = 10.0
"""Time constant at the peak."""
PITCH_WIDTH_S: Final = 0.125e-3
"""Coefficients this far to either side of the peak belong to it."""
RETURN_MS: Final = 392.0
"""Time constant with which ``a`` itself is averaged."""


class CepstralSmoother:
    """Smooths log spectra ``(frames, bins)`` over time. One object serves any number of streams."""

    def __init__(self, frames: Frames) -> None:
        self.bins = frames.bins
        self.size = frames.size
        rate, hop_ms = frames.sample_rate, 1000.0 * frames.hop / frames.sample_rate

        def factor(time_ms: float) -> float:
            return float(np.exp(-hop_ms / time_ms))

        slow = np.full(self.bins, factor(REST_MS))
        slow[: int(ENVELOPE_S[1] * rate) + 1] = factor(ENVELOPE_MS[1])
        slow[: int(ENVELOPE_S[0] * rate) + 1] = factor(ENVELOPE_MS[0])
        self.slow = slow.astype(np.float32)
        self.low = int(rate / PITCH_HZ[1])
        self.high = min(int(rate / PITCH_HZ[0]), self.bins - 1)
        self.width = max(1, round(PITCH_WIDTH_S * rate))
        self.quick = scalar(factor(PITCH_MS))
        back = factor(RETURN_MS)
        self.back = scalar(back)
        self.toward = scalar(1.0 - back)
        self.slow_share = self.slow * self.toward
        self.pull = scalar((1.0 - back) * (factor(PITCH_MS) - factor(REST_MS)))
        # Sums over all N bins of the even spectrum come without the 1/N.
        self.threshold = PITCH_THRESHOLD * self.size
        self.scale = scalar(1.0 / self.size)

    def begin(self) -> Any:
        """Return a new state."""
        return {
            "cepstrum": np.zeros(self.bins, np.float32),
            "factor": self.slow.copy(),
            "started": False,
        }

    def smooth(self, log_spectrum: Array, pitch_spectrum: Array, state: Any) -> Array:
        """Smooth some frames.

        Args:
            log_spectrum: natural logarithms, ``(frames, bins)``.
            pitch_spectrum: log spectrum in which the pitch is looked for; may be the same array.
            state: from :meth:`begin`; updated in place.

        Returns:
            A new array.
        """
        # The transform of an even sequence, given and returned by its first half; twice is times N.
        cepstra = dct1(log_spectrum)
        pitches = cepstra if pitch_spectrum is log_spectrum else dct1(pitch_spectrum)
        search = pitches[:, self.low : self.high]
        peaks = search.argmax(axis=-1) if search.shape[1] else np.zeros(len(cepstra), np.intp)
        factor, mean = state["factor"], state["cepstrum"]
        if not state["started"]:
            mean[:] = cepstra[0]
            state["started"] = True
        for i in range(cepstra.shape[0]):
            fresh = cepstra[i]
            peak = peaks[i]
            # The factors drift back towards the slow ones, except at a pitch.
            np.multiply(factor, self.back, out=factor)
            np.add(factor, self.slow_share, out=factor)
            # mean = fresh + factor (mean - fresh)
            np.subtract(mean, fresh, out=mean)
            if search.shape[1] and search[i, peak] > self.threshold:
                around = slice(self.low + peak - self.width, self.low + peak + self.width + 1)
                pitch = mean[around] * self.quick
                np.multiply(mean, factor, out=mean)
                mean[around] = pitch
                factor[around] += self.pull
            else:
                np.multiply(mean, factor, out=mean)
            np.add(mean, fresh, out=mean)
            fresh[:] = mean
        cepstra *= self.scale
        return dct1(cepstra)
