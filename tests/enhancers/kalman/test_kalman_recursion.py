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


@pytest.mark.parametrize("b", [(), B], ids=["white", "coloured"])
def test_smoothing_gains_what_theory_predicts(rng, b):
    """The error of a fixed-lag smoother is an entry of the covariance of the long state."""
    args = (A, b, 0.3, 0.8, 1.0 if not len(b) else 1e-3)
    n = 60_000
    s = simulate(rng, A, np.sqrt(0.3), n)
    v = simulate(rng, b, np.sqrt(0.8), n) if len(b) else 0.0
    y = (s + v + np.sqrt(args[4]) * rng.standard_normal(n)).reshape(60, 1000)
    errors = {}
    for lag in (0, 3, 8):
        out, _ = linear(y, *args, lag=lag)
        deep = max(len(A), lag + 1)
        theory = reference(np.zeros(300), *args, lag, deep)[3][-1]
        errors[lag] = np.mean((out.ravel()[1000 + lag :] - s[1000 : n - lag]) ** 2)
        # The mean of 59000 correlated squares scatters by about sqrt(2 * 10 / 59000) = 2 %.
        assert errors[lag] == pytest.approx(theory, rel=0.05)
    assert errors[0] > errors[3] > errors[8]


def test_the_covariance_stays_positive_definite_under_stress(rng):
    """Poles at 0.99999, jumps of 200 dB in all variances, a measurement almost without noise."""
    p, q, hops, hop = 10, 4, 400, 80
    a, b = np.zeros((hops, p)), np.zeros((hops, q))
    for l in range(hops):
        pole = 0.99999 * np.exp(1j * rng.uniform(0.01, 3.1, p // 2))
        a[l] = -np.poly(np.concatenate((pole, pole.conj()))).real[1:]
        pole = 0.9999 * np.exp(1j * rng.uniform(0.01, 3.1, q // 2))
        b[l] = -np.poly(np.concatenate((pole, pole.conj()))).real[1:]
    speech, noise, white = 10.0 ** rng.uniform(-18, 2, (3, hops))
    white *= 1e-6
    y = rng.standard_normal((hops, hop)) * 10 ** rng.uniform(-9, 0.5, (hops, 1))
    n = p + q
    root, mean, out = np.zeros((n + 2, n + 2)), np.zeros(n + 2), np.empty_like(y)
    for l in range(hops):
        part = slice(l, l + 1)
        recursion.run_linear(
            *(y[part], out[part], p, q, p - 1, a[part], b[part], speech[part], noise[part], white[part]),
            *(0, mean, root, np.zeros(n + 2), np.zeros(0), np.zeros((0, n)), np.zeros(1, np.int64)),
            *(np.zeros(5), np.zeros((0, p))),
        )
        cov = recursion.covariance(root, n)
        assert np.isfinite(cov).all()
        assert (np.diag(root)[:n] >= 0).all()
        # Formed as S S^T, no eigenvalue can lie below zero by more than rounding of the largest.
        assert np.linalg.eigvalsh(cov).min() >= -1e-14 * np.trace(cov)
    assert np.isfinite(out).all()
    # A measurement almost without noise says what speech and noise are together.
    assert abs(mean[n - 1] + mean[n - 2] - y[-1, -1]) < 1e-3 * max(1.0, np.abs(y[-1]).max())


def test_a_frozen_gain_is_the_settled_one(rng):
    y = rng.standard_normal((20, 200))
    args = (A, B, 0.3, 0.8, 0.05)
    full, _ = linear(y, *args, lag=3)
    frozen, _ = linear(y, *args, lag=3, settle=60)
    never, _ = linear(y, *args, lag=3, settle=200)
    assert np.array_equal(full, never)
    assert np.max(np.abs(frozen[2:] - full[2:])) < 1e-6  # settled at a rate of the largest pole, 0.6^60


# -- variational Bayes -----------------------------------------------------------------------------


def textbook_vb(y, a, speech, keep, start, rounds):
    """Särkkä & Nummenmaa 2009, algorithm 1, with white noise, all matrices written out."""
    p = len(a)
    f, h, g = companion(a, p), np.eye(p)[0], np.zeros((p, p))
    g[0, 0] = speech
    m, cov = np.zeros(p), np.eye(p)
    alpha, beta = start
    out, found = [], []
    for value in y.ravel():
        mp, pp = f @ m, f @ cov @ f.T + g
        alpha = keep * alpha + 0.5
        prior = beta = keep * beta
        for _ in range(rounds):
            r = beta / alpha
            k = pp @ h / (h @ pp @ h + r)
            m = mp + k * (value - h @ mp)
            cov = pp - np.outer(k, h @ pp)
            beta = prior + 0.5 * (value - h @ m) ** 2 + 0.5 * h @ cov @ h
        r = beta / alpha
        k = pp @ h / (h @ pp @ h + r)
        m = mp + k * (value - h @ mp)
        cov = pp - np.outer(k, h @ pp)
        out.append(m[0])
        found.append(r)
    return np.array(out), np.array(found)


def belief(keep, variance, pull=0.0):
    shape = 0.5 / (1 - keep)
    return np.array([shape, shape * variance, keep, pull, 0.0])


def test_variational_bayes_equals_the_textbook(rng):
    y = rng.standard_normal((5, 60))
    start = belief(0.98, 0.3)
    out, _ = linear(y, A, [], 0.3, 0.0, 0.0, belief=start)
    expected, found = textbook_vb(y, A, 0.3, 0.98, (25.0, 7.5), rounds=4)
    assert np.max(np.abs(out.ravel() - expected)) < 1e-8
    assert start[4] == pytest.approx(found[-1], rel=1e-8)


@pytest.mark.parametrize("b", [(), (0.7,)], ids=["white", "coloured"])
def test_variational_bayes_follows_a_step_of_the_noise(rng, b):
    """10 dB more noise at sample 8000; memory of 800 samples, so 1/e of the way is left after 800."""
    keep, n = np.exp(-1 / 800), 16_000
    s = simulate(rng, [1.8, -0.95], 0.3, n)
    deviation = np.where(np.arange(n) < n // 2, 1.0, np.sqrt(10.0))
    v = deviation * rng.standard_normal(n)
    if len(b):
        for t in range(1, n):
            v[t] += b[0] * v[t - 1]
    y = (s + v).reshape(-1, 80)
    state, now, track = None, belief(keep, 1.0), []
    for row in y:
        _, state = linear(row[None], [1.8, -0.95], b, 0.09, 1.0, 1e-6, belief=now, state=state)
        track.append(now[4])
    db = 10 * np.log10(track)
    # 1600 effective samples of a chi-square: standard deviation 10 log10(e) sqrt(2 / 1600) = 0.15 dB,
    # somewhat more because the speech hides a part; 1 dB is far outside.
    assert abs(np.mean(db[50:100])) < 1.0
    assert abs(np.mean(db[150:]) - 10.0) < 1.0
    # 9.0 dB (within 1 dB of the new level) is due when 1 - 0.9 exp(-t / 800) = 0.79, after 1160 samples.
    reached = 80 * (np.argmax(db[100:] > 9.0) + 1)
    assert 500 < reached < 2000


def test_a_pulled_belief_stays_near_its_anchor(rng):
    now = belief(0.999, 1.0, pull=0.5 * 1e6)
    linear(3.0 * rng.standard_normal((20, 100)), A, [], 0.3, 0.0, 1.0, belief=now)
    assert now[4] == pytest.approx(1.0, rel=1e-4)


# -- joint estimation ------------------------------------------------------------------------------


def joint(y, p, b, unscented, speech, noise, white, walk, drawn=None, doubt=np.inf, start=1.0, lag=0):
    q, hops = len(b), len(y)
    n = 2 * p + q
    mean, root = np.zeros(n + 2), np.zeros((n + 2, n + 2))
    root[range(n), range(n)] = start
    out, path, clock = np.empty_like(y), [], np.zeros(1, np.int64)
    drawn = np.zeros((hops, p)) if drawn is None else drawn
    for l in range(hops):
        recursion.run_joint(
            *(y[l : l + 1], out[l : l + 1], p, q, lag, unscented, drawn[l : l + 1], np.full((1, p), doubt)),
            *(walk, np.array(b, float).reshape(1, q), np.array([speech]), np.array([noise])),
            *(np.array([white]), mean, root, clock),
        )
        path.append(mean[:p].copy())
    return out, np.array(path), mean, recursion.covariance(root, n)


def textbook_joint(y, p, b, unscented, speech, noise, white, walk, drawn, doubt, start, lag):
    """EKF (Jacobian) or UKF (sigma points of the whole state, kappa = 0), all matrices written out."""
    q = len(b)
    n = 2 * p + q
    at_s = [recursion.speech_at(i, p, p, q) for i in range(p)]
    at_v = [recursion.noise_at(i, p, p, q) for i in range(q)]
    h = np.zeros(n)
    h[at_s[0]] = 1.0
    g = np.zeros((n, n))
    g[at_s[0], at_s[0]] = speech
    if q:
        h[at_v[0]] = 1.0
        g[at_v[0], at_v[0]] = noise

    def step(x):
        new = x.copy()
        new[at_s[1:]], new[at_s[0]] = x[at_s[:-1]], x[:p] @ x[at_s]
        if q:
            new[at_v[1:]], new[at_v[0]] = x[at_v[:-1]], b @ x[at_v]
        return new

    def update(m, cov, h, value, r):
        k = cov @ h / (h @ cov @ h + r)
        keep = np.eye(n) - np.outer(k, h)
        return m + k * (value - h @ m), keep @ cov @ keep.T + r * np.outer(k, k)

    m, cov, turn, out = np.zeros(n), start**2 * np.eye(n), 0, []
    for l, row in enumerate(y):
        for i in range(p):
            if np.isfinite(doubt):
                m, cov = update(m, cov, np.eye(n)[i], drawn[l, i], doubt)
        for value in row:
            cov[turn, turn] += p * walk
            turn = (turn + 1) % p
            if unscented:
                points = np.sqrt(n) * np.linalg.cholesky(cov).T
                landed = np.array([step(m + d) for d in (*points, *-points)])
                m = landed.mean(axis=0)
                cov = (landed - m).T @ (landed - m) / (2 * n) + g
            else:
                jacobian = np.array([step(np.eye(n)[j]) for j in range(n)]).T
                jacobian[at_s[0], :p], jacobian[at_s[0], at_s] = m[at_s], m[:p]
                m, cov = step(m), jacobian @ cov @ jacobian.T + g
            m, cov = update(m, cov, h, value, white)
            out.append(m[at_s[lag]])
    return np.array(out).reshape(y.shape), m, cov


@pytest.mark.parametrize("unscented", [False, True], ids=["ekf", "ukf"])
@pytest.mark.parametrize("b", [(), (0.5, -0.3)], ids=["white", "coloured"])
@pytest.mark.parametrize("doubt", [0.04, np.inf])
def test_the_joint_filters_equal_plain_matrices(rng, unscented, b, doubt):
    y, drawn = rng.standard_normal((5, 20)), 0.2 * rng.standard_normal((5, 3))
    args = (3, b, unscented, 0.3, 0.5, 0.05, 1e-4, drawn, doubt, 0.5, 2)
    out, _, mean, cov = joint(y, *args)
    expected, m, p = textbook_joint(y, *args)
    assert np.max(np.abs(out - expected)) < 1e-8
    assert np.max(np.abs(mean[: len(m)] - m)) < 1e-8
    assert np.max(np.abs(cov - p)) < 1e-8


@pytest.mark.parametrize("unscented", [False, True], ids=["ekf", "ukf"])
def test_the_joint_filters_track_moving_coefficients(rng, unscented):
    """A resonance that glides from 0.2 pi to 0.5 pi within 20000 samples, at about 20 dB SNR."""
    n, radius = 20_000, 0.97
    angle = np.pi * np.linspace(0.2, 0.5, n)
    truth = np.stack([2 * radius * np.cos(angle), np.full(n, -(radius**2))], axis=1)
    s = np.zeros(n)
    w = rng.standard_normal(n)
    for t in range(2, n):
        s[t] = truth[t, 0] * s[t - 1] + truth[t, 1] * s[t - 2] + w[t]
    white = np.var(s) / 100
    y = (s + np.sqrt(white) * rng.standard_normal(n)).reshape(-1, 100)
    _, path, _, _ = joint(y, 2, (), unscented, 1.0, 0.0, white, 2e-6)
    error = path - truth[99::100]
    # The coefficient moves by 1.57 in all (a constant would be off by 0.45 rms). The walk of 2e-6 per
    # sample and the information of a sample, s^2 / (w + r) of some 10, balance at an rms error of 0.02.
    assert np.sqrt(np.mean(error[20:] ** 2)) < 0.05
    assert np.abs(error[20:]).max() < 0.2


# -- sub-bands -------------------------------------------------------------------------------------


def bands(y, level, p, lag=0, ratio=None, keep=0.8, caution=0.5, inertia=0.9, least=0.01):
    out, count = np.empty_like(y), y.shape[1]
    ratio = np.eye(1, p + 1)[0] if ratio is None else ratio
    past, corr = np.zeros((2, count, p + 1), complex)
    mean, root = np.zeros((count, p), complex), np.zeros((count, p + 1, p + 1), complex)
    recursion.run_bands(y, out, level, p, lag, ratio, keep, caution, inertia, least, past, corr, mean, root)
    return out


@pytest.mark.parametrize(("p", "lag"), [(1, 0), (2, 0), (2, 1), (3, 2)])
def test_the_band_filter_equals_plain_matrices(rng, p, lag):
    y = rng.standard_normal((80, 3)) + 1j * rng.standard_normal((80, 3))
    y += 3 * np.exp(0.4j * np.arange(80))[:, None]  # a tone, so that there is something to predict
    level, ratio = np.full(y.shape, 0.7), np.array([1.0, 0.5, 0.1, 0.0])[: p + 1]
    out = bands(y, level, p, lag, ratio)
    expected = np.empty_like(out)
    for f in range(3):
        m, cov = np.zeros(p, complex), np.zeros((p, p), complex)  # newest first
        corr, padded = np.zeros(p + 1, complex), np.concatenate((np.zeros(p), y[:, f]))
        for l in range(80):
            now = y[l, f] * padded[l : l + p + 1][::-1].conj()
            corr = 0.8 * corr + 0.2 * (now - 0.7 * ratio)
            r = corr.copy()
            r[0] = max(corr[0].real, 0.0) + 0.5 * 0.7
            a, share = np.zeros(0, complex), 1.0
            for i in range(p):  # Levinson with limited reflections
                k = (r[i + 1] - a @ r[i:0:-1]) / (r[0].real * share)
                k *= min(1.0, 0.995 / abs(k))
                a = np.append(a - k * a[::-1].conj(), k)
                share *= 1 - abs(k) ** 2
            power = max(0.9 * abs(m[0]) ** 2 + 0.1 * max(abs(y[l, f]) ** 2 - 0.7, 0.0), 0.007)
            step = np.eye(p, k=-1, dtype=complex)
            step[0] = a
            m, cov = step @ m, step @ cov @ step.conj().T
            cov[0, 0] += power * share
            k = cov[:, 0] / (cov[0, 0].real + 0.7)
            m = m + k * (y[l, f] - m[0])
            cov = cov - np.outer(k, cov[0])
            expected[l, f] = m[lag]
    assert np.max(np.abs(out - expected)) < 1e-8


def test_without_prediction_a_band_gets_the_wiener_gain(rng):
    y = rng.standard_normal((50, 4)) + 1j * rng.standard_normal((50, 4))
    out = bands(y, np.full(y.shape, 0.7), 1, caution=1e12)
    last = np.zeros(4)
    for l in range(50):
        xi = np.maximum(0.9 * last / 0.7 + 0.1 * np.maximum(np.abs(y[l]) ** 2 / 0.7 - 1, 0), 0.01)
        np.testing.assert_allclose(out[l], xi / (1 + xi) * y[l], rtol=1e-9)
        last = np.abs(out[l]) ** 2


def test_a_steady_partial_gains_from_prediction(rng):
    """At 0 dB the Wiener gain leaves half of the noise of a tone; averaging over frames leaves less."""
    tone = np.exp(1j * rng.uniform(0, 6.28, 20))[None] * np.ones((600, 1))
    noise = (rng.standard_normal((600, 20)) + 1j * rng.standard_normal((600, 20))) / np.sqrt(2)
    level = np.ones(tone.shape)
    error = {c: np.mean(np.abs(bands(tone + noise, level, 1, caution=c) - tone)[100:] ** 2) for c in (0.5, 1e12)}
    assert error[0.5] < 0.7 * error[1e12]
