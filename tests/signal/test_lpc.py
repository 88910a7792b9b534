"""Linear prediction against scipy's Toeplitz solver and processes whose poles are known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.signal

from unmuffle.errors import ParameterError, ShapeError
from unmuffle.signal import lpc

# Two resonances, 500 Hz and 1500 Hz at 8 kHz, of 60 and 100 Hz bandwidth.
POLES = [np.exp(-np.pi * b / 8000 + 2j * np.pi * f / 8000) for f, b in ((500, 60), (1500, 100))]
TRUE_A = np.poly([*POLES, *np.conj(POLES)]).real


def ar_process(rng: np.random.Generator, n: int) -> np.ndarray:
    return scipy.signal.lfilter([1.0], TRUE_A, rng.standard_normal(n + 4000))[4000:]


def test_autocorrelation_is_the_direct_sum(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 200))
    direct = np.stack([np.sum(x[..., : 200 - k] * x[..., k:], axis=-1) / 200 for k in range(17)], axis=-1)
    np.testing.assert_allclose(lpc.autocorrelation(x, 16), direct, atol=1e-12)


def test_levinson_solves_the_toeplitz_system(rng: np.random.Generator) -> None:
    r = lpc.autocorrelation(rng.standard_normal((5, 300)) + np.sin(np.arange(300) * 0.3), 12)
    model = lpc.levinson(r)
    for i in range(5):
        expected = scipy.linalg.solve_toeplitz(r[i, :12], -r[i, 1:])
        np.testing.assert_allclose(model.coefficients[i, 1:], expected, atol=1e-10)
        assert model.error[i] == pytest.approx(r[i] @ model.coefficients[i], rel=1e-10)


@pytest.mark.parametrize("method", ["autocorrelation", "burg"])
def test_known_process_is_found(method: str, rng: np.random.Generator) -> None:
    x = ar_process(rng, 100_000)
    model = lpc.lpc_burg(x, 4) if method == "burg" else lpc.lpc_autocorrelation(x, 4)
    # Standard error of the coefficients is about sqrt((1 - k^2) / n), some 1e-3; five of those.
    np.testing.assert_allclose(model.coefficients, TRUE_A, atol=0.01)
    assert model.error == pytest.approx(1.0, rel=0.02)  # the excitation had unit power


def test_burg_is_sharper_on_short_frames(rng: np.random.Generator) -> None:
    x = ar_process(rng, 160 * 200).reshape(200, 160)
    windowed = x * np.hanning(160)
    burg = np.sqrt(np.mean((lpc.lpc_burg(x, 4).coefficients - TRUE_A) ** 2))
    auto = np.sqrt(np.mean((lpc.lpc_autocorrelation(windowed, 4).coefficients - TRUE_A) ** 2))
    assert burg < auto


def test_residual_of_the_model_is_white(rng: np.random.Generator) -> None:
    x = ar_process(rng, 20_000)
    residual = scipy.signal.lfilter(lpc.lpc_burg(x, 4).coefficients, [1.0], x)[10:]
    r = lpc.autocorrelation(residual, 20)
    assert np.max(np.abs(r[1:] / r[0])) < 5 / np.sqrt(20_000)


def test_reflection_round_trip(rng: np.random.Generator) -> None:
    k = rng.uniform(-0.95, 0.95, (50, 10))
    np.testing.assert_allclose(lpc.lpc_to_reflection(lpc.reflection_to_lpc(k)), k, atol=1e-6)


def test_levinson_and_burg_report_their_reflection(rng: np.random.Generator) -> None:
    x = ar_process(rng, 4000).reshape(10, 400)
    for model in (lpc.lpc_autocorrelation(x, 8), lpc.lpc_burg(x, 8)):
        np.testing.assert_allclose(lpc.reflection_to_lpc(model.reflection), model.coefficients, atol=1e-10)
        assert lpc.is_stable(model.coefficients).all()


def test_stability_agrees_with_the_roots(rng: np.random.Generator) -> None:
    a = np.concatenate([np.ones((300, 1)), rng.uniform(-1, 1, (300, 5))], axis=1)
    by_roots = [np.max(np.abs(np.roots(row))) < 1.0 for row in a]
    assert 10 < np.sum(by_roots) < 290
    np.testing.assert_array_equal(lpc.is_stable(a), by_roots)


@pytest.mark.parametrize("kind", ["silence", "dc", "sine", "impulse", "tiny"])
def test_degenerate_frames(kind: str) -> None:
    n = np.arange(320)
    frame = {
        "silence": np.zeros(320),
        "dc": np.full(320, 0.5),
        "sine": np.sin(0.2 * n),
        "impulse": (n == 100) * 1.0,
        "tiny": np.sin(0.2 * n) * 1e-150,
    }[kind]
    for model in (lpc.lpc_autocorrelation(frame, 16, sample_rate=16000), lpc.lpc_burg(frame, 16)):
        assert all(np.isfinite(part).all() for part in model)
        assert lpc.is_stable(model.coefficients)
        assert (np.abs(model.reflection) < 1.0).all()
    if kind == "silence":
        np.testing.assert_array_equal(model.coefficients, [1.0] + [0.0] * 16)
        assert model.error == 0.0


def test_batched_equals_one_by_one(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 6, 256))
    for method in (lpc.lpc_autocorrelation, lpc.lpc_burg):
        batch = method(x, 10)
        single = method(x[1, 3], 10)
        np.testing.assert_allclose(batch.coefficients[1, 3], single.coefficients, atol=1e-12)
        assert batch.error[1, 3] == pytest.approx(single.error)


def test_envelope_is_the_spectrum_of_the_process(rng: np.random.Generator) -> None:
    envelope = lpc.lpc_envelope(TRUE_A, 1.0, 512)
    _, h = scipy.signal.freqz([1.0], TRUE_A, worN=np.arange(257) * 2 * np.pi / 512)
    np.testing.assert_allclose(envelope, np.abs(h) ** 2, rtol=1e-9)
    # Parseval: its mean over the circle is the power of the process.
    whole_circle = lpc.lpc_envelope(TRUE_A, 1.0, 8192)
    mean = (2 * whole_circle.sum() - whole_circle[0] - whole_circle[-1]) / 8192
    assert mean == pytest.approx(np.mean(ar_process(rng, 400_000) ** 2), rel=0.05)


def test_lag_window_turns_a_line_into_a_gaussian() -> None:
    # A line has r_k = cos(w k); windowed lags transform to a Gaussian about it with a standard
    # deviation of B: exp(-1/2) of the peak B Hz away, and no negative power anywhere.
    lags, b = 2000, 40.0
    r = np.cos(2 * np.pi * 1000 * np.arange(lags + 1) / 8000) * lpc.lag_window(lags, 8000, b)
    density = np.fft.rfft(np.concatenate([r, r[-1:0:-1]])).real  # two-sided lags, 8000/4001 Hz apart
    f = np.arange(density.size) * 8000 / (2 * lags + 1)
    at_b = np.interp([1000 - b, 1000 + b], f, density) / np.interp(1000, f, density)
    np.testing.assert_allclose(at_b, np.exp(-0.5), rtol=0.01)
    assert density.min() > -1e-6 * density.max()


def test_bad_parameters() -> None:
    with pytest.raises(ShapeError, match="more than 16"):
        lpc.lpc_burg(np.zeros(16), 16)
    with pytest.raises(ParameterError):
        lpc.autocorrelation(np.zeros(16), -1)
    with pytest.raises(ParameterError, match="begin with 1"):
        lpc.lpc_to_reflection(np.array([2.0, 0.1]))
    with pytest.raises(ParameterError):
        lpc.lpc_envelope(TRUE_A, 1.0, 4)
