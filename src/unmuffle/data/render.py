"""Mixtures rendered ahead of time, for trainers that eat faster than they can be mixed.

One core mixes some hundreds of seconds of audio a second; an accelerator may train on many thousands.
:func:`render` writes the mixtures of some epochs to one memory-mapped file, with as many processes as there
are cores; :class:`Rendered` gives them back as a mixer does, at the speed of a copy. Epochs beyond the last
one that was rendered begin again with the first: render as many as memory on disk allows, and change the
seed now and then.

Samples are int16 with a scale for each signal, so that quiet mixtures keep their resolution: the error lies
98 dB below the signal's peak.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaNotFoundError, OutputError, ParameterError
from .mix import MixConfig, Mixer, Mixture
from .pool import Pool

INDEX, SAMPLES, FACTS = "rendered.json", "rendered.i16", "rendered.f64"
FORMAT = 1


def render(
    mixer: Mixer,
    folder: str | Path,
    epochs: int,
    epoch_items: int,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the mixtures of the epochs from 0 on.

    Args:
        mixer: where they come from; with more than one worker its pool must be a packed :class:`Pool`.
        folder: made if needed. The index is written last: what was broken off is not read.
        epochs, epoch_items: how many.
        workers: processes.
        progress: is called with (mixtures done, mixtures in all).

    Raises:
        ParameterError: numbers below one.
        OutputError: the disk is full.
    """
    if min(epochs, epoch_items, workers) < 1:
        raise ParameterError(f"epochs = {epochs}, epoch_items = {epoch_items}, workers = {workers}; give 1 or more")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    (root / INDEX).unlink(missing_ok=True)
    count = epochs * epoch_items
    places = [(i // epoch_items, i % epoch_items) for i in range(count)]
    try:
        with (root / SAMPLES).open("wb") as samples, (root / FACTS).open("wb") as facts:
            for done, (rows, numbers) in enumerate(_rows(mixer, places, workers), 1):
                rows.tofile(samples)
                numbers.tofile(facts)
                if progress is not None:
                    progress(done, count)
        table = {
            "format": FORMAT,
            "sample_rate": mixer.sample_rate,
            "length": mixer.length,
            "epochs": epochs,
            "epoch_items": epoch_items,
            "config": dataclasses.asdict(mixer.config),
        }
        (root / INDEX).write_text(json.dumps(table), encoding="utf-8")
    except OSError as error:
        (root / INDEX).unlink(missing_ok=True)
        raise OutputError(f"{root}: the mixtures could not be written ({error.strerror})") from None


def _rows(mixer: Mixer, places: list[tuple[int, int]], workers: int) -> Any:
    """Encoded mixtures in order, made here or by other processes."""
    if workers == 1:
        return (_encode(mixer.item(*place)) for place in places)
    return _parallel(mixer, places, workers)


def _parallel(mixer: Mixer, places: list[tuple[int, int]], workers: int) -> Any:
    from multiprocessing import get_context

    if not isinstance(mixer.pool, Pool):
        raise ParameterError("several workers need a packed pool, which each of them maps for itself")
    # Fresh processes: a fork of one with threads (of a numerical library) may hang.
    arguments = (mixer.pool.folder, mixer.config, mixer.split)
    with get_context("spawn").Pool(workers, _begin, arguments) as processes:
        yield from processes.imap(_one, places, chunksize=16)


_mixer: Mixer | None = None  # of a worker process


def _begin(folder: Path, config: MixConfig, split: str) -> None:
    global _mixer
    _mixer = Mixer(Pool(folder), config, split)


def _one(place: tuple[int, int]) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    assert _mixer is not None  # set when the process began
    return _encode(_mixer.item(*place))


def _encode(m: Mixture) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Two rows of int16, and scales, band and SNR."""
    rows = np.empty((2, m.noisy.size), "<i2")
    numbers = np.empty(4, "<f8")
    for i, x in enumerate((m.noisy, m.target)):
        peak = float(np.max(np.abs(x)))
        rows[i] = np.round(x * np.float32(32767.0 / peak)) if peak > 0 else 0
        numbers[i] = peak / 32767.0
    numbers[2:] = m.band_hz, m.snr_db
    return rows, numbers


class Rendered:
    """Mixtures from a folder that :func:`render` wrote; used in place of a mixer.

    Raises:
        MediaNotFoundError: nothing was rendered there, or rendering was broken off.
        ParameterError: the files do not fit their index.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX).is_file():
            raise MediaNotFoundError(f"{self.folder}: no rendered mixtures (no {INDEX})")
        table = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
        if table.get("format") != FORMAT:
            raise ParameterError(f"{self.folder}: format {table.get('format')!r}, this version reads {FORMAT}")
        self.sample_rate, self.length = int(table["sample_rate"]), int(table["length"])
        self.epoch_items = int(table["epoch_items"])
        self.count = int(table["epochs"]) * self.epoch_items
        self.config = MixConfig(**table["config"])
        sizes = {SAMPLES: self.count * 2 * self.length * 2, FACTS: self.count * 4 * 8}
        for name, size in sizes.items():
            if not (self.folder / name).is_file() or (self.folder / name).stat().st_size != size:
                raise ParameterError(f"{self.folder / name} is missing or not of {size} bytes; render again")
        self._samples = np.memmap(self.folder / SAMPLES, "<i2", "r", shape=(self.count, 2, self.length))
        self._facts = np.fromfile(self.folder / FACTS, "<f8").reshape(self.count, 4)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def item(self, epoch: int, index: int) -> Mixture:
        """The mixture of a place in an epoch.

        Raises:
            ParameterError: the epochs that were rendered are shorter.
        """
        if not 0 <= index < self.epoch_items:
            raise ParameterError(f"mixture {index} of an epoch, but {self.epoch_items} were rendered for each")
        row = (epoch * self.epoch_items + index) % self.count
        scales = self._facts[row, :2].astype(np.float32)
        noisy, target = self._samples[row] * scales[:, np.newaxis]
        return Mixture(noisy, target, float(self._facts[row, 2]), float(self._facts[row, 3]))
