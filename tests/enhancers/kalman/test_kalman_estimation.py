"""AR models from noisy power spectra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from scipy.signal import freqz

from unmuffle.enhancers.kalman import estimation, recursion

A = np.array([1.6, -1.1, 0.4, -0.2])


def spectrum(a, variance, bins=257):
    _, h = freqz(1.0, np.concatenate(([1.0], -np.asarray(a))), worN=np.linspace(0, np.pi, bins))
    return variance * np.abs(h) ** 2


def fit(power, noise, p=4, q=2, inertia=0.9, least=0.01):
    hops, bins = power.shape
    a, b = np.zeros((hops, p)), np.zeros((hops, q))
    speech, excitation, level = np.zeros((3, hops))
    table = estimation.cosines(bins, max(p, q))
    estimation.fit(power, noise, np.zeros(bins), table, p, q, inertia, least, a, speech, b, excitation, level)
    return a, speech, b, excitation, level


def test_cosines_are_the_inverse_transform(rng):
    power = rng.random(129)
    np.testing.assert_allclose(estimation.cosines(129, 12) @ power, np.fft.irfft(power)[:13], atol=1e-14)


@pytest.mark.parametrize("order", [1, 2, 5, 12])
def test_levinson_solves_the_toeplitz_system(rng, order):
    r = np.correlate(x := rng.standard_normal(200), x, "full")[199 : 200 + order]
    r[0] *= 1.01
    r = np.append(r, 0.3)[: order + 1]
    a = np.zeros(order + 2)
    left = estimation.levinson(r, order, a)
    np.testing.assert_allclose(a[:order], solve_toeplitz(r[:order], r[1:]), atol=1e-10)
    assert left == pytest.approx(r[0] - a[:order] @ r[1:])
    assert not a[order:].any()


def test_levinson_survives_silence_and_perfect_prediction():
    a = np.zeros(3)
    assert estimation.levinson(np.zeros(4), 3, a) == 0.0
    assert not a.any()
    assert estimation.levinson(np.ones(4), 3, a) >= 0.0  # a constant
    assert np.isfinite(a).all()


def test_loud_speech_gives_its_own_model_and_the_noise_its():
    power, noise = spectrum(A, 0.5)[None], spectrum([0.5, -0.3], 1e-9)[None]
    a, speech, b, excitation, level = fit(power, noise)
    np.testing.assert_allclose(a[0], A, atol=1e-4)
    assert speech[0] == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(b[0], [0.5, -0.3], atol=1e-6)
    assert excitation[0] == pytest.approx(1e-9, rel=1e-6)
    assert level[0] == pytest.approx(spectrum([0.5, -0.3], 1e-9, 8193)[:-1].mean(), rel=1e-3)


def test_noise_is_not_taken_for_speech(rng):
    """In noise alone the a-priori SNR falls towards its floor: at least 10 dB below the noise."""
    chance = rng.exponential(1.0, (300, 257))
    _, speech, *_ = fit(chance, np.ones_like(chance), inertia=0.95)
    assert np.mean(speech[50:]) < 0.1


def test_speech_shows_through_noise(rng):
    """Where it is 10 dB above the noise, the mean spectrum of the models is that of the speech."""
    true = spectrum(A, 5.0)
    a, speech, *_ = fit((true + 1) * rng.exponential(1.0, (300, 257)), np.ones((300, 257)), p=8, inertia=0.95)
    found = np.mean([spectrum(*model) for model in zip(a[50:], speech[50:], strict=True)], axis=0)
    above = true > 10
    assert above.sum() > 30
    # Models of single frames are sharper and blunter than the truth; their mean is within 2 dB of it.
    assert np.abs(10 * np.log10(found[above] / true[above])).max() < 2.0


def test_re_estimation_finds_the_model_under_known_noise(rng):
    """Expectation maximisation from a wrong start: what the noisy signal itself suggests."""
    n, white = 20_000, 1.0
    s = np.zeros(n)
    w = rng.standard_normal(n)
    for t in range(2, n):
        s[t] = 1.5 * s[t - 1] - 0.8 * s[t - 2] + w[t]
    y = s + np.sqrt(white) * rng.standard_normal(n)
    r = np.array([np.dot(y[k:], y[: n - k]) / n for k in range(3)])
    a = np.zeros(3)
    speech = estimation.levinson(r, 2, a)
    start, p = np.abs(a[:2] - [1.5, -0.8]).max(), 3
    for _ in range(30):
        out, moments = np.empty((1, n)), np.zeros((2, p))
        root = np.eye(p + 2)
        recursion.run_linear(
            *(y[None], out, p, 0, p - 1, a[None], np.zeros((1, 0)), np.array([speech]), np.zeros(1)),
            *(np.array([white]), 0, np.zeros(p + 2), root, np.zeros(p + 2), np.zeros(0), np.zeros((0, p))),
            *(np.zeros(1, np.int64), np.zeros(5), moments),
        )
        speech = estimation.refit(out[0, p - 1 :], np.ones(n - p + 1), moments, 2, a)
    # Standard error of AR coefficients from 20000 samples: about sqrt((1 - 0.64) / 20000) = 0.004,
    # a few times more under noise; smoothing by 2 samples only leaves a small bias.
    assert start > 0.1
    assert np.abs(a[:2] - [1.5, -0.8]).max() < 0.03
    assert speech == pytest.approx(1.0, abs=0.1)
