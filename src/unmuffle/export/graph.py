"""A checkpoint to one ONNX file: averaged weights, explicit state, free time axis, facts inside.

What the file must look like is told in :mod:`unmuffle.enhancers.neural.model`. A network may offer
``streaming()``, the same computation arranged for single frames; others are exported as they are. Such a form may take
several streams at once: then its ``streams`` names the axis of each state along which they lie.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..enhancers.neural.bands import FEATURES
from ..enhancers.neural.model import BLANK, FORMAT, PREFIX, Model, digest, load, side_by_side
from ..errors import MissingExtraError, OutputError
from ..train.loop import load_net
from ..train.nets import Net
from ..train.nets.forms import streaming
from ..train.parity import prove
from ..train.recover import from_model

OPSET = 17
_MARK = 61  # a channel count that no other dimension has
_STREAMS = 3  # in the example that the graph is made of


def to_bytes(net: nn.Module, facts: Mapping[str, Any]) -> bytes:
    """A network as the bytes of an ONNX file with metadata.

    Args:
        net: with the attributes of :class:`~unmuffle.train.nets.Net`.
        facts: ``name``, ``licence``, ``data``, ``recipe``, ``scores``; the rest is known.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise MissingExtraError("writing ONNX files", "train") from None
    api = cast(Net, net)
    linked, spec = api.linked, api.spec
    form = streaming(net)
    names = cast(Any, form).state_names()
    state = cast(Any, form).initial(_MARK if linked else 1)
    domain = str(getattr(form, "domain", api.domain))  # a network may be exported without its analysis
    frames = spec.at(api.sample_rate)
    shapes = {
        n: ["channels" if linked and d == _MARK else int(d) for d in s.shape] for n, s in zip(names, state, strict=True)
    }
    streams: dict[str, int] = dict(getattr(form, "streams", {}))  # a form of one stream has none
    state = [
        s.repeat_interleave(_STREAMS, streams[n]) if n in streams else s for n, s in zip(names, state, strict=True)
    ]
    axes: dict[str, dict[int, str]] = {}
    wave = domain == "wave"
    given, answer = {
        "spectrum": ("spectrum", "enhanced"),
        "wave": ("samples", "enhanced"),
        "features": ("features", "gains"),
    }[domain]
    for name in (given, answer):
        axes[name] = {0: "channels", 1: "frames"} if linked else {1: "frames"}
    for name, shape in shapes.items():
        free = {i: "channels" for i, d in enumerate(shape) if d == "channels"}
        if name in streams:
            free[streams[name]] = side_by_side(int(shape[streams[name]]))
        if free:
            axes[name] = axes[f"next_{name}"] = free
    bins, latency = (api.frame, api.latency) if wave else (frames.bins, frames.latency)
    if domain == "features":
        bins = FEATURES
    count = 2 * _STREAMS if streams else 5
    example = torch.randn(_MARK if linked else 1, count, *((2, bins) if domain == "spectrum" else (bins,)))
    out = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter announces its successor, and warns of batch sizes that are fixed on purpose.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            form,
            (example, *state),
            out,
            dynamo=False,
            opset_version=OPSET,
            # A form that computes with parameters leaves that to onnxruntime: the file holds what was trained.
            do_constant_folding=not getattr(form, "keeps_parameters", False),
            input_names=[given, *names],
            output_names=[answer, *(f"next_{n}" for n in names)],
            dynamic_axes=axes,
        )
    graph = onnx.load_from_string(out.getvalue())
    graph.producer_name = "unmuffle"
    values = {
        "format": FORMAT,
        "name": str(facts["name"]),
        "domain": domain,
        "sample_rate": str(api.sample_rate),
        "window_ms": repr(spec.window_ms),
        "hop_ms": repr(spec.hop_ms),
        "window": spec.window,
        "synthesis_ms": repr(spec.synthesis_ms),
        "latency": str(latency),
        "bins": str(bins),
        "channels": "linked" if linked else "single",
        "causal": "yes" if api.causal else "no",
        "state": json.dumps(shapes),
        **({"streams": json.dumps(streams)} if streams else {}),
        "licence": str(facts["licence"]),
        "data": json.dumps(facts["data"]),
        "recipe": json.dumps(facts["recipe"]),
        "scores": json.dumps(facts["scores"]),
        "sha256": BLANK,
    }
    onnx.helper.set_model_props(graph, {PREFIX + k: v for k, v in values.items()})
    onnx.checker.check_model(graph)
    blank = graph.SerializeToString()
    return cast(bytes, blank.replace(BLANK.encode(), digest(blank, BLANK).encode()))


def export(
    source: str | Path,
    target: str | Path,
    *,
    name: str = "",
    licence: str = "unstated",
    data: Any = None,
    scores: Any = None,
) -> Model:
    """Write the averaged network of a checkpoint to an ONNX file.

    The file is loaded, checked and compared with the network (:mod:`.parity`) before it gets its name.

    Args:
        source: a checkpoint.
        target: path of the file.
        name: of the network; that of its architecture by default.
        licence: of the weights.
        data: what it was trained on, anything that JSON can hold.
        scores: what it scored.

    Returns:
        The loaded model.

    Raises:
        ModelError: the checkpoint cannot be used, or the graph does not do what the network does.
        OutputError: the file could not be written.
    """
    net, config, state = load_net(source)
    facts = {
        "name": name or config.net,
        "licence": licence,
        "data": data or {},
        "recipe": {**config.to_dict(), "steps_done": int(state["step"])},
        "scores": scores or {},
    }
    return _written(net, facts, Path(target))


def renew(source: str | Path, target: str | Path) -> Model:
    """Write the network of a file anew, in the form that this version gives it; facts and weights stay.

    Args:
        source: a network file, of which the weights can be recovered (:mod:`unmuffle.train.recover`).
        target: path of the new one; may be the same.

    Raises:
        ModelError: the weights cannot be taken out of it.
        OutputError: the file could not be written.
    """
    model = load(source)
    net, _ = from_model(model, source)
    facts = {k: getattr(model.facts, k) for k in ("name", "licence", "data", "recipe", "scores")}
    return _written(net, facts, Path(target))


def _written(net: nn.Module, facts: Mapping[str, Any], place: Path) -> Model:
    """The proven file of a network."""
    content = to_bytes(net, facts)
    model = Model(content, os.fspath(place))
    prove(net, model)
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(place)
    except OSError as error:
        raise OutputError(f"{place}: could not be written ({error.strerror}); what was there is intact") from None
    finally:
        temporary.unlink(missing_ok=True)
    return model
