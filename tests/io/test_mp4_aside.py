"""Pictures read from the index as it lies in the file: the packets that libav gives, and the same copies."""

from __future__ import annotations

import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_helpers import RATE, make_video, picture_packets

from unmuffle.errors import MediaError
from unmuffle.io import aside, mp4, open_reader, open_writer, probe, read, tables
from unmuffle.io.probe import open_container


@pytest.fixture(autouse=True)
def short_files_count_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4, "LARGE_INDEX_BYTES", 0)
    monkeypatch.setattr(aside, "MANY", 0)


def encode(path: Path, codec: str, *, options: dict[str, str] | None = None, muxer: dict[str, str] | None = None,
           uneven: bool = False, pictures: int = 130) -> None:  # fmt: skip
    """Pictures of changing size, without sound: ``uneven`` ones are shown for one or two ticks."""
    rng = np.random.default_rng(5)
    with av.open(str(path), "w", options=muxer or {}) as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.thread_count = 1
        time = 0
        for _ in range(pictures):
            data = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8) // rng.integers(1, 9)
            frame = av.VideoFrame.from_ndarray(data.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            out.mux(stream.encode(frame))
            time += int(rng.integers(1, 3)) if uneven else 1
        out.mux(stream.encode(None))


def remux(source: Path, target: Path, muxer: dict[str, str]) -> None:
    """The same packets in a file of another kind."""
    with av.open(str(source)) as a, av.open(str(target), "w", options=muxer) as b:
        streams = {s.index: b.add_stream_from_template(s, opaque=True) for s in a.streams}
        for packet in a.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                b.mux(packet)


IN_FRAGMENTS = {**mp4.FRAGMENT_OPTIONS, "frag_duration": "400000"}


def facts(packet: Any) -> tuple[Any, ...]:
    stamps = packet.dts, packet.pts, packet.duration, packet.time_base
    return (*stamps, packet.is_keyframe, packet.is_disposable, packet.is_discard, bytes(packet))


def of_libav(path: Path) -> list[tuple[Any, ...]]:
    with av.open(str(path), container_options={"advanced_editlist": "0"}) as container:
        return [facts(p) for p in container.demux(video=0) if p.size]


FILES: dict[str, dict[str, Any]] = {
    "b-pictures": {"codec": "libx264", "options": {"bf": "3", "g": "17"}},
    "no b-pictures": {"codec": "libx264", "options": {"bf": "0", "g": "17"}},
    "one key": {"codec": "libx264", "options": {"g": "1000", "bf": "0"}},
    "only keys": {"codec": "libx264", "options": {"g": "1"}},
    "mpeg-4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "uneven": {"codec": "libx264", "uneven": True},
    "index in front": {"codec": "libx264", "muxer": {"movflags": "faststart"}},
    "stretched": {"codec": "mpeg4", "muxer": {"video_track_timescale": "90000"}},
    "fragments as ours": {"codec": "libx264", "muxer": {**mp4.FRAGMENT_OPTIONS, "frag_duration": "1500000"}},
    "a fragment a key": {
        "codec": "libx264", "options": {"g": "17"}, "muxer": {"movflags": "frag_keyframe+empty_moov"},
    },
    "places from the fragment": {
        "codec": "libx264", "uneven": True,
        "muxer": {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "700000"},
    },
    "one picture each": {"codec": "libx264", "muxer": {"movflags": "frag_every_frame+empty_moov"}},
    "mpeg-4 in fragments": {"codec": "mpeg4", "muxer": {"movflags": "frag_keyframe+delay_moov"}},
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("extension", ["mp4", "mov"])
def test_packets_are_those_of_libav(tmp_path: Path, kind: str, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    encode(path, **FILES[kind])
    (track,) = aside.aside(str(path))
    assert [facts(p) for p in track.packets()] == of_libav(path)


@pytest.mark.parametrize("late", [{"video_start_s": 0.4}, {"audio_start_s": 0.4}, {}])
def test_with_sound_that_begins_before_or_after(tmp_path: Path, late: dict[str, float]) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, **late)  # type: ignore[arg-type]
    (track,) = aside.aside(str(path))
    assert [facts(p) for p in track.packets()] == of_libav(path)


def test_64_bit_places_and_one_size_for_all(tmp_path: Path) -> None:
    """What large files have, made of a small one: the tables are written anew in their other forms."""
    path = tmp_path / "a.mov"
    encode(path, "rawvideo", pictures=30)
    (track,) = aside.aside(str(path))
    assert track.size == 64 * 48 * 3 // 2  # libav's muxer chose that form itself
    expected = [facts(p) for p in track.packets()]
    assert expected == of_libav(path)
    with open(path, "rb") as file:
        places = [row[0] for row in track.rows(file, b"stco")]
    wide = tmp_path / "wide.bin"
    wide.write_bytes(path.read_bytes() + b"".join(struct.pack(">Q", p) for p in places))
    at = path.stat().st_size
    moved = {name: where for name, where in track.tables.items() if name != b"stco"}
    other = tables.TableTrack(
        str(wide), track.id, track.time_base, track.start, track.count, track.size,
        {**moved, b"co64": (at, len(places))},
    )  # fmt: skip
    assert [facts(p) for p in other.packets()] == expected


@pytest.mark.parametrize("muxer", [{}, IN_FRAGMENTS], ids=["tables", "fragments"])
def test_libav_is_shown_the_first_packets_and_all_of_the_sound(tmp_path: Path, muxer: dict[str, str]) -> None:
    path = tmp_path / "a.mp4"
    make_video(tmp_path / "b.mp4", sound=np.zeros((1, 8 * RATE), np.float32))
    remux(tmp_path / "b.mp4", path, muxer)
    with av.open(str(path), container_options={"advanced_editlist": "0"}) as whole:
        sound = [facts(p) for p in whole.demux(audio=0)]
        picture = whole.streams.video[0]
        about = (picture.average_rate, picture.time_base, picture.codec_context.pix_fmt)
    with open_container(str(path)) as part:
        assert [facts(p) for p in part.demux(audio=0)] == sound
        picture = part.streams.video[0]
        assert (picture.average_rate, picture.time_base, picture.codec_context.pix_fmt) == about
    with open_container(str(path)) as part:
        shown = [p for p in part.demux(video=0) if p.size]
        assert 1 <= len(shown) < 100


@pytest.mark.parametrize("muxer", [{}, IN_FRAGMENTS], ids=["tables", "fragments"])
@pytest.mark.parametrize("target", ["b.mp4", "b.mov", "b.mkv"])
@pytest.mark.parametrize("shared", [True, False])
def test_copies_are_the_same(
    tmp_path: Path, target: str, shared: bool, muxer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.mp4"
    make_video(tmp_path / "c.mp4", tracks=2)
    remux(tmp_path / "c.mp4", source, muxer)
    outputs = []
    for folder, least in (("libav", 1 << 30), ("aside", 0)):
        monkeypatch.setattr(aside, "MANY", least)
        assert len(aside.aside(str(source))) == (least == 0)
        (tmp_path / folder).mkdir()
        with (
            open_reader(source) as reader,
            open_writer(tmp_path / folder / target, reader if shared else reader.info) as writer,
        ):
            for block in reader.blocks(1013):
                writer.write(block)
        with av.open(str(tmp_path / folder / target)) as container:
            packets = [(p.stream_index, p.is_keyframe, facts(p)) for p in container.demux() if p.size]
            outputs.append((sorted(packets, key=repr), [(s.type, s.duration, s.frames) for s in container.streams]))
    assert outputs[0] == outputs[1]
    assert picture_packets(tmp_path / "aside" / target) == picture_packets(source)


def test_what_is_told_of_a_file_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "a.mp4")
    told = probe(tmp_path / "a.mp4")
    monkeypatch.setattr(aside, "MANY", 1 << 30)
    assert probe(tmp_path / "a.mp4") == told


def box(path: Path, kind: bytes) -> int:
    """Where the payload of the picture's box begins."""
    return next(t[kind] for t in mp4.tracks_of(str(path))[1] if mp4.is_of(t, b"vide")).begin


@pytest.mark.parametrize(
    ("kind", "at", "new"),
    [
        (b"stsd", 4, b"\0\0\0\2"),  # two codecs
        (b"stsd", 12, b"encv"),  # encrypted
        (b"ctts", 12, b"\xff\xff\xff\xfe"),  # shown before it is decoded
        (b"stsc", 16, b"\0\0\0\2"),  # of the second codec
        (b"stsc", 4, b"\0\0\0\0"),  # no chunk
        (b"stco", 4, b"\0\1\0\0"),  # a table longer than its box
        (b"stts", -4, b"sttx"),  # a table that we do not know
        (b"tkhd", 12, b"\0\0\0\0"),  # a track without a number
    ],
)
def test_the_rest_is_left_to_libav(tmp_path: Path, kind: bytes, at: int, new: bytes) -> None:
    path = tmp_path / "a.mp4"
    make_video(path)
    assert len(aside.aside(str(path))) == 1
    begin = box(path, kind)
    with open(path, "r+b") as file:
        file.seek(begin + at)
        file.write(new)
    assert aside.aside(str(path)) == []


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="no HEVC encoder here")
def test_notes_which_pictures_may_be_dropped_are_kept_where_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fragments, as which long files are written, have no place for them."""
    source = tmp_path / "a.mp4"
    make_video(tmp_path / "sound.mp4")
    encode(tmp_path / "picture.mp4", "libx265", options={"x265-params": "log-level=none"}, pictures=30)
    with (
        av.open(str(tmp_path / "sound.mp4")) as sound, av.open(str(tmp_path / "picture.mp4")) as picture,
        av.open(str(source), "w") as out,
    ):  # fmt: skip
        pairs = [(s, out.add_stream_from_template(s, opaque=True)) for s in (sound.streams.audio[0], *picture.streams)]
        for stream, target in pairs:
            for packet in stream.container.demux(stream):
                if packet.size:
                    packet.stream = target
                    out.mux(packet)
    assert any(disposable for *_, disposable, _, _ in of_libav(source))
    assert aside.aside(str(source)) == []
    monkeypatch.setattr(mp4, "FRAGMENT_HOURS", 0.0)
    (track,) = aside.aside(str(source))
    strip = [(*stamps, data) for *stamps, _, _, data in of_libav(source)]
    assert [(*stamps, data) for *stamps, _, _, data in map(facts, track.packets())] == strip
    for target in ("b.mp4", "b.mkv"):
        copies = []
        for folder, least in (("libav", 1 << 30), ("aside", 0)):
            monkeypatch.setattr(aside, "MANY", least)
            (tmp_path / folder).mkdir(exist_ok=True)
            with open_reader(source) as reader, open_writer(tmp_path / folder / target, reader) as writer:
                for block in reader.blocks(1013):
                    writer.write(block)
            with av.open(str(tmp_path / folder / target)) as container:
                copies.append([facts(p) for p in container.demux(video=0) if p.size])
        assert copies[0] == copies[1]


def test_short_tracks_and_other_files_are_left_to_libav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "a.mp4")
    make_video(tmp_path / "a.mkv")
    assert aside.aside(str(tmp_path / "a.mkv")) == []
    assert aside.aside(str(tmp_path / "none.mp4")) == []
    assert aside.aside("-") == []
    monkeypatch.setattr(aside, "MANY", 10_000)
    assert aside.aside(str(tmp_path / "a.mp4")) == []


@pytest.mark.parametrize("muxer", [{"movflags": "faststart"}, IN_FRAGMENTS], ids=["tables", "fragments"])
def test_what_is_there_of_a_file_that_was_cut_off(tmp_path: Path, muxer: dict[str, str]) -> None:
    whole, cut, target = (tmp_path / f"{name}.mp4" for name in ("whole", "cut", "out"))
    make_video(tmp_path / "a.mp4", sound=np.zeros((1, 8 * RATE), np.float32))
    remux(tmp_path / "a.mp4", whole, muxer)
    data = whole.read_bytes()
    with open(whole, "rb") as file:
        packets = [(begin, end) for kind, begin, end in mp4.boxes(file, 0, len(data)) if kind == b"mdat"]
    begin, end = max(box for box in packets if box[0] < 0.7 * len(data))
    cut.write_bytes(data[: begin + 3 * (end - begin) // 4])  # not in the index: no version of libav opens that
    with open_reader(cut, allow_truncated=True) as reader, open_writer(target, reader) as writer:
        for block in reader.blocks(1013):
            writer.write(block)
    kept = picture_packets(target)
    assert 20 < len(kept) < 200
    assert kept == picture_packets(whole)[: len(kept)]


@pytest.mark.parametrize(
    ("of", "old", "new"),
    [
        (b"traf", b"tfdt", b"tfdx"),  # no times
        (b"traf", b"trun", b"senc"),  # encrypted
        (b"mvex", b"trex", b"trez"),  # no defaults
    ],
)
def test_strange_fragments_are_left_to_libav(tmp_path: Path, of: bytes, old: bytes, new: bytes) -> None:
    path = tmp_path / "a.mp4"
    encode(path, "libx264", muxer=IN_FRAGMENTS)
    assert len(aside.aside(str(path))) == 1
    data = path.read_bytes()
    place = data.index(old, data.index(of))
    path.write_bytes(data[:place] + new + data[place + 4 :])
    assert aside.aside(str(path)) == []


def test_a_long_file_is_one_with_a_large_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, muxer in (("a", {}), ("b", IN_FRAGMENTS)):
        encode(tmp_path / f"{name}.mp4", "libx264", muxer=muxer)
        # About 12 bytes for each of 130 pictures, in one piece or in many.
        for bytes_, long in ((600, True), (30_000, False)):
            monkeypatch.setattr(mp4, "LARGE_INDEX_BYTES", bytes_)
            assert mp4.has_long_index(str(tmp_path / f"{name}.mp4")) == long
    monkeypatch.setattr(mp4, "LARGE_INDEX_BYTES", 1500)
    assert mp4.has_long_index(str(tmp_path / "b.mp4"))
    assert mp4.index_of(str(tmp_path / "b.mp4"))[1] - mp4.index_of(str(tmp_path / "b.mp4"))[0] < 1500  # type: ignore[index]


@pytest.mark.parametrize("muxer", [{}, IN_FRAGMENTS], ids=["tables", "fragments"])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_index_is_no_worse_than_for_libav(
    tmp_path_factory: pytest.TempPathFactory, muxer: dict[str, str], changes: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path, damaged = folder / f"index{len(muxer)}.mp4", folder / "damaged.mp4"
    if not path.exists():
        make_video(folder / "plain.mp4")
        remux(folder / "plain.mp4", path, muxer)
    data = bytearray(path.read_bytes())
    begin = data.index(b"moof" if muxer else b"moov")
    for place, value in changes:
        data[begin + int(place * (len(data) - begin - 1))] = value
    damaged.write_bytes(data)
    for track in aside.aside(str(damaged)):
        assert sum(packet.size for packet in track.packets()) < 100 * len(data)
    with suppress(MediaError):
        read(damaged)
