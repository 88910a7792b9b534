r"""Where the talkers are: directions of several sources from a short recording of a microphone array.

Speech is sparse: in most small regions of time and frequency one voice is alone, even while several talk at
once. So the signal is cut into **zones** (64 ms by up to 250 Hz), and a zone may vote if it is loud for its band
and if one source dominates it, that is if its spatial covariance ``R`` is nearly of rank one,

.. math:: \sqrt{\mathrm{tr}(R^2)} / \mathrm{tr}(R) > 0.7

(Pavlidi et al., "Real-time multiple sound source localization and counting using a circular microphone array",
IEEE TASLP 21(10), 2013). A zone votes for the direction ``u`` where its map is highest:

``srp-phat``
    Steered response power with phase transform, ``P(u) = sum_f sum_{i<j} Re[G_ij(f) e^{j 2 pi f (tau_i - tau_j)}]``,
    ``G`` the cross-spectra divided by their magnitudes (DiBiase 2000).
``music``
    ``P(u) = mean_f 1 / (1 - |v^H d|^2 / M)``, ``v`` the principal eigenvector of the zone's covariance at ``f``: what
    is left of the steering vector outside the signal space (Schmidt 1986), normalised in each bin before the mean.

Where a map has several peaks of nearly the same height (spatial aliasing), the vote is shared among them. Votes
make a histogram over azimuth, smoothed over 6 degrees; its highest peak is a talker, zones with a vote within 25
degrees of it are taken away, and so on until ``talkers`` are found, or until a peak has less than a quarter of the
first.

Where there is one talker, ``srp-phat`` takes the azimuth from the map of all votes, which reflections that voted for
themselves disturb less. It is the default: on recordings of a small circle and in simulated rooms
(``bench/locate.py``) the two are alike but for the worst cases.

Limits: two talkers less than about 25 degrees apart count as one. A line cannot tell front from back and answers
0..180 only; a flat array cannot tell up from down and answers 0 and above. Very diffuse or silent signals
have no zones with a vote: then there are no talkers, and the answer is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from .arrays import ArrayGeometry
from .blocks import Samples, as_block, check_rate
from .channels import dead_channels
from .steering import TEMPERATURE_C, far_field_delays, phases, speed_of_sound
from .stft import Spectrum, StftSpec, StreamingStft

METHODS = ("srp-phat", "music")
SPEC = StftSpec(32.0, 8.0, "hann")
ZONE_FRAMES = 8
LOWEST_HZ, HIGHEST_HZ = 300.0, 6000.0
DOMINANCE = 0.7
APART_DEG = 25.0
_MOST_BINS = 8
_SMOOTH_DEG = 6.0
_LEAST_MATCH = 0.5  # of a zone's map at its peak; 1 is a plane wave, 0 incoherent
_AMBIGUOUS = 0.05  # peaks this near to the highest share the vote
_COUNT_SHARE = 0.25
_MOST_TALKERS = 8
_CHUNK = 64  # zones at a time


class Grid(NamedTuple):
    """The directions that are tried."""

    azimuths_deg: NDArray[np.float64]
    elevations_deg: NDArray[np.float64]
    circular: bool
    """Does the last azimuth adjoin the first?"""


class Votes(NamedTuple):
    """Zones that one source dominates: one row a vote."""

    time_s: NDArray[np.float64]
    azimuth_deg: NDArray[np.float64]
    elevation_deg: NDArray[np.float64]
    weight: NDArray[np.float64]
    zone: NDArray[np.float64]
    """A number that votes of one zone share: of several explanations, one is true."""


class Talker(NamedTuple):
    """One direction."""

    azimuth_deg: float
    elevation_deg: float
    share: float
    """Of all votes, 0..1."""


@dataclass(frozen=True)
class Directions:
    """What :func:`find_directions` found.

    Attributes:
        talkers: the most voted for first; empty when no zone had a vote.
        votes: of single zones, for tracks and pictures.
        grid: the directions that were tried.
        power: the map over all voting zones, ``(azimuths, elevations)``, 1 at its highest.
    """

    talkers: tuple[Talker, ...]
    votes: Votes
    grid: Grid
    power: NDArray[np.float64]


def grid_for(array: ArrayGeometry) -> Grid:
    """The directions that are tried: 1 to 3 degrees of azimuth, finer for wider arrays, and 10 of elevation.

    Raises:
        ParameterError: a single microphone.
    """
    dimensions = array.dimensions
    if dimensions == 0:
        raise ParameterError(f"{array.name!r} has one microphone: directions need two or more")
    # A quarter of the narrowest main lobe, that of the highest frequency.
    lobe = np.rad2deg(speed_of_sound() / (HIGHEST_HZ * float(array.distances.max())))
    step_deg = float(np.clip(np.floor(lobe / 4.0), 1.0, 3.0))
    if dimensions == 1:
        if np.ptp(array.positions[:, 2]) > 1e-3 * np.ptp(array.positions, axis=0).max():
            # A line that stands upright or leans: its cone of directions is no azimuth, so look around in full.
            return Grid(np.arange(0.0, 360.0, step_deg), np.arange(-80.0, 81.0, 10.0), True)
        # A flat line: the half plane in front of it, from its one end to the other.
        return Grid(_line_angle(array) + np.arange(0.0, 180.0 + step_deg / 2, step_deg), np.zeros(1), False)
    flat = dimensions == 2 and np.ptp(array.positions[:, 2]) < 1e-3
    elevations = np.arange(0.0, 81.0, 10.0) if flat else np.arange(-80.0, 81.0, 10.0)
    return Grid(np.arange(0.0, 360.0, step_deg), elevations, True)


def _line_angle(array: ArrayGeometry) -> float:
    """Azimuth of a flat line's end that lies nearest to ``+x``, in -90..90 degrees."""
    places = array.centred
    axis = np.linalg.svd(places)[2][0]
    axis = axis if axis[0] > 1e-9 or (abs(axis[0]) <= 1e-9 and axis[1] < 0) else -axis
    return float(np.rad2deg(np.arctan2(axis[1], axis[0])))


