"""Round trips of every format: length, samples, format, rate, channels, layout."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from io_helpers import RATE, copy, lag, memory_info, noise

from unmuffle.errors import DtypeError, NonFiniteError, NotAudioError, OutputError, ParameterError, ShapeError
from unmuffle.io import open_reader, open_writer, probe, quantise, read, supported_extensions, write

LOSSLESS = [
    (ext, major, minor)
    for ext, major in (
        (".wav", "WAV"), (".flac", "FLAC"), (".aiff", "AIFF"), (".w64", "W64"), (".caf", "CAF"), (".au", "AU"),
        (".rf64", "RF64"),
    )
    for minor in ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
    if soundfile.check_format(major, minor)
]  # fmt: skip


@pytest.mark.parametrize(("ext", "major", "minor"), LOSSLESS)
def test_a_copy_of_a_lossless_file_is_bit_exact(tmp_path: Path, ext: str, major: str, minor: str) -> None:
    source, target = tmp_path / f"a{ext}", tmp_path / f"b{ext}"
    x = noise(2, 5003)
    if minor == "DOUBLE":
        x = quantise(x, "PCM_24")  # float64 is kept to the 24 bits that float32 has
    if minor == "PCM_32":
        x = quantise(x, "PCM_24")
    soundfile.write(source, x.T, 44100, minor, format=major)
    writer = copy(source, target)
    before, after = (soundfile.read(path, dtype="float64")[0] for path in (source, target))
    np.testing.assert_array_equal(after, before)
    facts = soundfile.info(target)
    # FLAC of 8 bits becomes 16, 8-bit AIFF is signed in whoever's naming: the samples above are what counts.
    if minor not in ("PCM_U8", "PCM_S8"):
        assert facts.subtype == minor == writer.sample_format
    assert (facts.samplerate, facts.channels, facts.frames) == (44100, 2, 5003)
    if minor not in ("ULAW", "ALAW"):  # those are WAV below 4 GiB, whatever the name
        assert facts.format == major
    assert writer.clipped == 0
    assert writer.notes == []


@pytest.mark.parametrize("samples", [0, 1, 2, 1151, 4097])
@pytest.mark.parametrize("ext", [".wav", ".flac", ".aiff", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mka", ".mp4"])
def test_short_files(tmp_path: Path, ext: str, samples: int) -> None:
    x = noise(1, samples)
    write(tmp_path / f"a{ext}", x, RATE)
    if samples == 0 and ext not in (".wav", ".flac", ".aiff"):
        # Not every lossy container can state an empty track; it is then "no audio", never a crash.
        with suppress(NotAudioError):
            assert read(tmp_path / f"a{ext}")[0].shape == (1, 0)
        return
    y, rate = read(tmp_path / f"a{ext}")
    assert rate == RATE
    assert y.dtype == np.float32
    if samples <= 2 and ext in (".mp3", ".webm"):
        assert samples <= y.shape[1] < 1152  # less than a frame: libav does not cut its end
    else:
        assert y.shape == (1, samples)


LOSSY = [".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mp4", ".aac", ".ts"]


@pytest.mark.parametrize("rate", [48000, 44100, 16000])
@pytest.mark.parametrize("ext", LOSSY)
def test_a_copy_of_a_lossy_file_keeps_length_and_time(tmp_path: Path, ext: str, rate: int) -> None:
    x = noise(1, 24_777)
    source, target = tmp_path / f"a{ext}", tmp_path / f"b{ext}"
    write(source, x, rate)
    first, rate_first = read(source)
    copy(source, target)
    second, rate_second = read(target)
    assert rate_first == rate_second == (48000 if ext in (".opus", ".webm") else rate)
    assert second.shape == first.shape
    assert lag(first, second) == 0
    if rate_first == rate:
        assert lag(x, first) == 0
        if ext not in (".aac", ".ts"):  # raw AAC cannot state that its last frame is padded
            assert first.shape == x.shape
    assert probe(target).codec == probe(source).codec
    assert probe(target).channels == 1


def test_libav_alone_sees_the_same_length(tmp_path: Path) -> None:
    """What any other program decodes: exact, or (AAC in MP4) up to the end of the last frame in both."""
    import av

    def decoded(path: Path) -> int:
        with av.open(str(path)) as container:
            return sum(frame.samples for frame in container.decode(audio=0))

    for ext in (".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mp4"):
        write(tmp_path / f"a{ext}", noise(2, 24_777), RATE)
        copy(tmp_path / f"a{ext}", tmp_path / f"b{ext}")
        assert decoded(tmp_path / f"b{ext}") == decoded(tmp_path / f"a{ext}")


def test_quality_of_lossy_copies(tmp_path: Path) -> None:
    # 128 kbit/s and more for smooth noise: the error lies well below the signal in every codec.
    for ext in (".mp3", ".m4a", ".ogg", ".opus"):
        x = noise(1, 24_000)
        write(tmp_path / f"a{ext}", x, RATE)
        y, _ = read(tmp_path / f"a{ext}")
        error = 10 * np.log10(np.mean((y[:, 2000:22000] - x[:, 2000:22000]) ** 2) / np.mean(x**2))
        assert error < -12, ext


@pytest.mark.parametrize("bit_rate", [64_000, 192_000])
@pytest.mark.parametrize("ext", [".mp3", ".m4a", ".opus"])
def test_the_bit_rate_stays(tmp_path: Path, ext: str, bit_rate: int) -> None:
    x = 0.2 * np.random.default_rng(0).standard_normal((2, 4 * RATE)).astype(np.float32)  # white: hard to compress
    write(tmp_path / f"a{ext}", x, RATE, bit_rate=bit_rate)
    copy(tmp_path / f"a{ext}", tmp_path / f"b{ext}")
    sizes = [(tmp_path / f"{name}{ext}").stat().st_size * 8 / 4 for name in "ab"]
    # Encoders control their rate on average only: 15 % over 4 s.
    assert sizes[0] == pytest.approx(bit_rate, rel=0.15)
    assert sizes[1] == pytest.approx(bit_rate, rel=0.15)


@pytest.mark.parametrize(("channels", "layout"), [(3, None), (4, None), (6, "5.1"), (6, "5.1(side)"), (8, "7.1")])
@pytest.mark.parametrize("ext", [".wav", ".flac", ".opus", ".w64"])
def test_many_channels_keep_their_number_and_layout(
    tmp_path: Path, channels: int, layout: str | None, ext: str
) -> None:
    from dataclasses import replace

    source, target = tmp_path / "a.wav", tmp_path / f"b{ext}"
    x = noise(channels, 9601)
    with open_writer(source, replace(memory_info(channels, sample_format="PCM_16"), channel_layout=layout)) as writer:
        writer.write(x)
    copy(source, target)
    info = probe(target)
    assert info.channels == channels
    if layout is not None and ext not in (".opus", ".w64"):  # Opus knows one 5.1 only, libsndfile's Wave64 none
        assert info.channel_layout == layout
    y, _ = read(target)
    assert y.shape == x.shape
    if ext != ".opus":
        np.testing.assert_array_equal(y, quantise(x, "PCM_16"))
    else:
        for c in range(channels):
            # The order of the channels is the same. (The fourth of 5.1 and 7.1 is the low-frequency one, which
            # the encoder may filter.)
            if not (layout is not None and c == 3):
                assert np.argmax([abs(np.dot(x[c], row)) for row in y]) == c


def test_96_khz_float64(tmp_path: Path) -> None:
    x = noise(2, 9600)
    soundfile.write(tmp_path / "a.wav", x.T.astype(np.float64), 96000, "DOUBLE")
    copy(tmp_path / "a.wav", tmp_path / "b.wav")
    y, rate = soundfile.read(tmp_path / "b.wav")
    assert rate == 96000
    assert soundfile.info(tmp_path / "b.wav").subtype == "DOUBLE"
    np.testing.assert_array_equal(y.T, x)


def test_nan_is_delivered_as_it_is(tmp_path: Path) -> None:
    x = noise(1, 100)
    x[0, 50], x[0, 60] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", x.T, RATE, "FLOAT")
    y, _ = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(y, x)
    copy(tmp_path / "a.wav", tmp_path / "b.wav")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav", dtype="float32")[0], x[0])


@pytest.mark.parametrize(
    ("source", "target", "stored"),
    [
        ((".wav", "PCM_16"), ".flac", "PCM_16"), ((".wav", "PCM_24"), ".flac", "PCM_24"),
        ((".wav", "FLOAT"), ".flac", "PCM_24"), ((".wav", "PCM_24"), ".aiff", "PCM_24"),
        ((".flac", "PCM_24"), ".wav", "PCM_24"), ((".mp3", None), ".wav", "PCM_16"), ((".wav", "PCM_16"), ".mp3", "LOSSY"),
        ((".mp3", None), ".flac", "PCM_16"), ((".m4a", None), ".opus", "LOSSY"),
    ],
)  # fmt: skip
def test_the_extension_chooses_the_container(
    tmp_path: Path, source: tuple[str, str | None], target: str, stored: str
) -> None:
    a, b = tmp_path / f"a{source[0]}", tmp_path / f"b{target}"
    x = noise(2, 9600)
    write(a, x, RATE, source[1])
    writer = copy(a, b)
    assert writer.sample_format == stored
    before, after = read(a)[0], read(b)[0]
    assert after.shape == before.shape
    if stored.startswith("PCM"):
        np.testing.assert_allclose(after, np.clip(before, -1, 1), atol=1 / 32768 if stored == "PCM_16" else 2**-23)


def test_a_rate_the_codec_does_not_know_is_resampled_and_told(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(1, 44100), 44100)
    writer = copy(tmp_path / "a.wav", tmp_path / "b.opus")
    assert any("48000" in note for note in writer.notes)
    y, rate = read(tmp_path / "b.opus")
    assert (rate, y.shape) == (48000, (1, 48000))


def test_read_resamples_on_request(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise(2, 48000), 48000)
    y, rate = read(tmp_path / "a.wav", sample_rate=16000)
    assert (rate, y.shape) == (16000, (2, 16000))
    with pytest.raises(ParameterError):
        read(tmp_path / "a.wav", sample_rate=0)


@pytest.mark.parametrize("frames", [1, 77, 4096, 10**7])
def test_blocks_have_the_asked_length_and_join_to_the_whole(tmp_path: Path, frames: int) -> None:
    for ext in (".wav", ".flac", ".mp3"):
        write(tmp_path / f"a{ext}", noise(2, 3001), RATE, bit_rate=128_000)
        whole, _ = read(tmp_path / f"a{ext}")
        with open_reader(tmp_path / f"a{ext}") as reader:
            blocks = list(reader.blocks(frames))
            assert reader.frames_read == whole.shape[1]
        assert all(block.shape[1] == frames for block in blocks[:-1])
        assert 0 < blocks[-1].shape[1] <= frames
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)


def test_the_writer_keeps_no_hold_of_the_callers_array(tmp_path: Path) -> None:
    for ext in (".flac", ".ogg", ".m4a", ".wav"):
        x = noise(1, 5000)
        with open_writer(tmp_path / f"a{ext}", memory_info(1, sample_format="PCM_16")) as writer:
            block = np.empty((1, 10), dtype=np.float32)
            for start in range(0, 5000, 10):
                block[:] = x[:, start : start + 10]
                writer.write(block)
        write(tmp_path / f"b{ext}", x, RATE, "PCM_16")
        np.testing.assert_array_equal(read(tmp_path / f"a{ext}")[0], read(tmp_path / f"b{ext}")[0])


@pytest.mark.parametrize("ext", [".flac", ".mp3", ".ogg", ".m4a", ".opus"])
def test_nan_cannot_be_written_where_there_is_no_nan(tmp_path: Path, ext: str) -> None:
    x = noise(1, 5000)
    x[0, 10] = np.nan
    with pytest.raises(NonFiniteError, match="FLOAT"):
        write(tmp_path / f"a{ext}", x, RATE)
    assert list(tmp_path.iterdir()) == []


def test_clipping_is_counted(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.wav", memory_info(1, sample_format="PCM_16")) as writer:
        writer.write(np.array([1.5, 0.5, -2.0], dtype=np.float32))
    assert writer.clipped == 2
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], [32767, 16384, -32768])


def test_wrong_blocks_are_named(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.wav", memory_info(2)) as writer:
        with pytest.raises(ShapeError, match="2 channels"):
            writer.write(np.zeros((3, 10), dtype=np.float32))
        with pytest.raises(DtypeError, match="int16"):
            writer.write(np.zeros((2, 10), dtype=np.int16))
    with pytest.raises(OutputError, match="closed"):
        writer.write(np.zeros((2, 10), dtype=np.float32))


def test_too_many_channels_for_mp3(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="3 channels"):
        write(tmp_path / "a.mp3", noise(3, 100), RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.txt", "a.3gp"])
def test_unknown_extensions_are_named_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"\.wav"):
        write(tmp_path / name, noise(1, 10), RATE)
    assert list(tmp_path.iterdir()) == []


def test_raw_files(tmp_path: Path) -> None:
    x = quantise(noise(2, 1000), "PCM_16")
    with open_writer(tmp_path / "a.bin", memory_info(2), raw_format="s16le") as writer:
        writer.write(x)
    assert (tmp_path / "a.bin").stat().st_size == 4000
    with open_reader(tmp_path / "a.bin", sample_rate=8000, channels=2, raw_format="s16le") as reader:
        assert reader.info.frames == 1000
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks(300)), axis=1), x)
    with pytest.raises(ParameterError, match="s17le"):
        open_reader(tmp_path / "a.bin", sample_rate=8000, raw_format="s17le")
    with pytest.raises(ParameterError, match="sample rate"):
        open_reader(tmp_path / "a.bin", raw_format="s16le")
    with pytest.raises(ParameterError, match="raw_format"):
        open_reader(tmp_path / "a.bin", sample_rate=8000)


def test_supported_extensions_have_dots_and_the_required_ones() -> None:
    required = {".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".webm", ".mp4", ".mov", ".mkv"}
    assert required <= supported_extensions()
    assert all(ext.startswith(".") for ext in supported_extensions())
