"""A network file: an ONNX graph with explicit state, and the facts that travel inside it.

The graph
    takes ``spectrum`` (channels, frames, 2, bins), real and imaginary rows, and state tensors; a network
    of waveforms (``domain = "wave"``) takes ``samples`` (channels, frames, bins) instead, ``bins`` of them
    a frame. It returns ``enhanced`` of the same shape and ``next_<name>`` for each state. The number of frames
    is free, so that one frame and an hour are the same call. With ``channels = "linked"`` the
    number of channels is free too: they share one set of gains. With ``"single"`` it is one.
    A network of band gains (``domain = "features"``) takes ``features`` (1, frames, bins), those of
    :mod:`.bands`, and returns ``gains`` (1, frames, 65), its states like the others.
    A graph may take several streams at once: then the frames are those of each moment, one of every stream, and the
    states of ``n`` streams lie side by side along one axis each, ``n`` times as long as that of one. In the graph that
    axis has the name ``streams``, or ``streams*r`` if one stream takes ``r`` places of it, up to 64.

The metadata (``metadata_props`` of the file, all of them text)
    ========================  ================================================================
    ``unmuffle.format``       version of this table, "1"
    ``unmuffle.name``         of the network
    ``unmuffle.domain``       "spectrum", "wave" or "features"
    ``unmuffle.sample_rate``  Hz, at which it was trained; its bins reach half of that
    ``unmuffle.window_ms``    STFT window, ``unmuffle.hop_ms`` hop, ``unmuffle.window`` shape,
                              ``unmuffle.synthesis_ms`` of an asymmetric one, else 0
    ``unmuffle.latency``      samples at that rate by which the output lags (without the hop)
    ``unmuffle.bins``         number of bins, of samples in a frame, or of features
    ``unmuffle.channels``     "linked" or "single"
    ``unmuffle.causal``       "yes", or "no": it must be given the whole signal in one call
    ``unmuffle.state``        JSON: name -> shape; "channels" stands for the number of channels
    ``unmuffle.streams``      JSON: name of each state -> axis of the streams; not there: one stream at a time
    ``unmuffle.licence``      of the weights
    ``unmuffle.data``         JSON: what it was trained on
    ``unmuffle.recipe``       JSON: how
    ``unmuffle.scores``       JSON: what it scored, and on what
    ``unmuffle.sha256``       of the file, with these 64 digits replaced by zeros
    ========================  ================================================================

A file in which any of it is missing (but for ``streams``), unreadable or at odds with the graph is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, ParameterError, SampleRateError
from ...signal.stft import Frames, StftSpec
from . import bands
from .runtime import onnx_runtime

PREFIX = "unmuffle."
FORMAT = "1"
DOMAINS = ("spectrum", "wave", "features")
CHANNEL_MODES = ("linked", "single")
FIELDS = (
    "format",
    "name",
    "domain",
    "sample_rate",
    "window_ms",
    "hop_ms",
    "window",
    "synthesis_ms",
    "latency",
    "bins",
    "channels",
    "causal",
    "state",
    "licence",
    "data",
    "recipe",
    "scores",
    "sha256",
)
BLANK = "0" * 64

MOST_PLACES = 64
"""Places that a stream may take of the axis along which the states of several lie."""

State = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Facts:
    """What a network file says of itself; see the module's table."""

    name: str
    domain: str
    sample_rate: int
    spec: StftSpec
    latency: int
    bins: int
    channels: str
    causal: bool
    state: tuple[tuple[str, tuple[int | str, ...]], ...]
    streams: tuple[tuple[str, int], ...]
    licence: str
    data: Any
    recipe: Any
    scores: Any
    sha256: str

    def frames(self) -> Frames:
        """The STFT frames at the rate of training."""
        return self.spec.at(self.sample_rate)

    @property
    def input(self) -> str:
        """Name of the graph's input."""
        return {"spectrum": "spectrum", "wave": "samples", "features": "features"}[self.domain]

    @property
    def output(self) -> str:
        """Name of the graph's first output."""
        return "gains" if self.domain == "features" else "enhanced"

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame of one channel."""
        return (2, self.bins) if self.domain == "spectrum" else (self.bins,)


def side_by_side(places: int) -> str:
    """Name of an axis of which each stream takes so many places."""
    return "streams" if places == 1 else f"streams*{places}"


def digest(content: bytes, stated: str) -> str:
    """sha256 of a file's bytes with its own digest blanked out."""
    return hashlib.sha256(content.replace(stated.encode(), BLANK.encode())).hexdigest()


