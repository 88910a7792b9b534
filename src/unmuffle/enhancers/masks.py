r"""Where the voice is: one mask a frame for all microphones, from any method of this package.

The mask is the square of the gain that a single-channel method would apply,

.. math:: m(l, k) = \min\!\left(1, \frac{|\hat S|^2}{|X|^2}\right) \in [0, 1],

to the root of the mean power of the microphones (which has no phase and needs no geometry). Methods of frames that can
take ours run on the very bins of the method that asks; what stands behind a name is looked up in the registry, so a
network file (``.onnx``) serves as well as ``log-mmse``. Its frames must be the asking method's own.

Methods whose frames are shorter but come as often run beside (:class:`BesideMask`), on the samples; their masks are
brought to the asking method's bins and frames.

Of a whole recording (:func:`whole_mask`) any method will do, whatever its frames: its output is analysed
anew, and the mask is the ratio of the powers.

Networks that come with the package go by their name (``live``).
``vad`` is a mask of one value a frame, from the voice activity detector.
"""

from __future__ import annotations

import abc
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ParameterError
from ..noise.vad import EnergyVad
from ..signal.blocks import Samples
from ..signal.stft import Frames, StftSpec
from . import params
from .base import Enhancer, Framed, SpectralKernel, run_offline

if TYPE_CHECKING:
    from importlib.abc import Traversable

Complex = NDArray[np.complexfloating[Any, Any]]
Real = NDArray[np.floating[Any]]

SILENT = np.float32(1e-30)


class Masked(Framed):
    """A method whose ``masks`` name another one; a network's digest is part of its key."""

    masks: str

    def key(self) -> str:
        """Parameters, and which network it is: where its file lies does not matter, what is in it does."""
        if not _is_network(self.masks):
            return super().key()
        return f"{super().key()}masks = {_network(self.masks).key()}"


class Masker(abc.ABC):
    """A running source of masks; the state belongs to the caller."""

    @abc.abstractmethod
    def begin(self) -> Any:
        """State before the first frame."""

    @abc.abstractmethod
    def step(self, frames: Complex, state: Any) -> tuple[Real, Any]:
        """``(microphones, frames, bins)`` to masks ``(frames, bins)`` and the new state."""


def masker(name: str, spec: StftSpec, sample_rate: int, microphones: int) -> Masker:
    """Make a source of masks by name: a method of the registry, a network's path, or ``vad``.

    Raises:
        ParameterError: the method gives no gains in these bins.
    """
    if name == "vad":
        return VadMask(spec.at(sample_rate))
    return GainMask(name, spec, sample_rate, microphones)


class VadMask(Masker):
    """1 in frames with speech, 0 in pauses."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.detector = EnergyVad()

    def begin(self) -> Any:
        """A fresh detector."""
        return self.detector.init(self.frames, 1)

    def step(self, frames: Complex, state: Any) -> tuple[Real, Any]:
        """Frame by frame."""
        power = _mean_power(frames)
        out = np.empty(power.shape, np.float64)
        for l in range(power.shape[0]):
            active = self.detector.step(power[l : l + 1], state)
            out[l] = float(np.clip(np.mean(np.asarray(active, np.float64)), 0.0, 1.0))
        return out, state


class GainMask(Masker):
    """Squared gains of a method of the registry."""

    def __init__(self, name: str, spec: StftSpec, sample_rate: int, microphones: int) -> None:
        kernel = _kernel(name, spec, sample_rate, microphones)
        ours, theirs = spec.at(sample_rate), kernel.frames
        if (ours.size, ours.hop) != (theirs.size, theirs.hop):
            raise ParameterError(
                f"masks = {name!r} works on frames of {theirs.size} samples every {theirs.hop}, this method on "
                f"{ours.size} every {ours.hop}; give it that window_ms and hop_ms"
            )
        self.kernel = kernel
        self.wide = kernel.channels > 1

    def begin(self) -> Any:
        """The method's own start."""
        return self.kernel.init_bins()

    def step(self, frames: Complex, state: Any) -> tuple[Real, Any]:
        """All frames in one call."""
        heard = frames if self.wide else np.sqrt(_mean_power(frames))[np.newaxis]
        heard = heard.astype(np.complex64)
        out, state = self.kernel.step_bins(heard, state)
        before, after = _mean_power(heard), _mean_power(out)
        mask = np.minimum(after / np.maximum(before, SILENT), np.float32(1.0)).astype(np.float64)
        return np.where(before > SILENT, mask, 0.0), state


