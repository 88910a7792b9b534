"""What the tests of live mode share: a private sound server, and a terminal that can be looked at."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

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
