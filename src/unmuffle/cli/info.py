"""``unmuffle info``: what is in a media file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UnmuffleError
from . import common

if TYPE_CHECKING:
    from ..io import MediaInfo, MediaReader


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="info")(info)


def info(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Audio or video files; - is a pipe.")],
    levels: Annotated[bool, typer.Option("--levels", help="Also read the sound: peak, loudness, clipping.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Show container, codec, rate, channels, length and tags of files."""
    from ..engine.plan import plan

    rows: list[dict[str, Any]] = []
    failed = 0
    sources = ["-"] if files == ["-"] else [job.source for job in plan(files)]
    for name in sources:
        try:
            rows.append(_describe(name, levels))
        except UnmuffleError as error:
            if len(sources) == 1:
                raise
            failed += 1
            rows.append({"path": name, "error": str(error)})
    if as_json:
        common.emit_json(rows)
    else:
        screen = common.console()
        for row in rows:
            made = common.table(row.pop("path"), "", "")
            made.show_header = False
            for key, value in row.items():
                made.add_row(key.replace("_", " "), _text(value))
            screen.print(made)
    if failed:
        raise typer.Exit(1)


def _describe(name: str, levels: bool) -> dict[str, Any]:
    from ..io import open_reader, probe

    if levels or name == "-":  # a pipe can be read only once
        with open_reader(name) as reader:
            row = _facts(reader.info)
            if levels:
                row.update(_levels(reader))
        return row
    return _facts(probe(name))


def _facts(found: MediaInfo) -> dict[str, Any]:
    return {
        "path": found.path,
        "container": found.container,
        "codec": found.codec,
        "sample_format": found.quality,
        "sample_rate": found.sample_rate,
        "channels": found.channels,
        "channel_layout": found.channel_layout,
        "duration_s": found.duration_s,
        "frames": found.frames,
        "video": found.has_video,
        "audio_tracks": found.audio_tracks,
        "tags": dict(found.tags),
    }


def _levels(reader: MediaReader) -> dict[str, Any]:
    import numpy as np

    from ..signal.loudness import LoudnessMeter

    peak, power, clipped, count = 0.0, 0.0, 0, 0
    meter = LoudnessMeter(reader.info.sample_rate, reader.info.channels)
    for block in reader.blocks():
        peak = max(peak, float(np.max(np.abs(block), initial=0.0)))
        power += float(np.sum(block.astype(np.float64) ** 2))
        clipped += int(np.count_nonzero(np.abs(block) >= 0.9999))
        count += block.size
        meter.push(block)
    return {
        "peak_dbfs": _db(peak**2),
        "rms_dbfs": _db(power / max(count, 1)),
        "loudness_lufs": meter.integrated(),
        "full_scale_samples": clipped,
    }


def _db(power: float) -> float:
    import math

    return 10 * math.log10(power) if power > 0 else -math.inf


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {v}" for k, v in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not stated"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
