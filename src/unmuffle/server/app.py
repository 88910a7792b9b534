"""The application: addresses, and what they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

from ..enhancers import registry
from ..errors import ParameterError, UnmuffleError
from . import static
from .asked import Asked
from .config import ServerConfig
from .crew import Place
from .description import ASYNCAPI, UPLOAD_BODY, UPLOAD_OPTIONS, fault_responses
from .faults import Fault, fault_of
from .guard import Guard
from .listening import LISTEN_S
from .scores import SCORES_S
from .session import Session
from .state import State
from .uploads import Disconnected, safe_name


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


async def _gone(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


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
