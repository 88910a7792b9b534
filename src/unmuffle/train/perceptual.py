r"""Losses made after listening tests: differentiable STOI, a PESQ-like disturbance, and DNSMOS.

:class:`Stoi`
    The measure of Taal, Hendriks, Heusdens & Jensen (2011), as a function with gradients: 10 kHz,
    25.6 ms frames, 15 third-octave bands from 150 Hz, correlation over 30 frames (384 ms) after
    clipping at -15 dB. Silent frames are not cut out but left out: segments whose speech lies
    more than 40 dB below the loudest do not count. ``extended`` is ESTOI (Jensen & Taal 2016):
    bands and frames of a segment are normalised instead of clipped.

:class:`Disturbance`
    What PESQ (ITU-T P.862) measures, without its time alignment and its file-long statistics
    (after PMSQE: Martin-Donas et al. 2018): Bark-band power of 32 ms frames at a listening level,
    gain per band and frame evened out within bounds, loudness after Zwicker, and the difference of
    loudness: symmetric with a dead zone, and asymmetric, where what was added weighs more than what
    was taken away. It is no PESQ, but falls when PESQ rises.

:class:`Opinion`
    What DNSMOS P.835 (Reddy, Gopal & Cutler 2022) lacks to full marks, by its own network with gradients.

All take waveforms ``(batch, samples)`` at 16 kHz (any rate from 10 kHz for STOI) and return a
number to be made small.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..enhancers.neural.weights import initialisers
from ..errors import ModelError, ParameterError
from ..evaluate.dnsmos import POLYNOMIALS, network_file
from .precision import computes_bfloat16

_RATE = 10_000
_FRAME, _FFT, _HOP = 256, 512, 128
_BANDS, _LOWEST_HZ = 15, 150.0
_SEGMENT = 30
_CLIP = 1.0 + 10.0 ** (15.0 / 20.0)
_RANGE_DB = 40.0
_TINY = 1e-9


def third_octaves() -> Tensor:
    """Which of the 257 bins belong to which of the 15 bands: ``(bins, bands)`` of zeros and ones."""
    hertz = np.linspace(0, _RATE, _FFT + 1)[: _FFT // 2 + 1]
    k = np.arange(_BANDS)
    low = _LOWEST_HZ * 2.0 ** ((2 * k - 1) / 6)
    high = _LOWEST_HZ * 2.0 ** ((2 * k + 1) / 6)
    out = np.zeros((hertz.size, _BANDS), np.float32)
    for i in range(_BANDS):
        first = int(np.argmin(np.square(hertz - low[i])))
        last = int(np.argmin(np.square(hertz - high[i])))
        out[first:last, i] = 1.0
    return torch.from_numpy(out)


class Stoi(nn.Module):
    """One minus STOI (or ESTOI), mean over the segments of all clips.

    Args:
        sample_rate: of the waveforms; 10 kHz or more.
        extended: ESTOI.
    """

    bands: Tensor
    window: Tensor

    def __init__(self, sample_rate: int, *, extended: bool = True) -> None:
        super().__init__()
        if sample_rate < _RATE:
            raise ParameterError(f"STOI needs {_RATE} Hz or more, got {sample_rate}")
        self.sample_rate = sample_rate
        self.extended = extended
        self.register_buffer("bands", third_octaves(), persistent=False)
        window = torch.hann_window(_FRAME + 2, periodic=False)[1:-1]
        self.register_buffer("window", window, persistent=False)

    def _resample(self, x: Tensor) -> Tensor:
        """To 10 kHz, by leaving out the bins above 5 kHz."""
        if self.sample_rate == _RATE:
            return x
        n = x.shape[-1]
        block = self.sample_rate // math.gcd(self.sample_rate, _RATE)
        n += -n % block  # so that the new length is a whole number
        short = n // block * (_RATE // math.gcd(self.sample_rate, _RATE))
        spectrum = torch.fft.rfft(x, n)[..., : short // 2 + 1]
        return torch.fft.irfft(spectrum, short) * (short / n)

    def _envelope(self, x: Tensor) -> Tensor:
        """Third-octave magnitudes, ``(batch, frames, bands)``."""
        frames = self._resample(x).unfold(-1, _FRAME, _HOP) * self.window
        power = torch.view_as_real(torch.fft.rfft(frames, _FFT)).square().sum(-1)
        return torch.sqrt(power @ self.bands + _TINY)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """``1 - STOI``; 0 for clips shorter than 0.4 s or silent."""
        if target.shape[-1] * _RATE < (_SEGMENT * _HOP + _FRAME) * self.sample_rate:
            return estimate.new_zeros(())
        # (batch, segments, bands, 30)
        x = self._envelope(target).unfold(1, _SEGMENT, 1)
        y = self._envelope(estimate).unfold(1, _SEGMENT, 1)
        loud = x.square().sum((-1, -2))
        counts = (loud > loud.amax(1, keepdim=True) * 10.0 ** (-_RANGE_DB / 10.0)).to(x.dtype)
        counts = counts * (loud > 1e3 * _TINY * _SEGMENT * _BANDS)
        if self.extended:
            x, y = _normalised(_normalised(x, -1), -2), _normalised(_normalised(y, -1), -2)
            score = (x * y).sum((-1, -2)) / _SEGMENT
        else:
            gain = torch.sqrt((x.square().sum(-1, keepdim=True)) / (y.square().sum(-1, keepdim=True) + _TINY))
            y = torch.minimum(y * gain, x * _CLIP)
            score = (_normalised(x, -1) * _normalised(y, -1)).sum(-1).mean(-1)
        total = counts.sum()
        return ((1.0 - score) * counts).sum() / total.clamp(min=1.0)


def _normalised(x: Tensor, axis: int) -> Tensor:
    """Zero mean and unit norm along an axis."""
    x = x - x.mean(axis, keepdim=True)
    return x / torch.sqrt(x.square().sum(axis, keepdim=True) + _TINY)


_BARK_EDGES = 49
_LEVEL = 1e7  # power of speech at the listening level of 79 dB SPL, in P.862's units
_POWER = 0.23  # Zwicker's exponent
_LOUDNESS_SCALE = 0.1866


class Disturbance(nn.Module):
    """A PESQ-like disturbance: symmetric part, plus ``asymmetric`` times the asymmetric one.

    Args:
        sample_rate: of the waveforms, 16 kHz.
        asymmetric: weight; P.862 has 0.0309 against 0.1 for the symmetric part.
    """

    bands: Tensor
    window: Tensor
    threshold: Tensor
    width: Tensor

    def __init__(self, sample_rate: int, *, asymmetric: float = 0.309) -> None:
        super().__init__()
        if sample_rate != 16_000:
            raise ParameterError(f"the disturbance is defined at 16000 Hz, got {sample_rate}")
        self.asymmetric = asymmetric
        size = 512
        hertz = np.arange(size // 2 + 1) * (sample_rate / size)
        bark = 6.0 * np.arcsinh(hertz / 600.0)  # Wang, Sekey & Gersho 1992
        edges = np.linspace(6.0 * np.arcsinh(100.0 / 600.0), bark[-1], _BARK_EDGES + 1)
        # Triangles of one band's width: each bin is shared by its two neighbours.
        centres = 0.5 * (edges[1:] + edges[:-1])
        step = centres[1] - centres[0]
        shares = np.maximum(0.0, 1.0 - np.abs(bark[:, None] - centres[None]) / step)
        self.register_buffer("bands", torch.from_numpy(shares.astype(np.float32)), persistent=False)
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        khz = 600.0 * np.sinh(centres / 6.0) / 1000.0
        # Threshold in quiet (Terhardt 1979), in the units of the listening level.
        quiet_db = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
        threshold = 10.0 ** (np.clip(quiet_db, -5.0, 60.0) / 10.0)
        self.register_buffer("threshold", torch.from_numpy(threshold.astype(np.float32)), persistent=False)
        self.register_buffer("width", torch.full((_BARK_EDGES,), float(step), dtype=torch.float32), persistent=False)

    def _bark(self, x: Tensor) -> Tensor:
        frames = x.unfold(-1, self.window.shape[0], self.window.shape[0] // 2) * self.window
        power = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1)
        return power @ self.bands

    def _loudness(self, power: Tensor) -> Tensor:
        """Zwicker's law above the threshold in quiet."""
        quiet = self.threshold
        excess = (0.5 + 0.5 * power / quiet).clamp(min=1e-6).pow(_POWER) - 1.0
        return (_LOUDNESS_SCALE * (quiet / 0.5) ** _POWER * excess).clamp(min=0.0)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Mean disturbance over clips; those with a silent target do not count."""
        if target.shape[-1] < self.window.shape[0]:
            return estimate.new_zeros(())
        x, y = self._bark(target), self._bark(estimate)
        mean = x.mean((1, 2), keepdim=True)
        audible = (mean > 1e-10).to(x.dtype)
        gain = _LEVEL / x.shape[-1] / (mean + 1e-10)
        x, y = x * gain * audible, y * gain * audible
        active = (x.sum(-1, keepdim=True) > _LEVEL * 1e-4).to(x.dtype)
        # What a telephone's filter or volume did is no disturbance: even out, within +-20 dB and 3e-4..5.
        filtered = ((y * active).mean(1, keepdim=True) + 1e3) / ((x * active).mean(1, keepdim=True) + 1e3)
        x = x * filtered.clamp(0.01, 100.0)
        level = (x.sum(-1, keepdim=True) + 5e3) / (y.sum(-1, keepdim=True) + 5e3)
        y = y * level.clamp(3e-4, 5.0)
        a, b = self._loudness(x), self._loudness(y)
        masked = 0.25 * torch.minimum(a, b)
        raw = b - a
        symmetric = torch.sign(raw) * (raw.abs() - masked).clamp(min=0.0)
        ratio = ((y + 50.0) / (x + 50.0)).pow(1.2)
        factor = torch.where(ratio < 3.0, torch.zeros_like(ratio), ratio.clamp(max=12.0))
        even = torch.sqrt((symmetric.square() * self.width).sum(-1) + _TINY)
        odd = (symmetric.abs() * factor * self.width).sum(-1)
        weight = ((x.sum(-1) + 1e5) / 1e7).pow(-0.04)
        per_frame = (even + self.asymmetric * odd) * weight
        per_clip = per_frame.mean(1) * audible[:, 0, 0]
        return per_clip.sum() / audible.sum().clamp(min=1.0)


_OPINION_RMS = 0.05  # -26 dBFS: a level at which listeners' clips were
_OPINION_MARKS = 5.0
_STEEPEST = 8.0
"""Where a clip is nearly silent its log power is steep: in 23 clips the gradient of a mark by the waveform (at an RMS
of 1) had a norm of 9 to 1600 (median 96), that of all other losses one of 0.1 to 3 (0.4), at right angles to it."""


class Opinion(nn.Module):
    """Five minus the overall score of DNSMOS P.835, mean over clips; those with a silent target do not count.

    The network is the one that :func:`unmuffle.evaluate.dnsmos` runs (from the package ``speechmos``): log power
    of 20 ms frames, seven layers of 3 x 3 filters, the maximum over time and frequency, three dense layers. It hears
    a clip of any length; nothing is learned in it. A network that is trained with it learns what *it* likes: give it
    a small weight, and look at measures with a reference. The gradient of each clip by the waveform, at an RMS of 1, is
    shortened to ``steepest``; longer ones would decide alone.

    Args:
        sample_rate: of the waveforms, 16 kHz.
        every: of so many clips of a batch, or of a device's part of it, one is heard (at least one): it costs more than
            all other losses together.
        precision: of the filters; bfloat16 changes a score by 0.002 (median of 30 clips; at most by 0.02) and saves
            half of the time where the device has instructions for it (elsewhere it takes 2.5 times as long). None:
            bfloat16 where it has.
        steepest: norm that the gradient of a clip may have.

    Raises:
        MissingExtraError: the extra ``[dnsmos]`` is not installed.
    """

    dft: Tensor

    def __init__(
        self,
        sample_rate: int,
        *,
        every: int = 8,
        precision: torch.dtype | None = None,
        steepest: float = _STEEPEST,
    ) -> None:
        super().__init__()
        if sample_rate != 16_000:
            raise ParameterError(f"DNSMOS is defined at 16000 Hz, got {sample_rate}")
        self.every = every
        self.precision = precision
        self.steepest = steepest
        self.mapping = POLYNOMIALS["generic"]["ovrl"]
        path = network_file("generic")
        weights = initialisers(path.read_bytes())
        try:
            dft = np.concatenate([weights[f"time2freq/stft-{part}/kernel:0"][:, :, 0] for part in ("real", "imag")])
            layers = ["conv2d", *(f"conv2d_{k}" for k in range(1, 7))]
            filters = [(weights[f"{n}/kernel:0"], weights[f"{n}/bias:0"]) for n in layers]
            ends = [f"mos_estimator_logpow/{n}/" for n in ("dense", "dense_1", "dense_3")]
            kernel, bias = "MatMul/ReadVariableOp/resource:0", "BiasAdd/ReadVariableOp/resource:0"
            dense = [(weights[n + kernel], weights[n + bias]) for n in ends]
        except KeyError as missing:
            raise ModelError(f"{path} is another network than that of speechmos 0.0.1: it has no {missing}") from None
        self.register_buffer("dft", torch.from_numpy(dft.T.copy()), persistent=False)
        for name, pairs in (("filter", filters), ("dense", dense)):
            for i, (w, b) in enumerate(pairs):
                self.register_buffer(f"{name}{i}", torch.from_numpy(w.copy()), persistent=False)
                self.register_buffer(f"{name}{i}_bias", torch.from_numpy(b.copy()), persistent=False)

    def scores(self, x: Tensor) -> Tensor:
        """SIG, BAK and OVRL of each clip as the network gives them, before the published mapping."""
        frames = x.unfold(-1, self.dft.shape[0], self.dft.shape[0] // 2) @ self.dft
        real, imaginary = frames.chunk(2, -1)
        heard = torch.log10((real.square() + imaginary.square()).clamp(min=1e-12)).unsqueeze(1)
        # Channels last is the order that a CPU's filters work in.
        precision = self.precision or (torch.bfloat16 if computes_bfloat16(x.device) else torch.float32)
        heard = heard.to(precision).contiguous(memory_format=torch.channels_last)
        for i in range(7):
            weight, bias = (getattr(self, f"filter{i}{part}").to(precision) for part in ("", "_bias"))
            weight = weight.contiguous(memory_format=torch.channels_last)
            heard = torch.relu(nn.functional.conv2d(heard, weight, bias, padding=1))
            if 3 <= i <= 5:
                heard = nn.functional.max_pool2d(heard, 2)
        out = heard.to(x.dtype).amax((2, 3))
        for i in range(3):
            out = out @ getattr(self, f"dense{i}") + getattr(self, f"dense{i}_bias")
            if i < 2:
                out = torch.relu(out)
        return out

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """``5 - OVRL`` of the first clips, each brought to -26 dBFS by the level of its target."""
        if target.shape[-1] < 4000:  # too short for the filters
            return estimate.new_zeros(())
        count = max(estimate.shape[0] // self.every, 1)
        estimate, target = estimate[:count], target[:count]
        rms = target.square().mean(-1, keepdim=True).sqrt()
        audible = (rms[:, 0] > 1e-4).to(estimate.dtype)
        share = audible / audible.sum().clamp(min=1.0)
        heard = estimate / rms.clamp(min=1e-4)
        if not heard.requires_grad:
            return (self._lack(heard) * share).sum()
        with torch.enable_grad():
            free = heard.detach().requires_grad_()
            lack = self._lack(free)
            (slope,) = torch.autograd.grad(lack.sum(), free)
        norm = slope.norm(dim=-1, keepdim=True)
        slope = slope * torch.clamp(self.steepest / norm.clamp(min=1e-12), max=1.0)
        # The value of the one, with the slope of the other.
        line = ((heard - free.detach()) * slope).sum(-1)
        return ((lack.detach() + line) * share).sum()

    def _lack(self, heard: Tensor) -> Tensor:
        """Five minus the mark of each clip, whose target has an RMS of 1."""
        raw = self.scores(heard * _OPINION_RMS)[:, 2]
        square, linear, constant = self.mapping
        return _OPINION_MARKS - ((square * raw + linear) * raw + constant)
