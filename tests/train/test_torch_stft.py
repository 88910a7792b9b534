from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from unmuffle.signal.stft import StftSpec  # noqa: E402
from unmuffle.train.stft import Stft, magnitude  # noqa: E402

SPECS = [
    (StftSpec(), 16000),
    (StftSpec(), 8000),
    (StftSpec(32.0, 16.0), 16000),
    (StftSpec(20.0, 5.0, "hann"), 16000),
    (StftSpec(20.0, 10.0), 44100),
    (StftSpec(20.0, 4.0, "asymmetric"), 16000),
]


@pytest.mark.parametrize(("spec", "rate"), SPECS)
def test_equals_the_numpy_one(spec: StftSpec, rate: int, rng: np.random.Generator) -> None:
    frames = spec.at(rate)
    stft = Stft(frames)
    n = 12 * frames.hop + 17
    x = rng.standard_normal((2, n)).astype(np.float32)
    ours = stft(torch.from_numpy(x))
    count = ours.shape[1]
    padded = np.zeros((2, count * frames.hop), np.float32)
    padded[:, :n] = x
    held = np.zeros((2, frames.size - frames.hop), np.float32)
    spectrum, _ = frames.forward(padded, held)
    # Two FFT libraries in single precision: a few units in the last place of the largest bin.
    assert np.max(np.abs(torch.view_as_complex(ours).numpy() - spectrum)) < 2e-6 * np.max(np.abs(spectrum))
    changed = spectrum * np.linspace(0, 1, frames.bins, dtype=np.float32)
    whole, _ = frames.inverse(changed.astype(np.complex64), held)
    back = stft.inverse(torch.view_as_real(torch.from_numpy(changed.astype(np.complex64))), n)
    expected = whole[:, frames.latency : frames.latency + n]
    assert back.shape == (2, n)
    assert np.max(np.abs(back.numpy()[:, : expected.shape[1]] - expected)) < 3e-6 * np.max(np.abs(x))


@pytest.mark.parametrize(("spec", "rate"), SPECS)
@pytest.mark.parametrize("n", [1, 159, 160, 161, 1000])
def test_every_sample_comes_back(spec: StftSpec, rate: int, n: int, rng: np.random.Generator) -> None:
    stft = Stft(spec.at(rate))
    x = torch.from_numpy(rng.standard_normal((1, n)).astype(np.float32))
    assert torch.max(torch.abs(stft.inverse(stft(x), n) - x)) < 5e-6


def test_gradient(rng: np.random.Generator) -> None:
    stft = Stft(StftSpec(4.0, 2.0).at(8000)).double()
    x = torch.from_numpy(rng.standard_normal((1, 90))).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: stft.inverse(stft(v) * 0.7, 90), x)
    assert torch.autograd.gradcheck(lambda v: magnitude(stft(v)), x)


def test_magnitude_has_a_gradient_at_zero() -> None:
    x = torch.zeros(3, 2, requires_grad=True)
    magnitude(x).sum().backward()
    assert torch.isfinite(x.grad).all()
