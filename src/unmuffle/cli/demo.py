"""``unmuffle demo``: the main job on the recording that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import common

SCORES = ("si_sdr", "seg_snr", "stoi", "estoi", "pesq_wb", "dnsmos_ovrl", "noise_floor")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="demo")(demo)


def demo(
    folder: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="Where the results go.")] = "demo_output",
    method: Annotated[str, typer.Option("-m", "--method", help="A name from `unmuffle methods`.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Clean the bundled noisy recording: scores before and after, the cleaned file, a picture."""
    from ..engine.files import enhance_file
    from ..enhancers.registry import load
    from ..errors import MissingExtraError, OutputError
    from ..io import read

    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder!r} cannot be made: {error.strerror}") from None
    noisy_file, clean_file = bundled("noisy"), bundled("clean")
    cleaned_file = target / "demo_cleaned.wav"
    report = enhance_file(noisy_file, cleaned_file, method)
    noisy, rate = read(noisy_file)
    clean, _ = read(clean_file)
    cleaned, _ = read(cleaned_file)
    rows, missing = _scores(clean[0], noisy[0], cleaned[0], rate)
    picture: str | None = None
    try:
        from ..pictures import before_after

        shown = [("before", noisy), ("after", cleaned), ("removed", noisy - cleaned)]
        name = load(method).name
        picture = str(before_after(target / "demo.png", shown, rate, f"unmuffle demo: {name}"))
    except MissingExtraError as error:
        missing.append(str(error))
    if as_json:
        scores = [{"metric": n, "before": b, "after": a, "unit": u, "higher_is_better": h} for n, u, h, b, a in rows]
        files = {"cleaned": str(cleaned_file), "picture": picture, "noisy": str(noisy_file)}
        common.emit_json({"scores": scores, **files, "real_time_factor": report.real_time_factor, "missing": missing})
        return
    made = common.table(f"Before and after {report.method.splitlines()[0]}", "score", ">before", ">after", "better is")
    for name, unit, higher, before, after in rows:
        better = "higher" if higher else "lower"
        made.add_row(f"{name} ({unit})" if unit else name, f"{before:.2f}", f"{after:.2f}", better)
    screen = common.console()
    screen.print(made)
    screen.print(f"noisy    {noisy_file}", markup=False)
    screen.print(f"cleaned  {cleaned_file}", markup=False)
    if picture:
        screen.print(f"picture  {picture}", markup=False)
    screen.print(f"{report.seconds:.1f} s of sound in {report.elapsed_s:.2f} s", markup=False)
    for line in missing:
        screen.print(f"left out: {line}", markup=False)


def bundled(which: str) -> Path:
    """The bundled recording, ``"noisy"`` or ``"clean"``: synthetic speech with generated noise."""
    return Path(__file__).resolve().parents[1] / "assets" / f"demo_{which}.flac"


def _scores(clean: Any, noisy: Any, cleaned: Any, rate: int) -> tuple[list[tuple[Any, ...]], list[str]]:
    from ..errors import MissingExtraError
    from ..evaluate.registry import METRICS, score

    rows, missing = [], []
    for name in SCORES:
        metric = METRICS[name]
        try:
            before, _ = score([metric], noisy, rate, reference=clean, noisy=noisy)
            after, _ = score([metric], cleaned, rate, reference=clean, noisy=noisy)
        except MissingExtraError as error:
            missing.append(str(error))
            continue
        rows.append((name, metric.unit, metric.higher_is_better, before[name], after[name]))
    return rows, list(dict.fromkeys(missing))
