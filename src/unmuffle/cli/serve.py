"""``unmuffle serve``: files over HTTP and live streams over WebSocket."""

from __future__ import annotations

import os
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="serve")(serve)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback reach the network.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 lets the system choose one.")] = 8765,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A network file of your own (.onnx): what `auto` and `model` then mean."),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="API keys, a line each: name:key. Else from UNMUFFLE_API_KEYS."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web pages that may use it, e.g. https://example.org; repeatable."),
    ] = None,
    spool: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where uploads wait; default: the temporary folder.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Files at a time; 0: one a core.")] = 0,
    queue: Annotated[int, typer.Option(min=0, help="Files that may wait.")] = 16,
    stream_load: Annotated[
        float, typer.Option("--stream-load", metavar="CORES", help="Processor share that live streams may take.")
    ] = 0.8,
    max_streams: Annotated[int, typer.Option("--max-streams", min=1, help="Live streams at a time.")] = 1000,
    max_upload: Annotated[float, typer.Option("--max-upload", metavar="MB", help="Largest upload.")] = 2048.0,
    max_minutes: Annotated[
        float, typer.Option("--max-minutes", metavar="MIN", help="Longest sound of an upload.")
    ] = 240.0,
    max_channels: Annotated[int, typer.Option("--max-channels", min=1, help="Most channels.")] = 8,
    job_minutes: Annotated[
        float, typer.Option("--job-minutes", metavar="MIN", help="How long results of jobs are kept.")
    ] = 60.0,
    key_streams: Annotated[
        int, typer.Option("--key-streams", min=0, help="Live streams of one key at a time; 0: no limit.")
    ] = 0,
    key_requests: Annotated[
        int, typer.Option("--key-requests", min=0, help="Requests of one key in a minute; 0: no limit.")
    ] = 0,
    drain: Annotated[
        float, typer.Option(metavar="S", help="How long a stopping server lets streams finish.")
    ] = 30.0,
    cache: Annotated[
        str | None,
        typer.Option("--cache-at", metavar="DIR|URL", help="Keep results of files: a folder, or redis://HOST:PORT."),
    ] = None,
    cache_mb: Annotated[int, typer.Option("--cache-mb", min=0, metavar="MB", help="Its size limit; 0: usual.")] = 0,
    quality_every: Annotated[
        float, typer.Option("--quality-every", metavar="S", help="Measure 10 s of each stream this often; 0: never.")
    ] = 60.0,
    baseline: Annotated[
        str | None, typer.Option(metavar="FILE", help="What the figures usually are; drift from it is an alert.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Where alerts are posted. Else from UNMUFFLE_WEBHOOK.")
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing unless something fails.")] = False,
) -> None:
    """Serve files (POST /enhance, /jobs) and live streams (WS /stream) until Ctrl-C or SIGTERM.

    Needs the extra `serve`. Nothing that is uploaded is kept after it was answered; results are, with --cache-at.

    [bold]Examples[/bold]

    unmuffle serve --port 9000

    curl --data-binary @talk.mp4 -o clean.mp4 "http://127.0.0.1:9000/enhance?strength=12"
    """
    from ..errors import MissingExtraError

    try:
        from ..server.config import ServerConfig
        from ..server.keys import Keys
        from ..server.run import serve as run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "unmuffle":
            raise
        raise MissingExtraError("the server", "serve") from None

    if model is not None:
        from ..enhancers.registry import MODEL, load

        load(MODEL, path=model)  # better now than at the first request
    config = ServerConfig(
        host=host,
        port=port,
        model=model,
        keys=Keys.load(keys),
        origins=tuple(origin or ()),
        spool_dir=spool,
        workers=workers,
        queue=queue,
        stream_load=stream_load,
        max_streams=max_streams,
        max_upload_bytes=max(1, round(max_upload * 1e6)),
        max_duration_s=60.0 * max_minutes,
        max_channels=max_channels,
        job_ttl_s=60.0 * job_minutes,
        key_streams=key_streams,
        key_requests_per_min=key_requests,
        drain_s=drain,
        cache=cache,
        cache_bytes=cache_mb * 1_000_000,
        quality_every_s=quality_every,
        baseline=baseline,
        webhook=webhook or os.environ.get("UNMUFFLE_WEBHOOK"),
    )

    def told(url: str) -> None:
        if not quiet:
            typer.echo(f"unmuffle serve: {url}  (Ctrl-C lets streams finish and stops)", err=True)

    if not config.loopback and not config.keys and not quiet:
        typer.echo("unmuffle serve: anybody who reaches this address may use it; --keys asks for keys", err=True)
    run(config, told=told)
