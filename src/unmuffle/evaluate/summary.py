"""From rows to tables: means with intervals, split by what is known about the files, and the files they
are kept in.

A table is a list of plain dicts, one per line: ``method``, the split (``snr_db``, ``noise``), ``files``,
``errors``, and for each metric its mean under the metric's name with ``<name>_low`` and ``<name>_high``,
the ends of the 95 % bootstrap interval, and ``<name>_count``, the number of files that gave a score. Files
with an error count in ``files`` and ``errors``, never in a mean. A mean over fewer files than ``files`` is
not hidden: look at the count.

Files are written whole or not at all.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ParameterError
from ..io.atomic import AtomicFile
from ..io.guard import writing
from .bootstrap import mean_interval
from .registry import METRICS
from .runner import Row

Line = dict[str, Any]


def metric_names(rows: Iterable[Row]) -> list[str]:
    """Metrics that occur in the rows, in the order of the first one that has each."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row.values))
    return list(names)


def summarise(rows: Sequence[Row], *, by: Sequence[str] = (), level: float = 0.95, seed: int = 0) -> list[Line]:
    """One line per method, or per method and value of the tags in ``by`` (``["snr_db"]``, ``["snr_db",
    "noise"]``).

    Methods come in the order of the rows, tag values sorted; files without the tag are under "". The
    interval of a cell depends on its scores and the seed only, not on what else is in the table.
    """
    if "method" in by:
        raise ParameterError("method is always a column; leave it out of by")
    names = metric_names(rows)
    hidden = sorted(set(by) & {"files", "errors", *names})
    if hidden:
        raise ParameterError(f"the tag {hidden[0]!r} has the name of another column; rename it in the manifest")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    methods: dict[str, int] = {}
    for row in rows:
        methods.setdefault(row.method, len(methods))
        groups.setdefault((row.method, *(row.tags.get(tag, "") for tag in by)), []).append(row)
    lines = []
    for key in sorted(groups, key=lambda k: (methods[k[0]], *(_order(v) for v in k[1:]))):
        members = groups[key]
        good = [row for row in members if row.error is None]
        line: Line = dict(zip(("method", *by), key, strict=True))
        line["files"], line["errors"] = len(members), len(members) - len(good)
        for name in names:
            values = [row.values.get(name, math.nan) for row in good]
            cell = mean_interval(values, level=level, seed=zlib.crc32(name.encode()) ^ seed)
            line[name], line[f"{name}_low"], line[f"{name}_high"] = cell.mean, cell.low, cell.high
            line[f"{name}_count"] = cell.used
        lines.append(line)
    return lines


def _order(value: Any) -> tuple[int, float, str]:
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def to_markdown(lines: Sequence[Line], *, intervals: bool = True) -> str:
    """A table for a README: ``2.06 ± 0.12`` with half the interval's width, the best of a split in bold.

    >>> line = {"method": "a", "files": 3, "errors": 0, "snr": 5.0, "snr_count": 3}
    >>> print(to_markdown([line], intervals=False))
    | method | files | errors | snr (dB) ↑ |
    |---|---:|---:|---:|
    | a | 3 | 0 | 5.00 |
    """
    if not lines:
        return ""
    metrics = [name for name in lines[0] if f"{name}_count" in lines[0]]
    plain = [name for name in lines[0] if name not in metrics and not _belongs(name, metrics)]
    header = [_escape(name) for name in plain] + [_title(name) for name in metrics]
    numeric = [isinstance(lines[0][name], int | float) for name in plain] + [True] * len(metrics)
    out = [_join(header), "|" + "|".join("---:" if n else "---" for n in numeric) + "|"]
    split = [name for name in plain if name not in ("method", "files", "errors")]
    for line in lines:
        rivals = [other for other in lines if all(other[name] == line[name] for name in split)]
        best = {name: _best(name, rivals) for name in metrics} if len(rivals) > 1 else {}
        cells = [_escape(_plain(line[name])) for name in plain]
        for name in metrics:
            text = _cell(line, name, intervals)
            cells.append(f"**{text}**" if name in best and line[name] == best[name] else text)
        out.append(_join(cells))
    return "\n".join(out)


def _belongs(name: str, metrics: Sequence[str]) -> bool:
    return any(name in (f"{m}_low", f"{m}_high", f"{m}_count") for m in metrics)


def _join(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _title(name: str) -> str:
    metric = METRICS.get(name)
    if metric is None:
        return name
    unit = f" ({metric.unit})" if metric.unit else ""
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    return f"{name}{unit}{arrow}"


def _cell(line: Line, name: str, intervals: bool) -> str:
    value = line[name]
    if not math.isfinite(value):
        return "-"
    decimals = METRICS[name].decimals if name in METRICS else 2
    text = f"{value:.{decimals}f}"
    low, high = line.get(f"{name}_low", math.nan), line.get(f"{name}_high", math.nan)
    if intervals and math.isfinite(low) and math.isfinite(high):
        text += f" ± {(high - low) / 2:.{decimals}f}"
    return text


def _best(name: str, lines: Sequence[Line]) -> float | None:
    metric = METRICS.get(name)
    values = [line[name] for line in lines if math.isfinite(line[name])]
    if metric is None or metric.higher_is_better is None or not values:
        return None
    return float(max(values) if metric.higher_is_better else min(values))


def write_csv(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """One line per file: name, method, tags, length, delay, every metric, the error. NaN is an empty cell."""
    names = metric_names(rows)
    tags = sorted({tag for row in rows for tag in row.tags})
    fixed = ["seconds", "sample_rate", "delay", "delay_confidence", "enhance_s"]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    taken = {"file", "method", "error", "problems", *fixed, *names}
    titles = [f"tag_{tag}" if tag in taken else tag for tag in tags]
    table.writerow(["file", "method", *titles, *fixed, *names, "error", "problems"])
    for row in rows:
        numbers = [_number(getattr(row, name)) for name in fixed]
        scores = [_number(row.values.get(name, math.nan)) for name in names]
        notes = "; ".join(f"{k}: {v}" for k, v in row.problems.items())
        known = [row.tags.get(tag, "") for tag in tags]
        table.writerow([row.file, row.method, *known, *numbers, *scores, row.error or "", notes])
    _write(path, text.getvalue())


def write_json(path: str | os.PathLike[str], rows: Sequence[Row], tables: Iterable[Sequence[Line]] = ()) -> None:
    """All rows with configuration and problems, and the tables made from them; NaN is null."""
    lines = [[{k: _json(v) for k, v in line.items()} for line in table] for table in tables]
    data = {"rows": [row.to_json() for row in rows], "tables": lines}
    _write(path, json.dumps(data, indent=1, allow_nan=False, default=str) + "\n")


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: str | os.PathLike[str], text: str) -> None:
    with writing(os.fspath(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    claim = AtomicFile(path)
    try:
        with writing(claim.name):
            claim.temporary.write_text(text, encoding="utf-8")
        claim.commit()
    finally:
        claim.discard()
