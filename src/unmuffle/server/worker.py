"""The child process that enhances files: JSON lines in, JSON lines out.

A process of its own for each file at a time, because a decoder that crashes, a network that takes all memory or a
file that never ends must not take the server along: the process can be killed at any moment, and what it had written
so far is never seen (the output gets its name when it is whole).

In: ``{"kind", "source", "folder", "name", "asked", "limits"}``; the kind is ``enhance`` (a whole file), ``listen`` (see
:mod:`.listening`) or ``scores`` (see :mod:`.scores`). Out: ``{"progress": [done, total]}`` a few times a second, and in
the end ``{"done": {...}}`` or ``{"fault": {...}}``. When the input ends, the server is gone, and so is the worker.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

# Numeric libraries read these when they are loaded: one thread a process, or the workers would fight for cores.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from ..cache import Cache, open_cache  # noqa: E402
from ..cache import enhance_file as through_cache  # noqa: E402
from ..engine.files import Report, enhance_file  # noqa: E402
from ..enhancers.base import UNBOUNDED  # noqa: E402
from ..errors import UnmuffleError  # noqa: E402
from ..io import MediaInfo, open_reader, probe  # noqa: E402
from ..io.formats import CONTAINERS  # noqa: E402
from .asked import Asked, method_of  # noqa: E402
from .faults import Fault, fault_of  # noqa: E402

_PROGRESS_S = 0.2

# The extension of a result when the upload has no name that says it.
_BY_CONTAINER = {
    "wav": ".wav", "wavex": ".wav", "rf64": ".wav", "w64": ".w64", "flac": ".flac", "aiff": ".aiff", "au": ".au",
    "caf": ".caf", "mp3": ".mp3", "aac": ".aac", "ogg": ".ogg", "avi": ".avi", "mpegts": ".ts",
}  # fmt: skip


def extension_for(info: MediaInfo, wished: str | None) -> str:
    """The extension of the result: the one wished for if it can be written, else that of the source's own kind."""
    if wished in CONTAINERS:
        return str(wished)
    if "mp4" in info.container:
        return ".mp4" if info.has_video else ".m4a"
    if "matroska" in info.container:
        return ".mkv" if info.has_video else ".mka"
    return _BY_CONTAINER.get(info.container, ".wav")


def check_limits(info: MediaInfo, asked: Asked, limits: dict[str, float]) -> float:
    """Refuse what is too long or has too many channels; returns the seconds that may be decoded.

    Raises:
        Fault: 413.
    """
    if info.channels > limits["channels"]:
        text = f"{info.channels} channels; this server takes {limits['channels']:g}"
        raise Fault(413, "TooManyChannels", text)
    longest = limits["duration_s"]
    stream = asked.enhancer(info.channels).stream(info.sample_rate, info.channels)
    if stream.latency_samples == UNBOUNDED:
        longest = min(longest, limits["whole_s"])
    if info.duration_s is not None and info.duration_s > longest:
        raise too_long(info.duration_s, longest)
    return longest


def too_long(seconds: float, longest: float) -> Fault:
    """The answer to a file that holds too much sound."""
    text = f"{seconds:.0f} s of sound or more; this server takes {longest:g} s with these options: send parts of it"
    return Fault(413, "TooLong", text)


def score(
    source: str, info: MediaInfo, asked: Asked, progress: Callable[[float, float | None], None]
) -> dict[str, Any]:
    """Scores of a recording that is short enough.

    Raises:
        Fault: 413.
    """
    import numpy as np

    from .scores import SCORES_S, scores

    parts, heard = [], 0
    with open_reader(source, allow_truncated=asked.allow_truncated) as reader:
        for block in reader.blocks(info.sample_rate):
            parts.append(block)
            heard += block.shape[1]
            if heard > SCORES_S * info.sample_rate:
                raise Fault(413, "TooLong", f"more than {SCORES_S:g} s of sound; send a part of it to be scored")
            progress(heard / info.sample_rate, info.duration_s)
    if not heard:
        raise Fault(415, "NotAudioError", "there is no sound in it")
    return {"scores": scores(np.concatenate(parts, axis=1), info.sample_rate)}


