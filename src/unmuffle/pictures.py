"""Pictures of sound: waveforms, spectrograms, long-term spectra, as PNG (extra ``plots``).

Levels are in decibels relative to full scale, frequencies in kilohertz, and every panel of a picture
has the same scales, so that what looks quieter is quieter.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MissingExtraError, OutputError, ParameterError
from .signal.blocks import Samples, as_block
from .signal.direction import Directions, histogram
from .signal.spectrum import long_term_spectrum
from .signal.stft import StftSpec
from .signal.tracking import Fix

DYNAMIC_RANGE_DB = 80.0
_WIDEST = 1600  # columns of a spectrogram: more than the picture has pixels is only memory


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg", force=False)
        from matplotlib import figure
    except ImportError:
        raise MissingExtraError("drawing pictures", "plots") from None
    return figure


def spectrogram_db(x: Samples, sample_rate: int) -> tuple[NDArray[np.float32], float]:
    """Power of 32 ms frames, every 8 ms, in dB re full scale: ``(bins, frames)``, and the highest frequency in Hz.

    Channels are averaged; a long signal is averaged in time to at most 1600 columns.
    """
    frames = StftSpec(32.0, 8.0, "hann").at(sample_rate)
    padded = -(-max(x.shape[1], frames.hop) // frames.hop) * frames.hop - x.shape[1]
    joined = np.concatenate((x, np.zeros((x.shape[0], padded), np.float32)), axis=1)
    count = joined.shape[1] // frames.hop
    share = -(-count // _WIDEST)
    history = np.zeros((x.shape[0], frames.size - frames.hop), np.float32)
    # A full-scale sine has |X| = sum(w) / 2 in its bin.
    scale = float(4.0 / np.sum(frames.analysis.astype(np.float64)) ** 2)
    columns = []
    step = share * max(1, 512 // share) * frames.hop
    for i in range(0, joined.shape[1], step):
        spectrum, history = frames.forward(joined[:, i : i + step], history)
        power = np.mean(np.abs(spectrum) ** 2, axis=0) * scale
        edges = np.arange(0, power.shape[0], share)
        columns.append(np.add.reduceat(power, edges, axis=0) / np.diff([*edges, power.shape[0]])[:, np.newaxis])
    image = 10 * np.log10(np.concatenate(columns) + 1e-14)
    return image.T.astype(np.float32), sample_rate / 2.0


def before_after(
    path: str | os.PathLike[str], signals: Sequence[tuple[str, Any]], sample_rate: int, title: str = ""
) -> Path:
    """Waveform above spectrogram for each signal, side by side, on common scales.

    Args:
        path: of the PNG.
        signals: label and samples of each.
        sample_rate: in Hz, of all.
        title: above the picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the picture cannot be written.
    """
    if not signals:
        raise ParameterError("nothing to draw; give at least one signal")
    blocks = [(label, as_block(x)) for label, x in signals]
    images = [spectrogram_db(x, sample_rate) for _, x in blocks]
    top = max(float(image.max()) for image, _ in images)
    peak = max(1e-4, *(float(np.max(np.abs(x), initial=0.0)) for _, x in blocks))
    figure = _pyplot().Figure(figsize=(5.2 * len(blocks), 6.0), layout="constrained")
    axes = figure.subplots(2, len(blocks), squeeze=False, sharex="col", height_ratios=(1, 2))
    shown = None
    for column, ((label, x), (image, highest)) in enumerate(zip(blocks, images, strict=True)):
        seconds = x.shape[1] / sample_rate
        low, high = _envelope(x)
        wave, picture = axes[0][column], axes[1][column]
        wave.fill_between(np.linspace(0, seconds, len(low)), low, high, linewidth=0.3, color="#225577")
        wave.set(title=label, ylim=(-1.05 * peak, 1.05 * peak), xlim=(0, max(seconds, 1e-3)))
        shown = picture.imshow(
            image,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=top - DYNAMIC_RANGE_DB,
            vmax=top,
            extent=(0, max(seconds, 1e-3), 0, highest / 1000),
        )
        picture.set(xlabel="time in s")
    axes[0][0].set(ylabel="amplitude")
    axes[1][0].set(ylabel="frequency in kHz")
    figure.colorbar(shown, ax=list(axes[1]), label="dB re full scale", shrink=0.9)
    if title:
        figure.suptitle(title)
    return _save(figure, path)


def spectra(
    path: str | os.PathLike[str], signals: Sequence[tuple[str, Any]], sample_rate: int, title: str = ""
) -> Path:
    """Long-term spectra of all signals in one panel, the spectrogram of each below it."""
    if not signals:
        raise ParameterError("nothing to draw; give at least one signal")
    blocks = [(label, as_block(x)) for label, x in signals]
    images = [spectrogram_db(x, sample_rate) for _, x in blocks]
    top = max(float(image.max()) for image, _ in images)
    figure = _pyplot().Figure(figsize=(10.0, 3.6 + 2.4 * len(blocks)), layout="constrained")
    axes = figure.subplots(1 + len(blocks), 1, height_ratios=(3, *([2] * len(blocks))))
    for label, x in blocks:
        density = long_term_spectrum(np.mean(x, axis=0), sample_rate)
        level = np.maximum(density.level_db_per_hz, -160.0)
        axes[0].plot(density.frequencies_hz / 1000, level, label=label, linewidth=1.0)
    axes[0].set(xlabel="frequency in kHz", ylabel="dB re full scale² / Hz", xlim=(0, sample_rate / 2000))
    axes[0].legend()
    axes[0].grid(alpha=0.3)
    for axis, (label, x), (image, highest) in zip(axes[1:], blocks, images, strict=True):
        seconds = max(x.shape[1] / sample_rate, 1e-3)
        axis.imshow(
            image,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=top - DYNAMIC_RANGE_DB,
            vmax=top,
            extent=(0, seconds, 0, highest / 1000),
        )
        axis.set(ylabel="kHz", title=label)
    axes[-1].set(xlabel="time in s")
    if title:
        figure.suptitle(title)
    return _save(figure, path)


def directions(path: str | os.PathLike[str], found: Directions, fixes: Sequence[Fix], title: str = "") -> Path:
    """Where the talkers are: the map over azimuth and elevation, the votes, and the tracks in time.

    Args:
        path: of the PNG.
        found: from :func:`~unmuffle.signal.direction.find_directions`.
        fixes: from :func:`~unmuffle.signal.tracking.track_directions`; may be empty.
        title: above the picture.
    """
    grid = found.grid
    step = float(grid.azimuths_deg[1] - grid.azimuths_deg[0]) / 2
    left, right = float(grid.azimuths_deg[0]) - step, float(grid.azimuths_deg[-1]) + step
    figure = _pyplot().Figure(figsize=(9.0, 7.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1, 3))
    if grid.elevations_deg.size > 1:
        half = float(grid.elevations_deg[1] - grid.elevations_deg[0]) / 2
        extent = (left, right, float(grid.elevations_deg[0]) - half, float(grid.elevations_deg[-1]) + half)
        shown = top.imshow(found.power.T, origin="lower", aspect="auto", cmap="magma", extent=extent)
        figure.colorbar(shown, ax=top, label="power, highest = 1")
        top.set(ylabel="elevation in degrees")
        top.plot([t.azimuth_deg for t in found.talkers], [t.elevation_deg for t in found.talkers], "wx", markersize=10)
    else:
        top.plot(grid.azimuths_deg, found.power[:, 0])
        top.set(ylabel="power, highest = 1")
    smooth = histogram(found.votes, grid)
    middle.plot(grid.azimuths_deg, smooth / max(float(smooth.max()), 1e-12), color="#225577")
    for talker in found.talkers:
        at = talker.azimuth_deg if talker.azimuth_deg <= right else talker.azimuth_deg - 360.0
        middle.axvline(at, color="#aa3311", linewidth=0.8)
        middle.annotate(f" {talker.azimuth_deg % 360.0:.0f}°", (at, 1.02), color="#aa3311")
    middle.set(ylabel="votes", ylim=(0, 1.2))
    bottom.scatter(found.votes.azimuth_deg, found.votes.time_s, s=4, color="#99aabb")
    numbers = sorted({track.number for fix in fixes for track in fix.tracks})
    for number in numbers:
        points = [(t.azimuth_deg, fix.time_s) for fix in fixes for t in fix.tracks if t.number == number]
        bottom.plot(*zip(*points, strict=True), ".", markersize=3)
    bottom.set(xlabel="azimuth in degrees, anticlockwise from +x", ylabel="time in s", xlim=(left, right))
    bottom.invert_yaxis()
    if title:
        figure.suptitle(title)
    return _save(figure, path)


def _envelope(x: Samples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest sample in each of at most 1600 stretches: what a waveform shows at this width."""
    if not x.shape[1]:
        return np.zeros(1, np.float32), np.zeros(1, np.float32)
    edges = np.unique(np.linspace(0, x.shape[1] - 1, min(_WIDEST, x.shape[1])).astype(int))
    low = np.minimum.reduceat(x.min(axis=0), edges)
    return low, np.maximum.reduceat(x.max(axis=0), edges)


def _save(figure: Any, path: str | os.PathLike[str]) -> Path:
    from .io.atomic import AtomicFile

    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ParameterError(f"{str(target)!r} is no PNG; give a name that ends in .png")
    try:
        file = AtomicFile(target)
        try:
            figure.savefig(file.temporary, dpi=110, format="png")
            file.commit()
        finally:
            file.discard()
    except OSError as error:
        raise OutputError(f"{str(target)!r} cannot be written: {error.strerror or error}") from None
    return target
