"""Arrays in simulated rooms: geometry, coherence, levels, and a record that says what is there."""

import json
import sys

import numpy as np
import pytest

from unmuffle.cli import main
from unmuffle.degrade.array_rooms import Place, RoomScene, random_scene, simulate
from unmuffle.degrade.array_set import RoomDraw, make_array_set
from unmuffle.degrade.diffuse import make_diffuse
from unmuffle.degrade.snr import active_snr_db
from unmuffle.degrade.spec import parse_range
from unmuffle.errors import InputError, ParameterError, UnknownParameterError
from unmuffle.io import read, write
from unmuffle.signal.arrays import parse_array
from unmuffle.signal.steering import diffuse_coherence, far_field, near_field, point_at

RATE = 16000


def voice(seed, seconds=2.0):
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    syllables = np.clip(np.sin(2 * np.pi * 1.7 * t + seed), 0, None)
    return (0.1 * syllables * rng.standard_normal(t.size)).astype(np.float32)


@pytest.mark.parametrize("azimuth", [0.0, 70.0, 250.0])
def test_a_free_field_is_the_steering_vector(azimuth):
    scene = RoomScene((Place(azimuth, 10.0, 1.2),), "circle:4:0.08", t60_s=0.0, noise_snr_db=None, rotation_deg=33.0)
    heard = simulate(scene, [voice(1)])
    response = np.fft.rfft(heard.responses[0], 1024)
    f = np.fft.rfftfreq(1024, 1 / RATE)[32:448]  # 0.5 to 7 kHz: the filter of the simulator is flat there
    ratio = (response[:, 32:448] / response[0, 32:448]).T
    exact = near_field(scene.geometry, f, point_at(azimuth, 10.0, 1.2), reference=0)
    # 0.01 of amplitude and radian: what the simulator's 81-tap interpolation leaves.
    assert np.abs(ratio - exact).max() < 0.01
    # At 1.2 m a plane wave is a coarser description, but the right one.
    assert np.abs(ratio - far_field(scene.geometry, f, azimuth, 10.0, reference=0)).max() < 0.5
    np.testing.assert_array_equal(heard.mix, heard.images[0])
    np.testing.assert_allclose(heard.early, heard.images, atol=1e-6)


def test_time_zero_and_arrivals():
    scene = random_scene(np.random.default_rng(3), t60_s=0.3, sources=2)
    heard = simulate(scene, [voice(1), voice(2)])
    assert 40 <= heard.arrival_samples[0].min() < 41
    for m in range(4):
        # The direct sound of the first source is the strongest; its peak lies where the distance says.
        assert abs(np.argmax(np.abs(heard.responses[0, m])) - heard.arrival_samples[0, m]) <= 1.0


def test_parts_add_up_and_levels_are_met():
    scene = random_scene(
        np.random.default_rng(4), t60_s=0.4, sources=3, level_db=-3.0, noise_snr_db=5.0, sensor_snr_db=None
    )
    heard = simulate(scene, [voice(1), voice(2), voice(3)])
    np.testing.assert_allclose(heard.mix, heard.images.sum(axis=0) + heard.noise, atol=1e-6)
    for image in heard.images[1:]:  # 0.05 dB: which samples are active is decided before scaling
        assert active_snr_db(heard.images[0], image, RATE) == pytest.approx(3.0, abs=0.05)
    assert active_snr_db(heard.images[0], heard.noise, RATE) == pytest.approx(5.0, abs=0.05)
    # Direct sound and the first 50 ms hold most of the energy at half a second of reverberation.
    early = np.sum(heard.early[0] ** 2) / np.sum(heard.images[0] ** 2)
    assert 0.6 < early < 1.0
    assert heard.record["t60_s"] == pytest.approx(0.4, rel=0.15)


def test_the_same_seed_gives_the_same_samples_and_the_record_all_of_it():
    scene = random_scene(np.random.default_rng(5), t60_s=0.2, sensor_snr_db=40.0, gain_error_db=1.0)
    one, two = (simulate(scene, [voice(1), voice(2)]) for _ in range(2))
    np.testing.assert_array_equal(one.mix, two.mix)
    again = RoomScene.from_dict(json.loads(json.dumps(one.record["scene"])))
    assert again == scene
    np.testing.assert_array_equal(simulate(again, [voice(1), voice(2)]).mix, one.mix)
    assert 0.3 < np.std(one.record["gains_db"]) < 3.0
    with pytest.raises(UnknownParameterError, match="sizes_m"):
        RoomScene.from_dict({"sources": [{"azimuth_deg": 0}], "sizes_m": [1, 2, 3]})


