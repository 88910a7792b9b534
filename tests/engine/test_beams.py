"""Arrays in front of an enhancement: what the plan makes, and who comes out of a room."""

import numpy as np
import pytest
from signals import bundled

import unmuffle
from unmuffle.engine.beams import ArrayPlan, direction_of, faults, heard_direction, parse_direction
from unmuffle.enhancers.registry import load
from unmuffle.errors import InputError, ParameterError, ShapeError
from unmuffle.io import read, write
from unmuffle.signal.arrays import parse_array

RATE, ARRAY = 16000, "circle:4:0.05"


def heard(azimuth, x):
    """A plane wave at the four microphones, and a little noise of their own."""
    lead = 0.05 * np.cos(np.deg2rad(azimuth - 90.0 * np.arange(4))) / 343.2
    f = np.fft.rfftfreq(x.size, 1 / RATE)
    waves = np.fft.irfft(np.fft.rfft(x) * np.exp(2j * np.pi * f * lead[:, None]), x.size)
    return (waves + 1e-3 * np.random.default_rng(0).standard_normal(waves.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("beams") / "four.wav"
    write(path, heard(130.0, bundled("clean")[:48000]), RATE, "FLOAT")
    return path


def test_a_direction_is_heard_and_the_beam_goes_there(recording):
    plan = ArrayPlan(ARRAY, "auto", "mvdr")
    azimuth, _ = heard_direction(recording, plan.geometry)
    assert azimuth == pytest.approx(130.0, abs=2.0)
    made = plan.enhancer((azimuth, 0.0))
    assert (made.form, made.azimuth_deg) == ("steered", azimuth)
    assert parse_array(made.array).positions == pytest.approx(parse_array(ARRAY).positions)
    assert made == ArrayPlan(ARRAY, f"{azimuth!r}", "mvdr").enhancer()


def test_the_array_s_file_is_kept_as_positions(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "circle"\nmicrophones = 4\nradius_m = 0.05\n', encoding="utf-8")
    made = ArrayPlan(str(path), "30").enhancer()
    path.write_text('preset = "circle"\nmicrophones = 4\nradius_m = 0.06\n', encoding="utf-8")
    assert "mine.toml" not in made.key()
    assert made.key() != ArrayPlan(str(path), "30").enhancer().key()
    assert made.key() == ArrayPlan(ARRAY, "30").enhancer().key()


def test_the_order_is_dereverberation_beam_method():
    chain = ArrayPlan(ARRAY, "30,10", "delay-and-sum", "late-reverb").enhancer(None, load("log-mmse"))
    assert [stage.name for stage in chain.stages] == ["late-reverb", "delay-and-sum", "log-mmse"]
    assert chain.stages[1].elevation_deg == 10.0
    assert chain.stream(RATE, 4).channels_out == 1
    assert ArrayPlan(dereverb="wpe").enhancer().stream(RATE, 4).channels_out == 4
    assert ArrayPlan(beamformer="gev").enhancer(values={"loading": 0.1}).loading == 0.1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"beamformer": "wpe"}, "no beamformer"),
        ({"dereverb": "mvdr"}, "no dereverberation"),
        ({"beamformer": "mvrd"}, "did you mean"),
        ({"direction": "30"}, "needs an array"),
        ({"array": ARRAY, "direction": "30", "beamformer": "gev"}, "takes no direction"),
        ({"array": ARRAY, "direction": "north"}, "give an azimuth"),
        ({"array": ARRAY, "direction": "1,2,3"}, "give an azimuth"),
        ({"array": ARRAY, "direction": "361"}, "-360 to 360"),
        ({"array": "circel"}, "did you mean 'circle'"),
        ({"array": "/nowhere/x.toml"}, "cannot be read"),
    ],
)
def test_plans_without_meaning_are_named(values, words):
    with pytest.raises(ParameterError) as error:
        ArrayPlan(**values)
    assert words in str(error.value)


def test_directions_as_text():
    assert parse_direction(" -30 ") == (330.0, 0.0)
    with pytest.raises(ParameterError, match="elevation"):
        parse_direction("0,95")


def test_what_cannot_be_heard_is_named(recording):
    with pytest.raises(InputError, match="no direction"):
        direction_of(np.zeros((4, 9000), np.float32), RATE, parse_array(ARRAY))
    with pytest.raises(ParameterError, match="pipe"):
        heard_direction("-", parse_array(ARRAY))
    with pytest.raises(ShapeError, match="has 4 channel"):
        heard_direction(recording, parse_array("line-8"))


def test_faults_of_channels_are_told(tmp_path, recording):
    assert faults(recording, parse_array(ARRAY)) == []
    x, _ = read(recording)
    x[2] = 0.0
    write(tmp_path / "dead.wav", x, RATE)
    assert "channel 2 is dead" in faults(tmp_path / "dead.wav", None)[0]


def test_files_become_mono(recording, tmp_path):
    report = unmuffle.enhance_file(recording, tmp_path / "out.wav", ArrayPlan(ARRAY, "130", "delay-and-sum").enhancer())
    assert report.channels == 1
    out, _ = read(tmp_path / "out.wav")
    # A beam towards the voice leaves it as the reference microphone heard it.
    x, _ = read(recording)
    error = out[0, RATE:] - x[0, RATE:]
    assert np.sum(error**2) < 0.01 * np.sum(x[0, RATE:] ** 2)
