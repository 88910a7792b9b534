"""Where does the delay come from: the budget of every method at every rate, and is it true?

    python bench/latency.py [--methods log-mmse,classic] [--rates 16000,48000]
    python bench/latency.py --write       docs/latency.md only, from bench/results/latency.json
    python bench/latency.py --check       is the page what the result says? (measures and writes nothing)

For each method and rate the block with the smallest delay is taken, as ``unmuffle live --block auto`` would on a
machine that is quick enough. The parts are read from the running stream; the whole is then measured: bundled
speech through the live engine, and the highest correlation of what goes out with what came in. *computing* is
the processor time that the method took for a block meanwhile; it fits into the worker's block and adds nothing.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

PAGE = common.ROOT / "docs" / "latency.md"
RATES = (8000, 16000, 24000, 44100, 48000)
SHOWN = (16000, 48000)
"""Rates in the first table; all are in the second."""
SECONDS = 1.6
NETWORKS = {"live": ("unmuffle.enhancers.neural.live", "Live")}
"""Networks that come with the package, also while the registry does not list them."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--methods", default="")
    options.add_argument("--rates", default=",".join(map(str, RATES)))
    options.add_argument("--add", action="store_true", help="keep the rows of other methods of the earlier result")
    options.add_argument("--write", action="store_true", help="measure nothing")
    options.add_argument("--check", action="store_true", help="measure and write nothing; fail if the page is old")
    args = options.parse_args()
    if not (args.write or args.check):
        methods = args.methods.split(",") if args.methods else []
        measure(methods, [int(r) for r in args.rates.split(",")], args.add)
    data = common.result("latency")
    if data is None:
        raise SystemExit("bench/results/latency.json is not there; run python bench/latency.py")
    text = page(data)
    if args.check:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            raise SystemExit("docs/latency.md is not what bench/results say; run python bench/latency.py --write")
        return
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(common.ROOT)}")


def measure(methods: list[str], rates: list[int], add: bool) -> None:
    """All rows; with ``add`` those of ``methods`` anew, and the others as they were."""
    from unmuffle.enhancers import registry
    from unmuffle.errors import UnmuffleError

    before = common.load_average()
    rows = []
    for name in methods or [*registry.names(), *(n for n in NETWORKS if n not in registry.names())]:
        try:
            if name in registry.names():
                enhancer = registry.load(name)
                if not registry.entry(name).causal:
                    continue
            else:
                module, kind = NETWORKS[name]
                enhancer = getattr(importlib.import_module(module), kind)()
            for rate in rates:
                rows.append({"method": name, **budget(enhancer, rate)})
        except UnmuffleError as error:  # needs several microphones, or another package
            print(f"{name}: left out: {error}")
            continue
        print(f"{name}: {rows[-1]['sum_ms']:.1f} ms at {rates[-1]} Hz", flush=True)
    packages = ("onnxruntime", "numba")
    earlier = common.result("latency") if add and methods and tuple(rates) == RATES else None
    if earlier is not None:
        order = {name: i for i, name in enumerate(registry.names())}
        rows += [row for row in earlier["results"] if row["method"] not in methods]
        rows.sort(key=lambda row: order.get(row["method"], len(order)))
        note = f"Of this run: {', '.join(methods)}; the others of {earlier['date']}, commit {earlier['commit']}."
        common.save("latency", packages, rows, load_before=before, note=note)
        return
    trial = bool(methods) or tuple(rates) != RATES
    common.save("latency-trial" if trial else "latency", packages, rows, load_before=before)