def parse(table: dict[str, str], where: str) -> Facts:
    """Facts from the metadata of a file.

    Raises:
        ModelError: a field is missing or has no meaning; the message names field and file.
    """
    values = {k[len(PREFIX) :]: v for k, v in table.items() if k.startswith(PREFIX)}
    if not values:
        raise ModelError(
            f"{where}: an ONNX file, but not one of ours (no {PREFIX}* metadata); make one with `unmuffle export`"
        )
    for field in FIELDS:
        if field not in values:
            raise ModelError(f"{where}: metadata {PREFIX}{field} is missing; export the network again")

    def bad(field: str, why: str) -> ModelError:
        return ModelError(f"{where}: metadata {PREFIX}{field} = {values[field][:80]!r} {why}")

    if values["format"] != FORMAT:
        raise bad("format", f"is not {FORMAT}; this version of unmuffle cannot read it")
    for field in ("name", "licence"):
        if not values[field].strip():
            raise bad(field, "is empty")
    numbers: dict[str, float] = {}
    for field in ("sample_rate", "window_ms", "hop_ms", "synthesis_ms", "latency", "bins"):
        try:
            numbers[field] = float(values[field])
        except ValueError:
            raise bad(field, "is not a number") from None
        if not math.isfinite(numbers[field]):
            raise bad(field, "is not finite")
    for field in ("sample_rate", "latency", "bins"):
        if not numbers[field].is_integer():
            raise bad(field, "is not a whole number")
    try:
        spec = StftSpec(numbers["window_ms"], numbers["hop_ms"], values["window"], numbers["synthesis_ms"])
        frames = spec.at(int(numbers["sample_rate"]))
    except (ParameterError, SampleRateError) as error:
        raise ModelError(f"{where}: its STFT has no meaning: {error}") from None
    if values["domain"] not in DOMAINS:
        raise bad("domain", f"is not one of {', '.join(DOMAINS)}")
    if values["domain"] == "spectrum":
        if frames.latency != numbers["latency"]:
            raise bad("latency", f"is not that of its STFT, {frames.latency} samples")
        if frames.bins != numbers["bins"]:
            raise bad("bins", f"is not that of its STFT, {frames.bins}")
    elif values["domain"] == "features":
        if (spec, int(numbers["sample_rate"]), frames.latency) != (bands.SPEC, bands.RATE, numbers["latency"]):
            raise ModelError(f"{where}: its frames or its latency are not those that the features are made of")
        if numbers["bins"] != bands.FEATURES or values["channels"] != "single":
            raise bad("bins", f"in {values['channels']} channels; this version makes {bands.FEATURES}, of one sound")
    elif not (0 <= numbers["latency"] <= 1 << 20 and 1 <= numbers["bins"] <= 1 << 16):
        raise ModelError(f"{where}: {values['bins']} samples a frame, {values['latency']} late, have no meaning")
    if values["channels"] not in CHANNEL_MODES:
        raise bad("channels", f"is not one of {', '.join(CHANNEL_MODES)}")
    if values["causal"] not in ("yes", "no"):
        raise bad("causal", "is neither yes nor no")
    parsed: dict[str, Any] = {}
    values.setdefault("streams", "{}")
    for field in ("state", "streams", "data", "recipe", "scores"):
        try:
            parsed[field] = json.loads(values[field])
        except json.JSONDecodeError:
            raise bad(field, "is not JSON") from None
    if not isinstance(parsed["state"], dict) or not all(_is_shape(s) for s in parsed["state"].values()):
        raise bad("state", 'is not a table of shapes (whole numbers from 1, or "channels")')
    if parsed["streams"] and not _are_axes(parsed["streams"], parsed["state"]):
        raise bad("streams", "does not name an axis of each state")
    if not re.fullmatch(r"[0-9a-f]{64}", values["sha256"]):
        raise bad("sha256", "is not a digest")
    return Facts(
        values["name"],
        values["domain"],
        int(numbers["sample_rate"]),
        spec,
        int(numbers["latency"]),
        int(numbers["bins"]),
        values["channels"],
        values["causal"] == "yes",
        tuple((k, tuple(v)) for k, v in parsed["state"].items()),
        tuple((k, parsed["streams"][k]) for k in parsed["state"]) if parsed["streams"] else (),
        values["licence"],
        parsed["data"],
        parsed["recipe"],
        parsed["scores"],
        values["sha256"],
    )


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(
        n == "channels" or (isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 1 << 24) for n in shape
    )


def _are_axes(axes: Any, state: dict[str, list[int | str]]) -> bool:
    """Is there an axis, of a length that is known, for every state?"""
    if not isinstance(axes, dict) or axes.keys() != state.keys():
        return False
    found = [(state[name], axis) for name, axis in axes.items() if isinstance(axis, int) and axis >= 0]
    lengths = [shape[axis] for shape, axis in found if axis < len(shape)]
    return len(lengths) == len(axes) and all(isinstance(n, int) and n <= MOST_PLACES for n in lengths)


