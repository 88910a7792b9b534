"""Two graphs in one file: one for a single frame, and one for any number of them.

Much of what a frame costs is bookkeeping: axes of a length that is not known until it is there, and operators
made for many frames. A network may bring a second graph for a frame of one channel (``alone()`` of its form), which
does the same with less. Both are put behind an ``If`` on the size of the input, with their weights outside of it, once.
A session of which it is fixed that frames come alone (:meth:`unmuffle.enhancers.neural.model.Model.lane`) drops the
``If`` at loading.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BRANCHES = ("then_branch", "else_branch")


def fork(one: Any, many: Any, given: str, size: int) -> Any:
    """A model that runs ``one`` if its input ``given`` has ``size`` numbers, and else ``many``.

    Args:
        one, many: ``ModelProto`` with inputs and outputs of the same names; initialisers of one name are the same.
    """
    import onnx

    helper = onnx.helper
    out = onnx.ModelProto()
    out.CopyFrom(many)
    kept = {t.name: t for t in many.graph.initializer}
    out.graph.ClearField("node")
    branches = []
    for mark, graph in (("alone", one.graph), ("frames", many.graph)):
        for tensor in graph.initializer:
            if tensor.name not in kept:
                out.graph.initializer.append(tensor)
                kept[tensor.name] = tensor
        outer = set(kept) | {i.name for i in graph.input}
        part = onnx.GraphProto(name=mark)
        for place, node in enumerate(graph.node):
            made = part.node.add()
            made.CopyFrom(node)
            made.name = f"{mark}/{node.name or place}"
            for names in (made.input, made.output):
                names[:] = [n if not n or n in outer else f"{mark}/{n}" for n in names]
        for value in graph.output:
            part.output.add().CopyFrom(value)
            part.output[-1].name = f"{mark}/{value.name}"
        branches.append(part)
    counted = [
        # By its shape, not `Size`: where lengths are fixed, onnxruntime then knows at loading which branch it will be.
        helper.make_node("Shape", [given], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["size"], keepdims=0),
        helper.make_node("Equal", ["size", "size_alone"], ["is_alone"]),
        helper.make_node(
            "If", ["is_alone"], [o.name for o in many.graph.output], **dict(zip(BRANCHES, branches, strict=True))
        ),
    ]
    out.graph.node.extend(counted)
    out.graph.initializer.append(helper.make_tensor("size_alone", onnx.TensorProto.INT64, [], [size]))
    return out


def walk(graph: Any) -> Iterator[Any]:
    """All nodes of a graph, those of its branches among them, in order."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.name in BRANCHES:
                yield from walk(attribute.g)


def alone(graph: Any) -> bool:
    """Take the branch of a single frame for the whole, in place; was there one?"""
    split = next((n for n in graph.node if n.op_type == "If"), None)
    if split is None:
        return False
    branch = next(a.g for a in split.attribute if a.name == BRANCHES[0])
    nodes = list(branch.node)
    ends = {b.name: o for b, o in zip(branch.output, split.output, strict=True)}
    graph.ClearField("node")
    for node in nodes:
        graph.node.add().CopyFrom(node)
        for names in (graph.node[-1].input, graph.node[-1].output):
            names[:] = [ends.get(n, n) for n in names]
    return True
