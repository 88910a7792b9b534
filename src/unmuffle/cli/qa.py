"""``unmuffle qa``: pass or fail, for people and for pipelines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OutputError, ParameterError
from . import common

if TYPE_CHECKING:
    from ..quality.judge import Check, Verdict


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="qa")(qa)


def qa(
    paths: Annotated[
        list[str], typer.Argument(metavar="[[CLEAN] NOISY] ENHANCED", help="Files, or folders of files.")
    ],
    limits: Annotated[
        str | None, typer.Option(metavar="FILE", help="Limits from a TOML file instead of the usual ones.")
    ] = None,
    per: Annotated[str, typer.Option(help="file: each must pass; set: the means over all files must.")] = "file",
    strict: Annotated[bool, typer.Option("--strict", help="What cannot be told fails.")] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Also write a page with pictures, all in one file.")
    ] = None,
    junit: Annotated[str | None, typer.Option(metavar="FILE", help="Also write JUnit XML.")] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Files that are drawn on the page.")] = 20,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Processes; 0: one per core.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Judge enhanced recordings: exit code 0 when they pass, 1 when they do not.

    With the clean files: SNR, PESQ and STOI gained, artefacts, clipping, distortion of the spectrum, speech lost,
    dynamic range. With the noisy files only: noise reduced, speech lost, artefacts, clipping, dynamic range.

    [bold]Examples[/bold]

    unmuffle qa clean/ noisy/ enhanced/ --per set --html report.html

    unmuffle qa noisy.wav enhanced.wav --limits limits.toml --junit qa.xml
    """
    from ..quality.judge import judge, read_limits
    from ..quality.report import junit as as_junit
    from ..quality.report import page

    if len(paths) > 3:
        raise ParameterError(f"{len(paths)} names; give [[CLEAN] NOISY] ENHANCED: at most three")
    enhanced, noisy, clean = (*reversed(paths), None, None)[:3]
    chosen = None if limits is None else read_limits(limits)
    assert enhanced is not None
    with common.progress_bar("files", as_json) as update:
        verdict = judge(
            enhanced, noisy, clean, limits=chosen, per=per, strict=strict, workers=jobs,
            progress=lambda done, total: update(float(done), float(total)),
        )  # fmt: skip
    if html is not None:
        _write(html, page(verdict, pictures=pictures))
    if junit is not None:
        _write(junit, as_junit(verdict))
    if as_json:
        common.emit_json(verdict.to_dict())
    else:
        _show(verdict)
    if not verdict.passed:
        raise typer.Exit(1)


def _write(name: str, text: str) -> None:
    from ..io.atomic import AtomicFile

    file = AtomicFile(name)
    try:
        Path(file.temporary).write_text(text, encoding="utf-8")
        file.commit()
    except OSError as error:
        raise OutputError(f"{name!r} cannot be written: {error.strerror or error}") from None
    finally:
        file.discard()


def _show(verdict: Verdict) -> None:
    screen = common.console()
    for judged in verdict.files:
        if judged.error is not None:
            screen.print(f"failed: {judged.name}: {judged.error}", markup=False)
        elif verdict.per == "file" or len(verdict.files) == 1:
            _table(judged.name, judged.checks)
    if verdict.per == "set" or len(verdict.files) > 1:
        _table("Means over all files", verdict.over_all)
    for name in verdict.unmatched:
        screen.print(f"note: no partner: {name}", markup=False)
    good = sum(f.passed(verdict.strict) for f in verdict.files)
    word = "passed" if verdict.passed else "FAILED"
    screen.print(f"{word}: {good} of {len(verdict.files)} files pass, judged per {verdict.per}")


def _table(title: str, checks: tuple[Check, ...]) -> None:
    from rich.markup import escape

    made = common.table(escape(title), "limit", ">value", "wanted", "unit", "status", "why")
    for check in checks:
        value = "-" if math.isnan(check.value) else f"{check.value:.4g}"
        status = "FAIL" if check.status == "fail" else check.status
        made.add_row(check.name, value, check.wanted, check.unit, status, escape(check.why))
    common.console().print(made)
