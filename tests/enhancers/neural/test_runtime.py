"""Nothing about a recording or its listener leaves the machine, nor is anything noted for it to leave later."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import unmuffle

CODE = """
import numpy as np, unmuffle
stream = unmuffle.load("live").stream(16000)
stream.process(np.zeros((1, 1600), np.float32))
"""


def written(home: Path, **changed: str) -> list[Path]:
    """Files in the home folder after a network has run. (Runners of tests set CI, which alone keeps it silent.)"""
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    env = {**kept, "HOME": str(home), "USERPROFILE": str(home), **changed}
    subprocess.run([sys.executable, "-c", CODE], env=env, check=True, timeout=600)
    return [p for p in home.rglob("*") if p.is_file()]


def test_a_network_leaves_no_trace_in_the_users_folders(tmp_path):
    assert written(tmp_path) == []


def test_the_user_may_want_it_otherwise(tmp_path):
    code = "from unmuffle.enhancers.neural.runtime import onnx_runtime; onnx_runtime(); import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    env = {**os.environ, "HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=600, capture_output=True, text=True)
    assert done.stdout.strip() == "0"


@pytest.mark.parametrize("path", sorted(Path(unmuffle.__file__).parent.rglob("*.py")), ids=lambda p: p.name)
def test_it_is_imported_in_one_place(path):
    if path.name != "runtime.py":
        assert not re.search(r"^\s*(import|from) onnxruntime", path.read_text(encoding="utf-8"), re.M)
