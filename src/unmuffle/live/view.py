"""The screen of a running session: one line of text for each fact, a pure function of its status."""

from __future__ import annotations

import math
from io import StringIO
from pathlib import PurePath

from rich.console import Console, Group
from rich.text import Text

from ..engine.meter import Level
from ..engine.stream import Counts, Load
from .session import STEPS_DB, Slot, Status

LABEL = 12
"""Width of the first column."""
VALUE = 15
"""Width of the figure behind a bar."""
WIDEST = 110
"""Bars do not grow beyond a screen of this width."""
LOWEST_DB = -60.0
"""Left end of the meters."""
EIGHTHS = " ▏▎▍▌▋▊▉"


def lines(status: Status, width: int = 80, height: int = 24, *, plain: bool = False) -> list[Text]:
    """The whole screen, at most ``height`` lines of at most ``width`` columns.

    ``plain``: only ASCII, for terminals that show nothing else. When the window is low, what
    matters least goes first.
    """
    width = max(20, min(width, WIDEST)) - 1
    now = status.slots[status.slot]
    blank = Text("")
    # (line, rank): the highest ranks are left out first
    shown: list[tuple[Text, int]] = [
        (_title(status, now, width, plain), 0),
        (blank, 30),
        (_meter("microphone", status.level_in, width, plain), 0),
        (_meter("output", status.level_out, width, plain), 0),
        (_reduction(status.reduction_db, width, plain), 4),
        (blank, 31),
        (_strength(now, width, plain), 5),
        (_slots(status), 6),
        (blank, 32),
        (_latency(status), 3),
        (_load(status), 7),
        (_overruns(status), 2),
        (blank, 33),
        (_labelled("from", status.input), 21),
        (_labelled("to", status.output), 20),
        (_recording(status, plain), 8 if status.recording is None else 1),
        *((_labelled("note", note, "yellow"), 9 - i) for i, note in enumerate(status.notes)),
        (blank, 34),
        (_keys(width, plain), 1),
    ]
    while len(shown) > max(3, height):
        shown.remove(max(shown, key=lambda pair: pair[1]))
    made = [text for text, _ in shown]
    for text in made:
        text.truncate(width, overflow="crop" if plain else "ellipsis")
    return made


def warm_up(*, plain: bool = False) -> None:
    """Draw a screen into nothing: what is loaded at the first picture must not hold up the first sound."""
    level = Level()
    status = Status(
        0.0, "-", 48000, 1, 480, False, "-", "-", "A", {"A": Slot(), "B": Slot(bypass=True)},
        level, level, 0.0, 0.0, 0.0, Load(), Counts(), 0, ("-", "-"), 0.0, ("-",),
    )  # fmt: skip
    shadow = Console(file=StringIO(), force_terminal=True, width=80, height=24)
    shadow.print(Group(*lines(status, plain=plain)))


def _labelled(label: str, value: str, style: str = "") -> Text:
    return Text.assemble((f" {label:<{LABEL - 1}}", "dim"), (value, style))


def _title(status: Status, now: Slot, width: int, plain: bool) -> Text:
    channels = {1: "mono", 2: "stereo"}.get(status.channels, f"{status.channels} channels")
    facts = f"{status.method}, {status.rate / 1000:g} kHz {channels}  {clock(status.elapsed_s)}"
    left = Text.assemble((" unmuffle live  ", "bold"), facts)
    state = ("BYPASS", "black on yellow") if now.bypass else ("ENHANCED", "black on green")
    badges = Text.assemble((f" {state[0]} ", state[1]))
    if status.recording is not None:
        badges = Text.assemble(("* REC " if plain else "● REC ", "bold red"), badges)
    room = width - left.cell_len - badges.cell_len
    if room < 1:
        left.truncate(max(0, width - badges.cell_len - 1), overflow="crop")
        room = width - left.cell_len - badges.cell_len
    return Text.assemble(left, " " * max(0, room), badges)


