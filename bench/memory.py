"""How much memory does a 10-hour file need?

    python bench/memory.py [--hours 10] [--hours 0.2] [--methods auto,dewind]
    python bench/memory.py --hours 10 --head 20 --methods streaming --add
                                        all methods, each stopped after 20 s
    python bench/memory.py --first      the first run of the methods that are compiled, on 12 seconds

Makes, in a temporary folder, a stereo recording at 48 kHz (WAV; RF64 beyond 4 GiB) and a video (tiny
pictures, 25 a second, and AAC in stereo: it is the number of packets that takes memory), cleans each
with the real command in a process of its own, with the default method and with a repair method, and reads
the peak of its resident memory (``VmHWM`` of the process, which counts everything: interpreter, libraries,
buffers). Outputs are checked for their length, then deleted.

One minute of sound is made and repeated: it is the length that is tested. What grows with it, the index of a video, is
read before the first block; runs that are stopped early (--head) see it too. Linux only. Ten hours need about
14 GB of disk at a time. The result holds every length that was measured, so that growth would show.

A first run has an empty folder for machine code: a process that the command starts compiles into it. Both are looked
at, and the second run after it, and a first run where no process can be started (a frozen program).
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import common  # isort: skip  # one thread: before numpy
import numpy as np

RATE = 48000
CHANNELS = 2
PICTURES = 25
TARGET_MB = 200.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hours", type=float, action="append", help="may be repeated; default: 0.2 and 10")
    options.add_argument("--methods", default="auto,dewind", help="auto: the default; streaming: all that stream")
    options.add_argument("--kinds", default="wav,mp4,fragments", help="fragments: an MP4 file as long outputs have it")
    options.add_argument("--head", type=float, default=0.0, help="stop each run after so many seconds; 0: never")
    options.add_argument("--add", action="store_true", help="keep the other rows of the earlier result")
    options.add_argument("--first", action="store_true", help="first runs of the Kalman methods, and nothing else")
    options.add_argument("--temp", help="folder for the files; default: the system's")
    options.add_argument("--name", default="memory", help="of the result file")
    args = options.parse_args()
    before = common.load_average()
    from unmuffle.enhancers import registry

    if args.first:
        with tempfile.TemporaryDirectory(dir=args.temp) as folder:
            found = [first_runs(Path(folder), name) for name in registry.names() if name.startswith("kalman")]
        common.save("memory_first", ("numba", "av", "soundfile"), {"rows": found}, load_before=before)
        return
    methods = [registry.DEFAULT if name == "auto" else name for name in args.methods.split(",")]
    if methods == ["streaming"]:
        methods = [name for name in registry.names() if streams(name)]
    makers = {"wav": make_wav, "mp4": make_video, "fragments": make_fragments}
    rows = []
    with tempfile.TemporaryDirectory(dir=args.temp) as folder:
        for hours in args.hours or [0.2, 10.0]:
            for kind in args.kinds.split(","):
                source = Path(folder) / f"source.{'wav' if kind == 'wav' else 'mp4'}"
                makers[kind](source, hours)
                for method in methods:
                    when = {"commit": common.commit(), "date": f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"}
                    row = measure(source, method, args.head)
                    rows.append({"hours": hours, "kind": kind, "method": method, **row, **when})
                    print(rows[-1], flush=True)
                source.unlink()
    if args.add:
        fresh = {(r["hours"], r["kind"], r["method"]) for r in rows}
        old = (common.result(args.name) or {"results": {"rows": []}})["results"]["rows"]
        rows = [r for r in old if (r["hours"], r["kind"], r["method"]) not in fresh] + rows
        rows.sort(key=lambda r: (r["kind"], r["method"], r["hours"]))
    results = {"default": registry.DEFAULT, "rows": rows}
    common.save(args.name, ("av", "soundfile"), results, load_before=before)


def minute() -> np.ndarray:
    """A minute of the bundled noisy recording at 48 kHz on one side, of it delayed on the other."""
    from unmuffle.io import read
    from unmuffle.signal.resample import convert

    x, old = read(common.ROOT / "src" / "unmuffle" / "assets" / "demo_noisy.flac")
    x = np.resize(convert(x, old, RATE)[0], 60 * RATE)
    x += 1e-3 * np.random.default_rng(3).standard_normal(x.size).astype(np.float32)
    return np.stack((x, np.roll(x, 40))).astype(np.float32)


def make_wav(path: Path, hours: float, *, seconds: int = 60) -> None:
    """16-bit WAV, or RF64 (EBU 3306) where the size does not fit into 32 bits: of each minute its first seconds."""
    data = (np.clip(minute()[:, : seconds * RATE], -1, 1) * 32767).astype("<i2").T.tobytes()
    minutes = round(hours * 60)
    size = minutes * len(data)
    form = struct.pack("<HHIIHH", 1, CHANNELS, RATE, RATE * CHANNELS * 2, CHANNELS * 2, 16)
    big = size + 80 > 0xFFFFFFFF
    with open(path, "wb") as file:
        if big:
            sizes = struct.pack("<QQQI", size + 72, size, size // (2 * CHANNELS), 0)
            file.write(b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE")
            file.write(b"ds64" + struct.pack("<I", len(sizes)) + sizes)
        else:
            file.write(b"RIFF" + struct.pack("<I", size + 36) + b"WAVE")
        file.write(b"fmt " + struct.pack("<I", len(form)) + form)
        file.write(b"data" + struct.pack("<I", 0xFFFFFFFF if big else size))
        for _ in range(minutes):
            file.write(data)


def make_fragments(path: Path, hours: float) -> None:
    """The same video in the form in which outputs of more than two hours are written."""
    from unmuffle.io.mp4 import FRAGMENT_OPTIONS

    make_video(path, hours, FRAGMENT_OPTIONS)


def make_video(path: Path, hours: float, muxer: dict[str, str] | None = None) -> None:
    """25 pictures a second beside AAC; a minute of sound and a second of pictures are encoded once and repeated."""
    import av

    sound = minute()
    frame = 1024
    count = sound.shape[1] // frame
    minutes = round(hours * 60)
    with av.open(str(path), "w", options=muxer or {}) as out:
        picture = out.add_stream("mpeg4", rate=PICTURES)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        picture.codec_context.gop_size = PICTURES
        stream = out.add_stream("aac", rate=RATE)
        stream.codec_context.layout = "stereo"
        stream.codec_context.time_base = Fraction(1, RATE)
        packets = []
        for k in range(count):
            piece = np.ascontiguousarray(sound[:, k * frame : (k + 1) * frame])
            made = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
            made.sample_rate, made.pts, made.time_base = RATE, k * frame, Fraction(1, RATE)
            packets += [bytes(p) for p in stream.encode(made)]
        shown = []
        for k in range(PICTURES):
            image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * k, np.uint8), format="rgb24")
            image.pts, image.time_base = k, Fraction(1, PICTURES)
            shown += [(bytes(p), p.is_keyframe) for p in picture.encode(image)]
        shown += [(bytes(p), p.is_keyframe) for p in picture.encode(None)]
        assert len(shown) == PICTURES
        assert shown[0][1]
        position = 0
        for second in range(minutes * 60):
            for k, (content, key) in enumerate(shown):
                packet = av.Packet(content)
                packet.stream, packet.is_keyframe = picture, key
                packet.pts = packet.dts = second * PICTURES + k
                packet.duration, packet.time_base = 1, Fraction(1, PICTURES)
                out.mux(packet)
            while position * frame < (second + 1) * RATE:
                packet = av.Packet(packets[position % len(packets)])
                packet.stream = stream
                packet.pts = packet.dts = position * frame
                packet.duration, packet.time_base = frame, Fraction(1, RATE)
                out.mux(packet)
                position += 1


def streams(name: str) -> bool:
    """Does the method work on blocks of a pair of channels?"""
    from unmuffle.enhancers import registry
    from unmuffle.enhancers.base import UNBOUNDED
    from unmuffle.errors import MissingExtraError

    try:
        return registry.load(name).stream(RATE, CHANNELS).latency_samples != UNBOUNDED
    except MissingExtraError:
        return False


def measure(source: Path, method: str, head_s: float = 0.0) -> dict[str, Any]:
    """Run the command on a file; its peak memory, its time, and whether the length came out."""
    output = source.with_name(f"output{source.suffix}")
    code = "from unmuffle.cli.main import run; run()"
    words = [sys.executable, "-c", code, "enhance", str(source), "-o", str(output), "-m", method, "--quiet"]
    begun = time.perf_counter()
    process = subprocess.Popen(words)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, high_water_mb(process.pid))  # it only rises: the last look counts
        time.sleep(0.05)
        if head_s and time.perf_counter() - begun > head_s:
            process.terminate()
            process.wait()
            for rest in source.parent.glob(".output.*"):
                rest.unlink()
            return {"peak_mb": peak, "source_mb": source.stat().st_size / 1e6, "seconds": head_s}
    took = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{method} failed on {source.name} with code {process.returncode}")
    before, after = sound_s(source), sound_s(output)
    output.unlink()
    return {
        "peak_mb": peak,
        "source_mb": source.stat().st_size / 1e6,
        "seconds": took,
        "share_of_real_time": took / before,
        "sound_s": before,
        "longer_s": after - before,
    }


FIRST_S = 12


def first_runs(folder: Path, method: str) -> dict[str, Any]:
    """Peaks and times of a first run, of the second, and of a first run that can start no process."""
    source = folder / "short.wav"
    make_wav(source, 1 / 60, seconds=FIRST_S)
    row: dict[str, Any] = {"method": method}
    code = "from unmuffle.cli.main import run; run()"
    for name, code_folder, prefix in (
        ("first", method, ""),
        ("second", method, ""),
        ("alone", f"{method}-alone", "import sys; sys.frozen = True; "),
    ):
        output = folder / "short_out.wav"
        words = [sys.executable, "-c", prefix + code, "enhance", str(source), "-o", str(output), "-m", method, "-q"]
        row[name] = watch(words, {**os.environ, "NUMBA_CACHE_DIR": str(folder / code_folder)})
        output.unlink()
    print(row, flush=True)
    return row


def watch(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command: peaks of its memory, of a process that it starts, of the sum at one time (what they share counts
    twice), its time, and the processor time of both."""
    begun = time.perf_counter()
    process = subprocess.Popen(words, env=environment)
    own = child = both = 0.0
    while True:
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        own = max(own, high_water_mb(process.pid))
        resident = memory_mb(process.pid, "VmRSS")
        for pid in started_by(process.pid):
            child = max(child, high_water_mb(pid))
            resident += memory_mb(pid, "VmRSS")
        both = max(both, resident)
        time.sleep(0.01)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words} failed with code {process.returncode}")
    took = {"seconds": time.perf_counter() - begun, "processor_s": used.ru_utime + used.ru_stime}
    return {"own_mb": own, "child_mb": child, "both_mb": both, **took}


