"""Faults of channels that are put in on purpose are found, and none is found where there is none."""

import numpy as np
import pytest
from array_scenes import talk, wave

from unmuffle.signal.arrays import parse_array
from unmuffle.signal.channels import channel_faults, dead_channels

RATE = 16000
ARRAY = parse_array("circle:6:0.045")


def sound():
    return wave("circle:6:0.045", talk(1, 3.0, RATE), RATE, 77.0)


def test_a_good_recording_has_no_faults():
    assert channel_faults(sound(), RATE, ARRAY) == []
    assert channel_faults(0.1 * np.random.default_rng(0).standard_normal((6, 30000)), RATE, ARRAY) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x[3].fill(0.0), "channel 3 is dead"),
        (lambda x: x[3].fill(0.3), "channel 3 is dead"),
        (lambda x: np.copyto(x[4], x[1]), "channel 4 is a copy of channel 1"),
        (lambda x: np.negative(x[2], out=x[2]), "opposite polarity"),
        (lambda x: np.copyto(x[5], np.roll(x[5], RATE)), "1.000 s later"),
        (lambda x: np.copyto(x[5], np.roll(x[5], -400)), "0.025 s earlier"),
    ],
)
def test_a_spoiled_channel_is_named(spoil, words):
    x = sound()
    spoil(x)
    faults = channel_faults(x, RATE, ARRAY)
    assert any(words in fault for fault in faults), faults


def test_little_or_no_sound():
    for shape in ((6, 0), (6, 5), (1, 5000)):
        assert channel_faults(np.zeros(shape), RATE) == []
    assert channel_faults(np.zeros((6, 9000)), RATE, ARRAY) == []
    assert dead_channels(np.zeros((3, 0), np.float32)) == []
    assert dead_channels(np.zeros((3, 10), np.float32)) == []
