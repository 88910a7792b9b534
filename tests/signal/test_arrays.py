"""Geometries as values: presets, text, TOML, and the mistakes people make in them."""

import numpy as np
import pytest

from unmuffle.errors import ParameterError, ShapeError, UnknownParameterError
from unmuffle.signal import arrays
from unmuffle.signal.arrays import ArrayGeometry, parse_array, parse_toml, read_array


@pytest.mark.parametrize("name", arrays.PRESETS)
def test_presets_are_centred_within_their_size_and_survive_every_form_of_text(name, tmp_path):
    array = parse_array(name)
    assert np.linalg.norm(array.centred, axis=1).max() < 0.5
    np.testing.assert_allclose(parse_array(array.to_text()).positions, array.positions, atol=1e-9)
    assert parse_toml(array.to_toml()) == array
    path = tmp_path / "a.toml"
    path.write_text(array.to_toml(), encoding="utf-8")
    assert read_array(path) == parse_array(str(path)) == array
    assert hash(read_array(path)) == hash(array)


def test_presets_have_the_measures_they_promise():
    np.testing.assert_allclose(np.diff(parse_array("line-8").positions[:, 0]), 0.12)
    respeaker = parse_array("respeaker-4mic")
    np.testing.assert_allclose(np.linalg.norm(respeaker.positions, axis=1), 0.032)
    # Microphones 90 degrees apart are sqrt(2) radii from each other.
    np.testing.assert_allclose(respeaker.distances[0, 1], 0.032 * np.sqrt(2))
    assert np.rad2deg(np.arctan2(*respeaker.positions[0, 1::-1])) == pytest.approx(45)
    four = parse_array("circle:4:0.05")
    np.testing.assert_allclose(four.positions[1], [0, 0.05, 0], atol=1e-12)
    assert parse_array("phone").distances[0, 1] == pytest.approx(0.14, abs=1e-3)


@pytest.mark.parametrize(("text", "dimensions"), [("0,0,0", 0), ("line", 1), ("circle", 2), ("phone", 1)])
def test_dimensions(text, dimensions):
    assert parse_array(text).dimensions == dimensions
    assert parse_array("0,0,0; 0.1,0,0; 0,0.1,0; 0,0,0.1").dimensions == 3


def test_toml_with_a_preset():
    array = parse_toml('name = "mine"\npreset = "circle"\nmicrophones = 6\nradius_m = 0.04')
    assert len(array) == 6
    assert array.name == "mine"
    np.testing.assert_allclose(np.linalg.norm(array.positions, axis=1), 0.04)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("positions = [[0, 0, 0]]", "did you mean 'positions_m'"),
        ("positions_m = [[0, 0]]", "three numbers"),
        ("positions_m = [[0, 0, 0], [0.1, 'x', 0]]", "microphone 1"),
        ("positions_m = [[0, 0, nan]]", "three numbers"),
        ("positions_m = 3", "positions_m ="),
        ("positions_m = []", "1 to 64"),
        ("positions_m = [[0, 0, 0], [0, 0, 0]]", "same place"),
        ("positions_m = [[0, 0, 0], [120, 0, 0]]", "in metres"),
        ("positions_m = [[0, 0, 0", "TOML"),
        ("name = 3\npositions_m = [[0, 0, 0]]", "not text"),
        ('preset = "circel"', "did you mean 'circle'"),
        ('preset = "circle"\nradius = 0.05', "did you mean 'radius_m'"),
        ('preset = "circle"\nmicrophones = 65', "1 to 64"),
        ('preset = "line"\nspacing_m = 5e-5', "metres"),
        ("", "positions_m"),
    ],
)
def test_a_toml_file_with_a_mistake_says_which(text, words, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace("'x'", '"x"'), encoding="utf-8")
    with pytest.raises(ParameterError) as error:
        read_array(path)
    assert words in str(error.value)
    assert "wrong.toml" in str(error.value)


def test_a_wrong_key_has_its_own_error():
    with pytest.raises(UnknownParameterError):
        parse_toml("positionsm = [[0, 0, 0]]")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("respeaker-4mik", "did you mean 'respeaker-4mic'"),
        ("circle:4:0.05:9", "radius_m"),
        ("circle:four", "not a number"),
        ("line-8:3", "no measures"),
        ("1,2; 3,4", "three numbers"),
        ("/nowhere/circle4.toml", "cannot be read"),
        ("", "presets are"),
    ],
)
def test_wrong_text_is_named(text, words):
    with pytest.raises(ParameterError) as error:
        parse_array(text)
    assert words in str(error.value)


def test_a_recording_that_does_not_fit_is_named():
    array = parse_array("respeaker-4mic")
    array.check_channels(4)
    with pytest.raises(ShapeError, match="has 6 channel"):
        array.check_channels(6)


def test_one_and_sixty_four_microphones():
    assert len(ArrayGeometry(((1, 2, 3),))) == 1
    assert len(parse_array("line:64:0.01")) == 64
    with pytest.raises(ParameterError, match="1 to 64"):
        ArrayGeometry(tuple((0.01 * i, 0, 0) for i in range(65)))


def test_a_subset_keeps_order():
    array = parse_array("line-8").subset([7, 0])
    np.testing.assert_allclose(array.positions[:, 0], [0.42, -0.42])
    with pytest.raises(ParameterError, match="0 to 1"):
        array.subset([2])
