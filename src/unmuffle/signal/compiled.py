"""Compiled modules of scipy by themselves.

``import scipy.signal`` brings half of scipy along and takes 50 MB, ``import scipy.fft`` 25 MB; the machine code of a
filter or of a Fourier transform is a file of 100 kB. A command that has to stay small on a long recording loads that
file and nothing else. Such files are not part of scipy's documented interface: whoever loads one tries it out before
use, and has the documented function to fall back on.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def module(name: str) -> Any:
    """The compiled module of this full name, or ``None`` if it is not where it is expected.

    Its packages are not imported. If they were before, or are later, all share one copy of the code.

    >>> module("scipy.signal._sosfilt").__name__.endswith("_sosfilt")
    True
    >>> module("scipy.signal._no_such_module") is None
    True
    """
    if name in sys.modules:
        return sys.modules[name]
    package, *folders, last = name.split(".")
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent.joinpath(*folders)
    for suffix in EXTENSION_SUFFIXES:
        path = folder / (last + suffix)
        if path.is_file():
            spec = spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                return None
            try:
                out = module_from_spec(spec)
                spec.loader.exec_module(out)
            except Exception:  # another version: whatever it wants from its package is not there
                return None
            return out
    return None
