"""``unmuffle doctor``: versions, extras, and a self test."""

from __future__ import annotations

import platform
import sys
from typing import Annotated, Any

import typer

from . import common
from .live import devices_report

CORE = ("numpy", "scipy", "soundfile", "soxr", "av", "onnxruntime", "diskcache", "typer", "rich")
EXTRAS = {
    "kalman": ("numba",),
    "metrics": ("pystoi",),
    "pesq": ("pesq",),
    "loudness": ("pyloudnorm",),
    "dnsmos": ("speechmos",),
    "plots": ("matplotlib",),
    "vad": ("webrtcvad-wheels",),
    "rooms": ("pyroomacoustics",),
    "live": ("sounddevice", "numba"),
    "redis": ("redis",),
    "train": ("torch", "onnx"),
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Check the installation: versions, optional parts, sound devices, and a test of the default method.

    Exit code 0 when the self test passes.
    """
    from .. import __version__

    report: dict[str, Any] = {
        "unmuffle": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "core": {name: _version(name) for name in CORE},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()},
        "sound": devices_report(),
        "self_test": _self_test(),
    }
    good = all(test["passed"] for test in report["self_test"]) and all(report["core"].values())
    if as_json:
        common.emit_json({**report, "healthy": good})
    else:
        screen = common.console()
        screen.print(f"unmuffle {__version__}, Python {report['python']}, {report['platform']}")
        made = common.table("Packages", "package", "version", "")
        for name, version in report["core"].items():
            made.add_row(name, version or "missing", "" if version else "pip install unmuffle")
        for extra, packages in report["extras"].items():
            for name, version in packages.items():
                made.add_row(name, version or "not installed", f"unmuffle\\[{extra}]")
        screen.print(made)
        sound = report["sound"]
        screen.print("[bold]Sound devices[/bold]")
        for device in sound["devices"]:
            marks = " (default input)" * device["default_input"] + " (default output)" * device["default_output"]
            sides = f"{device['inputs']} in, {device['outputs']} out, {device['rate']} Hz"
            screen.print(f"  {device['number']}  {device['name']}, {device['host']}: {sides}{marks}", markup=False)
        if not sound["devices"]:
            screen.print(f"  {sound['problem'] or 'none: the system offers none to this user'}", markup=False)
        screen.print()
        tests = common.table("Self test", "check", "result")
        for test in report["self_test"]:
            tests.add_row(test["check"], ("passed: " if test["passed"] else "FAILED: ") + test["result"])
        screen.print(tests)
    if not good:
        raise typer.Exit(1)


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _self_test() -> list[dict[str, Any]]:
    """Does the default method do what it should, streamed and whole, and do files work?"""
    import tempfile
    import time
    from pathlib import Path

    import numpy as np

    from ..enhancers.base import run_offline
    from ..enhancers.registry import load
    from ..io import read, write

    rng = np.random.default_rng(0)
    x = (0.02 * rng.standard_normal(32000)).astype(np.float32)
    enhancer = load("auto")
    begun = time.perf_counter()
    out = run_offline(enhancer, x, 16000)
    factor = (time.perf_counter() - begun) / 2.0
    stream = enhancer.stream(16000)
    parts = [stream.process(x[i : i + 160]) for i in range(0, len(x), 160)]
    streamed = np.concatenate((*parts, stream.flush()))[max(stream.latency_samples, 0) :]
    lowered = 10 * np.log10(np.mean(x[16000:] ** 2) / max(float(np.mean(out[16000:] ** 2)), 1e-20))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "self test.flac"
        write(path, x, 16000, "PCM_24")
        back, _ = read(path)
    error = float(np.max(np.abs(back[0] - x)))
    difference = float(np.max(np.abs(streamed - out)))
    return [
        {"check": "noise goes down", "passed": bool(lowered > 3), "result": f"{lowered:.1f} dB"},
        {"check": "10 ms blocks give what the whole gives", "passed": difference <= 1e-5, "result": f"{difference:g}"},
        {"check": "a file keeps its samples", "passed": error < 2.0**-22, "result": f"{error:g}"},
        {"check": "speed", "passed": factor < 1.0, "result": f"{factor:.4f} of real time"},
    ]
