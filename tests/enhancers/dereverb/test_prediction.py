"""WPE's core against the package nara_wpe and against signals whose reverberation is known."""

import numpy as np
import pytest

from unmuffle.enhancers.dereverb import prediction
from unmuffle.enhancers.dereverb.wpe import Recursion
from unmuffle.errors import ParameterError, ShapeError


def speechlike(rng, channels, frames, bins, taps=6, delay=3):
    """Frames with a loudness that comes and goes, and a tail that obeys the model exactly."""
    loudness = np.exp(rng.standard_normal((1, frames, bins)))
    shape = (channels, frames, bins)
    dry = loudness * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    mix = rng.standard_normal((taps, channels, channels, bins)) * 0.25 / channels
    wet = dry.copy()
    for n in range(frames):
        for tap in range(min(taps, n - delay + 1)):
            wet[:, n] += np.einsum("cdk,dk->ck", mix[tap], wet[:, n - delay - tap])
    return dry, wet


@pytest.mark.parametrize(
    ("channels", "taps", "delay", "iterations", "context"),
    [(1, 10, 3, 3, 0), (2, 5, 2, 2, 0), (4, 10, 3, 3, 0), (3, 4, 1, 3, 2), (2, 6, 4, 1, 1)],
)
def test_equals_nara_wpe(rng, channels, taps, delay, iterations, context):
    nara = pytest.importorskip("nara_wpe.wpe")
    _, wet = speechlike(rng, channels, 240, 5)
    ours = prediction.wpe(wet, taps, delay, iterations, context)
    theirs = nara.wpe_v8(wet.transpose(2, 0, 1), taps, delay, iterations, context).transpose(1, 2, 0)
    assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()


@pytest.mark.parametrize("turn", [1, 7])
def test_recursion_equals_nara_wpes_online_form(rng, turn, monkeypatch):
    # Theirs updates the inverse by the matrix inversion lemma, ours the matrix: the same algebra. Both
    # are given the same variance; ours solves once per turn, so filters are equal after whole turns.
    # Their online form looks into its buffer before the new frame is in it, and one further back: its
    # delay of D is one of D + 2 in the convention of their (and our) batch form.
    nara = pytest.importorskip("nara_wpe.wpe")
    bins, channels, taps, delay, alpha = 3, 2, 4, 3, 0.99
    _, wet = speechlike(rng, channels, 140, bins)
    theirs = nara.OnlineWPE(taps, delay - 2, alpha, channel=channels, frequency_bins=bins)
    ours = Recursion(bins, channels, channels, taps, delay, forgetting=alpha, turn=turn, loading=0.0, prior=1.0)
    variances = np.exp(rng.standard_normal((140, bins)))
    now = {}
    monkeypatch.setattr(theirs, "_update_power_block", lambda: setattr(theirs, "power", now["v"]))
    state = ours.begin()
    for n in range(140):
        now["v"] = variances[n]
        frame = wet[:, n].T
        expected = theirs.step_frame(frame)
        got = ours.step(frame, state, variances[n])
        if turn == 1:
            np.testing.assert_allclose(got, expected, atol=1e-8 * np.abs(wet).max())
    if turn == 1:  # their coefficients are sorted by microphone first, ours by tap
        order = theirs.filter_taps.reshape(bins, channels, taps, channels)[:, :, ::-1]
        order = order.transpose(0, 2, 1, 3).reshape(bins, taps * channels, channels)
        np.testing.assert_allclose(state["filters"], order, atol=1e-7)
    else:  # each bin's statistics, brought to the same frame, do not depend on the turn
        single = Recursion(bins, channels, channels, taps, delay, forgetting=alpha, loading=0.0, prior=1.0)
        other = single.begin()
        snapshots = []
        for n in range(140):
            single.step(wet[:, n].T, other, variances[n])
            snapshots.append(other["filters"].copy())
        for k in range(bins):
            last = max(n for n in range(140) if n % turn == k)
            # A bin's first turn holds fewer frames, but forgets the prior as if it were whole: a
            # difference of alpha^(turn-1) in a prior that 140 frames have nearly erased.
            np.testing.assert_allclose(state["filters"][k], snapshots[last][k], atol=2e-3)


def test_the_tail_is_removed(rng):
    dry, wet = speechlike(rng, 2, 1500, 4)
    out = prediction.wpe(wet, taps=6, delay=3)
    before, after = (np.mean(np.abs(x - dry) ** 2) / np.mean(np.abs(dry) ** 2) for x in (wet, out))
    # The model holds exactly, so the only error is that of 12 coefficients from 1500 frames: 12 / 1500.
    assert after < 0.02
    assert after < before / 10


