"""The service: files over HTTP, live streams over WebSocket (extra ``serve``).

::

    HTTP  -> guard (keys, limits, origin) -> uploads -> crew (worker processes) -> reply
    WS    -> guard -> session -> capacity (may I?) -> at once, or in a lane (threads) -> session

=============  ==============================================================================
config         every setting with its default, checked when it is made
faults         what goes wrong, as JSON with the right status code
keys           API keys, and limits for each of them
guard          what every request passes first: origin, key, limits, counting
uploads        a body of any size to a file of ours, in constant memory
asked          what a client may ask for, checked before work begins
spool          folders for uploads and results; nothing survives the server
worker, crew   child processes that enhance files, and their queue
listening      in a worker: before and after side by side, for a page to compare
scores         in a worker: what can be said about a recording without a reference
jobs           long files: submit, progress, result, cancel
reply          a finished file on its way to the client
turn           frames of several streams, worked off together
seats          places of streams in crowds, whose frames are the rows of one array
frames         whole binary messages, told from all else in the bytes of a connection
protocol       the wire format of ``/stream``
lanes          threads in which streams run
capacity       what a stream costs, and whether one more fits
session        one ``/stream`` connection
metrics        what is counted, for Prometheus
static, page/  the web page at ``/``, and the headers that keep it to this server
description    what there is, for programs: OpenAPI, AsyncAPI, the methods
state          all of the above in one running server: how it begins, ends, and is looked after
app, run       the ASGI application, and the process around it
=============  ==============================================================================

``create_app`` and ``serve`` are the two ways in; importing this package loads none of the extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["ServerConfig", "create_app", "serve"]

if TYPE_CHECKING:
    from .app import create_app as create_app
    from .config import ServerConfig as ServerConfig
    from .run import serve as serve

_EXPORTS = {"ServerConfig": "config", "create_app": "app", "serve": "run"}


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
