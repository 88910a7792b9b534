"""The command against real sound servers: null sinks, their monitors, a chirp through the cable."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from live_helpers import pipewire_problem, pipewire_server, pulse_problem, pulse_server

from unmuffle.io import read, write

TROUBLE = "a loaded machine starves the sound server itself"
SERVERS = {
    "PulseAudio": (pulse_server, pulse_problem, "pulse"),
    "PipeWire through its Pulse side": (pipewire_server, pipewire_problem, "pulse"),
    "PipeWire": (pipewire_server, pipewire_problem, "pipewire"),
}


AVAILABLE = [name for name, (_, problem, _) in SERVERS.items() if not problem()]


def params():
    """The first that is there by default, the others among the slow tests. (Debian installs one or the other.)"""
    for name, (_, problem, _) in SERVERS.items():
        marks = [pytest.mark.skipif(bool(problem()), reason=problem())]
        yield pytest.param(name, id=name, marks=marks if name in AVAILABLE[:1] else [*marks, pytest.mark.slow])


@pytest.fixture(scope="module", params=params())
def server(request, tmp_path_factory):
    """The environment of a sound server, and the device that reaches it."""
    made, _, device = SERVERS[request.param]
    with made(tmp_path_factory.mktemp("server")) as environment:
        yield environment, device


def command(device, *words):
    devices = () if device is None else ("-i", device, "-o", device, "--rate", "48000")
    return [sys.executable, "-m", "unmuffle", "live", *devices, *words]


def run(server, *words, **changed):
    environment, device = server
    return subprocess.run(
        command(device, *words), env={**environment, **changed}, capture_output=True, text=True, timeout=180,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_the_devices_of_the_server_are_listed(server):
    listed = json.loads(run(server, "--list", "--json").stdout)
    names = {d["name"]: d for d in listed}
    assert {server[1], "default"} <= set(names)
    assert names["default"]["default_input"]
    assert names["default"]["default_output"]


def test_the_cable_is_measured_and_steady(server):
    """A null sink has no length of its own: what is found is the buffers, and the chirps agree to a millisecond."""
    done = run(server, "--measure", "--json", "--block", "20")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if told["overruns"]:
        pytest.skip(TROUBLE)
    assert told["chirps"] >= 3
    assert told["device_spread_ms"] < 1.0
    assert 20 < told["device_ms"] < 600
    assert told["total_ms"] == pytest.approx(told["device_ms"] + told["algorithm_ms"])


def test_sound_goes_through_and_is_recorded(server, tmp_path):
    """A tone played into the microphone's sink arrives in the recording, from both sides."""
    tone = (0.2 * np.sin(2 * np.pi * 1000 * np.arange(48000 * 12) / 48000)).astype(np.float32)
    write(tmp_path / "tone.wav", tone, 48000)
    with open(tmp_path / "log", "wb") as log:
        player = subprocess.Popen(["paplay", "--device=cable", str(tmp_path / "tone.wav")], env=server[0], stdout=log, stderr=log)
    try:
        # The output goes elsewhere: into the cable it would be a loop.
        done = run(
            server, "--seconds", "5", "--block", "20", "--record", "--record-to", str(tmp_path / "out"), "--json", "--bypass",
            PULSE_SINK="elsewhere",
        )  # fmt: skip
    finally:
        player.terminate()
        player.wait()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["counts"]["faults"] == told["counts"]["misfits"] == 0
    ((before, after),) = told["recordings"]
    one, rate = read(before)
    two, _ = read(after)
    assert rate == 48000
    assert one.shape == two.shape
    differ = np.flatnonzero(one[0] != two[0])
    assert len(differ) <= 0.006 * 48000 * (1 + told["counts"]["late"])  # only ramps after trouble
    spectrum = np.abs(np.fft.rfft(one[0] * np.hanning(one.shape[1])))
    assert np.argmax(spectrum) * rate / one.shape[1] == pytest.approx(1000, abs=5)


@pytest.mark.slow
@pytest.mark.skipif(not AVAILABLE, reason="no sound server is installed")
def test_a_server_that_dies_is_a_lost_device(tmp_path):
    """The daemon is killed under a running command: an error with exit code 3, soon, and no hanging process."""
    made, _, device = SERVERS[AVAILABLE[-1]]
    with made(tmp_path / "own") as environment:
        process = subprocess.Popen(
            command(device, "--block", "40", "--seconds", "60"), env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            first = process.stderr.readline()
            while first and "Ctrl-C ends it" not in first:
                first = process.stderr.readline()
            time.sleep(4)
            os.kill(int(environment["DAEMON_PID"]), signal.SIGKILL)
            _, err = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert process.returncode == 3, err
    assert "the sound device" in err
    assert "Traceback" not in err
