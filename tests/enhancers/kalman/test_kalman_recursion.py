"""The compiled recursions against plain matrices, closed forms and scipy's Riccati solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from unmuffle.enhancers.kalman import recursion

A = np.array([1.6, -1.1, 0.4, -0.2])  # a stable AR(4), poles at 0.83 and 0.54
B = np.array([0.5, -0.3])


def simulate(rng, a, deviation, n, warm=500):
    s = np.zeros(n + warm)
    w = deviation * rng.standard_normal(n + warm)
    for t in range(n + warm):
        for i, c in enumerate(a[:t], 1):
            s[t] += c * s[t - i]
        s[t] += w[t]
    return s[warm:]


def linear(y, a, b, speech, noise, white, lag=0, settle=0, belief=None, state=None, moments=None):
    """Run the compiled filter with constant parameters; returns the output and the state."""
    p, q = len(a), len(b)
    n, late = p + q, max(lag - p + 1, 0)
    if state is None:
        state = {
            "mean": np.zeros(n + 2),
            "root": np.zeros((n + 2, n + 2)),
            "gain": np.zeros(n + 2),
            "late_mean": np.zeros(late),
            "late_cov": np.zeros((late, n)),
            "where": np.zeros(1, np.int64),
        }
        state["root"][range(n), range(n)] = 1.0
    out = np.empty_like(y)
    hops = len(y)
    full = lambda v: np.broadcast_to(np.asarray(v, float), (hops,)).copy()  # noqa: E731
    recursion.run_linear(
        y,
        out,
        p,
        q,
        lag,
        np.tile(np.asarray(a, float), (hops, 1)),
        np.tile(np.asarray(b, float), (hops, 1)),
        full(speech),
        full(noise),
        full(white),
        settle,
        *state.values(),
        np.zeros(5) if belief is None else belief,
        np.zeros((0, p)) if moments is None else moments,
    )
    return out, state


def companion(a, size):
    f = np.zeros((size, size))
    f[0, : len(a)] = a
    f[range(1, size), range(size - 1)] = 1.0
    return f


def block(*parts):
    n = sum(len(p) for p in parts)
    out, at = np.zeros((n, n)), 0
    for part in parts:
        out[at : at + len(part), at : at + len(part)] = part
        at += len(part)
    return out


def reference(y, a, b, speech, noise, white, lag, deep):
    """The textbook filter, all matrices written out, on a state of ``deep`` samples (newest first).

    The compiled filter starts with P = I over p + q samples and knows nothing of older ones, which
    is P = 0 for those.
    """
    p, q = len(a), len(b)
    f = block(companion(a, deep), companion(b, q)) if q else companion(a, deep)
    n = len(f)
    h = np.zeros(n)
    h[0] = 1.0
    g = np.zeros((n, n))
    g[0, 0] = speech
    if q:
        h[deep] = 1.0
        g[deep, deep] = noise
    m, cov = np.zeros(n), np.zeros((n, n))
    cov[range(p), range(p)] = 1.0
    cov[range(deep, n), range(deep, n)] = 1.0
    out, traces = [], []
    for value in y.ravel():
        m, cov = f @ m, f @ cov @ f.T + g
        k = cov @ h / (h @ cov @ h + white)
        m = m + k * (value - h @ m)
        keep = np.eye(n) - np.outer(k, h)
        cov = keep @ cov @ keep.T + white * np.outer(k, k)
        out.append(m[lag])
        traces.append(cov[lag, lag])
    return np.array(out).reshape(y.shape), m, cov, np.array(traces)


@pytest.mark.parametrize("b", [(), (0.7,), B, (0.5, -0.3, 0.1, 0.2)], ids=["white", "AR1", "AR2", "AR4"])
@pytest.mark.parametrize("lag", [0, 2, 3, 4, 11])
def test_the_linear_filter_equals_plain_matrices(rng, b, lag):
    y = rng.standard_normal((6, 50))
    args = (A, b, 0.3, 0.8, 0.05)
    out, state = linear(y, *args, lag=lag)
    deep = max(len(A), lag + 1)
    expected, m, cov, _ = reference(y, *args, lag, deep)
    assert np.max(np.abs(out - expected)) < 1e-8
    p, q = len(A), len(b)
    n = p + q
    places = [recursion.speech_at(i, 0, p, q) for i in range(p)]
    places += [recursion.noise_at(i, 0, p, q) for i in range(q)]
    among = [*range(p), *range(deep, deep + q)]
    found = recursion.covariance(state["root"], n)
    assert np.max(np.abs(found[np.ix_(places, places)] - cov[np.ix_(among, among)])) < 1e-8
    assert np.max(np.abs(state["mean"][places] - m[among])) < 1e-8


@pytest.mark.parametrize("b", [(), B], ids=["white", "coloured"])
def test_the_covariance_settles_on_the_riccati_solution(rng, b):
    """scipy's solution is the covariance *before* a measurement; one update gives the one after."""
    _, state = linear(rng.standard_normal((10, 200)), A, b, 0.3, 0.8, 0.05)
    p, q = len(A), len(b)
    f = block(companion(A, p), companion(b, q)) if q else companion(A, p)
    h, g = np.zeros((p + q, 1)), np.zeros((p + q, p + q))
    h[0], g[0, 0] = 1.0, 0.3
    if q:
        h[p], g[p, p] = 1.0, 0.8
    before = solve_discrete_are(f.T, h, g, np.array([[0.05]]))
    gain = before @ h / (h.T @ before @ h + 0.05)
    after = before - gain @ h.T @ before
    places = [recursion.speech_at(i, 0, p, q) for i in range(p)]
    places += [recursion.noise_at(i, 0, p, q) for i in range(q)]
    found = recursion.covariance(state["root"], p + q)[np.ix_(places, places)]
    assert np.max(np.abs(found - after)) < 1e-8


def test_first_order_in_white_noise_has_its_closed_form(rng):
    """AR(1): the variance before a measurement is the root of M^2 + M (R (1 - a^2) - Q) - Q R = 0."""
    a, speech, white = 0.9, 0.19, 1.0
    half = 0.5 * (white * (1 - a * a) - speech)
    before = -half + np.sqrt(half * half + speech * white)
    _, state = linear(rng.standard_normal((1, 500)), [a], [], speech, 0.0, white)
    assert state["root"][0, 0] ** 2 == pytest.approx(before * white / (before + white), rel=1e-12)
    assert state["gain"][0] == pytest.approx(before / (before + white), rel=1e-12)
