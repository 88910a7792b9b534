"""Videos: the picture is untouched, the sound stays in time; tags and covers come along."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from io_helpers import RATE, click_against_picture_ms, copy, make_video, noise, picture_packets

from unmuffle.errors import NotAudioError, OutputError
from unmuffle.io import mp4, open_reader, open_writer, probe, read, write

VIDEOS = [
    ("a.mp4", {}), ("a.mov", {}), ("a.mkv", {}), ("a.ts", {}),
    ("a.webm", {"audio_codec": "libopus", "video_codec": "libvpx-vp9", "kind": "flt"}),
    ("a.mp4", {"audio_codec": "libmp3lame"}), ("a.mov", {"audio_codec": "pcm_s16le", "kind": "s16"}),
    ("a.mkv", {"audio_codec": "libopus", "kind": "flt"}), ("a.mkv", {"audio_codec": "ac3"}),
    ("a.avi", {"audio_codec": "libmp3lame", "video_codec": "mpeg4"}), ("a.mkv", {"audio_codec": "flac", "kind": "s16"}),
]  # fmt: skip


# Everything once, and sound that begins late or early in the containers that differ in how they say so.
CASES = [(name, options, 0.0) for name, options in VIDEOS] + [
    (name, options, late) for name, options in VIDEOS[:6] for late in (0.4, -0.4)
]


@pytest.mark.parametrize(("name", "options", "late"), CASES)
def test_picture_untouched_and_sound_in_time(
    tmp_path: Path, name: str, options: dict[str, str], late: float, record_property: Callable[[str, object], None]
) -> None:
    source, target = tmp_path / name, tmp_path / ("out " + name)
    make_video(source, audio_start_s=max(0, late), video_start_s=max(0, -late), **options)  # type: ignore[arg-type]
    writer = copy(source, target)
    assert picture_packets(target) == picture_packets(source)
    shift = click_against_picture_ms(target) - click_against_picture_ms(source)
    record_property("sync_ms", shift)
    # Sample-exact in MP4, MOV and TS; Matroska and WebM count whole milliseconds; MP3 in AVI counts whole frames.
    bound = {".mp4": 0.03, ".mov": 0.03, ".ts": 0.03}.get(source.suffix, 1.01)
    assert abs(shift) <= bound
    assert writer.notes == []
    before, after = read(source)[0], read(target)[0]
    if options.get("audio_codec") != "ac3":  # AC-3 has no way to say that its last frame is padded
        assert after.shape == before.shape
    assert probe(target).has_video
    assert probe(target).codec == probe(source).codec


def test_replaced_sound_is_what_was_written(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    make_video(source, sound=noise(2, RATE))
    other = noise(2, RATE, seed=9)
    with open_reader(source) as reader, open_writer(target, reader.info) as writer:
        assert sum(block.shape[1] for block in reader.blocks()) == RATE
        writer.write(other)
    y, _ = read(target)
    # 128 kbit/s AAC of smooth noise: the correlation with the new sound is near 1, with the old one near 0.
    assert np.corrcoef(y[0, 2000:40000], other[0, 2000:40000])[0, 1] > 0.9


def test_other_audio_tracks_are_copied(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", tracks=3)
    copy(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert probe(tmp_path / "b.mkv").audio_tracks == 3

    def packets(path: Path, track: int) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(p) for p in container.demux(audio=track) if p.size]

    for track in (1, 2):
        assert packets(tmp_path / "b.mkv", track) == packets(tmp_path / "a.mkv", track)


def test_tags_of_a_video_stay(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert probe(tmp_path / "b.mp4").tags["title"] == "Köln 東京"


def test_chapters_stay(tmp_path: Path) -> None:
    chapters: list[dict[str, object]] = [
        {"id": i + 1, "start": i * 1000, "end": i * 1000 + 1000, "time_base": Fraction(1, 1000), "metadata": {"title": f"c{i}"}}
        for i in range(2)
    ]  # fmt: skip
    make_video(tmp_path / "a.mkv", chapters=chapters)
    copy(tmp_path / "a.mkv", tmp_path / "b.mkv")
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["c0", "c1"]


def test_only_the_sound_of_a_video(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    writer = copy(tmp_path / "a.mp4", tmp_path / "b.wav")
    assert any("picture" in note for note in writer.notes)
    assert not probe(tmp_path / "b.wav").has_video


def test_another_video_container(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    copy(tmp_path / "a.mp4", tmp_path / "b.mkv")
    assert [data for _, data in picture_packets(tmp_path / "b.mkv")] == [
        data for _, data in picture_packets(tmp_path / "a.mp4")
    ]
    shift = click_against_picture_ms(tmp_path / "b.mkv") - click_against_picture_ms(tmp_path / "a.mp4")
    assert abs(shift) <= 1.01  # Matroska's milliseconds


def test_a_picture_the_container_cannot_hold(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="mkv"):
        copy(tmp_path / "a.mp4", tmp_path / "b.webm")
    assert not (tmp_path / "b.webm").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_video_without_sound(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", tracks=0)
    with pytest.raises(NotAudioError, match="no audio track.*video"):
        probe(tmp_path / "a.mp4")


def _png() -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([80, 120, 200] * 16) for _ in range(16))
    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _with_cover(path: Path, codec: str, muxer: str) -> None:
    """A tagged audio file with a 16x16 PNG cover."""
    picture_path = path.with_suffix(".png")
    picture_path.write_bytes(_png())
    with av.open(str(picture_path)) as picture, av.open(str(path), "w", format=muxer) as out:
        out.metadata.update({"title": "Töne", "artist": "声", "album": "A & B", "comment": "x=1"})
        audio = out.add_stream(codec, rate=RATE)
        audio.codec_context.layout = "mono"
        audio.codec_context.time_base = Fraction(1, RATE)
        cover = out.add_stream_from_template(picture.streams.video[0], opaque=True)
        cover.disposition = 0x400
        out.start_encoding()
        packet = next(p for p in picture.demux() if p.size)
        packet.stream = cover
        out.mux(packet)
        kind = audio.codec_context.format.name
        data = np.zeros((1, 1024), dtype={"s16": "i2", "s32p": "i4", "fltp": "f4", "s16p": "i2"}[kind])
        for index in range(10):
            frame = av.AudioFrame.from_ndarray(data, format=kind, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, index * 1024, Fraction(1, RATE)
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))


COVERED = [(".flac", "flac", "flac"), (".mp3", "libmp3lame", "mp3"), (".m4a", "aac", "mp4")]


@pytest.mark.parametrize(("ext", "codec", "muxer"), COVERED)
def test_tags_and_cover_stay(tmp_path: Path, ext: str, codec: str, muxer: str) -> None:
    _with_cover(tmp_path / f"a{ext}", codec, muxer)
    info = probe(tmp_path / f"a{ext}")
    assert info.has_cover
    assert not info.has_video
    copy(tmp_path / f"a{ext}", tmp_path / f"b{ext}")
    after = probe(tmp_path / f"b{ext}")
    for key in ("title", "artist", "album", "comment"):
        assert after.tags[key] == info.tags[key]
    assert after.has_cover
    with av.open(str(tmp_path / f"b{ext}")) as container:
        assert any(bytes(p) == _png() for p in container.demux(video=0))


@pytest.mark.parametrize("ext", [".ogg", ".opus", ".flac", ".mp3", ".m4a"])
def test_tags_and_cover_go_into_other_containers(tmp_path: Path, ext: str) -> None:
    _with_cover(tmp_path / "a.flac", "flac", "flac")
    copy(tmp_path / "a.flac", tmp_path / f"b{ext}")
    after = probe(tmp_path / f"b{ext}")
    assert {key.lower(): text for key, text in after.tags.items()}["title"] == "Töne"
    assert after.has_cover
    assert read(tmp_path / f"b{ext}")[0].shape == read(tmp_path / "a.flac")[0].shape


@pytest.mark.parametrize("ext", [".wav", ".caf", ".aiff", ".mka", ".webm", ".mp4"])
def test_tags_go_where_covers_cannot(tmp_path: Path, ext: str) -> None:
    _with_cover(tmp_path / "a.flac", "flac", "flac")
    copy(tmp_path / "a.flac", tmp_path / f"b{ext}")
    assert {key.lower(): text for key, text in probe(tmp_path / f"b{ext}").tags.items()}["title"] == "Töne"


def test_foreign_chunks_of_wav_are_carried_byte_by_byte(tmp_path: Path) -> None:
    import struct

    write(tmp_path / "a.wav", noise(1, 4800), RATE, "PCM_16")
    raw = (tmp_path / "a.wav").read_bytes()
    bext, ixml = b"bext" + struct.pack("<I", 603) + bytes(range(201)) * 3 + b"\0", b"iXML\x04\0\0\0<x/>"
    at = raw.index(b"fmt ")
    changed = raw[:at] + bext + raw[at:] + ixml
    (tmp_path / "b.wav").write_bytes(b"RIFF" + struct.pack("<I", len(changed) - 8) + changed[8:])
    copy(tmp_path / "b.wav", tmp_path / "c.wav")
    copied = (tmp_path / "c.wav").read_bytes()
    assert bext in copied
    assert copied.endswith(ixml)
    assert struct.unpack("<I", copied[4:8])[0] == len(copied) - 8
    np.testing.assert_array_equal(read(tmp_path / "c.wav")[0], read(tmp_path / "a.wav")[0])


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg writes the text here")
def test_text_that_ends_long_before_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in microseconds, as ffmpeg does, the rest of a long file is longer than MP4 can say."""
    monkeypatch.setattr(mp4, "LARGE_INDEX_BYTES", 0)
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,500\nearly\n\n2\n00:00:03,000 --> 00:00:03,125\nlater\n")
    inputs = ["-f", "lavfi", "-i", "anoisesrc=r=8000:a=0.02:d=5", "-i", str(tmp_path / "a.srt")]
    inputs += ["-f", "lavfi", "-i", "color=s=32x32:r=0.1:d=2400", "-map", "0", "-map", "1", "-map", "2"]
    words = ["ffmpeg", "-v", "error", *inputs, "-c:a", "aac", "-c:v", "mpeg4", "-c:s", "mov_text"]
    subprocess.run([*words, str(tmp_path / "a.mp4")], check=True, stdin=subprocess.DEVNULL, timeout=300)

    def lines(path: Path) -> list[tuple[str, float, float]]:
        with av.open(str(path)) as container:
            packets = [p for p in container.demux(subtitles=0) if p.size > 2]
            return [(bytes(p)[2:7].decode(), float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets]

    copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    given, taken = lines(tmp_path / "a.mp4"), lines(tmp_path / "b.mp4")
    assert [text for text, *_ in taken] == [text for text, *_ in given]
    assert len(given) == 2
    np.testing.assert_allclose([t[1:] for t in taken], [t[1:] for t in given], atol=1e-4)
