"""Packet loss: a call over a network that drops what it cannot deliver.

Losses come in bursts, as in the Gilbert-Elliott model: a two-state Markov chain, *good* (every packet
arrives) and *bad* (none does), with

    r = P(bad -> good) = 1 / mean burst length,      p = P(good -> bad) = r * loss / (1 - loss)

so that the long-run share of lost packets is ``loss`` and bursts have a geometric length. With a mean
burst of ``1 / (1 - loss)`` losses are independent; shorter is impossible.

A lost packet is ``zero`` (silence, with the clicks at its edges) or ``repeat`` (the last good packet
again, 3 dB softer each time: what simple decoders do). The target is the undamaged signal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..signal.levels import gain
from .base import Damage, Record, Scene, check_choice, check_positive

FILLS = ("zero", "repeat")
_FADE_DB_PER_REPEAT = 3.0


@dataclass(frozen=True)
class PacketLoss(Damage):
    """Bursts of lost packets."""

    kind: ClassVar[str] = "loss"
    loss_rate: float = 0.1
    """Share of packets lost in the long run, 0..0.9."""
    mean_burst_packets: float = 2.0
    packet_ms: float = 20.0
    fill: str = "zero"

    def __post_init__(self) -> None:
        if not 0.0 <= self.loss_rate <= 0.9:
            raise ParameterError(f"loss_rate must lie in 0..0.9, got {self.loss_rate}")
        check_positive("packet_ms", self.packet_ms)
        shortest = 1.0 / (1.0 - self.loss_rate)
        if not shortest - 1e-9 <= self.mean_burst_packets <= 1e6:
            raise ParameterError(
                f"mean_burst_packets must be at least {shortest:.3f} at a loss rate of {self.loss_rate}, "
                f"got {self.mean_burst_packets}"
            )
        check_choice("fill", self.fill, FILLS)

    def _apply(self, scene: Scene, rng: np.random.Generator) -> tuple[Scene, Record]:
        n = scene.signal.shape[1]
        size = max(1, round(self.packet_ms * 1e-3 * scene.sample_rate))
        lost = draw_losses(-(-n // size), self.loss_rate, self.mean_burst_packets, rng)
        y = scene.signal.copy()
        last: NDArray[np.float32] | None = None
        level = 1.0
        for i, gone in enumerate(lost):
            here = slice(i * size, min((i + 1) * size, n))
            if not gone:
                last, level = y[:, here].copy(), 1.0
            elif self.fill == "zero" or last is None:
                y[:, here] = 0.0
            else:
                level *= gain(-_FADE_DB_PER_REPEAT)
                y[:, here] = level * last[:, : here.stop - here.start]
        drawn: Record = {"lost_packets": list(np.flatnonzero(lost)), "loss_rate": float(np.mean(lost))}
        return replace(scene, signal=y), drawn


def draw_losses(
    packets: int, loss_rate: float, mean_burst_packets: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which of ``packets`` are lost, from the two-state chain started in its steady state."""
    recover = 1.0 / mean_burst_packets
    fail = min(1.0, recover * loss_rate / (1.0 - loss_rate))
    draws = rng.random(packets)
    lost = np.zeros(packets, dtype=np.bool_)
    bad = bool(draws[0] < loss_rate) if packets else False
    for i in range(packets):
        if i:
            bad = bool(draws[i] >= recover) if bad else bool(draws[i] < fail)
        lost[i] = bad
    return lost
