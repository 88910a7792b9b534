"""The screen: right figures, and it fits every window."""

import math

import numpy as np
import pytest
from rich.cells import cell_len

from unmuffle.engine.meter import Level
from unmuffle.engine.stream import Counts, Load
from unmuffle.live import keys
from unmuffle.live.session import STEPS_DB, Slot, Status
from unmuffle.live.view import bar, clock, lines, warm_up, words


def status(**changed):
    facts = dict(
        elapsed_s=3725.0, method="log-mmse", rate=48000, channels=1, block=480, inline=False,
        input="Microphone", output="Headphones", slot="A", slots={"A": Slot(12.0), "B": Slot(bypass=True)},
        level_in=Level(-20.0, -10.0, -8.0), level_out=Level(-32.5, -14.0, -12.0), reduction_db=-12.5,
        device_ms=23.4, algorithm_ms=30.0, load=Load(0.125, 0.31, 0.44), counts=Counts(blocks=8432, late=2, dry_samples=9600),
        device_overruns=3,
    )  # fmt: skip
    return Status(**{**facts, **changed})


def text(**options):
    changed = options.pop("status", {})
    return "\n".join(line.plain for line in lines(status(**changed), **options))


def test_every_figure_is_there():
    shown = text(width=100)
    for part in (
        "log-mmse, 48 kHz mono  1:02:05", "ENHANCED", "-20.0 dB", "-32.5 dB", "-12.5 dB", "at most 12 dB",
        "53.4 ms = device 23.4 + method and block 30.0", "p50 12%  p99 31%  max 44%  of 10 ms",
        "2 ours  3 device  of 8432 blocks  0.2 s passed unchanged", "Microphone", "Headphones", "off",
        "A at most 12 dB", "B original", "bypass", "quit",
    ):  # fmt: skip
        assert part in shown, part


def test_states_are_shown():
    assert "BYPASS" in text(status={"slot": "B"})
    recording = {"recording": ("/x/unmuffle-1-input.wav", "/x/unmuffle-1-output.wav"), "recorded_s": 61.0}
    shown = text(status={**recording, "notes": ("something happened",)})
    assert "REC" in shown
    assert "0:01:01  unmuffle-1-input and -output.wav" in shown
    assert "note       something happened" in shown
    assert " clip" in text(status={"level_in": Level(-1, 0, 0, True)})
    assert words(Slot()) == "full strength"
    assert "full" in text(status={"slots": {"A": Slot(math.inf), "B": Slot()}})
    assert "inline" in text(status={"inline": True})


@pytest.mark.parametrize("width", [20, 40, 60, 80, 110, 300])
@pytest.mark.parametrize("height", [3, 5, 8, 12, 24, 60])
@pytest.mark.parametrize("plain", [False, True])
def test_it_fits_every_window_and_keeps_what_matters(width, height, plain):
    made = lines(status(notes=("a note " * 40, "another")), width, height, plain=plain)
    assert len(made) <= height
    assert all(cell_len(line.plain) < width for line in made)
    assert "microphone" in made[1].plain + made[2].plain or height < 4
    if plain:
        assert all(line.plain.isascii() for line in made)


def test_what_goes_first_when_the_window_is_low():
    low = text(width=80, height=8)
    for part in ("unmuffle live", "microphone", "output", "overruns", "quit", "latency"):
        assert part in low
    assert "Headphones" not in low


def test_the_bars_show_the_level():
    for level in np.linspace(-70, 3, 30):
        line = lines(status(level_in=Level(level, level, -90.0)), 95)[2].plain
        filled = line[12:-15].count("█")
        cells = 95 - 1 - 12 - 15
        assert filled == pytest.approx(cells * min(1, max(0, (60 + level) / 60)), abs=1)
    assert bar(2.0, 4) == "████"
    assert bar(-1.0, 4) == "    "
    assert bar(0.49, 1) == "▌"


def test_the_strength_slider_has_a_place_for_every_step():
    shown = {lines(status(slots={"A": Slot(step), "B": Slot()}), 80)[6].plain for step in STEPS_DB}
    assert len(shown) == len(STEPS_DB)


def test_the_clock_and_warming_up():
    assert clock(-1) == clock(0.99) == "0:00:00"
    assert clock(360000) == "100:00:00"
    warm_up()
    warm_up(plain=True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"q", ["q"]), (b"\x1b[A\x1b[B", ["up", "down"]), (b"\x1bOA", ["up"]), (b"\x1b[C\x1b[D", ["right", "left"]),
        (b"\x1b", ["escape"]), (b"\t b", ["tab", " ", "b"]), (b"\x1b[15~b", ["b"]), (b"\x1b[1;5Aq", ["q"]),
        (b"\xc3\xa4r", ["r"]), (b"\x00\x7f", []), (b"\x1b[", []), (b"\r", ["enter"]),
    ],
)  # fmt: skip
def test_keys_come_out_of_what_a_terminal_sends(data, expected):
    assert keys.split(data) == expected
