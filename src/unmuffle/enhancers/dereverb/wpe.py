r"""Streaming WPE: the prediction filter of :mod:`.prediction`, followed recursively.

With a forgetting factor :math:`\alpha = e^{-\text{hop}/\tau}` the sums of the batch form become

.. math:: R_n = \alpha R_{n-1} + \frac{\tilde y_n \tilde y_n^H}{\lambda_n}, \qquad
          P_n = \alpha P_{n-1} + \frac{\tilde y_n y_n^H}{\lambda_n}, \qquad G_n = R_n^{-1} P_n,

and frame n is cleaned with a filter that has not seen it, :math:`\hat x_n = y_n - G^H \tilde y_n`.
This is recursive least squares in its information form. The usual form updates :math:`R^{-1}`
instead, by a rank-one formula whose rounding errors grow with :math:`1/\alpha` until it blows up;
here every error is forgotten with :math:`\alpha` like every frame, R stays Hermitian and positive by
construction, and the solution is regularised anew each time. The price is solving for G. It is paid
in instalments: each frame serves one bin in ``refresh_ms / hop_ms``, which gets all frames since its
last turn at once (an exact update) and a new filter. So every frame costs the same, and a filter is
at most ``refresh_ms`` older than in textbook form: STOI after 4 s was the same for 100 and 200 ms.

The variance :math:`\lambda_n` is the power of :math:`\hat x_n`, mean of the microphones, smoothed
over ``variance_ms`` and held above -30 dB of the bin's mean power, so that a pause does not outweigh
the speech. With ``masks`` it is the power of what a network or another method takes for speech
(:class:`..masks.BesideMask`: it must have our hop); that has been worth less than what the filter itself leaves
(two microphones in a room of noise, SI-SDR after 3 s: +3.5 dB with ``live``, +4.5 dB without).
R begins as the identity (it has no unit): a weak belief in no reverberation, forgotten like the rest.

Where there is nothing to predict, as in steady noise or a dry voice, a filter learnt from finitely many
frames would add its own error. So each bin's prediction is judged by what it did of late,

.. math:: s = \frac{\sum \Re\, p^H y}{\sum |p|^2} \in [0, 1], \qquad p = G^H \tilde y_n,

over the last half second, and :math:`s \, p` is subtracted: all of it where it is right, little where it
is by chance. Noise without speech then comes out no louder than it came in, and dry speech keeps
several decibels more of itself. What is learnt does not depend on s.

Limits. The filter follows a talker who moves within some ``memory_s``; a shorter memory follows
faster and knows less. One microphone gains little, two much, four more: the late sound of several
microphones can cancel exactly, of one it cannot. Noise is left as it is (the filter cannot predict
it), and makes the prediction worse. Held vowels are predictable too: what is left of dry speech is
stated in the registry.

T. Yoshioka, H. Tachibana, T. Nakatani, M. Miyoshi, "Adaptive dereverberation of speech signals with
speaker-position change detection", ICASSP 2009; and the papers of :mod:`.prediction`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import ParameterError
from ...signal.blocks import Samples
from ...signal.stft import Frames, Spectrum
from ..base import Kernel, SpectralKernel
from ..masks import BesideMask, Masked
from ..params import param
from .high_band import HighBand
from .prediction import Complex, Float, solve

LOADING = 1e-6
"""Loading of R, relative to its mean diagonal."""
FLOOR = 1e-3
"""Least variance, relative to the mean power of the bin."""
PRIOR = 1.0
"""R at the start, times the identity."""
LEAST_SHARE = 0.3
"""Of the speech that ``masks`` may tell: frames that are all noise or echo would else outweigh the others."""
TRUST_S = 0.5
"""Time constant over which the prediction is judged."""


@dataclass(frozen=True)
class Wpe(Masked):
    """Recursive weighted prediction error: takes late reverberation off while it comes in.

    All microphones come out, each dereverberated with the help of all others, with their delays and
    levels to one another kept (for a beamformer behind it).
    """

    name: ClassVar[str] = "wpe"

    taps: int = param(10, "frames of the past, of each microphone, that predict", low=1, high=40)
    delay: int = param(3, "frames from the present to the newest of them", low=1, high=16)
    memory_s: float = param(10.0, "time constant of forgetting", low=0.5, high=600.0)
    variance_ms: float = param(20.0, "time constant of the speech variance", low=1.0, high=500.0)
    refresh_ms: float = param(200.0, "time from one filter of a bin to its next", low=1.0, high=1000.0)
    early_loading: float = param(
        0.02, "restraint of the newest frame, for early reflections to stay", low=0.0, high=100.0
    )
    restraint: float = param(0.002, "restraint of every frame, against chance", low=0.0, high=100.0)
    masks: str = param("", "who tells the voice's power: a network (live, FILE.onnx) or a method; empty: its own")
    inputs: int = param(8, "microphones, the first ones, that predict; all are cleaned", low=1, high=16)
    high_hz: float = param(8000.0, "upper edge of the band with filters", low=1000.0, high=96_000.0)
    window_ms: float = param(40.0, "length of the analysis window", low=4.0, high=128.0)
    hop_ms: float = param(10.0, "step from frame to frame; divides window_ms", low=1.0, high=64.0)

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part.

        Raises:
            ParameterError: more than 200 coefficients a bin, which no machine keeps up with.
        """
        size = self.taps * min(self.inputs, channels)
        if size > 200:
            raise ParameterError(
                f"taps = {self.taps} times {min(self.inputs, channels)} microphones is {size} coefficients a bin; "
                f"at most 200 are sensible: give taps = {200 // min(self.inputs, channels)} or fewer inputs"
            )
        return _WpeKernel(self, self.spec.at(sample_rate), channels)


