r"""What a wave looks like at a microphone array: delays, steering vectors, diffuse noise, aliasing.

A plane wave from the direction ``u`` (a unit vector from the array to the talker, see
:mod:`~unmuffle.signal.arrays`) reaches a microphone at ``p``, measured from the reference point, by

.. math:: \tau = -\frac{u \cdot p}{c}

later than the reference point (earlier where negative). A point source at ``q`` does so by
``(|q - p| - |q|) / c`` and is louder by ``|q| / |q - p|``. The steering vector at frequency ``f`` is

.. math:: d_m(f) = a_m e^{-j 2 \pi f \tau_m},

so that a source ``S(f)`` gives ``X_m = d_m S`` at the microphones, and a beamformer ``y = w^H x`` leaves
it alone when ``w^H d = 1``.

Diffuse noise, coming from everywhere at equal strength, has the coherence
``sinc(2 f d / c) = sin(2 pi f d / c) / (2 pi f d / c)`` between two microphones ``d`` apart.

Neighbours further apart than half a wavelength make directions look alike (spatial aliasing): above
``c / 2d`` a beam has copies of itself in wrong directions, and a delay has several explanations.

Sound travels at ``331.3 sqrt(1 + T / 273.15)`` m/s in dry air of ``T`` degrees Celsius; a degree is 0.18 %.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ParameterError
from .arrays import ArrayGeometry

TEMPERATURE_C = 20.0
"""Assumed where nothing is said: 343.2 m/s."""

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


def speed_of_sound(temperature_c: float = TEMPERATURE_C) -> float:
    """Metres a second in dry air.

    >>> round(speed_of_sound(20.0), 1)
    343.2
    """
    if not -60.0 <= temperature_c <= 70.0:
        raise ParameterError(f"temperature_c = {temperature_c!r}; give degrees Celsius, -60 to 70")
    return 331.3 * math.sqrt(1.0 + temperature_c / 273.15)


def check_direction(azimuth_deg: Any, elevation_deg: Any = 0.0) -> tuple[float, float]:
    """Azimuth brought to 0..360 and elevation, or :class:`ParameterError`.

    Azimuths from -360 to 360 have a meaning, elevations from -90 to 90.
    """
    for name, value, limit in (("azimuth", azimuth_deg, 360.0), ("elevation", elevation_deg, 90.0)):
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not number or not -limit <= float(value) <= limit:  # NaN fails as well
            raise ParameterError(f"{name} = {value!r} degrees; give {-limit:g} to {limit:g}")
    return float(azimuth_deg) % 360.0, float(elevation_deg)


def unit_vectors(azimuth_deg: ArrayLike, elevation_deg: ArrayLike = 0.0) -> Real:
    """Unit vectors ``(..., 3)`` towards directions in degrees (arrays are broadcast)."""
    azimuth, elevation = np.broadcast_arrays(np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg))
    flat = np.cos(elevation)
    vectors: Real = np.stack((flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)), axis=-1)
    return vectors


def far_field_delays(
    array: ArrayGeometry,
    azimuth_deg: ArrayLike,
    elevation_deg: ArrayLike = 0.0,
    *,
    reference: int | None = None,
    temperature_c: float = TEMPERATURE_C,
) -> Real:
    """Seconds by which a plane wave is late at each microphone: ``(..., microphones)``.

    Args:
        array: the microphones.
        azimuth_deg, elevation_deg: where the wave comes from; arrays give as many rows.
        reference: microphone that has delay 0; ``None`` means the centre of the array.
        temperature_c: of the air.
    """
    places = _from_reference(array, reference)
    delays: Real = -(unit_vectors(azimuth_deg, elevation_deg) @ places.T) / speed_of_sound(temperature_c)
    return delays


def far_field(
    array: ArrayGeometry,
    frequencies: ArrayLike,
    azimuth_deg: float,
    elevation_deg: float = 0.0,
    *,
    reference: int | None = None,
    temperature_c: float = TEMPERATURE_C,
) -> Complex:
    """Steering vectors ``(frequencies, microphones)`` of a plane wave; every entry has magnitude 1.

    Args:
        array: the microphones.
        frequencies: in Hz, such as ``StftSpec().at(rate).frequencies``.
        azimuth_deg, elevation_deg: see :mod:`~unmuffle.signal.arrays`.
        reference: microphone whose entry is 1; ``None`` means the centre of the array has phase 0.
        temperature_c: of the air.
    """
    azimuth, elevation = check_direction(azimuth_deg, elevation_deg)
    delays = far_field_delays(array, azimuth, elevation, reference=reference, temperature_c=temperature_c)
    return phases(frequencies, delays)


def near_field(
    array: ArrayGeometry,
    frequencies: ArrayLike,
    point_m: ArrayLike,
    *,
    reference: int | None = None,
    temperature_c: float = TEMPERATURE_C,
) -> Complex:
    """Steering vectors ``(frequencies, microphones)`` of a point source, spherical spreading included.

    Args:
        array: the microphones.
        frequencies: in Hz.
        point_m: ``(x, y, z)`` of the source, measured from the centre of the array.
        reference: microphone whose entry is 1; ``None`` means a sensor in the centre would have 1.
        temperature_c: of the air.

    Raises:
        ParameterError: the point lies on a microphone, or on the reference point.
    """
    point = np.asarray(point_m, np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise ParameterError(f"point_m = {point_m!r}; give x, y, z in metres from the centre of the array")
    centred = array.centred
    origin = np.zeros(3) if reference is None else centred[_microphone(array, reference)]
    paths = np.linalg.norm(point - centred, axis=1)
    path = float(np.linalg.norm(point - origin))
    if min(float(paths.min()), path) < 1e-3:
        raise ParameterError(f"the source {point_m!r} lies on a microphone; move it a millimetre or more away")
    delays = (paths - path) / speed_of_sound(temperature_c)
    vectors: Complex = phases(frequencies, delays) * (path / paths)
    return vectors


def point_at(azimuth_deg: float, elevation_deg: float, distance_m: float) -> Real:
    """The point ``(3,)`` in a direction and at a distance from the centre of the array."""
    azimuth, elevation = check_direction(azimuth_deg, elevation_deg)
    if not 0.0 < distance_m < math.inf:
        raise ParameterError(f"distance_m = {distance_m!r}; give metres above 0")
    point: Real = distance_m * unit_vectors(azimuth, elevation)
    return point


def phases(frequencies: ArrayLike, delays_s: ArrayLike) -> Complex:
    """``exp(-j 2 pi f tau)``: ``(frequencies, *delays)``."""
    f = np.asarray(frequencies, np.float64)
    turned: Complex = np.exp(-2j * np.pi * np.multiply.outer(f, np.asarray(delays_s, np.float64)))
    return turned


def diffuse_coherence(
    array: ArrayGeometry, frequencies: ArrayLike, *, temperature_c: float = TEMPERATURE_C
) -> Real:
    """Coherence matrices ``(frequencies, microphones, microphones)`` of noise from all around (a sphere)."""
    f = np.asarray(frequencies, np.float64)
    coherence: Real = np.sinc(2.0 * f[:, None, None] * array.distances / speed_of_sound(temperature_c))
    return coherence


def aliasing_hz(array: ArrayGeometry, *, temperature_c: float = TEMPERATURE_C) -> float:
    """Frequency above which directions can be confused: ``c / 2d``, infinite for one microphone.

    ``d`` is the distance of the microphone that is furthest from its nearest neighbour: exact for
    equally spaced lines, cautious for others (irregular arrays blur their false beams instead).
    """
    if len(array) == 1:
        return math.inf
    apart = array.distances + np.diag(np.full(len(array), np.inf))
    return speed_of_sound(temperature_c) / (2.0 * float(apart.min(axis=1).max()))


def aliasing_note(array: ArrayGeometry, highest_hz: float) -> str:
    """A sentence of warning if the array is too wide for ``highest_hz``, or ""."""
    limit = aliasing_hz(array)
    if highest_hz <= limit:
        return ""
    return (
        f"above {limit:.0f} Hz the microphones of {array.name!r} are more than half a wavelength apart: "
        f"beams have false copies there (the signal goes up to {highest_hz:.0f} Hz)"
    )


def _from_reference(array: ArrayGeometry, reference: int | None) -> Real:
    centred = array.centred
    return centred if reference is None else centred - centred[_microphone(array, reference)]


def _microphone(array: ArrayGeometry, index: Any) -> int:
    if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < len(array):
        raise ParameterError(f"reference = {index!r}; {array.name!r} has microphones 0 to {len(array) - 1}")
    return int(index)