def run(task: dict[str, Any], tell: Any) -> dict[str, Any]:
    """Enhance one file; ``tell`` gets the progress.

    Raises:
        Fault, UnmuffleError: it cannot be done; nothing is left in the folder.
    """
    source, folder = task["source"], Path(task["folder"])
    plain = dict(task["asked"])
    plain["repair"] = tuple(plain["repair"])
    plain["profile"] = None if plain["profile"] is None else tuple(plain["profile"])
    asked = Asked(**plain)
    info = probe(source, allow_truncated=asked.allow_truncated)
    longest = check_limits(info, asked, task["limits"])
    last = 0.0

    def progress(done: float, total: float | None) -> None:
        nonlocal last
        if done > longest:  # the header said less, or nothing
            raise too_long(done, longest)
        now = time.monotonic()
        if now - last > _PROGRESS_S:
            last = now
            tell({"progress": [done, total]})

    if task["kind"] == "listen":
        from .listening import listen

        return listen(source, info, folder, asked, progress)
    if task["kind"] == "scores":
        return score(source, info, asked, progress)
    extension = extension_for(info, asked.extension or task["extension"])
    output = folder / f"result{extension}"
    cache = _cache(task.get("cache"))
    report, state = _enhanced(
        cache,
        source,
        output,
        method_of(asked.method, asked.values, asked.model),
        strength_db=float("inf") if asked.strength_db is None else asked.strength_db,
        repair=asked.repair,
        stereo=asked.stereo,
        profile=asked.profile,
        loudness_lufs=asked.loudness_lufs,
        allow_truncated=asked.allow_truncated,
        progress=progress,
    )
    return {
        "path": str(output),
        "extension": extension,
        "seconds": report.seconds,
        "sample_rate": report.sample_rate,
        "channels": report.channels,
        "elapsed_s": report.elapsed_s,
        "latency_ms": report.latency_ms if report.latency_ms < float("inf") else None,
        "clipped": report.clipped,
        "notes": [note.replace(str(folder), "").lstrip("/") for note in report.notes],
        "cache": state,
    }


@lru_cache(maxsize=1)
def _opened(location: str, limit_bytes: int | None, ttl_s: float) -> Cache:
    return open_cache(location, limit_bytes=limit_bytes, ttl_s=ttl_s)


def _cache(asked: dict[str, Any] | None) -> Cache | None:
    """The cache that the server was told to use; without it the work goes on."""
    if asked is None:
        return None
    try:
        return _opened(asked["location"], asked["limit_bytes"], asked["ttl_s"])
    except UnmuffleError as error:
        sys.stderr.write(f"unmuffle: on without the cache: {error}\n")
        return None


def _enhanced(cache: Cache | None, *args: Any, **settings: Any) -> tuple[Report, str]:
    """``enhance_file``, through the cache if there is one, and what became of it."""
    if cache is None:
        return enhance_file(*args, **settings), "off"
    return through_cache(cache, *args, **settings)


def _answer(task: dict[str, Any], tell: Any) -> dict[str, Any]:
    try:
        return {"done": run(task, tell)}
    except Exception as error:
        fault = fault_of(error)
        if fault.status == 500:
            import traceback

            traceback.print_exc(file=sys.stderr)
        # Our path means nothing to the client, and is none of its business.
        text = fault.message.replace(task["source"], task["name"]).replace(task["folder"], "")
        return {"fault": {"status": fault.status, "kind": fault.kind, "message": text, "after": fault.retry_after_s}}


def main() -> int:
    """Serve until the input ends."""
    # Whatever a library prints goes to the log, not between our lines.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with suppress(OSError, AttributeError):
        os.nice(5)  # live streams go first
    tasks: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(json.loads(line))
        os._exit(0)  # also in the middle of a file: the spool is gone with the server

    def tell(message: dict[str, Any]) -> None:
        lines.write(json.dumps(message) + "\n")
        lines.flush()

    threading.Thread(target=listen, daemon=True).start()
    tell({"ready": os.getpid()})
    while True:
        tell(_answer(tasks.get(), tell))


if __name__ == "__main__":
    sys.exit(main())
