"""Everything that is not a good media file: the right error, one line, in bounded time."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from io_helpers import RATE, make_video, noise

from unmuffle.errors import MediaError, MediaNotFoundError, NotAudioError, TruncatedError, UnmuffleError
from unmuffle.io import MediaReader, open_reader, probe, read, write


def everything(path: Path, **options: bool) -> int:
    with open_reader(path, **options) as reader:  # type: ignore[arg-type]
        return sum(block.shape[1] for block in reader.blocks())


NOT_AUDIO: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty": ("a.wav", lambda p: p.write_bytes(b"")),
    "text": ("a.txt", lambda p: p.write_text("These are words, not sounds.\n" * 100)),
    "text called wav": ("a.wav", lambda p: p.write_text("These are words, not sounds.\n" * 100)),
    "text called mp3": ("a.mp3", lambda p: p.write_text("These are words, not sounds.\n" * 100)),
    "random": ("a.bin", lambda p: p.write_bytes(np.random.default_rng(0).bytes(100_000))),
    "random called flac": ("a.flac", lambda p: p.write_bytes(np.random.default_rng(1).bytes(100_000))),
    "zeros": ("a.mp4", lambda p: p.write_bytes(bytes(10_000))),
    "png": ("a.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))),
    "one byte": ("a.ogg", lambda p: p.write_bytes(b"O")),
    "playlist": ("a.m3u8", lambda p: p.write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/x.ts\n#EXT-X-ENDLIST\n")),
    "script": ("a.ffconcat", lambda p: p.write_text("ffconcat version 1.0\nfile /etc/passwd\n")),
    "folder": ("folder.wav", lambda p: p.mkdir()),
}


@pytest.mark.parametrize("kind", sorted(NOT_AUDIO))
def test_not_audio(tmp_path: Path, kind: str) -> None:
    name, make = NOT_AUDIO[kind]
    make(tmp_path / name)
    for action in (probe, everything, read):
        with pytest.raises(NotAudioError) as caught:
            action(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert ":" in str(caught.value)  # what is wrong: the way out


def test_missing(tmp_path: Path) -> None:
    for name in (tmp_path / "no.wav", tmp_path / "no" / "no.mp3", "http://localhost:9/x.mp3"):
        with pytest.raises(MediaNotFoundError, match="spelling"):
            probe(name)


def test_a_file_one_may_not_read(tmp_path: Path) -> None:
    import os

    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    write(tmp_path / "a.wav", noise(1, 10), RATE)
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(MediaError, match="permissions"):
        probe(tmp_path / "a.wav")


CUT = [".wav", ".flac", ".aiff", ".w64", ".au", ".m4a", ".mp4", ".mp3", ".ogg", ".opus", ".webm", ".mkv", ".mov", ".rf64"]


@pytest.mark.parametrize("share", [0.95, 0.6, 0.3])
@pytest.mark.parametrize("ext", CUT)
def test_truncated(tmp_path: Path, ext: str, share: float) -> None:
    write(tmp_path / f"a{ext}", noise(2, 200_000), RATE)
    raw = (tmp_path / f"a{ext}").read_bytes()
    cut = tmp_path / f"b{ext}"
    cut.write_bytes(raw[: int(share * len(raw))])
    whole = everything(tmp_path / f"a{ext}")
    with pytest.raises(TruncatedError, match="allow_truncated") as caught:
        everything(cut)
    assert str(cut) in str(caught.value)
    if ext in (".m4a", ".mp4", ".mov"):  # the index stands at the end: without it nothing can be decoded
        with pytest.raises(NotAudioError):
            everything(cut, allow_truncated=True)
    else:
        # What is there is delivered: within a few frames (or, in Ogg, a page of up to a second) of the share.
        kept = everything(cut, allow_truncated=True)
        assert share * whole - 60_000 < kept <= whole


def test_a_whole_file_is_not_taken_for_a_truncated_one(tmp_path: Path) -> None:
    """Foreign writers: libsndfile, and libav through ffmpeg's tool if it is here."""
    for ext, minor in ((".wav", "PCM_16"), (".flac", "PCM_24"), (".aiff", "PCM_16"), (".ogg", "VORBIS"), (".mp3", None)):
        soundfile.write(tmp_path / f"a{ext}", noise(2, 30_000).T, RATE, minor)
        # mp3 of libsndfile has no statement of the exact length: up to two frames of padding
        assert 30_000 <= everything(tmp_path / f"a{ext}") <= (30_000 if minor else 33_000)