class _WpeKernel(SpectralKernel):
    def __init__(self, method: Wpe, frames: Frames, channels: int) -> None:
        super().__init__(frames, channels)
        self.high = HighBand(frames, method.high_hz)
        self.masks = BesideMask(method.masks, method.spec, frames.sample_rate, channels) if method.masks else None
        hop_s = frames.hop / frames.sample_rate
        turn = max(1, round(method.refresh_ms * 1e-3 / hop_s))
        self.recursion = Recursion(
            self.high.treated,
            channels,
            min(method.inputs, channels),
            method.taps,
            method.delay,
            forgetting=math.exp(-hop_s / method.memory_s),
            smoothing=math.exp(-hop_s / (method.variance_ms * 1e-3)),
            turn=turn,
            trust=math.exp(-hop_s / TRUST_S),
            early_loading=method.early_loading,
            restraint=method.restraint,
        )

    def init_bins(self) -> Any:
        return {"filter": self.recursion.begin(), "high": self.high.begin()}

    def init(self) -> Any:
        return super().init(), None if self.masks is None else self.masks.begin()

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        framed, beside = state
        shares = None
        if self.masks is not None:
            shares, beside = self.masks.step(x, beside)
        framed[1]["shares"] = shares
        y, framed = super().step(x, framed)
        del framed[1]["shares"]
        return y, (framed, beside)

    def step_bins(self, spectrum: Spectrum, state: Any) -> tuple[Spectrum, Any]:
        out = spectrum.copy()
        bins = self.high.treated
        shares = state["shares"]
        for l in range(spectrum.shape[1]):
            frame = spectrum[:, l, :bins].T.astype(np.complex128, order="C")
            variance = None
            if shares is not None:
                share = np.maximum(shares[l, :bins], LEAST_SHARE)
                power = share * np.mean(frame.real**2 + frame.imag**2, axis=1)
                variance = self.recursion.followed(power, frame, state["filter"])
            out[:, l, :bins] = self.recursion.step(frame, state["filter"], variance).T
            if not self.high.empty:
                gain, state["high"] = self.high.step(spectrum[:, l], out[:, l], state["high"])
                out[:, l, bins:] *= np.float32(gain)
        return out, state


