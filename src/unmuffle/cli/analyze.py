"""``unmuffle analyze``: what a recording sounds like, in numbers and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import common

LONGEST_S = 1800.0
"""Half an hour is analysed at most: more would not change a long-term spectrum, but fill the memory."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="analyze")(analyze)


def analyze(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Audio or video file.")],
    compare: Annotated[
        list[str] | None, typer.Option("--compare", metavar="B", help="Another file; may be repeated.")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[C...]", help="Further files to compare.")] = None,
    picture: Annotated[
        str | None, typer.Option("-o", "--picture", metavar="PNG", help="Default: FILE.analysis.png.")
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Only the numbers.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Show levels and spectral features of a file, compare files, draw spectra and spectrograms."""
    from ..errors import MissingExtraError
    from ..signal.resample import convert

    names = [file, *(compare or []), *(more or [])]
    loaded = [(name, *_load(name)) for name in names]
    rows = [{"path": name, **features(x, rate)} for name, x, rate in loaded]
    drawn, left_out = None, None
    if not no_picture:
        from ..pictures import spectra

        rate = min(rate for _, _, rate in loaded)  # one frequency axis for all
        signals = [(label, convert(x, own, rate)) for label, (_, x, own) in zip(_labels(names), loaded, strict=True)]
        target = picture or str(Path(file).with_suffix("")) + ".analysis.png"
        try:
            drawn = str(spectra(target, signals, rate))
        except MissingExtraError as error:
            if picture is not None:
                raise
            left_out = str(error)
    if as_json:
        common.emit_json({"files": rows, "picture": drawn})
        return
    made = common.table("Analysis", "feature", *(f">{label}" for label in _labels(names)))
    for key in rows[0]:
        if key != "path":
            made.add_row(key.replace("_", " "), *(_text(row[key]) for row in rows))
    screen = common.console()
    screen.print(made)
    if drawn:
        screen.print(f"picture  {drawn}", markup=False)
    if left_out:
        screen.print(f"left out: {left_out}", markup=False)


def _labels(names: list[str]) -> list[str]:
    """File names, with their folders where two would be the same."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else names


def _load(name: str) -> tuple[Any, int]:
    import numpy as np

    from ..errors import NotAudioError
    from ..io import open_reader

    parts, held = [], 0
    with open_reader(name) as reader:
        rate = reader.info.sample_rate
        for block in reader.blocks(rate):
            parts.append(block)
            held += block.shape[1]
            if held >= LONGEST_S * rate:
                break
    if held < 2:
        raise NotAudioError(f"{name!r} holds {held} samples; there is nothing to analyse")
    return np.concatenate(parts, axis=1), rate


def features(x: Any, rate: int) -> dict[str, Any]:
    """Levels and spectral features of samples ``(channels, n)``; channels are averaged for the spectrum."""
    import numpy as np

    from ..signal import levels, spectrum
    from ..signal.loudness import LoudnessMeter

    mono = np.mean(x, axis=0)
    density = spectrum.long_term_spectrum(mono, rate)
    power = 10.0 ** (np.maximum(density.level_db_per_hz, -300.0) / 10.0)
    meter = LoudnessMeter(rate, x.shape[0])
    meter.push(x)
    active = levels.active_speech_level(mono, rate)
    return {
        "sample_rate": rate,
        "channels": int(x.shape[0]),
        "seconds": x.shape[1] / rate,
        "peak_dbfs": levels.peak_dbfs(x),
        "rms_dbfs": levels.rms_dbfs(x),
        "true_peak_dbtp": meter.true_peak_db(),
        "loudness_lufs": meter.integrated(),
        "active_speech_level_dbfs": active.level_dbfs,
        "activity_factor": active.activity,
        "dc_offset": float(np.mean(mono, dtype=np.float64)),
        "clipped_share": float(np.mean(np.abs(x) >= 0.9999)),
        "centroid_hz": float(spectrum.centroid_hz(power, rate)),
        "bandwidth_hz": float(spectrum.bandwidth_hz(power, rate)),
        "flatness": float(spectrum.flatness(power)),
        "rolloff_95_hz": float(spectrum.rolloff_hz(power, rate)),
        "zero_crossing_rate_hz": float(spectrum.zero_crossing_rate_hz(mono, rate)),
        "peak_frequency_hz": float(density.frequencies_hz[int(np.argmax(power))]),
    }


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
