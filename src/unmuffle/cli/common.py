"""What the commands share: consoles, exit codes, option types, tables."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from ..errors import (
    DeviceError,
    InputError,
    MediaError,
    MissingExtraError,
    ModelError,
    OutputError,
    ParameterError,
    StreamError,
    UnmuffleError,
)
from . import stopping

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..train.config import TrainConfig

EXIT_CODES: dict[type[BaseException], int] = {
    OutputError: 4,
    MediaError: 3,
    InputError: 3,
    DeviceError: 3,
    ParameterError: 2,
    StreamError: 2,
    MissingExtraError: 5,
    ModelError: 6,
    UnmuffleError: 1,
}
"""First match counts. 1 stands for several files of which some failed; 130 for Ctrl-C."""


Repair: TypeAlias = Annotated[
    str,
    typer.Option(metavar="LIST", help="First repair: declip,declick,dehum,detone,dewind,low-cut (comma-separated)."),
]
"""The option ``--repair``; the stages of ``engine.options.REPAIRS`` are written out, as loading those takes time."""


def exit_code(error: BaseException) -> int:
    """The documented exit code of an error."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


def console(*, stderr: bool = False) -> Console:
    """A rich console; plain text when it is not a terminal."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def emit_json(value: Any) -> None:
    """Write a value as JSON on standard output; infinity and NaN become ``null``."""
    sys.stdout.write(json.dumps(finite(value), ensure_ascii=False, indent=2) + "\n")


def finite(value: Any) -> Any:
    """The same value with what JSON cannot hold replaced by ``None``."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(title: str, *columns: str) -> Table:
    """An empty table in the house style; columns that begin with ``>`` are right-aligned."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    return made


def span_or_file(text: str) -> tuple[float, float] | str:
    """``0.2-1.5`` (seconds) or a file name.

    >>> span_or_file("0-0.5")
    (0.0, 0.5)
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?)s?-(\d+(?:\.\d*)?)s?", text.strip())
    if match is None:
        return text
    start, stop = float(match[1]), float(match[2])
    if not start < stop:
        raise ParameterError(f"profile span {text!r} is empty; give start-stop in seconds, such as 0-0.5")
    return start, stop


def strength(text: str) -> float:
    """A strength in dB, or ``full``."""
    if text.strip().lower() in ("full", "inf", "max"):
        return math.inf
    try:
        value = float(text)
    except ValueError:
        raise ParameterError(f"strength {text!r} is no number of dB; give 0 (unchanged) to inf, or full") from None
    if math.isnan(value) or value < 0:
        raise ParameterError(f"strength {text!r} dB; give 0 (unchanged) to inf (full effect)")
    return value


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Callable[[float, float | None], None]]:
    """A bar on standard error with speed and time left; silent unless that is a terminal.

    Each update is also a moment to stop, if somebody has asked for that.
    """
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        yield lambda done, total: stopping.check()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    import time

    begun = time.perf_counter()
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(label, total=None, speed="")

        def update(done: float, total: float | None) -> None:
            stopping.check()
            speed = done / max(time.perf_counter() - begun, 1e-6)
            bar.update(task, completed=done, total=total, speed=f"{speed:.0f}x real time")

        yield update


@contextmanager
def count_bar(label: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar that counts things on standard error, with time left; silent unless that is a terminal.

    Each update is also a moment to stop, if somebody has asked for that.
    """
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        yield lambda done, total: stopping.check()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(label, total=None)

        def update(done: int, total: int) -> None:
            stopping.check()
            bar.update(task, completed=done, total=total)

        yield update


def recipe(preset: str | None, config: str | None, assignments: list[str]) -> TrainConfig:
    """A recipe for training from --preset, --config and --set, of which the later wins.

    Raises:
        MissingExtraError: torch is not installed.
    """
    with training_installed():
        from ..train import presets
    layers = [presets.table(preset)] if preset else []
    if config is not None:
        layers.append(presets.read(config))
    return presets.layered(*layers, presets.assigned(assignments))


@contextmanager
def training_installed() -> Iterator[None]:
    """Imports of what needs torch: without it, an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "unmuffle":
            raise
        raise MissingExtraError("training", "train") from None
