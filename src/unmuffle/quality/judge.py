"""Pass or fail: enhanced files against limits, with or without the clean signal.

A limit is a name with a lowest and a highest value. The name is

* a metric of `unmuffle.evaluate.METRICS` (``pesq_wb``, ``clipping`` ...),
* ``delta_`` and a metric: its value for the enhanced file minus that for the noisy one,
* or a figure of `unmuffle.quality.figures` (``reduction_db``, ``speech_lost_db`` ...), which need no clean signal.

``delta_pesq`` is short for ``delta_pesq_wb``; ``artefacts`` is measured with the clean signal
(``musical_noise``) when there is one.

What is not told otherwise is judged by :data:`WITH_CLEAN`, :data:`WITH_NOISY` or :data:`ALONE`. A value that cannot
be told (no pause in the file, a package that is not installed) is neither passed nor failed but *unknown*, with the
reason; ``strict`` makes it a failure.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..enhancers import params
from ..errors import MissingExtraError, ParameterError, UnmuffleError
from ..evaluate.pairs import Pair, find_pairs
from ..evaluate.registry import METRICS, Metric
from ..evaluate.runner import Row, evaluate_pairs, require
from .figures import NAMES, Figures, combine, measure_file

Bounds = tuple[float, float]

_ANY: Final = math.inf

WITH_CLEAN: Final[Mapping[str, Bounds]] = {
    "delta_snr": (3.0, _ANY),
    "delta_pesq": (0.5, _ANY),
    "delta_stoi": (0.1, _ANY),
    "artefacts": (-_ANY, 2.0),
    "clipping": (0.0, 0.01),
    "delta_spectral_distortion": (-_ANY, 1.0),
    "speech_loss": (0.0, 3.0),
    "dynamic_range": (10.0, 90.0),
}
"""Limits when the clean signal is there: as much SNR, PESQ and STOI gained, envelopes not distorted, no clipping."""

WITH_NOISY: Final[Mapping[str, Bounds]] = {
    "reduction_db": (3.0, _ANY),
    "artefacts": (-_ANY, 2.0),
    "speech_lost_db": (0.0, 3.0),
    "clipping": (0.0, 0.01),
    "dynamic_range": (10.0, 90.0),
}
"""Limits when only the noisy signal is there."""

ALONE: Final[Mapping[str, Bounds]] = {"clipping": (0.0, 0.01), "dynamic_range": (10.0, 90.0)}
"""Limits for the enhanced file by itself."""

_SHORT: Final = {"delta_pesq": "delta_pesq_wb", "pesq": "pesq_wb"}
_UNITS: Final = {"clipping": "share", "artefacts": ""}


@dataclass(frozen=True)
class Check:
    """One limit, applied.

    Attributes:
        name: of the limit.
        value: what was measured; NaN if it could not be told.
        low, high: the limits.
        status: ``pass``, ``fail`` or ``unknown``.
        why: of an unknown value, or of a failure.
    """

    name: str
    value: float
    low: float
    high: float
    status: str
    why: str = ""

    @property
    def unit(self) -> str:
        """Of value and limits."""
        return _UNITS.get(self.name, _unit(self.name))

    @property
    def wanted(self) -> str:
        """The limits in words."""
        if math.isinf(self.low) and math.isinf(self.high):
            return "any"
        if math.isinf(self.high):
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if math.isinf(self.low) or self.low == 0.0 else f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Judged:
    """One file.

    Attributes:
        name: relative path without extension.
        pair: the files.
        checks: in the order of the limits.
        figures: without a reference; ``None`` if they could not be measured.
        error: why nothing could be measured at all.
    """

    name: str
    pair: Pair
    checks: tuple[Check, ...] = ()
    figures: Figures | None = None
    error: str | None = None

    def passed(self, strict: bool = False) -> bool:
        """Whether nothing failed (and, if strict, nothing is unknown)."""
        bad = ("fail", "unknown") if strict else ("fail",)
        return self.error is None and not any(c.status in bad for c in self.checks)


@dataclass(frozen=True)
class Verdict:
    """All files.

    Attributes:
        files: judged, in order of their names.
        limits: that were applied.
        over_all: the checks applied to the means over all files; what decides when ``per`` is ``set``.
        per: ``file`` or ``set``.
        strict: unknown is failed.
        unmatched: files without a partner.
    """

    files: tuple[Judged, ...]
    limits: Mapping[str, Bounds]
    over_all: tuple[Check, ...]
    per: str = "file"
    strict: bool = False
    unmatched: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """The verdict."""
        if any(f.error is not None for f in self.files) or not self.files:
            return False
        if self.per == "set":
            return Judged("all", Pair("all"), self.over_all).passed(self.strict)
        return all(f.passed(self.strict) for f in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""

        def number(value: float) -> float | None:
            return float(value) if math.isfinite(value) else None

        def rows(checks: Sequence[Check]) -> list[dict[str, Any]]:
            return [
                {"name": c.name, "value": number(c.value), "min": number(c.low), "max": number(c.high),
                 "unit": c.unit, "status": c.status, **({"why": c.why} if c.why else {})}
                for c in checks
            ]  # fmt: skip

        return {
            "passed": self.passed,
            "per": self.per,
            "strict": self.strict,
            "files": [
                {
                    "name": f.name,
                    "passed": f.passed(self.strict),
                    "error": f.error,
                    "checks": rows(f.checks),
                    "figures": None if f.figures is None else f.figures.to_dict(),
                }
                for f in self.files
            ],
            "all": rows(self.over_all),
            "unmatched": list(self.unmatched),
        }


def read_limits(path: str | os.PathLike[str]) -> dict[str, Bounds]:
    """Limits from a TOML file::

        [limits]
        delta_snr = { min = 3.0 }
        clipping = { max = 0.01 }
        dynamic_range = { min = 10.0, max = 90.0 }

    Raises:
        ParameterError: it cannot be read, or a limit has no meaning.
    """
    name = os.fspath(path)
    try:
        table = params.from_toml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"the limits {name!r} cannot be read: {error}") from None
    limits = table.get("limits")
    if not isinstance(limits, dict) or not limits or set(table) != {"limits"}:
        raise ParameterError(f"{name!r} needs one table, [limits], with lines such as  delta_snr = {{ min = 3.0 }}")
    found: dict[str, Bounds] = {}
    for key, bounds in limits.items():
        numbers = isinstance(bounds, dict) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and not math.isnan(v) for v in bounds.values()
        )
        if not numbers or not bounds or set(bounds) - {"min", "max"}:
            raise ParameterError(f"{name!r}: {key} = {bounds!r}; write {{ min = 3.0 }}, {{ max = 0.01 }} or both")
        found[str(key)] = (float(bounds.get("min", -_ANY)), float(bounds.get("max", _ANY)))
    _check_limits(found)
    return found


def _check_limits(limits: Mapping[str, Bounds]) -> None:
    for name, (low, high) in limits.items():
        if _metric(name) is None and name not in NAMES and name != "artefacts":
            known = ", ".join((*METRICS, *NAMES))
            raise ParameterError(f"there is nothing called {name!r} to limit; there are, also with delta_: {known}")
        if not low <= high:
            raise ParameterError(f"{name}: min {low:g} lies above max {high:g}")


def _metric(name: str) -> Metric | None:
    """The metric behind a name (also one of its gain), if it is one."""
    name = _SHORT.get(name, name)
    return METRICS.get(name) or METRICS.get(name.removeprefix("delta_"))


def _unit(name: str) -> str:
    if (metric := _metric(name)) is not None:
        return metric.unit
    return next((unit for end, unit in {"_db": "dB", "_dbfs": "dBFS", "_ms": "ms"}.items() if name.endswith(end)), "")


def judge(
    enhanced: str | os.PathLike[str],
    noisy: str | os.PathLike[str] | None = None,
    clean: str | os.PathLike[str] | None = None,
    *,
    limits: Mapping[str, Bounds] | None = None,
    per: str = "file",
    strict: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Judge files, or folders of files that belong together by name.

    Args:
        enhanced: what is judged.
        noisy: what it was made from.
        clean: what it should be.
        limits: lowest and highest value by name; ``None`` for the usual ones.
        per: ``file``: every file must pass; ``set``: the means over all of them must.
        strict: what cannot be told fails.
        workers: processes.
        progress: called with the number of files done and of all.

    Raises:
        ParameterError: a limit has no meaning, or needs a signal that is not there.
        MissingExtraError: a limit that was given needs a package that is not installed.
        MediaNotFoundError: nothing there.
    """
    if per not in ("file", "set"):
        raise ParameterError(f"per = {per!r}; give file or set")
    chosen = dict(limits) if limits is not None else dict(
        WITH_CLEAN if clean is not None else WITH_NOISY if noisy is not None else ALONE
    )
    _check_limits(chosen)
    absent = _needs(chosen, clean is not None, noisy is not None, given=limits is not None)
    pairing = find_pairs(clean, noisy, enhanced)
    total = len(pairing.pairs)

    def told(done: int, _: int, row: Row) -> None:
        if progress is not None:
            progress(done, total)

    metrics = _metrics(chosen, clean is not None, absent)
    rows = evaluate_pairs(pairing.pairs, metrics=metrics, label="enhanced", workers=workers, progress=told)
    gains = [m for m in metrics if any(_is_gain(n, m) for n in chosen)]
    before: list[Row] = []
    if gains:
        originals = [Pair(p.name, p.noisy, p.clean) for p in pairing.pairs]
        before = evaluate_pairs(originals, metrics=gains, label="noisy", workers=workers)
    files = []
    for i, (pair, row) in enumerate(zip(pairing.pairs, rows, strict=True)):
        error = row.error or (before[i].error if before else None)
        if error is not None:
            files.append(Judged(pair.name, pair, error=error))
            continue
        figures, problem = _figures(pair)
        values, reasons = _values(chosen, row, before[i] if before else None, figures, problem, clean is not None)
        reasons |= absent
        checks = tuple(_check(n, values.get(n, math.nan), chosen[n], reasons.get(n, "")) for n in chosen)
        files.append(Judged(pair.name, pair, checks, figures))
    return Verdict(tuple(files), chosen, _over_all(files, chosen), per, strict, pairing.unmatched)


