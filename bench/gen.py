"""Measures everything and writes docs/numbers.md from the results.

    python bench/gen.py                          all questions (an hour and more), then the page
    python bench/gen.py startup trackers         these only, then the page
    python bench/gen.py --write                  the page only, from bench/results/*.json
    python bench/gen.py --check                  is the page what the results say? (writes nothing)

Each question is a script of its own in this folder and can be run alone, with options. The scores need the
recordings (``UNMUFFLE_DATA``); a question that cannot be measured keeps its earlier result. No figure on
the page is written by hand.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common

PAGE = common.ROOT / "docs" / "numbers.md"
QUESTIONS = ("sound", "speed", "memory", "startup", "codecs", "trackers", "repair", "kalman")
"""In the order of the page. Each is ``bench/NAME.py`` with ``section(data)``, and ``bench/results/NAME.json``."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("questions", nargs="*", choices=[*QUESTIONS, []], metavar="QUESTION")
    options.add_argument("--write", action="store_true", help="measure nothing")
    options.add_argument("--check", action="store_true", help="measure and write nothing; fail if the page is old")
    args = options.parse_args()
    if not (args.write or args.check):
        failed = [name for name in args.questions or QUESTIONS if not measure(name)]
    else:
        failed = []
    text = page()
    if args.check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            raise SystemExit("docs/numbers.md is not what bench/results say; run `python bench/gen.py --write`")
        return
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(common.ROOT)}")
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")


def measure(name: str) -> bool:
    """Run a question's script; whether it could be done."""
    path = Path(__file__).with_name(f"{name}.py")
    if not path.is_file():
        print(f"{name}: no such script")
        return False
    environment = {**os.environ, "PYTHONPATH": str(common.ROOT / "src")}
    print(f"== {name}", flush=True)
    return subprocess.run([sys.executable, str(path)], env=environment, check=False).returncode == 0


def module(name: str) -> ModuleType:
    """A script of this folder, by its path: names like ``codecs`` are taken in the standard library."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise SystemExit(f"bench/{name}.py cannot be loaded")
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # dataclasses look their module up
    spec.loader.exec_module(made)
    return made


def page() -> str:
    """The whole page."""
    results = {name: common.result(name) for name in QUESTIONS}
    lines = [
        "<!-- Written by bench/gen.py from bench/results/*.json. Do not edit: run `python bench/gen.py --write`. -->",
        "",
        "# Numbers",
        "",
        "Everything here was measured by the scripts in `bench/`, and is written from their results; below each table "
        "stand the command, the date, the commit and the versions. Where there was a target, the measurement is held "
        "against it, also where it was missed.",
        "",
        *_machines({name: data for name, data in results.items() if data is not None}),
    ]
    for name, data in results.items():
        if data is not None:
            lines += module(name).section(data)
    while lines[-1] == "":
        lines.pop()
    return "\n".join(map(_wrapped, lines)) + "\n"


def _wrapped(line: str) -> str:
    """Prose in lines of the width of the other pages; tables, headings and comments as they are."""
    if line.startswith(("|", "#", "<!--")):
        return line
    indent = "  " if line.startswith("- ") else ""
    return "\n".join(textwrap.wrap(line, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))


def _machines(results: dict[str, dict[str, Any]]) -> list[str]:
    """What the figures were measured on."""
    seen: dict[str, list[str]] = {}
    for name, data in results.items():
        m = data["machine"]
        text = f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']:.0f} GiB of memory, {m['system']}"
        seen.setdefault(text, []).append(name)
    if len(seen) == 1:
        return [f"Machine: {next(iter(seen))}; a virtual machine that other work may share.", ""]
    return [*(f"- Machine for {', '.join(names)}: {text}." for text, names in seen.items()), ""]


if __name__ == "__main__":
    main()
