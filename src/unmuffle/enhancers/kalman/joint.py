"""What ``kalman-ekf`` and ``kalman-ukf`` share: parameters, and the running filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import ParameterError
from ..base import Kernel
from ..params import param
from . import recursion
from .framing import ArEnhancer, ModelKernel, Models
from .recursion import Array


@dataclass(frozen=True)
class JointEnhancer(ArEnhancer):
    """Base of the two methods that estimate samples and AR coefficients together."""

    order: int = param(10, "order of the speech model", low=1, high=32)
    noise_order: int = param(4, "order of the noise model, at most order; 0 is white noise", low=0, high=32)
    lag: int = param(9, "samples of smoothing, below order", low=0, high=31)
    drift: float = param(0.1, "standard deviation by which a coefficient wanders in 10 ms", low=0.0, high=1.0)
    doubt: float = param(
        0.1, "standard deviation of the coefficients that each frame gives; 0 is trust", low=0.0, high=100.0
    )

    unscented: ClassVar[bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lag >= self.order:
            raise ParameterError(f"lag = {self.lag} with order = {self.order}; give less than the order")

    def native(self, sample_rate: int, channels: int) -> Kernel:
        """The running part."""
        return JointKernel(self, sample_rate, channels)


class JointKernel(ModelKernel):
    """Runs :func:`.recursion.run_joint` over the hops."""

    def __init__(self, method: JointEnhancer, sample_rate: int, channels: int) -> None:
        super().__init__(method, sample_rate, channels)
        self.unscented = method.unscented
        self.walk = method.drift**2 / (0.01 * sample_rate)
        self.doubt = max(method.doubt**2, 1e-8)  # a measurement without any variance has no square root

    def init_filter(self) -> Any:
        """Nothing known of samples; coefficients of which the first frame says what they are."""
        n = 2 * self.p + self.q
        return {
            "mean": np.zeros(n + 2),
            "root": np.eye(n + 2) * (np.arange(n + 2) < self.p),
            "clock": np.zeros(1, np.int64),
        }

    def filter(self, around: Array, models: Models, state: Any) -> Array:
        """Filter the hops."""
        hop = self.frames.hop
        y = around[hop:-hop].reshape(-1, hop)
        out = np.empty_like(y)
        recursion.run_joint(
            y,
            out,
            self.p,
            self.q,
            self.lag,
            self.unscented,
            models.a,
            np.full(models.a.shape, self.doubt),
            self.walk,
            models.b,
            models.speech,
            models.noise,
            models.white,
            state["mean"],
            state["root"],
            state["clock"],
        )
        return out
