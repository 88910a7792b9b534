"""What does an hour of sound cost a server that enhances it: memory over idle, and time?

    python bench/post.py [--method live] [--rate 16000]

A server in a process of its own, with one worker; a WAV of an hour (16 bit, mono) is sent to ``POST /enhance`` in
pieces, and the answer is thrown away as it comes, so that neither is in the client's memory. Memory is the resident
memory of the server and of its worker together, looked at ten times a second: idle is before the upload, the highest is
from there to the end of the answer. Time is that of the whole exchange, and the processor time of both processes: on a
busy machine the latter is the figure to read.
"""

from __future__ import annotations

import common  # first: one thread

import argparse  # isort: skip
import http.client
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from server import processor_s, start, stop

HOUR_S = 3600
TARGET_MB, TARGET_SPEED = 300.0, 100.0


def wav(rate: int) -> Iterator[bytes]:
    """The file, in pieces: noise that swells and fades."""
    from unmuffle.io.samples import encode

    size = 2 * rate * HOUR_S
    yield b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    yield np.array([1, 1], "<u2").tobytes() + np.array([rate, 2 * rate], "<u4").tobytes()
    yield np.array([2, 16], "<u2").tobytes() + b"data" + size.to_bytes(4, "little")
    swell = 0.05 * (1.05 + np.sin(2 * np.pi * 0.7 * np.arange(10 * rate) / rate))
    block = encode((swell * np.random.default_rng(0).standard_normal((1, 10 * rate))).astype(np.float32), "PCM_16")
    for _ in range(HOUR_S // 10):
        yield block


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def resident_mb(pids: list[int]) -> float:
    """Of all together."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(method: str, rate: int) -> dict[str, Any]:
    """One exchange."""
    server, port = start()
    try:
        time.sleep(3.0)  # the list of methods is made in the background
        pids = family(server.pid)
        idle = resident_mb(pids)
        highest, done = [idle], threading.Event()

        def watch() -> None:
            while not done.wait(0.1):
                highest[0] = max(highest[0], resident_mb(pids))

        threading.Thread(target=watch, daemon=True).start()
        used, begun = sum(map(processor_s, pids)), time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
        headers = {"Content-Length": str(44 + 2 * rate * HOUR_S)}
        connection.request("POST", f"/enhance?method={method}&filename=hour.wav", body=wav(rate), headers=headers)
        answer = connection.getresponse()
        received = 0
        while piece := answer.read(1 << 20):
            received += len(piece)
        elapsed = time.perf_counter() - begun
        used = sum(map(processor_s, pids)) - used
        done.set()
        if answer.status != 200 or received < 2 * rate * HOUR_S:
            raise SystemExit(f"status {answer.status}, {received} bytes")
        return {
            "idle_mb": idle, "highest_mb": highest[0], "elapsed_s": elapsed, "processor_s": used,
            "worker_s": float(answer.getheader("x-unmuffle-elapsed-s") or 0.0),
        }  # fmt: skip
    finally:
        stop(server)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--method", default="live")
    options.add_argument("--rate", type=int, default=16_000)
    options.add_argument("--no-save", action="store_true")
    args = options.parse_args()
    before = common.load_average()
    results = {"method": args.method, "rate": args.rate, **measure(args.method, args.rate)}
    print(results)
    if not args.no_save:
        common.save("post", ("fastapi", "uvicorn", "uvloop", "onnxruntime"), results, load_before=before)


def section(data: dict[str, Any]) -> list[str]:
    """This question's part of docs/numbers.md."""
    found = data["results"]
    speed = HOUR_S / found["processor_s"]
    rows = [
        ["memory of server and worker, idle, MB", f"{found['idle_mb']:.0f}"],
        ["the most while they work, MB", f"{found['highest_mb']:.0f}"],
        ["upload to last byte of the answer, s", f"{found['elapsed_s']:.1f}"],
        ["processor time of both, s", f"{found['processor_s']:.1f}"],
    ]
    text = f"An hour of sound at {found['rate'] / 1000:g} kHz (WAV) through `POST /enhance` with `{found['method']}`."
    lines = ["## An hour over HTTP", "", text, "", *common.table(["what", ">"], rows), ""]
    over = found["highest_mb"] - found["idle_mb"]
    lines.append(common.verdict("memory over idle", over, TARGET_MB, unit=" MB"))
    lines.append(common.verdict("times real time, by processor time", speed, TARGET_SPEED, at_most=False))
    return [*lines, "", common.provenance(data), ""]


if __name__ == "__main__":
    main()
