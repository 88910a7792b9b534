"""What a network file costs to run: multiplications in matrix products and convolutions, counted in the graph.

A multiply-accumulate (MAC) is one product and one sum. Counted are convolutions, matrix products and recurrent
layers, with the shapes that they have when frames really run through; element-wise operations are not, as in the
figures of papers. MACs mislead about time: small operators cost more than their arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..enhancers.neural.model import Model
from ..enhancers.neural.runtime import onnx_runtime
from ..errors import MissingExtraError

_FRAMES = 50


def macs_per_second(model: Model, content: bytes, frames: int = _FRAMES) -> float:
    """Multiply-accumulates for a second of one channel.

    Args:
        model: loaded, which has checked it.
        content: bytes of the same file.
        frames: that are run through at once.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingExtraError("counting the operations of ONNX files", "train") from None
    onnxruntime = onnx_runtime()
    graph = onnx.load_from_string(content)
    known = {o.name for o in graph.graph.output}
    nodes = list(graph.graph.node)
    for node in nodes:
        graph.graph.output.extend(onnx.ValueInfoProto(name=o) for o in node.output if o and o not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # As written: fused operators would have other names, and no outputs between them.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    facts = model.facts
    x = np.full((1, frames, *facts.frame_shape), 1e-2, np.float32)
    names = [o.name for o in session.get_outputs()]
    values = dict(zip(names, session.run(names, {facts.input: x, **model.initial(1)}), strict=True))
    shapes = {name: np.shape(value) for name, value in values.items()}
    shapes |= {t.name: tuple(t.dims) for t in graph.graph.initializer}
    shapes |= {name: value.shape for name, value in {facts.input: x, **model.initial(1)}.items()}
    total = sum(_macs(node, shapes) for node in nodes)
    hop = facts.bins if facts.domain == "wave" else facts.frames().hop
    return float(total) / (frames * hop / facts.sample_rate)


def _macs(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    """Of one node."""

    def size(name: str) -> int:
        return int(np.prod(shapes[name], dtype=np.int64))

    if node.op_type == "Conv":
        return size(node.output[0]) * size(node.input[1]) // shapes[node.input[1]][0]
    if node.op_type == "ConvTranspose":
        return size(node.input[0]) * size(node.input[1]) // shapes[node.input[1]][0]
    if node.op_type in ("MatMul", "Gemm"):
        turned = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
        return size(node.output[0]) * shapes[node.input[0]][-2 if turned else -1]
    if node.op_type in ("LSTM", "GRU", "RNN"):
        steps, batch = shapes[node.input[0]][:2]
        return steps * batch * (size(node.input[1]) + size(node.input[2]))
    return 0
