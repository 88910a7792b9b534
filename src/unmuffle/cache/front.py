"""``open_cache``, and ``enhance_file`` through it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..engine.files import Progress, Report
from ..engine.files import enhance_file as enhance_anew
from ..errors import OutputError
from ..io.atomic import AtomicFile, is_special
from .key import enhancer_of, file_digest, key_of
from .store import Store

SCHEMES: Final = ("redis://", "rediss://", "unix://")

HIT, MISS, OFF = "hit", "miss", "off"
"""What became of a request: found, made and stored, or not a matter for the cache (pipes, residuals)."""

Cache = Store
"""What :func:`open_cache` gives."""


def default_folder() -> Path:
    """Where results are kept unless told otherwise: ``$XDG_CACHE_HOME/unmuffle`` or ``~/.cache/unmuffle``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "unmuffle"


def open_cache(
    location: str | os.PathLike[str] | None = None, *, limit_bytes: int | None = None, ttl_s: float = 30 * 86400.0
) -> Cache:
    """A cache in a folder, or in Redis.

    Args:
        location: a folder, or ``redis://host:port``; ``None`` for :func:`default_folder`.
        limit_bytes: of all results in a folder (default 4 GiB), or of one result in Redis (default 64 MiB).
        ttl_s: how long a result is kept.

    Raises:
        OutputError: the folder cannot be used.
        MissingExtraError: Redis needs the extra ``redis``.
        ParameterError: a limit or an address without meaning.
    """
    place = default_folder() if location is None else location
    if isinstance(place, str) and place.startswith(SCHEMES):
        from .redis import RedisStore

        return RedisStore(place, 64 << 20 if limit_bytes is None else limit_bytes, ttl_s)
    from .disk import DiskStore

    return DiskStore(place, 4 << 30 if limit_bytes is None else limit_bytes, ttl_s)


def enhance_file(
    cache: Cache,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    method: Any = "auto",
    *,
    progress: Progress | None = None,
    extra: Mapping[str, Any] | None = None,
    **settings: Any,
) -> tuple[Report, str]:
    """`unmuffle.enhance_file`, or its result from before.

    Args:
        cache: from :func:`open_cache`.
        source, output, method, progress, settings: as in `unmuffle.enhance_file`.
        extra: what else the result depends on, plain values.

    Returns:
        The report (its ``elapsed_s`` is the time that this call took), and ``hit``, ``miss`` or ``off``.
    """
    begun = time.perf_counter()
    source, output = os.fspath(source), os.fspath(output)
    was = _stamp(source)
    key = None if _off(source, output, settings) else _key(source, output, method, settings, extra or {})
    if key is None:
        return enhance_anew(source, output, method, progress=progress, **settings), OFF
    report = _fetch(cache, key, source, output)
    if report is not None:
        if progress is not None:
            progress(report.seconds, report.seconds)
        return replace(report, elapsed_s=time.perf_counter() - begun), HIT
    report = enhance_anew(source, output, method, progress=progress, **settings)
    names = ("method", "sample_rate", "channels", "seconds", "elapsed_s", "latency_ms", "clipped", "notes")
    known = {name: getattr(report, name) for name in names}
    finite = all(not isinstance(v, float) or v < float("inf") for v in known.values())
    if finite and _stamp(source) == was:  # a source that changed meanwhile is not the one that the key is about
        cache.keep(key, Path(output), {"report": known})
    return report, MISS


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _off(source: str, output: str, settings: Mapping[str, Any]) -> bool:
    """What has no file to be known by, or more than one to give back."""
    return "-" in (source, output) or settings.get("residual") is not None or is_special(output) or is_special(source)


def _key(source: str, output: str, method: Any, settings: Mapping[str, Any], extra: Mapping[str, Any]) -> str | None:
    """``None``: the source cannot be read; enhancing it will say why."""
    from ..noise.profile import NoiseProfile

    known = {"strength_db": float("inf"), "repair": (), "stereo": "linked", "profile": None, "loudness_lufs": None,
             "allow_truncated": False, "raw_format": None, "raw_rate": None, "raw_channels": None}  # fmt: skip
    values = {k: v for k, v in settings.items() if k not in known and k not in ("residual", "in_place")}
    plain = {k: settings.get(k, v) for k, v in known.items()}
    profile = plain["profile"]
    if isinstance(profile, NoiseProfile):
        return None
    try:
        if profile is not None and not isinstance(profile, tuple):
            plain["profile"] = file_digest(profile)
        digest = file_digest(source)
    except OSError:
        return None
    # The format of the result comes from the name of the output, that of raw input from the name of the source.
    formats = {"to": Path(output).suffix.lower(), "from": Path(source).suffix.lower()}
    return key_of(digest, enhancer_of(method, values, plain), {**plain, **formats, **extra})


def _fetch(cache: Cache, key: str, source: str, output: str) -> Report | None:
    """The report, with the output in its place; ``None``: not there."""
    if os.path.exists(output) and os.path.samefile(source, output):
        return None  # --in-place: an ordinary run checks whether that is allowed
    file = AtomicFile(output)
    try:
        facts = cache.fetch(key, Path(file.temporary))
        if facts is None:
            return None
        try:
            report = Report(source, output, **facts["report"])
        except (KeyError, TypeError):  # not written by us
            return None
        file.commit()
        return report
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"{output!r} cannot be written: {error.strerror}") from None
        return None
    finally:
        with suppress(OSError):
            file.discard()
