"""``unmuffle live``: from a microphone to an output while somebody speaks."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DeviceError, ParameterError, UnmuffleError
from . import common

if TYPE_CHECKING:
    from ..live.session import Session

FRAMES_S = 0.08
"""Time between two pictures of the screen."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="live")(live)


def live(
    source: Annotated[
        str | None, typer.Option("-i", "--input", metavar="DEVICE", help="Microphone: number or part of its name.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DEVICE", help="Output: number or part of its name.")
    ] = None,
    method: Annotated[
        str, typer.Option("-m", "--method", help="A name from `unmuffle methods`, several joined by +, or auto.")
    ] = "auto",
    model: Annotated[
        str | None, typer.Option(metavar="FILE", help="A network file of your own (.onnx) instead of a method.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the method; may be repeated."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="Method and parameters from a TOML file.")
    ] = None,
    strength: Annotated[
        str, typer.Option(metavar="DB", help="Most attenuation, in dB: 0 changes nothing, full is no limit.")
    ] = "full",
    repair: common.Repair = "",
    stereo: Annotated[str, typer.Option(help="linked, independent or mid-side.")] = "linked",
    rate: Annotated[
        int | None, typer.Option(metavar="HZ", help="Sample rate; default: what the input device likes best.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels to take from the input.")] = 1,
    block: Annotated[
        str, typer.Option(metavar="MS", help="Size of the device's blocks; auto finds it, and adapts on trouble.")
    ] = "auto",
    inline: Annotated[
        bool, typer.Option("--inline", help="Work in the device's callback: a block less delay, no reserve.")
    ] = False,
    bypass: Annotated[bool, typer.Option("--bypass", help="Begin with the unchanged sound.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Record both sides from the beginning.")] = False,
    record_to: Annotated[
        str, typer.Option("--record-to", metavar="DIR", help="Folder for recordings.")
    ] = ".",
    seconds: Annotated[
        float | None, typer.Option(min=0.1, metavar="S", help="Stop after so many seconds.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure the device's delay: the output must be heard by the input.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="List the devices.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="The bundled recording as microphone, and no loudspeaker: to see the screen.")
    ] = False,
    no_screen: Annotated[
        bool, typer.Option("--no-screen", help="No full-screen view; also when this is no terminal.")
    ] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on standard output; no screen.")] = False,
) -> None:
    """Enhance a microphone while you speak. Needs the extra `live`.

    Keys: b bypass, up and down strength, a or Tab between the settings A and B, r record both sides,
    q quit. Ways to a virtual microphone for calls and streams are in docs/live.md.

    [bold]Examples[/bold]

    unmuffle live --list

    unmuffle live -i "USB" -o "BlackHole" --strength 18

    unmuffle live --measure -i 3 -o 5

    unmuffle live --demo
    """
    from ..engine.options import Options
    from ..live.devices import system
    from ..live.fake import demo_sound
    from .enhance import chosen_method

    sound = demo_sound() if demo else system()
    if show:
        _list(sound, as_json)
        return
    chosen, params = chosen_method(method, assignments or [], config, model)
    stages = tuple(part.strip() for part in repair.split(",") if part.strip())
    enhancer = Options(chosen, params, common.strength(strength), stages, stereo).enhancer(channels)
    try:
        block_ms = None if block.strip().lower() == "auto" else float(block)
    except ValueError:
        raise ParameterError(f"block {block!r} is no number of milliseconds; give 1 to 200, or auto") from None

    from ..live.session import Session, Settings

    settings = Settings(
        enhancer=enhancer, input=source, output=target, rate=rate, channels=channels, block_ms=block_ms,
        inline=inline, strength_db=common.strength(strength), bypass=bypass, record_to=record_to,
    )  # fmt: skip
    if measure:
        with _silenced():
            _measure(sound, settings, as_json)
        return
    with_screen = not (no_screen or as_json) and sys.stdin.isatty() and sys.stdout.isatty()
    session = Session(settings, sound)
    final = None
    with _hang_up_ends(), _silenced():
        try:
            if with_screen:
                final = _run(session, seconds, record, ascii_only)
            else:
                final = _run_plain(session, seconds, record, told=not as_json)
        finally:
            if not as_json:
                _summary(session)
    if as_json:
        notes = {"recordings": session.recordings, "notes": session.notes}
        common.emit_json({**asdict(final), "total_ms": final.total_ms, **notes} if final else notes)


