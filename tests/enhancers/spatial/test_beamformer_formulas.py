"""Beamformers against closed forms: what a formula promises, the weights keep."""

import numpy as np
import pytest

from unmuffle.enhancers.spatial import algebra, measures
from unmuffle.enhancers.spatial.delay_and_sum import delay_and_sum
from unmuffle.enhancers.spatial.gev import gev
from unmuffle.enhancers.spatial.gsc import Canceller
from unmuffle.enhancers.spatial.lcmv import lcmv
from unmuffle.enhancers.spatial.mvdr import rank_one, souden, steered
from unmuffle.enhancers.spatial.mwf import mwf, voice_alone
from unmuffle.enhancers.spatial.reference import best_reference
from unmuffle.enhancers.spatial.superdirective import superdirective
from unmuffle.enhancers.spatial.transfer import relative_transfer
from unmuffle.errors import ParameterError, ShapeError
from unmuffle.signal.arrays import circle, line
from unmuffle.signal.steering import diffuse_coherence, far_field, near_field

F = np.linspace(0.0, 8000.0, 65)
ARRAY = circle(4, 0.05)
D = far_field(ARRAY, F, 30.0, reference=0)


def noise(seed=0, size=4, frames=12):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((65, size, frames)) + 1j * rng.standard_normal((65, size, frames))
    return x @ x.conj().transpose(0, 2, 1) / frames


def outer(d):
    return d[:, :, None] * d[:, None, :].conj()


def response(w, d):
    return np.einsum("km,km->k", w.conj(), d)


# -- distortionless ------------------------------------------------------------------------------------


@pytest.mark.parametrize("steering", [D, near_field(ARRAY, F, (0.3, 0.2, 0.1), reference=0)])
def test_every_beam_leaves_the_voice_as_the_reference_hears_it(steering):
    r = noise()
    beams = {
        "delay-and-sum": delay_and_sum(steering),
        "superdirective": superdirective(diffuse_coherence(ARRAY, F), steering),
        "steered": steered(r, steering),
        "souden": souden(outer(steering), r),
        "rank one": rank_one(outer(steering), r),
        "lcmv": lcmv(r, np.stack((steering, far_field(ARRAY, F, 150.0))), [1.0, 0.0]),
    }
    for name, w in beams.items():
        np.testing.assert_allclose(response(w, steering), 1.0, atol=1e-8, err_msg=name)


def test_the_three_forms_of_mvdr_are_one_for_a_voice_of_rank_one():
    r = noise(1)
    w = steered(r, D)
    np.testing.assert_allclose(souden(outer(D), r), w, atol=1e-10)
    np.testing.assert_allclose(rank_one(3.0 * outer(D), r), w, atol=1e-8)


def test_mvdr_has_the_gain_of_its_formula_and_no_weights_have_more():
    r = noise(2)
    w = steered(r, D, 1e-12)
    best = np.einsum("km,km->k", D.conj(), np.linalg.solve(r, D[..., None])[..., 0]).real
    np.testing.assert_allclose(measures.array_gain(w, D, r), best, rtol=1e-6)
    rng = np.random.default_rng(3)
    for _ in range(20):
        other = w + 0.1 * (rng.standard_normal(w.shape) + 1j * rng.standard_normal(w.shape))
        assert np.all(measures.array_gain(other, D, r) <= best * (1 + 1e-9))


def test_max_snr_of_rank_one_is_mvdr_up_to_its_level():
    r = noise(4)
    np.testing.assert_allclose(
        measures.array_gain(gev(outer(D), r, loading=1e-10), D, r),
        measures.array_gain(steered(r, D, 1e-10), D, r),
        rtol=1e-5,
    )


def test_blind_analytic_normalisation_in_white_noise_is_the_matched_filter():
    # g w = d / |d| / sqrt(M): for entries of magnitude 1 that is delay-and-sum.
    white = np.tile(np.eye(4, dtype=complex), (65, 1, 1))
    w = gev(outer(D), white)
    np.testing.assert_allclose(np.abs(response(w, D)), 1.0, atol=1e-9)
    np.testing.assert_allclose(w, delay_and_sum(D), atol=1e-9)
    raw = gev(outer(D), white, normalise=False)
    np.testing.assert_allclose(np.linalg.norm(raw, axis=1), 1.0)


