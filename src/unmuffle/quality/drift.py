r"""Drift: do the figures still look like those of the time when all was well?

A cumulative sum (CUSUM) for each figure and direction. With the baseline's median :math:`m` and spread :math:`s`
(1.4826 times the median absolute deviation: the standard deviation, were it Gaussian),

.. math:: z = \mathrm{clip}\big((x - m) / s, \pm 4\big), \qquad
          S^+ \leftarrow \max(0, S^+ + z - k), \qquad S^- \leftarrow \max(0, S^- - z - k)

and an alarm when one of them exceeds :math:`h`. ``k`` (allowance) is half the shift that is to be found, in spreads;
``h`` (threshold) trades false alarms for delay; the clip keeps a single outlier from being an alarm. After an alarm
the sum begins at 0 again: what lasts is told again.

Chosen against the population stability index (PSI) of the last 50 figures by `bench/drift.py`, on heavy-tailed,
correlated figures and with one false alarm in 2000 windows for both (that is where the threshold of 14 comes from): the
CUSUM tells a shift of one spread after 24 windows and of two after 10 (median), the PSI after 40 and 24.
:func:`stability_index` compares two sets of figures, of two versions for example.

E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954. D. M. Hawkins, D. H. Olwell, "Cumulative Sum
Charts and Charting for Quality Improvement", Springer 1998.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import MediaNotFoundError, ParameterError
from .figures import Figures

ALLOWANCE: Final = 0.5
THRESHOLD: Final = 14.0
CLIP: Final = 4.0
FEWEST: Final = 20
"""A baseline of fewer windows is refused: its median and spread are guesses."""

FIGURES: Final = (
    "noise_before_dbfs", "speech_before_dbfs", "snr_db", "reduction_db", "speech_lost_db", "artefacts", "dnsmos",
    "real_time_factor",
)  # fmt: skip
"""Figures that are watched. Clipping is not: it is 0 when all is well, and any limit does for it."""

# Below these a spread is not believed: a perfectly steady baseline would call every rounding a drift.
_SMALLEST: Final = {"artefacts": 0.1, "dnsmos": 0.1, "real_time_factor": 0.005}
_SMALLEST_DB: Final = 0.5


@dataclass(frozen=True)
class Usual:
    """What a figure usually is."""

    median: float
    spread: float
    count: int


@dataclass(frozen=True)
class Baseline:
    """What all figures usually are."""

    figures: Mapping[str, Usual]

    @classmethod
    def of(cls, windows: Iterable[Figures]) -> Baseline:
        """From windows of a time when all was well; figures that were told in fewer than 20 of them are left out.

        Raises:
            ParameterError: no figure was told often enough.
        """
        rows = list(windows)
        found = {}
        for name in FIGURES:
            values = np.array([getattr(row, name) for row in rows], np.float64)
            values = values[np.isfinite(values)]
            if values.size < FEWEST:
                continue
            middle = float(np.median(values))
            spread = 1.4826 * float(np.median(np.abs(values - middle)))
            found[name] = Usual(middle, max(spread, _SMALLEST.get(name, _SMALLEST_DB)), int(values.size))
        if not found:
            raise ParameterError(f"{len(rows)} windows make no baseline; give {FEWEST} or more")
        return cls(found)

    def write(self, path: str | os.PathLike[str]) -> None:
        """As JSON."""
        table = {k: {"median": u.median, "spread": u.spread, "count": u.count} for k, u in self.figures.items()}
        Path(path).write_text(json.dumps({"figures": table}, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Baseline:
        """What :meth:`write` wrote.

        Raises:
            MediaNotFoundError: there is no such file.
            ParameterError: it is no baseline.
        """
        try:
            table = json.loads(Path(path).read_text(encoding="utf-8"))["figures"]
            found = {str(k): Usual(float(u["median"]), float(u["spread"]), int(u["count"])) for k, u in table.items()}
        except FileNotFoundError:
            raise MediaNotFoundError(f"the baseline {os.fspath(path)!r} does not exist; check the name") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ParameterError(f"{os.fspath(path)!r} is no baseline: {error!r}; write one with Baseline") from None
        for name, usual in found.items():
            if name not in FIGURES or not (math.isfinite(usual.median) and 0 < usual.spread < math.inf):
                raise ParameterError(f"{os.fspath(path)!r}: {name} = {usual} makes no sense; write the baseline anew")
        return cls(found)


@dataclass(frozen=True)
class Drifted:
    """A figure that has drifted.

    Attributes:
        figure: its name.
        direction: ``up`` or ``down``.
        usual: the baseline's median.
        now: mean of the figure since the drift began.
        windows: how many that were.
    """

    figure: str
    direction: str
    usual: float
    now: float
    windows: int


@dataclass
class _Sum:
    value: float = 0.0
    since: list[float] = field(default_factory=list)


class DriftWatch:
    """The running sums.

    >>> usual = Baseline({"snr_db": Usual(20.0, 1.0, 100)})
    >>> watch = DriftWatch(usual)
    >>> [bool(watch.update(Figures(10.0, snr_db=17.0))) for _ in range(6)]
    [False, False, False, False, False, True]
    """

    def __init__(self, baseline: Baseline, allowance: float = ALLOWANCE, threshold: float = THRESHOLD) -> None:
        if not (0 < allowance < CLIP and threshold > 0):
            raise ParameterError(f"allowance = {allowance!r}, threshold = {threshold!r}; give 0..{CLIP:g} and above 0")
        self.baseline = baseline
        self._allowance = allowance
        self._threshold = threshold
        self._sums = {(name, sign): _Sum() for name in baseline.figures for sign in (1, -1)}

    def update(self, figures: Figures) -> list[Drifted]:
        """Take in a window; returns what has drifted by now."""
        found = []
        for (name, sign), running in self._sums.items():
            value = float(getattr(figures, name))
            if not math.isfinite(value):
                continue
            usual = self.baseline.figures[name]
            z = min(CLIP, max(-CLIP, (value - usual.median) / usual.spread))
            running.value = max(0.0, running.value + sign * z - self._allowance)
            if not running.value:
                running.since.clear()
                continue
            running.since.append(value)
            if running.value > self._threshold:
                now, count = float(np.mean(running.since)), len(running.since)
                found.append(Drifted(name, "up" if sign > 0 else "down", usual.median, now, count))
                running.value = 0.0
                running.since.clear()
        return found

    def levels(self) -> dict[str, float]:
        """How near each figure is to an alarm: 0 to 1."""
        names = dict.fromkeys(name for name, _ in self._sums)
        return {n: max(self._sums[n, s].value for s in (1, -1)) / self._threshold for n in names}


def stability_index(expected: Sequence[float] | Any, actual: Sequence[float] | Any, bins: int = 10) -> float:
    r"""Population stability index of two sets of one figure.

    .. math:: \mathrm{PSI} = \sum_i (a_i - e_i) \ln(a_i / e_i)

    over the quantile bins of ``expected``, half a count added to each bin so that an empty one is finite. 0: alike.
    The customary 0.25 for "changed" holds for thousands of values only: two sets of ``n`` and ``m`` from one source
    differ by about ``(bins - 1) (1 / n + 1 / m)`` on average.
    """
    e, a = (np.asarray(v, np.float64) for v in (expected, actual))
    e, a = e[np.isfinite(e)], a[np.isfinite(a)]
    if bins < 2 or e.size < bins or not a.size:
        raise ParameterError(f"{e.size} and {a.size} values for {bins} bins; give at least as many as bins")
    edges = np.quantile(e, np.linspace(0, 1, bins + 1)[1:-1])
    shares = []
    for values in (e, a):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=bins) + 0.5
        shares.append(counts / counts.sum())
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
