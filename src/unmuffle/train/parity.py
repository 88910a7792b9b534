"""Proof that an exported graph does what the trained network does, in any split of the signal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..enhancers.neural.model import Model
from ..errors import ModelError
from .nets import Net
from .nets.forms import streaming

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest bin of the output."""


@dataclass(frozen=True)
class Parity:
    """What was found.

    Attributes:
        torch: largest difference between PyTorch and the graph, relative to the output's peak.
        streamed: largest difference between all frames at once and one by one, likewise; and, of a graph that takes
            several streams, between one of them alone and among others.
        frame_ms: median time of one frame, one thread.
        frame_ms_p99: its 99th percentile.
        size_bytes: of the parameters as float32.
    """

    torch: float
    streamed: float
    frame_ms: float
    frame_ms_p99: float
    size_bytes: int

    def __str__(self) -> str:
        return (
            f"PyTorch against ONNX {self.torch:.1e}, whole against streamed {self.streamed:.1e} (limit {TOLERANCE:g}); "
            f"one frame {self.frame_ms:.3f} ms, p99 {self.frame_ms_p99:.3f} ms; {self.size_bytes / 1e6:.2f} MB"
        )


def measure(net: nn.Module, model: Model, *, frames: int = 300, seed: int = 0) -> Parity:
    """Run network and graph on the same random frames whose level swings by 60 dB."""
    rng = np.random.default_rng(seed)
    facts = model.facts
    channels = 2 if facts.channels == "linked" else 1
    x = rng.standard_normal((channels, frames, *facts.frame_shape)).astype(np.float32)
    swing = 10.0 ** (-1.5 + 1.5 * np.sin(np.arange(frames) / 23.0))
    x *= swing.astype(np.float32).reshape(-1, *([1] * len(facts.frame_shape)))
    if facts.domain == "spectrum":
        x *= (1.0 / (1.0 + np.arange(facts.bins) / 20.0)).astype(np.float32)
    api = cast(Net, net)
    net.eval()
    with torch.no_grad():
        given = torch.from_numpy(x)
        given = (given.transpose(2, 3) if facts.domain == "spectrum" else given).unsqueeze(0)
        if facts.domain == "features":
            form = cast(Net, streaming(net))
            out = form(given[0], *form.initial())[0]
        else:
            out = api(given, *api.initial(1, channels))[0][0]
        reference = (out.transpose(2, 3) if facts.domain == "spectrum" else out).numpy()
    whole, _ = model.run(x, model.initial(channels))
    state = model.initial(channels)
    parts = []
    for i in range(frames if model.facts.causal else 0):
        part, state = model.run(x[:, i : i + 1], state)
        parts.append(part)
    streamed = np.concatenate(parts, axis=1) if parts else whole  # one that looks ahead is never streamed
    among = _among(model, x) if facts.streams else 0.0
    one = np.ascontiguousarray(x[:1, :1])
    held = model.initial(1)
    times = []
    for _ in range(1000):
        start = time.perf_counter()
        _, held = model.run(one, held)
        times.append(time.perf_counter() - start)
    peak = float(np.max(np.abs(reference))) + 1e-12
    return Parity(
        float(np.max(np.abs(whole - reference))) / peak,
        max(float(np.max(np.abs(streamed - whole))), among) / peak,
        1e3 * float(np.median(times)),
        1e3 * float(np.percentile(times, 99)),
        4 * sum(p.numel() for p in net.parameters()),
    )


def _among(model: Model, x: NDArray[np.float32]) -> float:
    """Largest difference between three streams side by side and each alone: pieces of the first channel of ``x``.

    Each pauses now and then, and the others close up: a state whose numbers are not where they belong is consistent
    with itself as long as the same streams come in the same order.
    """
    count = x.shape[1] // 3
    signals = [x[:1, i * count : (i + 1) * count] for i in range(3)]
    rows = [list(model.row(model.initial(1))) for _ in signals]
    at, turn, worst = [0] * 3, 0, 0.0
    alone = [model.run(each, model.initial(1))[0] for each in signals]
    while min(at) < count:
        here = [i for i in range(3) if at[i] < count and (turn % 4 == 3 or turn % 4 != i)]
        turn += 1
        frames = np.concatenate([signals[i][:, at[i] : at[i] + 1] for i in here], axis=1)
        got, after = model.run_streams(frames, [np.stack(each) for each in zip(*(rows[i] for i in here), strict=True)])
        for place, i in enumerate(here):
            rows[i] = [each[place] for each in after]
            worst = max(worst, float(np.max(np.abs(got[:, place] - alone[i][:, at[i]]))))
            at[i] += 1
    return worst


def prove(net: nn.Module, model: Model) -> Parity:
    """:func:`measure`, and an error if a difference is above :data:`TOLERANCE`.

    Raises:
        ModelError: the graph is not the network.
    """
    found = measure(net, model)
    if not (found.torch <= TOLERANCE and found.streamed <= TOLERANCE):
        raise ModelError(f"{model.path}: the graph differs from the network: {found}")
    return found