def budget(enhancer: Any, rate: int) -> dict[str, Any]:
    """The parts of one method at one rate, in milliseconds, and the whole as it was measured."""
    from unmuffle.engine.stream import LiveStream
    from unmuffle.live.blocks import LEAST_MS, SIZES_MS, block_of, delay_with

    sizes = {block_of(ms, rate) for ms in SIZES_MS if ms >= LEAST_MS}
    block = min(sorted(sizes), key=lambda b: delay_with(enhancer, rate, 1, b))
    live = LiveStream(enhancer, rate, block=block)
    window, hop, overlap, resampling = parts(enhancer.kernel(rate, 1), rate)
    x = speech(rate)
    out = np.zeros_like(x)
    took = []
    for at in range(0, len(x) - block + 1, block):
        live.exchange(x[at : at + block, np.newaxis], out[at : at + block, np.newaxis])
        began = time.thread_time()
        live.work()
        took.append(time.thread_time() - began)
    if live.counts.late or live.counts.faults or live.counts.failures:
        raise SystemExit(f"{enhancer.name} at {rate} Hz: {live.counts}")
    ms = 1e3 / rate
    latency = live.stream.latency_samples
    return {
        "rate": rate, "block": block, "capture_ms": block * ms, "window_ms": window * ms, "hop_ms": hop * ms,
        "waiting_ms": (live.algorithm_samples - latency) * ms, "overlap_ms": overlap * ms,
        "resampling_ms": resampling * ms, "look_ahead_ms": (latency - overlap - resampling) * ms,
        "worker_ms": live.reserve_samples * ms, "play_out_ms": block * ms,
        "declared_samples": live.delay_samples, "measured_samples": lag(x, out),
        "computing_p90_ms": 1e3 * float(np.percentile(took[3:], 90)),
        "computing_p99_ms": 1e3 * float(np.percentile(took[3:], 99)),
        "sum_ms": (2 * block + live.delay_samples) * ms,
    }  # fmt: skip


def parts(kernel: Any, rate: int) -> tuple[float, float, float, float]:
    """Longest window, its hop, delay of overlap-add and of resampling, all in samples of ``rate``."""
    from unmuffle.enhancers.base import SpectralKernel

    if hasattr(kernel, "frames"):  # those that only estimate on frames do not overlap and add
        frames = kernel.frames
        return frames.size, frames.hop, frames.latency if isinstance(kernel, SpectralKernel) else 0, 0
    if hasattr(kernel, "_per_outer"):  # between two resamplers
        share = kernel._per_inner / kernel._per_outer
        window, hop, overlap, inner = parts(kernel.inner, rate)
        resampling = kernel.latency_samples - kernel.inner.latency_samples * share
        return window * share, hop * share, overlap * share, inner * share + resampling
    found = [parts(part, rate) for part in getattr(kernel, "parts", ())]
    if found:
        longest = max(found)
        return longest[0], longest[1], sum(f[2] for f in found), sum(f[3] for f in found)
    return 0, getattr(kernel, "granularity", 1), 0, 0


def speech(rate: int) -> np.ndarray:
    """The bundled noisy recording at a rate, from where somebody speaks."""
    from unmuffle.io import read
    from unmuffle.signal.resample import convert

    noisy, own = read(common.ROOT / "src" / "unmuffle" / "assets" / "demo_noisy.flac")
    x = np.ravel(convert(noisy[0, own : own + round(SECONDS * own)], own, rate))
    return np.ascontiguousarray(x, dtype=np.float32)