@pytest.mark.parametrize("text", ["line:3:0.06", "respeaker-4mic", "0,0,0; 0.1,0,0.05"])
def test_diffuse_noise_has_the_coherence_of_theory(text):
    array = parse_array(text)
    noise = make_diffuse(np.random.default_rng(0).standard_normal((len(array), 40 * RATE)), array, RATE)
    frames = np.lib.stride_tricks.sliding_window_view(noise, 512, axis=1)[:, ::256] * np.hanning(512)
    spectra = np.fft.rfft(frames)
    cross = np.einsum("mlk,nlk->kmn", spectra, spectra.conj())
    power = np.sqrt(np.einsum("kmm,knn->kmn", cross, cross).real)
    theory = diffuse_coherence(array, np.arange(257) * RATE / 512)
    # 2500 frames: a standard error of 0.02 in each of 257 bins; the largest of them stays below 0.08.
    assert np.abs(cross / power - theory)[3:-3].max() < 0.08
    assert np.std(noise) == pytest.approx(1.0, abs=0.02)


def test_one_microphone_and_many():
    one = simulate(random_scene(np.random.default_rng(1), array="0,0,0", t60_s=0.2), [voice(1), voice(2)])
    assert one.mix.shape == (1, 32000)
    scene = RoomScene((Place(10.0),), "line:64:0.01", t60_s=0.0, noise_snr_db=10.0)
    assert simulate(scene, [voice(1, 0.5)]).mix.shape == (64, 8000)


def test_what_does_not_fit_is_named():
    with pytest.raises(ParameterError, match="source 0 is at"):
        RoomScene((Place(0.0, 0.0, 9.0),))
    with pytest.raises(ParameterError, match="microphone 0"):
        RoomScene((Place(0.0),), array_m=(0.0, 0.0, 0.0))
    with pytest.raises(ParameterError, match="at least one source"):
        RoomScene(())
    with pytest.raises(ParameterError, match="elevation"):
        Place(0.0, 100.0)
    with pytest.raises(ParameterError, match="free field"):
        RoomScene((Place(0.0),), t60_s=5.0)
    scene = RoomScene((Place(0.0), Place(90.0)), t60_s=0.0)
    with pytest.raises(InputError, match="2 source"):
        simulate(scene, [voice(1)])
    with pytest.raises(InputError, match="first source is silent"):
        simulate(scene, [np.zeros(8000, np.float32), voice(1)])
    with pytest.raises(InputError, match="source 1 is silent"):
        simulate(scene, [voice(1), np.zeros(8000, np.float32)])
    with pytest.raises(ParameterError, match="no room"):
        random_scene(np.random.default_rng(0), distance_m=(20.0, 30.0))


def test_a_set_of_recordings(tmp_path):
    (tmp_path / "speech").mkdir()
    for i in range(3):
        write(tmp_path / "speech" / f"p{i}_1.wav", voice(i, 1.5), RATE)
    draw = RoomDraw(t60_s=parse_range("0.15..0.25", "t60", 0, 2), seconds=1.0)
    made = make_array_set(tmp_path / "speech", tmp_path / "out", draw, count=2, seed=1)
    truth = json.loads(made[1].read_text())
    assert truth["files"][0]["file"] != truth["files"][1]["file"]
    assert len(truth["microphones_m"]) == 4
    mix, rate = read(tmp_path / "out" / "mix" / "room_001.wav")
    assert (mix.shape, rate) == ((4, RATE), RATE)
    parts = [read(tmp_path / "out" / "image" / f"room_001_source_{s}.wav")[0] for s in range(2)]
    parts.append(read(tmp_path / "out" / "noise" / "room_001.wav")[0])
    np.testing.assert_allclose(mix, sum(parts), atol=1e-6)
    packed = np.load(tmp_path / "out" / "response" / "room_001.npz")
    assert packed["responses"].shape[:2] == packed["arrival_samples"].shape == (2, 4)
    # A larger set begins with the smaller one.
    one = make_array_set(tmp_path / "speech", tmp_path / "one", draw, count=1, seed=1)
    assert (tmp_path / "one" / "mix" / "room_000.wav").read_bytes() == (
        tmp_path / "out" / "mix" / "room_000.wav"
    ).read_bytes()
    assert json.loads(one[0].read_text())["scene"] == json.loads(made[0].read_text())["scene"]


def test_the_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "speech").mkdir()
    write(tmp_path / "speech" / "a.wav", voice(0, 1.0), RATE)

    def run(*args):
        command = ["unmuffle", "simulate-room", str(tmp_path / "speech"), str(tmp_path / "out"), *args]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main.run()
        return ended.value.code, *capsys.readouterr()

    code, out, _ = run("--talkers", "1", "--t60", "0.2", "--seconds", "0.5", "--json")
    assert code == 0
    assert len(json.loads(out)["truth"]) == 1
    for bad in (["--array", "circel"], ["--t60", "9"], ["--talkers", "0"], ["--snr", "loud"], ["--color", "red"]):
        code, _, err = run(*bad)
        assert code == 2
        assert err.startswith("unmuffle: ")
