r"""Room impulse responses for training: simulated ones, and what of a response belongs to the target.

A network that is asked to give back the dry voice must invent what the room took away; one that may
keep the early reflections (which help understanding: Bradley, Sato & Picard, "On the importance of
early reflections for speech in rooms", JASA 113(6), 2003) only has to remove the tail. So the target
of a mixture is the voice convolved with the response up to 50 ms after the direct sound, faded out
over 5 ms, and the input the voice convolved with all of it. Both start at the direct sound: there is
no delay for the network to guess.

The simulated response is the statistical one (Polack 1988): Gaussian noise under an exponential,

.. math:: h[n] = \delta[n] + g \, w[n] \, e^{-6.9 n / (f_s T_{60})},

with separate decay times for low and high frequencies, a few strong early reflections of random
sign, and ``g`` set by the direct-to-reverberant ratio. It has no geometry; it fills in for short
rooms, of which there are few measured ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from ..errors import ParameterError

EARLY_S = 0.05
_FADE_S = 0.005
_LEAD_S = 0.001

Response = NDArray[np.float32]


def simulate(
    rng: np.random.Generator, sample_rate: int, rt60_s: float, direct_to_reverberant_db: float
) -> Response:
    """A random room response that starts with its direct sound.

    Args:
        rng: source of chance.
        sample_rate: in Hz.
        rt60_s: time in which the tail falls by 60 dB, above 0 and at most 3 s.
        direct_to_reverberant_db: energy of the direct sound over that of all the rest.

    Returns:
        float32 ``(samples,)``; the first sample, 1, is the direct sound.
    """
    if not 0 < rt60_s <= 3:
        raise ParameterError(f"rt60_s = {rt60_s!r}; give a time above 0, at most 3 s")
    n = max(int(0.9 * rt60_s * sample_rate), 8)
    time = np.arange(n, dtype=np.float32) / np.float32(sample_rate)
    noise = rng.standard_normal(n, dtype=np.float32)
    # Walls absorb high notes faster: split at a one-pole corner and let the upper part fade sooner.
    low = lfilter([0.3], [1.0, -0.7], noise).astype(np.float32)
    high_share = np.float32(rng.uniform(0.4, 0.95))
    slow = np.float32(-6.9 / rt60_s)
    tail = low * np.exp(slow * time) + (noise - low) * np.exp(slow / high_share * time)
    start = int(rng.uniform(0.001, 0.006) * sample_rate)
    tail[:start] = 0.0
    for _ in range(int(rng.integers(2, 7))):
        at = int(rng.uniform(0.001, 0.04) * sample_rate)
        if at < n:
            tail[at] += np.float32(rng.choice((-1.0, 1.0)) * rng.uniform(2.0, 6.0))
    energy = float(np.sum(tail * tail)) + 1e-12
    tail *= np.float32(10.0 ** (-direct_to_reverberant_db / 20.0) / np.sqrt(energy))
    tail[0] = 1.0
    return tail


def trim(response: Response, sample_rate: int, longest_s: float) -> Response:
    """A measured response from its direct sound on, at most ``longest_s`` long, direct sound at 1.

    A millisecond before the peak is kept, faded in: the flank of a band-limited direct sound. The
    peak therefore lies at ``1 ms``, and the voice is late by that in input and target alike.
    """
    peak = int(np.argmax(np.abs(response)))
    lead = int(_LEAD_S * sample_rate)
    start = max(peak - lead, 0)
    h = response[start : start + int(longest_s * sample_rate)].astype(np.float32)
    rise = peak - start
    if rise:
        h[:rise] *= np.linspace(0.0, 1.0, rise, dtype=np.float32)
    end = min(int(0.05 * sample_rate), h.size - rise - 1)
    if end > 0:
        h[-end:] *= np.linspace(1.0, 0.0, end, dtype=np.float32)
    return h * np.float32(1.0 / h[rise])


def early(response: Response, sample_rate: int, early_s: float = EARLY_S) -> Response:
    """The part of a response that belongs to the target: ``early_s`` from the direct sound on."""
    peak = int(np.argmax(np.abs(response)))
    stop = peak + int(early_s * sample_rate)
    fade = int(_FADE_S * sample_rate)
    h = response[: stop + fade].copy()
    rest = h.size - stop
    if rest > 0:
        h[stop:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)[:rest]
    return h


def decay_time(response: Response, sample_rate: int) -> float:
    """Reverberation time in seconds from Schroeder's backward integral, -5 to -25 dB, times three."""
    energy = np.cumsum((response.astype(np.float64) ** 2)[::-1])[::-1]
    if not energy.size or energy[0] <= 0:
        return 0.0
    level = 10.0 * np.log10(np.maximum(energy / energy[0], 1e-12))
    below = [int(np.argmax(level <= -depth)) for depth in (5.0, 25.0)]
    return 3.0 * max(below[1] - below[0], 0) / sample_rate
