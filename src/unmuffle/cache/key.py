"""What makes two enhancements the same.

::

    key = sha256( sha256 of the file's bytes,
                  the method: name, every parameter, digest of the network's weights,
                  every option: strength, repair, stereo, loudness, profile, format of the output,
                  version: of unmuffle, its source code, and the libraries that sound and files pass through )

The source code is part of it because a version number stays the same between two commits; the libraries because
another resampler or encoder gives other samples. Names of files are not: a copy under another name is the same sound.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..engine.options import Options
from ..enhancers.base import Enhancer

FORMAT: Final = 1
"""Raised when the entries' form or meaning changes."""

_BLOCK = 1 << 20
_LIBRARIES = ("numpy", "scipy", "soundfile", "soxr", "av", "onnxruntime", "numba")
_ROOMS = ("io", "signal", "noise", "enhancers", "engine", "cache")


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes; about 1.5 GB/s on a processor that knows it."""
    digest = hashlib.sha256()
    block = memoryview(bytearray(_BLOCK))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


def key_of(source_digest: str, enhancer: Enhancer, settings: Mapping[str, Any]) -> str:
    """The key of one enhancement.

    Args:
        source_digest: of the input file.
        enhancer: with its parameters.
        settings: everything else that the result depends on; plain values.
    """
    parts = {
        "source": source_digest,
        "method": enhancer.key(),
        "code": _foreign(type(enhancer)),
        "settings": {k: _plain(v) for k, v in settings.items()},
        "version": [__version__, FORMAT, code_digest(), *library_versions()],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def enhancer_of(method: Any, values: Mapping[str, Any], settings: Mapping[str, Any]) -> Enhancer:
    """The enhancer that `unmuffle.enhance_file` would use for one channel: what the key is about."""
    repair, stereo = tuple(settings["repair"]), str(settings["stereo"])
    return Options(method, values, float(settings["strength_db"]), repair, stereo).enhancer(1)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 over the source of all that touches the sound, weights excepted (they are in the method's key)."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=1)
def library_versions() -> tuple[str, ...]:
    """Names and versions of the libraries, and the kind of machine: its arithmetic may differ in the last bit."""
    from importlib.metadata import PackageNotFoundError, version

    found = [platform.machine()]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(found)


@lru_cache(maxsize=64)
def _foreign(kind: type) -> str:
    """Digest of the module of a method that is not ours."""
    import inspect

    if kind.__module__.split(".")[0] == "unmuffle":
        return ""
    try:
        return file_digest(inspect.getfile(kind))
    except (OSError, TypeError):
        return f"{kind.__module__}.{kind.__qualname__}"