def _needs(limits: Mapping[str, Bounds], clean: bool, noisy: bool, *, given: bool) -> dict[str, str]:
    """Why some limits cannot be checked; a limit that the user gave is an error instead."""
    absent = {}
    alone = set(ALONE) | {"noise_dbfs", "speech_dbfs", "snr_db", "seconds", "speech_share", "dnsmos"}
    for name in limits:
        metric = None if name in NAMES and name not in METRICS else _metric(name)
        if metric is None:
            if not noisy and name not in alone and name != "artefacts":
                raise ParameterError(f"the limit of {name!r} needs the noisy file: name it before the enhanced one")
            if name != "dnsmos":
                continue
            metric = METRICS["dnsmos_ovrl"]
        else:
            gain = _is_gain(name, metric.name)
            if metric.needs_reference and not clean:
                raise ParameterError(f"the limit of {name!r} needs the clean file: name it first")
            if (gain or metric.needs_noisy) and not noisy:
                raise ParameterError(f"the limit of {name!r} needs the noisy file: name it before the enhanced one")
        try:
            require([metric])
        except MissingExtraError as error:
            if given:
                raise
            absent[name] = str(error)
    return absent


def _is_gain(name: str, metric: str) -> bool:
    """Is the limit on the gain of that metric, and the metric not itself one of gain?"""
    name = _SHORT.get(name, name)
    return name not in METRICS and name == f"delta_{metric}"


