"""Memory does not grow with the file: measured in a process of its own.

VmHWM is the peak of that process alone; ru_maxrss would hold the peak of the test's own process, which it is forked
from, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from io_helpers import make_video, noise

from unmuffle.io.wav import pack_header

SRC = Path(__file__).resolve().parents[2] / "src"
COPY = """
import sys
from unmuffle.io import open_reader, open_writer
with open_reader(sys.argv[1]) as reader, open_writer(sys.argv[2], reader) as writer:
    for block in reader.blocks():
        writer.write(block)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024, writer.frames_written)
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
LIMIT_MIB = 200  # for everything: Python, numpy and the libraries take some 55 of it


def peak_mib(source: Path, target: Path, timeout: float) -> tuple[int, int]:
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", COPY, str(source), str(target)], capture_output=True, env=environment, timeout=timeout
    )
    assert result.returncode == 0, result.stderr.decode()
    peak, frames = result.stdout.split()
    target.unlink()
    return int(peak), int(frames)


def silent_wav(path: Path, seconds: int, rate: int) -> None:
    """A sparse file: a header, and a hole for the samples."""
    frames = seconds * rate
    header = pack_header(rate, 2, "PCM_16", frames=frames)
    with open(path, "wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + 4 * frames)


def looped(source: Path, target: Path, seconds: float) -> None:
    """A video of any length out of the packets of a short one."""
    import av

    with av.open(str(source)) as a:
        packets = [
            (p.stream_index, p.pts, p.pts if p.dts is None else p.dts, p.duration, bytes(p), p.is_keyframe)
            for p in a.demux()
            if p.size
        ]
        bases = [s.time_base for s in a.streams]
        length = 9.0  # whole pictures, and (nearly) whole packets of sound
        packets = [p for p in packets if p[1] * bases[p[0]] < length]
        with av.open(str(target), "w") as b:
            streams = [b.add_stream_from_template(s, opaque=True) for s in a.streams]
            for turn in range(int(seconds / length) + 1):
                for index, pts, dts, duration, data, key in packets:
                    if turn and pts < 0:
                        continue  # the encoder's delay, once is enough
                    packet = av.Packet(data)
                    shift = round(turn * length / float(bases[index]))
                    packet.pts, packet.dts, packet.duration = pts + shift, dts + shift, duration
                    packet.time_base, packet.is_keyframe, packet.stream = bases[index], key, streams[index]
                    b.mux(packet)


@pytest.mark.parametrize("ext", [".wav", ".flac"])
def test_an_hour(tmp_path: Path, ext: str) -> None:
    silent_wav(tmp_path / "a.wav", 3600, 48000 if ext == ".wav" else 16000)
    peak, frames = peak_mib(tmp_path / "a.wav", tmp_path / f"b{ext}", 1800)
    assert frames == 3600 * (48000 if ext == ".wav" else 16000)
    assert peak < 100  # half of the limit for ten hours, and no trace of the 690 MB of samples


@pytest.mark.hours
@pytest.mark.parametrize("ext", [".wav", ".flac", ".m4a"])
def test_ten_hours_of_sound(tmp_path: Path, ext: str) -> None:
    silent_wav(tmp_path / "a.wav", 36000, 48000)
    peak, frames = peak_mib(tmp_path / "a.wav", tmp_path / f"b{ext}", 30_000)
    assert frames == 36000 * 48000
    assert peak < LIMIT_MIB


@pytest.mark.hours
@pytest.mark.parametrize("ext", [".mp4", ".mkv"])
def test_ten_hours_of_video(tmp_path: Path, ext: str) -> None:
    make_video(tmp_path / f"short{ext}", sound=0.0 * noise(2, 48000 * 10), video_codec="mpeg4")
    looped(tmp_path / f"short{ext}", tmp_path / f"a{ext}", 36000)
    peak, frames = peak_mib(tmp_path / f"a{ext}", tmp_path / f"b{ext}", 30_000)
    assert frames >= 35900 * 48000
    assert peak < LIMIT_MIB