def test_the_wiener_filter_is_mvdr_times_a_wiener_gain():
    r = noise(5)
    for mu in (0.1, 1.0, 10.0):
        w = mwf(outer(D), r, mu, loading=1e-12)
        snr = np.einsum("km,km->k", D.conj(), np.linalg.solve(r, D[..., None])[..., 0]).real
        expected = steered(r, D, 1e-12) * (snr / (mu + snr))[:, None]
        np.testing.assert_allclose(w, expected, atol=1e-6)


def test_the_wiener_filter_of_one_microphone_is_the_wiener_gain():
    s, n = np.full((65, 1, 1), 3.0 + 0j), np.full((65, 1, 1), 1.0 + 0j)
    np.testing.assert_allclose(mwf(s, n, loading=1e-9)[:, 0], 0.75, atol=1e-6)


def test_the_voice_alone_has_no_negative_power():
    r = noise(6)
    values = np.linalg.eigvalsh(voice_alone(outer(D) + 0.5 * r, r))
    assert values.min() > -1e-9
    np.testing.assert_allclose(voice_alone(outer(D) + r, r), outer(D), atol=1e-8)


def test_lcmv_keeps_and_nulls_as_told_where_the_array_can():
    r = noise(7)
    c = np.stack([far_field(ARRAY, F, a, reference=0) for a in (30.0, 150.0, 260.0)])
    w = lcmv(r, c, [1.0, 0.0, 0.0])
    got = np.abs(np.stack([response(w, d) for d in c]))
    np.testing.assert_allclose(got[0], 1.0, atol=1e-8)
    assert np.all(got[1:, (F > 1500) & (F < 4000)] < 1e-6)  # above, directions alias into each other
    assert np.all(np.isfinite(w))
    # Below, nulls are soft, and the microphones' own noise is not lifted beyond measure.
    assert np.all(10 * np.log10(measures.white_noise_gain(w, c[0])) > -40)


def test_conditions_beyond_the_microphones_are_refused():
    two = noise(8, 2)
    c = np.stack([far_field(line(2, 0.05), F, a) for a in (30.0, 90.0, 150.0)])
    with pytest.raises(ParameterError, match="3 conditions"):
        lcmv(two, c, [1.0, 0.0, 0.0])
    with pytest.raises(ParameterError, match="cannot be 0"):
        lcmv(two, c[:1], [0.0])
    with pytest.raises(ShapeError):
        lcmv(noise(8), c, [1.0, 0.0, 0.0])


# -- white noise gain, directivity, pattern --------------------------------------------------------------


def test_delay_and_sum_has_the_largest_white_noise_gain_there_is():
    np.testing.assert_allclose(measures.white_noise_gain(delay_and_sum(D), D), 4.0)


def test_delay_and_sum_of_a_line_has_the_pattern_of_the_closed_form():
    # |sin(M x) / (M sin x)| with x = pi f d (cos a - cos a0) / c.
    array, spacing, c = line(6, 0.04), 0.04, 343.2
    angles = np.arange(0.0, 181.0, 5.0)
    towards = far_field(array, F, 60.0)
    d = np.stack([far_field(array, F, a) for a in angles])
    found = measures.beam_pattern(delay_and_sum(towards), d)
    x = np.pi * F[None] * spacing / c * (np.cos(np.deg2rad(angles)) - 0.5)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.abs(np.sin(6 * x) / (6 * np.sin(x)))
    expected[np.abs(np.sin(x)) < 1e-12] = 1.0
    np.testing.assert_allclose(found, expected, atol=2e-3)  # 2e-3: the speed of sound is rounded here


def test_directivity_of_two_close_microphones_endfire_is_four():
    # M^2 for M close microphones in a line looking along itself: 6.02 dB for two, 9.54 for three.
    for count, spacing in ((2, 0.002), (3, 0.004)):
        array = line(count, spacing)
        f = np.array([1000.0])
        d, gamma = far_field(array, f, 0.0), diffuse_coherence(array, f)
        w = superdirective(gamma, d, -100.0)
        assert measures.directivity_index_db(w, d, gamma)[0] == pytest.approx(20 * np.log10(count), abs=0.1)


