"""Checkpoints: the whole state of a run in one file, written whole or not at all.

A checkpoint holds weights, averaged weights, optimiser, counters, random state and the recipe, as
tensors and plain values only: reading one runs no code of its author.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import torch

from ..errors import MediaNotFoundError, ModelError, OutputError

FORMAT = 1


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint. If that fails (a full disk), what was there before is still there.

    Raises:
        OutputError: it could not be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as out:
            torch.save({"format": FORMAT, **state}, out)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
        raise OutputError(f"{target}: the checkpoint could not be written ({error}); the old one is intact") from None
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        MediaNotFoundError: there is none.
        ModelError: the file is broken, or no checkpoint of ours.
    """
    source = Path(path)
    if not source.is_file():
        raise MediaNotFoundError(f"{source}: no such checkpoint")
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the broken bytes lead it to
        raise ModelError(f"{source} is no readable checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT or "recipe" not in state:
        raise ModelError(f"{source} is no checkpoint of this program (format {FORMAT})")
    return state
