"""Late-reverberation suppression and the blind T60: closed forms and known rooms."""

import numpy as np
import pytest
from signals import bundled

from unmuffle.enhancers.base import run_offline
from unmuffle.enhancers.dereverb.decay import DecayTracker
from unmuffle.enhancers.dereverb.late_reverb import LateReverb
from unmuffle.errors import ParameterError
from unmuffle.signal.stft import StftSpec, StreamingStft

RATE = 16000


def tail(t60_s, seed=0, seconds=None):
    t = np.arange(int((seconds or t60_s) * RATE)) / RATE
    return np.random.default_rng(seed).standard_normal(t.size) * 10 ** (-3 * t / t60_s)


def convolve(x, h):
    n = 1 << (x.size + h.size).bit_length()
    return np.fft.irfft(np.fft.rfft(x, n) * np.fft.rfft(h, n), n)[: x.size]


def blind_t60_s(x):
    stft = StreamingStft(StftSpec(32.0, 8.0), RATE)
    tracker = DecayTracker(stft.frames)
    state = tracker.begin()
    assert tracker.t60_s(state) == pytest.approx(0.3, rel=0.25)  # the start, to a cell of the histogram
    for power in np.abs(stft.forward(x[np.newaxis].astype(np.float32))[0]) ** 2:
        tracker.step(power, state)
    return tracker.t60_s(state)


def test_blind_t60_is_in_order_and_near():
    x = bundled("clean").astype(np.float64)
    found = []
    for t60_s in (0.3, 0.6, 1.0):
        h = tail(t60_s, seed=3)
        h[0] = np.sqrt(np.sum(h**2))  # direct sound as strong as the room
        found.append(blind_t60_s(convolve(x, h)))
        # Another voice and another kind of room than it was fitted on, eleven seconds of it.
        assert found[-1] == pytest.approx(t60_s, rel=0.45)
    assert found == sorted(found)


def test_silence_and_steady_noise_do_not_move_the_estimate():
    assert blind_t60_s(np.zeros(RATE)) == pytest.approx(0.3, rel=0.25)
    assert blind_t60_s(np.random.default_rng(5).standard_normal(4 * RATE)) == pytest.approx(0.3, rel=0.25)


def test_a_tail_of_the_model_goes_down_to_the_floor_and_its_onset_stays():
    x = np.zeros(2 * RATE)
    x[RATE // 2 : RATE // 2 + 800] = np.random.default_rng(1).standard_normal(800)
    h = 0.1 * tail(0.6, seed=2)
    h[0] = 1.0
    wet = (0.3 * convolve(x, h)).astype(np.float32)
    out = run_offline(LateReverb(t60_s=0.6, kappa=1.0, floor_db=-12.0), wet, RATE)

    def change_db(begin, end):
        part = slice(int(begin * RATE), int(end * RATE))
        return 10 * np.log10(np.sum(out[part] ** 2) / np.sum(wet[part] ** 2))

    assert change_db(0.5, 0.54) > -1.0
    assert change_db(0.75, 1.0) < -6.0  # Gaussian bins scatter about the model: not all reach the floor
    assert change_db(0.75, 1.0) >= -12.1


def test_longer_rooms_and_shorter_times_suppress_more():
    x = bundled("clean")[:48000].astype(np.float64)
    wet = (0.1 * convolve(x, tail(0.7))).astype(np.float32)
    levels = [np.std(run_offline(LateReverb(t60_s=t), wet, RATE)) for t in (0.2, 0.5, 1.0)]
    assert levels[0] > levels[1] > levels[2]
    early = [np.std(run_offline(LateReverb(t60_s=0.7, early_ms=e), wet, RATE)) for e in (24.0, 48.0, 96.0)]
    assert early[0] < early[1] < early[2]


def test_channels_share_one_gain():
    x = bundled("clean")[:32000]
    out = run_offline(LateReverb(t60_s=0.8), np.stack((x, 0.25 * x)), RATE)
    np.testing.assert_allclose(out[1], 0.25 * out[0], atol=1e-6)


def test_a_senseless_time_is_refused():
    with pytest.raises(ParameterError, match="t60_s"):
        LateReverb(t60_s=0.01)
