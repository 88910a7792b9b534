r"""LCMV: several conditions at once, such as one voice kept and others taken away.

.. math:: w = R_n^{-1} C \left( C^H R_n^{-1} C \right)^{-1} f^* , \qquad w^H c_i = f_i

with the steering vectors :math:`c_i` as columns of C and the wanted responses :math:`f_i` (1: keep, 0: null).
M microphones have M degrees of freedom; each condition takes one.

At low frequencies all directions look alike, and no weights keep one and null another without lifting
the microphones' own noise by tens of decibels. There (when the columns, turned to unit length and whitened,
are closer than :data:`CLOSEST`) the conditions after the first become soft: they are added to the noise as
sources :data:`SOFT_DB` above it, and the first stays exact.

O. L. Frost, "An algorithm for linearly constrained adaptive array processing", Proc. IEEE 60(8), 1972.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import ParameterError, ShapeError
from ...signal.steering import check_direction, far_field
from ...signal.stft import Frames
from ..masks import masker
from ..params import param
from .algebra import LOADING, TINY, Complex, check_covariance, distortionless, solve
from .beamformer import Adaptive, AdaptiveBrain, Brain
from .mvdr import LEAKY

CLOSEST = 1e-3
"""Least eigenvalue of the normalised :math:`C^H R^{-1} C` at which conditions are exact."""
SOFT_DB = 20.0


@dataclass(frozen=True)
class Lcmv(Adaptive):
    """LCMV beamformer, streaming: one direction kept, others nulled, the rest of the noise as low as it goes."""

    name: ClassVar[str] = "lcmv"

    nulls_deg: str = param("", "azimuths to be silenced, separated by commas")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nulls  # noqa: B018 - raises now when they are no directions

    @property
    def nulls(self) -> tuple[float, ...]:
        """The azimuths."""
        found = []
        for text in filter(None, (part.strip() for part in self.nulls_deg.split(","))):
            try:
                found.append(check_direction(float(text))[0])
            except ValueError:
                raise ParameterError(f"nulls_deg = {self.nulls_deg!r}: {text!r} is no azimuth in degrees") from None
        return tuple(found)

    def begin(self, frames: Frames, channels: int) -> Brain:
        """The brain that learns, with the steering vectors of all conditions side by side.

        Raises:
            ParameterError: more conditions than microphones.
        """
        if 1 + len(self.nulls) > channels:
            count = len(self.nulls)
            raise ParameterError(f"{count} nulls and a voice need {1 + count} microphones, there are {channels}")
        array = self.geometry(channels)
        away = [far_field(array, frames.frequencies, a, reference=self.reference) for a in self.nulls]
        stacked = np.stack((self.steering(frames, channels), *away), axis=-1)
        source = masker(self.masks, self.spec, frames.sample_rate, channels)
        return AdaptiveBrain(self, frames, channels, source, stacked)

    def solve(self, speech: Complex, noise: Complex, steering: Complex | None) -> Complex:
        """:func:`lcmv` with responses 1, 0, 0, ..."""
        assert steering is not None  # begin makes it
        responses = [1.0, *([0.0] * len(self.nulls))]
        return lcmv(noise, steering.transpose(2, 0, 1), responses, max(self.loading, LEAKY))


def lcmv(noise: Complex, steering: Complex, responses: Sequence[float], loading: float = LOADING) -> Complex:
    """Weights ``(bins, M)`` with :math:`w^H c_i = f_i`.

    Args:
        noise: ``(bins, M, M)``.
        steering: ``(conditions, bins, M)``; the first is the voice.
        responses: one for each condition; the first must not be 0.
        loading: see :mod:`.algebra`.

    Raises:
        ParameterError: more conditions than microphones, or nothing to keep.
        ShapeError: steering that does not fit.
    """
    bins, size, _ = check_covariance(noise, "noise").shape
    wanted = np.asarray(responses, float)
    if steering.ndim != 3 or steering.shape[1:] != (bins, size) or wanted.shape != (steering.shape[0],):
        raise ShapeError(
            f"steering must be (conditions, bins, microphones) = ({wanted.size}, {bins}, {size}), got {steering.shape}"
        )
    if wanted.size > size:
        raise ParameterError(f"{wanted.size} conditions need as many microphones, there are {size}")
    if not wanted.size or wanted[0] == 0.0 or not np.isfinite(wanted).all():
        raise ParameterError(f"responses = {list(responses)}; the first is that of the voice and cannot be 0")
    columns = steering.transpose(1, 2, 0)
    heard = np.trace(noise, axis1=1, axis2=2).real > TINY
    matrix = np.where(heard[:, np.newaxis, np.newaxis], noise, np.eye(size))
    filtered = solve(matrix, columns, loading)
    gram = columns.conj().transpose(0, 2, 1) @ filtered
    own = np.sqrt(np.maximum(np.einsum("kii->ki", gram).real, TINY))
    unit = gram / (own[:, :, np.newaxis] * own[:, np.newaxis, :])
    exact = np.linalg.eigvalsh(0.5 * (unit + unit.conj().transpose(0, 2, 1)))[:, 0] > CLOSEST
    safe = np.where(exact[:, np.newaxis, np.newaxis], unit, np.eye(wanted.size))
    inner = np.linalg.solve(safe, (wanted / own)[..., np.newaxis]) / own[..., np.newaxis]
    weights = (filtered @ inner)[..., 0]
    if exact.all():
        return weights
    power = np.trace(matrix, axis1=1, axis2=2).real / size
    away = columns[:, :, 1:] * (wanted[1:] == 0.0)
    rough = matrix + 10 ** (SOFT_DB / 10) * power[:, np.newaxis, np.newaxis] * away @ away.conj().transpose(0, 2, 1)
    soft = wanted[0] * distortionless(solve(rough, columns[:, :, 0], loading), columns[:, :, 0])
    out: Complex = np.where(exact[:, np.newaxis], weights, soft)
    return out
