r"""The weights of a network file, back in the network that can go on learning.

A shipped or exported ONNX file holds the averaged weights and the recipe, so a checkpoint is not needed to adapt it.
Initialisers that kept the name of their parameter are taken by it; recurrent layers, whose matrices ONNX packs in
another order of gates, in the order in which they occur; dense layers that became a product and a sum by their
bias; what is then left by its shape, where only one has it. Eight-bit weights are multiplied out.

Guessing is fine here, as the result is proven: the network must do what the file does, within the tolerance of an
export (:mod:`unmuffle.train.parity`). A batch norm that was folded into its convolution cannot be taken apart
again: of such networks (``r-ced``, ``unet``, ``dccrn``) the checkpoint is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..enhancers.neural.model import Model, load
from ..errors import MissingExtraError, ModelError, UnmuffleError
from . import checkpoint, nets
from .config import TrainConfig, from_dict
from .parity import prove

# ONNX packs the gates of an LSTM as input, output, forget, cell; torch as input, forget, cell, output.
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}

START = "start.pt"
"""Name of the checkpoint that is made of a network file."""

Weights = dict[str, NDArray[np.float32]]


def from_model(model: Model, path: str | Path) -> tuple[nn.Module, TrainConfig]:
    """The network of a file, and its name and sizes as a recipe.

    Args:
        model: loaded, which has checked it.
        path: of the file's bytes.

    Raises:
        ModelError: the file does not say how it was made, or its weights cannot be taken out of its graph.
    """
    recipe = model.facts.recipe
    if not isinstance(recipe, dict) or "net" not in recipe:
        raise ModelError(f"{path}: its metadata hold no recipe; give the checkpoint instead")
    try:
        config = from_dict({k: recipe[k] for k in ("net", "sizes") if k in recipe})
        net = nets.make(config.net, config.sizes)
    except UnmuffleError as error:
        raise ModelError(f"{path}: its network is not one of this version ({error}); give the checkpoint") from None
    found = match(net, _initialisers(path), list(_graph(path).node))
    for key, value in net.state_dict().items():
        # A bias that was added to its neighbour once and for all: with the sum in the neighbour's place, zero is right.
        if key not in found and key.endswith(".bias"):
            found[key] = np.zeros(tuple(value.shape), np.float32)
    missing = sorted(set(net.state_dict()) - set(found))
    if missing:
        raise ModelError(
            f"{path}: the weights {missing[0]!r} (and {len(missing) - 1} more) cannot be taken out of the graph; "
            "give the checkpoint instead"
        )
    net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in found.items()})
    try:
        prove(net.eval(), model)
    except ModelError as error:
        raise ModelError(f"{path}: its weights could not be recovered ({error}); give the checkpoint") from None
    return net, config


def begin(source: str | Path | Model, folder: str | Path) -> tuple[Path, TrainConfig]:
    """A checkpoint to start from, and the recipe it was trained with.

    Args:
        source: a checkpoint, a network file, or a loaded network.
        folder: of the run; what is taken out of a network file is written there.

    Raises:
        ModelError: the file is neither, or its weights cannot be taken out of it.
    """
    if not isinstance(source, Model):
        path = Path(source)
        if path.suffix != ".onnx":
            return path, from_dict(checkpoint.load(path)["recipe"])
        source = load(path)
    net, config = from_model(source, source.path)
    Path(folder).mkdir(parents=True, exist_ok=True)
    weights = net.state_dict()
    start = Path(folder) / START
    state = {"recipe": config.to_dict(), "net": weights, "averages": weights, "step": 0, "data": source.facts.data}
    checkpoint.save(start, state)
    return start, config


def match(net: nn.Module, weights: Weights, nodes: list[Any]) -> Weights:
    """State of the network, as far as it can be found among the initialisers of a graph."""
    state = net.state_dict()
    found: Weights = {}
    taken: set[str] = set()

    def take(key: str, value: NDArray[np.float32], *names: str) -> bool:
        if key in found or key not in state or value.shape != tuple(state[key].shape):
            return False
        found[key] = value
        taken.update(names)
        return True

    for name, value in weights.items():
        take(_resolved(name, state), value, name)
    _recurrent(net, weights, nodes, take)
    makers = {out: node for node in nodes for out in node.output}
    for node in nodes:
        # X W^T + b as MatMul and Add: the bias kept its name, the matrix was turned and lost its own.
        if node.op_type != "Add":
            continue
        for bias, other in ((node.input[0], node.input[1]), (node.input[1], node.input[0])):
            maker = makers.get(other)
            if maker is not None and maker.op_type == "MatMul" and maker.input[1] in weights:
                key = _resolved(bias, state).removesuffix(".bias") + ".weight"
                take(key, weights[maker.input[1]].T, maker.input[1])
    for key in state:
        if key in found:
            continue
        fitting = [n for n, w in weights.items() if n not in taken and w.shape == tuple(state[key].shape)]
        alike = [k for k in state if k not in found and state[k].shape == state[key].shape]
        if len(fitting) == 1 and len(alike) == 1:
            take(key, weights[fitting[0]], fitting[0])
    return found


def _resolved(name: str, state: Weights) -> str:
    """The parameter that an initialiser is named after: the exported form may be a part of the network, or hold it."""
    if name in state:
        return name
    near = [key for key in state if name.endswith(f".{key}") or key.endswith(f".{name}")]
    return near[0] if len(near) == 1 else ""


def _recurrent(net: nn.Module, weights: Weights, nodes: list[Any], take: Any) -> None:
    """LSTMs and GRUs of the graph, in order, each for the first layer of the network that it fits."""
    layers = {"LSTM": nn.LSTM, "GRU": nn.GRU}
    for kind, order in _GATES.items():
        slots = [
            (f"{name}.", f"_l{layer}", module)
            for name, module in net.named_modules()
            if isinstance(module, layers[kind])
            for layer in range(module.num_layers)
        ]
        state = net.state_dict()
        for node in (node for node in nodes if node.op_type == kind):
            packed = [weights.get(name) for name in node.input[1:4]]
            if any(p is None for p in packed):
                continue
            shapes = [p.shape[1:] for p in packed[:2]]  # type: ignore[union-attr]
            fitting = (
                i
                for i, (prefix, suffix, _) in enumerate(slots)
                if [tuple(state[f"{prefix}weight_{w}{suffix}"].shape) for w in ("ih", "hh")] == shapes
            )
            place = next(fitting, None)
            if place is None:
                continue
            prefix, suffix, module = slots.pop(place)
            for way, mark in enumerate(("", "_reverse") if module.bidirectional else ("",)):
                given, carried, biases = (_gates(p[way], order, kind) for p in packed)  # type: ignore[index]
                half = biases.shape[0] // 2
                for key, value, name in (
                    ("weight_ih", given, node.input[1]),
                    ("weight_hh", carried, node.input[2]),
                    ("bias_ih", biases[:half], node.input[3]),
                    ("bias_hh", biases[half:], node.input[3]),
                ):
                    take(f"{prefix}{key}{suffix}{mark}", value, name)


def _gates(rows: NDArray[np.float32], order: tuple[int, ...], kind: str) -> NDArray[np.float32]:
    """Rows of all gates (of biases: twice, input and recurrent) in torch's order."""
    sets = 2 if rows.ndim == 1 else 1
    parts = np.split(rows, sets * len(order))
    count = len(order)
    return np.concatenate([parts[s * count + i] for s in range(sets) for i in order])


def _graph(path: str | Path) -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingExtraError("reading the weights of ONNX files", "train") from None
    return onnx.load(str(path)).graph


def _initialisers(path: str | Path) -> Weights:
    """Float tensors of a graph by name, eight-bit ones multiplied out."""
    import onnx

    graph = _graph(path)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "DequantizeLinear" and all(n in tensors for n in node.input[:2]):
            whole, scale = (tensors[n].astype(np.float32) for n in node.input[:2])
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape = [-1 if i == axis % max(whole.ndim, 1) else 1 for i in range(whole.ndim)]
            tensors[node.output[0]] = whole * (scale.reshape(shape) if scale.size > 1 else scale)
        elif node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    return {name: t for name, t in tensors.items() if t.dtype == np.float32}