def _metrics(limits: Mapping[str, Bounds], clean: bool, absent: Mapping[str, str]) -> list[str]:
    names = ["clipping"]  # never an empty list
    for limit in limits:
        if limit in absent:
            continue
        if limit == "artefacts":
            if clean:
                names.append("musical_noise")
        elif (metric := _metric(limit)) is not None:
            names.append(metric.name)
        elif limit == "dnsmos":
            names.append("dnsmos_ovrl")
    return list(dict.fromkeys(names))


def _figures(pair: Pair) -> tuple[Figures | None, str]:
    try:
        noisy = None if pair.noisy is None else str(pair.noisy)
        return combine(measure_file(str(pair.enhanced), noisy)), ""
    except UnmuffleError as error:
        return None, str(error)


def _values(
    limits: Mapping[str, Bounds], row: Row, before: Row | None, figures: Figures | None, problem: str, clean: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Values by limit, and why some are missing."""
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name in limits:
        metric = _metric(name)
        if name == "artefacts" and clean:
            metric = METRICS["musical_noise"]
        elif name == "dnsmos":
            metric = METRICS["dnsmos_ovrl"]
        if metric is None or metric.name not in row.values:
            values[name] = math.nan if figures is None else float(getattr(figures, name, math.nan))
            reasons[name] = problem or "the signal does not tell it (no pause, no speech, or muted)"
            continue
        values[name] = row.values[metric.name]
        reasons[name] = row.problems.get(metric.name, "the signal does not tell it (no pause, or muted)")
        if _is_gain(name, metric.name) and before is not None:
            values[name] -= before.values[metric.name]
            reasons[name] = row.problems.get(metric.name) or before.problems.get(metric.name) or reasons[name]
    return values, reasons


def _check(name: str, value: float, bounds: Bounds, reason: str) -> Check:
    low, high = bounds
    if not math.isfinite(value):
        return Check(name, math.nan, low, high, "unknown", reason)
    if low <= value <= high:
        return Check(name, value, low, high, "pass")
    side = f"{value:.4g} is below {low:g}" if value < low else f"{value:.4g} is above {high:g}"
    return Check(name, value, low, high, "fail", side)


def _over_all(files: Sequence[Judged], limits: Mapping[str, Bounds]) -> tuple[Check, ...]:
    """The checks on the means over the files in which a value could be told."""
    found = []
    for i, (name, bounds) in enumerate(limits.items()):
        values = [f.checks[i].value for f in files if f.checks and math.isfinite(f.checks[i].value)]
        mean = sum(values) / len(values) if values else math.nan
        found.append(_check(name, mean, bounds, "it could not be told for any file"))
    return tuple(found)
