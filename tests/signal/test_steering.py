"""Steering vectors against waves that are written down by hand."""

import numpy as np
import pytest

from unmuffle.errors import ParameterError
from unmuffle.signal import steering
from unmuffle.signal.arrays import parse_array
from unmuffle.signal.fractional import delayed, fractional_delay


def test_speed_of_sound():
    # ISO 9613-1: 331.3 m/s at 0 degrees, 343.2 at 20.
    assert steering.speed_of_sound(0.0) == pytest.approx(331.3)
    assert steering.speed_of_sound(20.0) == pytest.approx(343.2, abs=0.05)
    with pytest.raises(ParameterError, match="Celsius"):
        steering.speed_of_sound(293.0)


def test_a_wave_from_the_right_reaches_the_right_microphone_first():
    array = parse_array("0,0,0; 0.1,0,0")
    c = steering.speed_of_sound()
    np.testing.assert_allclose(steering.far_field_delays(array, 0.0, reference=0), [0, -0.1 / c], atol=1e-12)
    np.testing.assert_allclose(steering.far_field_delays(array, 180.0, reference=0), [0, 0.1 / c], atol=1e-12)
    np.testing.assert_allclose(steering.far_field_delays(array, 90.0), [0, 0], atol=1e-12)
    np.testing.assert_allclose(
        steering.far_field_delays(array, 0.0, 60.0, reference=0), [0, -0.05 / c], atol=1e-12
    )


def test_the_vector_is_what_a_wave_does():
    # A tone written down in space and time: p(x, t) = cos(2 pi f (t + u x / c)), u towards the source.
    array, f, c = parse_array("circle:5:0.08"), 1300.0, steering.speed_of_sound(25.0)
    u = steering.unit_vectors(250.0, 35.0)
    t = np.arange(2000) / 48000
    x = np.exp(2j * np.pi * f * (t + (array.centred @ u / c)[:, None]))
    d = steering.far_field(array, [f], 250.0, 35.0, temperature_c=25.0)[0]
    np.testing.assert_allclose(x / np.exp(2j * np.pi * f * t), np.repeat(d[:, None], 2000, 1), atol=1e-9)


