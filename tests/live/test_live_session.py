"""A session on fake devices: controls, adaptation, every fault that a device can have."""

import os
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from unmuffle.enhancers.base import Enhancer, StepKernel, run_offline
from unmuffle.enhancers.registry import load
from unmuffle.errors import DeviceError, OutputError, ParameterError, UnboundedLatencyError
from unmuffle.io import read
from unmuffle.live.blocks import Trial
from unmuffle.live.fake import FakeSound, Script, round_and_round
from unmuffle.live.session import STEPS_DB, Session, Settings

RATE = 16000
BUSY_S = 180.0
"""How long a test waits for what takes a moment: other programs may hold the processor."""


def noise(seconds=2.0):
    return (0.1 * np.random.default_rng(5).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.fixture(autouse=True)
def chosen(monkeypatch):
    """8 ms, where the session would try what this machine can do."""
    monkeypatch.setattr("unmuffle.live.session.choose", lambda *_, **__: Trial(128, 0, 0.0))


def made(script=None, method="classic", keep=0, **settings):
    settings = {"block_ms": 12.0, **settings}
    sound = FakeSound(round_and_round(noise(), RATE), script or Script(), rate=RATE, keep=keep)
    return Session(Settings(load(method), **settings), sound)


def wait_for(session, condition, ticking=True):
    until = time.monotonic() + BUSY_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain: {session.status()}"
        if ticking:
            session.tick()
        time.sleep(0.01)


def after(session, seconds):
    wait_for(session, lambda: session.passed_s > seconds)


def paced(session_box):
    """A device that waits for the worker, as a machine that is quick enough would make it."""

    def wait():
        live = getattr(session_box[0], "live", None)
        until = time.monotonic() + BUSY_S
        while live is not None and live.waiting_samples and time.monotonic() < until:
            time.sleep(1e-4)

    return wait


@dataclass(frozen=True)
class Breaking(Enhancer):
    """The input at half its level, 20 ms late, until something happens after two seconds of sound."""

    fault: str = "raise"
    gone: list = field(default_factory=list, compare=False, repr=False)
    name: ClassVar[str] = "breaking"

    def kernel(self, sample_rate, channels):
        return _Breaking(self, channels)


class _Breaking(StepKernel):
    def __init__(self, method, channels):
        super().__init__(channels, RATE // 100, 2 * RATE // 100)
        self.method, self.passed = method, 0

    def init(self):
        return np.zeros((self.channels, self.latency_samples), np.float32)

    def step(self, x, state):
        self.passed += x.shape[1]
        if self.passed > 2 * RATE or self.method.gone:
            self.method.gone.append(self.method.fault)
            if self.method.fault == "raise":
                raise RuntimeError("the network is broken")
            if self.method.fault == "slow":
                time.sleep(3.0 * x.shape[1] / RATE)
            else:
                x = x * np.float32(np.nan)
        joined = np.concatenate((state, 0.5 * x), axis=1)
        return joined[:, : x.shape[1]], joined[:, x.shape[1] :]


# -- sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(), (7, 192, 100, 500, 1)], ids=["fixed", "odd"])
def test_what_is_played_is_the_offline_result(sizes):
    """As fast as it goes, with odd block sizes: the loudspeaker gets the enhanced microphone, to the sample."""
    box = [None]
    script = Script(speed=0, sizes=sizes, before=paced(box))
    session = box[0] = made(script, keep=RATE, inline=bool(sizes), block_ms=32.0 if sizes else 12.0)
    with session:
        wait_for(session, lambda: session.passed_s > 3.0)
    stream = session.sound.streams[0]
    n = stream.position
    heard = np.resize(noise(), n)[None]
    expected = run_offline(load("classic"), heard, RATE)
    delay, kept = session.live.delay_samples, np.empty((2, RATE // 2), np.float32)
    start = n - RATE // 2
    assert stream.kept.read(start, kept)
    if not sizes:  # odd sizes within fixed blocks may be late; they stay aligned (engine tests)
        assert session.counts.late == 0
        np.testing.assert_array_equal(kept[0], expected[0, start - delay : n - delay])
    np.testing.assert_array_equal(kept[0], kept[1])
    assert np.isfinite(kept).all()
    assert session.counts.faults == 0


def test_bypass_strength_and_slots_reach_the_stream():
    with made(Script(speed=0)) as session:
        stream = session.live.stream
        assert (stream.bypass, stream.strength_db) == (False, np.inf)
        session.toggle_bypass()
        assert stream.bypass
        session.toggle_bypass()
        session.stronger(-1)
        assert stream.strength_db == STEPS_DB[-2] == 40
        session.stronger(-100)
        assert stream.strength_db == 0
        session.stronger(2)
        assert stream.strength_db == 6
        session.choose("B")
        assert (stream.bypass, stream.strength_db) == (True, np.inf)
        session.toggle_bypass()
        session.stronger(-2)
        session.choose("A")
        assert (stream.bypass, stream.strength_db) == (False, 6)
        session.choose("B")
        assert (stream.bypass, stream.strength_db) == (False, 30)
        with pytest.raises(ParameterError, match="slot = 'C'"):
            session.choose("C")


def test_the_status_tells_the_truth():
    box = [None]
    session = box[0] = made(Script(speed=0, before=paced(box)))
    with session:
        after(session, 5.0)
        status = session.status()
    expected = 20 * np.log10(np.std(noise()))
    assert status.level_in.rms_dbfs == pytest.approx(expected, abs=0.5)
    assert status.reduction_db < -5  # noise alone goes down
    assert status.level_out.rms_dbfs < status.level_in.rms_dbfs
    assert status.algorithm_ms == pytest.approx(1e3 * session.live.delay_samples / RATE)
    assert status.device_ms == pytest.approx(13 + 24)  # what the fake device states
    assert status.total_ms == status.device_ms + status.algorithm_ms
    assert 0 < status.load.p50 <= status.load.p99 <= status.load.max
    assert (status.input, status.output, status.rate) == ("Fake microphone", "Fake loudspeaker", RATE)


# -- faults --------------------------------------------------------------------------------------


def test_a_device_that_goes_is_an_error_and_leaves_nothing_running():
    before = threading.active_count()
    interval = sys.getswitchinterval()
    with pytest.raises(DeviceError, match="the sound device has gone"), made(Script(vanish_at=20)) as session:
        after(session, 1e9)
    assert session.live._thread is None
    assert sys.getswitchinterval() == interval
    until = time.monotonic() + BUSY_S
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= before  # threads of earlier tests may have ended meanwhile


def test_a_device_that_goes_silently_is_noticed(monkeypatch):
    monkeypatch.setattr("unmuffle.live.session.SILENT_S", 0.3)
    with pytest.raises(DeviceError, match="has not called for"), made(Script(vanish_at=5, silently=True)) as session:
        after(session, 1e9)


def test_a_stream_that_the_driver_ends_is_opened_again():
    with made(Script(vanish_at=20, returns=True), block_ms=None) as session:
        block = session.live.largest
        wait_for(session, lambda: len(session.sound.streams) == 2 and session.sound.streams[1].calls > 20)
        assert session.live.largest == 2 * block
        assert any("the driver stopped and was started again" in note for note in session.notes)
        assert session.counts.blocks > 40  # both streams count


def test_a_device_that_loses_blocks_gets_larger_ones():
    with made(Script(overruns_below=200), block_ms=None) as session:
        assert session.live.largest < 200
        wait_for(session, lambda: session.live.largest >= 200)
        assert session.device_overruns >= 3
        assert any(note.startswith("the device lost blocks: blocks of 16 ms instead of 8") for note in session.notes)


def test_a_device_that_pauses_gets_larger_blocks_and_a_buffer(monkeypatch):
    state = {"calls": 0, "session": None}

    def pause_once():
        state["calls"] += 1
        if state["calls"] == 200:  # from now on a pause is one, and this lasts until it is noticed
            monkeypatch.setattr("unmuffle.live.session.STALL_S", 0.3)
            state["session"].sound.streams[0]._stop.wait(BUSY_S)
            monkeypatch.setattr("unmuffle.live.session.STALL_S", BUSY_S)

    session = state["session"] = made(Script(before=pause_once), block_ms=None)
    with session:
        block = session.live.largest
        assert session.sound.streams[0].asked_latency == "low"
        wait_for(session, lambda: len(session.sound.streams) == 2 and session.sound.streams[1].calls > 5)
        assert session.live.largest == 2 * block
        assert session.sound.streams[1].asked_latency == pytest.approx(4 * 2 * block / RATE)


def test_a_block_that_was_asked_for_stays():
    with made(Script(overruns_below=10_000)) as session:
        after(session, 1.5)
        assert session.live.largest == 192
        assert len(session.sound.streams) == 1
        assert session.device_overruns > 10


def test_blocks_in_bursts_get_the_reserve_they_need(monkeypatch):
    """Four blocks at once, as PulseAudio behind ALSA delivers them: late at first, then never again."""
    state = {"i": 0}

    def burst():
        state["i"] += 1
        if state["i"] % 4 == 1:
            time.sleep(0.048)

    with made(Script(speed=0, before=burst), block_ms=None, method="identity") as session:
        step = session.live.largest
        first = session.live.delay_samples
        wait_for(session, lambda: session.live.delay_samples > first)
        assert session.live.delay_samples % step == first % step
        assert any("more reserve" in note for note in session.notes)


def test_another_format_while_it_runs_is_an_error():
    formats = {i: 2 for i in range(10, 10_000)}
    with pytest.raises(DeviceError, match="changed its format"), made(Script(formats=formats)) as session:
        after(session, 1e9)
    assert session.counts.faults == 0


def test_a_moment_in_another_format_is_silence():
    with made(Script(formats={10: 2, 11: 2})) as session:
        after(session, 1.0)
        assert session.counts.misfits == 2


def test_what_cannot_be_opened_says_why():
    with pytest.raises(DeviceError, match=r"cannot be opened at 16000 Hz .*Invalid sample rate.*try --rate"):
        made(Script(refuse=True)).__enter__()
    with pytest.raises(ParameterError, match="channels = 3; 'Fake microphone' has 2"):
        made(channels=3).__enter__()
    with pytest.raises(UnboundedLatencyError):
        made(method="wpe-batch").__enter__()
    with pytest.raises(DeviceError, match="no output is called 'x'"):
        made(output="x").__enter__()


def test_the_priority_is_as_before_afterwards():
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with made(Script(speed=0)):
        assert os.getpriority(os.PRIO_PROCESS, 0) in (before, -11)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_session_that_fails_to_open_leaves_the_interpreter_as_it_was():
    interval = sys.getswitchinterval()
    with pytest.raises(DeviceError):
        made(Script(refuse=True)).__enter__()
    assert sys.getswitchinterval() == interval


# -- recording -----------------------------------------------------------------------------------


def test_both_sides_are_recorded_and_aligned(tmp_path):
    """Bypass: the two files are the same to the sample, and the microphone's is what it heard."""
    with made(record_to=str(tmp_path), bypass=True) as session:
        after(session, 0.5)
        session.toggle_recording()
        after(session, 1.5)
        session.toggle_recording()
    ((before, after_file),) = session.recordings
    one, rate = read(before)
    two, _ = read(after_file)
    assert rate == RATE
    assert one.shape[1] > 0.5 * RATE
    np.testing.assert_array_equal(one, two)
    loop = noise()
    start = int(np.flatnonzero(loop == one[0, 0])[0])  # noise: no two samples are alike
    np.testing.assert_array_equal(one[0], np.resize(np.roll(loop, -start), one.shape[1]))
    assert session.notes[-1].startswith("recorded: ")


def test_recordings_end_with_the_session_whatever_ends_it(tmp_path):
    with pytest.raises(KeyboardInterrupt), made(record_to=str(tmp_path)) as session:
        session.start_recording()
        after(session, 0.6)
        raise KeyboardInterrupt
    files = sorted(p.name for p in tmp_path.iterdir())
    assert len(files) == 2
    assert files[0].endswith("-input.wav")
    assert read(tmp_path / files[0])[0].shape == read(tmp_path / files[1])[0].shape


def test_a_recording_goes_on_over_a_new_stream_and_more_reserve(tmp_path):
    box = [None]  # nothing is late: the one change of the delay is the one asked for
    script = Script(vanish_at=60, returns=True, before=paced(box))
    session = box[0] = made(script, record_to=str(tmp_path), bypass=True, block_ms=None)
    with session:
        after(session, 0.1)
        session.start_recording()
        session.live.lengthen(session.live.largest)
        wait_for(session, lambda: len(session.sound.streams) == 2)
        after(session, 1.5)
    one, two = (read(path)[0] for path in session.recordings[0])
    ramp = 80  # 5 ms where the delay changed
    differ = np.flatnonzero(one[0] != two[0])
    assert len(differ) <= ramp
    assert one.shape[1] > 0.5 * RATE


def test_a_folder_that_cannot_be_written_is_a_note(tmp_path):
    (tmp_path / "file").write_text("")
    with made(record_to=str(tmp_path / "file")) as session:
        session.toggle_recording()
        assert "cannot be made" in session.notes[-1]
        with pytest.raises(OutputError):
            session.start_recording()
        after(session, 0.2)  # and the sound goes on


def test_two_recordings_in_a_second_have_two_names(tmp_path):
    with made(record_to=str(tmp_path)) as session:
        for _ in range(2):
            session.start_recording()
            after(session, session.passed_s + 0.1)
            session.stop_recording()
    assert len(list(tmp_path.iterdir())) == 4


# -- a method that fails -------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "said"), [("raise", "the network is broken"), ("nan", "NaN")])
def test_a_method_that_fails_gives_way_to_classic_without_a_gap(fault, said):
    """From some sample on the loudspeaker gets what classic makes of the microphone, at the delay there was before."""
    box = [None]
    wait = paced(box)

    def five_seconds():  # and no more, however late this test looks
        wait()
        if box[0].sound.streams[0].position > 5.1 * RATE:
            box[0].sound.streams[0]._stop.wait(BUSY_S)

    sound = FakeSound(round_and_round(noise(), RATE), Script(speed=0, before=five_seconds), rate=RATE, keep=6 * RATE)
    session = box[0] = Session(Settings(Breaking(fault), block_ms=10.0), sound)
    with session:
        delay = session.live.delay_samples
        wait_for(session, lambda: session.passed_s > 5.0)
        shown = session.status()
        assert session.live.delay_samples == delay
    assert shown.method == "classic for breaking"
    assert any(said in note and "classic goes on" in note for note in session.notes)
    assert (shown.counts.failures, shown.counts.dry_samples, shown.counts.late) == (0, 0, 0)  # never unchanged
    stream = session.sound.streams[0]
    n = stream.position
    kept = np.empty((2, min(n, 6 * RATE) - RATE // 10), np.float32)
    assert stream.kept.read(n - kept.shape[1], kept)
    heard = np.resize(noise(), n)
    late = np.concatenate((np.zeros(delay, np.float32), heard))[n - kept.shape[1] : n]
    before = slice(0, round(1.5 * RATE))
    np.testing.assert_allclose(kept[0, before], 0.5 * late[before], atol=1e-6)
    # Noise alone: classic takes more than 6 dB of it within the second that the switch is ago, and never is it silent.
    after = kept[0, -RATE:]
    assert 0.001 < np.std(after) < 0.05
    level = np.sqrt(np.mean(np.reshape(kept[0, : kept.shape[1] // 160 * 160], (-1, 160)) ** 2, axis=1))
    assert level.min() > 1e-3


def test_a_method_that_is_too_slow_gives_way_too(monkeypatch):
    monkeypatch.setattr("unmuffle.live.session.BEHIND_S", 0.2)
    sound = FakeSound(round_and_round(noise(), RATE), Script(), rate=RATE)
    with Session(Settings(Breaking("slow"), block_ms=20.0), sound) as session:
        wait_for(session, lambda: session.status().method == "classic for breaking")
        assert any("is too slow: classic goes on" in note for note in session.notes)
