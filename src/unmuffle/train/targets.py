r"""What a network may be asked for, and how well each answer would do if it were perfect.

With speech :math:`S`, noise :math:`N` and mixture :math:`X = S + N` in a bin:

=================  ==============================================================================
``ibm``            1 where :math:`|S|^2 > |N|^2`, else 0 (Wang 2005). Musical, robust to learn.
``irm``            :math:`\sqrt{|S|^2 / (|S|^2 + |N|^2)}` (Narayanan & Wang 2013)
``iam``            :math:`|S| / |X|`, at most 2: right magnitudes, noisy phase (Wang et al. 2014)
``psm``            :math:`\mathrm{Re}(S / X)`, 0 to 1: the real gain that comes closest to
                   :math:`S` (Erdogan et al. 2015)
``cirm``           :math:`S / X`, each part squeezed to :math:`K \tanh(C x / 2)`, K = 10, C = 0.1
                   (Williamson et al. 2016); exact but for the rounding of the squeeze
``mapping``        :math:`|S|` itself, with the noisy phase
``deep-filter``    :math:`\sum_i w_i X_{t-i}`, the taps that fit best over some frames around
                   (Mack & Habets 2020): several bins make up for one that is lost
=================  ==============================================================================

Spectra are ``(..., frames, bins, 2)``. :func:`oracle` gives the waveform that the perfect answer
leads to: an upper bound for networks that give this kind of answer.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UnknownMethodError
from ..signal.stft import StftSpec
from .stft import Stft

_TINY = 1e-10
IAM_LIMIT = 2.0
SQUEEZE_K, SQUEEZE_C = 10.0, 0.1


def _power(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def _quotient(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of S / X."""
    scale = 1.0 / (_power(x) + _TINY)
    re = s[..., 0] * x[..., 0] + s[..., 1] * x[..., 1]
    im = s[..., 1] * x[..., 0] - s[..., 0] * x[..., 1]
    return re * scale, im * scale


def ibm(speech: Tensor, noise: Tensor, criterion_db: float = 0.0) -> Tensor:
    """Ideal binary mask ``(..., frames, bins)``: 1 where the SNR is above ``criterion_db``."""
    return (_power(speech) > 10.0 ** (criterion_db / 10.0) * _power(noise)).to(speech.dtype)


def irm(speech: Tensor, noise: Tensor, exponent: float = 0.5) -> Tensor:
    """Ideal ratio mask; ``exponent`` 1 is the Wiener gain."""
    s, n = _power(speech), _power(noise)
    return (s / (s + n + _TINY)).pow(exponent)


def iam(speech: Tensor, noise: Tensor) -> Tensor:
    """Ideal amplitude mask, at most :data:`IAM_LIMIT`."""
    return (_power(speech) / (_power(speech + noise) + _TINY)).sqrt().clamp(max=IAM_LIMIT)


def psm(speech: Tensor, noise: Tensor) -> Tensor:
    """Phase-sensitive mask, 0 to 1."""
    return _quotient(speech, speech + noise)[0].clamp(0.0, 1.0)


def cirm(speech: Tensor, noise: Tensor) -> Tensor:
    """Complex ideal ratio mask, squeezed: ``(..., frames, bins, 2)``."""
    return SQUEEZE_K * torch.tanh(0.5 * SQUEEZE_C * torch.stack(_quotient(speech, speech + noise), -1))


def unsqueeze_cirm(mask: Tensor) -> Tensor:
    """The complex quotient back from :func:`cirm`."""
    limit = SQUEEZE_K * (1.0 - 1e-6)
    return torch.atanh(mask.clamp(-limit, limit) / SQUEEZE_K) * (2.0 / SQUEEZE_C)


def multiply(mask: Tensor, x: Tensor) -> Tensor:
    """Complex product of two ``(..., 2)``."""
    re = mask[..., 0] * x[..., 0] - mask[..., 1] * x[..., 1]
    im = mask[..., 0] * x[..., 1] + mask[..., 1] * x[..., 0]
    return torch.stack((re, im), -1)


def deep_filter(speech: Tensor, noise: Tensor, order: int = 3, around: int = 4, loading: float = 1e-4) -> Tensor:
    """The best filter of ``order`` frames: complex taps ``(..., frames, bins, order)``.

    For each frame the taps minimise the squared error over the ``2 around + 1`` frames about it, with
    ``loading`` of the mean power on the diagonal.
    """
    x = torch.view_as_complex((speech + noise).contiguous())
    s = torch.view_as_complex(speech.contiguous())
    delayed = torch.stack([torch.roll(x, i, -2) for i in range(order)], -1)
    for i in range(1, order):
        delayed[..., :i, :, i] = 0.0
    outer = delayed.conj().unsqueeze(-1) * delayed.unsqueeze(-2)
    cross = delayed.conj() * s.unsqueeze(-1)

    def gather(v: Tensor) -> Tensor:
        """Sum over the frames about each."""
        axis = x.dim() - 2
        total = v.cumsum(axis)
        count = v.shape[axis]
        last = torch.arange(count).add(around).clamp(max=count - 1)
        first = torch.arange(count).sub(around + 1)
        head = total.index_select(axis, last)
        tail = total.index_select(axis, first.clamp(min=0))
        keep = (first >= 0).to(head.real.dtype).reshape([-1 if d == axis else 1 for d in range(v.dim())])
        return head - tail * keep

    matrix, vector = gather(outer), gather(cross)
    trace = torch.diagonal(matrix, dim1=-2, dim2=-1).real.mean(-1)
    eye = torch.eye(order, dtype=matrix.dtype)
    matrix = matrix + (loading * trace + _TINY)[..., None, None] * eye
    return torch.linalg.solve(matrix, vector.unsqueeze(-1)).squeeze(-1)


def apply_filter(taps: Tensor, x: Tensor) -> Tensor:
    """Filter frames with taps from :func:`deep_filter`."""
    z = torch.view_as_complex(x.contiguous())
    out = torch.zeros_like(z)
    for i in range(taps.shape[-1]):
        late = torch.roll(z, i, -2)
        if i:
            late[..., :i, :] = 0.0
        out = out + taps[..., i] * late
    return torch.view_as_real(out)


def _real(mask: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda s, n: mask(s, n).unsqueeze(-1) * (s + n)


def _mapped(s: Tensor, n: Tensor) -> Tensor:
    x = s + n
    return x * ((_power(s) + _TINY) / (_power(x) + _TINY)).sqrt().unsqueeze(-1)


TARGETS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ibm": _real(ibm),
    "irm": _real(irm),
    "iam": _real(iam),
    "psm": _real(psm),
    "cirm": lambda s, n: multiply(unsqueeze_cirm(cirm(s, n)), s + n),
    "mapping": _mapped,
    "deep-filter": lambda s, n: apply_filter(deep_filter(s, n), s + n),
}
"""Name -> (speech, noise) to the spectrum that the perfect answer gives."""


def oracle(name: str, speech: Tensor, noisy: Tensor, sample_rate: int, spec: StftSpec | None = None) -> Tensor:
    """The waveform that a perfect answer of this kind leads to.

    Args:
        name: one of :data:`TARGETS`.
        speech, noisy: ``(..., samples)``.
        sample_rate: in Hz.
        spec: the STFT, 20 ms frames by default.
    """
    if name not in TARGETS:
        raise UnknownMethodError(f"no target is called {name!r}; there are: {', '.join(TARGETS)}")
    stft = Stft((spec or StftSpec()).at(sample_rate)).to(speech.dtype)
    s = stft(speech)
    return stft.inverse(TARGETS[name](s, stft(noisy) - s), speech.shape[-1])
