"""``unmuffle bench``: how fast the methods are on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from ..enhancers.base import Enhancer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="bench")(bench)


def bench(
    methods: Annotated[list[str] | None, typer.Argument(metavar="[METHOD...]", help="Default: all.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A network file of your own (.onnx); may be repeated."),
    ] = None,
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate.")] = 16000,
    channels: Annotated[int, typer.Option(min=1, help="Channels.")] = 1,
    seconds: Annotated[float, typer.Option(min=1.0, max=600.0, help="Length of the test signal.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Measure the speed of methods: whole files, and 10 ms blocks with their median, p99 and worst time.

    Figures are shares of real time on one thread: 0.004 means that a second takes 4 ms.
    """
    from ..enhancers import registry
    from ..errors import MissingExtraError

    rows = [
        measure(path, registry.load(registry.MODEL, path=path), rate, channels, seconds) for path in model or []
    ]
    for name in methods or ([] if model else registry.names()):
        try:
            count = max(channels, registry.entry(name).channels)
            rows.append(measure(name, registry.load(name), rate, count, seconds))
        except MissingExtraError as error:
            if methods:
                raise
            rows.append({"method": name, "note": str(error)})
    if as_json:
        common.emit_json({"sample_rate": rate, "channels": channels, "results": rows})
        return
    columns = ("method", ">latency ms", ">whole", ">10 ms blocks", ">median ms", ">p99 ms", ">max ms")
    made = common.table(f"Share of real time at {rate} Hz, {channels} channel(s), one thread", *columns)
    for row in rows:
        if "note" in row:
            made.add_row(row["method"], "not installed", "", "", "", "", "")
            continue
        cells = ("latency_ms", "whole", "blocks", "median_ms", "p99_ms", "max_ms")
        made.add_row(row["method"], *("" if row[c] is None else f"{row[c]:.4g}" for c in cells))
    common.console().print(made)


def measure(name: str, enhancer: Enhancer, rate: int, channels: int, seconds: float) -> dict[str, Any]:
    """Times of one method on speech-like noise: the best of three whole runs, and every 10 ms block."""
    import numpy as np

    from ..enhancers.base import UNBOUNDED, run_offline

    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * rate)) / rate
    # Bursts of a buzzing tone in noise: methods that gate their work on speech have both to do.
    voice = np.sign(np.sin(2 * np.pi * 120 * t)) * (np.sin(2 * np.pi * 1.5 * t) > 0)
    x = (0.1 * voice + 0.03 * rng.standard_normal((channels, len(t)))).astype(np.float32)
    run_offline(enhancer, x[:, :rate], rate)  # compile, cache, warm up
    whole = min(_timed(lambda: run_offline(enhancer, x, rate)) for _ in range(3)) / seconds
    stream = enhancer.stream(rate, channels)
    row: dict[str, Any] = {"method": name, "latency_ms": None, "whole": whole, "blocks": None}
    row |= {"median_ms": None, "p99_ms": None, "max_ms": None}
    if stream.latency_samples == UNBOUNDED:
        return row
    hop = rate // 100
    times = [_timed(lambda b=x[:, i : i + hop]: stream.process(b)) for i in range(0, x.shape[1] - hop, hop)]  # type: ignore[misc]
    return row | {
        "latency_ms": stream.latency_ms,
        "blocks": sum(times) / seconds,
        "median_ms": 1000 * float(np.median(times)),
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
        "max_ms": 1000 * max(times),
    }


def _timed(run: Any) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
