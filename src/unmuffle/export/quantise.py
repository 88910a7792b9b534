r"""Eight-bit weights: a network file of a quarter the size, accepted only if it sounds the same.

Each row (output) of a weight matrix gets a scale :math:`s = \max |w| / 127` and is stored as
:math:`q = \mathrm{round}(w / s)`; the graph multiplies it out again when it is loaded. Activations and
states stay float32. That is on purpose: quantising *activations* with scales taken from each call
makes the result depend on how a signal is cut into calls, and rounding the states of a recurrence
adds an error in each frame that the next one builds upon, which ruins such networks. So this saves
room on disk and in transit, not time.

Two recipes are tried, the bolder one first:

``all``
    every matrix, those of recurrent layers included;
``dense``
    matrices of dense and convolutional layers only; recurrences stay float32.

The first whose loss is below :data:`PESQ_LOSS` and :data:`STOI_LOSS` on the given pairs is taken.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..enhancers.base import StepKernel
from ..enhancers.neural.model import BLANK, PREFIX, Model, digest, load
from ..enhancers.neural.network import NetworkKernel, WaveKernel
from ..enhancers.neural.tiny import TinyKernel
from ..errors import MissingExtraError, ModelError, OutputError, ParameterError

PESQ_LOSS, STOI_LOSS = 0.02, 0.002
RECIPES = ("all", "dense")
_SMALLEST = 512
"""Matrices of fewer weights are not worth it."""

_MOVES = ("Concat", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that only move weights, at loading."""

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Attempt:
    """What a recipe cost.

    Attributes:
        recipe: one of :data:`RECIPES`.
        size_bytes: of the file.
        pesq_loss, stoi_loss: mean over the pairs, float less int8.
        content: the file.
    """

    recipe: str
    size_bytes: int
    pesq_loss: float
    stoi_loss: float
    content: bytes

    @property
    def good(self) -> bool:
        """Is nothing lost that one could hear?"""
        return self.pesq_loss < PESQ_LOSS and self.stoi_loss < STOI_LOSS

    def __str__(self) -> str:
        return (
            f"{self.recipe}: {self.size_bytes / 1e3:.0f} kB, PESQ {-self.pesq_loss:+.3f}, STOI {-self.stoi_loss:+.4f}"
        )