def bar(share: float, width: int, plain: bool = False) -> str:
    """A bar that fills a share of ``width`` cells, to an eighth of a cell.

    >>> bar(0.5, 5)
    '██▌  '
    >>> bar(0.5, 5, plain=True)
    '##   '
    """
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    if plain:
        return ("#" * (eighths // 8)).ljust(width)
    rest = EIGHTHS[eighths % 8] if eighths % 8 else ""
    return ("█" * (eighths // 8) + rest).ljust(width)


def _meter(label: str, level: Level, width: int, plain: bool) -> Text:
    cells = max(4, width - LABEL - VALUE)
    filled = bar(1.0 - level.rms_dbfs / LOWEST_DB, cells, plain)
    held = round((1.0 - level.held_dbfs / LOWEST_DB) * cells) - 1
    text = _labelled(label, "")
    yellow, red = round(cells * (1 - -18 / LOWEST_DB)), round(cells * (1 - -6 / LOWEST_DB))
    for i, cell in enumerate(filled):
        style = "green" if i < yellow else "yellow" if i < red else "red"
        if i == held and cell == " ":
            cell = "|" if plain else "▏"
        text.append(cell, style)
    text.append(f"{level.rms_dbfs:6.1f} dB", "")
    text.append(" clip" if level.clipped else "     ", "bold red")
    return text


def _reduction(reduction_db: float, width: int, plain: bool) -> Text:
    cells = max(4, width - LABEL - VALUE)
    text = _labelled("reduction", "")
    text.append(bar(reduction_db / LOWEST_DB, cells, plain), "cyan")
    text.append(f"{reduction_db if reduction_db < -0.05 else 0.0:6.1f} dB")
    return text


def words(slot: Slot) -> str:
    """A setting in words."""
    if slot.bypass:
        return "original"
    return "full strength" if math.isinf(slot.strength_db) else f"at most {slot.strength_db:g} dB"


def _strength(now: Slot, width: int, plain: bool) -> Text:
    at = max(i for i, step in enumerate(STEPS_DB) if step <= now.strength_db)
    done, knob, left = ("=", "o", "-") if plain else ("━", "●", "─")
    each = 2 if width >= 60 else 1
    track = done * (each * at) + knob + left * (each * (len(STEPS_DB) - 1 - at))
    strength = "full" if math.isinf(now.strength_db) else f"at most {now.strength_db:g} dB"
    return Text.assemble(_labelled("strength", ""), (track, "dim" if now.bypass else "cyan"), f"  {strength}")


def _slots(status: Status) -> Text:
    text = _labelled("compare", "")
    for name, slot in status.slots.items():
        heard = name == status.slot
        text.append(f" {name} {words(slot)} ", "reverse" if heard else "dim")
        text.append("  ")
    return text


def _latency(status: Status) -> Text:
    return Text.assemble(
        _labelled("latency", ""),
        (f"{status.total_ms:.1f} ms", "bold"),
        f" = device {status.device_ms:.1f} + method and block {status.algorithm_ms:.1f}",
        ("  inline" if status.inline else "", "dim"),
    )


def _load(status: Status) -> Text:
    load = status.load
    style = "red" if load.p99 > 1 else "yellow" if load.p99 > 0.5 else ""
    return Text.assemble(
        _labelled("load", ""),
        (f"p50 {load.p50:.0%}  p99 {load.p99:.0%}  max {load.max:.0%}", style),
        (f"  of {status.block_ms:.3g} ms", "dim"),
    )


def _overruns(status: Status) -> Text:
    counts = status.counts
    text = _labelled("overruns", "")
    text.append(f"{counts.late} ours", "bold red" if counts.late else "")
    text.append("  ")
    text.append(f"{status.device_overruns} device", "bold red" if status.device_overruns else "")
    text.append(f"  of {counts.blocks} blocks", "dim")
    unchanged = counts.dry_samples / status.rate
    if unchanged:
        text.append(f"  {unchanged:.1f} s passed unchanged", "yellow")
    return text


def _recording(status: Status, plain: bool) -> Text:
    if status.recording is None:
        return _labelled("recording", "off", "dim")
    name = PurePath(status.recording[0]).name
    both = name.replace("-input.wav", "-input and -output.wav")
    return _labelled("recording", f"{clock(status.recorded_s)}  {both}", "red")


def _keys(width: int, plain: bool) -> Text:
    arrows = "up/down" if plain else "↑ ↓"
    known = [("b", "bypass"), (arrows, "strength"), ("a", "A/B"), ("r", "record"), ("q", "quit")]
    text = Text(" ")
    for key, what in known:
        text.append(f" {key} " if width >= 60 else key.replace(" ", ""), "reverse")
        text.append(f" {what}" + ("   " if width >= 70 else " "))
    return text


def clock(seconds: float) -> str:
    """Hours, minutes, seconds.

    >>> clock(3725.9)
    '1:02:05'
    """
    whole = int(max(0.0, seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
