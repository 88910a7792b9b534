"""``unmuffle train``: from recordings to a trained network."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MediaNotFoundError, ModelError, ParameterError
from . import common, stopping

if TYPE_CHECKING:
    from ..data.pool import Pool
    from ..enhancers.neural.model import Model
    from ..train.config import TrainConfig
    from ..train.crew import Crew
    from ..train.loop import Trainer

PRESETS = (
    "live, live-low, tiny, dense; of the literature: mask-lstm, mask-blstm, r-ced, unet, unet-mapping, dccrn, "
    "conv-tasnet, conv-tasnet-offline, demucs, wavenet."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="train")(train)


@dataclass(frozen=True)
class Work:
    """All that one process of a run needs to know; travels to other processes."""

    folder: str
    pool: str
    recipe: dict[str, Any]
    mixtures: str | None
    initial: str | None
    threads: int
    quiet: bool


def train(
    data: Annotated[
        list[str],
        typer.Option(
            "--data", metavar="FILE|DIR", help="Manifest (.jsonl, may be repeated), or a pool of `unmuffle data pool`."
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")],
    preset: Annotated[str | None, typer.Option(help=PRESETS)] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="A recipe (.toml) laid over the preset.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="E.g. steps=5000 or mix.seconds=4; may be repeated."),
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Begin a new run with the weights of a shipped network (live, ...), a network file (.onnx) or a "
            "checkpoint.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, if there is one: exactly where it was.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Share each batch among so many devices (of the CPU: processes).")
    ] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Of the CPU, for each process; 0: all cores, or OMP_NUM_THREADS.")
    ] = 0,
    mixtures: Annotated[
        str | None, typer.Option(metavar="DIR", help="Train on mixtures made by `unmuffle data render`.")
    ] = None,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Go on without recordings that are missing or broken.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing unless something fails.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report the end as JSON on standard output.")] = False,
) -> None:
    """Train a network. Needs the extra `train`.

    RUN gets recipe.toml, log.csv, last.pt, the best checkpoints, and, if the recipe asks for them, samples/ to listen
    to and tensorboard/. Ctrl-C or SIGTERM end the run after the present step, saved; a killed one goes on from its
    last checkpoint and ends with the same weights, bit for bit (on one device).

    [bold]Examples[/bold]

    unmuffle train --preset live --data mine.jsonl -o runs/first

    unmuffle train --preset live --data mine.jsonl -o runs/first --resume

    unmuffle train --preset tiny --data mine.jsonl -o runs/quick --set budget_minutes=10 --set samples=4

    unmuffle train --preset live --initial live --data more.jsonl -o runs/second --set learning_rate=5e-4
    """
    run_folder = Path(output)
    recipe = _recipe(run_folder, preset, config, assignments or [], resume)
    kind, count = _device(device, devices)
    rate = _rate(recipe)
    found = open_pool(data, rate, leave_out=leave_out, quiet=quiet)
    begun = initial is None or (run_folder / "last.pt").is_file()
    start = None if begun else str(_start(str(initial), output))
    work = Work(output, str(found.folder), recipe.to_dict(), mixtures, start, threads, quiet)
    if count == 1:
        from ..train.crew import Crew

        report = run(Crew(device=kind), work)
    else:
        from ..train import crew

        with _passed_on():
            report = crew.launch(run, count, kind.split(":")[0], work)
    if as_json:
        common.emit_json({k: v for k, v in report.items() if k != "signal"})
    elif not quiet:
        screen = common.console(stderr=True)
        if report["finished"]:
            screen.print(f"{output}: done after {report['steps']} steps, {report['minutes']:.1f} min", markup=False)
            screen.print(f"next: unmuffle export {report['best']} NAME.onnx", markup=False)
        else:
            screen.print(f"{output}: stopped after step {report['steps']}, saved; --resume goes on", markup=False)
    if report["signal"]:
        raise typer.Exit(128 + report["signal"])


def _recipe(folder: Path, preset: str | None, config: str | None, assignments: list[str], resume: bool) -> TrainConfig:
    """The recipe: of the options for a new run; of the run itself, with what is set anew, for one that goes on."""
    with common.training_installed():
        from ..train import checkpoint, presets
        from ..train.config import from_dict
    last = folder / "last.pt"
    if folder.exists() and not folder.is_dir():
        raise ParameterError(f"{folder} is a file; -o names the folder of the run")
    if not last.is_file():
        if preset is None and config is None:
            raise ParameterError(f"give --preset or --config; presets: {', '.join(presets.names())}")
        return common.recipe(preset, config, assignments)
    if not resume:
        raise ParameterError(f"{folder} holds a run already: --resume goes on with it; or choose another folder")
    saved = from_dict(checkpoint.load(last)["recipe"])
    if preset is not None:
        wanted = presets.layered(presets.table(preset))
        if wanted.net != saved.net:
            raise ModelError(
                f"{last} holds a {saved.net!r} network, preset {preset!r} is a {wanted.net!r}; use another folder"
            )
    layers = [] if config is None else [presets.read(config)]
    return presets.layered(saved.to_dict(), *layers, presets.assigned(assignments))


def _start(source: str, folder: str) -> Path:
    """A checkpoint with the weights to begin with."""
    from ..train import recover

    return recover.begin(network(source), folder)[0]


def _device(name: str, count: int) -> tuple[str, int]:
    """Kind of device that torch has here, and how many."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise ParameterError(f"--device {name!r}; choose auto, cpu, cuda or cuda:N")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ParameterError(f"--device {name}: torch finds no such device here; use cpu or auto")
    if ":" in name and count > 1:
        raise ParameterError(f"--device {name} is one device; leave the number out to use --devices {count}")
    return name, count


