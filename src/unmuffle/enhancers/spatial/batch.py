r"""Beamforming a whole recording: the masks see all of it, and so do the covariances.

1. a first mask from a single-channel method (``masks``);
2. EM on the spatial model (:mod:`.cgmm`), ``iterations`` of it (0 leaves the mask as it is, which is better when it
   comes from ``array-mask``);
3. one covariance of the voice and one of the noise for the entire recording, weighted with :math:`m^s` and
   :math:`(1 - m)^s`: with a ``sharpness`` s above 1, bins that are unsure count in neither (in eight rooms of training
   voices and noises MVDR gained 4.2 dB with 1, 5.0 with 2, 5.1 with 3);
4. the reference microphone: the one with the best SNR, unless it is given;
5. the weights, in one of the forms of :mod:`.mvdr`, or :mod:`.gev` or :mod:`.mwf`.

Microphones that are dead (:func:`~unmuffle.signal.channels.dead_channels`) take no part, and stand in for nothing.

One set of weights for all of it: nobody may move. Frames are longer than those of the streaming form (128 ms), as the
echoes of a room have to fit into one for the voice to be of rank one. No geometry is needed.

The output stands in for the reference microphone; where that is chosen by its SNR, the dry signal that
``strength_db`` mixes in is still that of the first microphone, as it is mixed before anything is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import ParameterError
from ...signal.blocks import Samples
from ...signal.channels import dead_channels
from ...signal.covariance import spatial_covariance
from ...signal.stft import Frames
from ..base import Kernel, WholeKernel
from ..masks import Masked, whole_mask
from ..params import param
from .algebra import Complex, apply
from .cgmm import cgmm
from .gev import gev
from .mvdr import rank_one, souden
from .mwf import mwf, voice_alone
from .reference import best_reference

FORMS = ("souden", "rank-one", "gev", "mwf")


@dataclass(frozen=True)
class BatchBeamformer(Masked):
    """Mask-based beamformer for whole recordings: CGMM masks, MVDR, reference microphone by SNR; no geometry."""

    name: ClassVar[str] = "mask-mvdr"

    masks: str = param("log-mmse", "first guess: a spectral method, vad, or a network file (.onnx)")
    iterations: int = param(10, "of EM; 0 takes the first guess", low=0, high=100)
    sharpness: float = param(2.0, "power of the masks: above 1, unsure bins count less", low=1.0, high=8.0)
    form: str = param("souden", "what is made of the covariances", choices=FORMS)
    mu: float = param(1.0, "weight of noise against speech distortion, of mwf", low=0.0, high=100.0)
    reference: int = param(-1, "microphone that the output stands in for; -1: by SNR", low=-1, high=63)
    loading: float = param(1e-3, "of the noise covariance, relative to its mean power", low=1e-8, high=10.0)
    window_ms: float = param(128.0, "length of the analysis window", low=4.0, high=512.0)
    hop_ms: float = param(32.0, "step from frame to frame; divides window_ms", low=1.0, high=256.0)

    def kernel(self, sample_rate: int, channels: int) -> Kernel:
        """The running part.

        Raises:
            ParameterError: a reference microphone that is not there.
        """
        if self.reference >= channels:
            raise ParameterError(f"reference = {self.reference}; there are microphones 0 to {channels - 1}")
        return _BatchKernel(self, self.spec.at(sample_rate), channels)

    def weights(self, speech: Complex, noise: Complex, reference: int) -> Complex:
        """In the form that was chosen."""
        if self.form == "mwf":
            return mwf(voice_alone(speech, noise), noise, self.mu, reference, self.loading)
        forms = {"souden": souden, "rank-one": rank_one, "gev": gev}
        return forms[self.form](speech, noise, reference, self.loading)


class _BatchKernel(WholeKernel):
    def __init__(self, method: BatchBeamformer, frames: Frames, channels: int) -> None:
        super().__init__(channels)
        self.method, self.frames = method, frames
        if channels > 1:
            self.outputs = (max(method.reference, 0),)

    def run(self, x: Samples) -> Samples:
        if self.channels == 1:
            return x
        dead = dead_channels(x)
        alive = [m for m in range(self.channels) if m not in dead]
        reference = alive.index(self.method.reference) if self.method.reference in alive else -1
        return self._beam(x[alive], reference) if len(alive) > 1 else x[alive[:1]]

    def _beam(self, x: Samples, wanted: int) -> Samples:
        """Several microphones, all of them alive, to one; ``wanted`` is the reference, or -1."""
        frames, method, channels = self.frames, self.method, x.shape[0]
        held = np.zeros((channels, frames.size - frames.hop), np.float32)
        count = -(-(x.shape[1] + frames.latency) // frames.hop)
        tail = np.zeros((channels, count * frames.hop - x.shape[1]), np.float32)
        spectra, _ = frames.forward(np.concatenate((x, tail), axis=1), held)
        guess = whole_mask(method.masks, method.spec, frames.sample_rate, x, spectra)
        mask = cgmm(spectra, guess, method.iterations)
        double = spectra.astype(np.complex128)
        speech = spatial_covariance(double, mask**method.sharpness)
        noise = spatial_covariance(double, (1.0 - mask) ** method.sharpness)
        reference = wanted if wanted >= 0 else best_reference(speech, noise)
        out = apply(method.weights(speech, noise, reference), double)[np.newaxis].astype(np.complex64)
        y, _ = frames.inverse(out, held[:1])
        return y[:, frames.latency : frames.latency + x.shape[1]]