def test_a_reader_reads_once(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(1, 10), RATE)
    with open_reader(tmp_path / "a.wav") as reader:
        list(reader.blocks())
        with pytest.raises(MediaError, match="open it again"):
            reader.blocks()
        with pytest.raises(UnmuffleError, match="at least 1"):
            reader.blocks(0)
    reader.close()
    assert isinstance(reader, MediaReader)


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    for ext in (".mp3", ".opus", ".m4a"):
        write(tmp_path / f"a{ext}", noise(1, 100_000), RATE)
        raw = bytearray((tmp_path / f"a{ext}").read_bytes())
        middle = len(raw) // 2
        raw[middle : middle + 300] = np.random.default_rng(5).bytes(300)
        (tmp_path / f"b{ext}").write_bytes(raw)
        # A frame or a page (Ogg: up to a second) may be lost, never everything, and no exception.
        assert 100_000 - 60_000 <= everything(tmp_path / f"b{ext}") <= 101_000


@pytest.mark.parametrize("name", ["cut.mkv"])
def test_a_hole_in_a_recording_keeps_what_follows_in_time(tmp_path: Path, name: str) -> None:
    import av

    make_video(tmp_path / "a.mkv", audio_codec="pcm_s16le", kind="s16")
    with av.open(str(tmp_path / "a.mkv")) as a, av.open(str(tmp_path / name), "w") as b:
        out = b.add_stream_from_template(a.streams.audio[0], opaque=True)
        for packet in a.demux(audio=0):
            if packet.size and not 0.2 <= float(packet.pts * packet.time_base) < 0.6:
                packet.stream = out
                b.mux(packet)
    y, _ = read(tmp_path / name)
    x, _ = read(tmp_path / "a.mkv")
    assert abs(y.shape[1] - x.shape[1]) <= RATE // 1000  # Matroska counts milliseconds
    assert np.argmax(np.abs(y[0])) == pytest.approx(np.argmax(np.abs(x[0])), abs=RATE // 1000)


# ---- fuzz -------------------------------------------------------------------------------------------------------


@functools.cache
def seeds() -> dict[str, bytes]:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ext in (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".mka", ".aiff", ".w64", ".aac"):
            write(folder / f"a{ext}", noise(2, 6000), 16000)
            found[ext] = (folder / f"a{ext}").read_bytes()
        make_video(folder / "a.mp4", sound=noise(1, 12_000), rate=RATE)
        found[".mp4"] = (folder / "a.mp4").read_bytes()
    return found


def survives(data: bytes, ext: str) -> None:
    """Success or one of ours, within seconds, for both ways of treating cut files."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"fuzz{ext}"
        path.write_bytes(data)
        for allow in (False, True):
            began, total = time.process_time(), 0
            try:
                with open_reader(path, allow_truncated=allow) as reader:
                    for block in reader.blocks(4096):
                        total += block.shape[1]
                        if total > 50_000_000:
                            break  # a header may well promise hours of silence
            except UnmuffleError as error:
                assert "\n" not in str(error)
            assert time.process_time() - began < 20  # of our own time: the machine may have other work


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@FUZZ
@given(st.binary(max_size=4000), st.sampled_from([".wav", ".flac", ".mp3", ".mp4", ".ogg", ".mkv", ".bin"]))
def test_fuzz_random_bytes(data: bytes, ext: str) -> None:
    survives(data, ext)


@settings(FUZZ, max_examples=120)
@given(
    st.sampled_from([".wav", ".flac", ".mp3", ".m4a", ".mp4", ".ogg", ".opus", ".mka", ".aiff", ".w64", ".aac"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
    st.floats(0.02, 1),
    st.booleans(),
)
def test_fuzz_mutated_files(ext: str, changes: list[tuple[float, int]], share: float, header_only: bool) -> None:
    data = bytearray(seeds()[ext])
    reach = min(len(data), 600) if header_only else len(data)
    for where, value in changes:
        data[min(int(where * reach), len(data) - 1)] = value
    survives(bytes(data[: max(1, int(share * len(data)))] if share < 0.9 else data), ext)


def test_the_search_for_tools_is_honest() -> None:
    """ffmpeg's own tool decodes the same number of samples from a file that we wrote (where it is installed)."""
    import shutil

    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    with tempfile.TemporaryDirectory() as name:
        for ext in (".wav", ".flac", ".mp3", ".ogg", ".opus", ".mka"):
            path = Path(name) / f"a{ext}"
            write(path, noise(2, 24_777), RATE)
            raw = subprocess.run(
                ["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"], capture_output=True, check=True
            ).stdout
            assert len(raw) == 24_777 * 8, ext
