"""Microphone arrays in simulated rooms: talkers, diffuse noise, and the truth about all of them.

A `RoomScene` says everything: the array and where it stands, the box and its reverberation time, where each
source is as the array sees it (azimuth, elevation, distance; see `unmuffle.signal.arrays`), levels and seed.
`simulate` turns a scene and dry signals into what the microphones hear, and gives with it what an experiment
needs to know: the image of each source, its early part (50 ms), the noise, the impulse responses.

::

    scene = random_scene(np.random.default_rng(7), array="circle:4:0.05", t60_s=0.4, sources=2)
    heard = simulate(scene, [voice, interferer])
    heard.mix, heard.images[0], heard.early[0], heard.noise      # (microphones, samples) each

Levels are over the active speech (ITU-T P.56) of the **first** source's image, averaged over the microphones:
it is set to ``level_dbfs``, each other source to its ``level_db`` relative to that, the diffuse noise to
``noise_snr_db`` below, the microphones' own white noise to ``sensor_snr_db`` below.

The way of the first source to the nearest microphone is taken out, but for 40 samples in which the simulator's
filter for fractions of a sample begins: ``arrival_samples`` holds when each source's direct sound arrives where,
fractions included; the earliest of the first source lies between 40 and 41.

The box is `unmuffle.degrade.rooms.shoebox` (image sources, extra ``rooms``), with the walls' absorption fitted
until the response of the first source measures the wanted T60. ``t60_s = 0`` is a free field.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from ..errors import InputError, ParameterError, UnknownParameterError
from ..signal.arrays import ArrayGeometry, parse_array
from ..signal.blocks import Samples, as_block, check_rate
from ..signal.levels import active_mask, active_speech_level, gain
from ..signal.steering import TEMPERATURE_C, check_direction, point_at, speed_of_sound
from .base import Record, check_choice, plain
from .diffuse import make_diffuse
from .noise import COLORS, colored_noise
from .rooms import EARLY_MS, direct_to_reverberant_db, fit_absorption, schroeder_t60_s, shoebox
from .snr import absent, active_snr_db, at_snr
from .sources import class_of, fit, load_first_channel

_WALL_M = 0.3  # least distance of every source and microphone from the walls


@dataclass(frozen=True)
class Place:
    """Where a source is, as the array sees it, and how loud it is beside the first one."""

    azimuth_deg: float
    elevation_deg: float = 0.0
    distance_m: float = 1.5
    level_db: float = 0.0

    def __post_init__(self) -> None:
        check_direction(self.azimuth_deg, self.elevation_deg)
        point_at(0.0, 0.0, self.distance_m)
        if not math.isfinite(self.level_db):
            raise ParameterError(f"level_db = {self.level_db!r}; give decibels")


@dataclass(frozen=True)
class RoomScene:
    """An array, a room and what sounds in it.

    Attributes:
        sources: where they are; the first is the one that is wanted.
        array: as `unmuffle.signal.arrays.parse_array` reads it.
        size_m: of the box, x, y, z.
        array_m: the array's centre, from the lower corner.
        rotation_deg: azimuth, in the room, of the array's ``+x``.
        t60_s: reverberation time, 0.1..2 s, or 0 for a free field.
        noise_snr_db: of the diffuse noise; ``None``: no such noise.
        noise_color: white, pink, brown or speech (the first source's spectrum).
        noise_files: recordings to make the diffuse noise of, instead of a colour.
        sensor_snr_db: of the microphones' own noise; ``None``: none.
        gain_error_db: standard deviation of the microphones' gains.
        level_dbfs: active speech level of the first source at the array.
        temperature_c: of the air.
        sample_rate: in Hz.
        seed: of everything random.
    """

    sources: tuple[Place, ...]
    array: str = "circle:4:0.05"
    size_m: tuple[float, float, float] = (6.0, 5.0, 2.8)
    array_m: tuple[float, float, float] = (3.0, 2.4, 1.2)
    rotation_deg: float = 0.0
    t60_s: float = 0.4
    noise_snr_db: float | None = 20.0
    noise_color: str = "pink"
    noise_files: tuple[str, ...] = ()
    sensor_snr_db: float | None = None
    gain_error_db: float = 0.0
    level_dbfs: float = -26.0
    temperature_c: float = TEMPERATURE_C
    sample_rate: int = 16_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sources:
            raise ParameterError("a scene needs at least one source")
        check_rate(self.sample_rate)
        check_choice("noise_color", self.noise_color, COLORS)
        if not (self.t60_s == 0.0 or 0.1 <= self.t60_s <= 2.0):
            raise ParameterError(f"t60_s must be 0 (free field) or lie in 0.1..2 s, got {self.t60_s}")
        if not 0.0 <= self.gain_error_db <= 20.0:
            raise ParameterError(f"gain_error_db must lie in 0..20 dB, got {self.gain_error_db}")
        for name, db in (("noise_snr_db", self.noise_snr_db), ("sensor_snr_db", self.sensor_snr_db)):
            if db is not None and not -60.0 <= db <= 120.0:
                raise ParameterError(f"{name} must lie in -60..120 dB, got {db}")
        speed_of_sound(self.temperature_c)
        size = np.asarray(self.size_m, float)
        if size.shape != (3,) or not np.all((size >= 1.0) & (size <= 50.0)):
            raise ParameterError(f"size_m = {self.size_m!r}; give three lengths of 1 to 50 m")
        where = {f"microphone {i}": p for i, p in enumerate(self.microphones_m)}
        where |= {f"source {i}": p for i, p in enumerate(self.sources_m)}
        for name, place in where.items():
            if self.t60_s > 0.0 and not np.all((place > 0.05) & (place < size - 0.05)):
                raise ParameterError(
                    f"{name} is at {np.round(place, 2).tolist()} m, outside the room of {list(self.size_m)} m; "
                    "move it, or the array (array_m), or take a larger room"
                )

    @property
    def geometry(self) -> ArrayGeometry:
        """The array."""
        return parse_array(self.array)

    @property
    def microphones_m(self) -> NDArray[np.float64]:
        """Positions in the room, ``(microphones, 3)``."""
        return self._in_room(self.geometry.centred)

    @property
    def sources_m(self) -> NDArray[np.float64]:
        """Positions in the room, ``(sources, 3)``."""
        points = [point_at(s.azimuth_deg, s.elevation_deg, s.distance_m) for s in self.sources]
        return self._in_room(np.array(points))

    def _in_room(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        turn = math.radians(self.rotation_deg)
        matrix = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
        return points @ matrix.T + np.asarray(self.array_m, float)

    def to_dict(self) -> Record:
        """All fields in JSON types; `RoomScene.from_dict` reads them back."""
        table: Record = plain(dataclasses.asdict(self))
        return table

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> RoomScene:
        """A scene from what `to_dict` gave; an unknown key is an error."""
        values = dict(table)
        _check_keys(values, cls, "a scene")
        places = []
        for source in values.pop("sources", ()):
            _check_keys(source, Place, "a source")
            places.append(Place(**source))
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        return cls(tuple(places), **{**values, **lists})


def _check_keys(table: Mapping[str, Any], kind: type, what: str) -> None:
    known = [f.name for f in dataclasses.fields(kind)]
    for key in table:
        if key not in known:
            raise UnknownParameterError(f"{what} has no key {key!r}; it has: {', '.join(known)}")


class ArrayRecording(NamedTuple):
    """What the array hears, and of what it is made: ``mix = sum(images) + noise``."""

    mix: Samples
    """``(microphones, samples)``."""
    images: Samples
    """Each source at each microphone: ``(sources, microphones, samples)``."""
    early: Samples
    """The same, with the first 50 ms of the room only."""
    noise: Samples
    """Diffuse and sensor noise: ``(microphones, samples)``."""
    responses: Samples
    """Impulse responses: ``(sources, microphones, taps)``, gains and scaling included."""
    arrival_samples: NDArray[np.float64]
    """When the direct sound arrives: ``(sources, microphones)``, fractions included."""
    record: Record
    """The scene, positions in the room, measured T60 and direct-to-reverberant ratios, levels reached."""


def simulate(scene: RoomScene, signals: Sequence[Any]) -> ArrayRecording:
    """Let the sources of a scene sound.

    Args:
        scene: what is where.
        signals: a dry signal ``(samples,)`` for each source. The first one's length is that of the result;
            others are cut, or followed by silence.

    Raises:
        InputError: signals that do not fit the scene, or silence where a level is needed.
        MissingExtraError: pyroomacoustics is not installed.
    """
    dry = _dry(scene, signals)
    rng = np.random.default_rng(scene.seed)
    rate, count, n = scene.sample_rate, len(scene.geometry), dry.shape[1]
    responses, arrivals, room = room_responses(scene)
    gains = 10.0 ** (scene.gain_error_db * rng.standard_normal(count) / 20.0) if scene.gain_error_db else np.ones(count)
    responses *= gains[:, None]
    images = scipy.signal.fftconvolve(dry[:, None, :], responses, axes=-1)[..., :n]
    level = active_speech_level(images[0].astype(np.float32), rate).level_dbfs
    if not math.isfinite(level):
        raise InputError("the first source is silent, so it has no level; choose another recording")
    factors = np.full(len(dry), gain(scene.level_dbfs - level))
    mask = active_mask(images[0], rate)
    for s in range(1, len(dry)):
        if absent(images[s], mask):
            raise InputError(f"source {s} is silent while the first one is active; choose another recording or start")
        factors[s] = factors[0] * 10.0 ** (
            (active_snr_db(images[0], images[s], rate) + scene.sources[s].level_db) / 20.0
        )
    responses *= factors[:, None, None]
    images *= factors[:, None, None]
    early = scipy.signal.fftconvolve(dry[:, None, :], early_responses(responses, arrivals, rate), axes=-1)[..., :n]
    noise, sources = _noise(scene, dry[0], images[0], gains, rng)
    record = {
        "scene": scene.to_dict(),
        **room,
        "gains_db": (20 * np.log10(gains)).tolist(),
        "arrival_samples": arrivals.tolist(),
        "drr_db": [direct_to_reverberant_db(r[0], round(a[0]), rate) for r, a in zip(responses, arrivals, strict=True)],
        "sir_db": [active_snr_db(images[0], image, rate) for image in images[1:]],
        "noise_sources": sources,
        "noise_snr_db": active_snr_db(images[0], noise, rate) if noise.any() else None,
    }
    mix = as_block(images.sum(axis=0) + noise)
    single = [v.astype(np.float32) for v in (images, early, noise, responses)]
    return ArrayRecording(mix, single[0], single[1], single[2], single[3], arrivals, plain(record))


def _dry(scene: RoomScene, signals: Sequence[Any]) -> NDArray[np.float64]:
    if len(signals) != len(scene.sources):
        raise InputError(f"the scene has {len(scene.sources)} source(s), got {len(signals)} signal(s)")
    checked = [as_block(signal, 1)[0] for signal in signals]
    n = checked[0].size
    if n == 0:
        raise InputError("the first signal is empty; nothing can sound")
    dry = np.zeros((len(checked), n))
    for row, signal in zip(dry, checked, strict=True):
        row[: min(n, signal.size)] = signal[:n]
    return dry


def room_responses(scene: RoomScene) -> tuple[NDArray[np.float64], NDArray[np.float64], Record]:
    """Responses ``(sources, microphones, taps)`` of a scene, arrival times in samples, and what is to be known of it.

    They have the levels of the room itself, which `simulate` then sets.
    """
    size, rate, c = np.asarray(scene.size_m, float), scene.sample_rate, speed_of_sound(scene.temperature_c)
    talkers, microphones = scene.sources_m, scene.microphones_m
    absorption = 1.0
    if scene.t60_s > 0.0:
        absorption, _, _ = fit_absorption(size, talkers[0], microphones[0], scene.t60_s, rate)
    else:
        # pyroomacoustics wants everything inside a box: one that is large enough, without walls that reflect.
        low = np.minimum(talkers.min(axis=0), microphones.min(axis=0)) - 1.0
        talkers, microphones = talkers - low, microphones - low
        size = np.maximum(talkers.max(axis=0), microphones.max(axis=0)) + 1.0
    found, offset = shoebox(size, talkers, microphones, absorption, scene.t60_s, rate, c)
    arrivals = np.linalg.norm(talkers[:, None] - microphones[None], axis=-1) / c * rate
    start = math.floor(arrivals[0].min())
    taps = max(h.size for row in found for h in row)
    whole = np.zeros((*arrivals.shape, taps))
    for s, row in enumerate(found):
        for m, h in enumerate(row):
            whole[s, m, : h.size] = h
    kept = whole[..., start:]  # the samples that the interpolation filter adds in front stay: its foot is in them
    room = {
        "microphones_m": scene.microphones_m.tolist(),
        "sources_m": scene.sources_m.tolist(),
        "absorption": absorption,
        "t60_s": schroeder_t60_s(found[0][0], rate) if scene.t60_s > 0.0 else 0.0,
    }
    return kept.copy(), arrivals - start + offset, room


def early_responses(
    responses: NDArray[np.float64], arrivals: NDArray[np.float64], sample_rate: int
) -> NDArray[np.float64]:
    """The responses up to 50 ms after the direct sound of each."""
    early = responses.copy()
    for s, row in enumerate(arrivals):
        for m, arrival in enumerate(row):
            early[s, m, max(0, round(arrival + EARLY_MS * 1e-3 * sample_rate)) :] = 0.0
    return early


def _noise(
    scene: RoomScene,
    voice: NDArray[np.float64],
    image: NDArray[np.float64],
    gains: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], list[Record]]:
    noise = np.zeros(image.shape)
    record: list[Record] = []
    if scene.noise_snr_db is not None:
        if scene.noise_files:
            parts, record = _recorded(scene, image.shape, rng)
        else:
            parts = colored_noise(scene.noise_color, image.shape, scene.sample_rate, rng, as_block(voice))
        field = make_diffuse(parts, scene.geometry, scene.sample_rate, temperature_c=scene.temperature_c)
        noise += at_snr(image, gains[:, None] * field, scene.sample_rate, scene.noise_snr_db)
    if scene.sensor_snr_db is not None:
        own = rng.standard_normal(image.shape)
        noise += at_snr(image, own, scene.sample_rate, scene.sensor_snr_db)
    return noise, record


def _recorded(
    scene: RoomScene, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray[np.float64], list[Record]]:
    """Stretches of recordings from different places, one a microphone, of equal power."""
    count, n = shape
    sources = [load_first_channel(f, scene.sample_rate) for f in scene.noise_files]
    parts = np.zeros(shape)
    for m in range(count):
        source = sources[m % len(sources)]
        parts[m] = fit(source.samples, n, scene.sample_rate, rng)[0][0]
    power = np.sqrt(np.mean(np.square(parts), axis=1, keepdims=True))
    if not np.all(power > 0.0):
        raise InputError(f"a noise recording is silent: {', '.join(scene.noise_files)}; choose another")
    return parts / power, [{**s.origin, "class": class_of(s.path)} for s in sources]


def random_scene(
    rng: np.random.Generator,
    *,
    array: str = "circle:4:0.05",
    sources: int = 2,
    t60_s: float = 0.4,
    distance_m: tuple[float, float] = (0.8, 2.0),
    level_db: float = 0.0,
    apart_deg: float = 30.0,
    **values: Any,
) -> RoomScene:
    """A scene with everything that is not given drawn at random.

    The room is a box of 4 x 3.5 x 2.4 to 8 x 6 x 3.2 m, the array stands at table height somewhere in its
    middle, turned by any angle, and the sources are in directions at least ``apart_deg`` apart (fewer, where there
    are many), at most 20 degrees above or below it.

    Args:
        rng: source of chance.
        array: its text.
        sources: how many; the first is the wanted one.
        t60_s: reverberation time.
        distance_m: range of the distances.
        level_db: of all sources but the first, relative to it.
        apart_deg: least angle between two sources, seen from above.
        values: other fields of `RoomScene`.
    """
    if sources < 1:
        raise ParameterError(f"sources = {sources}; give 1 or more")
    geometry = parse_array(array)
    extent = float(np.linalg.norm(geometry.centred, axis=1).max())
    apart = min(apart_deg, 180.0 / sources)
    for _ in range(1000):
        size = rng.uniform([4.0, 3.5, 2.4], [8.0, 6.0, 3.2])
        centre = np.array([*rng.uniform(0.35, 0.65, 2) * size[:2], rng.uniform(0.9, 1.5)])
        azimuths = rng.uniform(0.0, 360.0, sources)
        gaps = np.abs((azimuths[:, None] - azimuths[None] + 180.0) % 360.0 - 180.0)[~np.eye(sources, dtype=bool)]
        elevations, distances = rng.uniform(-20.0, 20.0, sources), rng.uniform(*distance_m, sources)
        rotation = float(rng.uniform(0.0, 360.0))
        if gaps.size and gaps.min() < apart:
            continue
        turned = np.deg2rad(azimuths + rotation)
        flat = distances * np.cos(np.deg2rad(elevations))
        points = centre + np.stack(
            (flat * np.cos(turned), flat * np.sin(turned), distances * np.sin(np.deg2rad(elevations))), axis=1
        )
        inside = np.all((points > _WALL_M) & (points < size - _WALL_M))
        if inside and np.all(centre - extent > _WALL_M) and np.all(centre + extent < size - _WALL_M):
            places = [Place(*map(float, p)) for p in zip(azimuths, elevations, distances, strict=True)]
            others = [dataclasses.replace(p, level_db=level_db) for p in places[1:]]
            given = {"size_m": tuple(map(float, size)), "array_m": tuple(map(float, centre)), "rotation_deg": rotation}
            seed = int(rng.integers(2**31))
            return RoomScene(
                (places[0], *others), array, t60_s=t60_s, **{**given, "seed": seed, **values},
            )  # fmt: skip
    raise ParameterError(
        f"no room of at most 8 x 6 x 3.2 m holds {geometry.name!r} and {sources} sources {distance_m} m away"
    )
