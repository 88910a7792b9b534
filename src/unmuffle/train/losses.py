r"""Losses: how far an estimate is from the target. All take batches and return one number.

Waveforms are ``(batch, samples)``, spectra ``(batch, frames, bins, 2)``. ``weight`` is
``(batch, bins)`` or ``None``; bins above a clip's band have weight 0, so that nothing is learned
from what the recording does not say. For the same reason waveforms lose what lies above it
(:func:`below`) before they are compared.

==========================  ====================================================================
:func:`compressed`          MSE of :math:`|S|^c` and of :math:`|S|^c e^{j\phi}`, c = 0.3
                            (Ephrat et al. 2018; Braun & Tashev 2020): loud and soft parts count
                            more alike, as they do to the ear
:func:`over_suppression`    the same, only where the estimate is too small: speech that was lost
                            is worse than noise that was left (Eskimez et al. 2021)
:func:`multi_resolution`    `compressed` over several STFTs of the waveforms: what a spectrum
                            promises must survive resynthesis
:func:`spectrum_mse`        MSE of magnitudes; :func:`mask_mse` that of masks against ideal ones
:func:`l1`                  mean absolute error of the waveforms
:func:`si_sdr`              minus the scale-invariant SDR in dB (Le Roux et al. 2019)
:mod:`.perceptual`          STOI, a PESQ-like disturbance and DNSMOS with gradients
:class:`Combined`           a weighted sum, after each clip was brought to the same level
==========================  ====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from ..errors import ParameterError
from ..signal.stft import StftSpec
from .perceptual import Disturbance, Opinion, Stoi
from .stft import Stft, magnitude

COMPRESSION = 0.3
_EPS = 1e-4
"""Added to :math:`|S|^2` of signals with an RMS near 1: rounds off the kink of the power law at zero."""


def _parts(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, each contiguous: arithmetic on every second number is slow."""
    return spectrum[..., 0].contiguous(), spectrum[..., 1].contiguous()


def _terms(er: Tensor, ei: Tensor, tr: Tensor, ti: Tensor, power: float, mix: float, over: float) -> Tensor:
    """The compressed errors, bin by bin."""
    e, t = er.square() + ei.square() + _EPS, tr.square() + ti.square() + _EPS
    # u = |S|^(c - 1) turns S into its compressed self; |S|^c = u |S|.
    u, v = e.pow((power - 1.0) / 2.0), t.pow((power - 1.0) / 2.0)
    short = v * t.sqrt() - u * e.sqrt()
    out = (1.0 - mix) * short.square() + over * short.clamp(min=0.0).square()
    if mix:
        out = out + mix * ((er * u - tr * v).square() + (ei * u - ti * v).square())
    return out


_plain_terms = _terms


def fuse() -> None:
    """Let torch.compile fuse the compressed losses for this process: a fifth less time a step on a CPU."""
    global _terms
    if _terms is _plain_terms:
        _terms = torch.compile(_plain_terms, dynamic=False)


