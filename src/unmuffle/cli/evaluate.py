"""``unmuffle evaluate``: scores of methods, or of files made elsewhere, over a test set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..enhancers.base import Enhancer
    from ..evaluate.pairs import Pair
    from ..evaluate.runner import Row

SNR_BIN_DB = 5.0
"""Width of the groups by SNR, when a set has more than eight different ones."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="evaluate")(evaluate)


@dataclass(frozen=True)
class Enhance:
    """A method as a picklable function of samples and rate."""

    enhancer: Any

    def __call__(self, x: Any, sample_rate: int) -> Any:
        """Enhance a whole signal."""
        from ..enhancers.base import run_offline

        return run_offline(self.enhancer, x, sample_rate)


def evaluate(
    clean: Annotated[str, typer.Argument(metavar="CLEAN", help="Folder (or file) of clean speech.")],
    noisy: Annotated[str, typer.Argument(metavar="NOISY", help="Folder (or file) of the damaged speech.")],
    method: Annotated[
        list[str] | None, typer.Option("-m", "--method", help="A method to score; may be repeated.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A network file of your own (.onnx) to score; may be repeated."),
    ] = None,
    enhanced: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="Results made elsewhere; may be repeated.")
    ] = None,
    metrics: Annotated[
        str, typer.Option(metavar="LIST", help="Comma-separated names, default, or all.")
    ] = "default",
    score_rate: Annotated[
        int | None, typer.Option(metavar="HZ", help="Score at this rate (16000 to compare with published tables).")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="DIR", help="For scores.csv and scores.json; resumes from there."),
    ] = None,
    by: Annotated[str, typer.Option(metavar="LIST", help="Also group by these tags: snr, noise.")] = "snr,noise",
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Processes; 0: one per core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Score methods on pairs of clean and noisy files: means with 95 % bootstrap intervals, per SNR and noise.

    Files are paired by name. Outputs are aligned with the clean files first; a delay that was found is
    reported. A run that was stopped goes on where it was, if -o names the same folder. A broken file never
    stops a run.
    """
    from ..enhancers.registry import MODEL, load
    from ..evaluate.pairs import find_pairs
    from ..evaluate.runner import evaluate_pairs
    from ..evaluate.summary import write_csv, write_json

    names, left_out = _metrics(metrics)
    results = None if output is None else Path(output) / "rows.jsonl"
    if output is not None:
        _make_folder(output)
    pairing = find_pairs(clean, noisy)
    plans: list[tuple[str, Sequence[Pair], Enhancer | None]] = [("noisy", pairing.pairs, None)]
    for made in map(load, method or []):
        plans.append((made.name, pairing.pairs, made))
    for path in model or []:
        plans.append((Path(path).stem, pairing.pairs, load(MODEL, path=path)))
    for folder in enhanced or []:
        plans.append((Path(folder).name or folder, find_pairs(clean, noisy, folder).pairs, None))
    rows: list[Row] = []
    for label, pairs, enhancer in plans:
        with common.progress_bar(label, as_json) as update:
            rows += evaluate_pairs(
                pairs,
                enhance=None if enhancer is None else Enhance(enhancer),
                label=label,
                config=None if enhancer is None else {"key": enhancer.key()},
                metrics=names,
                score_rate=score_rate,
                results=results,
                workers=jobs,
                progress=lambda done, total, row, update=update: update(float(done), float(total)),  # type: ignore[misc]
            )
    rows = _binned(rows)
    # the tag is called snr_db, since snr is a metric
    tags = [{"snr": "snr_db"}.get(tag.strip(), tag.strip()) for tag in by.split(",") if tag.strip()]
    lines = _summary(rows, [tag for tag in tags if any(tag in row.tags for row in rows)])
    if output is not None:
        write_csv(Path(output) / "scores.csv", rows)
        write_json(Path(output) / "scores.json", rows, [lines])
    errors = [row for row in rows if row.error]
    delays = sorted({(row.method, row.delay) for row in rows if row.delay})
    if as_json:
        common.emit_json(
            {
                "summary": lines,
                "rows": [row.to_json() for row in rows],
                "unmatched": list(pairing.unmatched),
                "errors": len(errors),
                "left_out": left_out,
            }
        )
    else:
        _show(lines, names, errors, delays, pairing.unmatched, left_out, output)
    if errors:
        raise typer.Exit(1)


def _metrics(text: str) -> tuple[list[str], list[str]]:
    """The metrics asked for; of the default ones those that are installed, and a line for each that is not."""
    from ..errors import MissingExtraError
    from ..evaluate.registry import DEFAULT, select
    from ..evaluate.runner import require

    if text.strip() != "default":
        return [m.name for m in select([part.strip() for part in text.split(",") if part.strip()])], []
    names, left_out = [], []
    for metric in select(DEFAULT):
        try:
            require([metric])
            names.append(metric.name)
        except MissingExtraError as error:
            left_out.append(str(error))
    return names, left_out


def _make_folder(name: str) -> None:
    from ..errors import OutputError

    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {name!r} cannot be made: {error.strerror}") from None


def _binned(rows: list[Row]) -> list[Row]:
    """Round the SNR tag to bins when there are too many different ones to tabulate."""
    values = {row.tags["snr_db"] for row in rows if isinstance(row.tags.get("snr_db"), (int, float))}
    if len(values) <= 8:
        return rows
    out = []
    for row in rows:
        snr = row.tags.get("snr_db")
        if isinstance(snr, (int, float)):
            row = replace(row, tags={**row.tags, "snr_db": SNR_BIN_DB * round(snr / SNR_BIN_DB)})
        out.append(row)
    return out


def _summary(rows: list[Row], tags: list[str]) -> list[dict[str, Any]]:
    """One entry per method, group and metric."""
    from ..evaluate.summary import metric_names, summarise

    entries = []
    for tag in [None, *tags]:
        for line in summarise(rows, by=[] if tag is None else [tag]):
            group = "all" if tag is None else f"{tag}={line[tag]}"
            for name in metric_names(rows):
                entry = {"method": line["method"], "group": group, "files": line["files"], "metric": name}
                entry |= {"mean": line[name], "low": line[f"{name}_low"], "high": line[f"{name}_high"]}
                entries.append(entry)
    return entries


def _show(
    lines: list[dict[str, Any]],
    names: list[str],
    errors: list[Row],
    delays: list[tuple[str, int]],
    unmatched: tuple[str, ...],
    left_out: list[str],
    output: str | None,
) -> None:
    from ..evaluate.registry import METRICS

    screen = common.console()
    for tag in dict.fromkeys(line["group"].partition("=")[0] for line in lines):
        within = [line for line in lines if line["group"].partition("=")[0] == tag]
        whole = tag == "all"
        first = () if whole else (tag,)
        columns = (*first, "method", ">files", *(f">{n}" for n in names))
        made = common.table("All files" if whole else f"By {tag}", *columns)
        for group, method in dict.fromkeys((line["group"], line["method"]) for line in within):
            cells = {c["metric"]: c for c in within if (c["group"], c["method"]) == (group, method)}
            shown = [_cell(cells.get(name), METRICS[name].decimals, whole) for name in names]
            value = () if whole else (group.partition("=")[2],)
            made.add_row(*value, method, str(next(iter(cells.values()))["files"]), *shown)
        screen.print(made)
    for row in errors:
        screen.print(f"failed: {row.method}: {row.file}: {row.error}", markup=False)
    for method, delay in delays:
        screen.print(f"note: {method}: an output was {delay} samples late, and aligned before scoring", markup=False)
    for name in unmatched:
        screen.print(f"note: no partner: {name}", markup=False)
    for line in left_out:
        screen.print(f"left out: {line}", markup=False)
    if output is not None:
        screen.print(f"scores   {Path(output) / 'scores.csv'}, scores.json", markup=False)


def _cell(line: dict[str, Any] | None, decimals: int, interval: bool) -> str:
    if line is None or line["mean"] != line["mean"]:
        return "-"
    text = f"{line['mean']:.{decimals}f}"
    if interval and line["low"] == line["low"]:
        text += f" ±{(line['high'] - line['low']) / 2:.{decimals}f}"
    return text
