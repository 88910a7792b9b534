"""What can be wrong with the channels of a microphone array, found from the recording itself.

Dead, copied, turned round (opposite polarity) or late channels do not stop a computation, they make its result
wrong without a word. `channel_faults` looks for them; each fault is a sentence with the channel's number.

========== ==============================================================================================
dead       60 dB or more below the median of the channels, or nothing but one constant value
copied     equal to an earlier channel, sample by sample
turned     its correlation with the reference, within the array's largest delay, is stronger with minus
late       it has a far stronger common sound with the reference at a delay that the array cannot have
========== ==============================================================================================

The reference is the loudest channel that is not dead. Up to 20 s from the middle of the recording are
used. Diffuse noise, or microphones metres apart, have too little in common for the last two: then nothing is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import ArrayGeometry
from .blocks import Samples, as_block, check_rate
from .steering import speed_of_sound
from .transforms import fast_length, irfft, rfft

DEAD_DB = -60.0
_LONGEST_S = 20.0
_LATEST_S = 2.0
_CERTAIN = 12.0  # peak of the correlation over its root mean square


def dead_channels(x: Samples) -> list[int]:
    """Channels with nothing in them, beside others that have."""
    if not x.shape[1]:
        return []
    spread = np.std(x.astype(np.float64), axis=1)
    middle = float(np.median(spread[spread > 0.0])) if np.any(spread > 0.0) else 0.0
    return [int(i) for i in np.flatnonzero(spread <= middle * 10.0 ** (DEAD_DB / 20.0))] if middle > 0.0 else []


def channel_faults(x: Any, sample_rate: int, array: ArrayGeometry | None = None) -> list[str]:
    """Sentences about channels that cannot be right; empty when nothing was found.

    Args:
        x: ``(channels, samples)``.
        sample_rate: in Hz.
        array: tells how late a sound can be; without it, 10 ms.
    """
    signal, rate = as_block(x), check_rate(sample_rate)
    count, n = signal.shape
    span = round(_LONGEST_S * rate)
    if n > span:
        signal = signal[:, (n - span) // 2 :][:, :span]
    if count < 2 or signal.shape[1] < rate // 10 or not signal.any():
        return []
    dead = dead_channels(signal)
    faults = [f"channel {i} is dead (60 dB or more below the others)" for i in dead]
    alive = [i for i in range(count) if i not in dead]
    copies: set[int] = set()
    for k, i in enumerate(alive):
        for j in alive[:k]:
            if j not in copies and np.array_equal(signal[i], signal[j]):
                faults.append(f"channel {i} is a copy of channel {j}")
                copies.add(i)
                break
    others = [i for i in alive if i not in copies]
    if len(others) < 2:
        return faults
    reference = max(others, key=lambda i: float(np.std(signal[i])))
    crossing = 0.01 if array is None else float(array.distances.max()) / speed_of_sound()
    near = int(np.ceil(crossing * rate)) + 2
    far = min(round(_LATEST_S * rate), signal.shape[1] - 1)
    size = fast_length(signal.shape[1] + far + 1)
    base = rfft(signal[reference].astype(np.float64), size)
    for i in others:
        if i != reference:
            faults += _relation(i, reference, signal[i], base, size, near, far, rate)
    return faults


def _relation(
    i: int,
    reference: int,
    x: NDArray[np.float32],
    base: NDArray[np.complex128],
    size: int,
    near: int,
    far: int,
    rate: int,
) -> list[str]:
    cross = rfft(x.astype(np.float64), size) * base.conj()
    magnitude = np.abs(cross)
    cross[0] = 0.0
    whole = irfft(cross / np.maximum(magnitude, magnitude.max() * 1e-6), size)
    spread = float(np.sqrt(np.mean(whole * whole)))
    lags = np.arange(-far, far + 1)
    found = whole[lags] / spread
    close = np.abs(lags) <= near
    inside, outside = found[close], np.where(close, 0.0, np.abs(found))
    top = int(np.argmax(outside))
    if outside[top] > max(_CERTAIN, 2.0 * float(np.abs(inside).max())):
        way = "later" if lags[top] > 0 else "earlier"
        late = abs(int(lags[top])) / rate
        return [f"channel {i} is {late:.3f} s {way} than channel {reference}, more than the array allows"]
    if -inside.min() > max(_CERTAIN, 1.5 * float(inside.max())):
        return [f"channel {i} has the opposite polarity of channel {reference}"]
    return []
