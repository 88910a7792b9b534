"""``unmuffle finetune``: a trained network learns your own noise or voice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ModelError, ParameterError
from . import common
from .train import interruptible, keep_memory, network, open_pool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="finetune")(finetune)


def finetune(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Shipped network (live, ...), network file (.onnx) or checkpoint.")
    ],
    own: Annotated[
        list[str],
        typer.Option("--own", metavar="FILE|DIR", help="Your recordings: manifest, may be repeated, or pool."),
    ],
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="FILE|DIR", help="Others, so that nothing is forgotten: manifest or pool."),
    ],
    output: Annotated[str, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of the recipe, e.g. steps=2000; may be repeated."),
    ] = None,
    own_share: Annotated[float, typer.Option("--own-share", help="Share of the mixtures that are your own.")] = 0.5,
    forget_pesq: Annotated[
        float, typer.Option("--forget-pesq", metavar="MOS", help="Most that the PESQ of the others may fall.")
    ] = 0.02,
    threads: Annotated[int, typer.Option(min=0, help="Of the CPU; 0: all cores, or OMP_NUM_THREADS.")] = 0,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Go on without recordings that are missing or broken.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing unless something fails.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report the end as JSON on standard output.")] = False,
) -> None:
    """Adapt a network to a noise or voice of your own, from minutes of recordings. Needs the extra `train`.

    Your recordings may hold speech, noise or both (`unmuffle data prepare folders`); what they lack comes from the
    others, of which half of the mixtures are made in any case. After each epoch both are measured on recordings that
    were held out. RUN/finetuned.pt is the state that is best on yours among those whose PESQ on the others has
    fallen by at most 0.02; one that forgets more is drawn back half or three quarters of the way to where it began. If
    there is none, nothing is written and the exit code is 1.

    [bold]Examples[/bold]

    unmuffle finetune live --own workshop.jsonl --data general.jsonl -o runs/workshop

    unmuffle export runs/workshop/finetuned.pt workshop.onnx
    """
    with common.training_installed():
        import torch

        from ..train import finetune as tuning
        from ..train import nets, presets, recover
    if (Path(output) / "last.pt").exists():
        raise ParameterError(f"{output} holds a run already; fine-tuning begins anew: choose another folder")
    keep_memory()
    if threads:
        torch.set_num_threads(threads)
    start, trained = recover.begin(network(source), output)
    recipe = presets.layered(trained.to_dict(), tuning.GENTLE, presets.assigned(assignments or []))
    if (recipe.net, dict(recipe.sizes)) != (trained.net, dict(trained.sizes)):
        raise ModelError(
            f"{source} is a {trained.net!r} network of sizes {dict(trained.sizes)}; leave them as they are"
        )
    made: Any = nets.make(recipe.net, recipe.sizes)
    pools = [open_pool(names, made.sample_rate, leave_out=leave_out, quiet=quiet) for names in (own, data)]
    with common.count_bar("fine-tuning", quiet) as update, interruptible() as got:
        found = tuning.finetune(
            output,
            start,
            pools[0],
            pools[1],
            recipe,
            own_share=own_share,
            forget_pesq=forget_pesq,
            report=lambda line: update(int(line["step"]), recipe.steps) if "loss" in line else None,
            stop=lambda: bool(got),
        )
    if as_json:
        common.emit_json({**dataclasses.asdict(found), "path": None if found.path is None else str(found.path)})
    elif not quiet or found.path is None:
        common.console(stderr=True).print(str(found), markup=False)
    if got:
        raise typer.Exit(128 + got[0])
    if found.path is None:
        raise typer.Exit(1)