def test_regressors_follow_the_convention():
    frames = np.arange(1, 7).reshape(2, 3)
    np.testing.assert_array_equal(prediction.regressors(frames, 2, 1), [[0, 1, 2], [0, 4, 5], [0, 0, 1], [0, 0, 4]])


def test_variance_counts_what_is_there():
    x = np.array([[1.0, 2.0, 3.0, 4.0]]) + 0j
    np.testing.assert_allclose(prediction.variance(x, 1), [2.5, 14 / 3, 29 / 3, 12.5])
    np.testing.assert_allclose(prediction.variance(x, 100), [7.5] * 4)
    np.testing.assert_array_equal(prediction.variance(0 * x), np.ones(4))


def test_singular_microphones(rng):
    _, wet = speechlike(rng, 1, 200, 3)
    same = np.concatenate((wet, wet, 0 * wet))
    out = prediction.wpe(same, taps=6, loading=1e-6)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[0], out[1], atol=1e-9)
    assert not out[2].any()
    # A copy adds nothing: the same answer as with one microphone, up to the loading.
    np.testing.assert_allclose(out[0], prediction.wpe(wet, taps=6)[0], atol=1e-3 * np.abs(wet).max())
    assert np.isfinite(prediction.wpe(same, taps=6, loading=0.0)).all()
    assert not prediction.wpe(0 * wet).any()


def test_the_input_stays_and_its_type_too(rng):
    _, wet = speechlike(rng, 1, 50, 2)
    wet = wet.astype(np.complex64)
    kept = wet.copy()
    assert prediction.wpe(wet, taps=3).dtype == np.complex64
    np.testing.assert_array_equal(wet, kept)


def test_bad_input_is_named(rng):
    _, wet = speechlike(rng, 1, 20, 2)
    with pytest.raises(ShapeError, match="complex"):
        prediction.wpe(wet.real)
    with pytest.raises(ShapeError):
        prediction.wpe(wet[0])
    for name in ("taps", "delay", "iterations", "inputs"):
        with pytest.raises(ParameterError, match=name):
            prediction.wpe(wet, **{name: 0})


def test_restraint_of_the_newest_frame_lies_between_two_delays(rng):
    # With none of it the filter is plain; with very much the newest tap is gone: the same as one frame later, with
    # one tap less. In between the energy of what the newest frame predicts falls.
    _, wet = speechlike(rng, 2, 400, 3)
    plain = prediction.wpe(wet, 5, 2, 1)
    np.testing.assert_allclose(prediction.wpe(wet, 5, 2, 1, early_loading=0.0), plain)
    later = prediction.wpe(wet, 4, 3, 1)
    # The frames before the first regressor that both have differ by nothing either: zeros predict zeros.
    np.testing.assert_allclose(prediction.wpe(wet, 5, 2, 1, early_loading=1e12), later, atol=1e-6 * np.abs(wet).max())
    distances = [np.linalg.norm(prediction.wpe(wet, 5, 2, 1, early_loading=k) - later) for k in (0.0, 0.1, 1.0, 10.0)]
    assert distances == sorted(distances, reverse=True)


def test_restraint_does_not_ask_how_microphones_are_mixed(rng):
    # It is a cost of energy: with the variance known, wpe of mixed microphones is the mix of wpe, also with a mix that
    # leaves nearly the same in all of them (differences 40 dB down), where a ridge on the diagonal would kill those.
    dry, wet = speechlike(rng, 3, 400, 2)
    voice = np.mean(np.abs(dry) ** 2, axis=0)
    mix = np.ones((3, 3)) + 0.01 * rng.standard_normal((3, 3))
    mixed = np.einsum("ab,bnk->ank", mix, wet)
    plain, other = (prediction.wpe(y, 5, 2, 1, voice=voice, early_loading=0.1, restraint=0.01) for y in (wet, mixed))
    np.testing.assert_allclose(other, np.einsum("ab,bnk->ank", mix, plain), atol=1e-6 * np.abs(mixed).max())


def test_the_more_restraint_the_less_is_predicted(rng):
    _, wet = speechlike(rng, 2, 400, 3)
    removed = [np.linalg.norm(wet - prediction.wpe(wet, 5, 2, 1, restraint=r)) for r in (0.0, 0.01, 0.1, 1.0, 1e9)]
    assert removed == sorted(removed, reverse=True)
    # All blocks of the diagonal outweigh the rest a billion to one, and so does each its cross-correlation.
    assert removed[-1] < 1e-6 * removed[0]


def test_digital_silence_weighs_nothing() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 200, 3)) + 1j * rng.standard_normal((2, 200, 3))
    longer = np.concatenate((x, np.zeros((2, 40, 3))), axis=1)
    np.testing.assert_allclose(prediction.wpe(longer, taps=4)[:, :200], prediction.wpe(x, taps=4), atol=1e-10)