def _rate(recipe: TrainConfig) -> int:
    """Sample rate of the recipe's network, which also shows that it can be made."""
    from typing import cast

    from ..train import nets

    return cast(nets.Net, nets.make(recipe.net, recipe.sizes)).sample_rate


def open_pool(names: list[str], rate: int, *, leave_out: bool, quiet: bool) -> Pool:
    """The pool that --data names: a folder, or manifests that are packed first if they have not been."""
    from ..data import pool as pools

    if any(Path(name).is_dir() for name in names):
        if len(names) > 1:
            raise ParameterError("--data: one pool, or any number of manifests; pack several manifests into one pool")
        if not (Path(names[0]) / pools.INDEX).is_file():
            raise MediaNotFoundError(
                f"{names[0]} is no pool; make a manifest of a folder with `unmuffle data prepare folders {names[0]} "
                "-o mine.jsonl`, and give that"
            )
        return pools.Pool(names[0])
    with common.count_bar("packing", quiet) as update:
        found, left = pools.of_manifests(names, rate, leave_out=leave_out, progress=update)
    if left and not quiet:
        common.console(stderr=True).print(f"note: {len(left)} recordings are left out, the first is {left[0]}")
    return found


def network(source: str) -> str | Model:
    """A path as it is; a name of a shipped network, loaded."""
    from ..enhancers.neural.model import shipped

    if Path(source).suffix in (".pt", ".onnx") or Path(source).exists():
        return source
    try:
        return shipped(source)
    except ModelError:
        raise ModelError(
            f"{source!r} is no file, and no network that comes with unmuffle; give live, or a file"
        ) from None


