"""The weights of a network file by name, without the library that writes such files.

onnxruntime runs a graph and does not tell what is in it. Where the weights themselves are needed at run time
(:mod:`.native`), they are read from the file: of the protocol-buffer format that ONNX uses, a message is a sequence of
fields, each a number, a kind, and a value whose length is known before it is read; here only those on the way to the
float tensors of the graph (``ModelProto.graph`` 7, ``GraphProto.initializer`` 5) are looked into.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _FLOATS, _NAME, _RAW = 1, 2, 4, 8, 9
_FLOAT = 1


def initialisers(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Float tensors of the graph, by name: views of the content, not to be written.

    Raises:
        ValueError: the content is no such message.
    """
    found: dict[str, NDArray[np.float32]] = {}
    for field, graph in _fields(memoryview(content)):
        if field != _GRAPH or isinstance(graph, int):
            continue
        for part, tensor in _fields(graph):
            if part != _INITIALIZER or isinstance(tensor, int):
                continue
            shape: list[int] = []
            name, kind, raw = "", 0, None
            for key, value in _fields(tensor):
                if key == _DIMS:
                    shape += [value] if isinstance(value, int) else list(_numbers(value))
                elif key == _TYPE and isinstance(value, int):
                    kind = value
                elif key == _NAME and not isinstance(value, int):
                    name = bytes(value).decode()
                elif key in (_FLOATS, _RAW) and not isinstance(value, int):
                    raw = value
            if kind == _FLOAT and raw is not None:
                found[name] = np.frombuffer(raw, "<f4").reshape(shape)
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: a number, or the bytes of what has a length."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _number(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _number(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(message):
            raise ValueError("a field that is longer than its message")
        yield key >> 3, message[at : at + size]
        at += size


def _numbers(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _number(packed, at)
        yield value


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number without an end")
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
