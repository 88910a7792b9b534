"""The application: addresses, and the state behind them."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

from ..enhancers import params, registry
from ..errors import MissingExtraError, ParameterError, UnmuffleError
from ..quality.alerts import Webhook
from ..quality.drift import Baseline
from ..quality.monitor import Surveyor
from . import static
from .asked import Asked
from .capacity import Capacity
from .config import ServerConfig
from .crew import Crew, Place
from .description import ASYNCAPI, UPLOAD_BODY, UPLOAD_OPTIONS, fault_responses
from .faults import Fault, fault_of
from .guard import Guard
from .jobs import Jobs
from .keys import Limits
from .lanes import Lanes
from .listening import LISTEN_S
from .metrics import Metrics
from .reply import FileReply
from .scores import SCORES_S
from .seats import Seats
from .session import Session
from .spool import Spool
from .turn import Turn
from .uploads import Body, Disconnected, Upload, disposition, extension_of, receive_upload, safe_name

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


async def _gone(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(config: ServerConfig | None = None) -> FastAPI:
    """The ASGI application of a server; its state is in ``app.state.unmuffle``."""
    from .. import __version__

    state = State(config or ServerConfig())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await state.start()
        try:
            yield
        finally:
            await state.stop()

    # The interactive pages of FastAPI load scripts from elsewhere: this server works without the network.
    app = FastAPI(
        title="unmuffle", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Speech enhancement of files and live streams.", redirect_slashes=False,
    )  # fmt: skip
    app.state.unmuffle = state
    app.add_middleware(Guard, state=state)
    _faults(app, state)
    _service(app, state)
    _files(app, state)
    _jobs(app, state)
    _scores(app, state)
    _page(app, state)

    class Stream:
        """``WS /stream``."""

        def __init__(self, scope: Any, receive: Any, send: Any) -> None:
            self._session = Session(state, scope, receive, send)

        def __await__(self) -> Any:
            return self._run().__await__()

        async def _run(self) -> None:
            state.sessions.add(self._session)
            try:
                await self._session.run()
            finally:
                state.sessions.discard(self._session)

    app.router.routes.append(WebSocketRoute("/stream", endpoint=Stream))
    return app


def _faults(app: FastAPI, state: State) -> None:
    def answer(fault: Fault) -> Response:
        state.metrics.errors.labels(fault.kind).inc()
        return Response(fault.encoded(), fault.status, fault.headers())

    async def known(_: Request, error: Exception) -> Response:
        return answer(fault_of(error))

    async def gone(_: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    async def routed(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = {404: ("NotFound", "there is nothing at this address"), 405: ("WrongVerb", "not with this HTTP verb")}
        kind, text = words.get(error.status_code, ("HTTPError", str(error.detail)))
        made = answer(Fault(error.status_code, kind, text))
        for name, value in (error.headers or {}).items():
            made.headers[name] = value
        return made

    async def invalid(_: Request, error: Exception) -> Response:
        return answer(Fault(422, "ParameterError", "a parameter has no meaning"))

    app.add_exception_handler(Fault, known)
    app.add_exception_handler(UnmuffleError, known)
    app.add_exception_handler(Disconnected, gone)
    app.add_exception_handler(HTTPException, routed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, known)


def _service(app: FastAPI, state: State) -> None:
    @app.get("/healthz", summary="Does the process live?")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", summary="Does it take new work?", responses=fault_responses(503))
    async def readyz() -> JSONResponse:
        if state.draining:
            raise state.shutting_down()
        return JSONResponse({"status": "ready", "streams": state.capacity.streams, "files": state.crew.taken})

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/methods", summary="Methods and their parameters")
    async def methods() -> JSONResponse:
        return JSONResponse({"default": registry.DEFAULT, "methods": await state.methods()})

    @app.get("/asyncapi.json", summary="Description of the WebSocket protocol")
    async def asyncapi() -> JSONResponse:
        return JSONResponse(ASYNCAPI)


def _files(app: FastAPI, state: State) -> None:
    @app.post(
        "/enhance", summary="Enhance a media file", response_class=Response,
        openapi_extra={"requestBody": UPLOAD_BODY, "parameters": UPLOAD_OPTIONS},
        responses={200: {"content": {"application/octet-stream": {}}, "description": "The enhanced file"},
                   **fault_responses(400, 401, 408, 413, 415, 422, 429, 500, 503, 504)},
    )  # fmt: skip
    async def enhance(request: Request) -> Response:
        if state.draining:
            raise state.shutting_down()
        place, folder = await _place(state)
        keep = False
        try:
            upload, asked = await state.receive(request, folder)
            result = await _worked(state, request, place, state.task(upload, folder, asked))
            state.count_file(result)
            made = state.reply(result, upload.filename, asked.method, lambda: state.spool.remove(folder))
            keep = True
            return made
        finally:
            state.crew.leave(place)
            if not keep:
                state.spool.remove(folder)


async def _worked(state: State, request: Request, place: Place, task: dict[str, Any]) -> dict[str, Any]:
    """The answer of a worker, unless the client goes first.

    Raises:
        Fault: it cannot be done.
        Disconnected: the client has gone.
    """
    work = asyncio.ensure_future(state.crew.work(place, task))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Disconnected
        return work.result()
    finally:
        for started in (work, gone):
            started.cancel()
        await asyncio.wait([work, gone])


async def _place(state: State) -> tuple[Place, Path]:
    place = state.crew.enter()
    try:
        return place, await asyncio.to_thread(state.spool.folder)
    except BaseException:
        state.crew.leave(place)
        raise


def _jobs(app: FastAPI, state: State) -> None:
    def owner(request: Request) -> str:
        found: str = request.scope["unmuffle.owner"]
        return found

    @app.post(
        "/jobs", status_code=202, summary="Submit a media file",
        openapi_extra={"requestBody": UPLOAD_BODY, "parameters": UPLOAD_OPTIONS},
        responses=fault_responses(400, 401, 408, 413, 422, 429, 503),
    )  # fmt: skip
    async def submit(request: Request) -> JSONResponse:
        return await begun(request, "enhance")

    @app.post(
        "/listen", status_code=202, summary="Submit a media file to compare before and after",
        description="A job whose result is a WAV of 32-bit floats, at most five minutes long: the channels of the "
        "input, then those of the output at its full effect. strength, loudness and to do not matter here.",
        openapi_extra={"requestBody": UPLOAD_BODY, "parameters": UPLOAD_OPTIONS},
        responses=fault_responses(400, 401, 408, 413, 422, 429, 503),
    )  # fmt: skip
    async def listen(request: Request) -> JSONResponse:
        return await begun(request, "listen")

    async def begun(request: Request, kind: str) -> JSONResponse:
        if state.draining:
            raise state.shutting_down()
        state.jobs.check_room()
        place, folder = await _place(state)
        try:
            upload, asked = await state.receive(request, folder)
            state.jobs.check_room()  # others may have come meanwhile
            name = safe_name(upload.filename)
            job = state.jobs.submit(owner(request), name, folder, place, state.task(upload, folder, asked, kind))
        except BaseException:
            state.crew.leave(place)
            state.spool.remove(folder)
            raise
        view = state.jobs.view(job) | {"method": asked.method}
        return JSONResponse(view, 202, headers={"location": f"/jobs/{job.id}"})

    @app.get("/jobs/{number}", summary="How far is it?", responses=fault_responses(401, 404, 429))
    async def ask(number: str, request: Request) -> JSONResponse:
        return JSONResponse(state.jobs.view(state.jobs.get(owner(request), number)))

    @app.get(
        "/jobs/{number}/result", summary="Fetch the result", response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}, "description": "The enhanced file"},
                   **fault_responses(401, 404, 409, 429)},
    )  # fmt: skip
    async def result(number: str, request: Request) -> Response:
        job = state.jobs.get(owner(request), number)
        if job.fault is not None:
            raise job.fault
        if job.result is None:
            raise Fault(409, "NotReady", f"the job is {state.jobs.view(job)['status']}; ask again later", 1)
        job.readers += 1
        try:
            return state.reply(job.result, job.filename, "job", lambda: state.jobs.release(job))
        except BaseException:
            state.jobs.release(job)
            raise

    @app.delete("/jobs/{number}", summary="Cancel and delete", responses=fault_responses(401, 404, 429))
    async def delete(number: str, request: Request) -> JSONResponse:
        job = state.jobs.get(owner(request), number)
        await state.jobs.delete(job)
        return JSONResponse({"id": job.id, "status": job.status, "deleted": True})


def _scores(app: FastAPI, state: State) -> None:
    @app.post(
        "/scores", summary="Score a recording without a reference",
        openapi_extra={"requestBody": UPLOAD_BODY},
        responses=fault_responses(400, 401, 408, 413, 415, 422, 429, 500, 503, 504),
    )  # fmt: skip
    async def score(request: Request) -> JSONResponse:
        if state.draining:
            raise state.shutting_down()
        place, folder = await _place(state)
        try:
            upload, asked = await state.receive(request, folder, _without_options)
            result = await _worked(state, request, place, state.task(upload, folder, asked, "scores"))
            return JSONResponse(result["scores"])
        finally:
            state.crew.leave(place)
            state.spool.remove(folder)


def _without_options(pairs: list[tuple[str, str]]) -> Asked:
    known = ("filename", "allow_truncated")
    for name, _ in pairs:
        if name not in known:
            raise ParameterError(f"there is no option {name[:50]!r} here; there are: {', '.join(known)}")
    return Asked.parse([("method", "identity"), *pairs])


def _page(app: FastAPI, state: State) -> None:
    page = static.Page()

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return page.index()

    @app.api_route(static.PREFIX + "{name:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def part(name: str, request: Request) -> Response:
        return page.part(name, request)

    @app.get("/about", summary="Version and limits", responses=fault_responses(401, 429))
    async def about() -> JSONResponse:
        from .. import __version__

        config = state.config
        limits = {
            "upload_bytes": config.max_upload_bytes, "duration_s": config.max_duration_s,
            "whole_s": config.max_whole_s, "channels": config.max_channels, "listen_s": LISTEN_S, "scores_s": SCORES_S,
        }  # fmt: skip
        return JSONResponse({"version": __version__, "limits": limits})


def describe_methods() -> list[dict[str, Any]]:
    """All methods with their parameters, as far as they are installed here."""
    found = []
    for name in registry.names():
        line = registry.entry(name)
        row: dict[str, Any] = {"name": name, "family": line.family, "summary": line.summary, "live": line.causal}
        try:
            kind = registry.kind(name)
            stream = registry.load(name).stream(48000, line.channels)
        except MissingExtraError:
            row["available"] = False
            found.append(row)
            continue
        except UnmuffleError:
            continue  # needs something that cannot be set from outside, such as a network file
        row["available"] = True
        row["latency_ms"] = stream.latency_ms if line.causal else None
        row["parameters"] = {
            key: {"default": f.default, **f.metadata}
            for key, f in params.parameters(kind).items()
            if not (isinstance(f.default, str) and f.metadata["choices"] is None)
        }
        found.append(row)
    return found
