"""What headers promise: files cut off anywhere, and headers full of garbage, give a number and never an error."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from unmuffle.io.integrity import missing_bytes

MAGIC = [b"RIFF", b"RF64", b"BW64", b"FORM", b"riff", b".snd", b"\x1a\x45\xdf\xa3", b"OggS", b"ID3", b"\xff\xfb"]
BOXES = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"]
HEADS = MAGIC + [length + kind for length in (b"\0\0\0\x18", b"\0\0\0\0", b"\0\0\0\1") for kind in BOXES]
CHUNKS = [b"", b"\0\0\0\0WAVEfmt ", b"\xff\xff\xff\xffWAVEds64", b"\0\0\0\0WAVEdata", b"\0\0\0\0AIFFSSND"]


@given(head=st.sampled_from(HEADS), chunk=st.sampled_from(CHUNKS), rest=st.binary(max_size=60))
def test_garbage_after_any_magic_number(tmp_path_factory, head, chunk, rest):
    path = tmp_path_factory.getbasetemp() / "garbage.bin"
    path.write_bytes(head + chunk + rest)
    assert missing_bytes(str(path)) >= 0


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", range(17))
def test_a_header_that_is_hardly_there(tmp_path, head, size):
    path = tmp_path / "short.bin"
    path.write_bytes((head + bytes(16))[:size])
    assert missing_bytes(str(path)) >= 0


def test_a_matroska_length_beyond_all_files(tmp_path):
    path = tmp_path / "far.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3" + b"\x01" + b"\xfe" * 7 + bytes(20))
    assert missing_bytes(str(path)) == 0


@pytest.mark.parametrize("kind", ["wav", "au", "aiff", "w64", "rf64"])
def test_what_is_cut_off_is_counted(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    x = np.zeros(1000, np.int16)
    soundfile.write(path, x, 8000, subtype="PCM_16", format=kind.upper())
    assert missing_bytes(str(path)) == 0
    whole = path.read_bytes()
    path.write_bytes(whole[:-500])
    assert missing_bytes(str(path)) == pytest.approx(500, abs=8)  # the header of W64 counts in steps of 8
