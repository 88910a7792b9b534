"""Directions of waves whose direction is known, and of real recordings where they are at hand."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from array_scenes import talk, wave

from unmuffle.errors import NonFiniteError, ParameterError, ShapeError
from unmuffle.io import read
from unmuffle.signal.arrays import parse_array
from unmuffle.signal.direction import METHODS, angle_between, find_directions, grid_for
from unmuffle.signal.tracking import DirectionTracker, track_directions

RATE = 16000


def noise(array, seed, level):
    shape = (len(parse_array(array)), 2 * RATE)
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("array", "azimuth", "elevation", "method"),
    [
        ("respeaker-4mic", 10.0, 0.0, "srp-phat"),
        ("respeaker-4mic", 200.0, 40.0, "srp-phat"),
        ("respeaker-4mic", 200.0, 40.0, "music"),
        ("circle:6:0.045", 358.0, 20.0, "music"),
        ("line-8", 77.0, 0.0, "srp-phat"),
        ("line-8", 77.0, 0.0, "music"),
        ("line:4:0.04", 140.0, 0.0, "srp-phat"),
        ("0,0,0; 0.1,0,0; 0,0.1,0; 0,0,0.1", 300.0, -30.0, "srp-phat"),
    ],
)
def test_one_talker_in_a_little_noise(array, azimuth, elevation, method):
    x = wave(array, talk(1, 2.0, RATE), RATE, azimuth, elevation) + noise(array, 2, 0.01)
    found = find_directions(x, RATE, parse_array(array), method=method)
    # Half a step of the grid (3 degrees) and a little noise; elevations are 10 degrees apart, and near the
    # horizon a flat array hardly feels them (the cosine is flat there).
    assert angle_between(found.talkers[0].azimuth_deg, azimuth) < 2.0
    if elevation:
        assert abs(found.talkers[0].elevation_deg - elevation) < 8.0
    assert len(found.talkers) == 1 or found.talkers[1].share < 0.2
    assert found.power.max() == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_any_rate(rate):
    x = wave("circle:4:0.05", talk(1, 2.0, rate), rate, 123.0)
    found = find_directions(x, rate, parse_array("circle:4:0.05"), talkers=1)
    assert angle_between(found.talkers[0].azimuth_deg, 123.0) < 2.0


@pytest.mark.parametrize("method", METHODS)
def test_three_talkers_at_once_are_counted(method):
    array = "circle:6:0.045"
    truth = [20.0, 100.0, 250.0]
    x = sum(wave(array, talk(i, 2.0, RATE), RATE, a) for i, a in enumerate(truth)) + noise(array, 2, 0.003)
    found = find_directions(x, RATE, parse_array(array), method=method)
    assert len(found.talkers) == 3
    for azimuth in truth:
        assert min(angle_between(t.azimuth_deg, azimuth) for t in found.talkers) < 5.0
    two = find_directions(x, RATE, parse_array(array), method=method, talkers=2)
    assert len(two.talkers) == 2


def test_a_line_along_y_answers_on_its_right():
    array = parse_array("0,0.1,0; 0,0,0; 0,-0.1,0")
    grid = grid_for(array)
    assert grid.azimuths_deg[0] == pytest.approx(-90)
    x = wave("0,0.1,0; 0,0,0; 0,-0.1,0", talk(1, 2.0, RATE), RATE, 40.0)
    assert find_directions(x, RATE, array).talkers[0].azimuth_deg == pytest.approx(40.0, abs=2.0)


@pytest.mark.parametrize("method", METHODS)
def test_silence_and_white_noise_have_no_or_any_direction_but_no_error(method):
    array = parse_array("respeaker-4mic")
    for x in (np.zeros((4, 8000)), np.full((4, 8000), 0.5), np.zeros((4, 0)), np.zeros((4, 1)), np.full((4, 8000), 1e-40)):
        assert find_directions(x.astype(np.float32), RATE, array, method=method).talkers == ()
    found = find_directions(noise("respeaker-4mic", 1, 0.1), RATE, array, method=method)
    assert len(found.votes.weight) < 30  # of about 1100 zones


def test_a_dead_channel_is_left_out_and_bad_input_is_named():
    array = parse_array("circle:4:0.05")
    x = wave("circle:4:0.05", talk(1, 2.0, RATE), RATE, 300.0)
    x[2] = 0.0
    assert angle_between(find_directions(x, RATE, array, talkers=1).talkers[0].azimuth_deg, 300.0) < 3.0
    with pytest.raises(ShapeError, match="has 3 channel"):
        find_directions(x[:3], RATE, array)
    with pytest.raises(ParameterError, match="one microphone"):
        find_directions(x[:1], RATE, parse_array("0,0,0"))
    with pytest.raises(ParameterError, match="srp-phat"):
        find_directions(x, RATE, array, method="srp")
    for bad in (0, 9, 2.5, True):
        with pytest.raises(ParameterError, match="1 to 8"):
            find_directions(x, RATE, array, talkers=bad)
    x[1, 500] = np.nan
    with pytest.raises(NonFiniteError):
        find_directions(x, RATE, array)


def test_sixty_four_microphones():
    x = wave("line:64:0.02", talk(1, 0.6, RATE), RATE, 60.0)
    found = find_directions(x, RATE, parse_array("line:64:0.02"), talkers=1)
    assert angle_between(found.talkers[0].azimuth_deg, 60.0) < 2.0


# -- in time -----------------------------------------------------------------------------------------


def walk(array, rate=RATE):
    """A talker who goes from 0 to 180 degrees in ten seconds."""
    parts = [wave(array, talk(i, 0.5, rate), rate, 9.0 * i) for i in range(20)]
    return np.concatenate(parts, axis=1)


def test_a_walking_talker_is_followed():
    x = walk("circle:6:0.045") + np.tile(noise("circle:6:0.045", 1, 0.003), (1, 5))[:, : 10 * RATE]
    fixes = track_directions(x, RATE, parse_array("circle:6:0.045"), 1, memory_s=0.5)
    late = [f for f in fixes if f.time_s > 2.0 and f.tracks]
    assert len(late) > 100
    error = [angle_between(f.tracks[-1].azimuth_deg, 9.0 * int(f.time_s / 0.5)) for f in late]
    # 18 degrees a second, votes half a second old on average: some 9 degrees behind, and a step of 9.
    assert np.median(error) < 15.0


def test_any_split_gives_the_same_fixes_and_the_state_can_be_moved():
    array = parse_array("circle:6:0.045")
    x = walk("circle:6:0.045")[:, : 2 * RATE]
    whole = DirectionTracker(array, RATE, 2).process(x)
    tracker, other = DirectionTracker(array, RATE, 2), DirectionTracker(array, RATE, 2)
    parts = [f for i in range(0, RATE, 777) for f in tracker.process(x[:, i : min(i + 777, RATE)])]
    other.restore(tracker.snapshot())
    parts += other.process(x[:, RATE:])
    assert parts == whole
    assert [f.time_s for f in whole] == pytest.approx(0.064 * np.arange(1, len(whole) + 1))


def test_a_track_ends_when_its_talker_has_left():
    array = "circle:4:0.05"
    x = wave(array, talk(1, 2.0, RATE), RATE, 90.0)
    x = np.concatenate((x, np.zeros((4, 3 * RATE), np.float32)), axis=1)
    fixes = track_directions(x, RATE, parse_array(array), 1, lost_s=2.0)
    assert any(f.tracks for f in fixes)
    assert not fixes[-1].tracks
    with pytest.raises(ParameterError, match="memory_s"):
        DirectionTracker(parse_array(array), RATE, memory_s=0.0)


# -- real recordings ---------------------------------------------------------------------------------

DATA = Path(os.environ.get("UNMUFFLE_DATA", "")) / "arrays"
RECORDINGS = sorted(DATA.glob("respeaker_usb_4mic__*.flac")) if "UNMUFFLE_DATA" in os.environ else []


@pytest.mark.skipif(not RECORDINGS, reason="UNMUFFLE_DATA has no arrays/respeaker_usb_4mic__*.flac")
@pytest.mark.parametrize("method", METHODS)
def test_real_talkers_around_a_small_circle(method):
    array = parse_array("respeaker-4mic")
    alone, several = [], []
    for path in RECORDINGS:
        truth = [float(a) for a in re.findall(r"a(\d+)e\d+", path.name.split("cm")[0])]
        x, rate = read(path)
        found = find_directions(x, rate, array, method=method, talkers=len(truth)).talkers
        errors = [min(angle_between(t.azimuth_deg, a) for t in found) for a in truth]
        (alone if len(truth) == 1 else several).extend(errors)
    assert np.median(alone) <= 5.0
    assert max(alone) <= 5.0
    assert np.median(several) <= 8.0
