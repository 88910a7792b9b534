r"""Active noise control, simulated: an anti-noise loudspeaker at the ear, adapted by FxLMS.

What the ear hears is the noise through the **primary path** ``p`` (outside, through the cup) plus the loudspeaker's
sound through the **secondary path** ``s`` (amplifier, loudspeaker, cup, microphone at the ear)::

    e[n] = (p * x)[n] + (s * y)[n],        y[n] = sum_i w_i r[n - i]

The loudspeaker is driven by a filter ``w`` of the reference ``r``, adapted by the filtered-x LMS algorithm,

.. math:: w \leftarrow w - \mu \, \frac{e[n] \, \hat r}{\|\hat r\|^2 + \varepsilon}, \qquad
          \hat r = \hat s * r,

with ``s_hat`` an estimate of ``s`` (:func:`identify`); it converges while the phase of ``s_hat`` is within 90
degrees of the truth.

``feedforward``
    ``r = x``, a microphone outside hears the noise before the ear does. All noise that comes through the reference
    goes, as long as the loudspeaker's way is shorter than the noise's: a secondary path longer than the primary
    one leaves broadband noise where it is.
``feedback``
    Only the microphone at the ear: ``r[n] = e[n] - (s_hat * y)[n]``, the noise as it would be without the
    loudspeaker (internal model control). It removes what can be predicted over the secondary path's delay: tones and
    hum go, white noise stays.

**Transparency** lets a share ``t`` of the outside through on purpose, for announcements and traffic: the error becomes
``e - t d_hat`` with ``d_hat = e - s_hat * y``, so that the ear settles at ``t`` times the noise, ``20 log10 t`` dB.

Source: S. M. Kuo, D. R. Morgan, "Active noise control: a tutorial review", Proc. IEEE 87(6), 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from ..errors import InputError, ParameterError

Real = NDArray[np.float64]

KINDS = ("feedforward", "feedback")
_DIVERGED = 1e3  # times the loudest noise: the loop howls, and the simulation says so


@dataclass(frozen=True)
class AncLoop:
    """A headphone with active noise control.

    Attributes:
        primary: response of the way from outside to the ear.
        secondary: response of the way from the loudspeaker to the ear's microphone; its first sample is 0 or more
            samples of delay after the loudspeaker is driven.
        secondary_model: what the controller believes of it; ``None``: the truth.
        kind: ``feedforward`` or ``feedback``.
        taps: of the adaptive filter.
        step: step size mu of the normalised update, 0..1 (0 < mu < 2 for a delay of nothing; less for longer paths).
        transparency: share of the noise that the ear is to keep, 0..1.
    """

    primary: tuple[float, ...]
    secondary: tuple[float, ...]
    secondary_model: tuple[float, ...] | None = None
    kind: str = "feedforward"
    taps: int = 128
    step: float = 0.02
    transparency: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ParameterError(f"kind = {self.kind!r}; choose one of {', '.join(KINDS)}")
        if not 1 <= self.taps <= 8192:
            raise ParameterError(f"taps = {self.taps}; give 1 to 8192")
        if not 0.0 < self.step <= 1.0:
            raise ParameterError(f"step = {self.step}; give more than 0, at most 1")
        if not 0.0 <= self.transparency <= 1.0:
            raise ParameterError(f"transparency = {self.transparency}; give 0 (silence) to 1 (all of the outside)")
        for name in ("primary", "secondary", "secondary_model"):
            path = getattr(self, name)
            if path is not None and (not len(path) or not np.isfinite(path).all() or not np.any(path)):
                raise ParameterError(f"{name} must be a response that is finite and not zero, got {path!r}")


class AncRun(NamedTuple):
    """What happened in a simulation."""

    ear: Real
    """What the ear hears."""
    passive: Real
    """What it would hear without the loudspeaker."""
    loudspeaker: Real
    """What the loudspeaker was driven with."""
    filter: Real
    """The adaptive filter at the end."""

    def attenuation_db(self, start: int = 0) -> float:
        """By how many decibels the ear hears less than without, from sample ``start`` on."""
        with_it, without = float(np.sum(self.ear[start:] ** 2)), float(np.sum(self.passive[start:] ** 2))
        if without == 0.0:
            return 0.0
        return 10.0 * float(np.log10(without / max(with_it, 1e-30)))


def simulate_anc(loop: AncLoop, noise: Any, heard: Any = None) -> AncRun:
    """Run the loop, sample by sample.

    Args:
        loop: the headphone.
        noise: outside, ``(samples,)``; it reaches the reference microphone at once and the ear through ``primary``.
        heard: sound that only the ear's microphone hears, such as the music that is being played, or nothing.

    Raises:
        InputError: signals of other shapes, or not finite.
        ParameterError: the loop howls: a smaller step, or a better model of the secondary path.
    """
    x = _signal(noise, "noise")
    own = np.zeros_like(x) if heard is None else _signal(heard, "heard")
    if own.shape != x.shape:
        raise InputError(f"noise has {x.size} samples and heard {own.size}; give as many")
    if not x.size:
        return AncRun(x, x, x, np.zeros(loop.taps))
    passive = lfilter(np.asarray(loop.primary), [1.0], x) + own
    s = np.asarray(loop.secondary, np.float64)
    model = s if loop.secondary_model is None else np.asarray(loop.secondary_model, np.float64)
    w, driven = np.zeros(loop.taps), np.zeros(max(s.size, model.size))
    # Newest sample first, as the filters are written.
    reference, filtered = np.zeros(max(loop.taps, model.size)), np.zeros(loop.taps)
    ear, loudspeaker = np.empty_like(x), np.empty_like(x)
    limit = _DIVERGED * max(float(np.max(np.abs(passive), initial=0.0)), 1e-9)
    before = 0.0  # feedback: the noise at the ear one sample ago, as the model has it
    for n in range(x.size):
        reference[1:] = reference[:-1]
        reference[0] = x[n] if loop.kind == "feedforward" else before
        y = float(w @ reference[: loop.taps])
        driven[1:] = driven[:-1]
        driven[0] = y
        e = passive[n] + float(s @ driven[: s.size])
        if not abs(e) <= limit:
            raise ParameterError(
                f"the loop howls after {n} samples; take a smaller step than {loop.step}, or a better model of the "
                "secondary path"
            )
        disturbance = e - float(model @ driven[: model.size])
        filtered[1:] = filtered[:-1]
        filtered[0] = float(model @ reference[: model.size])
        energy = float(filtered @ filtered)
        w -= (loop.step * (e - loop.transparency * disturbance) / (energy + 1e-9)) * filtered
        ear[n], loudspeaker[n], before = e, y, disturbance
    return AncRun(ear, passive, loudspeaker, w)


def identify(path: Any, taps: int, *, samples: int = 20_000, noise_db: float = -40.0, seed: int = 0) -> Real:
    """What a calibration with white noise learns of a secondary path (normalised LMS).

    Args:
        path: the true response.
        taps: of the model.
        samples: length of the calibration.
        noise_db: level of other noise at the microphone, relative to the calibration signal.
        seed: of both.
    """
    if taps < 1 or samples < 1:
        raise ParameterError(f"taps = {taps} and samples = {samples}; give 1 or more of each")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(samples)
    d = lfilter(np.asarray(path, np.float64), [1.0], x) + 10.0 ** (noise_db / 20.0) * rng.standard_normal(samples)
    model, recent = np.zeros(taps), np.zeros(taps)
    for n in range(samples):
        recent[1:] = recent[:-1]
        recent[0] = x[n]
        model += 0.1 * (d[n] - float(model @ recent)) / (float(recent @ recent) + 1e-9) * recent
    return model


def _signal(x: Any, name: str) -> Real:
    a = np.asarray(x, np.float64)
    if a.ndim != 1 or not np.isfinite(a).all():
        raise InputError(f"{name} must be (samples,) and finite, got shape {a.shape}")
    return a