def to_int8(content: bytes, recipe: str = "all") -> bytes:
    """The bytes of a network file with eight-bit weights.

    Raises:
        ParameterError: no such recipe.
    """
    if recipe not in RECIPES:
        raise ParameterError(f"recipe = {recipe!r}; choose one of {', '.join(RECIPES)}")
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingExtraError("writing ONNX files", "train") from None
    graph = onnx.load_from_string(content)
    body = graph.graph
    users: dict[str, list[tuple[Any, int]]] = {}
    for node in body.node:
        for place, name in enumerate(node.input):
            users.setdefault(name, []).append((node, place))
    added = []
    for tensor in list(body.initializer):
        axis = _axis(tensor, list(_ends(tensor.name, users)), recipe)
        if axis is None:
            continue
        weights = onnx.numpy_helper.to_array(tensor)
        others = tuple(i for i in range(weights.ndim) if i != axis)
        scale = np.maximum(np.max(np.abs(weights), axis=others), 1e-12).astype(np.float32) / np.float32(127)
        shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
        whole = np.clip(np.round(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
        name = tensor.name
        body.initializer.remove(tensor)
        body.initializer.append(onnx.numpy_helper.from_array(whole, f"{name}.int8"))
        body.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}.scale"))
        node = onnx.helper.make_node(
            "DequantizeLinear", [f"{name}.int8", f"{name}.scale"], [name], name=f"{name}.weights", axis=axis
        )
        added.append(node)
    for node in reversed(added):
        body.node.insert(0, node)
    table = {p.key: p.value for p in graph.metadata_props}
    table[PREFIX + "sha256"] = BLANK
    onnx.helper.set_model_props(graph, table)
    onnx.checker.check_model(graph)
    blank = cast(bytes, graph.SerializeToString())
    return blank.replace(BLANK.encode(), digest(blank, BLANK).encode())


def _ends(name: str, users: dict[str, list[tuple[Any, int]]], moved: bool = False) -> Iterator[tuple[Any, int, bool]]:
    """Operators that compute with a tensor, at which place, and whether it was turned or packed before."""
    for node, place in users.get(name, []):
        if node.op_type in _MOVES:
            yield from _ends(node.output[0], users, True)
        else:
            yield node, place, moved


def _axis(tensor: Any, users: Sequence[tuple[Any, int, bool]], recipe: str) -> int | None:
    """Along which axis a matrix has a scale for each row; ``None`` if it stays as it is."""
    size = int(np.prod(tensor.dims)) if tensor.dims else 0
    if tensor.data_type != 1 or size < _SMALLEST or not users:  # 1: float32
        return None
    if any(moved for *_, moved in users):  # a parameter as it was trained: (outputs, inputs, ...)
        kinds = {node.op_type for node, *_ in users}
        dense, recurrent = kinds & {"Gemm", "MatMul", "Conv"}, kinds & {"LSTM", "GRU", "RNN"}
        return 0 if len(tensor.dims) in (2, 3) and (recipe == "all" if recurrent else dense) else None
    axes = set()
    for node, place, _ in users:
        if node.op_type in ("LSTM", "GRU", "RNN") and place in (1, 2) and recipe == "all":
            axes.add(1)
        elif node.op_type == "Gemm" and place == 1:
            axes.add(0 if any(a.name == "transB" and a.i for a in node.attribute) else 1)
        elif node.op_type == "MatMul" and place == 1 and len(tensor.dims) == 2:
            axes.add(1)
        elif node.op_type == "MatMul" and place == 1 and len(tensor.dims) == 3:
            axes.add(0)  # a matrix for each of several features: each has a scale
        elif node.op_type == "Conv" and place == 1:
            axes.add(0)
        else:
            return None
    return axes.pop() if len(axes) == 1 else None


def quantise(
    source: str | Path, target: str | Path, pairs: Sequence[tuple[Signal, Signal]], sample_rate: int = 16_000
) -> Attempt:
    """Write an eight-bit version of a network file, if nothing is lost.

    Args:
        source: a network file.
        target: path of the new one.
        pairs: (noisy, clean) recordings to measure on, mono.
        sample_rate: of the recordings, 8000 or 16000 Hz.

    Returns:
        The recipe that was taken and what it cost.

    Raises:
        ModelError: every recipe loses too much; the message says how much each.
        OutputError: the file could not be written.
        ParameterError: no pairs.
    """
    if not pairs:
        raise ParameterError("no pairs of noisy and clean recordings to measure on")
    model = load(source)
    before = _scores(model, pairs, sample_rate)
    content = Path(source).read_bytes()
    tried = []
    for recipe in RECIPES:
        smaller = to_int8(content, recipe)
        after = _scores(Model(smaller, os.fspath(target)), pairs, sample_rate)
        loss = before - after
        tried.append(Attempt(recipe, len(smaller), float(loss[0]), float(loss[1]), smaller))
        if tried[-1].good:
            _write(Path(target), smaller)
            return tried[-1]
    raise ModelError(
        f"{os.fspath(source)} loses too much with eight-bit weights (allowed: PESQ {PESQ_LOSS}, STOI {STOI_LOSS}): "
        + "; ".join(str(t) for t in tried)
    )


def _write(place: Path, content: bytes) -> None:
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(place)
    except OSError as error:
        raise OutputError(f"{place}: could not be written ({error.strerror}); what was there is intact") from None
    finally:
        temporary.unlink(missing_ok=True)


def _scores(model: Model, pairs: Sequence[tuple[Signal, Signal]], rate: int) -> NDArray[np.float64]:
    """Mean PESQ and STOI."""
    from ..evaluate.pesq import pesq_nb, pesq_wb
    from ..evaluate.stoi import stoi

    pesq = pesq_wb if rate == 16_000 else pesq_nb
    rows = []
    for noisy, clean in pairs:
        y = _enhanced(model, np.asarray(noisy, np.float32), rate)
        rows.append((float(pesq(clean, y, rate)), float(stoi(clean, y, rate))))
    return np.asarray(np.mean(rows, axis=0))


def _enhanced(model: Model, x: Signal, rate: int) -> Signal:
    facts = model.facts
    kernel: StepKernel
    if facts.domain == "features":
        kernel = TinyKernel(model, rate, 1)
    elif facts.domain == "wave":
        if rate != facts.sample_rate:
            raise ParameterError(f"the pairs have {rate} Hz, this network of waveforms {facts.sample_rate} Hz")
        kernel = WaveKernel(model, 1)
    else:
        kernel = NetworkKernel(model, facts.spec.at(rate), 1)
    parts = np.concatenate((kernel.push(x[np.newaxis]), kernel.finish()), axis=1)
    return parts[0, kernel.latency_samples :]