class Recursion:
    """Recursive WPE on frames ``(bins, channels)``; the state is a plain dictionary.

    Args:
        bins, channels: of a frame.
        inputs: channels, the first ones, that predict.
        taps, delay: K and D of :mod:`.prediction`.
        forgetting: alpha.
        smoothing: share of the last frame's variance in the next one's.
        trust: forgetting of the judgement of the prediction; ``None`` always believes it.
        turn: frames from one filter of a bin to its next.
        loading, floor, prior: see this module's constants.
        early_loading, restraint: kappa and rho of :mod:`.prediction`.
    """

    def __init__(
        self,
        bins: int,
        channels: int,
        inputs: int,
        taps: int,
        delay: int,
        *,
        forgetting: float,
        smoothing: float = 0.0,
        turn: int = 1,
        trust: float | None = None,
        loading: float = LOADING,
        floor: float = FLOOR,
        prior: float = PRIOR,
        early_loading: float = 0.0,
        restraint: float = 0.0,
    ) -> None:
        self.bins, self.channels, self.inputs = bins, channels, inputs
        self.taps, self.turn = taps, turn
        self.forgetting, self.smoothing = forgetting, smoothing
        self.loading, self.floor, self.prior = loading, floor, prior
        self.trust, self.early_loading, self.restraint = trust, early_loading, restraint
        self.depth = delay + taps + turn - 1  # frames that are kept: what the oldest of a turn needs
        self.newest = self.depth - 1 - delay
        self.decay = forgetting ** np.arange(turn - 1, -1, -1.0)
        # Frame j of a turn is predicted from those at index[:, j] of the history.
        self.index = self.newest - (turn - 1) + np.arange(turn) - np.arange(taps)[:, np.newaxis]

    def begin(self) -> dict[str, Any]:
        """Nothing heard, nothing predicted."""
        size = self.taps * self.inputs
        return {
            "frame": 0,
            "history": np.zeros((self.depth, self.bins, self.channels), np.complex128),
            "weights": np.zeros((self.turn, self.bins)),
            "variance": np.zeros(self.bins),
            "mean": np.zeros(self.bins),
            "heard": 0.0,
            "correlation": np.tile(self.prior * np.eye(size, dtype=np.complex128), (self.bins, 1, 1)),
            "cross": np.zeros((self.bins, size, self.channels), np.complex128),
            "agreed": np.zeros(self.bins),
            "power": np.zeros(self.bins),
            "filters": np.zeros((self.bins, size, self.channels), np.complex128),
        }

    def step(self, y: Complex, state: dict[str, Any], variance: Float | None = None) -> Complex:
        """Clean one frame and learn from it.

        Args:
            y: ``(bins, channels)``.
            state: is changed.
            variance: of the speech, ``(bins,)``, if something else (a network) knows it better than what the
                filter leaves.
        """
        history = state["history"] = np.concatenate((state["history"][1:], y[np.newaxis]))
        past = history[self.newest - self.taps + 1 : self.newest + 1][::-1, :, : self.inputs]
        stacked = past.transpose(1, 0, 2).reshape(self.bins, 1, -1)
        predicted = (stacked.conj() @ state["filters"])[:, 0].conj()
        x: Complex = y - predicted
        trusted = x if self.trust is None else y - self._trust(y, predicted, state, self.trust) * predicted
        if variance is None:
            variance = self.followed(np.mean(x.real**2 + x.imag**2, axis=1), y, state)
        # float32 spectra have no power between 0 and 1e-90, so this asks for zero, not for a level; in silence
        # the weights are zero too, which teaches nothing.
        audible = variance > 1e-150
        weights = np.where(audible, 1.0 / np.where(audible, variance, 1.0), 0.0)
        state["weights"] = np.concatenate((state["weights"][1:], weights[np.newaxis]))
        self._learn(state)
        state["frame"] += 1
        return trusted

    def _trust(self, y: Complex, predicted: Complex, state: dict[str, Any], keep: float) -> Float:
        """Factor of the prediction that would have been best of late, 0 to 1: ``(bins, 1)``."""
        agreed = np.sum(y.real * predicted.real + y.imag * predicted.imag, axis=1)
        power = np.sum(predicted.real**2 + predicted.imag**2, axis=1)
        state["agreed"] = agreed = keep * state["agreed"] + agreed
        state["power"] = power = keep * state["power"] + power
        known = power > 1e-150
        share = np.where(known, np.clip(agreed / np.where(known, power, 1.0), 0.0, 1.0), 0.0)
        return share[:, np.newaxis]

    def followed(self, power: Float, y: Complex, state: dict[str, Any]) -> Float:
        """The variance: the speech's ``power`` in a frame ``(bins,)``, smoothed and floored. Call it once a frame."""
        state["variance"] = self.smoothing * state["variance"] + (1.0 - self.smoothing) * power
        state["mean"] = self.forgetting * state["mean"] + np.mean(y.real**2 + y.imag**2, axis=1)
        state["heard"] = self.forgetting * state["heard"] + 1.0
        variance: Float = np.maximum(state["variance"], self.floor * state["mean"] / state["heard"])
        return variance

    def _learn(self, state: dict[str, Any]) -> None:
        """Bring the bins whose turn it is up to date, and solve for their filters."""
        which = slice(state["frame"] % self.turn, None, self.turn)
        weights = state["weights"][:, which].T
        history = state["history"][:, which]
        bins = history.shape[1]
        if not bins:  # more turns than bins
            return
        past = history[self.index][..., : self.inputs].transpose(2, 0, 3, 1).reshape(bins, -1, self.turn)
        weighted = past * (weights * self.decay)[:, np.newaxis]
        # Silence does not forget either: R would fade into denormal numbers within hours.
        heard = np.any(weights > 0.0, axis=1)
        keep = np.where(heard, self.forgetting**self.turn, 1.0)[:, np.newaxis, np.newaxis]
        correlation = keep * state["correlation"][which] + weighted @ past.conj().transpose(0, 2, 1)
        # Rounding aside it is Hermitian; made exactly so, nothing can add up over the hours.
        correlation = 0.5 * (correlation + correlation.conj().transpose(0, 2, 1))
        cross = keep * state["cross"][which] + weighted @ history[-self.turn :].transpose(1, 0, 2).conj()
        state["correlation"][which] = correlation
        state["cross"][which] = cross
        state["filters"][which] = solve(
            correlation, cross, self.loading, self.inputs, self.early_loading, self.restraint
        )
