"""What validation can go by beyond the loss and the SI-SDR: ESTOI and PESQ of the validation mixtures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Signals = NDArray[np.float32]
"""``(clips, samples)``"""


def estoi(estimate: Signals, target: Signals, sample_rate: int) -> list[float]:
    """ESTOI of each clip that has speech enough for it."""
    from ..evaluate.stoi import estoi as one

    return _each(one, estimate, target, sample_rate)


def pesq(estimate: Signals, target: Signals, sample_rate: int) -> list[float]:
    """Wide-band PESQ of each clip that has speech enough for it."""
    from ..evaluate.pesq import pesq_wb

    return _each(pesq_wb, estimate, target, sample_rate)


def _each(
    one: Callable[[Signals, Signals, int], float], estimate: Signals, target: Signals, sample_rate: int
) -> list[float]:
    out = []
    for e, t in zip(estimate, target, strict=True):
        with suppress(InputError):
            out.append(float(one(t, e, sample_rate)))
    return out


MEASURES: dict[str, Callable[[Signals, Signals, int], list[float]]] = {"estoi": estoi, "pesq": pesq}
"""Name -> (estimates, targets, sample rate) to one number a clip; higher is better."""
