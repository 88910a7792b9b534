"""In a worker: the beginning of a recording before and after, side by side, for a page that lets people compare.

One WAV of 32-bit floats with twice the channels: first those of the input, then those of the output at its full effect,
sample-aligned. Any strength is a mix of the two, ``after + g (before - after)`` with ``g = 10^(-dB / 20)``, as
:meth:`~unmuffle.enhancers.base.Stream.set_strength` defines it, so a page can do it at once and without asking again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.files import measure_profile
from ..engine.options import Options
from ..enhancers.base import UNBOUNDED, aligned
from ..io import MediaInfo, open_reader, open_writer
from ..signal.blocks import Fifo, Samples
from .asked import Asked, method_of

LISTEN_S = 300.0
"""Seconds to listen to, at most."""

LISTEN_SAMPLES = 15_000_000
"""Samples over all channels, at most: 120 MB for before and after, which a browser bears."""


def excerpt_frames(info: MediaInfo) -> int:
    """How many samples of each channel are made to listen to."""
    return min(round(LISTEN_S * info.sample_rate), LISTEN_SAMPLES // info.channels)


def listen(
    source: str, info: MediaInfo, folder: Path, asked: Asked, progress: Callable[[float, float | None], None]
) -> dict[str, Any]:
    """Write the WAV; what is said about it is as for a whole file, and ``complete``: is it all there is?

    The strength and the loudness that were asked for are left to the listener.

    Raises:
        UnmuffleError: the sound cannot be used.
    """
    started = time.perf_counter()
    profile = None if asked.profile is None else measure_profile(source, *asked.profile)
    method = method_of(asked.method, asked.values, asked.model)
    options = Options(method, repair=asked.repair, stereo=asked.stereo, profile=profile)
    stream = options.enhancer(info.channels).stream(info.sample_rate, info.channels)
    frames = excerpt_frames(info)
    # What comes after the excerpt has a say in its last samples, as far as the method looks ahead and a step of it
    # reaches; one sample more tells whether the recording goes on.
    needed = None if stream.latency_samples == UNBOUNDED else frames + stream.block_latency_samples + 1
    lasts = math.inf if needed is None else frames / info.sample_rate
    if info.duration_s is not None:
        lasts = min(lasts, info.duration_s)
    output = folder / "result.wav"
    like = replace(info, path="-", channels=2 * info.channels, channel_layout=None, has_video=False, has_cover=False)
    before = Fifo(info.channels)
    heard = 0
    with open_reader(source, allow_truncated=asked.allow_truncated) as reader:

        def blocks() -> Iterator[Samples]:
            nonlocal heard
            for block in reader.blocks(info.sample_rate):
                taken = block if needed is None else block[:, : needed - heard]
                heard += taken.shape[1]
                before.push(taken)
                yield taken
                progress(heard / info.sample_rate, lasts if math.isfinite(lasts) else None)
                if heard == needed:
                    return

        with open_writer(output, like, sample_format="FLOAT") as writer:
            for after in aligned(stream, blocks()):
                n = min(after.shape[1], frames - writer.frames_written)
                writer.write(np.concatenate([before.pop(n), after[:, :n]]))
    written = writer.frames_written
    return {
        "path": str(output),
        "extension": ".wav",
        "seconds": written / info.sample_rate,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "elapsed_s": time.perf_counter() - started,
        "latency_ms": None if needed is None else stream.latency_ms,
        "clipped": 0,
        "complete": heard <= frames,
        "duration_s": heard / info.sample_rate if heard <= frames else info.duration_s,
        "notes": [],
    }