def test_superdirective_keeps_its_limit_and_gets_all_that_the_limit_allows():
    gamma = diffuse_coherence(ARRAY, F)
    before = None
    for limit in (-20.0, -10.0, 0.0, 6.0):
        w = superdirective(gamma, D, limit)
        assert np.all(10 * np.log10(measures.white_noise_gain(w, D)) >= limit - 1e-6)
        index = measures.directivity_index_db(w, D, gamma)
        assert before is None or np.all(index <= before + 1e-6)
        before = index
    np.testing.assert_allclose(superdirective(gamma, D, 6.0205), delay_and_sum(D), atol=1e-2)
    with pytest.raises(ParameterError, match=r"6\.0 dB at most"):
        superdirective(gamma, D, 7.0)


def test_weights_of_pyroomacoustics_are_ours():
    pyroomacoustics = pytest.importorskip("pyroomacoustics")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        beam = pyroomacoustics.Beamformer(ARRAY.centred[:, :2].T, 16000, N=128)
        beam.far_field_weights(np.deg2rad(30.0))
    theirs = np.asarray(beam.weights).T  # (frequencies, microphones)
    ours = delay_and_sum(far_field(ARRAY, np.linspace(0, 8000, len(theirs)), 30.0))
    # Theirs are w with y = w^H x as well, up to a common delay and the speed of sound (343 m/s).
    theirs = theirs * (ours[:, :1] / theirs[:, :1]) if np.all(np.abs(theirs[:, :1]) > 0) else theirs
    np.testing.assert_allclose(theirs, ours, atol=5e-3)


# -- learning ----------------------------------------------------------------------------------------------


def test_the_transfer_function_is_found_under_noise():
    r = noise(9, frames=40)
    d = near_field(ARRAY, F, (0.5, 0.3, 0.0), reference=2)
    np.testing.assert_allclose(relative_transfer(5.0 * outer(d) + r, r, 2, 1e-9), d, atol=1e-6)


def test_the_canceller_ends_where_mvdr_is():
    rng = np.random.default_rng(10)
    d = D[20:21]
    r = noise(11)[20:21] / 4 + np.eye(4)
    half = np.linalg.cholesky(r)
    canceller = Canceller(d, 0.02, 0.9)
    state = canceller.begin()
    for _ in range(6000):
        x = half[0] @ (rng.standard_normal(4) + 1j * rng.standard_normal(4)) / np.sqrt(2)
        canceller.step(x[None], np.zeros(1), state)
    w = canceller.weights(state)
    np.testing.assert_allclose(response(w, d), 1.0, atol=1e-9)
    best = measures.array_gain(steered(r, d, 0.0), d, r)
    assert measures.array_gain(w, d, r)[0] > 0.9 * best[0]  # misadjustment of LMS: a few per cent


def test_the_reference_is_the_microphone_with_the_best_ratio_not_the_loudest():
    s = np.tile(np.diag([1.0, 4.0, 1.0, 0.0]).astype(complex), (9, 1, 1))
    n = np.tile(np.diag([1.0, 8.0, 0.5, 0.0]).astype(complex), (9, 1, 1))
    assert best_reference(s, n) == 2
    assert best_reference(0 * s, 0 * n) == 0


# -- singular covariances ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 4, 64])
@pytest.mark.parametrize("kind", ["zero", "ones", "one dead", "tiny", "huge"])
def test_singular_covariances_give_finite_weights(size, kind):
    base = np.ones((3, size, size), complex)
    if kind == "one dead":
        base = np.tile(np.eye(size, dtype=complex), (3, 1, 1))
        base[:, -1] = 0.0
    scale = {"zero": 0.0, "tiny": 1e-30, "huge": 1e30}.get(kind, 1.0)
    r = scale * base
    d = np.ones((3, size), complex)
    for w in (souden(r, r), rank_one(r, r), gev(r, r), mwf(r, r), steered(r, d), lcmv(r, d[None], [1.0])):
        assert w.shape == (3, size)
        assert np.isfinite(w).all()
        assert np.abs(w).max() < 1e4


def test_covariances_that_cannot_be_are_named():
    r = noise()
    with pytest.raises(ParameterError, match="NaN"):
        steered(r * np.nan, D)
    with pytest.raises(ShapeError):
        steered(r, D[:, :3])
    with pytest.raises(ShapeError):
        souden(r[:, :3], r)
    with pytest.raises(ParameterError, match="reference = 4"):
        souden(r, r, 4)
    with pytest.raises(ParameterError, match="mu"):
        mwf(r, r, -1.0)
    with pytest.raises(ShapeError):
        algebra.apply(D, np.zeros((3, 5, 65), complex))
