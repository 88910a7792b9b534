"""The best that this folder does without any training, as one setting for everything.

``mmse-spp`` noise, the a-priori SNR by cepstral smoothing, and the super-Gaussian log-amplitude
estimator of :mod:`.mosie`. Nothing in it is new; what counts is the combination. Cepstral smoothing
follows onsets at once where the decision-directed estimate is late, so less is lost of consonants, and
it leaves so little musical noise that the floor may be low. Frames overlap by two thirds, which costs
24 ms of latency; with ``window_ms=32, hop_ms=16, window="sqrt-hann"`` it is 16 ms at nearly the quality.

The values were chosen by ``bench/spectral_tune.py`` on mixtures of training recordings, by the sum of
PESQ-WB and twice ESTOI. It is flat around them: values half as large again change little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...noise import MmseSpp, NoiseTracker
from ...signal.stft import WINDOWS
from ..params import param
from .apriori import ESTIMATORS
from .mosie import Mosie


@dataclass(frozen=True)
class Classic(Mosie):
    """Log-amplitude estimator, super-Gaussian prior, cepstral SNR: the tuned setting."""

    name: ClassVar[str] = "classic"
    window_ms: float = param(36.0, "length of the analysis window", low=4.0, high=128.0)
    hop_ms: float = param(12.0, "step from frame to frame; divides window_ms", low=1.0, high=64.0)
    window: str = param("hann", "shape of the windows (hann wants 67 % overlap or more)", choices=WINDOWS)
    snr: str = param("cepstral", "how the a-priori SNR is estimated", choices=ESTIMATORS)
    floor_db: float = param(-20.0, "smallest gain", low=-80.0, high=0.0)
    mu: float = param(0.7, "shape of the prior; 1 is Gaussian, less is peakier", low=0.1, high=2.0)
    beta: float = param(0.01, "power of the amplitude whose error is minimised", low=0.01, high=2.0)
    stuck_ms: float = param(300.0, "how long a bin may be full before it counts as noise", low=10.0, high=10_000.0)

    def tracker(self) -> NoiseTracker:
        """The noise tracker; ``mmse-spp`` more patient than usual, which spares long vowels."""
        if self.noise == MmseSpp.name and self.profile is None:
            return MmseSpp(stuck_s=self.stuck_ms / 1000.0)
        return super().tracker()
