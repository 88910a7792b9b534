"""Active noise control: closed forms where there are some, and what the tutorial says cannot be."""

import numpy as np
import pytest

from unmuffle.errors import InputError, ParameterError
from unmuffle.signal.fxlms import AncLoop, identify, simulate_anc

RATE = 8000


def path(delay, length, seed, decay):
    h = np.random.default_rng(seed).standard_normal(length) * np.exp(-np.arange(length) / decay)
    h[0] = 2.0
    return tuple(np.concatenate((np.zeros(delay), h / np.linalg.norm(h))))


PRIMARY, SECONDARY = path(8, 40, 1, 6.0), path(2, 20, 2, 3.0)


def noise(seconds=2.0, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def tones(seconds=2.0):
    t = np.arange(round(seconds * RATE)) / RATE
    return 0.1 * np.sin(2 * np.pi * 150 * t) + 0.05 * np.sin(2 * np.pi * 410 * t) + 1e-3 * noise(seconds)


def test_the_filter_becomes_the_quotient_of_the_paths():
    # Pure delays: p = z^-8, s = 0.5 z^-2, so w = -2 z^-6 and nothing is left.
    loop = AncLoop((0.0,) * 8 + (1.0,), (0.0, 0.0, 0.5), taps=16, step=0.1)
    run = simulate_anc(loop, noise())
    expected = np.zeros(16)
    expected[6] = -2.0
    np.testing.assert_allclose(run.filter, expected, atol=1e-6)
    assert run.attenuation_db(RATE) > 80


def test_feedforward_takes_broadband_noise_away():
    model = tuple(identify(SECONDARY, 32, samples=8000))
    np.testing.assert_allclose(model[: len(SECONDARY)], SECONDARY, atol=0.02)
    run = simulate_anc(AncLoop(PRIMARY, SECONDARY, model, step=0.1), noise())
    assert run.attenuation_db(RATE) > 25


def test_feedback_takes_tones_away_and_cannot_white_noise():
    loop = AncLoop(PRIMARY, SECONDARY, kind="feedback", step=0.005)
    assert simulate_anc(loop, tones()).attenuation_db(RATE) > 20
    # White noise cannot be predicted over the delay of the secondary path: it grows, if anything.
    assert simulate_anc(loop, noise()).attenuation_db(RATE) < 1


def test_noise_that_arrives_before_the_loudspeaker_can_answer_stays():
    late = AncLoop((1.0,), (0.0,) * 10 + (1.0,), step=0.02)
    assert abs(simulate_anc(late, noise()).attenuation_db(RATE)) < 3


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_transparency_leaves_its_share(share):
    run = simulate_anc(AncLoop(PRIMARY, SECONDARY, step=0.1, transparency=share), noise(3.0))
    assert run.attenuation_db(2 * RATE) == pytest.approx(-20 * np.log10(share), abs=0.5)


def test_music_at_the_ear_is_kept():
    # The outside microphone does not hear it, so feedforward has no grip on it.
    music = 0.02 * np.sin(2 * np.pi * 523 * np.arange(2 * RATE) / RATE)
    run = simulate_anc(AncLoop(PRIMARY, SECONDARY, step=0.02), noise(), music)
    tail = slice(RATE, None)
    kept = float(run.ear[tail] @ music[tail]) / float(music[tail] @ music[tail])
    assert kept == pytest.approx(1.0, abs=0.1)
    left = run.ear[tail] - music[tail]
    assert np.sum((run.passive[tail] - music[tail]) ** 2) > 8 * np.sum(left**2)
    assert run.passive[100] == pytest.approx(np.convolve(noise(), PRIMARY)[100] + music[100])


def test_a_wrong_model_howls_and_says_so():
    wrong = AncLoop(PRIMARY, SECONDARY, tuple(-np.asarray(SECONDARY)), step=0.2)
    with pytest.raises(ParameterError, match="howls"):
        simulate_anc(wrong, noise())


def test_bad_input_is_named():
    for bad in ({"kind": "feed"}, {"taps": 0}, {"step": 0.0}, {"step": 3.0}, {"transparency": 1.5}):
        with pytest.raises(ParameterError):
            AncLoop(PRIMARY, SECONDARY, **bad)
    with pytest.raises(ParameterError, match="secondary"):
        AncLoop(PRIMARY, (0.0, 0.0))
    loop = AncLoop(PRIMARY, SECONDARY)
    with pytest.raises(InputError, match="noise"):
        simulate_anc(loop, np.full(10, np.nan))
    with pytest.raises(InputError, match="heard"):
        simulate_anc(loop, noise(0.1), np.zeros(3))
    assert simulate_anc(loop, np.zeros(50)).attenuation_db() == 0.0
    assert simulate_anc(loop, np.zeros(0)).ear.shape == (0,)
    with pytest.raises(ParameterError, match="taps"):
        identify(SECONDARY, 0)
