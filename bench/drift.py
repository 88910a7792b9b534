"""Which detector tells a drift of the quality figures soonest, at the same rate of false alarms?

Two candidates watch one figure, a value a window: the CUSUM of `unmuffle.quality.drift`, and the population stability
index of the last 50 values against the baseline's deciles. The figures are made: heavy-tailed (Student t, 5 degrees of
freedom) and correlated from one window to the next (0.3), as real ones are; each run draws a baseline of 200 values.
The thresholds are set so that, without a drift, each raises one false alarm in 2000 windows on average. Then the
figure shifts by 0.5 to 3 spreads, or its scatter doubles, and the windows until the alarm are counted.

    nice python bench/drift.py            # 2 minutes
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

from unmuffle.quality.drift import ALLOWANCE, CLIP, THRESHOLD

BASELINE, WINDOW, BINS, TARGET = 200, 50, 10, 2000
RUNS, LONGEST = 300, 8000


def figures(rng: np.random.Generator, runs: int, n: int, rho: float = 0.3) -> np.ndarray:
    """``(runs, n)`` values of unit spread."""
    e = rng.standard_t(5, (runs, n))
    x = np.empty_like(e)
    x[:, 0] = e[:, 0]
    for i in range(1, n):
        x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho**2) * e[:, i]
    return x


class Cusum:
    def __init__(self, baseline: np.ndarray) -> None:
        self.m = np.median(baseline, axis=1)
        self.s = 1.4826 * np.median(np.abs(baseline - self.m[:, None]), axis=1)
        self.up = np.zeros(len(baseline))
        self.down = np.zeros(len(baseline))

    def update(self, x: np.ndarray) -> np.ndarray:
        z = np.clip((x - self.m) / self.s, -CLIP, CLIP)
        self.up = np.maximum(0, self.up + z - ALLOWANCE)
        self.down = np.maximum(0, self.down - z - ALLOWANCE)
        return np.maximum(self.up, self.down)


class Psi:
    def __init__(self, baseline: np.ndarray) -> None:
        self.edges = np.quantile(baseline, np.linspace(0, 1, BINS + 1)[1:-1], axis=1).T
        held = baseline[:, -WINDOW:]  # a stream that has been well for a while
        self.ring = np.stack([self._bin(held[:, i]) for i in range(WINDOW)], axis=1)
        self.at = 0

    def _bin(self, x: np.ndarray) -> np.ndarray:
        return np.sum(x[:, None] >= self.edges, axis=1)

    def update(self, x: np.ndarray) -> np.ndarray:
        self.ring[:, self.at] = self._bin(x)
        self.at = (self.at + 1) % WINDOW
        counts = np.stack([np.sum(self.ring == b, axis=1) for b in range(BINS)], axis=1) + 0.5
        a, e = counts / counts.sum(axis=1, keepdims=True), 1 / BINS
        return np.sum((a - e) * np.log(a / e), axis=1)


def first_alarm(kind: type, thresholds: np.ndarray, x: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Windows until the alarm, for each threshold and run; censored at the end."""
    watch = kind(baseline)
    found = np.full((len(thresholds), len(x)), x.shape[1])
    highest = np.full(len(x), -np.inf)
    for i in range(x.shape[1]):
        score = watch.update(x[:, i])
        rising = score > highest
        highest = np.maximum(highest, score)
        if rising.any():
            reached = (highest[None, :] > thresholds[:, None]) & (found == x.shape[1])
            found[reached] = i + 1
    return found


def main() -> None:
    load = common.load_average()
    rng = np.random.default_rng(7)
    grids = {"cusum": (Cusum, np.linspace(4, 40, 73)), "psi": (Psi, np.linspace(0.2, 3.0, 113))}
    calm = figures(rng, RUNS, BASELINE + LONGEST)
    chosen, rows = {}, []
    for name, (kind, grid) in grids.items():
        runs = first_alarm(kind, grid, calm[:, BASELINE:], calm[:, :BASELINE])
        # Censored runs count as exponential: total time over alarms.
        alarms = np.maximum(1, np.sum(runs < LONGEST, axis=1))
        between = runs.sum(axis=1) / alarms
        index = int(np.argmin(np.abs(np.log(between / TARGET))))
        chosen[name] = float(grid[index])
        row = {"detector": name, "threshold": chosen[name], "windows_between_false_alarms": float(between[index])}
        if name == "cusum":
            row["between_at_default_threshold"] = float(np.interp(THRESHOLD, grid, between))
        rows.append(row)
    drifts = {"shift 0.5": (0.5, 1), "shift 1": (1, 1), "shift 2": (2, 1), "shift 3": (3, 1), "scatter x2": (0, 2)}
    x = figures(rng, RUNS, BASELINE + 1000)
    for label, (shift, scale) in drifts.items():
        spread = 1.4826 * np.median(np.abs(x))
        y = scale * x[:, BASELINE:] + shift * spread
        for name, (kind, _) in grids.items():
            delay = first_alarm(kind, np.array([chosen[name]]), y, x[:, :BASELINE])[0]
            entry = {"drift": label, "detector": name, "median_delay": float(np.median(delay))}
            rows.append(entry | {"p90_delay": float(np.quantile(delay, 0.9))})
    for row in rows:
        print(row)
    common.save("drift", (), {"rows": rows, "runs": RUNS, "baseline": BASELINE, "psi_window": WINDOW}, load_before=load)


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    rows = data["results"]["rows"]
    calm = {r["detector"]: r for r in rows if "threshold" in r}
    found = {(r["drift"], r["detector"]): r for r in rows if "drift" in r}

    def cell(drift: str, detector: str) -> str:
        return f"{found[drift, detector]['median_delay']:.0f} ({found[drift, detector]['p90_delay']:.0f})"

    lines = [
        "## Drift of quality figures",
        "",
        f"Windows until a change is told, median (90th percentile) of {data['results']['runs']} runs, by a cumulative "
        f"sum and by the population stability index of the last {data['results']['psi_window']} windows. Without a "
        f"change, both raise a false alarm in about {calm['cusum']['windows_between_false_alarms']:.0f} windows of "
        f"heavy-tailed, correlated figures (thresholds {calm['cusum']['threshold']:g} and "
        f"{calm['psi']['threshold']:.2g}).",
        "",
    ]
    drifts = dict.fromkeys(drift for drift, _ in found)
    table = [[drift, cell(drift, "cusum"), cell(drift, "psi")] for drift in drifts]
    return [*lines, *common.table(["change, in spreads", ">CUSUM", ">PSI"], table), "", common.provenance(data), ""]


if __name__ == "__main__":
    main()