def test_azimuth_is_anticlockwise_and_elevation_up():
    np.testing.assert_allclose(steering.unit_vectors(90.0), [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(steering.unit_vectors(0.0, 90.0), [0, 0, 1], atol=1e-15)
    assert steering.unit_vectors(np.arange(6), np.arange(6)).shape == (6, 3)


def test_near_field_becomes_far_field():
    array, f = parse_array("respeaker-4mic"), np.arange(0, 8000, 250.0)
    near = steering.near_field(array, f, steering.point_at(70.0, 20.0, 500.0))
    # Wavefront curvature at 500 m is (32 mm)^2 / (2 * 500 m): a micrometre, 2e-4 rad at 8 kHz.
    np.testing.assert_allclose(near, steering.far_field(array, f, 70.0, 20.0), atol=3e-4)


def test_near_field_is_louder_at_the_nearer_microphone():
    array = parse_array("0,0,0; 0.2,0,0")
    d = steering.near_field(array, [500.0], [0.6, 0.0, 0.0], reference=0)[0]
    # The source is 0.7 m from the first microphone and 0.5 m from the second (centre at 0.1).
    assert abs(d[1]) == pytest.approx(0.7 / 0.5)
    expected = -2 * np.pi * 500 * (0.5 - 0.7) / steering.speed_of_sound()
    assert np.exp(1j * (np.angle(d[1]) - expected)) == pytest.approx(1)
    with pytest.raises(ParameterError, match="on a microphone"):
        steering.near_field(array, [500.0], [0.1, 0.0, 0.0])
    with pytest.raises(ParameterError, match="x, y, z"):
        steering.near_field(array, [500.0], [0.1, 0.0])


@pytest.mark.parametrize("bad", [(400.0, 0.0), (-361, 0), (0.0, 91.0), (float("nan"), 0.0), ("30", 0.0), (0, None)])
def test_directions_out_of_range_are_named(bad):
    with pytest.raises(ParameterError, match="degrees; give"):
        steering.far_field(parse_array("line"), [100.0], *bad)
    assert steering.check_direction(-90, 5) == (270.0, 5.0)


def test_a_reference_that_is_not_there():
    with pytest.raises(ParameterError, match="0 to 3"):
        steering.far_field(parse_array("line"), [100.0], 0.0, reference=4)


def test_diffuse_coherence_is_the_mean_over_all_directions():
    array, f = parse_array("0,0,0; 0.06,0.03,0.02; -0.1,0,0.04"), np.array([0.0, 300.0, 1000.0, 3000.0])
    # Directions spread evenly over the sphere (Fibonacci): the mean of d d^H is the integral.
    i = np.arange(20000) + 0.5
    elevation, azimuth = np.rad2deg(np.arcsin(1 - 2 * i / i.size)), np.rad2deg(np.pi * (1 + 5**0.5) * i) % 360
    d = steering.phases(f, steering.far_field_delays(array, azimuth, elevation))
    mean = np.einsum("fim,fin->fmn", d, d.conj()) / i.size
    np.testing.assert_allclose(mean, steering.diffuse_coherence(array, f), atol=2e-3)


def test_aliasing():
    line = parse_array("line-8")
    assert steering.aliasing_hz(line) == pytest.approx(343.2 / 0.24, rel=1e-3)
    # Just above that frequency two endfire waves (0 and 180 degrees) become one and the same.
    f = [steering.aliasing_hz(line)]
    a, b = steering.far_field(line, f, 0.0, reference=0), steering.far_field(line, f, 180.0, reference=0)
    np.testing.assert_allclose(a, b, atol=1e-9)
    assert "1430 Hz" in steering.aliasing_note(line, 8000.0)
    assert steering.aliasing_note(parse_array("0,0,0"), 8000.0) == ""
    assert steering.aliasing_note(line, 1000.0) == ""


@pytest.mark.parametrize("delay", [0.0, 0.25, 0.5, -0.5, 3.7, -12.3, 150.499])
def test_fractional_delay_is_a_delay(delay):
    h, start = fractional_delay(delay)
    f = np.linspace(0, 0.5 * 0.93, 200)  # cycles a sample
    response = np.exp(-2j * np.pi * np.outer(f, start + np.arange(len(h)))) @ h
    assert np.abs(response - np.exp(-2j * np.pi * f * delay)).max() < 1e-3


@pytest.mark.parametrize("delay", [0.3, 7.0, -4.6, 1e6, -1e6])
def test_delayed_tone(delay):
    t = np.arange(3000)
    x = np.stack([np.sin(0.7 * t), np.cos(0.2 * t)])
    y = delayed(x, delay)
    assert y.shape == x.shape
    if abs(delay) > 3000:
        assert not y.any()
        return
    expected = np.stack([np.sin(0.7 * (t - delay)), np.cos(0.2 * (t - delay))])
    np.testing.assert_allclose(y[:, 100:-100], expected[:, 100:-100], atol=1e-3)


def test_fractional_delay_refuses_nonsense():
    assert delayed(np.zeros(0), 3.2).shape == (0,)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ParameterError, match="finite"):
            fractional_delay(bad)
    with pytest.raises(ParameterError, match="odd"):
        fractional_delay(0.5, 10)


def test_steering_gives_the_delays_of_the_time_domain():
    # A wide-band signal delayed in time, seen in frequency: phases agree with the steering vector.
    rate, array = 16000, parse_array("respeaker-4mic")
    x = np.random.default_rng(0).standard_normal(8192)
    delays = steering.far_field_delays(array, 200.0)
    spectra = np.fft.rfft([delayed(x, rate * d) * np.hanning(8192) for d in delays])
    f = np.fft.rfftfreq(8192, 1 / rate)[100:3600]
    d = steering.far_field(array, f, 200.0)
    ratio = spectra[:, 100:3600] / np.fft.rfft(x * np.hanning(8192))[100:3600]
    assert np.median(np.abs(ratio.T - d)) < 0.02
