"""The adapter to WebRTC's detector: times, rates, channels."""

from pathlib import Path

import numpy as np
import pytest

import unmuffle
from unmuffle.errors import NonFiniteError, ParameterError
from unmuffle.io import read
from unmuffle.noise import webrtc_vad
from unmuffle.noise.vad import segments
from unmuffle.signal.resample import convert

pytest.importorskip("webrtcvad")


@pytest.fixture(scope="module")
def speech():
    x, rate = read(Path(unmuffle.__file__).parent / "assets" / "demo_clean.flac")
    assert rate == 16000
    return x[0]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_speech_between_silences_is_found_at_every_rate(speech, rate):
    # The synthetic voice has digital silence around its sentences: whatever is called speech there is wrong.
    x = np.concatenate((np.zeros(16000, np.float32), speech, np.zeros(16000, np.float32)))
    found = webrtc_vad.segments(convert(x, 16000, rate), rate)
    length = len(speech) / 16000
    assert 0.9 < found[0][0] < 1.8
    assert 1 + length - 1.5 < found[-1][1] < 1 + length + 0.5  # it hangs over by up to 0.3 s
    assert sum(b - a for a, b in found) > 0.5 * length


def test_agrees_with_our_own_on_clean_speech(speech):
    ours = sum(b - a for a, b in segments(speech, 16000))
    theirs = sum(b - a for a, b in webrtc_vad.segments(speech, 16000))
    assert theirs == pytest.approx(ours, rel=0.25)


def test_speech_in_any_channel_counts(speech):
    both = np.stack([np.zeros_like(speech), speech])
    np.testing.assert_array_equal(webrtc_vad.activity(both, 16000), webrtc_vad.activity(speech, 16000))


def test_nothing_gives_nothing():
    assert webrtc_vad.segments(np.zeros(0, np.float32), 16000) == []
    assert webrtc_vad.segments(np.zeros(77, np.float32), 16000) == []


def test_bad_input_is_named():
    with pytest.raises(ParameterError, match="0, 1, 2 or 3"):
        webrtc_vad.activity(np.zeros(160, np.float32), 16000, 4)
    with pytest.raises(NonFiniteError):
        webrtc_vad.activity(np.array([np.nan]), 16000)
