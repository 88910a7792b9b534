r"""Masks learnt through the beamformer that uses them: masks, covariances, MVDR, loss, and back.

A mask that looks right need not make a good beamformer, and the other way round: a bin of the voice that
slips into the noise covariance costs more than one that is missing from the speech. So the gradient goes through
the solution of

.. math:: R_s = \frac{\sum m\, x x^H}{\sum m}, \quad R_n = \frac{\sum (1-m)\, x x^H}{\sum (1-m)}, \quad
          w = \frac{R_n^{-1} R_s u}{\operatorname{tr}(R_n^{-1} R_s)}

(Souden's form, :func:`unmuffle.enhancers.spatial.mvdr.souden`, equal by test) to the SI-SDR of the output against
the voice as the reference microphone hears it with its first 50 ms of room. A second term keeps the
masks near the ideal ratio at first. Utterance-wide covariances are learnt with; the running form at run time uses
the same masks recursively.

Complex numbers are pairs of real ones in networks; covariances here are complex tensors. Single precision
does, as loading keeps their condition number below 10^4.

J. Heymann, L. Drude, R. Haeb-Umbach, "Neural network based spectral mask estimation for acoustic beamforming",
ICASSP 2016; C. Boeddeker et al., "Beamnet: end-to-end training of a beamformer-supported multi-channel ASR
system", ICASSP 2017.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ParameterError, StreamError
from .losses import si_sdr
from .nets.array_mask import ArrayMask
from .stft import Stft

ArrayBatch = tuple[Tensor, Tensor]
"""Microphones ``(batch, channels, samples)``, and the voice in each of them, early part, alike."""

LOADING = 1e-3


@dataclass(frozen=True)
class BeamformerRecipe:
    """How a mask network is trained through a beamformer.

    Attributes:
        minutes: of the clock; the learning rate falls along a cosine over them.
        steps: at most so many, if above 0 (then the cosine goes over them).
        learning_rate: at the start.
        mask_weight: of the distance to the ideal mask, in decibels a unit of binary cross entropy.
        clip_norm: largest norm of the gradient.
        ema: decay of the averaged weights.
        seed: of the weights.
    """

    minutes: float = 20.0
    steps: int = 0
    learning_rate: float = 2e-3
    mask_weight: float = 3.0
    clip_norm: float = 5.0
    ema: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.steps < 0 or not 0 < self.learning_rate <= 1 or self.mask_weight < 0:
            raise ParameterError(f"{self}: give times, rates above 0, weights of 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """As a plain table."""
        return asdict(self)


def covariances(spectrum: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Speech and noise covariances ``(batch, bins, M, M)`` from ``(batch, M, frames, bins, 2)`` and a mask."""
    x = torch.view_as_complex(spectrum.contiguous()).permute(0, 3, 1, 2)  # (batch, bins, M, frames)
    back = x.conj().transpose(2, 3)
    m = mask.transpose(1, 2).unsqueeze(2)  # (batch, bins, 1, frames)
    found = []
    for weight in (m, 1.0 - m):
        share = weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)
        found.append((x * share) @ back)
    return found[0], found[1]


def souden(speech: Tensor, noise: Tensor, reference: int = 0, loading: float = LOADING) -> Tensor:
    """The torch twin of ``mvdr.souden``: weights ``(batch, bins, M)``."""
    size = noise.shape[-1]
    eye = torch.eye(size, dtype=noise.dtype, device=noise.device)

    def unit(matrix: Tensor) -> Tensor:
        power = matrix.diagonal(dim1=-2, dim2=-1).real.mean(-1).clamp(min=1e-30)
        return matrix / power[..., None, None]

    ratio = torch.linalg.solve(unit(noise) + loading * eye, unit(speech))
    trace = ratio.diagonal(dim1=-2, dim2=-1).sum(-1).real
    return ratio[..., reference] / trace.clamp(min=1e-12)[..., None]


def beamform(spectrum: Tensor, mask: Tensor, reference: int = 0) -> Tensor:
    """One channel ``(batch, frames, bins, 2)`` out of ``(batch, M, frames, bins, 2)`` by a mask."""
    weights = souden(*covariances(spectrum, mask), reference)
    x = torch.view_as_complex(spectrum.contiguous())
    out = (weights.conj().transpose(1, 2).unsqueeze(2) * x).sum(1)
    return torch.view_as_real(out)


def ideal_mask(early: Tensor, mixture: Tensor) -> Tensor:
    """Share of the early voice in the power, averaged over the microphones: ``(batch, frames, bins)``."""
    s = early.square().sum(-1).mean(1)
    n = (mixture - early).square().sum(-1).mean(1)
    return s / (s + n + 1e-10)


def train(
    net: ArrayMask,
    draw: Callable[[int], ArrayBatch],
    recipe: BeamformerRecipe,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train in place; the averaged weights are in the network at the end.

    Args:
        net: the network; its weights are where training begins.
        draw: a batch by its number; every number gives another one.
        recipe: how.
        log: gets a line now and then.

    Returns:
        Steps done, minutes, and the mean loss of each hundredth of the run.

    Raises:
        StreamError: a batch or a loss was not finite; the weights are those before it.
    """
    stft = Stft(net.spec.at(net.sample_rate))
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=1e-4)
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    started, step, losses = time.monotonic(), 0, []
    for progress in _progress(recipe, started):
        noisy, early = draw(step)
        if not torch.isfinite(noisy).all() or not torch.isfinite(early).all():
            raise StreamError(f"the batch of step {step} holds NaN or infinity; look at what draws it")
        rate = 0.5 * (1.0 + math.cos(math.pi * progress)) * min(1.0, (step + 1) / 50)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * max(rate, 0.01)
        value, parts = loss(net, stft, noisy, early, recipe.mask_weight)
        if not torch.isfinite(value):
            raise StreamError(f"the loss of step {step} is {float(value)}; lower the learning rate")
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
        optimiser.step()
        keep = min(recipe.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, tensor in net.state_dict().items():
                average[name].lerp_(tensor, 1.0 - keep)
        losses.append(parts)
        step += 1
        if step % 50 == 0:
            recent = [sum(p[i] for p in losses[-50:]) / 50 for i in range(2)]
            log(f"{step} {(time.monotonic() - started) / 60:.1f} min  SI-SDR {recent[0]:.2f} dB  mask {recent[1]:.4f}")
    net.load_state_dict(average)
    return {"steps": step, "minutes": (time.monotonic() - started) / 60, "si_sdr_db": [p[0] for p in losses]}


def loss(net: ArrayMask, stft: Stft, noisy: Tensor, early: Tensor, mask_weight: float) -> tuple[Tensor, list[float]]:
    """The loss of a batch, and its parts: SI-SDR of the beam in dB, cross entropy of the mask."""
    spectrum = stft(noisy)
    state = net.initial(noisy.shape[0], noisy.shape[1])
    mask = net.mask(spectrum, *state)[0]
    out = stft.inverse(beamform(spectrum, mask), noisy.shape[-1])
    beam = si_sdr(out, early[:, 0])
    ideal = ideal_mask(stft(early), spectrum)
    entropy = nn.functional.binary_cross_entropy(mask.clamp(1e-5, 1 - 1e-5), ideal)
    return beam + mask_weight * entropy, [-float(beam.detach()), float(entropy.detach())]


def _progress(recipe: BeamformerRecipe, started: float) -> Iterator[float]:
    step = 0
    while True:
        spent = (time.monotonic() - started) / (60 * recipe.minutes)
        done = max(spent, step / recipe.steps) if recipe.steps else spent
        if done >= 1.0:
            return
        yield done
        step += 1
