"""Spatial covariance matrices, one per frequency bin.

For a microphone array with short-time spectra ``x(l, k)`` (a vector over the channels)

    batch       R(k)    = sum_l w(l, k) x x^H / sum_l w(l, k)
    recursive   R(l, k) = alpha R(l-1, k) + (1 - alpha) w(l, k) x x^H

with w a mask (1 without one). Spectra are complex ``(channels, frames, bins)``; matrices come as
``(bins, channels, channels)``, ready for `numpy.linalg`. They are Hermitian and positive
semi-definite by construction, of rank one after one frame: `load_diagonal` makes them invertible.

The time constant of the recursion is ``tau = -hop / ln(alpha)``; short ones follow moving talkers,
long ones give steadier beams.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError, ShapeError

_Complex = NDArray[np.complexfloating[Any, Any]]
_Float = NDArray[np.floating[Any]]


def spatial_covariance(spectra: _Complex, mask: _Float | None = None) -> _Complex:
    """Mean of ``x x^H`` over the frames: ``(bins, channels, channels)``.

    ``mask`` is ``(frames, bins)`` of weights >= 0. A bin without any weight has a zero matrix.
    """
    x = _checked(spectra, mask)
    weighted = x if mask is None else x * mask
    # (bins, channels, frames) @ (bins, frames, channels) runs as one batched matrix product.
    total = weighted.transpose(2, 0, 1) @ x.transpose(2, 1, 0).conj()
    weight = np.full(x.shape[2], x.shape[1], float) if mask is None else mask.sum(axis=0)
    covariance: _Complex = total / np.where(weight > 0, weight, 1.0).astype(x.real.dtype)[:, None, None]
    return covariance


def recursive_covariance(
    spectra: _Complex, state: _Complex, forgetting: float, mask: _Float | None = None
) -> tuple[_Complex, _Complex]:
    """Advance ``state`` (bins, channels, channels) through the frames.

    Returns every frame's matrix ``(frames, bins, channels, channels)`` and the last one as the new
    state; the state given is not changed. Frame by frame or all at once is the same arithmetic.
    """
    x = _checked(spectra, mask)
    channels, frames, bins = x.shape
    if not 0.0 <= forgetting < 1.0:
        raise ParameterError(f"forgetting must lie in [0, 1), got {forgetting}")
    if state.shape != (bins, channels, channels):
        raise ShapeError(f"state must be {(bins, channels, channels)}, got {state.shape}")
    history = np.empty((frames, bins, channels, channels), dtype=np.result_type(x, state))
    for l in range(frames):
        now = x[:, l, :].T  # (bins, channels)
        weight = 1.0 - forgetting if mask is None else (1.0 - forgetting) * mask[l, :, None]
        state = forgetting * state + (weight * now)[:, :, None] * now[:, None, :].conj()
        history[l] = state
    return history, state


def load_diagonal(covariance: _Complex, loading: float = 1e-3, floor: float = 1e-12) -> _Complex:
    """Add ``loading`` times the mean channel power, and at least ``floor``, to the diagonal.

    As if the microphones had that much noise of their own: the condition number becomes at most
    ``channels / loading + 1``. More loading: a beamformer that forgives wrong positions and gain
    errors, and suppresses less.
    """
    if loading < 0.0 or floor < 0.0:
        raise ParameterError(f"loading and floor must not be negative, got {loading} and {floor}")
    channels = covariance.shape[-1]
    mean_power = np.trace(covariance, axis1=-2, axis2=-1).real / channels
    amount = loading * mean_power + floor
    identity = np.eye(channels, dtype=covariance.real.dtype)
    loaded: _Complex = covariance + amount[..., None, None].astype(identity.dtype) * identity
    return loaded


def _checked(spectra: _Complex, mask: _Float | None) -> _Complex:
    if spectra.ndim != 3 or not np.iscomplexobj(spectra):
        raise ShapeError(
            f"spectra must be complex (channels, frames, bins), got {spectra.dtype} {spectra.shape}"
        )
    if mask is not None and mask.shape != spectra.shape[1:]:
        raise ShapeError(f"mask must be (frames, bins) = {spectra.shape[1:]}, got {mask.shape}")
    return spectra
