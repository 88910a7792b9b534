"""A verdict as JUnit XML for pipelines, and as one HTML page that needs nothing else, pictures included."""

from __future__ import annotations

import base64
import html
import io
import math
import re
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import MissingExtraError, UnmuffleError
from .judge import Check, Judged, Verdict

PICTURE_S: Final = 60.0
"""What of a file is drawn."""

# What XML 1.0 cannot hold, not even escaped; a file name can.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def junit(verdict: Verdict) -> str:
    """JUnit XML: a suite for each file (or one for the set), a case for each limit."""
    root = ET.Element("testsuites", name="unmuffle qa")
    if verdict.per == "set":
        _suite(root, "all files", verdict.over_all, None, verdict.strict)
        for judged in verdict.files:
            if judged.error is not None:
                _suite(root, judged.name, (), judged.error, verdict.strict)
    else:
        for judged in verdict.files:
            _suite(root, judged.name, judged.checks, judged.error, verdict.strict)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, name: str, checks: tuple[Check, ...], error: str | None, strict: bool) -> None:
    suite = ET.SubElement(root, "testsuite", name=_plain(name))
    failures = skipped = 0
    for check in checks:
        case = ET.SubElement(suite, "testcase", classname=_plain(name), name=check.name)
        if check.status == "fail" or (check.status == "unknown" and strict):
            failures += 1
            ET.SubElement(case, "failure", message=_plain(f"{check.why} (wanted: {check.wanted})"))
        elif check.status == "unknown":
            skipped += 1
            ET.SubElement(case, "skipped", message=_plain(check.why))
    if error is not None:
        case = ET.SubElement(suite, "testcase", classname=_plain(name), name="readable")
        ET.SubElement(case, "error", message=_plain(error))
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    suite.set("errors", str(int(error is not None)))
    suite.set("skipped", str(skipped))


def _plain(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)


_STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --bad: #c62828; --odd: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --good: #5fd07f; --bad: #ff8a80; --odd: #ffcf66; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.pass { color: var(--good); } .fail { color: var(--bad); font-weight: 600; } .unknown { color: var(--odd); }
img { max-width: 100%; height: auto; background: #fff; } section { margin-top: 2rem; }
summary { cursor: pointer; }
"""


def page(verdict: Verdict, *, pictures: int = 20) -> str:
    """The page. Files that failed come first, and are drawn first.

    Args:
        verdict: what was found.
        pictures: how many files are drawn at most (with the extra ``plots``).
    """
    from .. import __version__

    order = sorted(verdict.files, key=lambda f: f.passed(verdict.strict))
    good = sum(f.passed(verdict.strict) for f in verdict.files)
    word = "pass" if verdict.passed else "fail"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Quality report: {word}</title><style>{_STYLE}</style></head><body><main>",
        f'<h1>Quality report: <span class="{word}">{word}</span></h1>',
        f"<p>{good} of {len(verdict.files)} files pass. Judged by "
        + ("the means over all files." if verdict.per == "set" else "every file.")
        + (" What cannot be told fails." if verdict.strict else "")
        + f" unmuffle {html.escape(__version__)}.</p>",
    ]
    if len(verdict.files) > 1 or verdict.per == "set":
        parts.append(_table("Means over all files", verdict.over_all))
    note = ""
    for index, judged in enumerate(order):
        parts.append(_file(judged, verdict.strict))
        if index < pictures and judged.error is None and not note:
            try:
                parts.append(_picture(judged))
            except MissingExtraError as error:
                note = str(error)
            except UnmuffleError as error:
                parts.append(f"<p>Not drawn: {html.escape(str(error))}</p>")
        parts.append("</section>")
    if note:
        parts.append(f"<p>Without pictures: {html.escape(note)}</p>")
    if verdict.unmatched:
        rows = "".join(f"<li>{html.escape(name)}</li>" for name in verdict.unmatched)
        parts.append(f"<h2>Without a partner</h2><ul>{rows}</ul>")
    parts.append("</main></body></html>")
    return "\n".join(parts) + "\n"


def _file(judged: Judged, strict: bool) -> str:
    word = "pass" if judged.passed(strict) else "fail"
    head = f'<section><h2>{html.escape(judged.name)}: <span class="{word}">{word}</span></h2>'
    if judged.error is not None:
        return head + f'<p class="fail">{html.escape(judged.error)}</p>'
    parts = [head, _table("Limits", judged.checks)]
    if judged.figures is not None:
        rows = "".join(
            f'<tr><th scope="row">{name.replace("_", " ")}</th><td class="n">{value:.4g}</td></tr>'
            for name, value in judged.figures.to_dict().items()
            if value is not None
        )
        parts.append(f"<details><summary>All figures</summary><table><tbody>{rows}</tbody></table></details>")
    return "".join(parts)


def _table(caption: str, checks: tuple[Check, ...]) -> str:
    rows = []
    for check in checks:
        value = "–" if math.isnan(check.value) else f"{check.value:.4g} {check.unit}".strip()
        rows.append(
            f'<tr><th scope="row">{check.name.replace("_", " ")}</th><td class="n">{value}</td>'
            f'<td>{check.wanted} {check.unit}</td><td class="{check.status}">{check.status}</td>'
            f"<td>{html.escape(check.why)}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("limit", "value", "wanted", "status", "why"))
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _picture(judged: Judged) -> str:
    from ..pictures import before_after
    from ..signal.resample import convert

    pair = judged.pair
    named = [("noisy", pair.noisy), ("enhanced", pair.enhanced), ("clean", pair.clean)]
    heard = [(label, *_excerpt(path)) for label, path in named if path is not None]
    rate = min(rate for _, _, rate in heard)  # one frequency axis for all
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "picture.png"
        before_after(target, [(label, convert(x, own, rate)) for label, x, own in heard], rate)
        data = base64.b64encode(_smaller(target)).decode("ascii")
    text = "Waveforms and spectrograms of " + ", ".join(label for label, *_ in heard) + f": {judged.name}"
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'


def _smaller(path: Path) -> bytes:
    """The picture with 256 colours, chosen over the whole range of the colour map: a third of the bytes."""
    from PIL import Image  # matplotlib brings it along

    with Image.open(path) as full:
        buffer = io.BytesIO()
        full.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _excerpt(path: Path) -> tuple[Any, int]:
    """The beginning of a file."""
    from ..io import open_reader

    parts, held = [], 0
    with open_reader(path) as reader:
        rate = reader.info.sample_rate
        for block in reader.blocks(rate):
            parts.append(block)
            held += block.shape[1]
            if held >= PICTURE_S * rate:
                break
        empty = np.zeros((reader.info.channels, 0), np.float32)
    return np.concatenate([empty, *parts], axis=1)[:, : round(PICTURE_S * rate)], rate
