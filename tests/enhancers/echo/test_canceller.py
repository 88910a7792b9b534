"""The echo canceller on echoes that are known: how much goes, how fast, and what the near talker loses."""

import numpy as np
import pytest

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.echo.canceller import EchoCanceller
from unmuffle.errors import ParameterError, ShapeError

RATE = 16000


def talk(seed, seconds):
    """Noise with the spectrum and the pauses of speech."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    spectrum = np.fft.rfft(rng.standard_normal(n)) / (1 + (np.fft.rfftfreq(n, 1 / RATE) / 800) ** 2)
    gate = np.clip(np.sin(2 * np.pi * 2.1 * t + seed) + 0.3, 0, 1)
    x = np.fft.irfft(spectrum, n) * gate
    return 0.1 * x / np.std(x)


def path(seed, delay=40, length=1600, decay=300):
    """A room of 0.13 s reverberation time: 60 dB in 6.9 times the decay."""
    h = np.random.default_rng(seed).standard_normal(length) * np.exp(-np.arange(length) / decay)
    h[:delay] = 0.0
    return 0.5 * h / np.linalg.norm(h)


def erle_db(echo, left):
    return 10 * np.log10(np.sum(echo**2) / np.sum(left**2))


def cancel(microphone, far, **values):
    return run_offline(EchoCanceller(**values), np.stack((microphone, far)).astype(np.float32), RATE)[0]


def second(x, i):
    return x[i * RATE : (i + 1) * RATE]


@pytest.fixture(scope="module")
def conversation():
    """Ten seconds: far talker all the time, near talker from 5 to 8 s, noise 40 dB under the echo."""
    far = talk(1, 10.0)
    echo = np.convolve(far, path(2))[: far.size]
    near = np.zeros_like(far)
    near[5 * RATE : 8 * RATE] = talk(3, 3.0)
    near *= np.std(echo) / np.std(near[5 * RATE : 8 * RATE])
    noise = 0.01 * np.std(echo) * np.random.default_rng(4).standard_normal(far.size)
    return far, echo, near, noise


def test_convergence_and_double_talk(conversation):
    far, echo, near, noise = conversation
    left = cancel(echo + near + noise, far) - near
    # One second, three, and then the noise is the floor of what can be told.
    assert erle_db(second(echo, 1), second(left, 1)) > 8
    assert erle_db(second(echo, 4), second(left, 4)) > 20
    # The near talker is as loud as the echo: the filter must neither run away nor cancel the talker.
    talking = slice(5 * RATE, 8 * RATE)
    assert erle_db(echo[talking], left[talking]) > 18
    assert erle_db(near[talking], left[talking]) > 18
    assert erle_db(second(echo, 9), second(left, 9)) > 22


def test_without_echo_the_near_talker_passes_unchanged(conversation):
    far, _, near, noise = conversation
    out = cancel(near + noise, far)
    assert erle_db(near, out - near - noise) > 25
    # And without a reference every bit of it does (float32 rounding).
    np.testing.assert_allclose(cancel(near, np.zeros_like(far)), near, atol=1e-7)


def test_a_path_that_changes_is_found_again(conversation):
    far, echo, _, noise = conversation
    moved = np.convolve(far, path(9))[: far.size]
    half = far.size // 2
    heard = np.concatenate((echo[:half], moved[half:]))
    left = cancel(heard + noise, far)
    assert erle_db(second(heard, 4), second(left, 4)) > 20
    # No slower than at the start: there a second gave 8 dB.
    assert erle_db(second(heard, 7), second(left, 7)) > 8
    assert erle_db(second(heard, 9), second(left, 9)) > 18
    quick = cancel(heard + noise, far, memory=0.999)
    assert erle_db(second(heard, 9), second(quick, 9)) > 15


def test_an_echo_beyond_the_tail_stays_until_the_reference_is_held_back(conversation):
    far, echo, _, noise = conversation
    late = np.concatenate((np.zeros(RATE), echo))[: far.size]
    assert abs(erle_db(second(late, 4), second(cancel(late + noise, far), 4))) < 3  # finite, and no great harm
    held = cancel(late + noise, far, delay_ms=1000.0)
    assert erle_db(second(late, 5), second(held, 5)) > 18


def test_two_microphones_have_a_path_each(conversation):
    far, echo, _, noise = conversation
    other = np.convolve(far, path(7))[: far.size]
    out = run_offline(EchoCanceller(), np.stack((echo + noise, other + noise, far)).astype(np.float32), RATE)
    assert out.shape == (2, far.size)
    np.testing.assert_allclose(out[0], cancel(echo + noise, far), atol=1e-6)
    assert erle_db(second(other, 4), second(out[1], 4)) > 20


def test_opposite_polarity_and_a_loud_echo(conversation):
    far, echo, _, noise = conversation
    left = cancel(-8.0 * echo + noise, far)  # a loudspeaker nearer to the microphone than the talker
    assert erle_db(8.0 * second(echo, 4), second(left, 4)) > 20


def test_what_cannot_be_is_named():
    with pytest.raises(ShapeError, match="last channel"):
        EchoCanceller().stream(RATE, 1)
    with pytest.raises(ParameterError, match="tail_ms"):
        EchoCanceller(tail_ms=5000.0)
