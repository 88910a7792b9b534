"""Which file becomes which: files, folders, globs and pipes into a list of jobs."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import MediaNotFoundError, NotAudioError, OutputError, ParameterError
from ..io import supported_extensions

SUFFIX = ".enhanced"
"""What is put before the extension when no output is named."""


@dataclass(frozen=True)
class Job:
    """One file to read and one to write (``-`` for pipes), and where the residual goes, if anywhere."""

    source: str
    output: str
    residual: str | None = None


def plan(
    inputs: list[str],
    output: str | None = None,
    *,
    in_place: bool = False,
    extension: str | None = None,
    residual: str | None = None,
    raw: bool = False,
) -> list[Job]:
    """Turn what was named on the command line into jobs.

    Args:
        inputs: files, folders (taken with all that is below them), glob patterns, or ``-``.
        output: a file (for one input), a folder, ``-``, or ``None``: beside the input as
            ``name.enhanced.ext`` (a folder: ``folder.enhanced/``, with the same tree).
        in_place: write over the inputs.
        extension: of the outputs, to change the format; with or without a dot.
        residual: a file (for one input) or a folder for what is removed.
        raw: files hold samples without a header, and may have any name.

    Raises:
        MediaNotFoundError, NotAudioError: nothing there, or a folder without media.
        OutputError: two inputs would become one output, or a name is neither that of a folder nor of a format.
        ParameterError: the options contradict each other.
    """
    if not inputs:
        raise ParameterError("no input; name files, folders, or - for standard input")
    if extension is not None and not extension.lstrip(".").isalnum():
        raise ParameterError(f"--to {extension!r} is no extension; write it like wav or mp3")
    if in_place and (output or extension):
        raise ParameterError("--in-place writes over the inputs: leave out -o and --to")
    found = [pair for name in inputs for pair in _expand(name)]
    several = len(found) > 1 or any(root is not None for _, root in found)
    for name in (output, residual):
        if not (name is None or name == "-" or several or raw or _is_folder(name) or os.path.splitext(name)[1]):
            raise OutputError(
                f"{name!r} is no folder that is there, and has no extension that names a format; "
                f"write {name + '/'!r} for a folder, or {name + '.wav'!r}"
            )
    jobs = []
    for source, root in found:
        if source == "-" or output == "-":
            if several:
                raise ParameterError("a pipe holds one sound: name one input, or a folder with -o")
            jobs.append(Job(source, output or "-", residual))
            continue
        target = source if in_place else _target(source, root, output, several, extension)
        rest = None if residual is None else _target(source, root, residual, several, extension)
        jobs.append(Job(source, target, rest))
    taken: dict[str, str] = {}
    for job in jobs:
        if job.output != "-":
            key = os.path.abspath(job.output)
            if key in taken:
                raise OutputError(f"{taken[key]!r} and {job.source!r} would both become {job.output!r}")
            taken[key] = job.source
    return jobs


def _expand(name: str) -> list[tuple[str, str | None]]:
    """The files a name stands for, each with the folder whose tree is to be mirrored (if any)."""
    if name == "-":
        return [("-", None)]
    path = Path(name)
    if path.is_dir():
        files = _media_below(path)
        if not files:
            raise NotAudioError(f"the folder {name!r} holds no audio or video file")
        return [(str(f), str(path)) for f in files]
    if not os.path.lexists(name) and glob.has_magic(name):
        matches = sorted(m for m in glob.glob(name, recursive=True) if os.path.isfile(m))
        if not matches:
            raise MediaNotFoundError(f"no file matches {name!r}")
        return [(m, None) for m in matches]
    if not os.path.lexists(name):
        raise MediaNotFoundError(f"{name!r} does not exist; check the name and the folder")
    return [(name, None)]


def _media_below(folder: Path) -> list[Path]:
    known = supported_extensions()
    return sorted(
        p
        for p in folder.rglob("*")
        if p.is_file() and p.suffix.lower() in known and SUFFIX not in p.suffixes and not p.name.startswith(".")
    )


def _is_folder(name: str) -> bool:
    return os.path.isdir(name) or name.endswith(("/", os.sep))


def _target(source: str, root: str | None, output: str | None, several: bool, extension: str | None) -> str:
    path = Path(source)
    suffix = path.suffix if extension is None else "." + extension.lstrip(".")
    name = path.stem + suffix
    if root is not None:  # mirror the tree
        base = Path(output) if output is not None else Path(str(Path(root)).rstrip("/\\") + SUFFIX)
        if os.path.exists(base) and not os.path.isdir(base):
            raise OutputError(f"{str(base)!r} is a file; a folder is needed for a folder's results")
        return str(base / path.relative_to(root).parent / name)
    if output is None:
        return str(path.with_name(path.stem + SUFFIX + suffix))
    if several or _is_folder(output):
        if os.path.exists(output) and not os.path.isdir(output):
            raise OutputError(f"{output!r} is a file; a folder is needed for several results")
        return str(Path(output) / name)
    return output
