"""A folder of simulated array recordings, with the truth beside each.

::

    out_dir/
      mix/room_000.wav             what the array hears: one channel a microphone
      image/room_000_source_0.wav  each source alone, with all of the room
      early/room_000_source_0.wav  each source alone, with the first 50 ms of the room
      noise/room_000.wav           the noise alone
      response/room_000.npz        ``responses`` (sources, microphones, taps), ``arrival_samples``
      truth/room_000.json          the scene, positions, directions, T60, levels, seed, files

``mix = sum of image + noise``, sample by sample; files are 32-bit float. Every recording has its own seed, made
from the set's seed and its number: a larger set begins with the smaller one.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError, OutputError, ParameterError
from ..io import write
from ..io.atomic import AtomicFile
from ..signal.levels import active_mask
from .array_rooms import RoomScene, random_scene, simulate
from .base import to_json
from .sources import list_audio, load_first_channel, speaker_of
from .spec import Range

FORMAT = "unmuffle-array-1"


@dataclass(frozen=True)
class RoomDraw:
    """What is drawn for every recording of a set: numbers or ranges."""

    array: str = "circle:4:0.05"
    sources: Range = field(default=Range(2, 2))
    t60_s: Range = field(default=Range(0.2, 0.6))
    distance_m: Range = field(default=Range(0.8, 2.0))
    sir_db: Range = field(default=Range(0.0, 0.0))
    snr_db: Range | None = field(default=Range(20.0, 20.0))
    noise_color: str = "pink"
    sample_rate: int = 16_000
    seconds: float = 6.0

    def scene(self, rng: np.random.Generator, noise_files: tuple[str, ...] = ()) -> RoomScene:
        """A scene with everything drawn."""
        snr = self.snr_db
        return random_scene(
            rng,
            array=self.array,
            sources=int(rng.integers(int(self.sources.low), int(self.sources.high) + 1)),
            t60_s=float(rng.uniform(self.t60_s.low, self.t60_s.high)),
            distance_m=(self.distance_m.low, self.distance_m.high),
            level_db=-float(rng.uniform(self.sir_db.low, self.sir_db.high)),
            noise_snr_db=None if snr is None else float(rng.uniform(snr.low, snr.high)),
            noise_color=self.noise_color,
            noise_files=noise_files,
            sample_rate=self.sample_rate,
        )


def make_array_set(
    speech_dir: str | Path,
    out_dir: str | Path,
    draw: RoomDraw,
    *,
    count: int,
    noise_dir: str | Path | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write ``count`` recordings; returns the files of truth, in order.

    Args:
        speech_dir: dry speech; the talkers of a recording are different speakers where names allow
            (the speaker is the name up to the first ``_`` or ``-``).
        out_dir: made if needed; files of the same names are replaced.
        draw: what to draw.
        count: recordings.
        noise_dir: recordings to make the diffuse noise of; without, it is ``draw.noise_color``.
        seed: of the whole set.
    """
    if count < 1:
        raise ParameterError(f"count = {count}; give 1 or more")
    if not 0.5 <= draw.seconds <= 600.0:
        raise ParameterError(f"seconds = {draw.seconds}; give 0.5 to 600")
    voices = list_audio(speech_dir)
    noises = [str(p) for p in list_audio(noise_dir)] if noise_dir is not None else []
    out = Path(out_dir)
    try:
        for folder in ("mix", "image", "early", "noise", "response", "truth"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {str(out)!r} cannot be made: {error.strerror}") from None
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        files = (noises[int(rng.integers(len(noises)))],) if noises else ()
        scene = draw.scene(rng, files)
        chosen = _talkers(voices, len(scene.sources), rng)
        picked = [_stretch(path, draw, rng) for path in chosen]
        made.append(_write(out, f"room_{number:03d}", scene, picked))
    return made


def _talkers(voices: list[Path], count: int, rng: np.random.Generator) -> list[Path]:
    """Files of different speakers, as far as there are enough."""
    order = [voices[i] for i in rng.permutation(len(voices))]
    chosen: list[Path] = []
    for path in order:
        if all(speaker_of(path) != speaker_of(other) for other in chosen):
            chosen.append(path)
        if len(chosen) == count:
            return chosen
    chosen += [path for path in order if path not in chosen][: count - len(chosen)]
    while len(chosen) < count:
        chosen.append(order[len(chosen) % len(order)])
    return chosen


def _stretch(path: Path, draw: RoomDraw, rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """``draw.seconds`` of a file in which somebody talks; a shorter file is repeated after a pause of 0.3 s."""
    source = load_first_channel(path, draw.sample_rate)
    x, n = source.samples[0], round(draw.seconds * draw.sample_rate)
    if not active_mask(x, draw.sample_rate).any():
        raise InputError(f"{path} is silent; take it out of the folder of speech")
    if x.size < n:
        pause = np.zeros(round(0.3 * draw.sample_rate), np.float32)
        once = np.concatenate((x, pause))
        x, start = np.tile(once, -(-n // once.size))[:n], 0
    else:
        # The stretch with a random start, moved on while it is mostly pause.
        starts = rng.integers(x.size - n + 1, size=8)
        active = [float(active_mask(x[s : s + n], draw.sample_rate).mean()) for s in starts]
        good = [s for s, a in zip(starts, active, strict=True) if a >= 0.5]
        start = int(good[0] if good else starts[int(np.argmax(active))])
        x = x[start : start + n]
    return x, {**source.origin, "start_s": start / draw.sample_rate}


def _write(out: Path, name: str, scene: RoomScene, picked: list[tuple[np.ndarray[Any, Any], dict[str, Any]]]) -> Path:
    heard = simulate(scene, [signal for signal, _ in picked])
    rate = scene.sample_rate
    write(out / "mix" / f"{name}.wav", heard.mix, rate, "FLOAT")
    write(out / "noise" / f"{name}.wav", heard.noise, rate, "FLOAT")
    for s in range(len(picked)):
        write(out / "image" / f"{name}_source_{s}.wav", heard.images[s], rate, "FLOAT")
        write(out / "early" / f"{name}_source_{s}.wav", heard.early[s], rate, "FLOAT")
    packed = io.BytesIO()
    np.savez_compressed(packed, responses=heard.responses, arrival_samples=heard.arrival_samples)
    _whole(out / "response" / f"{name}.npz", packed.getvalue())
    record = {"format": FORMAT, "unmuffle": __version__, "files": [origin for _, origin in picked], **heard.record}
    truth = out / "truth" / f"{name}.json"
    _whole(truth, to_json(record).encode())
    return truth


def _whole(path: Path, data: bytes) -> None:
    file = AtomicFile(str(path))
    try:
        Path(file.temporary).write_bytes(data)
        file.commit()
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None
    finally:
        file.discard()
