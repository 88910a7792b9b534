"""Choosing devices by number and name, and what is said when there is none."""

import sys

import pytest

from unmuffle.errors import DeviceError, MissingExtraError
from unmuffle.live import devices
from unmuffle.live.fake import FakeSound


class ManySound(FakeSound):
    """Two sound systems that show the same headset."""

    def query_hostapis(self):
        return ({"name": "One"}, {"name": "Two"})

    def query_devices(self, device=None, kind=None):
        lines = []
        for host in (0, 1):
            for name, inputs, outputs in (("USB Headset", 1, 2), ("USB Headset Pro", 2, 0), ("Speakers", 0, 2)):
                lines.append({
                    "name": name, "index": len(lines), "hostapi": host, "max_input_channels": inputs,
                    "max_output_channels": outputs, "default_samplerate": 48000.0,
                    "default_low_input_latency": 0.01, "default_low_output_latency": 0.02,
                })  # fmt: skip
        return lines if kind is None else lines[3 if kind == "input" else 5]


class NoSound(FakeSound):
    """A machine without a sound card, as sounddevice shows it."""

    def query_devices(self, device=None, kind=None):
        if kind is not None:
            raise self.PortAudioError("Error querying device -1")
        return []


@pytest.mark.parametrize(
    ("wanted", "kind", "number"),
    [
        (None, "input", 0), (None, "output", 1), ("2", "input", 2), (" 2 ", "output", 2),
        ("fake headset", "output", 2), ("MICRO", "input", 0), ("speaker", "output", 1),
    ],
)  # fmt: skip
def test_by_number_name_and_part_of_it(wanted, kind, number):
    assert devices.find(FakeSound(), wanted, kind).number == number


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ("7", "input", "there is no device 7"),
        ("1", "input", "device 1 has no input"),
        ("Fake", "output", r"'Fake' may be any of 1 \(Fake loudspeaker, Nothing\), 2"),
        ("trumpet", "input", "no input is called 'trumpet'"),
        ("", "input", "no input is called ''"),
    ],
)
def test_what_cannot_be_chosen_is_said(wanted, kind, message):
    with pytest.raises(DeviceError, match=message):
        devices.find(FakeSound(), wanted, kind)


def test_a_device_of_two_systems_is_that_of_the_default_system():
    sound = ManySound()
    assert devices.find(sound, "speakers", "output").number == 5
    assert devices.find(sound, "usb headset", "input").number == 3  # the exact name before the longer one


def test_a_machine_without_devices():
    assert devices.devices(NoSound()) == []
    with pytest.raises(DeviceError, match="there is no input device"):
        devices.find(NoSound(), None, "input")


def test_the_list_tells_all():
    first, second, third = devices.devices(FakeSound(rate=48000))
    assert (first.default_input, first.default_output) == (True, False)
    assert (second.default_input, second.default_output) == (False, True)
    assert (third.inputs, third.outputs, third.rate, third.host) == (1, 2, 48000, "Nothing")
    assert (third.input_ms, third.output_ms) == (5.0, 8.0)


def test_without_the_package_the_pip_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unmuffle\[live\]'"):
        devices.system()


def test_without_the_library_the_debian_package_is_named(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(DeviceError, match="apt install libportaudio2"):
        devices.system()
