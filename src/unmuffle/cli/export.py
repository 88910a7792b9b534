"""``unmuffle export``: from a checkpoint to a network file."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OutputError, ParameterError
from . import common

if TYPE_CHECKING:
    from ..enhancers.base import Enhancer
    from ..export.quantise import Signal

RATE = 16_000
"""Hz, at which pairs are scored: that of PESQ-WB."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="export")(export)


def export(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="Of `unmuffle train` or `finetune`.")],
    output: Annotated[str, typer.Argument(metavar="MODEL", help="Network file to write (.onnx).")],
    name: Annotated[str | None, typer.Option(help="Of the network; default: of its architecture.")] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Of the weights; it travels in the file.")] = "unstated",
    pairs: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="CLEAN NOISY", help="Folders of pairs to score on; the scores travel in the file."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Eight-bit weights, if the pairs lose less than 0.02 PESQ and 0.002 STOI.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace MODEL if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")] = False,
) -> None:
    """Write the averaged network of a checkpoint as one ONNX file, proven to do what the network does.

    The file runs with `unmuffle enhance --model MODEL`, or `unmuffle.load("model", path="MODEL")`; it holds
    sample rate, frame, latency, state, licence, data, recipe and scores. It gets its name only when PyTorch and ONNX
    Runtime agree, and whole signals and single frames, within 1e-4. With --int8, what loses too much is not written:
    the error says what was tried and what each try cost.

    [bold]Examples[/bold]

    unmuffle export runs/first/best-0004096.pt mine.onnx --licence MIT

    unmuffle export runs/first/last.pt small.onnx --int8 --pairs dev/clean dev/noisy
    """
    with common.training_installed():
        from ..export import graph
        from ..train import parity
        from ..train.loop import load_net
    if int8 and pairs is None:
        raise ParameterError("--int8 needs --pairs CLEAN NOISY: recordings to prove on that nothing is lost")
    if Path(output).exists() and not force:
        raise OutputError(f"{output} is there already; choose another name, or --force to replace it")
    net, _, state = load_net(checkpoint)
    facts: dict[str, Any] = {"name": name or "", "licence": licence, "data": state.get("data", {})}
    heard = None if pairs is None else _pairs(*pairs)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "model.onnx"
        model = graph.export(checkpoint, trial, **facts)
        found = parity.measure(net, model)
        report: dict[str, Any] = {"model": output, "name": model.facts.name, "parity": dataclasses.asdict(found)}
        if heard is not None:
            facts["scores"] = report["scores"] = _scores(str(trial), heard)
        if not int8:
            graph.export(checkpoint, output, **facts)
        elif heard is not None:
            from ..export.quantise import quantise

            graph.export(checkpoint, trial, **facts)
            taken = quantise(trial, output, heard, RATE)
            lost = {"pesq": taken.pesq_loss, "stoi": taken.stoi_loss}
            report["int8"] = {"recipe": taken.recipe, "lost": lost}
    report["size_bytes"] = Path(output).stat().st_size
    if as_json:
        common.emit_json(report)
        return
    screen = common.console()
    screen.print(f"parity: {found}", markup=False)
    for metric, value in report.get("scores", {}).items():
        screen.print(f"{metric}: {value:.3f}" if isinstance(value, float) else f"{metric}: {value}", markup=False)
    if int8:
        screen.print(f"eight bits: {taken}", markup=False)
    screen.print(f"{output}: {report['size_bytes'] / 1e3:.0f} kB", markup=False)


def _pairs(clean: str, noisy: str) -> list[tuple[Signal, Signal]]:
    """(noisy, clean) of all pairs of two folders, mono at 16 kHz."""
    from ..evaluate import find_pairs
    from ..io import read

    found = find_pairs(clean, noisy).pairs
    if not found:
        raise ParameterError(f"no file in {noisy} has a partner in {clean}")
    sounds = []
    for pair in found:
        places = [place for place in (pair.noisy, pair.clean) if place is not None]  # both: two folders were given
        degraded, reference = (read(place, sample_rate=RATE)[0].mean(axis=0) for place in places)
        length = min(degraded.size, reference.size)
        sounds.append((degraded[:length], reference[:length]))
    return sounds


def _scores(path: str, pairs: list[tuple[Signal, Signal]]) -> dict[str, Any]:
    """Mean scores of a network file on pairs."""
    from ..enhancers.base import run_offline
    from ..enhancers.registry import MODEL, load
    from ..evaluate.pesq import pesq_wb
    from ..evaluate.si_sdr import si_sdr
    from ..evaluate.stoi import estoi, stoi

    enhancer: Enhancer = load(MODEL, path=path)
    rows = []
    for noisy, clean in pairs:
        y = run_offline(enhancer, noisy, RATE)
        rows.append([float(score(clean, y, RATE)) for score in (pesq_wb, stoi, estoi, si_sdr)])
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return {"pairs": len(rows), **dict(zip(("pesq_wb", "stoi", "estoi", "si_sdr"), means, strict=True))}
