from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from io_helpers import RATE, copy, memory_info, noise

from unmuffle.errors import NotAudioError, TruncatedError
from unmuffle.io import open_reader, open_writer, probe, quantise, read, write
from unmuffle.io import wav as wav_module
from unmuffle.io.wav import pack_header, read_header


@pytest.mark.parametrize("sample_format", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("frames", [0, 1, 1000, None])
def test_a_header_reads_as_it_was_written(sample_format: str, channels: int, frames: int | None) -> None:
    data = pack_header(44100, channels, sample_format, channel_mask=0x3F if channels == 6 else 0, frames=frames)
    stream = io.BytesIO(data)
    header = read_header(stream, "x")
    assert (header.sample_rate, header.channels, header.sample_format) == (44100, channels, sample_format)
    assert stream.tell() == len(data)
    # No samples and no statement look the same, and mean the same at the end of a file.
    assert header.data_bytes == (frames * header.frame_bytes if frames else None)
    assert header.layout == ("5.1" if channels == 6 else None)


def test_the_length_of_a_header_does_not_depend_on_the_number_of_samples() -> None:
    lengths = {len(pack_header(8000, 1, "FLOAT", frames=frames)) for frames in (None, 0, 7, 2**31, 2**40)}
    assert len(lengths) == 1


def test_more_than_4_gib_is_rf64(tmp_path: Path) -> None:
    frames = 2**31  # 4 GiB of 16-bit mono
    header = pack_header(8000, 1, "PCM_16", frames=frames)
    assert header[:4] == b"RF64"
    assert read_header(io.BytesIO(header), "x").data_bytes == 2 * frames
    # libsndfile agrees; the file is sparse: its samples are a hole.
    path = tmp_path / "big.wav"
    with open(path, "wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + 2 * frames)
    facts = soundfile.info(path)
    assert (facts.format, facts.frames, facts.subtype) == ("RF64", frames, "PCM_16")
    assert probe(path).frames == frames


def test_the_writer_turns_to_rf64_when_the_limit_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wav_module, "RIFF_LIMIT", 0xFFFFFFFF)
    write(tmp_path / "a.rf64", noise(2, 1000), RATE, "PCM_16")
    assert (tmp_path / "a.rf64").read_bytes()[:4] == b"RF64"
    write(tmp_path / "a.wav", noise(2, 1000), RATE, "PCM_16")
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"
    np.testing.assert_array_equal(read(tmp_path / "a.rf64")[0], read(tmp_path / "a.wav")[0])
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.rf64")[0], soundfile.read(tmp_path / "a.wav")[0])


@pytest.mark.slow
def test_a_real_file_of_more_than_4_gib(tmp_path: Path) -> None:
    block = np.zeros((8, 1 << 20), dtype=np.float32)
    block[:, 0] = 0.5
    count = 2**32 // block.nbytes + 1
    with open_writer(tmp_path / "big.wav", memory_info(8, sample_format="FLOAT")) as writer:
        for _ in range(count):
            writer.write(block)
    assert os.path.getsize(tmp_path / "big.wav") > 2**32
    info = soundfile.info(tmp_path / "big.wav")
    assert (info.format, info.frames) == ("RF64", count << 20)
    with open_reader(tmp_path / "big.wav") as reader:
        assert sum(float(b[0].sum()) for b in reader.blocks(1 << 20)) == count * 0.5
    (tmp_path / "big.wav").unlink()


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF024])
def test_sizes_that_mean_unknown(tmp_path: Path, size: int) -> None:
    x = quantise(noise(1, 500), "PCM_16")
    write(tmp_path / "a.wav", x, RATE, "PCM_16")
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    at = raw.index(b"data") + 4
    raw[at : at + 4] = struct.pack("<I", size)
    raw[4:8] = struct.pack("<I", size)
    (tmp_path / "b.wav").write_bytes(raw)
    np.testing.assert_array_equal(read(tmp_path / "b.wav")[0], x)


def test_no_samples_but_other_chunks_behind(tmp_path: Path) -> None:
    head = pack_header(RATE, 1, "PCM_16", frames=0, trailing=16)
    (tmp_path / "a.wav").write_bytes(head + b"LIST\x08\0\0\0INFOxxxx")
    assert read(tmp_path / "a.wav")[0].shape == (1, 0)


@pytest.mark.parametrize("cut", [1, 2, 500])
def test_truncated_wav(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "a.wav", noise(1, 1000), RATE, "PCM_16")
    raw = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "b.wav").write_bytes(raw[:-cut])
    with pytest.raises(TruncatedError, match="allow_truncated"):
        open_reader(tmp_path / "b.wav")
    with open_reader(tmp_path / "b.wav", allow_truncated=True) as reader:
        blocks = np.concatenate(list(reader.blocks(100)), axis=1)
    np.testing.assert_array_equal(blocks, read(tmp_path / "a.wav")[0][:, : (2000 - cut) // 2])


@pytest.mark.parametrize(
    "data",
    [b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + bytes(16) + b"data\0\0\0\0",
     b"RIFF\x24\0\0\0WAVEdata\0\0\0\0", b"RIFF\x24\0\0\0WAVEfmt \xff\xff\xff\x7f"],
)  # fmt: skip
def test_broken_headers(data: bytes) -> None:
    with pytest.raises(NotAudioError, match="'x'"):
        read_header(io.BytesIO(data), "x")


def test_adpcm_and_other_kinds_are_left_to_libsndfile(tmp_path: Path) -> None:
    x = noise(1, 8080)
    soundfile.write(tmp_path / "a.wav", x.T, 16000, "IMA_ADPCM")
    y, _ = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(y[0], soundfile.read(tmp_path / "a.wav", dtype="float32")[0])
    writer = copy(tmp_path / "a.wav", tmp_path / "b.wav")
    assert writer.sample_format == "PCM_16"
