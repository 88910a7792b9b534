"""``unmuffle locate``: from where the talkers speak, heard by a microphone array."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import common

LONGEST_S = 600.0
"""Ten minutes of a recording are used at most."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="locate")(locate)


def locate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Recording with one channel a microphone.")],
    array: Annotated[
        str, typer.Option(metavar="ARRAY", help="Preset, preset:measures, positions, or a TOML file.")
    ] = "respeaker-4mic",
    method: Annotated[str, typer.Option(help="srp-phat or music.")] = "srp-phat",
    talkers: Annotated[
        int | None, typer.Option(metavar="N", help="How many to look for, 1 to 8; default: count them.")
    ] = None,
    track: Annotated[bool, typer.Option("--track", help="Also where each talker was every half second.")] = False,
    temperature: Annotated[float, typer.Option(metavar="C", help="Of the air, for the speed of sound.")] = 20.0,
    picture: Annotated[
        str | None, typer.Option("--picture", metavar="PNG", help="Draw the map, the votes and the tracks.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Find the directions of talkers: azimuth anticlockwise from the array's +x, elevation upwards.

    [bold]Examples[/bold]

    unmuffle locate meeting.wav --array respeaker-4mic

    unmuffle locate desk.wav --array circle:6:0.045 --talkers 2 --picture desk.png
    """
    from ..signal.arrays import parse_array
    from ..signal.channels import channel_faults
    from ..signal.direction import find_directions
    from ..signal.steering import aliasing_note
    from ..signal.tracking import track_directions

    geometry = parse_array(array)
    x, rate, seconds = _load(file, geometry)
    found = find_directions(x, rate, geometry, method=method, talkers=talkers, temperature_c=temperature)
    fixes = []
    if track or picture is not None:
        most = max(1, len(found.talkers))
        fixes = track_directions(x, rate, geometry, most, method=method, temperature_c=temperature)
    notes = channel_faults(x, rate, geometry)
    notes += [note for note in [aliasing_note(geometry, rate / 2)] if note]
    if seconds > LONGEST_S:
        notes.append(f"only the first {LONGEST_S:g} s were used")
    if geometry.dimensions == 1:
        notes.append("a line of microphones cannot tell the two sides of it apart: directions are given for one")
    drawn = None
    if picture is not None:
        from ..pictures import directions

        drawn = str(directions(picture, found, fixes, f"{file}, {method}"))
    rows = [{"azimuth_deg": t.azimuth_deg, "elevation_deg": t.elevation_deg, "share": t.share} for t in found.talkers]
    steps = _every(fixes, 0.5)
    if as_json:
        table: dict[str, Any] = {"path": file, "array": geometry.name, "method": method, "talkers": rows}
        common.emit_json({**table, "track": steps if track else None, "notes": notes, "picture": drawn})
        return
    screen = common.console()
    if not rows:
        screen.print("no direction: the sound is silent, or comes from everywhere")
    else:
        made = common.table("Talkers", ">azimuth", ">elevation", ">share of votes")
        for row in rows:
            made.add_row(f"{row['azimuth_deg']:.1f}°", f"{row['elevation_deg']:.0f}°", f"{100 * row['share']:.0f} %")
        screen.print(made)
    if track and rows:
        made = common.table("Tracks", ">time", "talker: azimuth")
        for step in steps:
            text = "  ".join(f"{t['talker']}: {t['azimuth_deg']:.0f}°" for t in step["tracks"])
            made.add_row(f"{step['time_s']:.1f} s", text)
        screen.print(made)
    for note in notes:
        screen.print(f"note: {note}", markup=False)
    if drawn is not None:
        screen.print(f"picture: {drawn}", markup=False)


def _load(file: str, geometry: Any) -> tuple[Any, int, float]:
    import numpy as np

    from ..io import open_reader

    with open_reader(file) as reader:
        rate = reader.info.sample_rate
        geometry.check_channels(reader.info.channels)
        parts, held = [], 0
        seconds = 0.0
        for block in reader.blocks(rate):
            seconds += block.shape[1] / rate
            if held < LONGEST_S * rate:
                parts.append(block)
                held += block.shape[1]
            else:
                break
    x = np.concatenate(parts, axis=1) if parts else np.zeros((len(geometry), 0), np.float32)
    return x[:, : int(LONGEST_S * rate)], rate, seconds


def _every(fixes: list[Any], step_s: float) -> list[dict[str, Any]]:
    """The last fix of each stretch of ``step_s``."""
    rows: dict[int, dict[str, Any]] = {}
    for fix in fixes:
        tracks = [
            {"talker": t.number, "azimuth_deg": t.azimuth_deg, "elevation_deg": t.elevation_deg} for t in fix.tracks
        ]
        rows[int(fix.time_s / step_s)] = {"time_s": fix.time_s, "tracks": tracks}
    return list(rows.values())