class Model:
    """A loaded network: immutable, shareable between threads and streams.

    Made by :func:`load`.

    Attributes:
        facts: what the file says of itself.
        path: where it was read from.
        content: its bytes, if more can be made of them; else none.
    """

    def __init__(self, content: bytes, path: str) -> None:
        self.path = path
        try:
            # Known to be of one stream, shapes and what follows from them are worked out at loading.
            self._session = _session(content, {side_by_side(n): n for n in range(1, MOST_PLACES + 1)})
        except Exception as error:  # onnxruntime has a dozen classes for "this is no usable model"
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            # Checkpoints of torch are zip files.
            hint = "; it looks like a checkpoint: run `unmuffle export` on it first" if content[:2] == b"PK" else ""
            raise ModelError(f"{path} is no network that onnxruntime can load{hint}: {first[:200]}") from None
        self.facts = parse(dict(self._session.get_modelmeta().custom_metadata_map), path)
        found = digest(content, self.facts.sha256)
        if found != self.facts.sha256:
            raise ModelError(
                f"{path}: damaged or altered after it was exported (sha256 {found[:12]}.., "
                f"stated {self.facts.sha256[:12]}..); fetch or export it again"
            )
        self._outputs = [self.facts.output, *(f"next_{name}" for name, _ in self.facts.state)]
        self._check_graph()
        self.content = content if self.facts.streams else b""
        self._one = self.initial()
        shapes = ((name, self._one[name].shape, axis) for name, axis in self.facts.streams)
        # Of each state: places before the axis of the streams, and from it on.
        self._folds = [(name, (math.prod(shape[:axis]), math.prod(shape[axis:]))) for name, shape, axis in shapes]
        self._crowd: Any = None
        self._lock = threading.Lock()

    def _check_graph(self) -> None:
        """The graph's inputs and outputs are those that the metadata tell of, and it runs."""
        facts = self.facts
        taken = {i.name: i for i in self._session.get_inputs()}
        given = {o.name for o in self._session.get_outputs()}
        wanted = [facts.input, *(name for name, _ in facts.state)]
        for name in wanted:
            if name not in taken:
                raise ModelError(f"{self.path}: the graph has no input {name!r}, which its metadata tell of")
            if taken[name].type != "tensor(float)":
                raise ModelError(f"{self.path}: input {name!r} is {taken[name].type}, not tensor(float)")
        for name in taken:
            if name not in wanted:
                raise ModelError(f"{self.path}: the graph wants an input {name!r} that its metadata do not tell of")
        for name in self._outputs:
            if name not in given:
                raise ModelError(f"{self.path}: the graph has no output {name!r}")
        for channels, count in ((1, 1), (1, 3), *([(2, 2)] if facts.channels == "linked" else [])):
            state = self.initial(channels)
            probe = np.full((channels, count, *facts.frame_shape), 1e-2, np.float32)
            try:
                out, after = self.run(probe, state)
            except Exception as error:  # onnxruntime has a dozen classes for "this does not fit"
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ModelError(
                    f"{self.path}: the graph does not run on {channels} channel(s), {count} frame(s): {first[:200]}"
                ) from None
            shape = (1, count, bands.OUTPUTS) if facts.domain == "features" else probe.shape
            if out.shape != shape or not np.isfinite(out).all():
                raise ModelError(f"{self.path}: the graph gives {out.shape} or NaN for {probe.shape}")
            for name, value in after.items():
                if value.shape != state[name].shape:
                    raise ModelError(
                        f"{self.path}: state {name!r} leaves as {value.shape}, it came in as {state[name].shape}"
                    )

    def initial(self, channels: int = 1) -> State:
        """State before the first frame: zeros."""
        return {
            name: np.zeros([n if isinstance(n, int) else channels for n in shape], np.float32)
            for name, shape in self.facts.state
        }

    def run(self, spectrum: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        """Frames ``(channels, frames, *frame_shape)`` in and out (of features: gains out); the state is not changed."""
        out = self._session.run(self._outputs, {self.facts.input: spectrum, **state})
        return out[0], dict(zip(state, out[1:], strict=True))

    @property
    def sides(self) -> bool:
        """Can it take several streams at once (:meth:`run_streams`)?"""
        return bool(self.facts.streams)

    def row(self, state: State) -> tuple[NDArray[np.float32], ...]:
        """The state of a stream as :meth:`run_streams` takes it, without the axis of the streams."""
        return tuple(state[name].reshape(before, after) for name, (before, after) in self._folds)

    def from_row(self, row: Sequence[NDArray[np.float32]]) -> State:
        """The state of a stream out of such a row: its own memory."""
        return {name: a.reshape(v.shape).copy() for (name, v), a in zip(self._one.items(), row, strict=True)}

    def run_streams(
        self, spectrum: NDArray[np.float32], rows: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """One frame of each of several streams of one channel, in one call: a frame takes half the time then.

        Args:
            spectrum: ``(1, streams, *frame_shape)``.
            rows: states, with an axis of streams in front of what :meth:`row` gives; they are not changed.

        Returns:
            What became of the frames, and the new states.
        """
        if self._crowd is None:
            with self._lock:
                self._crowd = self._crowd or _session(self.content, {"channels": 1})
        count = spectrum.shape[1]
        given = {self.facts.input: spectrum}
        for (name, axis), array in zip(self.facts.streams, rows, strict=True):
            shape = list(self._one[name].shape)
            shape[axis] *= count
            given[name] = np.ascontiguousarray(array.swapaxes(0, 1)).reshape(shape)
        out = self._crowd.run(self._outputs, given)
        after = [
            value.reshape(before, count, -1).swapaxes(0, 1)
            for value, (_, (before, _)) in zip(out[1:], self._folds, strict=True)
        ]
        return out[0], after

    def lane(self, channels: int = 1) -> Lane:
        """A way through for single frames, in less time than by :meth:`run`."""
        return Lane(self, self._session, channels)


def _session(content: bytes, lengths: Mapping[str, int]) -> Any:
    """A session of onnxruntime on one thread, with axes of known length."""
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # "session.set_denormal_as_zero" stays unset: the first session of a process would switch the
    # whole calling thread over, for good. The biases keep the states clear of such numbers.
    # Eight-bit weights are multiplied out once, at loading, not in each frame.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    for name, length in lengths.items():
        options.add_free_dimension_override_by_name(name, length)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class Lane:
    """One stream's way through a network, a frame at a time, in memory that is bound once.

    A call of :meth:`Model.run` looks up, converts and allocates every tensor; for one frame that takes a
    fifth of the time. Here input, output and two sets of states are arrays that onnxruntime works on
    directly: a frame reads one set and writes the other.

    Attributes:
        given: ``(channels, 1, *frame_shape)``: the frame is written into it.
        answer: of the same shape (of features: gains); what became of it, until the next call.
    """

    def __init__(self, model: Model, session: Any, channels: int) -> None:
        facts = model.facts
        self.given = np.zeros((channels, 1, *facts.frame_shape), np.float32)
        shape = (1, 1, bands.OUTPUTS) if facts.domain == "features" else self.given.shape
        self.answer = np.zeros(shape, np.float32)
        self._sets = model.initial(channels), model.initial(channels)
        self._run = session.run_with_iobinding
        self._turns = []
        for before, after in (self._sets, self._sets[::-1]):
            turn = session.io_binding()
            for name, array in ((facts.input, self.given), *before.items()):
                turn.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            for name, array in ((facts.output, self.answer), *((f"next_{k}", v) for k, v in after.items())):
                turn.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            self._turns.append(turn)

    def run(self, state: State, count: int = 1) -> State:
        """From :attr:`given` to :attr:`answer`.

        Args:
            state: any; fastest is the one that the last call returned.
            count: of frames; a lane holds one.

        Returns:
            The new state: arrays that the call after the next writes into.
        """
        turn = 1 if state is self._sets[1] else 0
        if state is not self._sets[turn]:
            for name, array in self._sets[turn].items():
                array[...] = state[name]
        self._run(self._turns[turn])
        return self._sets[1 - turn]


def load(path: str | os.PathLike[str]) -> Model:
    """Load a network file; a file that has not changed is loaded once a process.

    Raises:
        ModelError: there is no such file, or it is not a network of ours.
    """
    name = os.fspath(path)
    try:
        facts = os.stat(name)
    except OSError as error:
        raise ModelError(f"{name}: no such network file ({error.strerror})") from None
    return _load(os.path.realpath(name), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=8)
def shipped(name: str) -> Model:
    """A network that comes with the package, from its ``models`` folder.

    Raises:
        ModelError: the installation is damaged, or holds no network of that name.
    """
    place = resources.files("unmuffle") / "models" / f"{name}.onnx"
    try:
        content = place.read_bytes()
    except OSError:
        raise ModelError(f"{place}: the weights of {name!r} are missing; install unmuffle again") from None
    return Model(content, str(place))


@lru_cache(maxsize=8)
def _load(path: str, mtime: int, size: int) -> Model:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    return Model(content, path)
