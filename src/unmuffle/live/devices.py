"""Sound devices: what there is, and which one is meant.

``sound`` is the module sounddevice or anything with the same functions (:mod:`.fake`); this is the
only module of unmuffle that imports it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from ..errors import DeviceError, MissingExtraError


@dataclass(frozen=True)
class Device:
    """One line of the list of devices.

    Attributes:
        number: to choose it by; it may change when devices come and go.
        name: as the system calls it.
        host: the sound system it belongs to (ALSA, Core Audio, Windows WASAPI ...).
        inputs, outputs: most channels of each side; 0 if it has none.
        rate: in Hz, that it likes best.
        input_ms, output_ms: the lowest delay that it states of itself.
        default_input, default_output: is it the one that is used unless another is named?
    """

    number: int
    name: str
    host: str
    inputs: int
    outputs: int
    rate: int
    input_ms: float
    output_ms: float
    default_input: bool = False
    default_output: bool = False


def system() -> Any:
    """The module sounddevice.

    Raises:
        MissingExtraError: it is not installed.
        DeviceError: the library below it is not.
    """
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise MissingExtraError("live mode", "live") from None
    except OSError as error:
        raise DeviceError(
            f"the library PortAudio cannot be loaded ({error}); on Debian and Ubuntu: apt install libportaudio2"
        ) from None
    return sounddevice


def devices(sound: Any) -> list[Device]:
    """All devices."""
    try:
        hosts = sound.query_hostapis()
        found = list(sound.query_devices())
        defaults = [_default(sound, kind) for kind in ("input", "output")]
    except sound.PortAudioError as error:
        raise DeviceError(f"the sound system does not answer: {_reason(error)}") from None
    return [
        Device(
            number,
            str(line["name"]),
            str(hosts[line["hostapi"]]["name"]),
            int(line["max_input_channels"]),
            int(line["max_output_channels"]),
            round(line["default_samplerate"]),
            1e3 * line["default_low_input_latency"],
            1e3 * line["default_low_output_latency"],
            number == defaults[0],
            number == defaults[1],
        )
        for number, line in enumerate(found)
    ]


def _default(sound: Any, kind: str) -> int | None:
    try:
        return int(sound.query_devices(kind=kind)["index"])
    except (sound.PortAudioError, ValueError, KeyError):  # there is none
        return None


ABANDONED: list[Any] = []
"""Streams whose driver never came back from closing them (see :func:`close`)."""

CLOSE_S = 2.0
"""How long a driver may take to close a stream."""


def close(stream: Any) -> bool:
    """Close a stream, whatever state its device is in; false if the driver does not come back.

    PortAudio above PipeWire's ALSA plugin, for one, loops for ever when the daemon has died, and so
    does its handler at the end of the process. Such a stream is left to itself and kept in
    :data:`ABANDONED`: a program that finds something there should end by ``os._exit``.
    """

    def work() -> None:
        try:
            stream.abort()
            stream.close()
        except Exception:  # of a device that has gone: there is nothing left to do
            return

    thread = threading.Thread(target=work, name="unmuffle close", daemon=True)
    thread.start()
    thread.join(CLOSE_S)
    if thread.is_alive():
        ABANDONED.append(stream)
    return not thread.is_alive()


def find(sound: Any, wanted: str | None, kind: str) -> Device:
    """The device that is meant.

    Args:
        sound: sounddevice, or the like of it.
        wanted: a number, a name, part of a name (whatever its case), or ``None`` for the default.
        kind: ``"input"`` or ``"output"``.

    Raises:
        DeviceError: there is none, or more than one is meant.
    """
    all_devices = devices(sound)
    usable = [d for d in all_devices if (d.inputs if kind == "input" else d.outputs)]
    if not usable:
        raise DeviceError(f"there is no {kind} device; `unmuffle live --list` shows what the system offers")
    if wanted is None:
        chosen = [d for d in usable if (d.default_input if kind == "input" else d.default_output)]
        if not chosen:
            raise DeviceError(f"the system has no default {kind}; name one: `unmuffle live --list` shows them")
        return chosen[0]
    text = wanted.strip()
    if text.isdigit():
        for device in usable:
            if device.number == int(text):
                return device
        known = any(d.number == int(text) for d in all_devices)
        why = f"device {text} has no {kind}" if known else f"there is no device {text}"
        raise DeviceError(f"{why}; `unmuffle live --list` shows the numbers")
    low = text.casefold()
    for match in (
        [d for d in usable if d.name.casefold() == low],
        [d for d in usable if low and low in d.name.casefold()],
    ):
        if len(match) == 1:
            return match[0]
        if match:
            # The same device through several sound systems: the one of the default device is meant.
            home = next((d.host for d in usable if d.default_input or d.default_output), match[0].host)
            near = [d for d in match if d.host == home]
            if len(near) == 1:
                return near[0]
            names = ", ".join(f"{d.number} ({d.name}, {d.host})" for d in match)
            raise DeviceError(f"{text!r} may be any of {names}; give the number")
    raise DeviceError(f"no {kind} is called {text!r}; `unmuffle live --list` shows the names")


def _reason(error: BaseException) -> str:
    """What PortAudio says, in a line."""
    return " ".join(str(a) for a in error.args[:1]) or repr(error)
