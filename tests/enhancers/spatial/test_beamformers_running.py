"""Beamformers as streams: they lift a voice out of noise from elsewhere, at any split, and survive bad channels."""

import numpy as np
import pytest
from signals import bundled, si_sdr

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.compose import Chain
from unmuffle.enhancers.masks import masker, whole_mask
from unmuffle.enhancers.registry import load
from unmuffle.enhancers.spatial.cgmm import SlidingCgmm, cgmm
from unmuffle.enhancers.spatial.postfilter import Residual, blocking, mccowan, zelinski
from unmuffle.enhancers.spatial.tracking import Tracker
from unmuffle.errors import NonFiniteError, ParameterError, ShapeError, UnknownMethodError
from unmuffle.signal.arrays import circle
from unmuffle.signal.covariance import spatial_covariance
from unmuffle.signal.fractional import delayed
from unmuffle.signal.steering import diffuse_coherence, far_field, far_field_delays
from unmuffle.signal.stft import StftSpec, StreamingStft

RATE = 16000
ARRAY = circle(4, 0.05)
TEXT = "circle:4:0.05"
VOICE, OTHER = 30.0, 150.0


def arriving(x, azimuth):
    """A plane wave at the four microphones, without a room, late by nothing at the first."""
    delays = far_field_delays(ARRAY, azimuth, reference=0)
    return np.stack([delayed(x[None], RATE * t)[0] for t in delays]).astype(np.float32)


@pytest.fixture(scope="module")
def scene():
    """Voice from 30 degrees, noise from 150 at 0 dB, and a little noise of the microphones."""
    rng = np.random.default_rng(1)
    clean = bundled("clean")[: 4 * RATE]
    noise = rng.standard_normal(clean.size).astype(np.float32) * np.std(clean)
    voice = arriving(clean, VOICE)
    rest = arriving(noise, OTHER) + 0.03 * np.std(clean) * rng.standard_normal(voice.shape).astype(np.float32)
    return voice, rest.astype(np.float32)


STEERED = {"array": TEXT, "azimuth_deg": VOICE}


@pytest.mark.parametrize(
    ("name", "values", "gain_db"),
    [
        ("delay-and-sum", STEERED, 2.0),
        ("superdirective", STEERED, 2.0),
        ("gsc", STEERED, 2.5),
        ("lcmv", {**STEERED, "nulls_deg": "150"}, 5.0),
        ("mvdr", {}, 7.0),
        ("mvdr", {"form": "rank-one"}, 4.0),
        ("mvdr", {**STEERED, "form": "steered"}, 3.0),
        ("mvdr", {"noise_s": 0.5}, 7.0),
        ("mvdr", {"masks": "vad"}, 4.0),
        ("mvdr", {"refine": "cgmm", "refresh_ms": 512.0}, 6.0),
        ("mvdr", {**STEERED, "form": "steered", "post": "residual"}, 3.5),
        ("gev", {}, 3.0),
        ("mwf", {}, 7.0),
        ("mask-mvdr", {}, 10.0),
        ("mask-mvdr", {"form": "mwf"}, 10.0),
    ],
)
def test_the_voice_comes_out_better_than_any_microphone_hears_it(scene, name, values, gain_db):
    voice, rest = scene
    before = max(si_sdr(s, s + v) for s, v in zip(voice, rest, strict=True))
    out = run_offline(load(name, **values), voice + rest, RATE)
    assert out.shape == (1, voice.shape[1])
    late = slice(RATE, None)  # the first second is for learning
    assert max(si_sdr(s[late], out[0, late]) for s in voice) - before >= gain_db


def test_another_reference_gives_the_voice_as_that_one_hears_it(scene):
    voice, rest = scene
    out = run_offline(load("mvdr", form="steered", reference=2, **STEERED), voice + rest, RATE)[0]
    scores = [si_sdr(s[RATE:], out[RATE:]) for s in voice]
    assert int(np.argmax(scores)) == 2


