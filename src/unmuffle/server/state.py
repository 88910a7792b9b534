"""What one running server knows: its parts, how they begin and end, and what has to be looked at meanwhile."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import Request

from ..quality.alerts import Webhook
from ..quality.drift import Baseline
from ..quality.monitor import Surveyor
from .asked import Asked
from .capacity import Capacity
from .config import ServerConfig
from .crew import Crew
from .description import describe_methods
from .faults import Fault
from .guard import Guard
from .jobs import Jobs
from .keys import Limits
from .lanes import Lanes
from .metrics import Metrics
from .reply import FileReply
from .seats import Seats
from .session import Session
from .spool import Spool
from .turn import Turn
from .uploads import Body, Upload, disposition, extension_of, receive_upload, safe_name

_log = logging.getLogger("unmuffle.server")

_SWEEP_S = 0.5

SURVEY_SHARE = 0.02
"""Of a core, at most, that the quality of streams is measured with."""


class State:
    """Everything that one running server knows."""

    guard: Guard
    spool: Spool
    lanes: Lanes
    capacity: Capacity
    surveyor: Surveyor

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.limits = Limits(config.key_streams, config.key_requests_per_min)
        self.metrics = Metrics()
        self.crew = Crew(config.worker_count, config.queue, config.job_timeout_s, config.retry_after_s)
        self.jobs: Jobs
        self.sessions: set[Session] = set()
        self.requests = 0
        self.ready = False
        self.draining = False
        self._methods: asyncio.Task[list[dict[str, Any]]] | None = None
        self.turn = Turn(self.metrics)
        self.seats = Seats()
        self.direct_s = 0.0  # what the methods of streams in the event loop took, by what was measured for each
        self._window = [0, 0]  # frames and late ones since the last look
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Folders, threads, one worker."""
        self.spool = Spool(self.config.spool_dir)
        self.jobs = Jobs(self.crew, self.spool, self.config.max_jobs, self.config.job_ttl_s)
        self.lanes = Lanes(self.config.thread_count)
        self.surveyor = await asyncio.to_thread(_surveyor, self.config)
        self.capacity = Capacity(self.config, self.streams_busy_s)
        self.metrics.watch(self)
        await self.crew.start()
        self._sweeper = asyncio.create_task(self._sweep())
        # Half a second of loading, most of it numba: done while nobody waits, and not by the first visit of the page.
        self._methods = asyncio.create_task(asyncio.to_thread(_settled))
        self.ready = True

    async def methods(self) -> list[dict[str, Any]]:
        """All methods, as :func:`describe_methods` tells them."""
        assert self._methods is not None
        return await asyncio.shield(self._methods)

    async def stop(self) -> None:
        """End all that is left and tidy up."""
        self.ready = False
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        if self._methods is not None:
            await asyncio.wait([self._methods])
        gc.unfreeze()
        await self.jobs.close()
        await self.crew.close()
        self.lanes.close()
        await asyncio.to_thread(self.surveyor.close)
        self.spool.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            try:
                self.sweep()
            except Exception:  # one bad moment must not end the watch
                _log.exception("sweep failed")

    def sweep(self) -> None:
        """What has to be looked at from time to time: silent clients, old jobs, the load."""
        now = time.perf_counter()
        for session in list(self.sessions):
            why = session.overdue(now)
            if why is not None:
                session.end(why)
            self.collect(session)
        frames, late = self._window
        self._window = [0, 0]
        self.capacity.observe(frames, late)
        self.jobs.sweep()

    def collect(self, session: Session) -> None:
        """Move what a session has counted since the last time into the metrics."""
        frames, late, seconds = session.counted
        session.counted = (session.frames, session.late, session.seconds)
        self.metrics.frames.inc(session.frames - frames)
        self.metrics.overruns.inc(session.late - late)
        self.metrics.stream_audio.inc(session.seconds - seconds)
        self.direct_s += session.direct_load * (session.seconds - seconds)
        self._window[0] += session.frames - frames
        self._window[1] += session.late - late

    def streams_busy_s(self) -> float:
        """Processor time that the methods of streams have taken so far."""
        return self.lanes.busy_s + self.direct_s

    def real_time_factor(self) -> float:
        """Processor time of the methods per second of sound in streams, since the start."""
        seconds = self.metrics.stream_audio._value.get()
        return self.streams_busy_s() / seconds if seconds else 0.0

    def shutting_down(self) -> Fault:
        """The answer to whoever comes when the server is about to stop."""
        return Fault(503, "ShuttingDown", "the server is stopping; try again later", self.config.retry_after_s)

    # -- the end ---------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take nothing new; tell those who are here."""
        self.draining = True
        message = {"type": "draining", "seconds": self.config.drain_s}
        for session in list(self.sessions):
            if not session.live:
                session.end(self.shutting_down())
        await asyncio.gather(*(s.announce(message) for s in list(self.sessions) if s.live))

    @property
    def idle(self) -> bool:
        """Is there nothing that would be cut off?"""
        return not self.sessions and not self.requests and not self.jobs.active

    async def cut(self) -> None:
        """The time is over: end the streams that are left."""
        for session in list(self.sessions):
            session.end(self.shutting_down())
        for _ in range(30):
            if not self.sessions:
                return
            await asyncio.sleep(0.05)

    # -- files -----------------------------------------------------------------------------------

    def task(self, upload: Upload, folder: Path, asked: Asked, kind: str = "enhance") -> dict[str, Any]:
        """What a worker is told."""
        config = self.config
        return {
            "kind": kind,
            "source": str(upload.path),
            "folder": str(folder),
            "name": safe_name(upload.filename),
            "extension": extension_of(upload.filename),
            "asked": asdict(asked),
            "cache": None if config.cache is None else {
                "location": config.cache, "limit_bytes": config.cache_bytes or None, "ttl_s": config.cache_ttl_s,
            },
            "limits": {
                "channels": config.max_channels,
                "duration_s": config.max_duration_s,
                "whole_s": config.max_whole_s,
            },
        }

    async def receive(
        self, request: Request, folder: Path, parse: Callable[[list[tuple[str, str]]], Asked] | None = None
    ) -> tuple[Upload, Asked]:
        """An upload and what to do with it.

        Raises:
            Fault, UnmuffleError: one that the client is told.
            Disconnected: it has gone.
        """
        parse = parse or partial(Asked.parse, model=self.config.model)
        headers = dict(request.headers.raw)
        body = Body(request.receive, self.config)
        query = list(request.query_params.multi_items())
        if query:  # a mistake in the address is answered before the body is read
            await asyncio.to_thread(parse, query)
        upload = await receive_upload(body, headers, folder, self.config)
        self.metrics.uploaded.inc(upload.bytes)
        pairs = query + upload.fields
        asked = await asyncio.to_thread(parse, pairs)
        given = dict(pairs).get("filename")
        if given:
            upload.filename = given
        return upload, asked

    def reply(self, result: dict[str, Any], filename: str, asked_method: str, after: Any) -> FileReply:
        """The result on its way."""
        latency = result["latency_ms"]
        headers = {
            "content-disposition": disposition(filename, result["extension"]),
            "x-unmuffle-method": asked_method.encode("ascii", "replace").decode()[:200],
            "x-unmuffle-latency-ms": "whole" if latency is None else f"{latency:.3f}",
            "x-unmuffle-elapsed-s": f"{result['elapsed_s']:.3f}",
            "x-unmuffle-clipped": str(result["clipped"]),
        }
        return FileReply(Path(result["path"]), headers, self.config.send_timeout_s, after)

    def count_file(self, result: dict[str, Any]) -> None:
        """Into the metrics."""
        self.metrics.files_audio.inc(result["seconds"])
        self.metrics.files_busy.inc(result["elapsed_s"])
        if result.get("cache", "off") != "off":
            self.metrics.cache.labels(result["cache"]).inc()


def _settled() -> list[dict[str, Any]]:
    """All methods, as :func:`describe_methods` tells them; then what has been loaded is put aside.

    Looking through all of it for garbage takes 100 ms, in which no frame is answered, and finds none.
    """
    described = describe_methods()
    gc.collect()
    gc.freeze()
    return described


def _surveyor(config: ServerConfig) -> Surveyor:
    """Who measures the streams.

    Raises:
        UnmuffleError: the baseline cannot be read, or the webhook is no address.
    """
    baseline = None if config.baseline is None else Baseline.read(config.baseline)
    webhook = None if config.webhook is None else Webhook(config.webhook)
    return Surveyor(baseline, share=SURVEY_SHARE, webhook=webhook, dnsmos=find_spec("speechmos") is not None)
