"""Writes docs/cli.md and docs/methods.md from the code; with --check, only says whether they are up to date."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from pathlib import Path

os.environ["COLUMNS"] = "100"  # the reference does not depend on the width of somebody's terminal
os.environ["NO_COLOR"] = "1"

import typer
from typer.cli import get_docs_for_click

from unmuffle.cli.main import app
from unmuffle.enhancers import params, registry

DOCS = Path(__file__).resolve().parents[1] / "docs"
GENERATED = "<!-- Written by scripts/docs.py from the code. Do not edit: run `make docs`. -->\n\n"


def cli() -> str:
    """The reference of the command line."""
    command = typer.main.get_command(app)
    context = typer.Context(command)
    text = get_docs_for_click(obj=command, ctx=context, name="unmuffle", title="The command line")
    return GENERATED + text.strip() + "\n"


def methods() -> str:
    """The reference of the methods, with every parameter."""
    lines = [
        "# Methods and their parameters\n",
        f"`auto` is `{registry.DEFAULT}`. The figures are promises that the test suite checks: *gain*, the SI-SDR",
        "that the method adds at least to the bundled recording (with the damage that it repairs); *clean*, the",
        "SI-SDR that clean speech keeps at least; *noise*, by how much noise alone falls at least. Scores on real",
        "recordings are in [numbers.md](numbers.md), advice in [choosing.md](choosing.md).\n",
        "| name | family | extra | latency at 16 kHz | gain | clean | noise | what it does |",
        "|---|---|---|---|---|---|---|---|",
    ]
    details = []
    for name in registry.REGISTRY:
        entry = registry.entry(name)
        kind = registry.kind(name)
        stream = registry.load(name).stream(16000, entry.channels)
        latency = f"{stream.latency_ms:.1f} ms" if entry.causal else "whole signal"
        gain = "" if entry.gain_db is None else f"{entry.gain_db:g} dB"
        noise = f"{entry.noise_db:g} dB" if entry.noise_db else ""
        lines.append(
            f"| [`{name}`](#{name}) | {entry.family} | {entry.extra} | {latency} | {gain} | {entry.clean_db:g} dB "
            f"| {noise} | {entry.summary} |"
        )
        details.append(f"\n## {name}\n\n```text\n{inspect.getdoc(kind)}\n```\n")
        found = params.parameters(kind)
        if found:
            details.append("| parameter | default | range | what it does |\n|---|---|---|---|")
            for key, field in found.items():
                details.append(f"| `{key}` | {field.default} | {_range(field.metadata)} | {field.metadata['help']} |")
    return GENERATED + "\n".join([*lines, *details]) + "\n"


def _range(metadata: dict) -> str:
    if metadata["choices"]:
        return ", ".join(metadata["choices"])
    low, high = metadata["low"], metadata["high"]
    if low is None and high is None:
        return ""
    return f"{'' if low is None else f'{low:g}'} .. {'' if high is None else f'{high:g}'}"


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, text in (("cli.md", cli()), ("methods.md", methods())):
        page = DOCS / name
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            page.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run  python scripts/docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