def test_a_null_takes_the_interferer_away():
    alone = arriving(np.random.default_rng(2).standard_normal(2 * RATE).astype(np.float32) * 0.05, OTHER)
    out = run_offline(load("lcmv", nulls_deg="150", **STEERED), alone, RATE)[0]
    # White noise of which the part below 1 kHz, with soft nulls, is an eighth.
    assert 10 * np.log10(np.mean(alone[0] ** 2) / np.mean(out[4000:-4000] ** 2)) > 15


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mvdr", {"post": "residual"}),
        ("mvdr", {"refine": "cgmm"}),
        ("gsc", STEERED),
        ("superdirective", {**STEERED, "post": "mccowan"}),
        ("delay-and-sum", {**STEERED, "post": "zelinski"}),
    ],
)
def test_any_split_gives_the_same_samples(scene, name, values):
    x = sum(scene)[:, : RATE // 2]
    stream = load(name, **values).stream(RATE, 4)
    whole = np.concatenate((stream.process(x), stream.flush()), axis=1)
    parts = [stream.process(x[:, i : i + 333]) for i in range(0, x.shape[1], 333)]
    np.testing.assert_array_equal(np.concatenate((*parts, stream.flush()), axis=1), whole)


def test_a_chain_goes_from_dereverberation_to_one_channel(scene):
    x = sum(scene)[:, :RATE]
    chain = Chain((load("wpe", taps=4), load("mvdr"), load("log-mmse")))
    out = run_offline(chain, x, RATE)
    assert out.shape == (1, RATE)
    assert np.isfinite(out).all()


def test_one_microphone_passes_unchanged():
    x = bundled("noisy")[:RATE]
    for name in ("delay-and-sum", "mvdr", "gsc", "mask-mvdr"):
        np.testing.assert_allclose(run_offline(load(name), x, RATE), x, atol=1e-6)


@pytest.mark.parametrize("name", ["mvdr", "gev", "mwf", "mask-mvdr", "superdirective", "gsc"])
@pytest.mark.parametrize("fault", ["dead", "copied", "turned", "late", "silent", "clipped"])
def test_faulty_channels_give_finite_sound(scene, name, fault):
    x = sum(scene)[:, : RATE // 2].copy()
    if fault == "dead":
        x[0] = 0.0  # the reference itself
    elif fault == "copied":
        x[:] = x[:1]
    elif fault == "turned":
        x[1] *= -1.0
    elif fault == "late":
        x[1] = np.roll(x[1], 5000)
    elif fault == "silent":
        x[:] = 0.0
    else:
        x = np.sign(x).astype(np.float32)
    out = run_offline(load(name), x, RATE)
    assert np.isfinite(out).all()
    assert np.abs(out).max() < 20.0


@pytest.mark.parametrize(
    ("name", "values"),
    [("mvdr", {}), ("mvdr", {**STEERED, "form": "steered"}), ("gev", {}), ("mwf", {}), ("mask-mvdr", {})],
)
@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_a_dead_reference_is_stood_in_for(scene, name, values, level):
    voice, rest = (x.copy() for x in scene)
    voice[0] *= level
    rest[0] *= level
    before = max(si_sdr(s, s + v) for s, v in zip(voice[1:], rest[1:], strict=True))
    out = run_offline(load(name, **values), voice + rest, RATE)
    late = slice(RATE, None)
    assert max(si_sdr(s[late], out[0, late]) for s in voice[1:]) - before >= 2.0
    # At the level of a living microphone, not at that of the dead one.
    assert np.std(out) > 0.3 * np.std(voice[1])


def test_a_microphone_that_comes_back_is_the_reference_again(scene):
    x = sum(scene)[:, : 2 * RATE].copy()
    x[0, : RATE // 2] = 0.0
    kernel = load("mvdr").kernel(RATE, 4)
    kernel.push(x[:, : RATE // 2])
    seen = [kernel._state[1]["brain"]["reference"]]
    kernel.push(x[:, RATE // 2 :])
    seen.append(kernel._state[1]["brain"]["reference"])
    assert seen[0] != 0
    assert seen[1] == 0


def test_sixty_four_microphones_work():
    x = 0.1 * np.random.default_rng(3).standard_normal((64, 3200)).astype(np.float32)
    for name in ("delay-and-sum", "mvdr"):
        short = load(name, window_ms=16.0, hop_ms=8.0)  # fewer bins, for the time it takes
        assert run_offline(short, x, RATE).shape == (1, 3200)


def test_what_cannot_be_is_named(scene):
    x = sum(scene)[:, :1600]
    with pytest.raises(ShapeError, match="4 microphone"):
        load("mvdr", array=TEXT).stream(RATE, 3)
    with pytest.raises(ParameterError, match="reference = 5"):
        load("mvdr", reference=5).stream(RATE, 4)
    with pytest.raises(ParameterError, match="reference = 5"):
        load("mask-mvdr", reference=5).stream(RATE, 4)
    with pytest.raises(ParameterError, match="no array"):
        load("gsc", array="circel:4:0.05")
    with pytest.raises(ParameterError, match="azimuth"):
        load("mvdr", azimuth_deg=400.0)
    with pytest.raises(ParameterError, match="no azimuth"):
        load("lcmv", nulls_deg="left")
    with pytest.raises(ParameterError, match="nulls and a voice"):
        load("lcmv", nulls_deg="1,2,3").stream(RATE, 3)
    with pytest.raises(ParameterError, match="noise covariance"):
        load("delay-and-sum", post="residual")
    with pytest.raises(UnknownMethodError, match="log-mmse"):
        load("mvdr", masks="log-mmze").stream(RATE, 4)
    with pytest.raises(ParameterError, match="no gains"):
        load("mvdr", masks="declip").stream(RATE, 4)
    bad = x.copy()
    bad[2, 100] = np.nan
    stream = load("mvdr").stream(RATE, 4)
    with pytest.raises(NonFiniteError):
        stream.process(bad)
    assert np.isfinite(stream.process(x)).all()


# -- parts -------------------------------------------------------------------------------------------------


def spectra(x, spec=None):
    return StreamingStft(spec or StftSpec(64.0, 16.0), RATE, x.shape[0]).forward(x)


def test_em_makes_a_poor_guess_better(scene):
    voice, rest = (spectra(x) for x in scene)
    ideal = np.mean(np.abs(voice) ** 2, 0) / (np.mean(np.abs(voice) ** 2, 0) + np.mean(np.abs(rest) ** 2, 0))
    rng = np.random.default_rng(4)
    guess = np.clip(0.5 + 0.4 * (ideal - 0.5) + 0.3 * rng.standard_normal(ideal.shape), 0.0, 1.0)
    found = cgmm(voice + rest, guess, 10)
    high = np.linspace(0, 8000, 513) > 500  # below, the array is too small to tell directions apart

    def alike(mask):
        return np.corrcoef(mask[20:, high].ravel(), ideal[20:, high].ravel())[0, 1]

    assert alike(found) > alike(guess) + 0.15
    assert found.min() >= 0.0
    assert found.max() <= 1.0


def test_em_survives_what_has_no_answer():
    assert np.isfinite(cgmm(np.zeros((3, 5, 4), complex), np.full((5, 4), 0.5))).all()
    same = np.ones((3, 5, 4), complex)
    assert np.isfinite(cgmm(same, np.zeros((5, 4)))).all()
    assert np.isfinite(cgmm(1e-30 * same, np.full((5, 4), np.nan))).all()
    np.testing.assert_array_equal(cgmm(same[:1], np.full((5, 4), 0.3)), 0.3)
    with pytest.raises(ShapeError):
        cgmm(same, np.zeros((4, 5)))
    with pytest.raises(ParameterError):
        cgmm(same, np.zeros((5, 4)), -1)


def test_the_sliding_form_is_the_batch_form_of_what_it_keeps(scene):
    x = spectra(sum(scene)[:, :RATE])[:, :, 100:104]
    guess = np.random.default_rng(5).uniform(0.2, 0.8, x.shape[1:]).astype(np.float32)
    sliding = SlidingCgmm(4, 4, window=1000, iterations=3)
    state = sliding.begin()
    for l in range(x.shape[1]):
        sliding.step(x[:, l].T, guess[l], state)
    speech, noise = sliding.covariances(state, slice(0, 4))
    mask = cgmm(x, guess, 3)
    np.testing.assert_allclose(speech, spatial_covariance(x, mask), rtol=1e-6)
    np.testing.assert_allclose(noise, spatial_covariance(x, 1.0 - mask), rtol=1e-6)


def test_tracked_covariances_without_forgetting_are_the_means(scene):
    x = spectra(sum(scene)[:, :RATE])[:, :, 50:60].astype(complex)
    mask = np.random.default_rng(6).uniform(0.0, 1.0, x.shape[1:])
    tracker = Tracker(10, 4, 1.0, 1.0)
    state = tracker.begin()
    for l in range(x.shape[1]):
        tracker.step(x[:, l].T, mask[l], state)
    speech, noise = tracker.covariances(state)
    np.testing.assert_allclose(speech, spatial_covariance(x, mask), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(noise, spatial_covariance(x, 1.0 - mask), rtol=1e-9, atol=1e-12)


def test_masks_tell_the_voice_from_the_noise(scene):
    voice, rest = scene
    x, spec = voice + rest, StftSpec(64.0, 16.0)
    s, n = spectra(voice), spectra(rest)
    ideal = np.mean(np.abs(s) ** 2, 0) > np.mean(np.abs(n) ** 2, 0)
    heard = spectra(x)
    source = masker("log-mmse", spec, RATE, 4)
    for mask in (source.step(heard, source.begin())[0], whole_mask("log-mmse", spec, RATE, x, heard)):
        assert mask.shape == ideal.shape
        assert mask[30:][ideal[30:]].mean() > 2.0 * mask[30:][~ideal[30:]].mean()
    source = masker("vad", spec, RATE, 4)
    mask, _ = source.step(heard, source.begin())
    assert set(np.unique(mask)) <= {0.0, 1.0}
    with pytest.raises(ParameterError, match="frames"):
        masker("live", spec, RATE, 4)


def test_post_filters_are_wiener_gains_where_their_model_holds():
    d = np.ones((5, 4), complex)
    voice = np.array([0.1, 0.5, 1.0, 4.0, 100.0])
    s = voice[:, None, None] * d[:, :, None] * d[:, None, :]
    expected = voice / (voice + 1.0)
    np.testing.assert_allclose(zelinski(s + np.eye(4)), expected)
    gamma = diffuse_coherence(ARRAY, np.linspace(3000, 7000, 5))
    np.testing.assert_allclose(mccowan(s + gamma, gamma), expected, atol=1e-9)
    assert np.all(zelinski(s + gamma)[:2] != pytest.approx(expected[:2], abs=1e-3))
    np.testing.assert_array_equal(zelinski(np.zeros((5, 4, 4))), 1.0)
    np.testing.assert_array_equal(zelinski(np.ones((5, 1, 1))), 1.0)


def test_the_blocking_matrix_blocks_the_voice_and_nothing_else():
    d = far_field(ARRAY, np.linspace(0, 8000, 9), 77.0)
    b = blocking(d)
    np.testing.assert_allclose(np.einsum("kmo,km->ko", b.conj(), d), 0.0, atol=1e-12)
    np.testing.assert_allclose(b.conj().transpose(0, 2, 1) @ b, np.tile(np.eye(3), (9, 1, 1)), atol=1e-12)


def test_the_residual_noise_is_known_in_the_mean():
    rng = np.random.default_rng(7)
    d = far_field(ARRAY, np.array([2000.0]), 30.0)
    r = np.eye(4)[None] + 0.3
    w = d / 4
    post = Residual(1, 4)
    state = post.begin()
    post.prepare(slice(None), w, d, r.astype(complex), 1e-9, state)
    half = np.linalg.cholesky(r[0])
    x = half @ (rng.standard_normal((4, 4000)) + 1j * rng.standard_normal((4, 4000))) / np.sqrt(2)
    level = np.einsum("ml,mn,nl->l", x.conj(), state["map"][0], x).real
    assert level.mean() == pytest.approx(1.0, abs=0.05)  # three degrees of freedom, 4000 frames
    assert state["left"][0] == pytest.approx(np.mean(np.abs(w[0].conj() @ x) ** 2), rel=0.1)
    # A voice that is far above the noise passes.
    gains = [post.step(100 * d, np.array([100.0 + 0j]), 0.1, state) for _ in range(5)]
    assert gains[-1][0] > 0.9
