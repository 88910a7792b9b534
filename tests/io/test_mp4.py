"""Long MP4 files: the lean ways of reading and writing give what the ordinary ones give."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from io_helpers import RATE, click_against_picture_ms, copy, make_video, noise, picture_packets

from unmuffle.engine import files
from unmuffle.errors import UnmuffleError
from unmuffle.io import mp4, open_reader, open_writer, read, write


def stamps(path: Path, options: dict[str, str]) -> list[tuple[int, int | None, int | None]]:
    with av.open(str(path), container_options=options) as container:
        return [(p.stream_index, p.pts, p.duration) for p in container.demux() if p.size]


def make(path: Path, kind: str) -> None:
    if kind == "late sound":
        make_video(path, audio_start_s=0.4)
    elif kind == "late picture":
        make_video(path, video_start_s=0.4)
    elif kind == "mp3":
        make_video(path, audio_codec="libmp3lame")
    elif kind == "sound":
        write(path, noise(2, 24_777), RATE)
    elif kind == "cut":
        # Copied from 0.5 s on: pictures before that are there, and hidden by the edit list.
        whole = path.with_name("whole.mp4")
        make_video(whole)
        with av.open(str(whole)) as a, av.open(str(path), "w") as b:
            streams = {s.index: b.add_stream_from_template(s, opaque=True) for s in a.streams}
            for packet in a.demux():
                if packet.size:
                    shift = round(0.5 / packet.time_base)
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    packet.stream = streams[packet.stream_index]
                    b.mux(packet)
    else:
        make_video(path)


@pytest.fixture
def always_lean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4, "LARGE_INDEX_BYTES", 0)
    monkeypatch.setattr(mp4, "FRAGMENT_HOURS", 0.0)


KINDS = {"plain": True, "late sound": True, "late picture": True, "sound": True, "mp3": False, "cut": False}


@pytest.mark.parametrize("kind", KINDS)
def test_simple_edit_lists_are_recognised_and_read_alike(tmp_path: Path, kind: str, always_lean: None) -> None:
    path = tmp_path / "a.mp4"
    make(path, kind)
    assert mp4.edits_are_simple(str(path)) == KINDS[kind]
    options = mp4.reading_options(str(path))
    assert bool(options) == KINDS[kind]
    assert stamps(path, options) == stamps(path, {})


@pytest.mark.parametrize("kind", KINDS)
def test_lean_copies_keep_length_and_time(tmp_path: Path, kind: str, always_lean: None) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make(source, kind)
    with open_reader(source) as reader, open_writer(target, reader) as writer:
        for block in reader.blocks(1013):
            writer.write(block)
    assert any("fragmented" in note for note in writer.notes) == KINDS[kind]
    assert (b"moof" in target.read_bytes()) == KINDS[kind]
    assert read(target)[0].shape == read(source)[0].shape
    if kind != "sound":
        assert [data for _, data in picture_packets(target)] == [data for _, data in picture_packets(source)]
        # One sample of 48 kHz is 0.02 ms.
        assert abs(click_against_picture_ms(target) - click_against_picture_ms(source)) <= 0.03


def test_only_large_files_are_treated_specially(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    assert mp4.reading_options(str(tmp_path / "a.mp4")) == {}
    assert copy(tmp_path / "a.mp4", tmp_path / "b.mp4").notes == []
    assert b"moof" not in (tmp_path / "b.mp4").read_bytes()


def test_a_long_index_changes_memory_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "a.mp4")
    given_back = []
    monkeypatch.setattr(files, "release", lambda: given_back.append(True))
    for method in ("log-mmse", "live", "kalman-fast"):
        for name, bytes_ in (("usual", 1 << 40), ("long", 0)):
            given_back.clear()
            monkeypatch.setattr(mp4, "LARGE_INDEX_BYTES", bytes_)
            assert mp4.has_long_index(str(tmp_path / "a.mp4")) == (name == "long")
            files.enhance_file(tmp_path / "a.mp4", tmp_path / f"{name}.mp4", method)
            assert bool(given_back) == (name == "long")
        assert np.array_equal(read(tmp_path / "long.mp4")[0], read(tmp_path / "usual.mp4")[0])
        assert picture_packets(tmp_path / "long.mp4") == picture_packets(tmp_path / "a.mp4")
    # What cannot be tried out on a pair of channels says so when it is used, as ever.
    with pytest.raises(UnmuffleError, match="microphone"):
        files.enhance_file(tmp_path / "a.mp4", tmp_path / "none.mp4", "meeting", reference=7)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_of_a_pipe_no_byte_is_looked_at(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert not mp4.has_long_index(str(tmp_path / "pipe.mp4"))  # opening it would wait for a writer
    assert not mp4.has_long_index(str(tmp_path / "none.mp4"))
    assert not mp4.has_long_index("-")


def test_other_files_have_no_edit_lists(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(100))
    (tmp_path / "b.mp4").write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0\0\0")
    for name in ("a.bin", "b.mp4"):
        assert mp4.reading_options(str(tmp_path / name)) == {}
        assert mp4.edits_are_simple(str(tmp_path / name))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_shared_feed_copies_the_whole_picture(tmp_path: Path, name: str, share: float) -> None:
    """However much of the sound is read, and in whichever order reader and writer are closed."""
    source, target = tmp_path / name, tmp_path / f"b{name}"
    make_video(source, tracks=2)
    x, _ = read(source)
    reader = open_reader(source)
    writer = open_writer(target, reader)
    due = int(share * x.shape[1])
    for block in reader.blocks(997):
        if writer.frames_written >= due:
            break
        writer.write(block)
    if share == 1.0:
        reader.close()
    writer.close()
    reader.close()
    assert picture_packets(target) == picture_packets(source)
    if share == 1.0:
        np.testing.assert_equal(read(target)[0].shape, x.shape)


def test_a_feed_that_has_begun_is_not_shared(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_video(source)
    with open_reader(source) as reader:
        blocks = list(reader.blocks())
        assert reader.share_feed() is None
        with open_writer(target, reader) as writer:
            for block in blocks:
                writer.write(block)
    assert picture_packets(target) == picture_packets(source)