def find_directions(
    x: Any,
    sample_rate: int,
    array: ArrayGeometry,
    *,
    method: str = "srp-phat",
    talkers: int | None = None,
    temperature_c: float = TEMPERATURE_C,
) -> Directions:
    """Directions of the talkers in a recording; dead channels are left out.

    Args:
        x: ``(microphones, samples)``.
        sample_rate: in Hz.
        array: the microphones, in the order of the channels.
        method: one of :data:`METHODS`.
        talkers: how many to look for, 1 to 8; ``None`` counts them.
        temperature_c: of the air.

    Raises:
        ShapeError: channels that do not fit the array.
        ParameterError: a single microphone (or a single one that lives), an unknown method, or a count out of
            range.
    """
    check_talkers(talkers)
    signal, array = living(as_block(x), array)
    if signal.shape[1]:
        signal = signal - signal.mean(axis=1, keepdims=True)  # where an offset begins and ends is no sound
    zones = ZoneVotes(array, sample_rate, method, temperature_c)
    hop = zones.frames.hop
    # Silence before and after: every sample is in as many frames as any other.
    padded = np.pad(signal, ((0, 0), (zones.frames.size, zones.frames.size + ZONE_FRAMES * hop)))
    spectra = StreamingStft(SPEC, sample_rate, signal.shape[0]).forward(padded.astype(np.float32))
    whole = spectra.shape[1] // ZONE_FRAMES * ZONE_FRAMES
    energy, cut = zones.cut(spectra[:, :whole])
    level = np.median(energy, axis=0) if len(energy) else energy
    votes, power = zones.vote(energy, cut, level, -zones.frames.size / sample_rate)
    found = pick_talkers(votes, zones.grid, talkers)
    if len(found) == 1 and method == "srp-phat":
        found = (_top(power, zones.grid, found[0]),)
    return Directions(found, votes, zones.grid, power)


