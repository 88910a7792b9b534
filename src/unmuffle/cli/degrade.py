"""``unmuffle degrade``: test sets out of clean recordings, with everything that was done on record."""

from __future__ import annotations

from typing import Annotated

import typer

from . import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="degrade")(degrade)


def degrade(
    clean: Annotated[str, typer.Argument(metavar="CLEAN", help="Folder of clean speech.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder for clean/, noisy/ and records/.")],
    spec: Annotated[
        str,
        typer.Option("-s", "--spec", help='Damage in order, e.g. "room:t60=0.2..0.6; noise:snr=-5..15".'),
    ] = "noise:snr=-5..15,color=pink",
    noise: Annotated[str | None, typer.Option("--noise", metavar="DIR", help="Folder of noise recordings.")] = None,
    rooms: Annotated[str | None, typer.Option("--rooms", metavar="DIR", help="Folder of room responses.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    per_file: Annotated[int, typer.Option("--per-file", min=1, help="Noisy versions of each file.")] = 1,
    rate: Annotated[int | None, typer.Option(metavar="HZ", help="Sample rate of the set; default: the files'.")] = None,
    subtype: Annotated[str, typer.Option(help="PCM_16, PCM_24 or FLOAT.")] = "PCM_16",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Damage clean recordings on purpose: noise, rooms, clipping, codecs, packet loss, hum, wind, clicks.

    Every noisy file has a JSON record beside it, from which it can be made again exactly. The kinds of
    damage and their keys: noise, babble, room, rir, clip, codec, loss, band, hum, wind, clicks, gain, dc.
    A wrong key is answered with the right ones.
    """
    from dataclasses import asdict

    from ..degrade.make import make_set

    pairs = make_set(
        clean, output, spec, noise_dir=noise, rooms_dir=rooms, seed=seed, per_file=per_file, sample_rate=rate,
        subtype=subtype,
    )  # fmt: skip
    if as_json:
        files = ("noisy", "clean", "record")
        rows = [{key: str(v) if key in files else v for key, v in asdict(pair).items()} for pair in pairs]
        common.emit_json({"pairs": rows})
    else:
        common.console().print(f"{len(pairs)} pairs in {output} (clean/, noisy/, records/, manifest.csv)", markup=False)