def started_by(pid: int) -> list[int]:
    """Processes that a process has started, and that have not ended."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def sound_s(path: Path) -> float:
    """Length of the sound in seconds by libav: from the header of a WAV file, else by the times of its packets."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        if path.suffix == ".wav":
            return float(stream.duration * stream.time_base)
        ends = ((p.pts + p.duration) * p.time_base for p in container.demux(stream) if p.pts is not None)
        return float(max(ends))


def high_water_mb(pid: int) -> float:
    """Peak resident memory of a process so far, in MB (10^6 bytes)."""
    return memory_mb(pid, "VmHWM")


def memory_mb(pid: int, what: str) -> float:
    """An entry of a process's status, in MB (10^6 bytes)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024 / 1e6
    except (OSError, ValueError):
        pass  # it has just ended
    return 0.0


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    lines = [
        "## Memory",
        "",
        "Peak resident memory of the command `unmuffle enhance` on sound at 48 kHz, with the interpreter and all "
        "libraries: a stereo WAV file (RF64 at 10 hours) and a video of 25 pictures a second with AAC in stereo (its "
        "length is read from the times of its packets, so that up to a frame of AAC, 21.3 ms, is rounding; exact "
        "lengths are under Formats); fragments: the same video as outputs of more than two hours are written. Kalman "
        "methods had been compiled before; their first runs are below. What libav holds of the sound's index is what "
        "a video takes more than WAV; the pictures are read beside it. A run that was stopped early has no length to "
        "compare; its peak is that of all that came before and of the first minutes.",
        "",
    ]
    rows = []
    for row in found["rows"]:
        if "longer_s" in row:
            gap = 1000 * row["longer_s"]
            kept = f"{gap:+.1f}" if abs(gap) > 0.05 else "0"
        else:
            kept = f"stopped after {row['seconds']:g} s"
        cells = [f"{row['hours']:g} h", row["kind"], f"{row['source_mb']:,.0f}", f"`{row['method']}`"]
        rows.append([*cells, f"{row['peak_mb']:.0f}", kept, f"{row['date']}, {row['commit']}"])
    head = ["length", "file", ">size MB", "method", ">peak MB", ">change of length, ms", "measured"]
    lines += [*common.table(head, rows), ""]
    for kind in dict.fromkeys(r["kind"] for r in found["rows"]):
        own = [r for r in found["rows"] if r["kind"] == kind]
        worst = max(own, key=lambda r: r["peak_mb"])
        what = f"largest peak, {kind} (`{worst['method']}`, {worst['hours']:g} h)"
        lines.append(common.verdict(what, worst["peak_mb"], TARGET_MB, unit=" MB"))
        over = [f"`{r['method']}` {r['peak_mb']:.0f}" for r in own if r["peak_mb"] > TARGET_MB]
        if over:
            lines.append(f"- over {TARGET_MB:g} MB, {kind}: {', '.join(over)} MB; all others are under it.")
    for kind in dict.fromkeys(r["kind"] for r in found["rows"]):
        for method in dict.fromkeys(r["method"] for r in found["rows"]):
            own = [r for r in found["rows"] if (r["kind"], r["method"]) == (kind, method)]
            own.sort(key=lambda r: r["hours"])
            if len(own) > 1:
                growth = own[-1]["peak_mb"] - own[0]["peak_mb"]
                lines.append(
                    f"- `{method}`, {kind}: {growth:+.1f} MB from {own[0]['hours']:g} to {own[-1]['hours']:g} hours."
                )
    return [*lines, "", common.provenance(data), "", *first_section()]


def first_section() -> list[str]:
    """The first runs of the methods that are compiled."""
    data = common.result("memory_first")
    if data is None:
        return []
    rows: list[list[str]] = []
    peaks: dict[str, float] = {}
    for row in data["results"]["rows"]:
        first, second, alone = row["first"], row["second"], row["alone"]
        name = f"`{row['method']}`"
        cells = [f"{x:.0f}" for x in (first["own_mb"], first["child_mb"], first["both_mb"], alone["own_mb"])]
        times = [f"{run['processor_s']:.1f}" for run in (first, alone, second)]
        rows.append([name, *cells, f"{second['own_mb']:.0f}", *times])
        peaks[name] = max(first["own_mb"], first["child_mb"], alone["own_mb"], second["own_mb"])
    head = ["method", ">first run", ">the process that compiles", ">both at once", ">no process", ">second run"]
    worst = max(peaks, key=lambda name: peaks[name])
    together = max(row["first"]["both_mb"] for row in data["results"]["rows"])
    return [
        f"The first run of a Kalman method, on {FIRST_S} s of sound (stereo WAV, 48 kHz), with an empty folder for "
        "machine code. A process that the command starts compiles; where none can be started, the command does so "
        "itself. Peaks in MB, of each process by itself, and of their sum at one time, in which libraries that both "
        "have loaded count twice. Processor time in seconds, of both together: of the first run, of one that starts "
        "no process, and of the second run.",
        "",
        *common.table([*head, ">first, s", ">no process, s", ">second, s"], rows),
        "",
        common.verdict(f"largest peak of a process in a first run ({worst})", peaks[worst], TARGET_MB, unit=" MB"),
        f"- Both processes at once, in the seconds of compiling: up to {together:.0f} MB. That is what a limit on all "
        "processes of a command, such as a container's, has to leave room for.",
        "",
        common.provenance(data),
        "",
    ]


if __name__ == "__main__":
    main()
