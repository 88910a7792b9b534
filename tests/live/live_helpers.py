"""What the tests of live mode share: a private sound server, and an hour of sound held against the truth."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from unmuffle.engine.stream import LiveStream
from unmuffle.enhancers.registry import load
from unmuffle.live.fake import FakeSound, Script

HOUR_RATE = 16000

ASOUNDRC = "pcm.!default { type pulse }\nctl.!default { type pulse }\npcm.pulse { type pulse }\n"


@contextlib.contextmanager
def pulse_server(folder: Path):
    """A PulseAudio daemon of our own with two null sinks, ``cable`` and ``elsewhere``: its environment.

    It is a child of this process, listens on a socket in ``folder`` only, and ends with the context.
    """
    run, home = folder / "run", folder / "home"
    for path in (run, home):
        path.mkdir(parents=True)
        path.chmod(0o700)
    (home / ".asoundrc").write_text(ASOUNDRC)
    socket = run / "native"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PULSE", "PIPEWIRE", "DBUS"))},
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(run),
        "XDG_CONFIG_HOME": str(home),
        "PULSE_RUNTIME_PATH": str(run),
        "PULSE_STATE_PATH": str(home),
        "PULSE_SERVER": f"unix:{socket}",
        "PULSE_SINK": "cable",
        "PULSE_SOURCE": "cable.monitor",
    }
    modules = [
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
        "module-null-sink sink_name=cable rate=48000",
        "module-null-sink sink_name=elsewhere rate=48000",
    ]
    words = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--realtime=no"]
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen(
            [*words, *(word for module in modules for word in ("-L", module))],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until = time.monotonic() + 20
        while not socket.exists():
            if daemon.poll() is not None or time.monotonic() > until:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)
        environment["PULSE_DAEMON_PID"] = str(daemon.pid)
        yield environment
    finally:
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def pulse_problem() -> str:
    """Why PulseAudio cannot be used here, or nothing."""
    if shutil.which("pulseaudio") is None:
        return "pulseaudio is not installed (apt: pulseaudio libportaudio2 libasound2-plugins)"
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        return f"sounddevice: {error}"
    found = list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so"))
    return "" if found else "ALSA has no plugin for PulseAudio (apt: libasound2-plugins)"


def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def stream_for(seconds, seed=3, method="log-mmse"):
    """Run a device of odd block sizes and compare all that it plays with the offline engine's output.

    The device waits for the worker before each callback, as a machine that is quick enough would make it;
    what is late then is late by our own fault. Returns the live stream, the samples compared, the memory
    (MiB) at a tenth of the way and at the end, and the speed.
    """
    rng = np.random.default_rng(seed)
    loop = (0.1 * rng.standard_normal(7 * HOUR_RATE + 13)).astype(np.float32)  # no multiple of any block
    sizes = tuple(int(n) for n in rng.integers(16, 1024, 997))
    live = LiveStream(load(method), HOUR_RATE, largest=1024)
    truth = load(method).stream(HOUR_RATE)
    total = round(seconds * HOUR_RATE)
    state = {"fed": 0, "compared": 0, "early": truth.latency_samples, "memory": 0.0, "waiting": np.zeros(0, np.float32)}

    def source(first, n, rate):
        return loop[(first + np.arange(n)) % len(loop), np.newaxis]

    def check(stream):
        """Compare what was played since the last time."""
        n = stream.position - state["fed"]
        x = loop[(state["fed"] + np.arange(n)) % len(loop)]
        state["fed"] += n
        y = truth.process(x)
        y, state["early"] = y[state["early"] :], max(0, state["early"] - len(y))
        expected = state["waiting"] = np.concatenate((state["waiting"], y))
        end = stream.position - live.delay_samples
        m = end - state["compared"]
        if m > 0:
            out = np.empty((1, m), np.float32)
            assert stream.kept.read(state["compared"] + live.delay_samples, out)
            np.testing.assert_array_equal(out[0], expected[:m])
            state["waiting"], state["compared"] = expected[m:], end

    problems = []

    def before():
        stream = sound.streams[0]
        until = time.monotonic() + 60
        while live.waiting_samples and time.monotonic() < until:
            time.sleep(5e-5)
        if stream.calls % 512 == 511 and not problems:
            try:
                check(stream)
            except BaseException as error:  # shown by the test, not by the device's thread
                problems.append(error)
        if not state["memory"] and stream.position > total // 10:
            gc.collect()
            state["memory"] = resident_mib()

    sound = FakeSound(source, Script(speed=0, sizes=sizes, before=before), rate=HOUR_RATE, keep=1 << 20)
    stream = sound.Stream(
        samplerate=HOUR_RATE, blocksize=0, channels=(1, 1), callback=lambda i, o, n, clock, status: live.exchange(i, o)
    )
    began = time.perf_counter()
    live.start()
    stream.start()
    while stream.position < total and not problems:
        time.sleep(0.05)
    stream.close()
    live.stop()
    took = time.perf_counter() - began
    if problems:
        raise problems[0]
    check(stream)
    gc.collect()
    return live, state["compared"], state["memory"], resident_mib(), seconds / took
