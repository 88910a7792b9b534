"""Shared fixtures: where the real recordings are, and signals made from a seed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

# A program that a script starts in the background ignores Ctrl-C, and hands that on: the programs that these tests
# interrupt would never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, and no limit of time: what passes here passes on a busy machine as well. To search for
# more: pytest --hypothesis-profile=default
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("steady")


def _find_data() -> Path | None:
    """The folder of real recordings, if this machine has it."""
    for folder in (os.environ.get("UNMUFFLE_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "manifest.csv").is_file():
            return Path(folder)
    return None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = _find_data()
    if folder is None:
        pytest.skip("real recordings are not on this machine (set UNMUFFLE_DATA)")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
