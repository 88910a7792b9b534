"""How long until the library is imported and the command answers?

    python bench/startup.py [--runs 31]

Fresh processes, taking turns: an empty Python, one that times ``import unmuffle`` within itself, one that
touches ``unmuffle.enhance`` (which loads what it needs), ``unmuffle --help`` and ``unmuffle --version``. The
figures are medians; the file cache is warm, as it is from the second start on.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common

IMPORT = "import time; t = time.perf_counter(); import unmuffle{}; print(time.perf_counter() - t)"
COMMAND = "import sys; sys.argv = ['unmuffle', {!r}]; from unmuffle.cli.main import run; run()"

CASES = {
    "empty": (["-c", "pass"], "`python -c pass`, the whole process"),
    "import": (["-c", IMPORT.format("")], "`import unmuffle`"),
    "first_use": (["-c", IMPORT.format("; unmuffle.enhance")], "`import unmuffle; unmuffle.enhance`"),
    "help": (["-c", COMMAND.format("--help")], "`unmuffle --help`, the whole process"),
    "version": (["-c", COMMAND.format("--version")], "`unmuffle --version`, the whole process"),
}
WITHIN = ("import", "first_use")  # they print their own time
TARGETS = {"import": 0.15, "help": 0.5}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=31)
    args = options.parse_args()
    before = common.load_average()
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(args.runs + 1):
        for name, (words, _) in CASES.items():
            begun = time.perf_counter()
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
            took = time.perf_counter() - begun
            if number:  # the first round fills the caches
                times[name].append(float(done.stdout) if name in WITHIN else took)
    results: dict[str, Any] = {"runs": args.runs}
    for name, values in times.items():
        values.sort()
        results[name] = {"median_s": statistics.median(values), "low_s": values[0], "high_s": values[-1]}
    common.save("startup", ("typer", "rich"), results, load_before=before)


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    rows = [
        [what, f"{found[n]['median_s']:.3f}", f"{found[n]['low_s']:.3f}", f"{found[n]['high_s']:.3f}"]
        for n, (_, what) in CASES.items()
    ]
    lines = ["## Start", "", f"Seconds, wall clock, over {found['runs']} fresh processes that took turns.", ""]
    lines += [*common.table(["what", ">median", ">shortest", ">longest"], rows), ""]
    for name, target in TARGETS.items():
        lines.append(common.verdict(CASES[name][1], found[name]["median_s"], target, unit=" s"))
    return [*lines, "", common.provenance(data), ""]


if __name__ == "__main__":
    main()
