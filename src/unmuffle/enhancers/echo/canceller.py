r"""Acoustic echo canceller: takes the loudspeaker's sound out of the microphones.

The echo path ``w`` (loudspeaker, room, microphone) is modelled by ``P`` partitions of ``B`` taps each, in the
frequency domain with overlap-save (frames of ``2B`` samples, hop ``B``: no algorithmic delay beyond the block),

.. math:: Y = \sum_p X_p W_p, \quad e = d - \mathrm{last}_B\{\mathrm{IFFT}\, Y\}, \quad E = \mathrm{FFT}\{[0, e]\}

and tracked by a Kalman filter in each bin whose step size follows from what it knows:

.. math::
    K_p &= \frac{C_p X_p^*}{\sum_q |X_q|^2 C_q + 2 \Psi}, \qquad
    W_p \leftarrow A \, (W_p + \mathrm{constrain}\{K_p E\}) \\
    C_p &\leftarrow A^2 \left(1 - \tfrac12 K_p X_p\right) C_p + (1 - A^2) |W_p|^2

``C`` is the uncertainty of the path, ``Psi`` the power of everything that is no echo (near talker and noise), taken
from the error itself. While somebody talks at the near end ``Psi`` is large and the filter stands still; when the path
changes ``C`` grows back and it moves on: that is the double-talk control, without a detector and its threshold.

One thing it cannot tell from a near talker: a path that is suddenly another one. But then the error is louder than
the microphone, which no talker makes it; once that holds for 0.1 s on average, the model starts from nothing, in
doubt about as much as it was wrong.

Parameters: more ``tail_ms`` models longer rooms and learns more slowly; ``memory`` nearer to 1 gives less echo in a
room that stands still and slower tracking of one that changes (``A = memory`` at 8 ms blocks).

Limits: only the linear part of the echo goes; overdriven loudspeakers leave a residue, as do paths longer than the
tail, a reference that comes later than its echo, and clocks that drift apart. Behind it, a noise reduction
(``echo-canceller+log-mmse``) takes care of the rest.

Sources: G. Enzner, P. Vary, "Frequency-domain adaptive Kalman filter for acoustic echo control in hands-free
telephones", Signal Processing 86(6), 2006; partitions: F. Kuech, E. Mabande, G. Enzner, "State-space architecture of
the partitioned-block-based acoustic echo controller", ICASSP 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import ShapeError
from ...signal.blocks import Samples
from ...signal.transforms import irfft, rfft
from ..base import Enhancer, Kernel, StepKernel
from ..params import param

_PRIOR = 0.5  # uncertainty of the path before anything is known: an echo about as loud as the reference
_CHANGED_MEMORY = 0.92  # of the powers of microphone and error, per block: a time constant of 0.1 s
_CHANGED = 1.1  # ratio of these at which the path is another one
_NOISE_MEMORY = 0.8  # of the power of the error, per 8 ms block
_SILENCE = 1e-12  # power in a bin below which the reference is silent (-120 dBFS and its rounding)


@dataclass(frozen=True)
class EchoCanceller(Enhancer):
    """Cancels the echo of a loudspeaker whose signal is one of the channels.

    Two or more channels go in: microphones, and the loudspeaker's signal as the last one. The microphones come
    out. See the module for formulas, limits and sources.
    """

    name: ClassVar[str] = "echo-canceller"
    tail_ms: float = param(192.0, "longest echo that is modelled, in ms", low=8.0, high=1000.0)
    delay_ms: float = param(0.0, "by which the reference is held back first, in ms", low=0.0, high=2000.0)
    memory: float = param(0.9995, "of the path in each 8 ms; nearer to 1 is steadier", low=0.9, high=0.999999)

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The canceller of all microphones.

        Raises:
            ShapeError: there is no second channel that could be the reference.
        """
        if channels < 2:
            raise ShapeError(
                "echo-canceller needs the loudspeaker's signal as its last channel, beside one or more microphones; "
                f"got {channels} channel"
            )
        block = max(16, round(0.008 * sample_rate))
        partitions = max(1, -(-round(self.tail_ms * 1e-3 * sample_rate) // block))
        delay = round(self.delay_ms * 1e-3 * sample_rate)
        return _CancellerKernel(channels, block, partitions, delay, self.memory)


class _CancellerKernel(StepKernel):
    def __init__(self, channels: int, block: int, partitions: int, delay: int, memory: float) -> None:
        super().__init__(channels, block)
        self.outputs = tuple(range(channels - 1))
        self._block, self._partitions, self._delay, self._memory = block, partitions, delay, memory

    def init(self) -> Any:
        """Held reference, its spectra, the path and its uncertainty, and the power of what is no echo."""
        microphones, bins = self.channels - 1, self._block + 1
        return {
            "held": np.zeros(self._delay + self._block, np.float64),
            "spectra": np.zeros((self._partitions, bins), np.complex128),
            "path": np.zeros((microphones, self._partitions, bins), np.complex128),
            "doubt": np.full((microphones, self._partitions, bins), _PRIOR),
            "other": np.zeros((microphones, bins)),
            "levels": np.zeros((2, microphones)),
        }

    def step(self, x: Samples, state: Any) -> tuple[Samples, Any]:
        """Block by block, so that any split of the signal is the same arithmetic."""
        out = np.empty((self.channels - 1, x.shape[1]), np.float32)
        for i in range(0, x.shape[1], self._block):
            out[:, i : i + self._block] = self._one(x[:, i : i + self._block].astype(np.float64), state)
        return out, state

    def _one(self, x: NDArray[np.float64], state: dict[str, Any]) -> NDArray[np.float64]:
        size = self._block
        held = np.concatenate((state["held"], x[-1]))
        newest = rfft(held[: 2 * size])
        state["held"] = held[size:]
        spectra = np.concatenate((newest[None], state["spectra"][:-1]))
        path, doubt = state["path"], state["doubt"]
        # The echo that the model expects, and what is left.
        echo = irfft(np.einsum("pk,mpk->mk", spectra, path), 2 * size)[:, size:]
        error = x[:-1] - echo
        spectrum = rfft(np.concatenate((np.zeros_like(error), error), axis=1))
        loud = np.abs(spectra) ** 2
        power = np.abs(spectrum) ** 2
        other = np.where(state["other"] > 0.0, _NOISE_MEMORY * state["other"] + (1 - _NOISE_MEMORY) * power, power)
        known = np.einsum("pk,mpk->mk", loud, doubt)
        gain = doubt * (spectra.conj() / (known + 2.0 * other + _SILENCE)[:, None, :])
        # Constraint: the second half of each partition's response is circular, not part of the path.
        change = irfft(gain * spectrum[:, None, :], 2 * size)
        change[..., size:] = 0.0
        a = self._memory
        state["doubt"] = a * a * (1.0 - 0.5 * (gain * spectra).real) * doubt + (1.0 - a * a) * np.abs(path) ** 2
        state["path"] = a * (path + rfft(change))
        state["other"], state["spectra"] = other, spectra
        now = np.stack((np.mean(x[:-1] ** 2, axis=1), np.mean(error**2, axis=1)))
        state["levels"] = _CHANGED_MEMORY * state["levels"] + (1.0 - _CHANGED_MEMORY) * now
        changed = state["levels"][1] > _CHANGED * state["levels"][0] + _SILENCE
        if changed.any():
            # The new path may be as strong as the old one was: where there was none, there is nothing to doubt.
            strength = np.mean(np.abs(state["path"][changed]) ** 2, axis=-1, keepdims=True)
            state["doubt"][changed] = np.maximum(state["doubt"][changed], np.minimum(2.0 * strength, _PRIOR))
            state["path"][changed], state["other"][changed], state["levels"][:, changed] = 0.0, 0.0, 0.0
        return error
