"""A phone at the ear in diffuse noise: what goes, what stays, against what one microphone can do."""

import numpy as np
import pytest
from signals import bundled, level_db, si_sdr

from unmuffle.degrade.diffuse import make_diffuse
from unmuffle.degrade.noise import colored_noise
from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.phone.level_difference import PhoneNoise
from unmuffle.enhancers.registry import load
from unmuffle.errors import ShapeError
from unmuffle.signal.arrays import parse_array
from unmuffle.signal.steering import near_field

RATE = 16000


@pytest.fixture(scope="module")
def scene():
    """Half a second of pause and six of speech at a mouth 5 cm below the first microphone; pink and babble noise."""
    voice = np.concatenate((np.zeros(RATE // 2), bundled("clean")[: 6 * RATE]))
    phone = parse_array("phone")
    f = np.fft.rfftfreq(voice.size, 1 / RATE)
    transfer = near_field(phone, f, [0.0, 0.03, -0.12], reference=0)
    speech = np.fft.irfft(np.fft.rfft(voice)[:, None] * transfer, voice.size, axis=0).T
    rng = np.random.default_rng(0)
    pink = make_diffuse(colored_noise("pink", speech.shape, RATE, rng), phone, RATE)
    crowd = [sum(np.roll(voice[::-1], int(k)) for k in rng.integers(0, voice.size, 6)) for _ in range(2)]
    babble = make_diffuse(np.stack(crowd), phone, RATE)
    return speech, {name: n * np.std(speech[0]) / np.std(n[0]) for name, n in (("pink", pink), ("babble", babble))}


def test_the_mouth_is_ten_decibels_louder_below(scene):
    speech, _ = scene
    assert level_db(speech[0]) - level_db(speech[1]) == pytest.approx(10.7, abs=1.0)


@pytest.mark.parametrize(("kind", "gain"), [("pink", 6.0), ("babble", 1.6)])
@pytest.mark.parametrize("mismatch_db", [0.0, 4.0])
def test_noise_goes_and_more_than_with_one_microphone(scene, kind, gain, mismatch_db):
    speech, noises = scene
    x = (speech + noises[kind]).astype(np.float32)
    x[1] *= 10 ** (mismatch_db / 20)
    out = run_offline(PhoneNoise(), x, RATE)[0]
    before = si_sdr(speech[0], x[0])
    alone = run_offline(load("classic"), x[0], RATE)
    assert si_sdr(speech[0], out) - before > gain - 0.15 * mismatch_db
    assert si_sdr(speech[0], out) > si_sdr(speech[0], alone)


def test_speech_without_noise_passes_and_noise_without_speech_goes(scene):
    speech, noises = scene
    assert si_sdr(speech[0], run_offline(PhoneNoise(), speech.astype(np.float32), RATE)[0]) > 30
    noise = noises["pink"].astype(np.float32)
    out = run_offline(PhoneNoise(), noise, RATE)[0]
    assert level_db(noise[0, RATE:]) - level_db(out[RATE:]) > 10


def test_one_or_three_microphones_are_refused():
    for count in (1, 3):
        with pytest.raises(ShapeError, match=f"got {count}"):
            PhoneNoise().stream(RATE, count)
