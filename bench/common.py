"""What all benchmarks share: one thread, what machine this is, and the result files."""

from __future__ import annotations

import os

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
for _name in THREADS:  # numeric libraries read them when they are loaded: import this file first
    os.environ[_name] = "1"

import datetime  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import platform  # noqa: E402
import shlex  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
SCRATCH = ROOT / "runs" / "bench"  # not in git: rows that a stopped run goes on from


def machine() -> dict[str, Any]:
    """Class of the machine (never its name), and how busy it is."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _cpu() -> str:
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    name = facts.get("model name", platform.machine())
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']}, model {facts.get('model', '?')}, {facts.get('cpu MHz', '?')} MHz)"
    return name


def load_average() -> float:
    """Processes that wanted to run in the last minute."""
    return round(os.getloadavg()[0], 2)


def versions(*packages: str) -> dict[str, str]:
    """Installed versions; "absent" for what is not there."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def commit() -> str:
    """The commit that was measured, with a + when the sources differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", "src") else "")


def save(
    name: str,
    packages: tuple[str, ...],
    results: Any,
    *,
    load_before: float,
    note: str = "",
    argv: list[str] | None = None,
) -> Path:
    """Write ``bench/results/NAME.json`` with all that is needed to judge or repeat the figures.

    A name that ends in ``-trial`` goes to the scratch folder: it is no result.
    """
    argv = argv or sys.argv
    words = [Path(argv[0]).name, *("DATA" if a.startswith("/") else a for a in argv[1:])]  # no folders of this machine
    data = {
        "command": "python bench/" + shlex.join(words),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": machine(),
        "load_average": [load_before, load_average()],
        "versions": versions("unmuffle", "numpy", "scipy", *packages),
        "note": note,
        "results": results,
    }
    folder = SCRATCH if name.endswith("-trial") else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(_rounded(data), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
    return path


def _rounded(value: Any) -> Any:
    """Five significant digits; NaN as null."""
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def result(name: str) -> dict[str, Any] | None:
    """A result file, or ``None``."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def provenance(data: dict[str, Any]) -> str:
    """One line below a table: when, where, with what."""
    got = ", ".join(f"{k} {v}" for k, v in data["versions"].items())
    load = " to ".join(f"{v:g}" for v in data["load_average"])
    return (
        f"*`{data['command']}`, {data['date']}, commit {data['commit']}; {got}; Python {data['machine']['python']}; "
        f"load average {load} on {data['machine']['cores']} cores.{' ' + data['note'] if data['note'] else ''}*"
    )


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table; a heading that starts with > is of a column of numbers."""
    marks = ["---:" if name.startswith(">") else "---" for name in header]
    lines = ["| " + " | ".join(name.lstrip(">") for name in header) + " |", "|" + "|".join(marks) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def verdict(what: str, value: float, target: float, *, unit: str = "", at_most: bool = True) -> str:
    """A line that says whether a target is met, and by how much it is missed."""
    met = value <= target if at_most else value >= target
    sign = "at most" if at_most else "at least"
    text = f"- {what}: target {sign} {target:g}{unit}, measured **{value:.3g}{unit}**: "
    if met:
        return text + "met."
    if target:
        return text + f"**missed** by {abs(value - target):.3g}{unit} ({value / target:.2f} times the target)."
    return text + f"**missed** by {abs(value - target):.3g}{unit}."
