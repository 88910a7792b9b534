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
import ast
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common

PAGE = common.ROOT / "docs" / "numbers.md"
QUESTIONS = (
    "sound",
    "held_out",
    "hard_noises",
    "speed",
    "long_files",
    "memory",
    "startup",
    "codecs",
    "trackers",
    "repair",
    "kalman",
    "dereverb",
    "arrays",
    "locate",
    "references",
    "server",
    "post",
    "live",
    "page",
    "quality",
    "drift",
    "cache",
    "oracles",
    "zoo",
)
"""In the order of the page. Most are ``bench/NAME.py`` with ``section(data)``, and ``bench/results/NAME.json``."""


PRINTED = {"repair": "## Repair"}
"""Scripts that print Markdown instead of writing a result: the heading of their part of the page."""

RUNS = {
    "dereverb": (("rooms",), ("speed",), ("t60",)),
    "arrays": (("rooms",), ("speed",), ("line",)),
}
"""Scripts that answer several questions: the words of each run."""


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
    if name in PRINTED:
        before = common.load_average()
        words = [sys.executable, str(path)]
        done = subprocess.run(words, env=environment, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            lines = done.stdout.strip().splitlines()
            common.save(name, ("soxr", "soundfile"), {"printed": lines}, load_before=before, argv=[path.name])
        return done.returncode == 0
    runs = [[sys.executable, str(path), *words] for words in RUNS.get(name, ((),))]
    return all([subprocess.run(words, env=environment, check=False).returncode == 0 for words in runs])


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
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in common.RESULTS.glob("*.json")}
    lines = [
        "<!-- Written by bench/gen.py from bench/results/*.json. Do not edit: run `python bench/gen.py --write`. -->",
        "",
        "# Numbers",
        "",
        "Everything here was measured by the scripts in `bench/`, and is written from their results; below each table "
        "stand the command, the date, the commit and the versions. Where there was a target, the measurement is held "
        "against it, also where it was missed.",
        "",
        *_machines(results),
    ]
    for name in QUESTIONS:
        if name in SECTIONS:
            lines += SECTIONS[name](results)
        elif name in results:
            lines += _printed(name, results[name]) if name in PRINTED else module(name).section(results[name])
    while lines[-1] == "":
        lines.pop()
    return "\n".join(map(_wrapped, lines)) + "\n"


def _printed(name: str, data: dict[str, Any]) -> list[str]:
    """What a script printed, one level of headings lower, below its docstring's first line."""
    text = ast.get_docstring(ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))) or ""
    lines = [PRINTED[name], "", text.splitlines()[0], ""]
    for line in data["results"]["printed"]:
        if line and lines[-1] and not line.startswith("|"):
            lines.append("")  # each printed line stands alone
        lines.append(f"#{line}" if line.startswith("#") else line)
    return [*lines, "", common.provenance(data), ""]


def _dereverb(results: dict[str, dict[str, Any]]) -> list[str]:
    """The three results of bench/dereverb.py."""
    lines = []
    for name, data in sorted(results.items()):
        if name.startswith("dereverb_t60_") and name != "dereverb_t60_blind":
            mean, rooms = data["results"]["mean"], data["results"]["rooms"]
            t20 = statistics.fmean(room["t20_s"] for room in rooms)
            drr = statistics.fmean(room["drr_db"] for room in rooms)
            rows = []
            for n, m in mean.items():
                cells = [n, f"{m['stoi']:.3f}", f"{m['stoi'] - mean['untouched']['stoi']:+.3f}"]
                rows.append([*cells, f"{m['si_sdr_direct']:.2f}", f"{m['si_sdr_early']:.2f}"])
            lines += [
                f"Simulated rooms ({len(rooms)}; mean T60 {t20:.2f} s, mean direct-to-reverberant ratio {drr:.1f} dB), "
                "scored from 4 s on:",
                "",
                *common.table(
                    ["method", ">STOI", ">gain", ">SI-SDR to direct sound, dB", ">SI-SDR to first 50 ms, dB"], rows
                ),
                "",
                common.provenance(data),
                "",
            ]
    if "dereverb_speed" in results:
        data = results["dereverb_speed"]
        rows = []
        for n, r in data["results"].items():
            share = f"{r['real_time_factor']:.3f} / {r['clock_real_time_factor']:.3f}"
            rows.append([n, share, f"{r['p99_ms']:.2f} / {r['clock_p99_ms']:.2f}"])
        head = ["method, microphones", ">share of real time, processor / clock", ">p99 of a 10 ms block, ms"]
        lines += [*common.table(head, rows), "", common.provenance(data), ""]
    if "dereverb_t60_blind" in results:
        data = results["dereverb_t60_blind"]
        found = data["results"]
        lines += [
            f"Blind T60 from speech against the true one, {len(found['pairs'])} rooms: median error "
            f"{found['median_error']:.0%}, worst {found['worst_error']:.0%}.",
            "",
            common.provenance(data),
            "",
        ]
    return ["## Dereverberation", "", *lines] if lines else []