def lag(x: np.ndarray, out: np.ndarray) -> int:
    """Where the correlation of output and input is highest, of all delays up to half of the signal."""
    n = 1 << (2 * len(x) - 1).bit_length()
    c = np.fft.irfft(np.fft.rfft(out, n) * np.conj(np.fft.rfft(x, n)), n)[: len(x) // 2]
    return int(np.argmax(c))


def page(data: dict[str, Any]) -> str:
    """docs/latency.md."""
    import textwrap

    rows = data["results"]
    rates = sorted({row["rate"] for row in rows})
    head = ["method", ">rate", ">capture block", ">window (hop)", ">waiting", ">overlap", ">look-ahead", ">resampler"]
    head += [">worker's block", ">play-out block", ">sum", ">computing p90 / p99"]
    budget_rows = [
        [
            f"`{r['method']}`", f"{r['rate'] / 1000:g} kHz", _ms(r["capture_ms"]),
            f"{_ms(r['window_ms'])} ({_ms(r['hop_ms'])})" if r["window_ms"] else "",
            _ms(r["waiting_ms"]), _ms(r["overlap_ms"]), _ms(r["look_ahead_ms"]), _ms(r["resampling_ms"]),
            _ms(r["worker_ms"]), _ms(r["play_out_ms"]), f"**{_ms(r['sum_ms'])}**",
            f"{r['computing_p90_ms']:.2f} / {r['computing_p99_ms']:.2f}",
        ]
        for r in rows
        if r["rate"] in SHOWN
    ]  # fmt: skip
    names = list(dict.fromkeys(r["method"] for r in rows))
    by = {(r["method"], r["rate"]): r for r in rows}
    sums = [[f"`{n}`", *(_ms(by[n, rate]["sum_ms"]) if (n, rate) in by else "" for rate in rates)] for n in names]
    off = [r for r in rows if r["measured_samples"] != r["declared_samples"]]
    exact = len(rows) - len(off)
    truth = [
        f"Measured for {len(rows)} pairs of method and rate: in {exact} of them the highest correlation of output and "
        "input stands at the declared delay, to the sample."
    ]
    if off:
        truth[0] += " The others, whose filters shift the phase of what they pass:"
        truth += ["", *common.table(
            ["method", ">rate", ">declared, samples", ">measured, samples"],
            [[f"`{r['method']}`", str(r["rate"]), str(r["declared_samples"]), str(r["measured_samples"])] for r in off],
        )]  # fmt: skip
    lines = [
        "<!-- Written by bench/latency.py from bench/results/latency.json. Do not edit; run it with --write. -->",
        "",
        *TEXT.strip().splitlines(),
        "",
        "## Budget of each method",
        "",
        "In milliseconds, one channel, with the block that has the smallest delay; empty is nothing. *sum*: from the "
        "microphone to the output without the buffers of driver and hardware (`unmuffle live --measure` adds those). "
        "*computing*: processor time of a block, which fits into the worker's block and adds nothing; for networks "
        "it is the network.",
        "",
        *common.table(head, budget_rows),
        "",
        "The sum at every rate:",
        "",
        *common.table(["method", *(f">{rate / 1000:g} kHz" for rate in rates)], sums),
        "",
        *truth,
        "",
        common.provenance(data),
    ]
    wrapped = []
    for line in lines:
        plain = line and not line.startswith(("|", "#", "<!--", "-", " ", "`", "*", "```"))
        wrapped.append(textwrap.fill(line, 120, break_long_words=False, break_on_hyphens=False) if plain else line)
    return "\n".join(wrapped) + "\n"


def _ms(value: float) -> str:
    return "" if abs(value) < 0.005 else f"{value:.1f}"


TEXT = """
# Latency

Where the delay of a stream comes from:

| stage | length | example: `classic`, 8 ms blocks |
|---|---|---|
| capture: the device collects a block | block | 8 ms |
| waiting until a step (hop) of the method is full | `hop - gcd(hop, block)` | 8 ms for a hop of 12 ms |
| overlap-add | synthesis window - hop | 24 ms |
| look-ahead | declared by the method | 0 for causal methods |
| resampling (`AtRate` only) | 24 samples of the lower rate in each direction | 3 ms at 16 kHz |
| computing | inside the worker's block, adds nothing | 0 |
| the worker's block of time (`unmuffle live`; none with `--inline`) | block | 8 ms |
| play-out: the device plays a block | block | 8 ms |
| buffers of driver and hardware | `unmuffle live --measure` | 3 to 300 ms |

`stream.latency_samples` is the delay between the samples put into `process` and those that come out of it: overlap-add,
look-ahead and resampling. `stream.block_latency_samples` adds the waiting. `LiveStream.delay_samples` adds the worker's
block. All are checked against an impulse or a correlation for every method and rate by the conformance suite.

Windows with a short synthesis side (`--set window=asymmetric`, with `hop_ms=4`) trade some noise reduction for delay.

## Which block size

A block enters the sum three times: it is collected, the worker has as long to work on it, and it is played. In
return each block is a reserve: a pause of the system that is shorter than a block is not heard. So there are two rules.

**It should fit the hop.** What waits is `hop - gcd(hop, block)`: with a hop of 12 ms, nothing for blocks of 12 or 24
ms, 8 ms for 8 or 16 ms, 10 ms for 10 ms.

**It should be as small as the machine can keep.** `unmuffle live --block auto` (the default) tries sizes from 8 to 80
ms on the method that was chosen, before the device is opened, and takes the smallest sum among those for which nine of
ten blocks need less than half of their time.

**Then only trouble changes something**, three bad blocks within ten seconds, and nothing is taken back while it runs:

- Blocks that were answered late would have been in time with more reserve: the worker gets as many blocks more as were
  missing. The delay grows by them, once, without a gap and without a click. Sound systems that deliver several blocks
  at once (PulseAudio and PipeWire behind ALSA) need this; it is found in the first seconds.
- Blocks that the device lost, a pause of a second, or a stream that the driver ended: the device is opened again with
  blocks of twice the size, up to 80 ms, and a buffer of four of them. That leaves a gap: it happens for nothing less.

With a fixed `--block` nothing changes by itself, and the delay is constant to the sample for as long as it runs; late
blocks are then answered with the unchanged input of the same delay, and counted.
"""


if __name__ == "__main__":
    main()