def _mean(x: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over frames and bins, with bins weighted; each clip counts the same."""
    if weight is None:
        return x.mean()
    per_clip = (x.mean(1) * weight).sum(-1) / weight.sum(-1).clamp(min=1.0)
    return per_clip.mean()


def compressed(
    estimate: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    power: float = COMPRESSION,
    mix: float = 0.5,
    over: float = 0.0,
) -> Tensor:
    """Power-compressed spectral MSE: ``(1 - mix)`` of magnitudes, ``mix`` of complex values.

    ``over`` adds that much of :func:`over_suppression`, for less than computing it alone.
    """
    return _mean(_terms(*_parts(estimate), *_parts(target), power, mix, over), weight)


def over_suppression(
    estimate: Tensor, target: Tensor, weight: Tensor | None = None, *, power: float = COMPRESSION
) -> Tensor:
    """Squared shortfall of the compressed magnitude, zero where the estimate is louder."""
    return _mean(_terms(*_parts(estimate), *_parts(target), power, 1.0, 1.0), weight) - compressed(
        estimate, target, weight, power=power, mix=1.0
    )


def spectrum_mse(estimate: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """MSE of magnitudes."""
    return _mean((magnitude(estimate) - magnitude(target)).square(), weight)


def mask_mse(estimate: Tensor, ideal: Tensor, weight: Tensor | None = None) -> Tensor:
    """MSE of masks: real ones ``(batch, frames, bins)``, complex ones with a last axis of 2."""
    error = (estimate - ideal).square()
    return _mean(error if error.dim() == 3 else error.sum(-1), weight)


def l1(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of waveforms."""
    return (estimate - target).abs().mean()


def si_sdr(estimate: Tensor, target: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Minus the SI-SDR in dB, mean over the clips whose target is not silent (0 if all are)."""
    scale = (estimate * target).sum(-1, keepdim=True) / (target.square().sum(-1, keepdim=True) + eps)
    wanted = scale * target
    noise = estimate - wanted
    ratio = (wanted.square().sum(-1) + eps) / (noise.square().sum(-1) + eps)
    audible = (target.square().sum(-1) > eps).to(estimate.dtype)
    return -(10.0 * torch.log10(ratio) * audible).sum() / audible.sum().clamp(min=1.0)


class MultiResolution(nn.Module):
    """:func:`compressed` over STFTs of several window lengths.

    Args:
        sample_rate: of the waveforms in Hz.
        windows_ms: lengths; the hop is half of each.
    """

    def __init__(self, sample_rate: int, windows_ms: tuple[float, ...] = (32.0,)) -> None:
        super().__init__()
        self.stfts = nn.ModuleList(Stft(StftSpec(w, w / 2.0).at(sample_rate)) for w in windows_ms)

    def forward(self, estimate: Tensor, target: Tensor, band_hz: Tensor | None = None) -> Tensor:
        """Mean over the resolutions."""
        parts = []
        for stft in self.stfts:
            assert isinstance(stft, Stft)  # ModuleList knows only Module
            weight = None if band_hz is None else band_weight(stft, band_hz)
            # Each window has its own gain: bring all to the level of white noise of the same power.
            gain = stft.frames.power_scale**0.5 * _REFERENCE_GAIN
            parts.append(compressed(stft(estimate) * gain, stft(target) * gain, weight))
        return torch.stack(parts).mean()


_REFERENCE_GAIN = 160.0**0.5  # that of the 20 ms window at 16 kHz, for which _EPS is meant


def band_weight(stft: Stft, band_hz: Tensor) -> Tensor:
    """1 for bins below each clip's band, 0 above: ``(batch, bins)``."""
    hertz = torch.as_tensor(stft.frames.frequencies, dtype=torch.float32, device=band_hz.device)
    return (hertz[None] <= band_hz[:, None] + 25.0).float()


_EDGE_HZ = 200.0
"""Width in which :func:`below` fades out: its impulse response has died away after 20 ms."""


def below(x: Tensor, band_hz: Tensor, sample_rate: int) -> Tensor:
    """Waveforms without what lies above each clip's band: a filter without delay, by one transform of the clip.

    Its gain is 1 up to 25 Hz above the band (as in :func:`band_weight`) and falls as a half cosine
    to 0 within 200 Hz. If every band reaches half the sample rate, ``x`` itself comes back.
    """
    start = band_hz.to(x.dtype)[:, None] + 25.0
    if bool((start >= sample_rate / 2.0).all()):
        return x
    # Zeros behind the clip, so that its end does not come round into its beginning.
    size = -(-(x.shape[-1] + sample_rate // 20) // 1024) * 1024
    hertz = torch.arange(size // 2 + 1, dtype=x.dtype, device=x.device) * (sample_rate / size)
    fall = ((hertz - start) / _EDGE_HZ).clamp(0.0, 1.0)
    gain = 0.5 + 0.5 * torch.cos(torch.pi * fall)
    return torch.fft.irfft(torch.fft.rfft(x, size) * gain, size)[..., : x.shape[-1]]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of :class:`Combined`; a part of weight 0 is not computed."""

    spectrum: float = 1.0
    over_suppression: float = 0.1
    multi_resolution: float = 0.5
    l1: float = 0.1
    si_sdr: float = 0.0
    spectrum_mse: float = 0.0
    stoi: float = 0.0
    disturbance: float = 0.0
    opinion: float = 0.0

    def __post_init__(self) -> None:
        values = [getattr(self, f.name) for f in fields(self)]
        if any(v < 0 for v in values) or not any(values):
            raise ParameterError(f"{self}: weights are 0 or more, at least one above 0")


class Combined(nn.Module):
    """A weighted sum of losses, each clip first scaled to an RMS near 1.

    The scale is that of the target, plus a quarter of the input's, so that clips without speech have one.

    Args:
        stft: of the network.
        weights: of the parts.
        opinion_every: of so many clips one is heard for ``opinion``.
    """

    def __init__(self, stft: Stft, weights: LossWeights | None = None, *, opinion_every: int = 8) -> None:
        super().__init__()
        self.stft = stft
        self.weights = weights or LossWeights()
        rate = stft.frames.sample_rate
        self.multi = MultiResolution(rate)
        self.stoi = Stoi(rate) if self.weights.stoi else None
        self.disturbance = Disturbance(rate) if self.weights.disturbance else None
        self.opinion = Opinion(rate, every=opinion_every) if self.weights.opinion else None

    def forward(self, estimate: Tensor, target: Tensor, noisy: Tensor, band_hz: Tensor) -> Tensor:
        """Loss of waveforms; ``noisy`` only sets the scale."""
        w = self.weights
        rms = target.square().mean(-1, keepdim=True).sqrt() + 0.25 * noisy.square().mean(-1, keepdim=True).sqrt()
        gain = 1.0 / (rms + 1e-6)
        estimate, target = estimate * gain, target * gain
        total = estimate.new_zeros(())
        if w.spectrum or w.over_suppression or w.spectrum_mse:
            weight = band_weight(self.stft, band_hz)
            s, t = self.stft(estimate), self.stft(target)
            if w.spectrum:
                total = total + w.spectrum * compressed(s, t, weight, over=w.over_suppression / w.spectrum)
            elif w.over_suppression:
                total = total + w.over_suppression * over_suppression(s, t, weight)
            if w.spectrum_mse:
                total = total + w.spectrum_mse * spectrum_mse(s, t, weight)
        if w.multi_resolution:
            total = total + w.multi_resolution * self.multi(estimate, target, band_hz)
        listening = (self.stoi, self.disturbance, self.opinion)
        if w.l1 or w.si_sdr or any(part is not None for part in listening):
            rate = self.stft.frames.sample_rate
            estimate, target = below(estimate, band_hz, rate), below(target, band_hz, rate)
        if w.l1:
            total = total + w.l1 * l1(estimate, target)
        if w.si_sdr:
            total = total + w.si_sdr * si_sdr(estimate, target)
        if self.stoi is not None:
            total = total + w.stoi * self.stoi(estimate, target)
        if self.disturbance is not None:
            total = total + w.disturbance * self.disturbance(estimate, target)
        if self.opinion is not None:
            total = total + w.opinion * self.opinion(estimate, target)
        return total