def _arrays(results: dict[str, dict[str, Any]]) -> list[str]:
    """The three results of bench/arrays.py."""
    lines = []
    if "arrays" in results:
        data = results["arrays"]
        found = data["results"]
        gain = found["gain_db"]
        rows = [[n, f"{g:.2f}", f"{found['standard_error_db'][n]:.2f}"] for n, g in gain.items()]
        behind = max((n for n in gain if " + " in n and n.startswith("mask-mvdr")), key=lambda n: gain[n])
        masks = max((n for n in gain if " + " not in n and n.startswith("mask-mvdr")), key=lambda n: gain[n])
        streaming = "neural-beamformer, streaming"
        lines += [
            f"Gain in SI-SDR over the best of four microphones, {found['rooms']} simulated rooms (T60 0.2 to 0.6 s; an "
            "interferer and diffuse noise, together as strong as the voice), against the voice with the first 50 ms of "
            f"its room. The best microphone alone: {found['input_db']:.2f} dB.",
            "",
            *common.table(["method", ">gain, dB", ">standard error, dB"], rows),
            "",
            common.verdict("delay-and-sum", gain["delay-and-sum"], 1.0, unit=" dB", at_most=False),
            *(
                common.verdict(name, gain[name], target, unit=" dB", at_most=False)
                for name, target in (
                    ("MVDR, oracle covariances", 8.0),
                    (masks, 5.0),
                    (behind, 7.0),
                    *([(streaming, gain["mvdr, steered"])] if streaming in gain else []),
                )
            ),
            "*(The last line is against MVDR without masks, towards the true direction.)*",
            "",
            common.provenance(data),
            "",
        ]
    if "arrays_speed" in results:
        data = results["arrays_speed"]
        rows = []
        for n, r in data["results"].items():
            share = f"{r['real_time_factor']:.3f} / {r['clock_real_time_factor']:.3f}"
            rows.append([n, share, f"{r['p99_ms']:.2f} / {r['clock_p99_ms']:.2f}"])
        head = ["method, microphones", ">share of real time, processor / clock", ">p99 of a 10 ms block, ms"]
        mvdr = data["results"]["mvdr, 8"]
        lines += [
            *common.table(head, rows),
            "",
            common.verdict("mvdr, 8 microphones, share of real time", mvdr["real_time_factor"], 0.05),
            common.verdict("p99 of its 10 ms blocks", mvdr["p99_ms"], 5.0, unit=" ms"),
            common.verdict("wpe, 4 microphones, 10 taps", data["results"]["wpe, 4"]["real_time_factor"], 0.3),
            "",
            common.provenance(data),
            "",
        ]
    if "arrays_line" in results:
        data = results["arrays_line"]
        rows = [[n, f"{v:.2f}"] for n, v in data["results"].items()]
        lines += [
            "A real line of eight microphones in a room, loudspeakers with speech and noise: energy that a filter of "
            "the dry source explains, over the rest (microphones), and its gain over the best microphone (methods):",
            "",
            *common.table(["", ">dB"], rows),
            "",
            common.provenance(data),
            "",
        ]
    return ["## Microphone arrays", "", *lines] if lines else []


def _server(results: dict[str, dict[str, Any]]) -> list[str]:
    """The result of bench/server.py."""
    if "server" not in results:
        return []
    data = results["server"]
    rows = []
    for row in data["results"]:
        latency, streams = row["latency"], row["streams"]
        cells = [f"`{row['method']}`", f"{row['block_ms']:g}", f"{latency['added_p50_ms']:.2f}"]
        cells += [f"{latency['round_trip_p50_ms']:.2f} / {latency['round_trip_p99_ms']:.2f}"]
        cells += [f"{streams['processor_us_per_frame']:.0f}", f"{streams['streams_per_core_by_processor_time']:.0f}"]
        part = streams["at_80_percent"]
        cells += [str(streams["admitted"]), f"{part['round_trip_p50_ms']:.1f} / {part['round_trip_p99_ms']:.1f}"]
        rows.append([*cells, f"{part['server_cores']:.2f}"])
    head = ["method", ">block ms", ">added ms", ">round trip p50 / p99 ms", ">processor us per block"]
    return [
        "## Server",
        "",
        "Live streams over WebSocket on loopback, clients on the same machine. *added*: median round trip minus the "
        "method's own time; *streams by processor time*: that fit on a core; *admitted*: until the server refused; "
        "*four fifths*: round trip of all frames and cores of the server with so many of those.",
        "",
        *common.table(
            [*head, ">streams by processor time", ">admitted", ">four fifths: p50 / p99 ms", ">cores"], rows
        ),
        "",
        common.provenance(data),
        "",
    ]


SECTIONS: dict[str, Callable[[dict[str, dict[str, Any]]], list[str]]] = {
    "dereverb": _dereverb,
    "arrays": _arrays,
    "server": _server,
}
"""Parts of the page whose scripts leave the writing to this one."""


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
