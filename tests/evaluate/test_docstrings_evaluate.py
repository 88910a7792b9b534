"""The examples in the docstrings of the package run as written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import unmuffle.evaluate


def test_every_example_holds():
    ran = 0
    for found in pkgutil.iter_modules(unmuffle.evaluate.__path__):
        result = doctest.testmod(importlib.import_module(f"unmuffle.evaluate.{found.name}"))
        assert result.failed == 0, found.name
        ran += result.attempted
    assert ran >= 10
