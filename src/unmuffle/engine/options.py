"""What can be asked of an enhancement, in one place for arrays, files and the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..enhancers import registry
from ..enhancers.base import Enhancer
from ..enhancers.compose import Chain, MidSide, PerChannel
from ..errors import ParameterError
from ..noise.profile import NoiseProfile

REPAIRS = ("declip", "declick", "dehum", "detone", "dewind", "low-cut")
"""Repair stages in the order in which they run, before the method: each needs what the one before restored."""

STEREO = ("linked", "independent", "mid-side")
"""How channels are treated: one gain for all, each for itself, or as sum and difference."""


@dataclass(frozen=True)
class Options:
    """An enhancement, fully described.

    Attributes:
        method: a name from the registry, or an :class:`~unmuffle.enhancers.base.Enhancer`.
        params: parameters of the method.
        strength_db: most attenuation allowed; 0 gives the input back, ``inf`` the full effect.
        repair: stages of :data:`REPAIRS` that run before the method, in that order.
        stereo: one of :data:`STEREO`.
        profile: the noise, if it has been measured.
        loudness_lufs: integrated loudness of the result (EBU R128), or ``None`` to leave the level alone.
    """

    method: str | Enhancer = "auto"
    params: Mapping[str, Any] = field(default_factory=dict)
    strength_db: float = math.inf
    repair: tuple[str, ...] = ()
    stereo: str = "linked"
    profile: NoiseProfile | None = None
    loudness_lufs: float | None = None

    def __post_init__(self) -> None:
        if self.stereo not in STEREO:
            raise ParameterError(f"stereo = {self.stereo!r}; choose one of {', '.join(STEREO)}")
        for stage in self.repair:
            if stage not in REPAIRS:
                raise ParameterError(f"repair = {stage!r}; choose from {', '.join(REPAIRS)}")
        if math.isnan(self.strength_db) or self.strength_db < 0:
            raise ParameterError(f"strength = {self.strength_db!r} dB; give 0 (unchanged) to inf (full effect)")
        if self.loudness_lufs is not None and not -70.0 <= self.loudness_lufs <= 0.0:
            raise ParameterError(f"loudness = {self.loudness_lufs!r} LUFS; give -70 to 0 (-16 for podcasts)")
        if isinstance(self.method, Enhancer) and self.params:
            raise ParameterError("parameters belong into the enhancer when an enhancer is given")

    def enhancer(self, channels: int) -> Enhancer:
        """The enhancer that does all this (but for loudness, which needs the whole result)."""
        main = (
            self.method
            if isinstance(self.method, Enhancer)
            else registry.load(self.method, **self.params)
        )
        if self.profile is not None:
            main = main.with_profile(self.profile)
        stages = [registry.load(name) for name in REPAIRS if name in self.repair]
        whole = Chain((*stages, main)) if stages else main
        if channels == 1 or self.stereo == "linked":
            return whole
        return PerChannel(whole) if self.stereo == "independent" else MidSide(whole)
