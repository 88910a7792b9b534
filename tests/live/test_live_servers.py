"""The command against real sound servers: null sinks, their monitors, a chirp through the cable.

A sound server is a program like others, and a busy machine lets it wait: then its buffers run empty, move, or the
stream ends. None of that is a fault of ours, so nothing here asserts how long a block took, how steady a delay was or
how much was lost (a cable of exact length is in ``test_live_measure.py``). What is asserted holds however late
everything is.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from live_helpers import pipewire_problem, pipewire_server, pulse_problem, pulse_server

from unmuffle.io import read, write
from unmuffle.live.measure import LONGEST_S, QUALITY, REPEATS

STARVED = re.compile(
    r"the device stopped in the middle|only \d of \d chirps came back|the sound device has (not called|gone)"
)
"""What the command says of a device that a busy machine lets wait for seconds: the way out that it promises."""
TRIES = 3
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
        command(device, *words), env={**environment, **changed}, capture_output=True, text=True, timeout=600,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def run_with_patience(server, *words, **changed):
    """The facts it tells. A starved device is tried again; any other refusal is a failure."""
    for _ in range(TRIES):
        done = run(server, *words, **changed)
        assert "Traceback" not in done.stderr
        told = done.stdout + done.stderr  # with --json, errors are told on standard output
        if not (done.returncode == 3 and STARVED.search(told)):
            break
    else:
        pytest.skip(f"the sound server got no time, {TRIES} times: {told.strip()[-300:]}")
    assert done.returncode == 0, told
    return json.loads(done.stdout)


def test_the_devices_of_the_server_are_listed(server):
    listed = json.loads(run(server, "--list", "--json").stdout)
    names = {d["name"]: d for d in listed}
    assert {server[1], "default"} <= set(names)
    assert names["default"]["default_input"]
    assert names["default"]["default_output"]


def test_the_cable_is_measured(server):
    """A null sink has no length of its own: what is found is the buffers, wherever the load has moved them."""
    told = run_with_patience(server, "--measure", "--json", "--block", "20")
    assert (told["rate"], told["block"], told["method"]) == (48000, 960, "classic")
    assert server[1] in told["input"]
    assert server[1] in told["output"]
    delays = 1e3 * np.asarray(told["delays_samples"]) / told["rate"]
    assert REPEATS // 2 < told["chirps"] == len(delays) <= REPEATS
    assert told["quality"] >= QUALITY
    assert told["device_ms"] == pytest.approx(np.median(delays))
    assert told["device_spread_ms"] == pytest.approx(np.ptp(delays))
    # What comes back was handed over before, and is not looked for beyond the longest delay.
    assert 0 < told["device_ms"] <= 1e3 * LONGEST_S
    assert told["device_stated_ms"] > 0
    assert told["algorithm_ms"] > 20  # a block of reserve, and what the method needs
    assert told["total_ms"] == pytest.approx(told["device_ms"] + told["algorithm_ms"])


def wait_for_player(environment):
    """Until the sink has something to play."""
    until = time.monotonic() + 120
    listed = ["pactl", "list", "short", "sink-inputs"]
    while not subprocess.run(listed, env=environment, capture_output=True, check=False).stdout.strip():
        assert time.monotonic() < until, "paplay does not begin"
        time.sleep(0.1)


def test_sound_goes_through_and_is_recorded(server, tmp_path):
    """A tone played into the microphone's sink arrives in the recording, from both sides."""
    tone = (0.2 * np.sin(2 * np.pi * 1000 * np.arange(8000 * 600) / 8000)).astype(np.float32)
    write(tmp_path / "tone.wav", tone, 8000)  # longer than the command may take to start
    with open(tmp_path / "log", "wb") as log:
        player = subprocess.Popen(["paplay", "--device=cable", str(tmp_path / "tone.wav")], env=server[0], stdout=log, stderr=log)
    try:
        wait_for_player(server[0])
        # The output goes elsewhere: into the cable it would be a loop.
        told = run_with_patience(
            server, "--seconds", "5", "--block", "20", "--record", "--record-to", str(tmp_path / "out"), "--json", "--bypass",
            PULSE_SINK="elsewhere",
        )  # fmt: skip
        assert player.poll() is None, (tmp_path / "log").read_text()
    finally:
        player.terminate()
        player.wait()
    assert told["counts"]["faults"] == told["counts"]["misfits"] == 0
    ((before, after),) = told["recordings"]
    one, rate = read(before)
    two, _ = read(after)
    assert rate == 48000
    assert one.shape == two.shape
    if not told["notes"]:  # no restart, nothing lost on the way to the disk
        differ = np.flatnonzero(one[0] != two[0])
        assert len(differ) <= 0.006 * 48000 * (1 + told["counts"]["late"])  # only ramps after trouble
    if one.shape[1] < rate:
        pytest.skip(f"of 5 seconds {one.shape[1] / rate:.2f} came from the sound server: {told['notes']}")
    # From one rise through zero to the next it is 1 ms, whatever gaps there are between stretches of tone.
    loud = np.flatnonzero(np.abs(one[0]) > 0.01)
    assert len(loud) > 0.1 * rate, "the recording is silent"
    x = one[0, loud[0] : loud[-1]]
    rises = np.flatnonzero((x[:-1] < 0) & (x[1:] >= 0))
    assert np.median(np.diff(rises)) == 48


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
            os.kill(int(environment["DAEMON_PID"]), signal.SIGKILL)
            _, err = process.communicate(timeout=300)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert process.returncode == 3, err
    assert "the sound device" in err
    assert "Traceback" not in err
