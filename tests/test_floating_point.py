"""Nobody's arithmetic is changed by using this package: denormal numbers of the calling thread stay what they are.

Some libraries switch the processor of the calling thread to "flush to zero" as they load or run, which changes
results elsewhere in a program without a word. The switch is made at most once a process, so each check has its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

HEAD = """
import sys
import numpy as np

def check(what):
    single, double = np.full(9, 1e-42, np.float32), np.full(9, 1e-310)
    if not (single * np.float32(1)).all() or not (double * 1.0).all() or not np.float32(1e-42) * np.float32(1):
        sys.exit(f"{what} has switched denormal numbers off")

check("nothing")
noise = (0.1 * np.random.default_rng(1).standard_normal((4, 9600))).astype(np.float32)
"""

METHODS = """
from unmuffle.enhancers import registry
from unmuffle.enhancers.base import run_offline
from unmuffle.errors import MissingExtraError
for name in registry.names():
    try:
        enhancer = registry.load(name)
        entry = registry.entry(name)
        for channels in (4,) if entry.family == "spatial" else (1, 4) if entry.channels == 1 else (entry.channels,):
            x = noise[:channels, :2000] if entry.extra == "kalman" else noise[:channels]
            run_offline(enhancer, x, 16000)
            check(name)
    except MissingExtraError:
        pass
"""

NETWORK = """
from unmuffle.enhancers.neural.model import shipped
model = shipped("live")
check("the session of a network")
x = np.full((1, 3, *model.facts.frame_shape), 1e-2, np.float32)
model.run(x, model.initial())
check("a network")
"""

DNSMOS = """
from unmuffle.evaluate.dnsmos import dnsmos
dnsmos(np.tile(noise[0], 16), 16000)
check("dnsmos")
"""

TRAINING = """
import torch
from unmuffle.train.loop import _flushed_denormals
with _flushed_denormals():
    assert not float(torch.tensor([1e-42]) * 1.0)
check("training")
"""


def run(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code], env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_method_leaves_denormals_alone():
    run(METHODS)


def test_a_network_leaves_denormals_alone():
    run(NETWORK)


@pytest.mark.skipif(find_spec("speechmos") is None, reason="extra [dnsmos] is not installed")
def test_dnsmos_leaves_denormals_alone():
    run(DNSMOS)


@pytest.mark.skipif(find_spec("torch") is None, reason="extra [train] is not installed")
def test_training_gives_denormals_back():
    run(TRAINING)
