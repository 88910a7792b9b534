"""``unmuffle methods``: the table of all methods, or the parameters of one."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from . import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="methods")(methods)


def methods(
    name: Annotated[str | None, typer.Argument(help="Show the parameters of this method.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """List all enhancement methods, or one method's parameters."""
    if name is None:
        _list(as_json)
    else:
        _one(name, as_json)


def _list(as_json: bool) -> None:
    from ..enhancers import registry
    from ..errors import MissingExtraError

    rows = []
    for name in registry.names():
        entry = registry.entry(name)
        row = {"name": name, "family": entry.family, "summary": entry.summary, "extra": entry.extra}
        try:
            stream = registry.load(name).stream(48000, entry.channels)
            row["latency_ms"] = f"{stream.latency_ms:.1f}" if entry.causal else "whole signal"
        except MissingExtraError:
            row["latency_ms"] = "not installed"
        rows.append(row)
    if as_json:
        common.emit_json({"default": registry.DEFAULT, "methods": rows})
        return
    made = common.table("Methods", "name", "family", ">latency ms", "needs", "what it does")
    for row in rows:
        mark = " *" if row["name"] == registry.DEFAULT else ""
        needs = f"unmuffle\\[{row['extra']}]" if row["extra"] else ""
        made.add_row(row["name"] + mark, row["family"], row["latency_ms"], needs, row["summary"])
    screen = common.console()
    screen.print(made)
    screen.print("* what `auto` means. Latency at 48 kHz. `unmuffle methods NAME` shows its parameters.")


def _one(name: str, as_json: bool) -> None:
    from ..enhancers import params, registry

    kind = registry.kind(name)
    found = params.parameters(kind)
    if as_json:
        fields = {key: {"default": f.default, **f.metadata} for key, f in found.items()}
        common.emit_json({"name": kind.name, "summary": registry.entry(name).summary, "parameters": fields})
        return
    screen = common.console()
    screen.print(inspect.getdoc(kind) or "", markup=False)
    if not found:
        screen.print("No parameters.")
        return
    made = common.table("Parameters (--set key=value)", "key", ">default", "range", "what it does")
    for key, f in found.items():
        choices, low, high = f.metadata["choices"], f.metadata["low"], f.metadata["high"]
        allowed = ", ".join(choices) if choices else _range(low, high)
        made.add_row(key, str(f.default), allowed, f.metadata["help"])
    screen.print(made)


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f">= {low:g}"
    return f"<= {high:g}" if low is None else f"{low:g} .. {high:g}"