def run(crew: Crew, work: Work) -> dict[str, Any]:
    """One process of a run, from its start to its end or a signal; also the only one."""
    import torch

    from ..data.pool import Pool
    from ..data.render import Rendered
    from ..train.config import from_dict
    from ..train.loop import Trainer

    keep_memory()
    if work.threads or crew.count > 1:
        torch.set_num_threads(work.threads or max(1, torch.get_num_threads() // crew.count))
    mixer = None if work.mixtures is None else Rendered(work.mixtures)
    recipe = from_dict(work.recipe)
    if mixer is not None and mixer.epoch_items < recipe.epoch_items:
        raise ParameterError(
            f"{work.mixtures} holds {mixer.epoch_items} mixtures an epoch, the recipe takes {recipe.epoch_items}; "
            f"--set epoch_items={mixer.epoch_items - mixer.epoch_items % recipe.batch}"
        )
    trainer = Trainer(work.folder, Pool(work.pool), recipe, initial=work.initial, mixer=mixer, crew=crew)
    with interruptible() as got, _display(trainer, work.quiet or not crew.first) as report:
        trainer.run(report, stop=lambda: bool(got))
    best = trainer.best[0] if trainer.best else (float("nan"), "last.pt")
    return {
        "run": work.folder,
        "net": recipe.net,
        "steps": trainer.step,
        "minutes": trainer.seconds / 60.0,
        "finished": trainer.finished,
        "metric": recipe.metric,
        "best_metric": best[0] if recipe.metric == "loss" else -best[0],
        "best": str(Path(work.folder) / best[1]),
        "last": str(Path(work.folder) / "last.pt"),
        "signal": got[0] if got else 0,
    }


def keep_memory() -> None:
    """Let the C library keep the memory that a step gives back, instead of fetching it anew in the next one."""
    import ctypes

    if not sys.platform.startswith("linux"):
        return
    try:
        library = ctypes.CDLL(None)
        library.mallopt(-4, 0)  # M_MMAP_MAX: no block by a mapping of its own
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):  # another C library
        return


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the run after the step it is in; a second one at once."""
    got: list[int] = []

    def ask(number: int, frame: object) -> None:
        if got:
            raise stopping.Interrupted
        got.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _passed_on() -> Iterator[None]:
    """While processes of ours train, signals are theirs: each ends after the same step."""
    from multiprocessing import active_children

    def pass_on(number: int, frame: object) -> None:
        for child in active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _display(trainer: Trainer, quiet: bool) -> Iterator[Callable[[dict[str, float]], None] | None]:
    """A bar with loss, validation metric and time left, or, where there is no terminal, a line an epoch."""
    if quiet:
        yield None
        return
    screen = common.console(stderr=True)
    metric = trainer.config.metric

    def epoch_line(line: dict[str, float]) -> str:
        shown = "" if metric in ("loss", "si_sdr") else f", {metric} {line['valid_metric']:.3f}"
        return (
            f"epoch {line['epoch']:.0f}, step {line['step']:.0f}, {line['minutes']:.1f} min: "
            f"loss {line['train_loss']:.4f}, validation {line['valid_loss']:.4f}, "
            f"SI-SDR {line['valid_si_sdr']:.2f} dB{shown}"
        )

    if not screen.is_terminal:
        yield lambda line: screen.print(epoch_line(line), markup=False) if "valid_loss" in line else None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("step {task.fields[step]:.0f}  loss {task.fields[loss]:.4f}  {task.fields[dev]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=screen, transient=True, speed_estimate_period=120.0) as bar:
        first = {"completed": trainer.progress, "step": float(trainer.step), "loss": float("nan"), "dev": ""}
        task = bar.add_task(trainer.config.net, total=1.0, **first)  # type: ignore[arg-type]
        smooth: list[float] = []

        def show(line: dict[str, float]) -> None:
            if "valid_loss" in line:
                screen.print(epoch_line(line), markup=False)
                bar.update(task, dev=f"{metric} {line['valid_metric']:.4g}")
                return
            # A mean over some fifty steps: mixtures differ more than steps improve.
            smooth[:] = [line["loss"] if not smooth else 0.98 * smooth[0] + 0.02 * line["loss"]]
            bar.update(task, completed=line["progress"], step=line["step"], loss=smooth[0])

        yield show
