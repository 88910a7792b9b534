r"""``kalman-fast``: the filter of ``kalman`` with a gain that is computed for a part of each hop only.

Within a hop the models do not change, and the covariance, which does not depend on the samples,
runs into its steady state (the solution of a Riccati equation). So the recursion of the covariance,
which is nearly all of the work, is run for the first ``settle`` samples of a hop, and the gain
reached by then serves for the rest: O(p + q) per sample instead of O((p + q)^2).

The price is an error where models with sharp resonances settle slowly. The state is of low order, so
that nothing but multiplications and additions of some ten numbers is left per sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import ParameterError
from ..base import Kernel
from ..params import param
from .framing import ArEnhancer
from .linear import LinearKernel


@dataclass(frozen=True)
class KalmanFast(ArEnhancer):
    """AR(p) speech in AR(q) noise with a gain frozen in each hop once it has settled."""

    name: ClassVar[str] = "kalman-fast"
    order: int = param(10, "order of the speech model", low=1, high=32)
    noise_order: int = param(4, "order of the noise model, at most order; 0 is white noise", low=0, high=32)
    lag: int = param(9, "samples of smoothing, below order", low=0, high=31)
    settle: int = param(24, "samples at the start of a hop for which the gain is computed", low=1, high=256)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lag >= self.order:
            raise ParameterError(f"lag = {self.lag} with order = {self.order}; give less than the order")

    def native(self, sample_rate: int, channels: int) -> Kernel:
        """The running part."""
        return LinearKernel(self, sample_rate, channels, settle=self.settle)
