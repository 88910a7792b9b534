"""``unmuffle simulate-room``: microphone arrays in rooms that are made up, with the truth beside them."""

from __future__ import annotations

from typing import Annotated

import typer

from . import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="simulate-room")(simulate_room)


def simulate_room(
    speech: Annotated[str, typer.Argument(metavar="SPEECH", help="Folder of dry speech.")],
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder for mix/, image/, early/, truth/ ...")],
    array: Annotated[
        str, typer.Option(metavar="ARRAY", help="Preset, preset:measures, positions, or a TOML file.")
    ] = "circle:4:0.05",
    count: Annotated[int, typer.Option(min=1, help="Recordings to make.")] = 1,
    talkers: Annotated[str, typer.Option(metavar="N|RANGE", help="Talkers; the first is the wanted one.")] = "2",
    t60: Annotated[str, typer.Option(metavar="S|RANGE", help="Reverberation time, e.g. 0.2..0.6.")] = "0.2..0.6",
    distance: Annotated[str, typer.Option(metavar="M|RANGE", help="Of talkers from the array.")] = "0.8..2.0",
    sir: Annotated[str, typer.Option(metavar="DB|RANGE", help="Wanted talker over each other one.")] = "0",
    snr: Annotated[str, typer.Option(metavar="DB|RANGE|none", help="Wanted talker over the diffuse noise.")] = "20",
    color: Annotated[str, typer.Option(help="Of the noise: white, pink, brown or speech.")] = "pink",
    noise: Annotated[
        str | None, typer.Option("--noise", metavar="DIR", help="Make the diffuse noise of recordings.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of each recording.")] = 6.0,
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate.")] = 16_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Simulate microphone arrays in rooms: several talkers, diffuse noise, reverberation.

    Beside each recording lie its parts (every talker alone, their early sound, the noise), the impulse
    responses, and a JSON file with all positions, directions, levels and times. Needs the extra rooms.

    [bold]Example[/bold]

    unmuffle simulate-room speech/ rooms/ --array respeaker-4mic --count 40 --t60 0.2..0.6 --snr 0
    """
    from ..degrade.array_set import RoomDraw, make_array_set
    from ..degrade.spec import parse_range

    draw = RoomDraw(
        array=array,
        sources=parse_range(talkers, "--talkers", 1, 16, whole=True),
        t60_s=parse_range(t60, "--t60", 0.0, 2.0),
        distance_m=parse_range(distance, "--distance", 0.1, 20.0),
        sir_db=parse_range(sir, "--sir", -60.0, 60.0),
        snr_db=None if snr.strip().lower() == "none" else parse_range(snr, "--snr", -60.0, 120.0),
        noise_color=color,
        sample_rate=rate,
        seconds=seconds,
    )
    made = make_array_set(speech, output, draw, count=count, noise_dir=noise, seed=seed)
    if as_json:
        common.emit_json({"truth": [str(path) for path in made]})
    else:
        common.console().print(f"{len(made)} recordings in {output} (mix/, image/, early/, noise/, response/, truth/)")
