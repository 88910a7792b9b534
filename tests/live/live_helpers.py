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
from unmuffle.quality.fallback import guard_for

HOUR_RATE = 16000

ASOUNDRC = "pcm.!default { type pulse }\nctl.!default { type pulse }\npcm.pulse { type pulse }\n"


@contextlib.contextmanager
def _children(environment, log):
    """Programs that run while the context lasts: a function that starts one."""
    started = []

    def start(*words):
        started.append(
            subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        )
        return started[-1]

    try:
        yield start
    finally:
        for process in reversed(started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _private(folder: Path):
    """An environment in which sound programs meet nobody but us."""
    run, home = folder / "run", folder / "home"
    for path in (run, home):
        path.mkdir(parents=True)
        path.chmod(0o700)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PULSE", "PIPEWIRE", "DBUS", "XDG"))}
    own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(run), "XDG_CONFIG_HOME": str(home), "XDG_STATE_HOME": str(home)}
    return {**kept, **own}, run, home


def _appears(path: Path, process, log: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(log.read_text())
        time.sleep(0.05)


@contextlib.contextmanager
def pulse_server(folder: Path):
    """A PulseAudio daemon of our own with two null sinks, ``cable`` and ``elsewhere``: its environment.

    It is a child of this process, listens on a socket in ``folder`` only, and ends with the context.
    """
    environment, run, home = _private(folder)
    (home / ".asoundrc").write_text(ASOUNDRC)
    socket = run / "native"
    environment |= {
        "PULSE_RUNTIME_PATH": str(run), "PULSE_STATE_PATH": str(home), "PULSE_SERVER": f"unix:{socket}",
        "PULSE_SINK": "cable", "PULSE_SOURCE": "cable.monitor",
    }  # fmt: skip
    modules = [
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
        "module-null-sink sink_name=cable rate=48000",
        "module-null-sink sink_name=elsewhere rate=48000",
    ]
    words = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--realtime=no"]
    with open(folder / "log", "wb") as log, _children(environment, log) as start:
        daemon = start(*words, *(word for module in modules for word in ("-L", module)))
        _appears(socket, daemon, folder / "log")
        yield {**environment, "DAEMON_PID": str(daemon.pid)}


@contextlib.contextmanager
def pipewire_server(folder: Path):
    """PipeWire with its session manager, its PulseAudio side and a message bus, all our own; sinks as above."""
    environment, run, _ = _private(folder)
    environment |= {
        "PIPEWIRE_RUNTIME_DIR": str(run), "DBUS_SESSION_BUS_ADDRESS": f"unix:path={run / 'bus'}",
        "PULSE_SERVER": f"unix:{run / 'pulse' / 'native'}",
    }  # fmt: skip
    log_file = folder / "log"
    with open(log_file, "wb") as log, _children(environment, log) as start:
        bus = start("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={run / 'bus'}")
        _appears(run / "bus", bus, log_file)
        daemon = start("pipewire")
        _appears(run / "pipewire-0", daemon, log_file)
        start("wireplumber")
        pulse = start("pipewire-pulse")
        _appears(run / "pulse" / "native", pulse, log_file)

        def asked(*words):
            until = time.monotonic() + 120
            while subprocess.run(["pactl", *words], env=environment, capture_output=True, check=False).returncode:
                if time.monotonic() > until:
                    raise RuntimeError(f"pactl {words}: {log_file.read_text()}")
                time.sleep(0.3)

        for sink in ("cable", "elsewhere"):
            asked("load-module", "module-null-sink", f"sink_name={sink}")
        asked("set-default-sink", "cable")
        asked("set-default-source", "cable.monitor")
        yield {**environment, "DAEMON_PID": str(daemon.pid)}


def pipewire_problem() -> str:
    """Why PipeWire cannot be used here, or nothing."""
    for program in ("pipewire", "wireplumber", "pipewire-pulse", "dbus-daemon", "pactl"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt: pipewire pipewire-pulse pipewire-alsa wireplumber dbus)"
    found = list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pipewire.so"))
    return _portaudio_problem() or ("" if found else "ALSA has no plugin for PipeWire (apt: pipewire-alsa)")


def pulse_problem() -> str:
    """Why PulseAudio cannot be used here, or nothing."""
    if shutil.which("pulseaudio") is None:
        return "pulseaudio is not installed (apt: pulseaudio libportaudio2 libasound2-plugins)"
    found = list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so"))
    return _portaudio_problem() or ("" if found else "ALSA has no plugin for PulseAudio (apt: libasound2-plugins)")


def _portaudio_problem() -> str:
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        return f"sounddevice: {error}"
    return ""


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
    # Guarded, as a session runs it; no machine is to be called too slow here.
    live = LiveStream(guard_for(load(method), HOUR_RATE, 1), HOUR_RATE, largest=1024)
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
        until = time.monotonic() + 180
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
