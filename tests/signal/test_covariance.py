"""Spatial covariances against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest

from unmuffle.errors import ParameterError, ShapeError
from unmuffle.signal import covariance


def spectra(rng: np.random.Generator, shape: tuple[int, int, int] = (3, 40, 5)) -> np.ndarray:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_batch_is_the_definition(rng: np.random.Generator) -> None:
    x = spectra(rng)
    mask = rng.uniform(size=(40, 5))
    for weights, given in ((np.ones((40, 5)), None), (mask, mask)):
        expected = np.einsum("ctk,dtk,tk->kcd", x, x.conj(), weights) / weights.sum(0)[:, None, None]
        np.testing.assert_allclose(covariance.spatial_covariance(x, given), expected, atol=1e-12)


def test_hermitian_and_positive(rng: np.random.Generator) -> None:
    r = covariance.spatial_covariance(spectra(rng))
    np.testing.assert_allclose(r, r.conj().swapaxes(-1, -2), atol=1e-14)
    assert np.linalg.eigvalsh(r).min() > 0


def test_a_plane_wave_has_rank_one(rng: np.random.Generator) -> None:
    steering = np.exp(1j * np.outer([0.0, 0.7, 1.4], np.arange(5)))  # (channels, bins)
    x = steering[:, None, :] * spectra(rng, (1, 40, 5))
    values = np.linalg.eigvalsh(covariance.spatial_covariance(x))
    assert (values[:, -1] > 1.0).all()
    assert np.abs(values[:, :-1]).max() < 1e-12


def test_empty_mask_gives_zero(rng: np.random.Generator) -> None:
    r = covariance.spatial_covariance(spectra(rng), np.zeros((40, 5)))
    np.testing.assert_array_equal(r, 0.0)


def test_recursion_in_closed_form(rng: np.random.Generator) -> None:
    x = spectra(rng)
    start = covariance.spatial_covariance(x)
    copy = start.copy()
    history, last = covariance.recursive_covariance(x, start, 0.9)
    weights = 0.1 * 0.9 ** np.arange(39, -1, -1)
    expected = 0.9**40 * start + np.einsum("ctk,dtk,t->kcd", x, x.conj(), weights)
    np.testing.assert_allclose(last, expected, atol=1e-12)
    np.testing.assert_array_equal(history[-1], last)
    np.testing.assert_array_equal(start, copy)


def test_recursion_split_anywhere(rng: np.random.Generator) -> None:
    x = spectra(rng)
    mask = rng.uniform(size=(40, 5))
    zero = np.zeros((5, 3, 3), complex)
    whole, _ = covariance.recursive_covariance(x, zero, 0.8, mask)
    first, state = covariance.recursive_covariance(x[:, :17], zero, 0.8, mask[:17])
    second, _ = covariance.recursive_covariance(x[:, 17:], state, 0.8, mask[17:])
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


def test_recursion_converges_to_the_batch(rng: np.random.Generator) -> None:
    x = spectra(rng, (2, 20000, 1))
    _, last = covariance.recursive_covariance(x, np.zeros((1, 2, 2), complex), 0.999)
    # 1/(1-alpha) = 1000 frames of memory: relative scatter about sqrt(1/2000).
    np.testing.assert_allclose(last, covariance.spatial_covariance(x), atol=0.3)


def test_loading_bounds_the_condition_number(rng: np.random.Generator) -> None:
    one_frame = covariance.spatial_covariance(spectra(rng, (4, 1, 6)))
    assert np.linalg.cond(one_frame).min() > 1e10
    loaded = covariance.load_diagonal(one_frame, 1e-2)
    assert np.linalg.cond(loaded).max() <= 4 / 1e-2 + 1.01
    silent = covariance.load_diagonal(np.zeros((6, 4, 4), complex))
    assert np.isfinite(np.linalg.inv(silent)).all()


def test_single_precision_stays_single(rng: np.random.Generator) -> None:
    x = spectra(rng).astype(np.complex64)
    assert covariance.spatial_covariance(x).dtype == np.complex64
    assert covariance.load_diagonal(covariance.spatial_covariance(x)).dtype == np.complex64
    history, _ = covariance.recursive_covariance(x, np.zeros((5, 3, 3), np.complex64), 0.9)
    assert history.dtype == np.complex64


def test_bad_input(rng: np.random.Generator) -> None:
    x = spectra(rng)
    with pytest.raises(ShapeError):
        covariance.spatial_covariance(x.real)
    with pytest.raises(ShapeError, match=r"frames, bins"):
        covariance.spatial_covariance(x, np.ones((5, 40)))
    with pytest.raises(ShapeError, match="state"):
        covariance.recursive_covariance(x, np.zeros((3, 3, 5), complex), 0.9)
    with pytest.raises(ParameterError):
        covariance.recursive_covariance(x, np.zeros((5, 3, 3), complex), 1.0)
    with pytest.raises(ParameterError):
        covariance.load_diagonal(np.zeros((5, 3, 3), complex), -1.0)