@contextmanager
def _hang_up_ends() -> Iterator[None]:
    """A terminal window that is closed ends the command in order: a recording is finished, not lost."""
    number = getattr(signal, "SIGHUP", None)
    before = signal.getsignal(number) if number is not None else None

    def ended(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if number is not None:
        signal.signal(number, ended)
    try:
        yield
    finally:
        if number is not None:
            signal.signal(number, before)


@contextmanager
def _silenced() -> Iterator[None]:
    """Hide what sound libraries print; our own messages still reach standard error.

    They write to file descriptor 2, in the middle of the screen, and some without end when a device
    goes. If a driver hangs (:data:`~unmuffle.live.devices.ABANDONED`) it goes on printing: then the
    descriptor stays hidden, and the process ends without asking the library.
    """
    import atexit
    import os

    from ..live.devices import ABANDONED

    sys.stderr.flush()
    own = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    before = sys.stderr
    sys.stderr = os.fdopen(own, "w", 1, before.encoding or "utf-8", "replace")
    code = 0
    try:
        yield
    except UnmuffleError as error:
        code = common.exit_code(error)
        raise
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        raise
    except KeyboardInterrupt:
        code = 130
        raise
    finally:
        if ABANDONED:
            atexit.register(_leave, code)  # before the library's own handler, which came first
        else:
            sys.stderr.flush()
            os.dup2(own, 2)
            sys.stderr.close()
            sys.stderr = before


def _leave(code: int) -> None:
    """End the process at once."""
    import os

    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(session: Session, seconds: float | None, record: bool, ascii_only: bool) -> Any:
    """The full screen and its keys, until ``q``."""
    from rich.console import Console, Group
    from rich.live import Live

    from ..live.keys import Keys
    from ..live.view import lines, warm_up

    screen = Console(highlight=False)
    plain = ascii_only or screen.options.ascii_only
    warm_up(plain=plain)

    def picture() -> Group:
        width, height = screen.size
        return Group(*lines(session.status(), width, height, plain=plain))

    with session, Keys() as keys, Live(console=screen, screen=True, auto_refresh=False) as view:
        if record:
            session.toggle_recording()
        began = time.monotonic()
        while seconds is None or time.monotonic() - began < seconds:
            session.tick()
            view.update(picture(), refresh=True)
            until = time.monotonic() + FRAMES_S
            while (left := until - time.monotonic()) > 0:
                try:
                    key = keys.read(left)
                except EOFError:
                    return session.status()
                if key is None:
                    break
                if not _act(session, key):
                    return session.status()
                view.update(picture(), refresh=True)
        return session.status()


def _act(session: Session, key: str) -> bool:
    """Carry out a key; false to quit."""
    if key in ("q", "Q", "escape"):
        return False
    if key in ("b", "B", " "):
        session.toggle_bypass()
    elif key in ("up", "right", "+", "="):
        session.stronger(1)
    elif key in ("down", "left", "-"):
        session.stronger(-1)
    elif key in ("a", "A", "tab"):
        session.choose("B" if session.slot == "A" else "A")
    elif key in ("r", "R"):
        session.toggle_recording()
    return True


def _run_plain(session: Session, seconds: float | None, record: bool, told: bool) -> Any:
    """Without a screen: what is new goes to standard error."""
    with session:
        if record:
            session.start_recording()
        if told:
            now = session.status()
            typer.echo(
                f"unmuffle live: {now.method}, {now.input} -> {now.output}, {now.rate} Hz, blocks of "
                f"{now.block_ms:.3g} ms, {now.total_ms:.1f} ms (device {now.device_ms:.1f}); Ctrl-C ends it",
                err=True,
            )
        began, shown = time.monotonic(), 0
        while seconds is None or time.monotonic() - began < seconds:
            session.tick()
            if told:
                for note in session.notes[shown:]:
                    typer.echo(f"note: {note}", err=True)
                shown = len(session.notes)
            time.sleep(0.1 if seconds is None else min(0.1, max(0.0, began + seconds - time.monotonic())))
        return session.status()


def _summary(session: Session) -> None:
    """What is worth knowing afterwards, on standard error."""
    from ..live.view import clock

    if hasattr(session, "live"):
        counts = session.counts
        typer.echo(
            f"{clock(session.passed_s)} of sound, {counts.blocks} blocks: {counts.late} late, "
            f"{session.device_overruns} lost by the device",
            err=True,
        )
    for pair in session.recordings:
        typer.echo(f"recorded {pair[0]} and {pair[1]}", err=True)
    for note in dict.fromkeys(session.notes):
        if not note.startswith("recorded: "):
            typer.echo(f"note: {note}", err=True)


def _list(sound: Any, as_json: bool) -> None:
    from ..live.devices import devices

    found = devices(sound)
    if as_json:
        common.emit_json([asdict(device) for device in found])
        return
    made = common.table("Sound devices", ">number", "name", "system", ">in", ">out", ">Hz", ">lowest ms", "default")
    for d in found:
        kinds = ["input"] * d.default_input + ["output"] * d.default_output
        delays = [f"{ms:.0f}" for ms, n in ((d.input_ms, d.inputs), (d.output_ms, d.outputs)) if n]
        made.add_row(
            str(d.number), d.name, d.host, str(d.inputs or ""), str(d.outputs or ""), str(d.rate),
            " / ".join(delays), " and ".join(kinds),
        )  # fmt: skip
    screen = common.console()
    screen.print(made)
    if not found:
        screen.print("none: the system offers no sound device to this user")


def _measure(sound: Any, settings: Any, as_json: bool) -> None:
    """Play chirps, find them, and say what the whole way takes."""
    from ..engine.stream import LiveStream
    from ..live.blocks import block_of, choose
    from ..live.devices import find
    from ..live.measure import StoppedError, measure
    from ..live.session import CUSHION, LARGEST_MS

    source, target = find(sound, settings.input, "input"), find(sound, settings.output, "output")
    rate = settings.rate or source.rate
    if settings.block_ms is not None:
        block = block_of(settings.block_ms, rate)
    else:
        block = choose(settings.enhancer, rate, settings.channels, inline=settings.inline).block
    if not as_json:
        typer.echo(f"five chirps from {target.name!r} to {source.name!r}, about 6 seconds ...", err=True)
    cushion: float | str = "low"  # as a running session would: small, and larger after trouble
    while True:
        try:
            found = measure(sound, source, target, rate, block, cushion)
        except StoppedError:
            found = None
        larger = 2 * block
        if found is not None and (not found.overruns or settings.block_ms is not None):
            break
        if settings.block_ms is not None or 1e3 * larger / rate > LARGEST_MS:
            if found is None:
                raise DeviceError("the device stopped in the middle; try a larger --block")
            break
        block, cushion = larger, CUSHION * larger / rate
        if not as_json:
            typer.echo(f"the device lost blocks; again with blocks of {1e3 * block / rate:.0f} ms ...", err=True)
    stream = LiveStream(settings.enhancer, rate, inputs=settings.channels, block=block, inline=settings.inline)
    facts = {
        "input": source.name, "output": target.name, "rate": rate, "block": block,
        "method": settings.enhancer.name, "device_ms": found.median_ms, "device_spread_ms": found.spread_ms,
        "device_stated_ms": found.stated_ms, "algorithm_ms": stream.delay_ms,
        "total_ms": found.median_ms + stream.delay_ms, "chirps": len(found.delays),
        "quality": found.quality, "overruns": found.overruns, "delays_samples": list(found.delays),
    }  # fmt: skip
    if as_json:
        common.emit_json(facts)
        return
    made = common.table(f"Latency at {rate} Hz, blocks of {1e3 * block / rate:.3g} ms", "part", ">ms", "how")
    spread = f"measured, {len(found.delays)} chirps within {found.spread_ms:.2f} ms"
    made.add_row("device, out and in", f"{found.median_ms:.2f}", spread)
    made.add_row("", f"{found.stated_ms:.2f}", "stated by the driver")
    made.add_row(f"{settings.enhancer.name} and block", f"{stream.delay_ms:.2f}", "exact")
    made.add_row("microphone to output", f"{found.median_ms + stream.delay_ms:.2f}", "")
    common.console().print(made)
    if found.overruns:
        typer.echo(f"note: the device lost {found.overruns} blocks meanwhile; measure again, or with a larger --block")


def devices_report() -> dict[str, Any]:
    """For ``unmuffle doctor``: the devices, or why there are none."""
    from ..live.devices import devices, system

    try:
        sound = system()
        return {"devices": [asdict(device) for device in devices(sound)], "problem": None}
    except UnmuffleError as error:
        return {"devices": [], "problem": str(error)}
