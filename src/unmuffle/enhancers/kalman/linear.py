"""The running filter of ``kalman``, ``kalman-fast`` and ``kalman-vb``: linear, with given models."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import estimation, recursion
from .framing import ArEnhancer, ModelKernel, Models
from .recursion import Array


def _hann(n: int) -> Array:
    """Periodic Hann window: scipy's, without the 50 MB of memory that scipy.signal takes."""
    window: Array = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n + 1)[:-1])
    return window


class LinearKernel(ModelKernel):
    """Runs :func:`.recursion.run_linear` over the hops.

    Args:
        method, sample_rate, channels: as in :class:`.framing.ModelKernel`.
        iterations: how often the speech model of a hop is estimated; from the second time on from what
            the filter makes of the whole window.
        settle: samples of a hop after which the gain is frozen; 0 never.
        keep: how much of the belief about the noise variance survives a sample; 0: it is not adapted.
        pull: pseudo-observations per sample that draw that belief to the tracked noise.
    """

    def __init__(
        self,
        method: ArEnhancer,
        sample_rate: int,
        channels: int,
        *,
        iterations: int = 1,
        settle: int = 0,
        keep: float = 0.0,
        pull: float = 0.0,
    ) -> None:
        # Re-estimation needs covariances up to the lag p, which a state of p + 1 samples has.
        super().__init__(method, sample_rate, channels, spare=int(iterations > 1))
        self.iterations, self.settle, self.keep, self.pull = iterations, settle, keep, pull
        self.window = _hann(3 * self.frames.hop - self.p + 1)

    def init_filter(self) -> Any:
        """State now, and (for re-estimation) at the start of the hop before."""
        now = self._blank(max(self.lag - self.p + 1, 0))
        now["belief"][2:4] = self.keep, self.pull
        return {"now": now, "before": (now["mean"].copy(), now["root"].copy())}

    def filter(self, around: Array, models: Models, state: Any) -> Array:
        """Filter the hops, improving their models first if asked to."""
        hop = self.frames.hop
        y = around[hop:-hop].reshape(-1, hop)
        now = state["now"]
        if self.keep and not now["belief"][0]:  # as if the first tracked noise had been seen for long
            shape = 0.5 / (1.0 - self.keep)
            now["belief"][:2] = shape, shape * (models.noise if self.q else models.white)[0]
        if self.iterations == 1:
            return self._run(y, models, slice(0, len(y)), self.lag, now)
        out = np.empty_like(y)
        for l in range(len(y)):
            for _ in range(self.iterations - 1):
                self._improve(around[l * hop : (l + 3) * hop], models, l, *state["before"])
            state["before"] = now["mean"].copy(), now["root"].copy()
            out[l] = self._run(y[l : l + 1], models, slice(l, l + 1), self.lag, now)
        return out

    def _improve(self, window: Array, models: Models, l: int, mean: Array, root: Array) -> None:
        """One round of expectation maximisation over the window of hop ``l``."""
        trial = {**self._blank(0), "mean": mean.copy(), "root": root.copy()}
        moments = np.zeros((2, self.p))
        late = self._run(window[np.newaxis], models, slice(l, l + 1), self.p - 1, trial, moments)[0]
        whole = late[self.p - 1 :]  # before that: samples from before the window
        models.speech[l] = estimation.refit(whole, self.window, moments, self.order, models.a[l])

    def _run(
        self, y: Array, m: Models, part: slice, lag: int, state: dict[str, Array], moments: Array | None = None
    ) -> Array:
        out = np.empty_like(y)
        recursion.run_linear(
            y,
            out,
            self.p,
            self.q,
            lag,
            m.a[part],
            m.b[part],
            m.speech[part],
            m.noise[part],
            m.white[part],
            self.settle,
            state["mean"],
            state["root"],
            state["gain"],
            state["late_mean"],
            state["late_cov"],
            state["where"],
            state["belief"],
            np.zeros((0, self.p)) if moments is None else moments,
        )
        return out

    def _blank(self, late: int) -> dict[str, Any]:
        n = self.p + self.q
        return {
            "mean": np.zeros(n + 2),
            "root": np.zeros((n + 2, n + 2)),
            "gain": np.zeros(n + 2),
            "late_mean": np.zeros(late),
            "late_cov": np.zeros((late, n)),
            "where": np.zeros(1, np.int64),
            "belief": np.zeros(5),
        }
