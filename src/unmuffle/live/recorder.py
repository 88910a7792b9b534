"""Both sides of a live stream to WAV files, aligned to the sample.

The recorder reads from the rings of the stream, in a thread of its own: a slow disk never makes the
sound late. Sample ``k`` of both files belongs to the same moment, since the delay is known. If it
falls behind by more than the rings hold, what is lost is written as silence and counted; the files
stay aligned.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..engine.ring import Ring
from ..engine.stream import LiveStream
from ..errors import OutputError, UnmuffleError
from ..io import MediaInfo, MediaWriter, open_writer

INTERVAL_S = 0.1
"""How often the rings are emptied; they hold two seconds."""


class Recorder:
    """A recording that runs from its making to :meth:`close`.

    Args:
        folder: where the two files go.
        live: the stream.
        now: for the names.

    Attributes:
        paths: of the microphone's file and the enhanced one. They appear when the recording is closed.
        lost_samples: that the disk was too slow for; silence in the files.
        error: why it stopped, if it did; what was recorded until then is kept if the disk allows.

    Raises:
        OutputError: the files cannot be made.
    """

    def __init__(self, folder: str, live: LiveStream, now: datetime | None = None) -> None:
        stamp = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
        home = Path(folder)
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {folder!r} cannot be made: {error.strerror}") from None
        for count in range(1, 1000):
            name = f"unmuffle-{stamp}" + (f"-{count}" if count > 1 else "")
            self.paths = (home / f"{name}-input.wav", home / f"{name}-output.wav")
            if not any(path.exists() for path in self.paths):
                break
        self.lost_samples = 0
        self.error = ""
        self._rate, self._channels = live.sample_rate, (live.inputs, live.made)
        self._tags = {"comment": f"unmuffle live, {live.delay_ms:.1f} ms after the microphone"}
        self._writers: list[MediaWriter] = []
        try:
            for path, channels in zip(self.paths, self._channels, strict=True):
                self._writers.append(open_writer(path, self._like(channels), sample_format="FLOAT"))
        except BaseException:
            for writer in self._writers:
                writer.abandon()
            raise
        self._lock = threading.Lock()
        self._live, self._at = live, self._beginning(live)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="unmuffle recorder", daemon=True)
        self._thread.start()

    def _like(self, channels: int) -> MediaInfo:
        return MediaInfo("-", "wav", "pcm_f32le", self._rate, channels, "FLOAT", tags=MappingProxyType(self._tags))

    def follow(self, live: LiveStream) -> None:
        """Go on with another stream of the same rate and channels (the device was opened anew)."""
        with self._lock:
            self._empty()
            self._live, self._at = live, self._beginning(live)

    @staticmethod
    def _beginning(live: LiveStream) -> int:
        """The next sample that will have both sides."""
        return max(live.played.written, live.delay_samples)

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self._writers[0].frames_written / self._rate

    def _run(self) -> None:
        while not self._end.wait(INTERVAL_S):
            if self.error:
                return
            with self._lock:
                self._empty()

    def _empty(self) -> None:
        """Write what has come."""
        live = self._live
        end = live.played.written
        try:
            while self._at < end:
                delay, until = live.delay_at(self._at)
                n = min(end - self._at, self._rate, until - self._at)
                before = self._side(live.heard, self._channels[0], self._at - delay, n)
                after = self._side(live.played, self._channels[1], self._at, n)
                if before is None or after is None:
                    self.lost_samples += n
                    before, after = (np.zeros((count, n), np.float32) for count in self._channels)
                self._at += n
                self._writers[0].write(before)
                self._writers[1].write(after)
        except (UnmuffleError, OSError) as error:
            self.error = str(error)

    @staticmethod
    def _side(
        ring: Ring, channels: int, start: int, n: int
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]] | None:
        out = np.empty((channels, n), np.float32)
        return out if ring.read(start, out) else None

    def close(self) -> None:
        """Write the rest; the files appear, whole.

        Raises:
            OutputError: they could not be written.
        """
        if self._end.is_set():
            return
        self._end.set()
        self._thread.join()
        with self._lock:
            if not self.error:
                self._empty()
        failed = None
        for writer in self._writers:
            try:
                writer.close()
            except UnmuffleError as error:
                failed = failed or error
                with suppress(UnmuffleError, OSError):
                    writer.abandon()
        if failed is not None:
            self.error = str(failed)
            raise failed
        if self.error:
            raise OutputError(f"the recording stopped after {self.seconds:.1f} s: {self.error}")
