"""Band limiting: telephones, old recorders, low sample rates.

A linear-phase FIR filter (Kaiser window, 60 dB of stop band) whose delay is taken out, so that what
passes stays where it was. Edges are the -6 dB points; a filter twice as steep is twice as long.
Named bands: ``telephone`` 300-3400 Hz (ITU-T G.712), ``4k`` and ``8k``: what sample rates of 8 and
16 kHz can carry. The target is the full band.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from ..errors import ParameterError
from ..signal.blocks import Samples, as_block
from .base import Damage, Record, Scene

BANDS: dict[str, tuple[float, float]] = {
    "telephone": (300.0, 3400.0),
    "4k": (0.0, 3900.0),
    "8k": (0.0, 7800.0),
}
"""Edges in Hz of the named bands; the sampled ones end a little below Nyquist, as filters must."""

_STOP_DB = 60.0
_TRANSITION_HZ = 200.0


@dataclass(frozen=True)
class BandLimit(Damage):
    """Keep ``low_hz`` to ``high_hz``; 0 means no lower edge, an edge above Nyquist no upper one."""

    kind: ClassVar[str] = "band"
    low_hz: float = 300.0
    high_hz: float = 3400.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low_hz < self.high_hz or not np.isfinite(self.high_hz):
            raise ParameterError(f"need 0 <= low_hz < high_hz, got {self.low_hz} and {self.high_hz}")

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        taps = band_filter(self.low_hz, self.high_hz, scene.sample_rate)
        after = replace(scene, signal=_centred(scene.signal, taps), speech=_centred(scene.speech, taps))
        return after, {"taps": taps.size}


def band_filter(low_hz: float, high_hz: float, sample_rate: int) -> NDArray[np.float64]:
    """Taps (odd count, symmetric) that pass the band with unit gain; ``[1]`` if all of it passes."""
    nyquist = sample_rate / 2.0
    has_low, has_high = low_hz > 0.0, high_hz < nyquist
    if low_hz >= nyquist:
        raise ParameterError(f"low_hz = {low_hz:g} leaves nothing below {nyquist:g} Hz; lower it")
    if not has_low and not has_high:
        return np.ones(1)
    # No wider than what is left above the band or within it.
    width = min(_TRANSITION_HZ, high_hz - low_hz if has_high else nyquist - low_hz)
    if has_high:
        width = min(width, 2.0 * (nyquist - high_hz))
    if has_low:
        width = min(width, 2.0 * low_hz)
    count, beta = scipy.signal.kaiserord(_STOP_DB, max(width, 20.0) / nyquist)
    edges = [e for e, there in ((low_hz, has_low), (high_hz, has_high)) if there]
    taps: NDArray[np.float64] = scipy.signal.firwin(
        count | 1, edges, window=("kaiser", beta), pass_zero=not has_low, fs=sample_rate
    )
    return taps


def _centred(x: Samples, taps: NDArray[np.float64]) -> Samples:
    """Filter with the taps' own delay removed, at the input's length."""
    half = taps.size // 2
    y = scipy.signal.oaconvolve(x.astype(np.float64), taps[np.newaxis], axes=-1)
    return as_block(y[:, half : half + x.shape[1]])
