"""The machine-readable descriptions: what OpenAPI cannot guess, AsyncAPI for the stream, and the methods."""

from __future__ import annotations

from typing import Any

from ..engine.options import REPAIRS
from ..enhancers import params, registry
from ..errors import MissingExtraError, UnmuffleError
from .protocol import FORMATS

_FAULT_SCHEMA = {
    "type": "object",
    "required": ["error", "kind"],
    "properties": {
        "error": {"type": "string", "description": "one line: what was wrong, and the way out"},
        "kind": {"type": "string", "description": "a name that programs can rely on"},
        "retry_after_s": {"type": "number"},
    },
}


def fault_responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the answers that are no success."""
    content = {"application/json": {"schema": _FAULT_SCHEMA}}
    return {code: {"description": "see kind", "content": content} for code in codes}


_TEXTS = {
    "method": "a name from /methods, several joined by +, or auto",
    "strength": "most attenuation in dB: 0 changes nothing, full is no limit",
    "repair": f"{','.join(REPAIRS)} (comma-separated), before the method",
    "stereo": "linked, independent or mid-side",
    "loudness": "loudness of the result in LUFS (EBU R128)",
    "profile": "where only noise is heard: 0-0.5 (seconds)",
    "to": "format of the result (wav, flac, mp3 ...); default: as the upload",
    "allow_truncated": "use what is there of a file that was cut off",
    "filename": "what the upload is called",
}

UPLOAD_OPTIONS: list[dict[str, Any]] = [
    *(
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in _TEXTS.items()
    ),
    {
        "name": "set",
        "in": "query",
        "required": False,
        "description": "a parameter of the method, KEY=VALUE; may be repeated",
        "schema": {"type": "array", "items": {"type": "string"}},
        "style": "form",
        "explode": True,
    },
]

UPLOAD_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    **{name: {"type": "string", "description": text} for name, text in _TEXTS.items()},
                },
            }
        },
    },
}


def _message(direction: str, fields: dict[str, str], summary: str) -> dict[str, Any]:
    properties = {key: {"description": text} for key, text in fields.items()}
    payload = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}, **properties}}
    return {"summary": summary, "x-direction": direction, "contentType": "application/json", "payload": payload}


_TO_SERVER = {
    "hello": (
        {
            "rate": "Hz, 8000 to 192000 (required)",
            "channels": "default 1",
            "format": f"{' or '.join(FORMATS)}, default f32le",
            "method": "default auto",
            "params": "object of the method's parameters",
            "strength": "dB, or null for the full effect",
            "bypass": "begin with the delayed input unchanged",
            "repair": "array of names",
            "stereo": "linked, independent or mid-side",
            "block_size": "samples of every message, if they are all equal; then as many come back",
            "block_ms": "expected length of messages, default 10",
            "key": "API key, where headers cannot be sent",
        },
        "first message",
    ),
    "strength": ({"db": "dB, or null"}, "limit the attenuation, in a 20 ms ramp"),
    "bypass": ({"on": "true or false"}, "pass the input at the same latency, in a 20 ms ramp"),
    "flush": ({}, "end the signal: flushed and one binary message with the tail follow; the stream begins anew"),
    "reset": ({}, "begin anew, without a tail"),
    "stats": ({}, "ask for counters"),
    "bye": ({}, "close"),
}
_TO_CLIENT = {
    "ready": (
        {
            "latency_samples": "delay of what comes back",
            "latency_ms": "the same in milliseconds",
            "load": "share of a core that was counted for this stream",
            "max_message_bytes": "of one message",
            "idle_timeout_s": "silence that ends the connection",
        },
        "answer to hello",
    ),
    "error": (
        {"error": "one line", "kind": "name", "seq": "the frame it is about", "retry_after_s": "when refused"},
        "a message was not used; if the connection is closed after it, nothing else will follow",
    ),
    "flushed": ({"samples": "length of the tail in the next binary message"}, "answer to flush"),
    "stats": ({"server_ms": "p50, p99, max of the last frames", "late": "frames answered too late",
         "active": "main, spare or dry", "switches": "how often that changed",
         "quality": "figures of the last window that was measured, or null"}, "counters"),
    "switched": (
        {"to": "main, spare or dry (the input)", "method": "what is heard from now on",
         "reason": "error, non-finite, behind or recovered", "at_s": "seconds of sound so far"},
        "the method failed, or runs again; the stream goes on at the same latency",
    ),
    "draining": ({"seconds": "until the connection is cut"}, "the server is about to stop"),
}

ASYNCAPI: dict[str, Any] = {
    "asyncapi": "3.0.0",
    "info": {
        "title": "unmuffle live stream",
        "version": "1",
        "description": "Binary messages both ways: 4 bytes sequence number (unsigned, little-endian), then interleaved "
        "samples in the format of the hello. Each is answered by one with the same number, or by an error that names "
        "it.",
    },
    "channels": {
        "stream": {
            "address": "/stream",
            "messages": {
                **{f"{name}_in": _message("to server", *made) for name, made in _TO_SERVER.items()},
                **{f"{name}_out": _message("to client", *made) for name, made in _TO_CLIENT.items()},
                "frame": {"summary": "samples", "contentType": "application/octet-stream"},
            },
        }
    },
    "operations": {
        "receive": {"action": "receive", "channel": {"$ref": "#/channels/stream"}},
        "send": {"action": "send", "channel": {"$ref": "#/channels/stream"}},
    },
}


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