class BesideMask:
    """Masks from samples, for methods on frames of their own; the state belongs to the caller.

    Frames that end together do not lie together: the shorter ones are the later ones, so their masks are held back by
    the whole frames between the two middles.
    """

    def __init__(self, name: str, spec: StftSpec, sample_rate: int, microphones: int) -> None:
        kernel = _kernel(name, spec, sample_rate, microphones)
        ours, theirs = spec.at(sample_rate), kernel.frames
        if theirs.hop != ours.hop or theirs.size > ours.size:
            raise ParameterError(
                f"masks = {name!r} works on frames of {theirs.size} samples every {theirs.hop}, this method on "
                f"{ours.size} every {ours.hop}; give it that hop_ms, and a window_ms that is not shorter"
            )
        self.inner = GainMask(name, StftSpec(1e3 * theirs.size / sample_rate, spec.hop_ms), sample_rate, microphones)
        self.frames, self.microphones = theirs, microphones
        self.late = round((ours.size - theirs.size) / 2 / ours.hop)
        self.place = np.arange(ours.bins) * (theirs.size / ours.size)
        self.bins = theirs.bins

    def begin(self) -> Any:
        """The method's own start; all is voice before it."""
        history = np.zeros((self.microphones, self.frames.size - self.frames.hop), np.float32)
        return {"history": history, "inner": self.inner.begin(), "late": np.ones((self.late, self.bins))}

    def step(self, x: Samples, state: Any) -> tuple[Real, Any]:
        """Whole hops of samples ``(microphones, n * hop)`` to masks ``(n, bins)``."""
        spectra, state["history"] = self.frames.forward(x, state["history"])
        masks, state["inner"] = self.inner.step(spectra, state["inner"])
        masks = np.concatenate((state["late"], masks))
        state["late"] = masks[len(masks) - self.late :]
        masks = masks[: len(masks) - self.late]
        low = np.minimum(self.place.astype(int), self.bins - 1)
        part, high = self.place - low, np.minimum(low + 1, self.bins - 1)
        out: Real = (1.0 - part) * masks[:, low] + part * masks[:, high]
        return out, state


def _kernel(name: str, spec: StftSpec, sample_rate: int, microphones: int) -> SpectralKernel:
    # A network sees all channels, and takes their mean in its own way; others get the mean power.
    kernel = _method(name, spec).kernel(sample_rate, microphones if _is_network(name) else 1)
    if not isinstance(kernel, SpectralKernel):
        raise ParameterError(f"masks = {name!r}: this method has no gains; spectral ones do, such as 'log-mmse'")
    return kernel


def _mean_power(frames: Complex) -> Real:
    power: Real = np.mean(frames.real**2 + frames.imag**2, axis=0, dtype=np.float32)
    return power


def whole_mask(name: str, spec: StftSpec, sample_rate: int, x: Samples, spectra: Complex) -> Real:
    """Masks ``(frames, bins)`` of a whole recording ``(microphones, samples)`` with the ``spectra`` given.

    Raises:
        ParameterError, ModelError: no such method or network.
    """
    if name == "vad":
        source = VadMask(spec.at(sample_rate))
        return source.step(spectra, source.begin())[0]
    out = run_offline(_method(name, spec), x, sample_rate)
    frames = spec.at(sample_rate)
    count = spectra.shape[1]
    padded = np.pad(out, ((0, 0), (0, count * frames.hop - out.shape[1])))
    after, _ = frames.forward(padded, np.zeros((x.shape[0], frames.size - frames.hop), np.float32))
    before = _mean_power(spectra)
    mask = np.minimum(_mean_power(after) / np.maximum(before, SILENT), np.float32(1.0)).astype(np.float64)
    return np.where(before > SILENT, mask, 0.0)


def _method(name: str, spec: StftSpec) -> Enhancer:
    from . import registry

    if _is_network(name):
        return _network(name)
    known = params.parameters(registry.kind(name))
    wanted = {"window_ms": spec.window_ms, "hop_ms": spec.hop_ms, "floor_db": -60.0}
    wanted = {k: v for k, v in wanted.items() if k in known}
    # Methods keep their own frames where ours are none of theirs (longer ones than they allow).
    fits = all(value <= (known[k].metadata["high"] or value) for k, value in wanted.items())
    return registry.load(name, **(wanted if fits else {}))


def _network(name: str) -> Enhancer:
    from . import registry

    return registry.load("model", path=name if name.endswith(".onnx") else str(_shipped(name)))


def _is_network(name: str) -> bool:
    return name.endswith(".onnx") or _shipped(name).is_file()


def _shipped(name: str) -> Traversable:
    return resources.files("unmuffle") / "models" / f"{name}.onnx"
