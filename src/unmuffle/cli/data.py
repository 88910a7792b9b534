"""``unmuffle data``: recordings for training: found, checked, packed, mixed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OutputError, ParameterError
from . import common

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..data.manifest import Clip, Problem

SHOWN = 20
"""Problems that are listed before only their number is told."""

group = typer.Typer(
    name="data",
    help="Recordings for training: find and check them, pack them for speed, mix them ahead of time.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group, name="data")


@group.command()
def prepare(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="folders, voicebank-demand, vctk, librispeech, librimix, dns, chime4, wham or csv.",
        ),
    ],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the collection lies.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="Manifest to write (.jsonl): a line for each recording."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Decode every file as well; exit code 1 if anything is wrong.")
    ] = False,
    valid: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of speakers and noise recordings held out for validation.")
    ] = 0.06,
    seed: Annotated[int, typer.Option(help="Of that choice.")] = 0,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Licence of the recordings, if they are your own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")] = False,
) -> None:
    """Make a manifest of a collection of recordings, and say what in it is missing or broken.

    [bold]folders[/bold] takes any folder with some of speech/, noise/, music/, rooms/ in it; below speech/, a folder
    for each speaker. The other kinds are read in the layout in which they are published. Test parts of collections
    get into no manifest. Validation is split off by speaker and recording, unless the collection has a split.

    [bold]Examples[/bold]

    unmuffle data prepare folders recordings/ -o mine.jsonl --check

    unmuffle data prepare vctk VCTK-Corpus-0.92/ -o vctk.jsonl
    """
    import dataclasses

    from ..data import layouts, manifest

    if not 0 <= valid < 1:
        raise ParameterError(f"--valid {valid}; give a share from 0 to below 1")
    found = layouts.prepare(kind, folder)
    clips, notes = manifest.hold_out(found.clips, valid, seed)
    if licence is not None:
        clips = [dataclasses.replace(clip, licence=licence) for clip in clips]
    problems = [*found.problems, *manifest.check(clips)]
    if check:
        with common.count_bar("checking", as_json) as update:
            broken = _undecodable(clips, update)
        problems += broken
        bad = {p.path for p in broken}
        clips = [clip for clip in clips if clip.path not in bad]
    if output is not None:
        if not clips:
            raise ParameterError(f"{folder}: nothing to train on ({len(found.pairs)} pairs of test parts are left out)")
        manifest.write(output, clips)
    report: dict[str, Any] = {
        "manifest": output,
        "clips": len(clips),
        "pairs": {split: sum(p.split == split for p in found.pairs) for split in ("train", "valid", "test")},
        "hours": {k: sum(c.duration_s for c in clips if c.kind == k) / 3600 for k in manifest.KINDS},
        "speakers": len({c.speaker for c in clips if c.speaker}),
        "notes": notes,
        "problems": [dataclasses.asdict(p) for p in problems],
    }
    if as_json:
        common.emit_json(report)
    else:
        screen = common.console()
        screen.print(manifest.summary(clips), markup=False)
        _tell(problems, notes)
        if output is not None:
            screen.print(f"{output}: {len(clips)} recordings", markup=False)
    if check and problems:
        raise typer.Exit(1)


@group.command(name="check")
def check_manifest(
    manifests: Annotated[list[str], typer.Argument(metavar="MANIFEST...", help="Made by `unmuffle data prepare`.")],
    decode: Annotated[bool, typer.Option("--decode", help="Decode every file, which takes a while.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")] = False,
) -> None:
    """Say what is missing or broken in manifests; exit code 1 if there is anything."""
    import dataclasses

    from ..data import manifest

    clips = [clip for path in manifests for clip in manifest.read(path)]
    problems = manifest.check(clips)
    if decode:
        with common.count_bar("checking", as_json) as update:
            problems += _undecodable([c for c in clips if Path(c.path).is_file()], update)
    if as_json:
        common.emit_json({"clips": len(clips), "problems": [dataclasses.asdict(p) for p in problems]})
    else:
        common.console().print(manifest.summary(clips), markup=False)
        _tell(problems, [])
    if problems:
        raise typer.Exit(1)


@group.command()
def pool(
    manifests: Annotated[list[str], typer.Argument(metavar="MANIFEST...", help="One or more.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="Folder of the pool.")],
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate; all networks here take 16000.")] = 16000,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Go on without recordings that are missing or broken.")
    ] = False,
    clean_voices: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Lower the noise that voices were recorded with by this method, e.g. live: what it lowers by less "
            "than 6 dB stays as it is.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older pool in that folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")] = False,
) -> None:
    """Decode all recordings of manifests once, into a folder that training reads at the speed of memory.

    `unmuffle train --data MANIFEST` does this by itself, beside the manifest; do it here to choose the folder.
    """
    from ..data import manifest
    from ..data import pool as pools
    from ..enhancers import registry

    if clean_voices is not None:
        registry.load(clean_voices)  # a wrong name is told before an hour of packing
    clips = [clip for path in manifests for clip in manifest.read(path)]
    gone = [clip.path for clip in clips if not Path(clip.path).is_file()]
    if gone and not leave_out:
        from ..errors import MediaNotFoundError

        raise MediaNotFoundError(
            f"{len(gone)} of {len(clips)} recordings are missing, the first is {gone[0]}; "
            "`unmuffle data check` lists them all, --leave-out goes on without them"
        )
    if (Path(output) / pools.INDEX).exists() and not force:
        raise OutputError(f"{output} holds a pool; choose another folder, or --force to replace it")
    with common.count_bar("packing", as_json) as update:
        present = [c for c in clips if c.path not in set(gone)]
        failed = pools.pack(present, output, rate, clean=clean_voices, progress=update)
    if failed and not leave_out:
        (Path(output) / pools.INDEX).unlink()
        raise ParameterError(
            f"{len(failed)} of {len(clips)} recordings are silent or cannot be decoded, the first is {failed[0]}; "
            "--leave-out goes on without them"
        )
    packed = pools.Pool(output)
    seconds = sum(entry.length for entry in packed.entries) / packed.sample_rate
    report = {"pool": output, "clips": len(packed.entries), "hours": seconds / 3600, "left_out": gone + failed}
    if as_json:
        common.emit_json(report)
        return
    screen = common.console()
    for name in (gone + failed)[:SHOWN]:
        screen.print(f"left out: {name}", markup=False)
    screen.print(f"{output}: {len(packed.entries)} recordings, {seconds / 3600:.2f} h at {rate} Hz", markup=False)


@group.command()
def render(
    pool_folder: Annotated[str, typer.Argument(metavar="POOL", help="Made by `unmuffle data pool`.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="Folder of the mixtures.")],
    epochs: Annotated[int, typer.Option(min=1, help="How many; later ones begin again with the first.")] = 1,
    preset: Annotated[str, typer.Option(help="Whose [mix] and epoch_items are used.")] = "live",
    config: Annotated[str | None, typer.Option(metavar="FILE", help="A recipe (.toml) laid over the preset.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="E.g. mix.seconds=4; may be repeated.")
    ] = None,
    workers: Annotated[int, typer.Option("-j", "--workers", min=1, help="Processes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")] = False,
) -> None:
    """Write mixtures ahead of time, for an accelerator that trains faster than they can be mixed.

    Use them with `unmuffle train --mixtures DIR`. A second of mixture takes 64 kB.
    """
    import time

    from ..data.mix import Mixer
    from ..data.pool import Pool
    from ..data.render import render as write

    recipe = common.recipe(preset, config, assignments or [])
    mixer = Mixer(Pool(pool_folder), recipe.mix, "train")
    if Path(output).is_dir() and any(Path(output).iterdir()):
        raise OutputError(f"{output} is not empty; choose another folder")
    begun = time.perf_counter()
    with common.count_bar("mixing", as_json) as update:
        write(mixer, output, epochs, recipe.epoch_items, workers=workers, progress=update)
    seconds = epochs * recipe.epoch_items * recipe.mix.seconds
    rate = seconds / max(time.perf_counter() - begun, 1e-9)
    report = {"mixtures": output, "count": epochs * recipe.epoch_items, "hours": seconds / 3600, "seconds_per_s": rate}
    if as_json:
        common.emit_json(report)
    else:
        text = f"{output}: {report['count']} mixtures, {seconds / 3600:.2f} h, {rate:.0f} s of sound a second"
        common.console().print(text, markup=False)


def _undecodable(clips: Sequence[Clip], update: Callable[[int, int], None]) -> list[Problem]:
    """Files whose samples cannot all be read, or hold nothing but silence or NaN."""
    import numpy as np
    import soundfile

    from ..data.manifest import Problem

    found = []
    for done, clip in enumerate(clips, 1):
        try:
            x, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            found.append(Problem(clip.path, f"cannot be read: {error}"))
            continue
        if not np.isfinite(x).all():
            found.append(Problem(clip.path, "holds NaN or infinity"))
        elif not x.any():
            found.append(Problem(clip.path, "is silent"))
        elif clip.duration_s and x.shape[0] / rate < 0.95 * clip.duration_s - 0.05:
            found.append(Problem(clip.path, f"ends after {x.shape[0] / rate:.2f} of {clip.duration_s:.2f} s"))
        update(done, len(clips))
    return found


def _tell(problems: Sequence[Problem], notes: Sequence[str]) -> None:
    screen = common.console(stderr=True)
    for note in notes:
        screen.print(f"note: {note}", markup=False)
    for problem in problems[:SHOWN]:
        screen.print(f"problem: {problem.path}: {problem.what}", markup=False)
    if len(problems) > SHOWN:
        screen.print(f"... and {len(problems) - SHOWN} more problems (--json lists all)", markup=False)