def _top(power: NDArray[np.float64], grid: Grid, talker: Talker) -> Talker:
    """The peak of the map, by a parabola through three azimuths, if it is the talker's."""
    profile = power.max(axis=1)
    best, count = int(np.argmax(profile)), profile.size
    if not grid.circular and best in (0, count - 1):
        return talker
    left, middle, right = (float(profile[(best + i) % count]) for i in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    step = float(grid.azimuths_deg[1] - grid.azimuths_deg[0])
    azimuth = float(grid.azimuths_deg[best]) + (0.5 * (left - right) / bend * step if bend < 0.0 else 0.0)
    if angle_between(azimuth, talker.azimuth_deg) > APART_DEG:
        return talker
    return talker._replace(azimuth_deg=azimuth % 360.0)


def living(x: Samples, array: ArrayGeometry) -> tuple[Samples, ArrayGeometry]:
    """The channels that are not dead, and their array."""
    array.check_channels(x.shape[0])
    dead = dead_channels(x)
    if not dead:
        return x, array
    alive = [i for i in range(len(array)) if i not in dead]
    return x[alive], array.subset(alive)


def check_talkers(talkers: Any) -> None:
    """Raise :class:`ParameterError` unless a count of talkers has a meaning (1..8, or ``None``)."""
    if talkers is None:
        return
    if isinstance(talkers, bool) or not isinstance(talkers, (int, np.integer)) or not 1 <= talkers <= _MOST_TALKERS:
        raise ParameterError(f"talkers = {talkers!r}; give 1 to {_MOST_TALKERS}, or nothing to count them")


class ZoneVotes:
    """Votes of zones, for one array at one sample rate; used on whole files and in a stream alike."""

    def __init__(
        self, array: ArrayGeometry, sample_rate: int, method: str = "srp-phat", temperature_c: float = TEMPERATURE_C
    ) -> None:
        if method not in METHODS:
            raise ParameterError(f"method = {method!r}; choose one of {', '.join(METHODS)}")
        self.frames = SPEC.at(check_rate(sample_rate))
        self.method = method
        self.grid = grid_for(array)
        f = self.frames.frequencies
        first, last = np.searchsorted(f, [LOWEST_HZ, min(HIGHEST_HZ, 0.45 * sample_rate)])
        # A zone must be so narrow that the delays across the array turn its bins' phases alike.
        crossing = float(array.distances.max()) / speed_of_sound(temperature_c)
        bins = int(np.clip(0.12 / (crossing * f[1]), 1, _MOST_BINS))
        self.bands = (last - first) // bins
        self.bins = bins
        self._range = slice(first, first + self.bands * bins)
        azimuth, elevation = np.meshgrid(self.grid.azimuths_deg, self.grid.elevations_deg, indexing="ij")
        delays = far_field_delays(array, azimuth.ravel(), elevation.ravel(), temperature_c=temperature_c)
        steering = phases(f[self._range], delays).astype(np.complex64)
        self._steering = steering.reshape(self.bands, bins, *delays.shape)

    def cut(self, spectra: Spectrum) -> tuple[NDArray[np.float64], NDArray[np.complex64]]:
        """Zones of spectra ``(channels, k * 8, bins)``.

        Returns:
            Energies ``(k, bands)``, and the zones ``(k, bands, bins, channels, frames)``.
        """
        m, count, _ = spectra.shape
        used = spectra[:, :, self._range].reshape(m, count // ZONE_FRAMES, ZONE_FRAMES, self.bands, self.bins)
        zones = np.ascontiguousarray(used.transpose(1, 3, 4, 0, 2))
        energy: NDArray[np.float64] = np.sum(np.abs(zones) ** 2, axis=(2, 3, 4), dtype=np.float64)
        return energy, zones

    def vote(
        self, energy: NDArray[np.float64], zones: NDArray[np.complex64], level: NDArray[np.float64], start_s: float
    ) -> tuple[Votes, NDArray[np.float64]]:
        """Votes of the zones that are louder than ``level`` ``(bands,)`` or ``(k, bands)``, and the map of them all."""
        step_s = ZONE_FRAMES * self.frames.hop / self.frames.sample_rate
        times, bands = np.nonzero((energy > level) & (energy > 1e-9))
        rows: list[tuple[float, ...]] = []
        power = np.zeros(self._steering.shape[2])
        for i in range(0, times.size, _CHUNK):
            t, b = times[i : i + _CHUNK], bands[i : i + _CHUNK]
            picked = zones[t, b]  # (zones, bins, channels, frames)
            keep = _dominance(picked) > DOMINANCE
            if not keep.any():
                continue
            t, b, picked = t[keep], b[keep], picked[keep]
            maps = self._maps(picked, self._steering[b])
            loud = 10.0 * np.log10(energy[t, b] / np.maximum(np.broadcast_to(level, energy.shape)[t, b], 1e-12))
            for zone, found in enumerate(maps):
                if found.max() < _LEAST_MATCH:
                    continue
                weight = float(min(loud[zone], 30.0))  # silence before a file is no reason for endless weight
                power += weight * found
                begun = start_s + t[zone] * step_s
                rows += self._peaks(found, begun, weight, round(begun / step_s) * self.bands + int(b[zone]))
        table = np.array(rows, np.float64).reshape(-1, 5)
        highest = float(power.max())
        power = power / highest if highest > 0.0 else power
        return Votes(*table.T), power.reshape(self.grid.azimuths_deg.size, -1)

    def _maps(self, zones: NDArray[np.complex64], steering: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Maps ``(zones, directions)``: 1 for a plane wave from there, about 0 for incoherent sound."""
        m = zones.shape[2]
        covariance = zones @ zones.conj().swapaxes(-1, -2)
        if self.method == "srp-phat":
            weighted = covariance / np.maximum(np.abs(covariance), 1e-20)
            # sum over i, j of conj(d_i) G_ij d_j, the diagonal (always m) taken out.
            steered = np.sum((steering.conj() @ weighted) * steering, axis=-1).real
            maps: NDArray[np.float64] = ((steered - m) / (m * (m - 1))).mean(axis=1, dtype=np.float64)
            return maps
        principal = np.linalg.eigh(covariance)[1][..., -1]
        # Every microphone counts alike, as the steering vector says: gains that differ are no direction.
        principal = principal / np.maximum(np.abs(principal), 1e-12)
        inside = np.abs(steering.conj() @ principal[..., None])[..., 0].astype(np.float64) ** 2 / m**2
        sharp = 1.0 / (1.0 - np.minimum(inside, 1.0) + 1e-2)
        relative: NDArray[np.float64] = sharp / sharp.max(axis=-1, keepdims=True)
        matched: NDArray[np.float64] = relative.mean(axis=1) * inside.max(axis=-1).mean(axis=1, keepdims=True)
        return matched

    def _peaks(
        self, found: NDArray[np.float64], time_s: float, weight: float, zone: int
    ) -> list[tuple[float, ...]]:
        by_azimuth = found.reshape(self.grid.azimuths_deg.size, -1)
        profile = by_azimuth.max(axis=1)
        if self.grid.circular:
            before, after = np.roll(profile, 1), np.roll(profile, -1)
        else:
            before, after = np.append(-np.inf, profile[:-1]), np.append(profile[1:], -np.inf)
        peaks = np.flatnonzero((profile >= before) & (profile > after) & (profile > profile.max() - _AMBIGUOUS))
        if not peaks.size:  # a flat map: it says nothing
            return []
        share = weight / peaks.size
        tops = by_azimuth[peaks].argmax(axis=1)
        azimuths, elevations = self.grid.azimuths_deg[peaks], self.grid.elevations_deg[tops]
        return [(time_s, float(a), float(e), share, float(zone)) for a, e in zip(azimuths, elevations, strict=True)]


def _dominance(zones: NDArray[np.complex64]) -> NDArray[np.float64]:
    """``sqrt(tr R^2) / tr R`` of zones ``(n, bins, channels, frames)``: 1 when all is one source."""
    n, bins, channels, frames = zones.shape
    snapshots = zones.transpose(0, 2, 1, 3).reshape(n, channels, bins * frames)
    if channels > bins * frames:  # the smaller of the two products has the same norm
        product = snapshots.conj().swapaxes(-1, -2) @ snapshots
    else:
        product = snapshots @ snapshots.conj().swapaxes(-1, -2)
    norm = np.sqrt(np.sum(np.abs(product) ** 2, axis=(1, 2)))
    trace = np.trace(product, axis1=1, axis2=2).real
    ratio: NDArray[np.float64] = norm / np.maximum(trace, 1e-30)
    return ratio


def histogram(votes: Votes, grid: Grid) -> NDArray[np.float64]:
    """Weight of the votes for each azimuth of the grid, smoothed by a Gaussian of 6 degrees."""
    apart = _difference(grid.azimuths_deg[:, None], votes.azimuth_deg[None], grid.circular)
    smooth: NDArray[np.float64] = np.exp(-0.5 * (apart / _SMOOTH_DEG) ** 2) @ votes.weight
    return smooth


def pick_talkers(votes: Votes, grid: Grid, talkers: int | None) -> tuple[Talker, ...]:
    """Peaks of the votes' histogram, one after another, each taking its votes with it."""
    found: list[Talker] = []
    total = float(votes.weight.sum())
    remaining, first = votes, 0.0
    while remaining.weight.size and len(found) < (talkers or _MOST_TALKERS):
        smooth = histogram(remaining, grid)
        top = int(np.argmax(smooth))
        height = float(smooth[top])
        first = first or height
        if height <= 0.0 or (talkers is None and height < _COUNT_SHARE * first):
            break
        apart = _difference(remaining.azimuth_deg, grid.azimuths_deg[top], grid.circular)
        near = np.abs(apart) <= 10.0
        own = np.isin(remaining.zone, remaining.zone[np.abs(apart) <= APART_DEG])
        weight = remaining.weight[near]
        azimuth = float(grid.azimuths_deg[top] + np.average(apart[near], weights=weight)) % 360.0
        elevation = float(np.average(remaining.elevation_deg[near], weights=weight))
        found.append(Talker(azimuth, elevation, float(remaining.weight[own].sum()) / total))
        remaining = Votes(*(column[~own] for column in remaining))
    return tuple(found)


def _difference(a: Any, b: Any, circular: bool) -> Any:
    """``a - b`` in degrees, the short way round."""
    return (a - b + 180.0) % 360.0 - 180.0 if circular else a - b


def angle_between(a_deg: float, b_deg: float) -> float:
    """How far two azimuths are apart, 0..180 degrees."""
    return abs((a_deg - b_deg + 180.0) % 360.0 - 180.0)
