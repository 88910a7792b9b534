"""TOML text in, a table out; a syntax error is one of ours and names the place."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import ParameterError


def from_toml(text: str) -> dict[str, Any]:
    """Read a TOML text.

    Raises:
        ParameterError: a syntax error; the message has its line and column.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"not a valid TOML text: {error}") from None
    return table
